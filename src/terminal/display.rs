//! The thread that shows a run: bars on a terminal, plain lines elsewhere. It reads the state and
//! never makes the run wait.

use super::{State, bar::Bar, plain::Plain};
use std::io::IsTerminal;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

const REFRESH: Duration = Duration::from_millis(200);

/// A running display.
pub(crate) struct Display {
    words: Sender<String>,
    thread: Option<JoinHandle<()>>,
}

/// Says something between the lines of a display.
#[derive(Debug, Clone)]
pub(crate) struct Handle(Sender<String>);

impl Handle {
    /// One line for people. A display that is gone hears nothing.
    pub(crate) fn say(&self, line: &str) {
        let _ = self.0.send(line.to_owned());
    }
}

impl Display {
    /// Starts to show what `state` gives, five times a second.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn start(state: impl Fn() -> State + Send + 'static) -> std::io::Result<Self> {
        let (words, heard) = channel::<String>();
        let terminal = std::io::stderr().is_terminal();
        let thread = std::thread::Builder::new().name("display".into()).spawn(move || {
            let mut shown: Box<dyn Show> = if terminal { Box::new(Bar::new()) } else { Box::new(Plain::default()) };
            loop {
                match heard.recv_timeout(REFRESH) {
                    Ok(line) => shown.say(&line),
                    Err(RecvTimeoutError::Timeout) => shown.draw(&state()),
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            shown.finish(&state());
        })?;
        Ok(Self { words, thread: Some(thread) })
    }

    /// For those who have something to say.
    pub(crate) fn handle(&self) -> Handle {
        Handle(self.words.clone())
    }

    /// Clears what moves. All handles must be gone.
    pub(crate) fn finish(self) {
        drop(self.words);
        if let Some(thread) = self.thread {
            let _ = thread.join();
        }
    }
}

/// A way to show states.
pub(super) trait Show {
    fn draw(&mut self, state: &State);
    fn say(&mut self, line: &str);
    fn finish(&mut self, state: &State);
}
