//! `JUnit` XML: one suite per context, which is every axis except the tier, and one case per cell and threshold. A cell
//! without thresholds has a case of its own, so that a cell that measured nothing is visible. INCONCLUSIVE is reported
//! as skipped, since it is neither a failure nor a success.

use crate::report::ReportError;
use crate::report::compare::{CompareView, RowView};
use crate::report::view::{CellView, View, text};
use crate::result::{ThresholdResult, Validity, Verdict};
use crate::units::Keyed;
use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};
use std::time::Duration;

/// Returns the report of a run.
pub(super) fn of_run(view: &View) -> Result<Vec<u8>, ReportError> {
    let mut suites = Suites::default();
    for cell in &view.cells {
        let context: Vec<(String, String)> = cell
            .result
            .axes
            .0
            .iter()
            .filter(|(field, _)| *field != "service_tier")
            .map(|(field, value)| ((*field).to_owned(), value.to_string()))
            .collect();
        suite(&mut suites, &context).add_test_cases(cases(cell));
    }
    if view.run.not_aws {
        // Suite names must stay the same, since CI systems key histories by name.
        for suite in &mut suites.items {
            suite.add_property(property("not_aws", &view.run.endpoint));
        }
    }
    if let Some(running) = &view.run.running {
        for suite in &mut suites.items {
            suite.add_property(property("running", running));
        }
    }
    report(&view.run.name, &view.run.started, suites)
}

/// Returns the report of a comparison.
pub(super) fn of_comparison(view: &CompareView) -> Result<Vec<u8>, ReportError> {
    let mut suites = Suites::default();
    for row in &view.rows {
        let context: Vec<_> = row.context.iter().map(|entry| (entry.name.clone(), entry.value.clone())).collect();
        suite(&mut suites, &context).add_test_case(compared(row, &view.baseline));
    }
    if view.not_aws {
        for suite in &mut suites.items {
            suite.add_property(property("not_aws", "true"));
        }
    }
    let started = view.new.first().map_or("", |session| &session.started);
    report(&view.name, started, suites)
}

/// Suites by context.
type Suites = Keyed<Vec<(String, String)>, TestSuite>;

/// Returns the suite of a context, which is created if it does not exist.
fn suite<'s>(suites: &'s mut Suites, context: &[(String, String)]) -> &'s mut TestSuite {
    suites.entry(context.to_vec(), || {
        let name = context.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ");
        let mut suite = TestSuite::new(clean(&name));
        suite.set_time(Duration::ZERO).add_properties(context.iter().map(|(name, value)| property(name, value)));
        suite
    })
}

fn property(name: &str, value: &str) -> Property {
    Property::new(clean(name), clean(value))
}

/// Returns a case of a cell, with its output text.
fn case(name: &str, test_id: &str, status: TestCaseStatus, text: &str) -> TestCase {
    let mut case = TestCase::new(clean(name), status);
    case.set_classname(clean(test_id)).set_time(Duration::ZERO).set_system_out(clean(text));
    case
}

/// Returns the status of a violated condition: its type, message and text.
fn failed(kind: &str, message: &str, text: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_type(kind).set_message(clean(message)).set_description(clean(text));
    status
}

/// Returns the status of a cell of which nothing was measured, with the reason.
fn errored(message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_type("not measured").set_message(clean(message));
    status
}

fn skipped(message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(clean(message));
    status
}

fn cases(cell: &CellView) -> Vec<TestCase> {
    let result = &cell.result;
    if cell.slo.is_empty() {
        let measured = format!(
            "{} requests, p50 {} ms, p95 {} ms, failed {}",
            result.requests.counts.total,
            text::percentile_of_times(&result.response_time, 0.50),
            text::percentile_of_times(&result.response_time, 0.95),
            text::percent(result.requests.counts.failure_rate())
        );
        let blocked =
            result.requests.blocked_by_stop_reason.iter().map(|(reason, n)| format!(", blocked by {reason} {n}"));
        let measured = measured + &blocked.collect::<String>();
        let status = match &result.validity {
            Validity::Invalid(_) => skipped(&result.validity.to_string()),
            Validity::Ok if result.requests.counts.succeeded == 0 => errored("no request succeeded"),
            Validity::Ok => TestCaseStatus::success(),
            excluded => errored(&excluded.to_string().replace('_', " ")),
        };
        return vec![case("measured", &cell.id, status, &measured)];
    }
    let threshold = |row: &ThresholdResult| {
        let bound = text::bound(row);
        let text = format!("measured {} ({}), bound {bound}", text::measured(row), text::interval(row));
        let why = if row.reason.is_empty() { text.clone() } else { row.reason.clone() };
        let status = match row.verdict {
            Verdict::Pass => TestCaseStatus::success(),
            Verdict::Fail => failed("threshold", &why, &text),
            Verdict::Inconclusive => skipped(&why),
        };
        case(&format!("{}: {} {bound}", row.name, row.metric), &row.test_id, status, &text)
    };
    cell.slo.iter().map(threshold).collect()
}

fn compared(row: &RowView, against: &str) -> TestCase {
    let (row, shown) = (&row.result, &row.shown);
    let interval = if shown.interval.is_empty() { String::new() } else { format!(" ({})", shown.interval) };
    let text = format!("{} ms before, {} ms now: {}{interval}", shown.base, shown.new, shown.change);
    let why = if row.reason.is_empty() { text.clone() } else { row.reason.clone() };
    let status = match row.verdict {
        Some("REGRESSED") if row.fails => failed("regression", &why, &text),
        Some(verdict @ ("REGRESSED" | "SUSPECT" | "INCONCLUSIVE")) => skipped(&format!("{verdict}: {why}")),
        _ => TestCaseStatus::success(),
    };
    case(&format!("{} against {against}", row.metric), &row.test_id, status, &text)
}

/// Returns the document. `started` is the start of the run in ISO 8601.
fn report(name: &str, started: &str, suites: Suites) -> Result<Vec<u8>, ReportError> {
    let mut report = Report::new(clean(name));
    report.set_time(Duration::ZERO);
    for mut suite in suites.items {
        // The format has no time zone; readers assume UTC.
        suite.extra.insert("timestamp".into(), started.trim_end_matches('Z').into());
        report.add_test_suite(suite);
    }
    let mut bytes = Vec::new();
    report.serialize(&mut bytes).map_err(|error| ReportError::Xml(error.to_string()))?;
    Ok(bytes)
}

/// Returns the text on one line, without characters that XML forbids.
fn clean(text: &str) -> String {
    let allowed = |c: char| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}');
    text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| allowed(*c)).collect()
}
