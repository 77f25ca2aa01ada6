//! Notices about the numbers of a run, one per problem, each with the cells it applies to.

use super::cell::CellView;
use super::{disturbances, text};
use crate::result::{Quality, Validity};
use crate::stats::{CellSummary, Summary};
use serde::Serialize;

/// Notice about some cells of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Notice {
    /// `bad`: the numbers must not be used; `warn`: the numbers need care in interpretation.
    pub(crate) level: &'static str,
    /// For example `not settled`.
    pub(crate) title: String,
    /// Explanation and suggested fix, if they are the same for all cells.
    pub(crate) text: String,
    /// Cells that the notice applies to.
    pub(crate) cells: Vec<NoticeCell>,
    /// Whether the notice applies equally to every one of several cells. The list of cells is then not needed.
    pub(crate) everywhere: bool,
}

/// Cell that a notice applies to.
#[derive(Debug, Serialize)]
pub(crate) struct NoticeCell {
    /// Cell id.
    pub(crate) id: String,
    /// Text specific to this cell; may be empty.
    pub(crate) text: String,
}

pub(super) fn view(summary: &Summary, cells: &[CellView], include_failures: bool) -> Vec<Notice> {
    let pairs = || summary.cells.iter().zip(cells);
    let mut notices = Vec::new();
    let mut collect = |level, title: &str, text: &str, says: &dyn Fn(&CellSummary) -> Option<String>| {
        let cells: Vec<NoticeCell> = summary
            .cells
            .iter()
            .filter_map(|cell| Some(NoticeCell { id: cell.cell.id.clone(), text: says(cell)? }))
            .collect();
        if !cells.is_empty() {
            notices.push(Notice { level, title: title.into(), text: text.into(), cells, everywhere: false });
        }
    };
    let invalid = |cell: &CellSummary| match &cell.validity {
        Validity::Invalid(reason) => Some(reason.clone()),
        _ => None,
    };
    let is_one = summary.cells.iter().all(|cell| cell.health.machines.is_empty());
    let has_standstill = |cell: &CellSummary| disturbances::hint(&cell.health).is_some();
    let spoiled = |cell: &CellSummary| invalid(cell).filter(|_| cell.missing.is_none());
    let (subject, load, again) = if is_one {
        ("This machine", "use fewer users, or a larger machine", disturbances::THIS_MACHINE)
    } else {
        ("A machine", "use fewer users, or more or larger machines", disturbances::THE_MACHINE)
    };
    collect("bad", "INVALID", &format!("{subject} spoiled these numbers: {load}"), &|cell| {
        spoiled(cell).filter(|_| !has_standstill(cell))
    });
    collect("bad", "INVALID", &format!("{subject} stood still: {again}"), &|cell| {
        spoiled(cell).filter(|_| has_standstill(cell))
    });
    collect("bad", "INVALID", "These numbers are of a part of the machines: nothing is decided by them", &|cell| {
        invalid(cell).filter(|_| cell.missing.is_some())
    });
    collect("bad", "not run", "These cells never started: they have no numbers", &|cell| {
        (cell.validity == Validity::NotRun).then(String::new)
    });
    collect(
        "warn",
        "throttled",
        if include_failures {
            "Bedrock refused requests with HTTP 429, since a quota was used up; the latencies shown include them"
        } else {
            "Bedrock refused requests with HTTP 429, since a quota was used up; latencies cover only the other requests"
        },
        &|cell| {
            let (throttled, total) = (cell.counts.throttled, cell.counts.total);
            (throttled > 0).then(|| count_with_share(throttled, total))
        },
    );
    collect("warn", "failed", "Requests ended with an error; the errors are listed below with hints", &|cell| {
        let (failed, total) = (cell.counts.failed, cell.counts.total);
        (failed > 0).then(|| count_with_share(failed, total))
    });
    collect(
        "warn",
        "too few samples for a p95",
        "A p95 takes 59 independent samples; test longer, or set min_samples",
        &|cell| {
            let too_few = cell.latency.percentile(0.95).filter(|percentile| percentile.quality == Quality::TooFew)?;
            let (n, n_eff) = (cell.latency.observations(), too_few.n_eff.floor());
            let worth = if n_eff < n as f64 { format!(", worth {n_eff}") } else { String::new() };
            (cell.counts.total > 0).then(|| format!("{n} samples{worth}"))
        },
    );
    for (cell, view) in pairs() {
        for warning in view.result.warnings.iter().filter(|warning| warning.key != "invalid") {
            let bad = cell.validity == Validity::Aborted && warning.key == "aborted";
            put(&mut notices, if bad { "bad" } else { "warn" }, warning.key, &view.id, &warning.text);
        }
    }
    for notice in &mut notices {
        let same = notice.cells.iter().all(|cell| cell.text.is_empty());
        notice.everywhere = same && cells.len() > 1 && notice.cells.len() == cells.len();
    }
    notices.sort_by_key(|notice| notice.level != "bad");
    notices
}

/// Adds a warning of a cell to the notice with the same title, or adds a new notice.
fn put(notices: &mut Vec<Notice>, level: &'static str, key: &str, id: &str, warning: &str) {
    let title = key.replace('_', " ");
    // A warning starts with its kind, which the title already states.
    let warning = warning.strip_prefix(&format!("{title}: ")).unwrap_or(warning);
    let found = notices.iter_mut().find(|notice| notice.title == title && notice.level == level);
    if let Some(notice) = found {
        // If the texts differ, each cell keeps its own text.
        if notice.text != warning && !notice.text.is_empty() {
            let shared = std::mem::take(&mut notice.text);
            for cell in notice.cells.iter_mut().filter(|cell| cell.text.is_empty()) {
                cell.text.clone_from(&shared);
            }
        }
        let text = if notice.text.is_empty() { warning.to_owned() } else { String::new() };
        notice.cells.push(NoticeCell { id: id.into(), text });
    } else {
        let cells = vec![NoticeCell { id: id.into(), text: String::new() }];
        notices.push(Notice { level, title, text: warning.into(), cells, everywhere: false });
    }
}

fn count_with_share(part: u64, whole: u64) -> String {
    let number = |n: u64| text::thousands(n as f64, 0);
    format!("{} of {} ({})", number(part), number(whole), text::percent(Some(part as f64 / whole as f64)))
}
