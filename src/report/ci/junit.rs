//! `JUnit` XML: one suite per context, which is every axis except the tier, and one case per cell and threshold. A cell
//! without thresholds has a case of its own, so that a cell that measured nothing is visible. INCONCLUSIVE is reported
//! as skipped, since it is neither a failure nor a success.

use crate::report::ReportError;
use crate::report::compare::{CompareView, RowView};
use crate::report::view::{CellView, View, text};
use crate::result::{ThresholdResult, Validity, Verdict};
use crate::units::Keyed;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};
use std::io;

/// Result of a case.
enum End {
    Passed,
    /// Violated condition: its type and message.
    Failed(&'static str, String),
    /// Reason why nothing was measured.
    Errored(String),
    Skipped(String),
}

struct Case {
    name: String,
    /// Cell id.
    class: String,
    end: End,
    /// Output text of the case.
    text: String,
}

struct Suite {
    name: String,
    properties: Vec<(String, String)>,
    cases: Vec<Case>,
}

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
        suite(&mut suites, context).cases.extend(cases(cell));
    }
    if view.run.not_aws {
        // Suite names must stay the same, since CI systems key histories by name.
        for suite in &mut suites.items {
            suite.properties.push(("not_aws".into(), view.run.endpoint.clone()));
        }
    }
    if let Some(running) = &view.run.running {
        for suite in &mut suites.items {
            suite.properties.push(("running".into(), running.clone()));
        }
    }
    write(&view.run.name, &view.run.started, &suites.items)
}

/// Returns the report of a comparison.
pub(super) fn of_comparison(view: &CompareView) -> Result<Vec<u8>, ReportError> {
    let mut suites = Suites::default();
    for row in &view.rows {
        let context = row.context.iter().map(|entry| (entry.name.clone(), entry.value.clone())).collect();
        suite(&mut suites, context).cases.push(compared(row, &view.baseline));
    }
    if view.not_aws {
        for suite in &mut suites.items {
            suite.properties.push(("not_aws".into(), "true".into()));
        }
    }
    let started = view.new.first().map_or("", |session| &session.started);
    write(&view.name, started, &suites.items)
}

/// Suites by context.
type Suites = Keyed<Vec<(String, String)>, Suite>;

/// Returns the suite of a context, which is created if it does not exist.
fn suite(suites: &mut Suites, context: Vec<(String, String)>) -> &mut Suite {
    suites.entry(context.clone(), || {
        let name = context.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ");
        Suite { name, properties: context, cases: Vec::new() }
    })
}

fn cases(cell: &CellView) -> Vec<Case> {
    let result = &cell.result;
    if cell.slo.is_empty() {
        let measured = format!(
            "{} requests, p50 {} ms, p95 {} ms, failed {}",
            result.requests.counts.total, cell.shown.p50, cell.shown.p95, cell.shown.failure_rate
        );
        let blocked =
            result.requests.blocked_by_stop_reason.iter().map(|(reason, n)| format!(", blocked by {reason} {n}"));
        let measured = measured + &blocked.collect::<String>();
        let end = match &result.validity {
            Validity::Invalid(_) => End::Skipped(result.validity.to_string()),
            Validity::Ok if result.requests.counts.succeeded == 0 => End::Errored("no request succeeded".into()),
            Validity::Ok => End::Passed,
            excluded => End::Errored(excluded.to_string().replace('_', " ")),
        };
        return vec![Case { name: "measured".into(), class: cell.id.clone(), end, text: measured }];
    }
    let case = |row: &ThresholdResult| {
        let bound = text::bound(row);
        let text = format!("measured {} ({}), bound {bound}", text::measured(row), text::interval(row));
        let why = if row.reason.is_empty() { text.clone() } else { row.reason.clone() };
        let end = match row.verdict {
            Verdict::Pass => End::Passed,
            Verdict::Fail => End::Failed("threshold", why),
            Verdict::Inconclusive => End::Skipped(why),
        };
        Case { name: format!("{}: {} {bound}", row.name, row.metric), class: row.test_id.clone(), end, text }
    };
    cell.slo.iter().map(case).collect()
}

fn compared(row: &RowView, against: &str) -> Case {
    let (row, shown) = (&row.result, &row.shown);
    let interval = if shown.interval.is_empty() { String::new() } else { format!(" ({})", shown.interval) };
    let text = format!("{} ms before, {} ms now: {}{interval}", shown.base, shown.new, shown.change);
    let why = if row.reason.is_empty() { text.clone() } else { row.reason.clone() };
    let end = match row.verdict {
        Some("REGRESSED") if row.fails => End::Failed("regression", why),
        Some(verdict @ ("REGRESSED" | "SUSPECT" | "INCONCLUSIVE")) => End::Skipped(format!("{verdict}: {why}")),
        _ => End::Passed,
    };
    Case { name: format!("{} against {against}", row.metric), class: row.test_id.clone(), end, text }
}

#[derive(Default)]
struct Tally {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
}

impl Tally {
    fn of<'a>(cases: impl Iterator<Item = &'a Case>) -> Self {
        let mut tally = Self::default();
        for case in cases {
            tally.tests += 1;
            match case.end {
                End::Passed => {}
                End::Failed(..) => tally.failures += 1,
                End::Errored(_) => tally.errors += 1,
                End::Skipped(_) => tally.skipped += 1,
            }
        }
        tally
    }

    fn attributes(&self) -> [(&'static str, String); 5] {
        [
            ("tests", self.tests.to_string()),
            ("failures", self.failures.to_string()),
            ("errors", self.errors.to_string()),
            ("skipped", self.skipped.to_string()),
            ("time", "0".into()),
        ]
    }
}

fn write(name: &str, started: &str, suites: &[Suite]) -> Result<Vec<u8>, ReportError> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    document(&mut writer, name, started, suites).map_err(|error| ReportError::Xml(error.to_string()))?;
    let mut bytes = writer.into_inner();
    bytes.push(b'\n');
    Ok(bytes)
}

fn document(writer: &mut Writer<Vec<u8>>, name: &str, started: &str, suites: &[Suite]) -> io::Result<()> {
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let all = Tally::of(suites.iter().flat_map(|suite| &suite.cases)).attributes();
    let mut element = writer.create_element("testsuites").with_attribute(("name", &*clean(name)));
    for (key, value) in &all {
        element = element.with_attribute((*key, value.as_str()));
    }
    element.write_inner_content(|writer| suites.iter().try_for_each(|each| one_suite(writer, started, each)))?;
    Ok(())
}

fn one_suite(writer: &mut Writer<Vec<u8>>, started: &str, suite: &Suite) -> io::Result<()> {
    let tally = Tally::of(suite.cases.iter()).attributes();
    let mut element = writer.create_element("testsuite").with_attribute(("name", &*clean(&suite.name)));
    for (key, value) in &tally {
        element = element.with_attribute((*key, value.as_str()));
    }
    // The format has no time zone; readers assume UTC.
    element = element.with_attribute(("timestamp", started.trim_end_matches('Z')));
    element.write_inner_content(|writer| {
        writer.create_element("properties").write_inner_content(|writer| {
            suite.properties.iter().try_for_each(|(name, value)| {
                let property = writer.create_element("property").with_attribute(("name", &*clean(name)));
                property.with_attribute(("value", &*clean(value))).write_empty().map(drop)
            })
        })?;
        suite.cases.iter().try_for_each(|case| one_case(writer, case))
    })?;
    Ok(())
}

fn one_case(writer: &mut Writer<Vec<u8>>, case: &Case) -> io::Result<()> {
    let element = writer
        .create_element("testcase")
        .with_attribute(("name", &*clean(&case.name)))
        .with_attribute(("classname", &*clean(&case.class)))
        .with_attribute(("time", "0"));
    element.write_inner_content(|writer| {
        match &case.end {
            End::Passed => {}
            End::Failed(kind, message) => {
                let failure = writer.create_element("failure").with_attribute(("message", &*clean(message)));
                failure.with_attribute(("type", *kind)).write_text_content(BytesText::new(&clean(&case.text)))?;
            }
            End::Errored(message) => {
                let error = writer.create_element("error").with_attribute(("message", &*clean(message)));
                error.with_attribute(("type", "not measured")).write_empty()?;
            }
            End::Skipped(message) => {
                writer.create_element("skipped").with_attribute(("message", &*clean(message))).write_empty()?;
            }
        }
        writer.create_element("system-out").write_text_content(BytesText::new(&clean(&case.text)))?;
        Ok(())
    })?;
    Ok(())
}

/// Returns the text on one line, without characters that XML forbids.
fn clean(text: &str) -> String {
    let allowed = |c: char| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}');
    text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| allowed(*c)).collect()
}
