//! Simulator inside `run`: a real server on a loopback port. It has a thread and a runtime of its own, so that it does
//! not compete with the users that it serves.

use crate::error::Error;
use crate::executor::port::Event;
use crate::executor::{Bedrock, EventSink};
use crate::plan::Plan;
use crate::simulator::{self, Model};
use crate::units::url::HttpUrl;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A running simulator, which stops when this is dropped.
pub(super) struct LocalSimulator {
    address: SocketAddr,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl LocalSimulator {
    /// Returns the URL of the server.
    pub(super) fn url(&self) -> HttpUrl {
        let url = HttpUrl::parse(&format!("http://{}", self.address));
        url.unwrap_or_else(|error| unreachable!("a socket address is a host: {error:?}"))
    }
}

impl Drop for LocalSimulator {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Wraps an event sink: once a simulator at a URL has replied, emits [`Event::SimulatorFound`] once, before the next
/// event. All events are passed on.
pub(super) fn report_simulator(bedrock: Arc<Bedrock>, plan: &Plan, sink: EventSink) -> EventSink {
    if !plan.target.endpoint.is_other_server() {
        return sink;
    }
    let is_reported = AtomicBool::new(false);
    Arc::new(move |event| {
        if let Some(name) = bedrock.simulator().filter(|_| !is_reported.swap(true, Ordering::Relaxed)) {
            sink(Event::SimulatorFound(name.to_owned()));
        }
        sink(event);
    })
}

/// Binds a free loopback port and starts to serve on it.
pub(super) fn start(model: &Model) -> Result<LocalSimulator, Error> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::Internal)?;
    listener.set_nonblocking(true).map_err(Error::Internal)?;
    let address = listener.local_addr().map_err(Error::Internal)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(Error::Internal)?;
    let stop = CancellationToken::new();
    let (model, stopped) = (model.clone(), stop.clone());
    let thread = std::thread::Builder::new()
        .name("simulator".into())
        .spawn(move || {
            runtime.block_on(async {
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => simulator::run(listener, model, stopped).await,
                    Err(error) => tracing::error!(%error, "the simulator could not start"),
                }
            });
        })
        .map_err(Error::Internal)?;
    Ok(LocalSimulator { address, stop, thread: Some(thread) })
}
