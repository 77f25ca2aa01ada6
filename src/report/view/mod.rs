//! The content of all reports, computed once. Renderers of a [`View`] only format it and compute nothing. Values for
//! programs are numbers, values for people are text. A number that is too uncertain is replaced by a reason here.

pub(crate) mod calibration;
mod cell;
pub(super) mod cost;
mod course;
mod disturbances;
mod entry;
mod failures;
mod figures;
mod groups;
mod loads;
mod machines;
mod money;
mod names;
mod notices;
pub(super) mod overview;
mod page;
mod plan;
mod price;
mod prompts;
mod request;
mod result;
pub(crate) mod slo;
mod tables;
pub(crate) mod text;
mod tiers;
mod timing;
mod warnings;

pub(crate) use cell::CellView;
pub(crate) use course::ErrorClass;
pub(crate) use machines::MachinesView;
pub(crate) use overview::Overview;
pub(crate) use plan::PlanView;
pub(crate) use price::PriceView;
pub(crate) use tables::Table;
pub(crate) use tiers::{TierView, TiersView};

use super::charts::Figure;
use crate::record::damage::{Damage, QUARANTINE};
use crate::record::manifest::Manifest;
use crate::record::probe::ProbeResult;
use crate::result::RunInfo;
use crate::stats::{CellSummary, Summary};
use crate::units::timestamp;
use crate::verdict::slo::BoundResult;
use serde::Serialize;

/// View of a run; renderers only format it.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    /// Data of the run as a whole.
    pub(crate) run: RunInfo,
    /// Name of the table of all cells.
    pub(crate) csv_file: String,
    /// Percentile ranks (0 to 100) that the plan requests in addition to p50, p95 and p99.
    pub(crate) further: Vec<f64>,
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
    pub(crate) ran: PlanView,
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
    let run = RunInfo {
        name: manifest.plan.name.clone(),
        description: manifest.plan.description.clone(),
        run_id: manifest.run_id.clone(),
        started: timestamp::iso(manifest.started_ms),
        started_ms: manifest.started_ms,
        endpoint: manifest.endpoint.clone(),
        region: manifest.region.clone(),
        simulated: manifest.simulated(),
        not_aws: manifest.is_other_server(),
        // A killed run cannot record its own interruption.
        interrupted: !summary.is_in_progress
            && (manifest.interrupted || manifest.ended_ms.is_none() && manifest.has_unfinished()),
        running: summary.is_in_progress.then(|| progress(manifest)),
        tool_version: manifest.tool_version.clone(),
        include_failures: manifest.plan.report.include_failures,
        include_ramp: manifest.plan.report.include_ramp,
        calibration: manifest.calibration.as_ref().map(calibration::sentence),
        cost: cost::sentences(manifest, summary),
        notes: machines::notes(manifest, machines.as_ref())
            .into_iter()
            .chain(prompts::note(summary))
            .chain(preflight(manifest))
            .chain(tiers::unreported(summary))
            .chain(summary.is_cut.then(|| CUT.to_owned()))
            .chain(damage(&summary.damage))
            .collect(),
    };
    let reported = &manifest.plan.report.percentiles;
    let further: Vec<f64> = reported.iter().copied().filter(|p| ![50.0, 95.0, 99.0].contains(p)).collect();
    let slo = slo::view(&manifest.plan, summary, results);
    let (names, reports) = (names::Coordinates::new(summary), manifest.last_reports());
    let frame = figures::Frame::new(&run, &names, summary);
    let cell = |cell: &CellSummary| cell::view(manifest, reports.of_cell(&cell.cell.id), &frame, &further, &slo, cell);
    let cells: Vec<CellView> = summary.cells.iter().map(cell).collect();
    let tiers = tiers::view(manifest, summary);
    let failures = failures::view(&cells);
    View {
        overview: overview::view(manifest, summary, &names, &cells, &slo, &tiers),
        price: price::view(&manifest.plan, summary, &names),
        errors: course::errors(summary, &cells, &failures),
        ran: plan::view(manifest),
        machines,
        charts: charts(&frame, manifest, summary, &cells, &tiers),
        failures,
        warnings: groups::view(&cells),
        cells,
        tiers,
        slo,
        tables: tables::tables(summary, &names),
        csv_file: format!("consolidated_results_{}.csv", timestamp::compact(run.started_ms)),
        further,
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
