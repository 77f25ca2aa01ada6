//! New sessions against a baseline: a verdict for each cell and number, at a rate of false alarms that is
//! known. What is tested and when is in `looks`; here sessions become tests and tests become rows.
//!
//! Cells meet by their `cell_hash`; what meets nothing is listed with what differs. A cell whose numbers may
//! not be used in a new session is INCONCLUSIVE there, whatever they are. p99 is never compared: a session has
//! too few requests above it.

#[cfg(test)]
mod bench;
mod looks;
#[cfg(test)]
pub(crate) mod tests;

use super::baseline::{Measured, Numbers, Session, too_close};
use crate::stats::location::{ENOUGH_FOR_P95, ENOUGH_FOR_TYPICAL};
use crate::units::text::count;
use looks::{Call, Point, Test, Told, mean};
pub(crate) use looks::{FEWEST, SECOND_LOOK, visible};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What cells are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    /// The trimmed mean of the logarithms.
    Typical,
    /// The 95th percentile.
    P95,
}

impl Metric {
    /// Both, in the order of rows.
    pub(crate) const ALL: [Self; 2] = [Self::Typical, Self::P95];

    /// As in the files.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Typical => "typical",
            Self::P95 => "p95",
        }
    }

    /// The requests that it takes.
    fn enough(self) -> usize {
        match self {
            Self::Typical => ENOUGH_FOR_TYPICAL,
            Self::P95 => ENOUGH_FOR_P95,
        }
    }

    fn of(self, numbers: &Numbers) -> Option<f64> {
        match self {
            Self::Typical => numbers.typical_ms,
            Self::P95 => numbers.p95_ms,
        }
    }

    /// The standard error of its logarithm over requests.
    fn error(self, numbers: &Numbers) -> Option<f64> {
        match self {
            Self::Typical => numbers.typical_error,
            Self::P95 => numbers.p95_error,
        }
    }
}

/// What is said of a number of a cell. In the order of what should be read first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// It is slower.
    Regressed,
    /// It looks slower, and may be chance: repeat it.
    Suspect,
    /// It is faster.
    Improved,
    /// It cannot be said.
    Inconclusive,
    /// It is not slower by 5 %.
    Pass,
}

impl Verdict {
    /// All of them, in their order.
    pub(crate) const ALL: [Self; 5] = [Self::Regressed, Self::Suspect, Self::Improved, Self::Inconclusive, Self::Pass];

    /// As in the files.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Regressed => "REGRESSED",
            Self::Suspect => "SUSPECT",
            Self::Improved => "IMPROVED",
            Self::Inconclusive => "INCONCLUSIVE",
            Self::Pass => "PASS",
        }
    }
}

/// A change with its uncertainty, as shares: 0.1 is 10 % slower.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Change {
    /// Of the baseline: the geometric mean of its sessions, milliseconds.
    pub(crate) base_ms: f64,
    /// Of the new sessions, milliseconds.
    pub(crate) new_ms: f64,
    /// New over base, less one.
    pub(crate) share: f64,
    /// The ends of its 90 % interval; nothing where no session was repeated.
    pub(crate) interval: Option<(f64, f64)>,
    /// The smallest change that this comparison finds in four of five cases.
    pub(crate) visible: Option<f64>,
    /// The standard deviation between sessions, ln.
    pub(crate) deviation: Option<f64>,
    /// One-sided p of the first look.
    pub(crate) p: Option<f64>,
    /// Baseline sessions that have it.
    pub(crate) base_sessions: usize,
    /// New sessions that it is of.
    pub(crate) new_sessions: usize,
}

/// One number of one cell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// The cell's hash.
    pub(crate) cell_hash: String,
    /// What it is called in the first new session.
    pub(crate) test_id: String,
    /// What was asked for, as in `Measured`.
    pub(crate) asked: BTreeMap<String, Value>,
    /// What is compared.
    pub(crate) metric: Metric,
    /// What is said.
    pub(crate) verdict: Verdict,
    /// Why, where the numbers do not say it.
    pub(crate) reason: String,
    /// The numbers; nothing where there are none on one side.
    pub(crate) change: Option<Change>,
    /// Each session of the baseline over their mean, less one, in the order of their starts;
    pub(crate) base_points: Vec<f64>,
    /// each new one over the same.
    pub(crate) new_points: Vec<f64>,
}

impl Row {
    /// It fails a comparison.
    pub(crate) fn gates(&self) -> bool {
        self.verdict == Verdict::Regressed && self.change.is_some_and(|change| change.base_sessions >= FEWEST)
    }
}

/// What moved everything alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Drift {
    /// Of which number.
    pub(crate) metric: Metric,
    /// The median change over all cells, as a share.
    pub(crate) change: f64,
    /// Cells that it is of.
    pub(crate) cells: usize,
}

/// A cell that meets nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unmatched {
    /// What it is called.
    pub(crate) test_id: String,
    /// It is in the new sessions; else in the baseline.
    pub(crate) is_new: bool,
    /// From which it differs, and in what; empty where there is none.
    pub(crate) differs: String,
}

/// New sessions against a baseline.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Comparison {
    /// By cell, in the order of the first new session, then by number.
    pub(crate) rows: Vec<Row>,
    /// Tests that were looked at together.
    pub(crate) tests: usize,
    /// One per number that was compared.
    pub(crate) drift: Vec<Drift>,
    /// In the order of the sessions.
    pub(crate) unmatched: Vec<Unmatched>,
    /// What to know about the sessions.
    pub(crate) warnings: Vec<String>,
}

impl Comparison {
    /// Something regressed, and the baseline is good enough to say so.
    pub(crate) fn fails(&self) -> bool {
        self.rows.iter().any(Row::gates)
    }
}

/// Compares. `base` and `new` are in the order of their starts; no session is in both.
pub(crate) fn compare(base: &[Session], new: &[Session]) -> Comparison {
    let mut rows: Vec<Row> = Vec::new();
    let mut tested: Vec<(usize, Test)> = Vec::new();
    let mut pools: Vec<(String, Metric)> = Vec::new();
    for cell in cells(new).filter(|cell| base.iter().any(|session| find(session, &cell.cell_hash).is_some())) {
        for metric in Metric::ALL {
            let numbers = |sessions| numbers(sessions, &cell.cell_hash, metric);
            let (base_numbers, new_numbers) = (numbers(base), numbers(new));
            if !base_numbers.is_empty() && !new_numbers.is_empty() {
                let per_request = per_request(base_numbers.iter().chain(&new_numbers).copied(), metric);
                let points = |numbers: &[&Numbers]| -> Vec<Point> {
                    let point = |one: &&Numbers| {
                        Some(Point { ln: metric.of(one)?.ln(), noise: per_request / one.n.max(1) as f64 })
                    };
                    numbers.iter().filter_map(point).collect()
                };
                let key = (cell.tier().to_owned(), metric);
                let pool = pools.iter().position(|pool| *pool == key).unwrap_or_else(|| {
                    pools.push(key);
                    pools.len() - 1
                });
                tested.push((rows.len(), Test { pool, base: points(&base_numbers), new: points(&new_numbers) }));
            }
            rows.push(Row {
                cell_hash: cell.cell_hash.clone(),
                test_id: cell.test_id.clone(),
                asked: cell.asked.clone(),
                metric,
                verdict: Verdict::Inconclusive,
                reason: lacking(base, new, cell, metric),
                change: None,
                base_points: Vec::new(),
                new_points: Vec::new(),
            });
        }
    }
    let tests: Vec<Test> = tested.iter().map(|(_, test)| test.clone()).collect();
    for ((index, test), told) in tested.iter().zip(looks::look(&tests)) {
        let row = &mut rows[*index];
        row.change = Some(change(test, &told, tests.len()));
        let over = |point: &Point| (point.ln - mean(&test.base)).exp_m1();
        row.base_points = test.base.iter().map(over).collect();
        row.new_points = test.new.iter().take(SECOND_LOOK).map(over).collect();
        row.verdict = match told.call {
            Call::Regressed => Verdict::Regressed,
            Call::Improved => Verdict::Improved,
            Call::Pass => Verdict::Pass,
            Call::Suspect => Verdict::Suspect,
            Call::Inconclusive => Verdict::Inconclusive,
        };
        if row.verdict != Verdict::Inconclusive || told.error.is_some() {
            continue;
        }
        row.reason = "one session against one tells nothing: how sessions differ is not known".into();
    }
    for row in &mut rows {
        if row.verdict == Verdict::Regressed && !row.gates() {
            row.reason = format!("fewer than {FEWEST} baseline sessions have it: a warning, no more");
        }
    }
    Comparison {
        drift: drift(&rows),
        tests: tests.len(),
        unmatched: unmatched(base, new),
        warnings: warnings(base, new),
        rows,
    }
}

/// What sessions have of a number, in their order.
fn numbers<'a>(sessions: &'a [Session], cell_hash: &str, metric: Metric) -> Vec<&'a Numbers> {
    let usable = sessions.iter().filter_map(|session| find(session, cell_hash)?.numbers.as_ref().ok());
    usable.filter(|numbers| metric.of(numbers).is_some()).collect()
}

/// The variance that one request gives a number: errors of single sessions are too uncertain, the mean of all
/// is not.
fn per_request<'a>(numbers: impl Iterator<Item = &'a Numbers>, metric: Metric) -> f64 {
    let told: Vec<f64> =
        numbers.filter_map(|numbers| Some(metric.error(numbers)? * (numbers.n as f64).sqrt())).collect();
    if told.is_empty() { 0.0 } else { (told.iter().sum::<f64>() / told.len() as f64).powi(2) }
}

/// The cells of the new sessions, each once.
fn cells(sessions: &[Session]) -> impl Iterator<Item = &Measured> {
    let mut seen = BTreeSet::new();
    sessions.iter().flat_map(|session| &session.cells).filter(move |cell| seen.insert(&cell.cell_hash))
}

fn find<'a>(session: &'a Session, cell_hash: &str) -> Option<&'a Measured> {
    session.cells.iter().find(|cell| cell.cell_hash == cell_hash)
}

/// Why a number is missing, if it is, on the new side first.
fn lacking(base: &[Session], new: &[Session], cell: &Measured, metric: Metric) -> String {
    let reason = |measured: &Measured| match &measured.numbers {
        Err(reason) => Some(reason.clone()),
        Ok(numbers) if metric.of(numbers).is_some() => None,
        Ok(numbers) if numbers.n < metric.enough() => {
            Some(format!("{} requests are too few: {} takes {}", numbers.n, metric.key(), metric.enough()))
        }
        Ok(_) => Some(format!("so much was cut off that {} lies beyond what was seen", metric.key())),
    };
    let of = |sessions: &[Session], side: &str| -> Option<String> {
        let reasons: Vec<(&Session, Option<String>)> =
            sessions.iter().filter_map(|session| Some((session, reason(find(session, &cell.cell_hash)?)))).collect();
        let missing: Vec<String> = reasons
            .iter()
            .filter_map(|(session, reason)| Some(format!("{side} {}: {}", session.id, reason.as_ref()?)))
            .collect();
        // What some baseline session lacks is no news where others have it.
        let is_told = side == "session" || missing.len() == reasons.len();
        (is_told && !missing.is_empty()).then(|| missing.join("; "))
    };
    of(new, "session").or_else(|| of(base, "baseline session")).unwrap_or_default()
}

fn change(test: &Test, told: &Told, tests: usize) -> Change {
    let base = mean(&test.base);
    Change {
        base_ms: base.exp(),
        new_ms: (base + told.change).exp(),
        share: told.change.exp_m1(),
        interval: told.interval.map(|(low, high)| (low.exp_m1(), high.exp_m1())),
        visible: told.deviation.map(|deviation| visible(deviation, tests, test.base.len(), told.sessions)),
        deviation: told.deviation,
        p: told.p,
        base_sessions: test.base.len(),
        new_sessions: told.sessions,
    }
}

fn drift(rows: &[Row]) -> Vec<Drift> {
    let of = |metric: Metric| {
        let of_it = rows.iter().filter(|row| row.metric == metric);
        let mut changes: Vec<f64> = of_it.filter_map(|row| Some(row.change?.share.ln_1p())).collect();
        changes.sort_by(f64::total_cmp);
        let cells = changes.len();
        let middle = f64::midpoint(*changes.get(cells.checked_sub(1)? / 2)?, changes[cells / 2]);
        Some(Drift { metric, change: middle.exp_m1(), cells })
    };
    Metric::ALL.into_iter().filter_map(of).collect()
}

/// What has no partner, on the new side first.
fn unmatched(base: &[Session], new: &[Session]) -> Vec<Unmatched> {
    let (mut found, sides) = (Vec::new(), [(new, base, true), (base, new, false)]);
    for (sessions, others, is_new) in sides {
        let known: BTreeSet<&str> = cells(others).map(|cell| cell.cell_hash.as_str()).collect();
        for cell in cells(sessions).filter(|cell| !known.contains(cell.cell_hash.as_str())) {
            // Of one that changed and kept its name it is said once what differs.
            if found.iter().any(|told: &Unmatched| told.test_id == cell.test_id) {
                continue;
            }
            found.push(Unmatched { test_id: cell.test_id.clone(), is_new, differs: differs(cell, others) });
        }
    }
    found
}

/// The cell on the other side that is most like it, and what differs.
fn differs(cell: &Measured, others: &[Session]) -> String {
    let nearest = cells(others).min_by_key(|other| (other.test_id != cell.test_id, differences(cell, other).len()));
    let Some(nearest) = nearest else { return String::new() };
    let mut parts: Vec<String> = differences(cell, nearest)
        .into_iter()
        .map(|(key, here, there)| format!("{key} ({}, there {})", said(here), said(there)))
        .collect();
    if parts.is_empty() {
        parts.push("the prompt's text".into());
    }
    format!("differs from {} in {}", nearest.test_id, parts.join(", "))
}

fn differences<'a>(one: &'a Measured, other: &'a Measured) -> Vec<(&'a str, Option<&'a Value>, Option<&'a Value>)> {
    let keys: BTreeSet<&str> = one.asked.keys().chain(other.asked.keys()).map(String::as_str).collect();
    keys.into_iter()
        .map(|key| (key, one.asked.get(key), other.asked.get(key)))
        .filter(|(_, here, there)| here != there)
        .collect()
}

fn said(value: Option<&Value>) -> String {
    match value {
        None => "the default".into(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A fact of a session, where it is known.
type Fact = fn(&Session) -> Option<&String>;

fn warnings(base: &[Session], new: &[Session]) -> Vec<String> {
    let mut warnings = Vec::new();
    if base.len() < FEWEST {
        warnings.push(format!(
            "{} in the baseline: with fewer than {FEWEST} regressions only warn",
            count(base.len(), "session")
        ));
    } else if base.len() < SECOND_LOOK {
        warnings.push(format!(
            "{}: the rate of false alarms is known from {SECOND_LOOK} on",
            count(base.len(), "baseline session")
        ));
    }
    // Sessions of the baseline were warned of when they were added.
    warnings.extend(too_close(base, new));
    if new.len() > SECOND_LOOK {
        warnings.push(format!("{} were given: the first {SECOND_LOOK} by start count", count(new.len(), "session")));
    }
    let facts: [(&str, Fact); 2] = [
        ("the region", |session| session.region.as_ref()),
        ("the version of this tool", |session| Some(&session.tool_version)),
    ];
    for (what, of) in facts {
        let (here, there): (BTreeSet<&str>, BTreeSet<&str>) = (
            new.iter().filter_map(of).map(String::as_str).collect(),
            base.iter().filter_map(of).map(String::as_str).collect(),
        );
        let list = |values: &BTreeSet<&str>| values.iter().copied().collect::<Vec<_>>().join(", ");
        if !here.is_empty() && !there.is_empty() && here != there {
            warnings.push(format!("{what} differs: {} now, {} in the baseline", list(&here), list(&there)));
        }
    }
    warnings
}
