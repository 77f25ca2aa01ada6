//! A comparison as text and numbers: verdicts, what moved everything, and what to do next.

use crate::report::view::text;
use crate::units::text::count;
use crate::units::timestamp;
use crate::verdict::baseline::Session;
use crate::verdict::compare::{Change, Comparison, Drift, Row, SECOND_LOOK, Verdict, minimum_detectable_change};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A change that one would like to see.
const WISHED: f64 = 0.10;

/// A change below which nothing is called regressed.
const MARGIN: f64 = 0.05;

/// More sessions than this nobody runs.
const MOST_SESSIONS: usize = 30;

/// What is said of two runs.
const BESIDE: &str = "one run beside another: how much runs differ by chance is not known, so there is no verdict; a \
    baseline of five sessions allows one (`bedrock-plan baseline add`)";

/// Who is compared with whom.
#[derive(Debug)]
pub(crate) struct About<'a> {
    /// The baseline's file as it was named; nothing where two runs stand beside each other.
    pub(crate) baseline: Option<&'a str>,
    /// What the new sessions are compared with, as it was named.
    pub(crate) against: &'a str,
    /// The new sessions' directories as they were named, in the order of their sessions.
    pub(crate) dirs: &'a [String],
    /// What the plan is called.
    pub(crate) name: &'a str,
}

/// A comparison, ready to be drawn.
#[derive(Debug, Serialize)]
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own for a template
pub(crate) struct CompareView {
    /// What the plan is called.
    pub(crate) name: String,
    /// No Bedrock was asked in some session.
    pub(crate) simulated: bool,
    /// The server of some session is neither AWS's nor the simulator.
    pub(crate) not_aws: bool,
    /// The version of this tool.
    pub(crate) tool_version: &'static str,
    /// A baseline's file, or the directory of a run.
    pub(crate) baseline: String,
    /// There are verdicts; two runs beside each other have none.
    pub(crate) judged: bool,
    /// Its sessions, the oldest first.
    pub(crate) base: Vec<Side>,
    /// The new sessions, the oldest first.
    pub(crate) new: Vec<Side>,
    /// The worst verdict of all; empty where nothing was compared.
    pub(crate) verdict: &'static str,
    /// It fails: something regressed, and the baseline is good enough to say so.
    pub(crate) fails: bool,
    /// `2 REGRESSED, 0 SUSPECT, 0 IMPROVED, 1 INCONCLUSIVE, 5 PASS`.
    pub(crate) counts: String,
    /// By cell and number.
    pub(crate) rows: Vec<RowView>,
    /// What moved everything alike.
    pub(crate) drift: Vec<DriftView>,
    /// Cells that meet nothing, and what differs.
    pub(crate) unmatched: Vec<UnmatchedView>,
    /// What to know about the sessions.
    pub(crate) warnings: Vec<String>,
    /// What to do next.
    pub(crate) next: Vec<Next>,
}

impl CompareView {
    /// The rows as people should read them: what needs an eye first.
    pub(crate) fn rows_in_order(&self) -> Vec<&RowView> {
        let mut rows: Vec<&RowView> = self.rows.iter().collect();
        rows.sort_by_key(|row| row.order);
        rows
    }
}

/// One session.
#[derive(Debug, Serialize)]
pub(crate) struct Side {
    /// The run's id.
    pub(crate) id: String,
    /// `2026-11-24T09:16:03Z`.
    pub(crate) started: String,
    /// The same, epoch milliseconds.
    pub(crate) started_ms: u64,
    /// The version of the tool that measured it.
    pub(crate) tool_version: String,
    /// `aws`, `simulated` or `url`.
    pub(crate) endpoint: String,
    /// The AWS region that was resolved.
    pub(crate) region: Option<String>,
    /// Cells that can be used, of all that it has.
    pub(crate) usable: usize,
    /// All cells.
    pub(crate) cells: usize,
}

/// One number of one cell.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RowView {
    /// `REGRESSED`, ...; empty where nothing is judged.
    pub(crate) verdict: &'static str,
    /// The cell.
    pub(crate) test_id: String,
    /// Its hash.
    pub(crate) cell_hash: String,
    /// What was asked for, but for the tier; built-in defaults are left out.
    pub(crate) context: Vec<Named>,
    /// The service tier.
    pub(crate) tier: String,
    /// `typical` or `p95`.
    pub(crate) metric: &'static str,
    /// It fails the comparison.
    pub(crate) fails: bool,
    /// Why, where the numbers do not say it.
    pub(crate) reason: String,
    /// Of the baseline, milliseconds.
    pub(crate) base_ms: Option<f64>,
    /// Of the new sessions, milliseconds.
    pub(crate) new_ms: Option<f64>,
    /// New over base, less one.
    pub(crate) change: Option<f64>,
    /// The lower end of its 90 % interval,
    pub(crate) low: Option<f64>,
    /// and the upper one.
    pub(crate) high: Option<f64>,
    /// The smallest change that is found in four of five cases.
    pub(crate) visible: Option<f64>,
    /// One-sided p of the first look.
    pub(crate) p: Option<f64>,
    /// Baseline sessions that have it.
    pub(crate) base_sessions: usize,
    /// New sessions that it is of.
    pub(crate) new_sessions: usize,
    /// Each baseline session over the mean of all, less one, the oldest first;
    pub(crate) base_points: Vec<f64>,
    /// each new session over the same.
    pub(crate) new_points: Vec<f64>,
    /// The numbers as people read them.
    pub(crate) shown: ShownRow,
    /// The same drawn.
    pub(crate) strip: Option<Strip>,
    /// Its place for people.
    #[serde(skip)]
    order: Verdict,
}

/// A name and what it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Named {
    /// As the records call it.
    pub(crate) name: String,
    /// As text.
    pub(crate) value: String,
}

/// Sessions on one line, all rows on one scale: places from 0 to [`Strip::WIDTH`].
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Strip {
    /// No change.
    zero: u32,
    /// The margin of 5 %.
    margin: u32,
    /// Baseline sessions.
    base: Vec<u32>,
    /// New sessions.
    new: Vec<u32>,
    /// The interval of the change: left end and width.
    interval: Option<(u32, u32)>,
    /// The change.
    change: u32,
}

impl Strip {
    const WIDTH: f64 = 300.0;
}

/// What people read of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ShownRow {
    /// Milliseconds.
    pub(crate) base: String,
    /// Milliseconds.
    pub(crate) new: String,
    /// `+12.3 %`.
    pub(crate) change: String,
    /// `+4.1 .. +21.2 %`.
    pub(crate) interval: String,
    /// `8.1 %`.
    pub(crate) visible: String,
    /// `5 / 1`.
    pub(crate) sessions: String,
}

/// What moved everything alike.
#[derive(Debug, Serialize)]
pub(crate) struct DriftView {
    /// `typical` or `p95`.
    pub(crate) metric: &'static str,
    /// As a share.
    pub(crate) change: f64,
    /// Cells that it is the median of.
    pub(crate) cells: usize,
    /// For people.
    pub(crate) shown: String,
}

/// A cell that meets nothing.
#[derive(Debug, Serialize)]
pub(crate) struct UnmatchedView {
    /// What it is called.
    pub(crate) test_id: String,
    /// `new` or `baseline`.
    pub(crate) side: &'static str,
    /// For people.
    pub(crate) differs: String,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Next {
    /// Why.
    pub(crate) why: String,
    /// Commands to paste.
    pub(crate) commands: Vec<String>,
}

/// Computes the view. Both sides are in the order of their starts.
pub(crate) fn build(about: &About, base: &[Session], new: &[Session], comparison: &Comparison) -> CompareView {
    let tally = |verdict: Verdict| comparison.rows.iter().filter(|row| row.verdict == verdict).count();
    let judged = about.baseline.is_some();
    let mut rows: Vec<RowView> = comparison.rows.iter().map(|one| row(one, scale(&comparison.rows))).collect();
    if !judged {
        for row in &mut rows {
            (row.verdict, row.fails, row.reason) = ("", false, String::new());
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
            .map(|cell| UnmatchedView {
                test_id: cell.test_id.clone(),
                side: if cell.is_new { "new" } else { "baseline" },
                differs: cell.differs.clone(),
            })
            .collect(),
        // What makes a good baseline is no matter where there is none.
        warnings: if judged { comparison.warnings.clone() } else { vec![BESIDE.into()] },
        next: next(about, comparison),
    }
}

/// A session as people see it.
pub(crate) fn side(session: &Session) -> Side {
    Side {
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

/// The cells of a baseline, each with the number of its sessions, by name. Cells of one name that are not the
/// same are counted apart.
pub(crate) fn tally(sessions: &[Session]) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    // What a cell was called last.
    let named: BTreeMap<&str, &str> =
        sessions.iter().flat_map(|session| &session.cells).map(|cell| (&*cell.cell_hash, &*cell.test_id)).collect();
    for cell in sessions.iter().flat_map(|session| &session.cells) {
        *counts.entry((named[&*cell.cell_hash], &cell.cell_hash)).or_default() += 1;
    }
    counts.into_iter().map(|((id, _), count)| (id.to_owned(), count)).collect()
}

/// The changes at the ends of all strips: those of all sessions, the margin in any case, and some air.
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
    others.map(|(name, said)| Named { name: name.clone(), value: value(said) }).collect()
}

fn row(row: &Row, scale: (f64, f64)) -> RowView {
    let of = |number: fn(&Change) -> f64| row.change.as_ref().map(number);
    // Further digits are noise, and a machine's own.
    let ms = |number: fn(&Change) -> f64| of(number).map(|ms| (ms * 1e3).round() / 1e3);
    let share = |value: f64| (value * 1e6).round() / 1e6;
    let interval = row.change.and_then(|change| change.interval);
    let visible = row.change.and_then(|change| change.minimum_detectable);
    let nothing = || text::NOTHING.to_owned();
    RowView {
        verdict: row.verdict.key(),
        test_id: row.test_id.clone(),
        cell_hash: row.cell_hash.clone(),
        context: context(row),
        tier: row.settings.get("service_tier").and_then(Value::as_str).unwrap_or_default().to_owned(),
        base_points: row.base_points.iter().copied().map(share).collect(),
        new_points: row.new_points.iter().copied().map(share).collect(),
        strip: strip(row, scale),
        metric: row.metric.key(),
        fails: row.is_failure(),
        reason: row.reason.clone(),
        base_ms: ms(|change| change.base_ms),
        new_ms: ms(|change| change.new_ms),
        change: of(|change| change.share).map(share),
        low: interval.map(|(low, _)| share(low)),
        high: interval.map(|(_, high)| share(high)),
        visible: visible.map(share),
        p: row.change.and_then(|change| change.p).map(share),
        base_sessions: row.change.map_or(0, |change| change.base_sessions),
        new_sessions: row.change.map_or(0, |change| change.new_sessions),
        shown: ShownRow {
            base: text::ms_or_nothing(of(|change| change.base_ms)),
            new: text::ms_or_nothing(of(|change| change.new_ms)),
            change: of(|change| change.share).map_or_else(nothing, signed),
            interval: interval
                .map_or_else(String::new, |(low, high)| format!("{:+.1} .. {}", low * 100.0, signed(high))),
            visible: visible.map_or_else(nothing, percent),
            sessions: row
                .change
                .map_or_else(String::new, |change| format!("{} / {}", change.base_sessions, change.new_sessions)),
        },
        order: row.verdict,
    }
}

fn drift(drift: &Drift) -> DriftView {
    DriftView {
        metric: drift.metric.key(),
        change: (drift.change * 1e6).round() / 1e6,
        cells: drift.cells,
        shown: format!(
            "common drift of {}: {} (the median over {})",
            drift.metric.key(),
            signed(drift.change),
            count(drift.cells, "cell")
        ),
    }
}

/// `+12.3 %`.
pub(crate) fn signed(share: f64) -> String {
    format!("{:+.1} %", share * 100.0)
}

/// `8.1 %`; what is absurd is no number.
fn percent(share: f64) -> String {
    if share < 10.0 { format!("{:.1} %", share * 100.0) } else { "> 1,000 %".into() }
}

/// What to do next, each with commands to paste.
fn next(about: &About, comparison: &Comparison) -> Vec<Next> {
    let mut next = Vec::new();
    let of =
        |verdict: Verdict| comparison.rows.iter().filter(move |row| row.verdict == verdict && row.change.is_some());
    let sessions = |row: &Row| row.change.map_or(0, |change| change.new_sessions);
    if let Some(fewest) = of(Verdict::Suspect).map(sessions).min() {
        let more = SECOND_LOOK - fewest;
        let cells = ids(of(Verdict::Suspect));
        next.push(Next {
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
        let what = format!("{} inconclusive: ", are(cells.len()));
        let shown = percent(WISHED);
        let (why, commands) = match wished {
            Wanted::New(more) => (
                format!(
                    "{what}with {} of the plan, {SECOND_LOOK} in all, a change of {shown} is visible",
                    count(more, "more session")
                ),
                commands(about, &[]),
            ),
            Wanted::Base(more) => (
                format!(
                    "{what}with {} in the baseline and {SECOND_LOOK} new ones a change of {shown} is visible",
                    count(more, "more session")
                ),
                Vec::new(),
            ),
            Wanted::Never => {
                (format!("{what}sessions differ so much that a change of {shown} stays out of sight"), Vec::new())
            }
        };
        next.push(Next { why, commands });
    }
    next
}

/// What would make the wished change visible, the least effort first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    /// So many more new sessions.
    New(usize),
    /// So many more in the baseline, and all new ones.
    Base(usize),
    Never,
}

fn wanted(row: &Row, tests: usize) -> Wanted {
    let Some((change, deviation)) = row.change.and_then(|change| Some((change, change.deviation?))) else {
        return Wanted::Never;
    };
    let shows = |base: usize, new: usize| minimum_detectable_change(deviation, tests, base, new) <= WISHED;
    // Between the looks verdicts stay those of the first: fewer would show a change and decide nothing.
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

/// Each cell once.
fn ids<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<&'a str> {
    let mut ids: Vec<&str> = rows.map(|row| row.test_id.as_str()).collect();
    ids.dedup();
    ids
}

/// Run these cells again (all, where none is named), and compare again.
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

/// A word of a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+,@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
