//! Log lines without a terminal: one when a cell starts, and one every five seconds.

use super::ProgressState;
use super::progress_view::ProgressView;
use std::io::Write;

const EVERY_S: u64 = 5;

/// Lines on stderr. A closed stderr is ignored.
#[derive(Debug, Default)]
pub(super) struct LogLines {
    planned_run: usize,
    next_s: u64,
}

impl ProgressView for LogLines {
    fn draw(&mut self, state: &ProgressState) {
        if state.planned_run != self.planned_run {
            self.planned_run = state.planned_run;
            self.next_s = EVERY_S;
            self.print_line(&format!("[{}/{}] {}", state.planned_run, state.planned_runs, state.cell));
        } else if state.elapsed.as_secs() >= self.next_s {
            self.next_s = (state.elapsed.as_secs() / EVERY_S + 1) * EVERY_S;
            self.print_line(&state.line());
        }
    }

    fn print_line(&mut self, line: &str) {
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    fn finish(&mut self) {}
}
