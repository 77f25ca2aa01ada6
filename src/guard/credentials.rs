//! Ends a run whose credentials are gone for good: an expired session does not come back by asking, and
//! what is left of the run is worth more than a column of failures.

use crate::executor::port::{Gate, Refusal, Why};
use crate::record::{Outcome, Record, class};
use std::sync::{Mutex, PoisonError};

/// So many in a row: one alone may be a request that was signed just before a renewal.
const IN_A_ROW: u32 = 5;

/// The gate.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    refused: u32,
    lost: Option<String>,
}

impl Credentials {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Gate for Credentials {
    fn begin(&self, _cell: usize) {}

    fn could_admit(&self, _cell: usize) -> Result<(), Refusal> {
        self.admit()
    }

    fn admit(&self) -> Result<(), Refusal> {
        self.with(|state| match &state.lost {
            Some(reason) => Err(Refusal { reason: reason.clone(), why: Why::Unsigned }),
            None => Ok(()),
        })
    }

    fn settle(&self, record: &Record) {
        if record.outcome == Outcome::Censored {
            return;
        }
        self.with(|state| match record.error_class.as_deref().filter(|name| class::is_unsigned(name)) {
            None => state.refused = 0,
            Some(name) => {
                state.refused += 1;
                if state.refused == IN_A_ROW {
                    let message = record.error_message.as_deref().unwrap_or_default();
                    let what = format!("the credentials are gone: {name}: {message}");
                    let reason = format!("{}; renew them, and go on with --resume", what.trim_end_matches(": "));
                    state.lost.get_or_insert(reason);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::request::tests::record;

    #[test]
    fn five_in_a_row_end_the_run_and_a_renewal_in_between_does_not() {
        let end = |class: Option<&str>| Record { error_class: class.map(str::to_owned), ..record() };
        let gate = Credentials::default();
        for _ in 0..3 {
            (0..4).for_each(|_| gate.settle(&end(Some("ExpiredTokenException"))));
            gate.settle(&end(Some("ThrottlingException")));
        }
        assert!(gate.admit().is_ok());
        (0..5).for_each(|_| gate.settle(&end(Some("credentials"))));
        let refusal = gate.admit().unwrap_err();
        assert_eq!(refusal.why, Why::Unsigned);
        gate.begin(1);
        gate.settle(&end(None));
        assert_eq!(gate.admit(), Err(refusal), "for every cell");
    }
}
