//! The interface of the renderers of a progress display.

use super::ProgressState;

/// Renderer of progress states.
pub(super) trait ProgressView {
    fn draw(&mut self, state: &ProgressState);
    fn print_line(&mut self, line: &str);
    fn finish(&mut self);
}
