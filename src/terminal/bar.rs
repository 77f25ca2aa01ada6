//! The live block of the running cell on a terminal.

use super::ProgressState;
use super::paint::ColorMode;
use super::progress_view::ProgressView;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Block that is redrawn in place; other lines are printed above it.
pub(super) struct LiveBlock {
    block: ProgressBar,
    color: ColorMode,
}

impl LiveBlock {
    pub(super) fn new(color: ColorMode) -> Self {
        let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        let block = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style);
        Self { block, color }
    }

    /// Returns the current terminal width without the last column: a line that fills it would wrap on some terminals.
    fn width() -> usize {
        console::Term::stderr().size_checked().map_or(80, |(_, columns)| usize::from(columns)).saturating_sub(1)
    }
}

impl ProgressView for LiveBlock {
    fn draw(&mut self, state: &ProgressState) {
        self.block.set_message(state.block(Self::width(), self.color).join("\n"));
        self.block.tick();
    }

    fn print_line(&mut self, line: &str) {
        self.block.println(line);
    }

    fn finish(&mut self) {
        self.block.finish_and_clear();
    }
}
