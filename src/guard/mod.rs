//! Who may start: implementations of the executor's gate. Knows `executor::port` and record.

mod abort;

pub(crate) use abort::Abort;
