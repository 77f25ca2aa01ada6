//! Admission gates: implementations of the executor's [`Gate`](crate::executor::port::Gate). They depend on
//! `executor::port`, stats, record, matrix and plan.

mod abort;
mod all;
#[cfg(test)]
mod bench_verdicts;
mod budget;
mod credentials;
mod early;
mod extend;
mod lease;
mod quota;

pub(crate) use abort::AbortGate;
pub(crate) use all::AllGates;
pub(crate) use budget::BudgetGate;
pub(crate) use credentials::CredentialsGate;
pub(crate) use early::EarlyStopGate;
pub(crate) use extend::ExtensionGate;
pub(crate) use quota::DailyQuotaGate;
