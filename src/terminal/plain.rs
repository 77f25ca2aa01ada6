//! Plain lines where there is no terminal: one when a cell begins, and one every five seconds.

use super::State;
use super::display::Show;
use std::io::Write;

const EVERY_S: u64 = 5;

/// Lines on stderr. A closed stderr is no reason to fail.
#[derive(Debug, Default)]
pub(super) struct Plain {
    turn: usize,
    next_s: u64,
}

impl Show for Plain {
    fn draw(&mut self, state: &State) {
        if state.turn != self.turn {
            self.turn = state.turn;
            self.next_s = EVERY_S;
            self.say(&format!("[{}/{}] {}", state.turn, state.turns, state.cell));
        } else if state.elapsed.as_secs() >= self.next_s {
            self.next_s = (state.elapsed.as_secs() / EVERY_S + 1) * EVERY_S;
            self.say(&state.line());
        }
    }

    fn say(&mut self, line: &str) {
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    fn finish(&mut self) {}
}
