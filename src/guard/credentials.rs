//! Ends a run whose credentials are gone for good: an expired session does not come back by asking, and
//! what is left of the run is worth more than a column of failures.

use crate::executor::port::{Gate, Refusal, Why};
use crate::record::{Outcome, Record, class};
use std::sync::{Mutex, PoisonError};

/// Requests without credentials that end the run, if no other request ended between them: one alone may be a request
/// that was signed just before a renewal.
const IN_A_ROW: u32 = 5;

/// The time that they must span, in seconds: many users fail at once while a provider does not answer for a moment.
const LOST_AFTER_S: f64 = 10.0;

/// The gate.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    refused: u32,
    /// When the first of them ended, in epoch seconds.
    since: f64,
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
                state.refused = state.refused.saturating_add(1);
                if state.refused == 1 {
                    state.since = record.timestamp;
                }
                if state.refused >= IN_A_ROW && record.timestamp - state.since >= LOST_AFTER_S {
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
    fn a_hiccup_of_all_users_does_not_end_the_run_and_a_lasting_loss_does() {
        let end = |class: Option<&str>, timestamp: f64| Record {
            timestamp,
            error_class: class.map(str::to_owned),
            ..record()
        };
        let gate = Credentials::default();
        for hiccup in [0.0, 60.0, 120.0] {
            (0..90).for_each(|user| gate.settle(&end(Some("credentials"), 1e9 + hiccup + f64::from(user) / 10.0)));
            gate.settle(&end(Some("ThrottlingException"), 1e9 + hiccup + 9.5));
        }
        assert!(gate.admit().is_ok(), "90 users, and one provider that did not answer for 9 s");
        let lost = |second: u32| end(Some("ExpiredTokenException"), 1e9 + 200.0 + f64::from(second));
        for second in [0, 11, 12, 13] {
            gate.settle(&lost(second));
        }
        assert!(gate.admit().is_ok(), "four are few");
        gate.settle(&lost(14));
        let refusal = gate.admit().unwrap_err();
        assert_eq!(refusal.why, Why::Unsigned);
        gate.begin(1);
        gate.settle(&end(None, 1e9 + 300.0));
        assert_eq!(gate.admit(), Err(refusal), "for every cell");
    }
}
