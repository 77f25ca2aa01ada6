//! Runs cells through the AWS SDK. Depends on plan, matrix, record, units and prompts; never on stats, guard, terminal or
//! report. It emits [`port::Event`]s through one callback and consults one [`port::Gate`] before each start.

mod admission;
mod answer;
mod arrivals;
mod backlog;
mod bedrock;
mod cell;
mod clock;
pub(crate) mod connect;
mod context;
mod counters;
mod cpu_quota;
mod deadline;
mod health;
mod job;
mod pacer;
pub(crate) mod port;
mod preflight;
mod prepared;
mod priming;
mod redact;
mod reported;
mod round_trip;
mod run;
mod scan;
mod signing;
mod stream;
mod tasks;
#[cfg(test)]
mod tests;
mod users;

pub(crate) use backlog::Backlog;
pub(crate) use bedrock::Bedrock;
pub(crate) use cpu_quota::cpu_quota_cores;
pub(crate) use job::Job;
pub(crate) use port::EventSink;
pub(crate) use preflight::{PREFLIGHT_TIMEOUT, preflight};
pub(crate) use run::{Execution, execute};
pub(crate) use signing::{SetupError, Target, credentials};
