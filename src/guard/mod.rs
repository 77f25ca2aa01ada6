//! Who may start: implementations of the executor's gate. Knows `executor::port`, stats,
//! record, matrix and plan.

mod abort;
mod all;
mod budget;
mod credentials;
mod early;
mod extend;
mod lease;
mod quota;

pub(crate) use abort::Abort;
pub(crate) use all::All;
pub(crate) use budget::Budget;
pub(crate) use credentials::Credentials;
pub(crate) use early::Early;
pub(crate) use extend::Extend;
pub(crate) use quota::DailyQuota;
