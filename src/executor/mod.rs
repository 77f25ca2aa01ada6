//! Drives cells through the SDK. Knows plan, matrix, record, units and prompts; never stats, guard,
//! terminal or report. It calls nobody: it tells what happens through one callback of [`port::Event`]s
//! and asks one [`port::Gate`] before each start.

mod arrivals;
mod backlog;
mod bedrock;
mod cell;
pub(crate) mod connect;
mod cpu_quota;
mod deadline;
mod exchange;
mod health;
mod pacer;
pub(crate) mod port;
mod preflight;
mod prepared;
mod redact;
mod reported;
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
pub(crate) use preflight::{PATIENCE, preflight};
pub(crate) use run::{Execution, Job, Tell, execute};
pub(crate) use signing::{SetupError, Target, credentials};
