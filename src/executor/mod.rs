//! Runs cells through the AWS SDK. Depends on plan, matrix, record, units and prompts; never on stats, guard, terminal or
//! report. It emits [`port::Event`]s through one callback and consults one [`port::Gate`] before each start.

mod arrivals;
mod backlog;
mod bedrock;
mod cell;
pub(crate) mod connect;
mod cpu_quota;
mod deadline;
mod health;
mod pacer;
pub(crate) mod port;
mod preflight;
mod prepared;
mod redact;
mod reported;
mod round_trip;
mod run;
mod scan;
mod signing;
mod stream;
#[cfg(test)]
mod tests;
mod users;

pub(crate) use backlog::Backlog;
pub(crate) use bedrock::Bedrock;
pub(crate) use cpu_quota::cpu_quota_cores;
pub(crate) use preflight::{PREFLIGHT_TIMEOUT, preflight};
pub(crate) use run::{EventSink, Execution, Job, execute};
pub(crate) use signing::{SetupError, Target, credentials};
