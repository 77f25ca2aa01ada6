//! Comparison of new sessions with a baseline: a verdict per cell and metric at a known false-alarm rate. `looks` contains
//! the statistics; this module converts sessions to tests and results to rows.
//!
//! Cells are matched by `cell_hash`; unmatched cells are listed with the differences. A cell with unusable numbers in a
//! new session is INCONCLUSIVE. p99 is never compared: a session has too few requests above it.

#[cfg(test)]
mod bench;
mod looks;
#[cfg(test)]
pub(crate) mod tests;

use super::baseline::{CellStatistics, Session, SessionCell, proximity_warnings};
use crate::stats::location::{MIN_SAMPLES_P95, MIN_SAMPLES_TYPICAL};
use crate::units::text::count;
pub(crate) use looks::{MIN_BASE_SESSIONS, SECOND_LOOK, Verdict, minimum_detectable_change};
use looks::{Point, Test, TestResult, mean};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Compared metric of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    /// Trimmed mean of the logarithms.
    Typical,
    /// 95th percentile.
    P95,
}

impl Metric {
    /// All metrics in row order.
    pub(crate) const ALL: [Self; 2] = [Self::Typical, Self::P95];

    /// Returns the name used in result files.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Typical => "typical",
            Self::P95 => "p95",
        }
    }

    /// Returns the minimum number of requests.
    fn min_requests(self) -> usize {
        match self {
            Self::Typical => MIN_SAMPLES_TYPICAL,
            Self::P95 => MIN_SAMPLES_P95,
        }
    }

    /// Returns the value, milliseconds.
    fn value(self, numbers: &CellStatistics) -> Option<f64> {
        match self {
            Self::Typical => numbers.typical_ms,
            Self::P95 => numbers.p95_ms,
        }
    }

    /// Returns the standard error of the logarithm over requests.
    fn standard_error(self, numbers: &CellStatistics) -> Option<f64> {
        match self {
            Self::Typical => numbers.typical_error,
            Self::P95 => numbers.p95_error,
        }
    }
}

/// Change with its uncertainty, as fractions: 0.1 is 10 % slower.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Change {
    /// Geometric mean of the baseline sessions, milliseconds.
    pub(crate) base_ms: f64,
    /// Geometric mean of the new sessions, milliseconds.
    pub(crate) new_ms: f64,
    /// New over base, minus one.
    pub(crate) share: f64,
    /// 90 % confidence interval; `None` if neither side has two sessions.
    pub(crate) interval: Option<(f64, f64)>,
    /// Smallest change that this comparison finds with a power of 0.80.
    pub(crate) minimum_detectable: Option<f64>,
    /// Standard deviation between sessions, ln.
    pub(crate) deviation: Option<f64>,
    /// One-sided p-value of the first look.
    pub(crate) p: Option<f64>,
    /// Number of baseline sessions used.
    pub(crate) base_sessions: usize,
    /// Number of new sessions used.
    pub(crate) new_sessions: usize,
}

/// Result for one metric of one cell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) cell_hash: String,
    /// Cell id in the first new session.
    pub(crate) test_id: String,
    /// Settings as in `SessionCell`.
    pub(crate) settings: BTreeMap<String, Value>,
    pub(crate) metric: Metric,
    pub(crate) verdict: Verdict,
    /// Explanation; empty if the numbers are sufficient.
    pub(crate) reason: String,
    /// `None` if one side has no usable value.
    pub(crate) change: Option<Change>,
    /// Each baseline session over the baseline mean, minus one, by start.
    pub(crate) base_points: Vec<f64>,
    /// Each new session over the baseline mean, minus one, by start.
    pub(crate) new_points: Vec<f64>,
}

impl Row {
    /// Returns whether the row fails the comparison.
    pub(crate) fn is_failure(&self) -> bool {
        self.verdict == Verdict::Regressed
            && self.change.is_some_and(|change| change.base_sessions >= MIN_BASE_SESSIONS)
    }
}

/// Common change of all cells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Drift {
    pub(crate) metric: Metric,
    /// Median change over all cells, as a fraction.
    pub(crate) change: f64,
    /// Number of cells.
    pub(crate) cells: usize,
}

/// Cell without a counterpart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unmatched {
    pub(crate) test_id: String,
    /// The cell is in the new sessions, otherwise in the baseline.
    pub(crate) is_new: bool,
    /// The most similar cell of the other side and the differences; empty if the other side has no cell.
    pub(crate) differs: String,
}

/// Comparison of new sessions with a baseline.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Comparison {
    /// By cell in the order of the first new session, then by metric.
    pub(crate) rows: Vec<Row>,
    /// Number of tests in the family.
    pub(crate) tests: usize,
    /// One per compared metric.
    pub(crate) drift: Vec<Drift>,
    /// In session order.
    pub(crate) unmatched: Vec<Unmatched>,
    /// Warnings about the sessions.
    pub(crate) warnings: Vec<String>,
}

impl Comparison {
    /// Returns whether a cell regressed against a sufficient baseline.
    pub(crate) fn is_failed(&self) -> bool {
        self.rows.iter().any(Row::is_failure)
    }
}

/// Compares new sessions with a baseline. Both are sorted by start; no session is in both.
pub(crate) fn compare(base: &[Session], new: &[Session]) -> Comparison {
    let mut rows: Vec<Row> = Vec::new();
    let mut tested: Vec<(usize, Test)> = Vec::new();
    let mut pools: Vec<(String, Metric)> = Vec::new();
    for cell in cells(new).filter(|cell| base.iter().any(|session| find(session, &cell.cell_hash).is_some())) {
        for metric in Metric::ALL {
            let numbers = |sessions| numbers(sessions, &cell.cell_hash, metric);
            let (base_numbers, new_numbers) = (numbers(base), numbers(new));
            if !base_numbers.is_empty() && !new_numbers.is_empty() {
                let per_request = variance_per_request(base_numbers.iter().chain(&new_numbers).copied(), metric);
                let points = |numbers: &[&CellStatistics]| -> Vec<Point> {
                    let point = |one: &&CellStatistics| {
                        Some(Point { ln: metric.value(one)?.ln(), request_variance: per_request / one.n.max(1) as f64 })
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
                settings: cell.settings.clone(),
                metric,
                verdict: Verdict::Inconclusive,
                reason: explain_missing(base, new, cell, metric),
                change: None,
                base_points: Vec::new(),
                new_points: Vec::new(),
            });
        }
    }
    let tests: Vec<Test> = tested.iter().map(|(_, test)| test.clone()).collect();
    for ((index, test), result) in tested.iter().zip(looks::evaluate(&tests)) {
        let row = &mut rows[*index];
        row.change = Some(change(test, &result, tests.len()));
        let over = |point: &Point| (point.ln - mean(&test.base)).exp_m1();
        row.base_points = test.base.iter().map(over).collect();
        row.new_points = test.new.iter().take(SECOND_LOOK).map(over).collect();
        row.verdict = result.verdict;
        if row.verdict == Verdict::Inconclusive && result.error.is_none() {
            row.reason = "one session against one is inconclusive: add sessions to measure how much they vary".into();
        }
    }
    for row in &mut rows {
        if row.verdict == Verdict::Regressed && !row.is_failure() {
            row.reason = format!("fewer than {MIN_BASE_SESSIONS} baseline sessions: a regression only warns");
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

/// Returns the usable values of a metric in session order.
fn numbers<'a>(sessions: &'a [Session], cell_hash: &str, metric: Metric) -> Vec<&'a CellStatistics> {
    let usable = sessions.iter().filter_map(|session| find(session, cell_hash)?.numbers.as_ref().ok());
    usable.filter(|numbers| metric.value(numbers).is_some()).collect()
}

/// Returns the variance of a metric per request, averaged over all sessions: estimates of single sessions are too
/// uncertain.
fn variance_per_request<'a>(numbers: impl Iterator<Item = &'a CellStatistics>, metric: Metric) -> f64 {
    let deviations: Vec<f64> =
        numbers.filter_map(|numbers| Some(metric.standard_error(numbers)? * (numbers.n as f64).sqrt())).collect();
    if deviations.is_empty() { 0.0 } else { (deviations.iter().sum::<f64>() / deviations.len() as f64).powi(2) }
}

/// Returns the distinct cells of the sessions.
fn cells(sessions: &[Session]) -> impl Iterator<Item = &SessionCell> {
    let mut seen = BTreeSet::new();
    sessions.iter().flat_map(|session| &session.cells).filter(move |cell| seen.insert(&cell.cell_hash))
}

fn find<'a>(session: &'a Session, cell_hash: &str) -> Option<&'a SessionCell> {
    session.cells.iter().find(|cell| cell.cell_hash == cell_hash)
}

/// Explains why a value is missing, the new sessions first; empty if none is.
fn explain_missing(base: &[Session], new: &[Session], cell: &SessionCell, metric: Metric) -> String {
    let reason = |measured: &SessionCell| match &measured.numbers {
        Err(reason) => Some(reason.clone()),
        Ok(numbers) if metric.value(numbers).is_some() => None,
        Ok(numbers) if numbers.n < metric.min_requests() => {
            Some(format!("too few requests: {}; {} needs {}", numbers.n, metric.key(), metric.min_requests()))
        }
        Ok(_) => Some(format!("too many censored requests: {} lies beyond the longest observed time", metric.key())),
    };
    let reasons_of = |sessions: &[Session], side: &str| -> Option<String> {
        let reasons: Vec<(&Session, Option<String>)> =
            sessions.iter().filter_map(|session| Some((session, reason(find(session, &cell.cell_hash)?)))).collect();
        let missing: Vec<String> = reasons
            .iter()
            .filter_map(|(session, reason)| Some(format!("{side} {}: {}", session.id, reason.as_ref()?)))
            .collect();
        // A gap in one baseline session does not matter if others have the value.
        let is_relevant = side == "session" || missing.len() == reasons.len();
        (is_relevant && !missing.is_empty()).then(|| missing.join("; "))
    };
    reasons_of(new, "session").or_else(|| reasons_of(base, "baseline session")).unwrap_or_default()
}

fn change(test: &Test, result: &TestResult, tests: usize) -> Change {
    let base = mean(&test.base);
    Change {
        base_ms: base.exp(),
        new_ms: (base + result.change).exp(),
        share: result.change.exp_m1(),
        interval: result.interval.map(|(low, high)| (low.exp_m1(), high.exp_m1())),
        minimum_detectable: result
            .deviation
            .map(|deviation| minimum_detectable_change(deviation, tests, test.base.len(), result.sessions)),
        deviation: result.deviation,
        p: result.p,
        base_sessions: test.base.len(),
        new_sessions: result.sessions,
    }
}

fn drift(rows: &[Row]) -> Vec<Drift> {
    let median_change = |metric: Metric| {
        let of_metric = rows.iter().filter(|row| row.metric == metric);
        let mut changes: Vec<f64> = of_metric.filter_map(|row| Some(row.change?.share.ln_1p())).collect();
        changes.sort_by(f64::total_cmp);
        let cells = changes.len();
        let middle = f64::midpoint(*changes.get(cells.checked_sub(1)? / 2)?, changes[cells / 2]);
        Some(Drift { metric, change: middle.exp_m1(), cells })
    };
    Metric::ALL.into_iter().filter_map(median_change).collect()
}

/// Returns the cells without a counterpart, the new sessions first.
fn unmatched(base: &[Session], new: &[Session]) -> Vec<Unmatched> {
    let (mut found, sides) = (Vec::new(), [(new, base, true), (base, new, false)]);
    for (sessions, others, is_new) in sides {
        let known: BTreeSet<&str> = cells(others).map(|cell| cell.cell_hash.as_str()).collect();
        for cell in cells(sessions).filter(|cell| !known.contains(cell.cell_hash.as_str())) {
            // A changed cell that kept its id is listed once.
            if found.iter().any(|listed: &Unmatched| listed.test_id == cell.test_id) {
                continue;
            }
            found.push(Unmatched {
                test_id: cell.test_id.clone(),
                is_new,
                differs: describe_differences(cell, others),
            });
        }
    }
    found
}

/// Describes the differences to the most similar cell of the other side.
fn describe_differences(cell: &SessionCell, others: &[Session]) -> String {
    let nearest = cells(others).min_by_key(|other| (other.test_id != cell.test_id, differences(cell, other).len()));
    let Some(nearest) = nearest else { return String::new() };
    let mut parts: Vec<String> = differences(cell, nearest)
        .into_iter()
        .map(|(key, here, there)| format!("{key} ({} instead of {})", format_setting(here), format_setting(there)))
        .collect();
    if parts.is_empty() {
        parts.push("the prompt text".into());
    }
    format!("differs from {} in {}", nearest.test_id, parts.join(", "))
}

fn differences<'a>(
    one: &'a SessionCell,
    other: &'a SessionCell,
) -> Vec<(&'a str, Option<&'a Value>, Option<&'a Value>)> {
    let keys: BTreeSet<&str> = one.settings.keys().chain(other.settings.keys()).map(String::as_str).collect();
    keys.into_iter()
        .map(|key| (key, one.settings.get(key), other.settings.get(key)))
        .filter(|(_, here, there)| here != there)
        .collect()
}

fn format_setting(value: Option<&Value>) -> String {
    match value {
        None => "the default".into(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Returns a property of a session, if known.
type Property = fn(&Session) -> Option<&String>;

fn warnings(base: &[Session], new: &[Session]) -> Vec<String> {
    let mut warnings = Vec::new();
    if base.len() < MIN_BASE_SESSIONS {
        warnings.push(format!(
            "{} in the baseline: with fewer than {MIN_BASE_SESSIONS}, regressions only warn",
            count(base.len(), "session")
        ));
    } else if base.len() < SECOND_LOOK {
        warnings.push(format!(
            "{}: the false-alarm rate is only known with {SECOND_LOOK} or more",
            count(base.len(), "baseline session")
        ));
    }
    // The baseline sessions were checked when they were added.
    warnings.extend(proximity_warnings(base, new));
    if new.len() > SECOND_LOOK {
        warnings.push(format!("{}: only the first {SECOND_LOOK} by start are used", count(new.len(), "session")));
    }
    let properties: [(&str, Property); 2] = [
        ("the region", |session| session.region.as_ref()),
        ("the tool version", |session| Some(&session.tool_version)),
    ];
    for (name, property) in properties {
        let (here, there): (BTreeSet<&str>, BTreeSet<&str>) = (
            new.iter().filter_map(property).map(String::as_str).collect(),
            base.iter().filter_map(property).map(String::as_str).collect(),
        );
        let list = |values: &BTreeSet<&str>| values.iter().copied().collect::<Vec<_>>().join(", ");
        if !here.is_empty() && !there.is_empty() && here != there {
            warnings.push(format!("{name} differs: {} now, {} in the baseline", list(&here), list(&there)));
        }
    }
    warnings
}
