//! All tests that use sockets or the command line, in one binary.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::unused_self, missing_docs)]

mod architecture;
#[cfg(unix)]
mod browser;
mod cli;
mod compatibility_pins;
mod modules;
mod run;
#[cfg(unix)]
mod shards;
mod simulator;
mod support;
