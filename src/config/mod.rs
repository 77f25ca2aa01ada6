//! How a plan is read: defaults, file, environment and flags, one layer over the other.
