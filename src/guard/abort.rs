//! Aborts a cell that cannot produce a useful result: one whose first requests are all refused permanently (a wrong model
//! id or a missing permission), and one in which nearly all requests failed or were throttled for some time.

use crate::executor::port::{Gate, Refusal, RefusalReason};
use crate::plan;
use crate::record::{Outcome, Record, class};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// The gate that applies the plan's `[abort]` rule.
#[derive(Debug)]
pub(crate) struct AbortGate {
    rule: plan::Abort,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    initial: InitialOutcomes,
    /// End (epoch seconds) and failure of the most recent requests: at least the number of the rule, and all of the
    /// rule's time span.
    recent: VecDeque<(f64, bool)>,
    recent_failures: usize,
    /// End of the first request, in epoch seconds.
    first_end: Option<f64>,
    abort_reason: Option<String>,
}

#[derive(Debug, Default)]
enum InitialOutcomes {
    /// No request has ended.
    #[default]
    NoneYet,
    /// All requests so far were refused permanently.
    OnlyRefusals(u32),
    /// At least one request had another outcome.
    Mixed,
}

impl AbortGate {
    /// Creates a gate for the plan's rule.
    pub(crate) fn new(rule: plan::Abort) -> Self {
        Self { rule, state: Mutex::default() }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts permanent refusals at the start of the cell.
    fn check_initial_refusals(&self, state: &mut State, record: &Record) {
        let is_permanent =
            record.error_class.as_deref().filter(|name| class::find(name).is_some_and(|class| class.is_permanent));
        let count = match state.initial {
            InitialOutcomes::Mixed => return,
            InitialOutcomes::OnlyRefusals(count) => count,
            InitialOutcomes::NoneYet => 0,
        };
        let Some(name) = is_permanent else {
            state.initial = InitialOutcomes::Mixed;
            return;
        };
        state.initial = InitialOutcomes::OnlyRefusals(count + 1);
        if count + 1 == self.rule.first_refused {
            let message = record.error_message.as_deref().unwrap_or_default();
            state.abort_reason = Some(format!("the first {} requests were all refused: {name}: {message}", count + 1));
        }
    }

    /// Checks the failure rate of the most recent requests. It requires both the rule's number of requests and its time
    /// span.
    fn check_recent_failures(&self, state: &mut State, record: &Record) {
        let (now, failed) = (record.timestamp, record.outcome.is_failure());
        let first_end = *state.first_end.get_or_insert(now);
        state.recent.push_back((now, failed));
        state.recent_failures += usize::from(failed);
        let within_s = self.rule.within.as_secs_f64();
        while state.recent.len() > self.rule.requests as usize
            && let Some((ended, failed)) = state.recent.front().copied()
            && now - ended > within_s
        {
            state.recent.pop_front();
            state.recent_failures -= usize::from(failed);
        }
        let n = state.recent.len();
        let share = state.recent_failures as f64 / n as f64;
        let is_enough = n >= self.rule.requests as usize && now - first_end >= within_s;
        if is_enough && share >= self.rule.failure_rate && failed {
            state.abort_reason = Some(format!(
                "{} of the last {n} requests failed or were throttled; last error: {}",
                state.recent_failures,
                record.error_class.as_deref().unwrap_or("unknown")
            ));
        }
    }
}

impl Gate for AbortGate {
    fn start_cell(&self, _cell: usize) {
        self.with(|state| *state = State::default());
    }

    fn admit(&self) -> Result<(), Refusal> {
        self.with(|state| match &state.abort_reason {
            Some(message) => Err(Refusal { message: message.clone(), reason: RefusalReason::Aborted }),
            None => Ok(()),
        })
    }

    fn settle(&self, record: &Record) {
        // A keep-alive race is not a fault of the service, and requests without credentials are handled by
        // `CredentialsGate`.
        let is_excluded = |name: &str| name == class::KEEP_ALIVE_RACE || class::is_credential_failure(name);
        if record.outcome == Outcome::Censored || record.error_class.as_deref().is_some_and(is_excluded) {
            return;
        }
        self.with(|state| {
            if state.abort_reason.is_none() {
                self.check_initial_refusals(state, record);
                self.check_recent_failures(state, record);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::request::tests::record;

    /// Settles requests that ended at these times and failed or not. Returns the abort message, if any.
    fn abort_message(rule: plan::Abort, ends: impl Iterator<Item = (f64, bool)>) -> Option<String> {
        let abort = AbortGate::new(rule);
        abort.start_cell(0);
        for (timestamp, failed) in ends {
            let (outcome, error_class) = if failed {
                (Outcome::Failed, Some("ServiceUnavailableException".to_owned()))
            } else {
                (Outcome::Succeeded, None)
            };
            abort.settle(&Record { timestamp, outcome, error_class, ..record() });
        }
        abort.admit().err().map(|refusal| refusal.message)
    }

    #[test]
    fn keep_alive_races_and_service_faults_do_not_count_as_permanent_refusals() {
        let rule = plan::Abort { requests: 10, ..plan::Abort::default() };
        let abort = AbortGate::new(rule);
        abort.start_cell(0);
        let end = |class: &str, second: u32| Record {
            timestamp: 1e9 + f64::from(second),
            outcome: Outcome::Failed,
            error_class: Some(class.into()),
            ..record()
        };
        (0..200).for_each(|second| abort.settle(&end(class::KEEP_ALIVE_RACE, second)));
        assert!(abort.admit().is_ok());
        let fault = class::class_of_service_error("ValidationException", Some(400), "Internal server error");
        (0..5).for_each(|second| abort.settle(&end(fault, second)));
        assert!(abort.admit().is_ok(), "five service faults are not permanent refusals");
        abort.start_cell(0);
        let invalid = class::class_of_service_error("ValidationException", Some(400), "max_tokens is too large");
        (0..5).for_each(|second| abort.settle(&end(invalid, second)));
        assert!(abort.admit().is_err());
    }

    #[test]
    fn cell_is_aborted_after_many_failures_over_a_long_time() {
        let rule = plan::Abort::default();
        let every = |n: u32, step_s: f64| (0..n).map(move |i| (1e9 + f64::from(i) * step_s, true));
        assert!(abort_message(rule, every(1_000, 0.001)).is_none(), "1,000 failures within 1 s are too short a time");
        assert!(abort_message(rule, every(99, 1.0)).is_none(), "99 failures are too few");
        assert!(abort_message(rule, every(200, 0.1)).unwrap().contains("of the last"), "200 failures in 20 s");
        let mixed = (0..2_000).map(|i| (1e9 + f64::from(i) * 0.1, i % 10 != 0));
        assert!(abort_message(rule, mixed).is_none(), "one in ten succeeds");
        let late = (0..2_000).map(|i| (1e9 + f64::from(i) * 0.1, i > 1_000));
        assert!(abort_message(rule, late).is_some(), "a service that fails from the middle on");
        let never = plan::Abort { failure_rate: 1.1, ..rule };
        assert!(abort_message(never, every(2_000, 0.1)).is_none());
    }
}
