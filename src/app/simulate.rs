//! `simulate`: runs the simulated Bedrock runtime as a separate server.

use crate::error::Error;
use crate::simulator::{self, Model, Truth};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{Receiver, channel};
use tokio_util::sync::CancellationToken;

/// Maximum number of requests in flight and truth records waiting to be written, together; about 40 MB.
const MAX_TRUTHS: usize = 1 << 18;

/// Options of `simulate`.
#[derive(Debug, Clone)]
pub(super) struct Options {
    /// Port to listen on; 0 selects a free one.
    pub(super) port: u16,
    /// Behaviour of the simulator.
    pub(super) model: Model,
    /// File of the truth records, which state how each request was served.
    pub(super) truth: Option<PathBuf>,
    /// Whether to end when standard input closes, too.
    pub(super) until_stdin_closes: bool,
}

/// Serves until a signal is received. Returns the exit code.
///
/// # Errors
/// If the port cannot be bound or the file of truth records cannot be written.
pub(super) fn simulate(options: &Options) -> Result<u8, Error> {
    let truth_file = match &options.truth {
        Some(path) => Some((path.display().to_string(), open(path)?)),
        None => None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Internal)?;
    // The second signal ends the process without waiting for the truth records.
    let signals = super::signals::Signals::listen(2);
    runtime.block_on(async {
        let address = (Ipv4Addr::LOCALHOST, options.port);
        let listen_error = |source| Error::Listen { address: format!("127.0.0.1:{}", options.port), source };
        let listener = TcpListener::bind(address).await.map_err(listen_error)?;
        let bound = listener.local_addr().map_err(listen_error)?;
        let mut stdout = std::io::stdout();
        let _ = writeln!(stdout, "simulated Bedrock runtime on http://{bound}");
        let _ = stdout.flush();

        let stop = CancellationToken::new();
        let stopper = stop.clone();
        tokio::spawn(async move {
            signals.nth(1).await;
            stopper.cancel();
        });
        if options.until_stdin_closes {
            let stopper = stop.clone();
            // A separate thread, because a read that never ends would keep the runtime from shutting down.
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
                stopper.cancel();
            });
        }
        let model = options.model.clone();
        let Some((path, file)) = truth_file else {
            simulator::run(listener, model, stop).await;
            return Ok(0);
        };
        let (sender, receiver) = channel(MAX_TRUTHS);
        let stopper = stop.clone();
        let writer = tokio::task::spawn_blocking(move || {
            // A server without its truth records is useless, so it stops when the writer ends for any reason.
            let _guard = stopper.drop_guard();
            write(file, receiver)
        });
        simulator::run_with_truth(listener, model, stop, sender).await;
        match writer.await {
            Ok(result) => result.map(|()| 0).map_err(|source| Error::File { path, source }),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    })
}

fn open(path: &std::path::Path) -> Result<File, Error> {
    File::create(path).map_err(|source| Error::File { path: path.display().to_string(), source })
}

/// Writes the truth records that it receives until all senders are dropped. A request waits for the writer only while
/// [`MAX_TRUTHS`] records are unwritten.
fn write(file: File, mut receiver: Receiver<Truth>) -> std::io::Result<()> {
    let mut out = BufWriter::new(file);
    writeln!(out, "{}", Truth::HEADER)?;
    while let Some(truth) = receiver.blocking_recv() {
        writeln!(out, "{}", truth.csv())?;
        if receiver.is_empty() {
            out.flush()?;
        }
    }
    out.flush()
}
