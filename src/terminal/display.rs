//! The thread that shows a run: a block on a terminal, plain lines elsewhere. It reads the state and
//! never makes the run wait.

use super::paint::Paint;
use super::{State, bar::Bar, plain::Plain};
use crate::units::text::clean;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

const REFRESH: Duration = Duration::from_millis(200);

/// How a run is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// What must be heard, and nothing else.
    Quiet,
    /// Lines, for a log.
    #[default]
    Lines,
    /// A block that is drawn over again.
    Block,
}

/// A running display.
pub(crate) struct Display {
    mode: Mode,
    words: Sender<String>,
    thread: Option<JoinHandle<()>>,
}

/// Says something between the lines of a display.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    words: Sender<String>,
    quiet: bool,
}

impl Handle {
    /// One line for people. A display that is gone hears nothing.
    pub(crate) fn say(&self, line: &str) {
        let _ = self.words.send(line.to_owned());
    }

    /// As [`Self::say`], of what a quiet display keeps to itself.
    pub(crate) fn note(&self, line: &str) {
        if !self.quiet {
            self.say(line);
        }
    }
}

impl Display {
    /// Starts to show what `state` gives, five times a second.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn start(
        mode: Mode,
        paint: Paint,
        mut state: impl FnMut() -> State + Send + 'static,
    ) -> std::io::Result<Self> {
        let (words, heard) = channel::<String>();
        let thread = std::thread::Builder::new().name("display".into()).spawn(move || {
            let mut shown: Box<dyn Show> = match mode {
                Mode::Block => Box::new(Bar::new(paint)),
                Mode::Lines | Mode::Quiet => Box::new(Plain::default()),
            };
            let mut draw = |shown: &mut dyn Show| {
                if mode == Mode::Quiet {
                    return;
                }
                let state = state();
                for done in &state.done {
                    shown.say(&done.line(state.turns, if mode == Mode::Block { paint } else { Paint::Plain }));
                }
                shown.draw(&state);
            };
            loop {
                match heard.recv_timeout(REFRESH) {
                    Ok(line) => shown.say(&clean(&line)),
                    Err(RecvTimeoutError::Timeout) => draw(&mut *shown),
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            // Those that ended since the last look.
            draw(&mut *shown);
            shown.finish();
        })?;
        Ok(Self { mode, words, thread: Some(thread) })
    }

    /// For those who have something to say.
    pub(crate) fn handle(&self) -> Handle {
        Handle { words: self.words.clone(), quiet: self.mode == Mode::Quiet }
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
    fn finish(&mut self);
}
