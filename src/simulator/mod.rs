//! The simulated Bedrock runtime. It shares no wire types with the client, so that tests in which the SDK decodes its
//! replies are meaningful. It depends on `units` only.
//!
//! ```no_run
//! # async fn demo() -> std::io::Result<()> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let stop = tokio_util::sync::CancellationToken::new();
//! bedrock_plan::simulator::run(listener, Default::default(), stop).await;
//! # Ok(())
//! # }
//! ```

mod access;
mod cache;
mod connection;
mod draw;
mod fault;
mod freeze;
mod model;
mod reply;
mod request;
mod server;
mod stream;
mod throttle;
mod truth;

pub use model::{Faults, Model};
pub use server::{run, run_with_truth};
pub use truth::Truth;
