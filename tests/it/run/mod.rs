//! `run` and `report`: the binary, real sockets, and the written files.

mod bad_directories;
mod budget;
mod compare;
mod damage;
mod endpoint;
mod ends;
mod faults;
mod files;
mod in_progress;
mod limits;
#[cfg(unix)]
pub(crate) mod links;
mod loads;
mod machine;
mod money;
mod network;
mod nothing_lost;
mod outputs;
mod ownership;
mod preflight;
mod prompts;
mod replies;
mod resume;
pub(crate) mod scene;
mod screen;
mod secrets;
mod sessions;
#[cfg(target_os = "linux")]
mod signals;
mod slo;
pub(crate) mod stalls;
mod streams;
mod summaries;
mod tls;
mod trust;
mod truth;
mod validity;
mod wire;
