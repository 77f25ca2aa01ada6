//! A comparison as text and numbers: verdicts, common drift, and suggested next steps.

use crate::report::view::text;
use crate::result::{CommonDrift, ComparisonRow, NextStep, SessionInfo, UnmatchedCell};
use crate::units::text::count;
use crate::units::timestamp;
use crate::verdict::baseline::Session;
use crate::verdict::compare::{Change, Comparison, Drift, Row, SECOND_LOOK, Verdict, minimum_detectable_change};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Change that a comparison should be able to detect, as a share.
const WISHED: f64 = 0.10;

/// Change below which no cell is called regressed, as a share.
const MARGIN: f64 = 0.05;

/// Maximum number of baseline sessions that a next step suggests.
const MOST_SESSIONS: usize = 30;

/// Note on a comparison of two runs without a baseline.
const BESIDE: &str = "one run beside another: how much runs differ by chance is not known, so there is no verdict; a \
    baseline of five sessions allows one (`bedrock-plan baseline add`)";

/// Names of the compared runs.
#[derive(Debug)]
pub(crate) struct About<'a> {
    /// Path of the baseline file as given; `None` if two runs are compared directly.
    pub(crate) baseline: Option<&'a str>,
    /// Reference of the comparison as given.
    pub(crate) against: &'a str,
    /// Directories of the new sessions as given, in the order of their sessions.
    pub(crate) dirs: &'a [String],
    /// Name of the plan.
    pub(crate) name: &'a str,
}

/// View of a comparison; renderers only format it.
#[derive(Debug, Serialize)]
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own for a template
pub(crate) struct CompareView {
    /// Name of the plan.
    pub(crate) name: String,
    /// Whether some session used the simulator instead of Bedrock.
    pub(crate) simulated: bool,
    /// Whether the server of some session is neither AWS nor the simulator.
    pub(crate) not_aws: bool,
    /// Version of bedrock-plan.
    pub(crate) tool_version: &'static str,
    /// Baseline file, or the directory of a run.
    pub(crate) baseline: String,
    /// Whether there are verdicts. A direct comparison of two runs has none.
    pub(crate) judged: bool,
    /// Sessions of the baseline, the oldest first.
    pub(crate) base: Vec<SessionInfo>,
    /// New sessions, the oldest first.
    pub(crate) new: Vec<SessionInfo>,
    /// Worst verdict; empty if nothing was compared.
    pub(crate) verdict: &'static str,
    /// Whether the comparison fails: a cell regressed and the baseline has enough sessions to show it.
    pub(crate) fails: bool,
    /// For example `2 REGRESSED, 0 SUSPECT, 0 IMPROVED, 1 INCONCLUSIVE, 5 PASS`.
    pub(crate) counts: String,
    /// Rows by cell and metric.
    pub(crate) rows: Vec<RowView>,
    /// Common drift of all cells.
    pub(crate) drift: Vec<DriftView>,
    /// Unmatched cells, each with the differences.
    pub(crate) unmatched: Vec<UnmatchedCell>,
    /// Warnings about the sessions.
    pub(crate) warnings: Vec<String>,
    /// Suggested next steps.
    pub(crate) next: Vec<NextStep>,
}

impl CompareView {
    /// Returns the rows in display order, those that need attention first.
    pub(crate) fn rows_in_order(&self) -> Vec<&RowView> {
        let mut rows: Vec<&RowView> = self.rows.iter().collect();
        rows.sort_by_key(|row| row.order);
        rows
    }
}

/// One metric of one cell.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RowView {
    /// The numbers.
    pub(crate) result: ComparisonRow,
    /// Settings of the cell except the tier; built-in defaults are omitted.
    pub(crate) context: Vec<Named>,
    /// The numbers, formatted.
    pub(crate) shown: ShownRow,
    /// The sessions as a strip chart.
    pub(crate) strip: Option<Strip>,
    /// Sort key of the display order.
    #[serde(skip)]
    order: Verdict,
}

/// Setting with its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Named {
    /// Name in the records.
    pub(crate) name: String,
    /// Value as text.
    pub(crate) value: String,
}

/// Strip chart of sessions. All rows share one scale; positions range from 0 to [`Strip::WIDTH`].
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Strip {
    /// Position of no change.
    zero: u32,
    /// Position of the margin of 5 %.
    margin: u32,
    /// Positions of the baseline sessions.
    base: Vec<u32>,
    /// Positions of the new sessions.
    new: Vec<u32>,
    /// Interval of the change: left end and width.
    interval: Option<(u32, u32)>,
    /// Position of the change.
    change: u32,
}

impl Strip {
    const WIDTH: f64 = 300.0;
}

/// Numbers of a row, formatted.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ShownRow {
    /// Milliseconds.
    pub(crate) base: String,
    /// Milliseconds.
    pub(crate) new: String,
    /// For example `+12.3 %`.
    pub(crate) change: String,
    /// For example `+4.1 .. +21.2 %`.
    pub(crate) interval: String,
    /// For example `8.1 %`.
    pub(crate) visible: String,
}

/// Common drift: the median change of all cells.
#[derive(Debug, Serialize)]
pub(crate) struct DriftView {
    /// The number.
    #[serde(skip)]
    pub(crate) result: CommonDrift,
    /// The drift as a sentence.
    pub(crate) shown: String,
}

/// Computes the view. Both sides must be in the order of their start times.
pub(crate) fn build(about: &About, base: &[Session], new: &[Session], comparison: &Comparison) -> CompareView {
    let tally = |verdict: Verdict| comparison.rows.iter().filter(|row| row.verdict == verdict).count();
    let judged = about.baseline.is_some();
    let mut rows: Vec<RowView> = comparison.rows.iter().map(|one| row(one, scale(&comparison.rows))).collect();
    if !judged {
        for row in &mut rows {
            (row.result.verdict, row.result.fails, row.result.reason) = (None, false, String::new());
        }
    }
    let counts: Vec<String> =
        Verdict::ALL.iter().map(|verdict| format!("{} {}", tally(*verdict), verdict.key())).collect();
    CompareView {
        name: about.name.to_owned(),
        simulated: base.iter().chain(new).any(|session| session.endpoint == "simulated"),
        not_aws: base.iter().chain(new).any(|session| session.endpoint == "url"),
        tool_version: env!("CARGO_PKG_VERSION"),
        baseline: about.against.to_owned(),
        judged,
        base: base.iter().map(side).collect(),
        new: new.iter().map(side).collect(),
        verdict: comparison.rows.iter().map(|row| row.verdict).min().filter(|_| judged).map_or("", Verdict::key),
        fails: judged && comparison.is_failed(),
        counts: counts.join(", "),
        rows,
        drift: comparison.drift.iter().map(drift).collect(),
        unmatched: comparison
            .unmatched
            .iter()
            .map(|cell| UnmatchedCell {
                test_id: cell.test_id.clone(),
                side: if cell.is_new { "new" } else { "baseline" },
                differs: cell.differs.clone(),
            })
            .collect(),
        // Warnings about the quality of a baseline do not apply if there is none.
        warnings: if judged { comparison.warnings.clone() } else { vec![BESIDE.into()] },
        next: next(about, comparison),
    }
}

/// Returns the view of a session.
pub(crate) fn side(session: &Session) -> SessionInfo {
    SessionInfo {
        id: session.id.clone(),
        started: timestamp::iso(session.started_ms),
        started_ms: session.started_ms,
        tool_version: session.tool_version.clone(),
        endpoint: session.endpoint.clone(),
        region: session.region.clone(),
        usable: session.cells.iter().filter(|cell| cell.numbers.is_ok()).count(),
        cells: session.cells.len(),
    }
}

/// Returns the cell names of a baseline, each with the number of its sessions. Different cells with the same name are
/// counted separately.
pub(crate) fn tally(sessions: &[Session]) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    // Each cell is listed under its most recent name.
    let named: BTreeMap<&str, &str> =
        sessions.iter().flat_map(|session| &session.cells).map(|cell| (&*cell.cell_hash, &*cell.test_id)).collect();
    for cell in sessions.iter().flat_map(|session| &session.cells) {
        *counts.entry((named[&*cell.cell_hash], &cell.cell_hash)).or_default() += 1;
    }
    counts.into_iter().map(|((id, _), count)| (id.to_owned(), count)).collect()
}

/// Returns the changes at the two ends of all strips. The range covers all sessions and the margin, with 4 % padding.
fn scale(rows: &[Row]) -> (f64, f64) {
    let points = rows.iter().flat_map(|row| row.base_points.iter().chain(&row.new_points));
    let (low, high) = points.fold((-MARGIN, MARGIN), |(low, high), point| (low.min(*point), high.max(*point)));
    let air = (high - low) * 0.04;
    (low - air, high + air)
}

fn strip(row: &Row, (low, high): (f64, f64)) -> Option<Strip> {
    let change = row.change?;
    let at = |share: f64| ((share - low) / (high - low) * Strip::WIDTH).round().clamp(0.0, Strip::WIDTH) as u32;
    let places = |points: &[f64]| points.iter().map(|point| at(*point)).collect();
    Some(Strip {
        zero: at(0.0),
        margin: at(MARGIN),
        base: places(&row.base_points),
        new: places(&row.new_points),
        interval: change.interval.map(|(low, high)| (at(low), at(high) - at(low))),
        change: at(change.share),
    })
}

fn context(row: &Row) -> Vec<Named> {
    let value = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let others = row.settings.iter().filter(|(name, _)| *name != "service_tier");
    others.map(|(name, setting)| Named { name: name.clone(), value: value(setting) }).collect()
}

fn row(row: &Row, scale: (f64, f64)) -> RowView {
    let number = |number: fn(&Change) -> f64| row.change.as_ref().map(number);
    let interval = row.change.and_then(|change| change.interval);
    let visible = row.change.and_then(|change| change.minimum_detectable);
    let nothing = || text::NOTHING.to_owned();
    RowView {
        result: ComparisonRow {
            test_id: row.test_id.clone(),
            cell_hash: row.cell_hash.clone(),
            metric: row.metric.key(),
            verdict: Some(row.verdict.key()),
            fails: row.is_failure(),
            reason: row.reason.clone(),
            base_ms: number(|change| change.base_ms),
            new_ms: number(|change| change.new_ms),
            change: number(|change| change.share),
            low: interval.map(|(low, _)| low),
            high: interval.map(|(_, high)| high),
            visible,
            p: row.change.and_then(|change| change.p),
            base_points: row.base_points.clone(),
            new_points: row.new_points.clone(),
        },
        context: context(row),
        strip: strip(row, scale),
        shown: ShownRow {
            base: text::ms_or_nothing(number(|change| change.base_ms)),
            new: text::ms_or_nothing(number(|change| change.new_ms)),
            change: number(|change| change.share).map_or_else(nothing, signed),
            interval: interval
                .map_or_else(String::new, |(low, high)| format!("{:+.1} .. {}", low * 100.0, signed(high))),
            visible: visible.map_or_else(nothing, percent),
        },
        order: row.verdict,
    }
}

fn drift(drift: &Drift) -> DriftView {
    DriftView {
        result: CommonDrift { metric: drift.metric.key(), change: drift.change, cells: drift.cells },
        shown: format!(
            "common drift of {}: {} (the median over {})",
            drift.metric.key(),
            signed(drift.change),
            count(drift.cells, "cell")
        ),
    }
}

/// Formats a change with its sign: `+12.3 %`.
pub(crate) fn signed(share: f64) -> String {
    format!("{:+.1} %", share * 100.0)
}

/// Formats a share as `8.1 %`. A share of 10 or more is shown as `> 1,000 %`.
fn percent(share: f64) -> String {
    if share < 10.0 { format!("{:.1} %", share * 100.0) } else { "> 1,000 %".into() }
}

/// Returns the suggested next steps, each with commands to paste.
fn next(about: &About, comparison: &Comparison) -> Vec<NextStep> {
    let mut next = Vec::new();
    let of =
        |verdict: Verdict| comparison.rows.iter().filter(move |row| row.verdict == verdict && row.change.is_some());
    let sessions = |row: &Row| row.change.map_or(0, |change| change.new_sessions);
    if let Some(fewest) = of(Verdict::Suspect).map(sessions).min() {
        let more = SECOND_LOOK - fewest;
        let cells = ids(of(Verdict::Suspect));
        next.push(NextStep {
            why: format!(
                "{} suspect, which may be chance: repeat {} in {} an hour or more apart, and look again at all {SECOND_LOOK}",
                are(cells.len()),
                if cells.len() == 1 { "it" } else { "them, and only them," },
                count(more, "more session")
            ),
            commands: commands(about, &cells),
        });
    }
    let open: Vec<&Row> =
        of(Verdict::Inconclusive).filter(|row| row.change.is_some_and(|c| c.deviation.is_some())).collect();
    if !open.is_empty() {
        let cells = ids(open.iter().copied());
        let wished = open.iter().map(|row| wanted(row, comparison.tests)).max().unwrap_or(Wanted::Never);
        let verdicts = format!("{} inconclusive: ", are(cells.len()));
        let shown = percent(WISHED);
        let (why, commands) = match wished {
            Wanted::New(more) => (
                format!(
                    "{verdicts}with {} of the plan, {SECOND_LOOK} in all, a change of {shown} is visible",
                    count(more, "more session")
                ),
                commands(about, &[]),
            ),
            Wanted::Base(more) => (
                format!(
                    "{verdicts}with {} in the baseline and {SECOND_LOOK} new ones a change of {shown} is visible",
                    count(more, "more session")
                ),
                Vec::new(),
            ),
            Wanted::Never => (format!("{verdicts}sessions vary too much to detect a change of {shown}"), Vec::new()),
        };
        next.push(NextStep { why, commands });
    }
    next
}

/// Sessions needed to detect the desired change, the least effort first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    /// Number of additional new sessions.
    New(usize),
    /// Number of additional baseline sessions, with all new sessions present.
    Base(usize),
    Never,
}

fn wanted(row: &Row, tests: usize) -> Wanted {
    let Some((change, deviation)) = row.change.and_then(|change| Some((change, change.deviation?))) else {
        return Wanted::Never;
    };
    let shows = |base: usize, new: usize| minimum_detectable_change(deviation, tests, base, new) <= WISHED;
    // Between the looks verdicts stay those of the first look, so fewer sessions would show a change without deciding
    // it.
    if change.new_sessions < SECOND_LOOK && shows(change.base_sessions, SECOND_LOOK) {
        return Wanted::New(SECOND_LOOK - change.new_sessions);
    }
    (change.base_sessions + 1..=MOST_SESSIONS)
        .find(|base| shows(*base, SECOND_LOOK))
        .map_or(Wanted::Never, |base| Wanted::Base(base - change.base_sessions))
}

fn are(cells: usize) -> String {
    format!("{} {}", count(cells, "cell"), if cells == 1 { "is" } else { "are" })
}

/// Returns the ids of the rows' cells without duplicates.
fn ids<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<&'a str> {
    let mut ids: Vec<&str> = rows.map(|row| row.test_id.as_str()).collect();
    ids.dedup();
    ids
}

/// Returns commands that run the given cells again, or all cells if none is given, and then repeat the comparison.
fn commands(about: &About, cells: &[&str]) -> Vec<String> {
    let (Some(baseline), Some(first)) = (about.baseline, about.dirs.first()) else { return Vec::new() };
    let first = first.trim_end_matches('/');
    let plan = quoted(&format!("{first}/plan.toml"));
    let again = format!("{first}-again");
    let only: Vec<String> = cells.iter().map(|id| format!(" --only {}", quoted(id))).collect();
    let dirs: Vec<String> = about.dirs.iter().filter(|dir| !dir.starts_with(&again)).map(|dir| quoted(dir)).collect();
    vec![
        format!("bedrock-plan run {plan}{} --results-dir {}", only.concat(), quoted(&format!("{again}/{{started}}"))),
        format!("bedrock-plan compare --baseline {} {} {}/*", quoted(baseline), dirs.join(" "), quoted(&again)),
    ]
}

/// Quotes a word for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+,@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
