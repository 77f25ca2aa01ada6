//! Progress of a run for the display, computed from the live statistics of the recorder.

use crate::executor::Job;
use crate::record::manifest::{CellRunEnd, Manifest};
use crate::stats::live::{self, LiveStats};
use crate::terminal::{FinishedCell, Phase, ProgressState};
use crate::units::Usd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A cell, reduced to label the display needs.
struct DisplayedCell {
    id: String,
    length: Duration,
    ramp: Duration,
    is_open: bool,
}

/// Returns a function that returns the current progress. It reports each finished cell run once.
pub(super) fn watch(
    manifest: &Manifest,
    job: &Job,
    live: Arc<Mutex<LiveStats>>,
) -> impl FnMut() -> ProgressState + Send + 'static {
    let displayed = |planned: &crate::record::manifest::PlannedCell| DisplayedCell {
        id: planned.cell.id.clone(),
        length: planned.cell.length(),
        ramp: planned.cell.ramp(),
        is_open: planned.cell.is_open(),
    };
    let cells: Vec<DisplayedCell> = manifest.cells.iter().map(displayed).collect();
    let places = job.planned_runs.clone();
    let lengths: Vec<Duration> = places.iter().map(|place| cells[job.order[*place].cell].length).collect();
    let cool_down = job.cool_down;
    let budget_usd = manifest.plan.budget.max_cost;
    move || {
        let mut live = live.lock().unwrap_or_else(PoisonError::into_inner);
        // Cell runs that are skipped after all do not shift the numbers.
        let number =
            |place: Option<usize>| places.iter().position(|known| Some(*known) == place).map_or(0, |at| at + 1);
        let done: Vec<FinishedCell> =
            live.done.drain(..).map(|done| finished_cell(&done, number(Some(done.place)), &cells)).collect();
        let planned_run = number(live.place);
        let elapsed = live.began.map_or(Duration::ZERO, |began| began.elapsed());
        let cell = cells.get(live.cell);
        let length = cell.map_or(Duration::ZERO, |cell| cell.length);
        let passed = |length: Duration| if live.is_over { length } else { elapsed.min(length) };
        let total_load: Duration = lengths.iter().sum();
        let elapsed_load: Duration = lengths.iter().take(planned_run.saturating_sub(1)).sum();
        let elapsed_load = if planned_run > 0 { elapsed_load + passed(length) } else { elapsed_load };
        let pauses = cool_down * (lengths.len() - planned_run.max(1).min(lengths.len())) as u32;
        ProgressState {
            planned_runs: lengths.len(),
            planned_run,
            share: if total_load.is_zero() { 0.0 } else { elapsed_load.as_secs_f64() / total_load.as_secs_f64() },
            left: total_load.saturating_sub(elapsed_load) + pauses,
            cell: cell.map(|cell| cell.id.clone()).unwrap_or_default(),
            phase: phase(&live, elapsed, cell),
            elapsed: passed(elapsed),
            length,
            users: cell.filter(|cell| !cell.is_open).map(|_| live.users),
            in_flight: live.in_flight,
            requests_per_sec: live.requests_per_sec(),
            succeeded: live.ends.succeeded,
            throttled: live.ends.throttled,
            failed: live.ends.failed,
            p50_ms: live.percentile_ms(0.50),
            p95_ms: live.percentile_ms(0.95),
            ttft_p50_ms: live.ttft_p50_ms(),
            input_tokens: live.input_tokens,
            output_tokens: live.output_tokens,
            usd: live.usd().map(Usd::as_f64),
            budget_usd,
            done,
        }
    }
}

fn phase(live: &LiveStats, elapsed: Duration, cell: Option<&DisplayedCell>) -> Phase {
    match cell {
        _ if live.place.is_none() => Phase::Starting,
        _ if live.is_over => Phase::CoolDown,
        Some(cell) if elapsed < cell.ramp => Phase::Ramp,
        Some(cell) if elapsed > cell.length => Phase::Drain,
        _ => Phase::Steady,
    }
}

fn finished_cell(done: &live::FinishedCell, planned_run: usize, cells: &[DisplayedCell]) -> FinishedCell {
    let ends = done.ends;
    let requests = ends.succeeded + ends.throttled + ends.failed + ends.censored;
    let label = match done.end {
        CellRunEnd::Finished => "",
        CellRunEnd::Aborted => "aborted",
        CellRunEnd::FailedEarly => "ended early",
        CellRunEnd::Interrupted => "interrupted",
        CellRunEnd::OutOfBudget => "out of budget",
        CellRunEnd::LostCredentials => "no credentials",
        CellRunEnd::DailyQuota => "daily quota used up",
    };
    FinishedCell {
        planned_run,
        cell: cells.get(done.cell).map(|cell| cell.id.clone()).unwrap_or_default(),
        requests,
        failure_share: (requests > 0).then(|| (ends.throttled + ends.failed) as f64 / requests as f64),
        p50_ms: done.p50_ms,
        p95_ms: done.p95_ms,
        usd: done.usd.map(Usd::as_f64),
        abort_reason: match &done.reason {
            Some(reason) if !label.is_empty() => format!("{label}: {reason}"),
            _ => label.into(),
        },
    }
}
