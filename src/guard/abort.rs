//! Gives up a cell that measures nothing: one whose first requests are all refused for good (a wrong
//! model id or a missing permission does not get better by asking a thousand times), and one in which
//! for a while nearly everything failed or was throttled.

use crate::executor::port::{Gate, Refusal, Why};
use crate::plan;
use crate::record::{Outcome, Record, class};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// The gate.
#[derive(Debug)]
pub(crate) struct Abort {
    rule: plan::Abort,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    first: First,
    /// When each of the last requests ended (epoch seconds), and whether it failed: as many as the rule asks
    /// for, and all of the time that it asks for.
    last: VecDeque<(f64, bool)>,
    failed: usize,
    /// When the first one ended.
    since: Option<f64>,
    given_up: Option<String>,
}

#[derive(Debug, Default)]
enum First {
    /// Only refusals so far, or nothing.
    #[default]
    Fresh,
    Refused(u32),
    /// Something else came back.
    Alive,
}

impl Abort {
    /// By the plan's rule.
    pub(crate) fn new(rule: plan::Abort) -> Self {
        Self { rule, state: Mutex::default() }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts refusals from the cell's first request on.
    fn first(&self, state: &mut State, record: &Record) {
        let hopeless =
            record.error_class.as_deref().filter(|name| class::find(name).is_some_and(|class| class.hopeless));
        let count = match state.first {
            First::Alive => return,
            First::Refused(count) => count,
            First::Fresh => 0,
        };
        let Some(name) = hopeless else {
            state.first = First::Alive;
            return;
        };
        state.first = First::Refused(count + 1);
        if count + 1 == self.rule.first_refused {
            let message = record.error_message.as_deref().unwrap_or_default();
            state.given_up = Some(format!("its first {} requests were all refused: {name}: {message}", count + 1));
        }
    }

    /// Looks at the last requests: neither many in a moment nor few in a long time are enough.
    fn last(&self, state: &mut State, record: &Record) {
        let (now, failed) = (record.timestamp, record.outcome.is_failure());
        let since = *state.since.get_or_insert(now);
        state.last.push_back((now, failed));
        state.failed += usize::from(failed);
        let within_s = self.rule.within.as_secs_f64();
        while state.last.len() > self.rule.requests as usize
            && let Some((ended, failed)) = state.last.front().copied()
            && now - ended > within_s
        {
            state.last.pop_front();
            state.failed -= usize::from(failed);
        }
        let n = state.last.len();
        let share = state.failed as f64 / n as f64;
        let enough = n >= self.rule.requests as usize && now - since >= within_s;
        if enough && share >= self.rule.failure_rate && failed {
            state.given_up = Some(format!(
                "{} of its last {n} requests failed or were throttled, the last one with {}",
                state.failed,
                record.error_class.as_deref().unwrap_or("an error")
            ));
        }
    }
}

impl Gate for Abort {
    fn begin(&self, _cell: usize) {
        self.with(|state| *state = State::default());
    }

    fn admit(&self) -> Result<(), Refusal> {
        self.with(|state| match &state.given_up {
            Some(reason) => Err(Refusal { reason: reason.clone(), why: Why::GivenUp }),
            None => Ok(()),
        })
    }

    fn settle(&self, record: &Record) {
        // A request that met a closing connection says nothing of the service, and one without credentials is
        // judged by the gate of the credentials.
        let is_excluded = |name: &str| name == class::KEEP_ALIVE_RACE || class::is_unsigned(name);
        if record.outcome == Outcome::Censored || record.error_class.as_deref().is_some_and(is_excluded) {
            return;
        }
        self.with(|state| {
            if state.given_up.is_none() {
                self.first(state, record);
                self.last(state, record);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::request::tests::record;

    /// Feeds ends at these times; `failed` says which failed.
    fn reason(rule: plan::Abort, ends: impl Iterator<Item = (f64, bool)>) -> Option<String> {
        let abort = Abort::new(rule);
        abort.begin(0);
        for (timestamp, failed) in ends {
            let (outcome, error_class) = if failed {
                (Outcome::Failed, Some("ServiceUnavailableException".to_owned()))
            } else {
                (Outcome::Succeeded, None)
            };
            abort.settle(&Record { timestamp, outcome, error_class, ..record() });
        }
        abort.admit().err().map(|refusal| refusal.reason)
    }

    #[test]
    fn keep_alive_races_and_faults_of_the_service_do_not_abort_a_cell() {
        let rule = plan::Abort { requests: 10, ..plan::Abort::default() };
        let abort = Abort::new(rule);
        abort.begin(0);
        let end = |class: &str, second: u32| Record {
            timestamp: 1e9 + f64::from(second),
            outcome: Outcome::Failed,
            error_class: Some(class.into()),
            ..record()
        };
        (0..200).for_each(|second| abort.settle(&end(class::KEEP_ALIVE_RACE, second)));
        assert!(abort.admit().is_ok());
        let fault = class::of_service_error("ValidationException", Some(400), "Internal server error");
        (0..5).for_each(|second| abort.settle(&end(fault, second)));
        assert!(abort.admit().is_ok(), "five faults of the service are not hopeless");
        abort.begin(0);
        let invalid = class::of_service_error("ValidationException", Some(400), "max_tokens is too large");
        (0..5).for_each(|second| abort.settle(&end(invalid, second)));
        assert!(abort.admit().is_err());
    }

    #[test]
    fn a_cell_is_given_up_where_many_failed_for_long() {
        let rule = plan::Abort::default();
        let every = |n: u32, step_s: f64| (0..n).map(move |i| (1e9 + f64::from(i) * step_s, true));
        assert!(reason(rule, every(1_000, 0.001)).is_none(), "a thousand within a second are a moment");
        assert!(reason(rule, every(99, 1.0)).is_none(), "99 are few");
        assert!(reason(rule, every(200, 0.1)).unwrap().contains("of its last"), "20 s of nothing else");
        let mixed = (0..2_000).map(|i| (1e9 + f64::from(i) * 0.1, i % 10 != 0));
        assert!(reason(rule, mixed).is_none(), "one in ten succeeds");
        let late = (0..2_000).map(|i| (1e9 + f64::from(i) * 0.1, i > 1_000));
        assert!(reason(rule, late).is_some(), "a service that went away in the middle");
        let never = plan::Abort { failure_rate: 1.1, ..rule };
        assert!(reason(never, every(2_000, 0.1)).is_none());
    }
}
