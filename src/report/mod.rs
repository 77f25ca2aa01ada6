//! From a summary to bytes: a view, and one function per format. Touches no disk, computes no statistic.
