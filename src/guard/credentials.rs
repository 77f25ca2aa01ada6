//! Ends a run whose credentials are lost permanently: an expired session does not recover by itself, and further requests
//! would only fail.

use crate::executor::port::{Gate, Refusal, RefusalReason};
use crate::record::{Outcome, Record, class};
use std::sync::{Mutex, PoisonError};

/// Minimum number of consecutive requests without valid credentials that end the run. A single one may have been signed
/// just before a renewal.
const MIN_CONSECUTIVE: u32 = 5;

/// Minimum time that they span, in seconds: many users fail at once while a provider is unavailable for a moment.
const MIN_SPAN_S: f64 = 10.0;

/// The gate that refuses requests once credentials are lost.
#[derive(Debug, Default)]
pub(crate) struct CredentialsGate {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    consecutive: u32,
    /// End of the first of them, in epoch seconds.
    first_end: f64,
    lost: Option<String>,
}

impl CredentialsGate {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Gate for CredentialsGate {
    fn start_cell(&self, _cell: usize) {}

    fn check_cell(&self, _cell: usize) -> Result<(), Refusal> {
        self.admit()
    }

    fn admit(&self) -> Result<(), Refusal> {
        self.with(|state| match &state.lost {
            Some(message) => Err(Refusal { message: message.clone(), reason: RefusalReason::CredentialsLost }),
            None => Ok(()),
        })
    }

    fn settle(&self, record: &Record) {
        if record.outcome == Outcome::Censored {
            return;
        }
        self.with(|state| match record.error_class.as_deref().filter(|name| class::is_credential_failure(name)) {
            None => state.consecutive = 0,
            Some(name) => {
                state.consecutive = state.consecutive.saturating_add(1);
                if state.consecutive == 1 {
                    state.first_end = record.timestamp;
                }
                if state.consecutive >= MIN_CONSECUTIVE && record.timestamp - state.first_end >= MIN_SPAN_S {
                    let message = record.error_message.as_deref().unwrap_or_default();
                    let error = format!("the credentials are lost: {name}: {message}");
                    let message = format!("{}; renew them and continue with --resume", error.trim_end_matches(": "));
                    state.lost.get_or_insert(message);
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
    fn short_outage_does_not_end_the_run_and_a_lasting_loss_does() {
        let end = |class: Option<&str>, timestamp: f64| Record {
            timestamp,
            error_class: class.map(str::to_owned),
            ..record()
        };
        let gate = CredentialsGate::default();
        for outage in [0.0, 60.0, 120.0] {
            (0..90).for_each(|user| gate.settle(&end(Some("credentials"), 1e9 + outage + f64::from(user) / 10.0)));
            gate.settle(&end(Some("ThrottlingException"), 1e9 + outage + 9.5));
        }
        assert!(gate.admit().is_ok(), "90 users failed within 9 s");
        let lost = |second: u32| end(Some("ExpiredTokenException"), 1e9 + 200.0 + f64::from(second));
        for second in [0, 11, 12, 13] {
            gate.settle(&lost(second));
        }
        assert!(gate.admit().is_ok(), "four requests are too few");
        gate.settle(&lost(14));
        let refusal = gate.admit().unwrap_err();
        assert_eq!(refusal.reason, RefusalReason::CredentialsLost);
        gate.start_cell(1);
        gate.settle(&end(None, 1e9 + 300.0));
        assert_eq!(gate.admit(), Err(refusal), "the refusal applies to every cell");
    }
}
