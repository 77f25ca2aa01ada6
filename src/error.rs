//! One error over the rooms' errors: what is shown, with which hint, and the exit code.
