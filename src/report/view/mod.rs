//! The content of all reports, computed once. Renderers of a [`View`] only format it and compute nothing. Values for
//! programs are numbers, values for people are text. A number that is too uncertain is replaced by a reason here.

mod asked;
pub(crate) mod calibration;
mod cell;
mod cost;
mod course;
mod disturbances;
mod failures;
mod figures;
mod groups;
mod loads;
mod machines;
mod money;
mod names;
mod notices;
mod overview;
mod page;
mod price;
mod prompts;
mod ran;
mod result;
pub(crate) mod slo;
mod tables;
pub(crate) mod text;
mod tiers;
mod timing;
mod warnings;

pub(crate) use cell::CellView;
pub(crate) use course::ErrorClass;
pub(crate) use machines::{MachineRow, MachinesView};
pub(crate) use overview::Overview;
pub(crate) use price::PriceView;
pub(crate) use ran::RanView;
pub(crate) use tables::Table;
pub(crate) use tiers::{TierRow, TierView, TiersView};

use super::charts::Figure;
use crate::record::damage::{Damage, QUARANTINE};
use crate::record::manifest::Manifest;
use crate::record::probe::ProbeResult;
use crate::result::Validity;
use crate::stats::{CellSummary, Summary};
use crate::units::timestamp;
use crate::verdict::slo::BoundResult;
use serde::Serialize;

/// View of a run; renderers only format it.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    /// Data of the run as a whole.
    pub(crate) run: RunView,
    /// First section of the report.
    pub(crate) overview: Overview,
    /// Cells in matrix order.
    pub(crate) cells: Vec<CellView>,
    /// Comparison of each tier with `default`.
    pub(crate) tiers: TiersView,
    /// Tables of the original tool, printed at the end of a run.
    pub(crate) tables: Vec<Table>,
    /// Verdicts on thresholds.
    pub(crate) slo: slo::SloView,
    /// Cost of meeting a p95 limit.
    pub(crate) price: PriceView,
    /// Errors by class.
    pub(crate) errors: Vec<ErrorClass>,
    /// The resolved plan and the order of execution.
    pub(crate) ran: RanView,
    /// The machines, if several made the run.
    pub(crate) machines: Option<MachinesView>,
    /// Failures by kind, each with its cells.
    pub(crate) failures: Vec<failures::Failure>,
    /// Warnings about the numbers of cells, by kind.
    pub(crate) warnings: Vec<groups::WarningGroup>,
    /// Charts, keyed by the stem of their file name.
    #[serde(skip)]
    pub(crate) charts: Vec<(&'static str, Figure)>,
}

/// Text of a note about a journal whose last line is incomplete.
const CUT: &str =
    "The last line of the journal has no end, as a crash leaves it: it is left out, and everything before it is used";

/// Banner of a simulated run, on a terminal.
pub(crate) const SIMULATED: &str = "SIMULATED: measured against a simulator, not Amazon Bedrock.";

/// Banner of a run whose server is not AWS.
pub(crate) const NOT_AWS: &str = "NOT AWS: these numbers come from another server, not from Amazon Bedrock.";

/// Banner of a report whose latencies include failed requests.
pub(crate) const FAILURES_INCLUDED: &str = "FAILURES INCLUDED: the latencies shown include failed and throttled requests; thresholds, tier comparison and prices exclude them.";

/// Header data of a report.
#[derive(Debug, Clone, Serialize)]
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own for a template
pub(crate) struct RunView {
    /// Name of the run.
    pub(crate) name: String,
    /// Free text; may be empty.
    pub(crate) description: String,
    /// Unique id of the run.
    pub(crate) run_id: String,
    /// UTC, for example `2026-11-24T09:16:03Z`.
    pub(crate) started: String,
    /// The same time, epoch milliseconds.
    pub(crate) started_ms: u64,
    /// For file names, for example `20261124_091603`.
    pub(crate) started_compact: String,
    /// Target of the requests.
    pub(crate) endpoint: String,
    /// AWS region of the endpoint, if it is on AWS.
    pub(crate) region: Option<String>,
    /// Whether the run used the simulator instead of Bedrock.
    pub(crate) simulated: bool,
    /// Whether the server is neither AWS nor the simulator.
    pub(crate) not_aws: bool,
    /// Whether the run was stopped before its planned end.
    pub(crate) interrupted: bool,
    /// For example `in progress, 3 of 27 cells`; empty after the run has ended.
    pub(crate) running: String,
    /// Version of bedrock-plan.
    pub(crate) tool_version: String,
    /// Whether latencies include failed requests.
    pub(crate) include_failures: bool,
    /// Whether latencies include the ramp.
    pub(crate) include_ramp: bool,
    /// Percentile ranks (0 to 100) that the plan requests in addition to p50, p95 and p99.
    pub(crate) further: Vec<f64>,
    /// Measurement error on this machine as a sentence; empty without a calibration.
    pub(crate) calibration: String,
    /// Cost of the run, and the parts that are unknown.
    pub(crate) cost: Vec<String>,
    /// Unreliable cells, each with the reason.
    pub(crate) invalid: Vec<String>,
    /// Notes that apply to the whole run.
    pub(crate) notes: Vec<String>,
}

/// Returns the progress of a running run.
fn progress(manifest: &Manifest) -> String {
    let (ended, all) = manifest.progress();
    format!("in progress, {ended} of {all} {}", if all == 1 { "cell" } else { "cells" })
}

/// Returns the findings of the pre-flight that affect the reader.
fn preflight(manifest: &Manifest) -> impl Iterator<Item = String> + '_ {
    let sentence = |(checked, asking): (&ProbeResult, Vec<usize>)| checked.problem_text(asking.len());
    manifest
        .preflight
        .iter()
        .zip(manifest.cells_by_probe())
        .filter_map(sentence)
        .map(|sentence| format!("pre-flight: {sentence}"))
}

/// Returns how many journal lines were not counted.
fn damage(damage: &Damage) -> impl Iterator<Item = String> {
    let counted = |number: u64, one: &str, several: &str| match number {
        1 => format!("1 {one}"),
        _ => format!("{} {several}", text::thousands(number as f64, 0)),
    };
    let lines = counted(damage.lines, "line of token_data.jsonl is", "lines of token_data.jsonl are");
    let duplicates = counted(damage.duplicates, "record is", "records are");
    let lines = format!(
        "{lines} damaged and not counted (copied to {QUARANTINE}); warnings name the cells that may have lost records"
    );
    let duplicates =
        format!("{duplicates} in token_data.jsonl more than once and counted once; warnings name the cells");
    (damage.lines > 0).then_some(lines).into_iter().chain((damage.duplicates > 0).then_some(duplicates))
}

/// Computes the view of a run.
pub(crate) fn build(manifest: &Manifest, summary: &Summary, results: &[BoundResult]) -> View {
    let machines = machines::view(manifest, summary);
    let run = RunView {
        name: manifest.plan.name.clone(),
        description: manifest.plan.description.clone(),
        run_id: manifest.run_id.clone(),
        started: timestamp::iso(manifest.started_ms),
        started_ms: manifest.started_ms,
        started_compact: timestamp::compact(manifest.started_ms),
        endpoint: manifest.endpoint.clone(),
        region: manifest.region.clone(),
        simulated: manifest.simulated(),
        not_aws: manifest.is_other_server(),
        // A killed run cannot record its own interruption.
        interrupted: !summary.is_in_progress
            && (manifest.interrupted || manifest.ended_ms.is_none() && manifest.has_unfinished()),
        running: if summary.is_in_progress { progress(manifest) } else { String::new() },
        tool_version: manifest.tool_version.clone(),
        include_failures: manifest.plan.report.include_failures,
        include_ramp: manifest.plan.report.include_ramp,
        further: manifest.plan.report.percentiles.iter().copied().filter(|p| ![50.0, 95.0, 99.0].contains(p)).collect(),
        calibration: manifest.calibration.as_ref().map(calibration::sentence).unwrap_or_default(),
        cost: cost::sentences(manifest, summary),
        invalid: summary
            .cells
            .iter()
            .filter(|cell| matches!(cell.validity, Validity::Invalid(_)))
            .map(|cell| format!("{}: {}", cell.cell.id, cell.validity))
            .collect(),
        notes: machines::notes(manifest, machines.as_ref())
            .into_iter()
            .chain(prompts::note(summary))
            .chain(preflight(manifest))
            .chain(tiers::untold(summary))
            .chain(summary.is_cut.then(|| CUT.to_owned()))
            .chain(damage(&summary.damage))
            .collect(),
    };
    let slo = slo::view(&manifest.plan, summary, results);
    let (names, reports) = (names::Coordinates::new(summary), manifest.last_reports());
    let frame = figures::Frame::new(&run, &names);
    let cell =
        |cell: &CellSummary| cell::view(manifest, reports.of_cell(&cell.cell.id), &frame, &run.further, &slo, cell);
    let cells: Vec<CellView> = summary.cells.iter().map(cell).collect();
    let tiers = tiers::view(manifest, summary);
    let failures = failures::view(&cells);
    View {
        overview: overview::view(manifest, summary, &names, &cells, &slo, &tiers),
        price: price::view(&manifest.plan, summary, &names),
        errors: course::errors(summary, &cells, &failures),
        ran: ran::view(manifest),
        machines,
        charts: charts(&frame, manifest, summary, &cells, &tiers),
        failures,
        warnings: groups::view(&cells),
        cells,
        tiers,
        slo,
        tables: tables::tables(summary, &names),
        run,
    }
}

/// Returns every chart that has data, keyed by the stem of its file name.
fn charts(
    frame: &figures::Frame,
    manifest: &Manifest,
    summary: &Summary,
    cells: &[CellView],
    tiers: &TiersView,
) -> Vec<(&'static str, Figure)> {
    let mut charts = figures::figures(frame, summary);
    let more = [
        ("cost_and_latency", money::figure(frame, summary)),
        ("latency_by_load", Some(loads::latency(frame, &manifest.plan, summary, cells))),
        ("tiers_against_default", course::forest(frame, tiers)),
        ("percentiles", Some(loads::percentiles(frame, summary))),
        ("first_token", loads::first_token(frame, summary)),
        ("output_tokens", Some(loads::output_tokens(frame, summary))),
        ("timeline", course::timeline(frame, summary)),
    ];
    charts.extend(more.into_iter().filter_map(|(stem, figure)| Some((stem, figure?))));
    charts
}
