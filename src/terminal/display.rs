//! The progress display thread: a live block on a terminal, log lines otherwise. It reads the state and never blocks the
//! run.

use super::paint::ColorMode;
use super::progress_view::ProgressView;
use super::{ProgressState, bar::LiveBlock, plain::LogLines};
use crate::units::text::clean;
use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const REFRESH: Duration = Duration::from_millis(200);

/// Time limit for the end of a display: a paused terminal can block it for hours.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// Interval between checks whether the display thread has ended.
const POLL: Duration = Duration::from_millis(5);

/// Failure of the progress display. The run continues without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DisplayFailure {
    #[error(
        "the progress display panicked during the run: its last lines are missing, the records and results are complete"
    )]
    Panicked,
    #[error(
        "the progress display hangs (a paused terminal?): its last lines are missing, the records and results are complete"
    )]
    Hung,
}

impl DisplayFailure {
    /// Reports the failure on stderr from a separate thread: a hanging display may hold the lock of stderr.
    pub(crate) fn report(self) {
        let (reported, done) = channel();
        let print = move || {
            let _ = writeln!(std::io::stderr(), "warning: {self}");
            let _ = reported.send(());
        };
        if std::thread::Builder::new().name("warning".into()).spawn(print).is_ok() {
            let _ = done.recv_timeout(FINISH_TIMEOUT);
        }
    }
}

/// Output mode of the progress display.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum DisplayMode {
    /// Results, warnings and errors only.
    Quiet,
    /// Log lines.
    #[default]
    Lines,
    /// A block that is redrawn in place.
    Block,
}

/// A running progress display.
pub(crate) struct Display {
    mode: DisplayMode,
    lines: Sender<String>,
    thread: Option<JoinHandle<()>>,
}

/// Prints lines above a running display.
#[derive(Debug, Clone)]
pub(crate) struct DisplayHandle {
    lines: Sender<String>,
    quiet: bool,
}

impl DisplayHandle {
    /// Prints a line; directly to stderr if the display has panicked.
    pub(crate) fn print(&self, line: &str) {
        if let Err(unsent) = self.lines.send(line.to_owned()) {
            let _ = writeln!(std::io::stderr(), "{}", clean(&unsent.0));
        }
    }

    /// Prints a line unless the display is quiet.
    pub(crate) fn print_unless_quiet(&self, line: &str) {
        if !self.quiet {
            self.print(line);
        }
    }
}

impl Display {
    /// Starts a display that shows `state` five times per second.
    ///
    /// # Errors
    /// Returns an error if no thread can be started.
    pub(crate) fn start(
        mode: DisplayMode,
        color: ColorMode,
        mut state: impl FnMut() -> ProgressState + Send + 'static,
    ) -> std::io::Result<Self> {
        let (lines, received) = channel::<String>();
        let thread = std::thread::Builder::new().name("display".into()).spawn(move || {
            let mut view: Box<dyn ProgressView> = match mode {
                DisplayMode::Block => Box::new(LiveBlock::new(color)),
                DisplayMode::Lines | DisplayMode::Quiet => Box::new(LogLines::default()),
            };
            let mut draw =
                |view: &mut dyn ProgressView| {
                    if mode == DisplayMode::Quiet {
                        return;
                    }
                    let state = state();
                    for done in &state.done {
                        view.print_line(&done.line(
                            state.planned_runs,
                            if mode == DisplayMode::Block { color } else { ColorMode::Plain },
                        ));
                    }
                    view.draw(&state);
                };
            loop {
                match received.recv_timeout(REFRESH) {
                    Ok(line) => view.print_line(&clean(&line)),
                    Err(RecvTimeoutError::Timeout) => draw(&mut *view),
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            // Cells that ended since the last update.
            draw(&mut *view);
            view.finish();
        })?;
        Ok(Self { mode, lines, thread: Some(thread) })
    }

    /// Returns a handle that prints lines above the display.
    pub(crate) fn handle(&self) -> DisplayHandle {
        DisplayHandle { lines: self.lines.clone(), quiet: self.mode == DisplayMode::Quiet }
    }

    /// Ends the display and clears the block. All handles must have been dropped.
    ///
    /// # Errors
    /// Returns an error if the display has panicked or does not end in time; it is then abandoned.
    pub(crate) fn finish(self) -> Result<(), DisplayFailure> {
        self.finish_within(FINISH_TIMEOUT)
    }

    fn finish_within(self, timeout: Duration) -> Result<(), DisplayFailure> {
        drop(self.lines);
        let Some(thread) = self.thread else { return Ok(()) };
        let requested = Instant::now();
        while !thread.is_finished() {
            if requested.elapsed() > timeout {
                return Err(DisplayFailure::Hung);
            }
            std::thread::sleep(POLL);
        }
        thread.join().map_err(|_| DisplayFailure::Panicked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_display_is_reported_without_waiting() {
        for mode in [DisplayMode::Lines, DisplayMode::Block] {
            let panics = Display::start(mode, ColorMode::Plain, || panic!("a display that panics")).unwrap();
            assert_eq!(panics.finish(), Err(DisplayFailure::Panicked));
            let (_held, never) = channel::<ProgressState>();
            let hangs = Display::start(mode, ColorMode::Plain, move || never.recv().unwrap()).unwrap();
            assert_eq!(hangs.finish_within(Duration::from_millis(20)), Err(DisplayFailure::Hung));
        }
    }
}
