//! Who may start: implementations of the executor's gate. Knows `executor::port` and record.

mod abort;
mod all;
mod extend;

pub(crate) use abort::Abort;
pub(crate) use all::All;
pub(crate) use extend::Extend;
