//! Stops a cell whose first requests are all refused for good: a wrong model id or a missing
//! permission does not get better by asking a thousand times.

use crate::executor::port::{Gate, Refusal};
use crate::record::{Outcome, Record, class};
use std::sync::{Mutex, PoisonError};

/// How many refusals in a row, from a cell's first request on, end it.
const FIRST: u32 = 5;

/// The gate.
#[derive(Debug, Default)]
pub(crate) struct Abort(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    /// Only refusals so far.
    #[default]
    Fresh,
    Refused {
        count: u32,
        last: String,
    },
    /// Something else came back: the cell goes on to its end.
    Alive,
}

impl Abort {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Gate for Abort {
    fn begin(&self, _cell: usize) {
        self.with(|state| *state = State::Fresh);
    }

    fn admit(&self) -> Result<(), Refusal> {
        self.with(|state| match state {
            State::Refused { count, last } if *count >= FIRST => {
                let reason = format!("its first {FIRST} requests were all refused: {last}");
                Err(Refusal { reason, failed: None })
            }
            _ => Ok(()),
        })
    }

    fn settle(&self, record: &Record) {
        if record.outcome == Outcome::Censored {
            return;
        }
        let hopeless =
            record.error_class.as_deref().filter(|name| class::find(name).is_some_and(|class| class.hopeless));
        self.with(|state| {
            let count = match state {
                State::Alive => return,
                State::Refused { count, .. } if *count >= FIRST => return,
                State::Refused { count, .. } => *count,
                State::Fresh => 0,
            };
            *state = match hopeless {
                None => State::Alive,
                Some(name) => {
                    let message = record.error_message.as_deref().unwrap_or_default();
                    State::Refused { count: count + 1, last: format!("{name}: {message}") }
                }
            };
        });
    }
}
