//! From records to numbers. Knows record, matrix, plan; draws nothing.
