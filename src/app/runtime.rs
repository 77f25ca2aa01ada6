//! Tokio runtime of a run.

use std::io;
use std::ops::Deref;
use tokio::runtime::{Builder, Runtime};

/// A runtime that shuts down without waiting: a pending name lookup of the system's resolver would delay the exit.
pub(super) struct BackgroundRuntime(Option<Runtime>);

impl BackgroundRuntime {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Some(Builder::new_multi_thread().enable_all().build()?)))
    }
}

impl Deref for BackgroundRuntime {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        self.0.as_ref().unwrap_or_else(|| unreachable!("it is taken when it is dropped"))
    }
}

impl Drop for BackgroundRuntime {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn hanging_lookup_does_not_delay_shutdown() {
        let (answer, hangs) = channel::<()>();
        let (sender, started) = channel();
        let runtime = BackgroundRuntime::new().unwrap();
        // Blocks like the system's resolver.
        runtime.spawn_blocking(move || {
            sender.send(()).unwrap();
            let _ = hangs.recv();
        });
        started.recv().unwrap();
        // This would block forever if it waited for the lookup.
        drop(runtime);
        drop(answer);
    }
}
