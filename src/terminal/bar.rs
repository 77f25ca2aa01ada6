//! The block of a running cell on a terminal.

use super::State;
use super::display::Show;
use super::paint::Paint;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Lines that are drawn over again; what is said goes above them.
pub(super) struct Bar {
    block: ProgressBar,
    paint: Paint,
}

impl Bar {
    pub(super) fn new(paint: Paint) -> Self {
        let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        let block = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style);
        Self { block, paint }
    }

    /// Of the terminal, which may have been changed since the last time. The last column stays free: a
    /// line that fills it would wrap on some terminals.
    fn width() -> usize {
        console::Term::stderr().size_checked().map_or(80, |(_, columns)| usize::from(columns)).saturating_sub(1)
    }
}

impl Show for Bar {
    fn draw(&mut self, state: &State) {
        self.block.set_message(state.block(Self::width(), self.paint).join("\n"));
        self.block.tick();
    }

    fn say(&mut self, line: &str) {
        self.block.println(line);
    }

    fn finish(&mut self) {
        self.block.finish_and_clear();
    }
}
