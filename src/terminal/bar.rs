//! Bars on a terminal.

use super::State;
use super::display::Show;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Steps of a bar; more than a terminal has columns.
const STEPS: u64 = 1_000;

/// Two lines: the cell with its bar, and its numbers.
pub(super) struct Bar {
    all: MultiProgress,
    cell: ProgressBar,
    numbers: ProgressBar,
}

impl Bar {
    pub(super) fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let style =
            |template: &str| ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let cell = all.add(ProgressBar::new(STEPS).with_style(style("{msg}  {wide_bar}")));
        let numbers = all.add(ProgressBar::new(1).with_style(style("      {wide_msg}")));
        Self { all, cell, numbers }
    }
}

impl Show for Bar {
    fn draw(&mut self, state: &State) {
        if state.turn == 0 {
            return;
        }
        self.cell.set_message(state.headline());
        self.cell.set_position((state.fraction() * STEPS as f64) as u64);
        self.numbers.set_message(state.numbers());
    }

    fn say(&mut self, line: &str) {
        let _ = self.all.println(line);
    }

    fn finish(&mut self, _state: &State) {
        self.cell.finish_and_clear();
        self.numbers.finish_and_clear();
    }
}
