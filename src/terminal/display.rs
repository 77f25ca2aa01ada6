//! The thread that shows a run: a block on a terminal, plain lines elsewhere. It reads the state and
//! never makes the run wait.

use super::paint::Paint;
use super::{State, bar::Bar, plain::Plain};
use crate::units::text::clean;
use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const REFRESH: Duration = Duration::from_millis(200);

/// How long a display may take to end. A terminal that is paused takes nothing, for hours.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often it is checked whether it has ended.
const POLL: Duration = Duration::from_millis(5);

/// What became of a display that did not end in order. The run goes on without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DisplayFailure {
    /// It panicked.
    #[error(
        "the progress display panicked during the run: its last lines are missing, the records and results are complete"
    )]
    Panicked,
    /// It does not end.
    #[error(
        "the progress display hangs (a paused terminal?): its last lines are missing, the records and results are complete"
    )]
    Hung,
}

impl DisplayFailure {
    /// Reports the failure on stderr, on a thread of its own: a display that hangs may hold stderr for ever.
    pub(crate) fn report(self) {
        let (told, done) = channel();
        let print = move || {
            let _ = writeln!(std::io::stderr(), "warning: {self}");
            let _ = told.send(());
        };
        if std::thread::Builder::new().name("warning".into()).spawn(print).is_ok() {
            let _ = done.recv_timeout(PATIENCE);
        }
    }
}

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
    /// One line for people. Without a display, which has panicked, it is printed as it is.
    pub(crate) fn say(&self, line: &str) {
        if let Err(unsent) = self.words.send(line.to_owned()) {
            let _ = writeln!(std::io::stderr(), "{}", clean(&unsent.0));
        }
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
    ///
    /// # Errors
    /// If the display has panicked, or does not end in time: it is given up.
    pub(crate) fn finish(self) -> Result<(), DisplayFailure> {
        self.finish_within(PATIENCE)
    }

    fn finish_within(self, patience: Duration) -> Result<(), DisplayFailure> {
        drop(self.words);
        let Some(thread) = self.thread else { return Ok(()) };
        let asked = Instant::now();
        while !thread.is_finished() {
            if asked.elapsed() > patience {
                return Err(DisplayFailure::Hung);
            }
            std::thread::sleep(POLL);
        }
        thread.join().map_err(|_| DisplayFailure::Panicked)
    }
}

/// A way to show states.
pub(super) trait Show {
    fn draw(&mut self, state: &State);
    fn say(&mut self, line: &str);
    fn finish(&mut self);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_display_that_panics_or_hangs_is_reported_and_not_waited_for() {
        for mode in [Mode::Lines, Mode::Block] {
            let panics = Display::start(mode, Paint::Plain, || panic!("a display that panics")).unwrap();
            assert_eq!(panics.finish(), Err(DisplayFailure::Panicked));
            let (_held, never) = channel::<State>();
            let hangs = Display::start(mode, Paint::Plain, move || never.recv().unwrap()).unwrap();
            assert_eq!(hangs.finish_within(Duration::from_millis(20)), Err(DisplayFailure::Hung));
        }
    }
}
