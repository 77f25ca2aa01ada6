//! Who may start: implementations of the executor's gate.
