//! Warnings about the numbers of one cell, in sentences.

use super::{disturbances, text};
use crate::record::manifest::{CellRunEnd, CellRunReport, Manifest};
use crate::result::{Validity, WarningNote};
use crate::stats::machine::list_shards;
use crate::stats::{CellSummary, Warning};
use crate::units::pattern::pattern;
use std::collections::BTreeSet;

/// Returns the warnings of a cell: first the reason why it is INVALID, then why it stopped, then the others.
pub(super) fn view(manifest: &Manifest, summary: &CellSummary, cell_runs: &[&CellRunReport]) -> Vec<WarningNote> {
    let invalid = match &summary.validity {
        Validity::Invalid(reason) => {
            Some(WarningNote { key: "invalid", text: format!("INVALID: {}", spoiled(manifest, summary, reason)) })
        }
        _ => None,
    };
    invalid
        .into_iter()
        .chain(stops(cell_runs))
        .chain(
            summary
                .warnings
                .iter()
                .map(|warning| WarningNote { key: warning.key(), text: warning_text(*warning, manifest, summary) }),
        )
        .collect()
}

/// Returns why repetitions of a cell stopped early: one warning per kind, for any number of repetitions.
fn stops(cell_runs: &[&CellRunReport]) -> impl Iterator<Item = WarningNote> {
    const REASONS: usize = 3;
    let kinds = [("failed_early", "ended early; these numbers cover the part that ran"), ("aborted", "stopped early")];
    kinds.into_iter().filter_map(|(key, text)| {
        let is_of_kind =
            |cell_run: &&&CellRunReport| (cell_run.end == CellRunEnd::FailedEarly) == (key == "failed_early");
        let reasons: Vec<&str> =
            cell_runs.iter().filter(is_of_kind).filter_map(|cell_run| cell_run.reason.as_deref()).collect();
        let mut patterns = BTreeSet::new();
        let mut different: Vec<&str> =
            reasons.iter().copied().filter(|reason| patterns.insert(pattern(reason))).collect();
        different.truncate(REASONS);
        let times = match cell_runs.len() {
            1 => String::new(),
            of => format!(" ({} of {of} repetitions)", reasons.len()),
        };
        (!reasons.is_empty()).then(|| WarningNote { key, text: format!("{text}: {}{times}", different.join("; ")) })
    })
}

/// Returns the text of a warning of a cell.
fn warning_text(warning: Warning, manifest: &Manifest, summary: &CellSummary) -> String {
    let idle = summary.health.machines.iter().filter(|machine| machine.is_idle()).map(|machine| machine.shard);
    match (warning, idle.collect::<Vec<_>>()) {
        (Warning::Idle, shards) if !shards.is_empty() => format!(
            "idle: users of {} spent more than 2 % of their time neither thinking nor waiting for a reply; {} too slow for this number of users",
            list_shards(&shards),
            if shards.len() == 1 { "the machine is" } else { "the machines are" }
        ),
        (Warning::ClientStalled | Warning::ClockJump | Warning::ClientOverhead, _) => {
            disturbances::warning(warning, summary)
        }
        (Warning::Interrupted, _) if manifest.shards.is_some() => {
            "the run was interrupted in this cell on at least one machine; run the plan again".into()
        }
        (Warning::RepeatedPrompts, _) => match summary.prompts {
            Some(prompts) => format!("{prompts}. {}", warning.text()),
            None => warning.text().into(),
        },
        (Warning::Uneven, _) => {
            let (n, n_eff) = (summary.latency.observations(), summary.latency.effective_size(0.95));
            let worth = format!(
                "uneven: {} requests are worth {} independent ones at p95",
                text::thousands(n as f64, 0),
                text::thousands(n_eff.floor(), 0)
            );
            warning.text().replacen("uneven", &worth, 1)
        }
        (Warning::Blocked, _) => {
            let reasons = summary.blocked.iter().map(|(reason, n)| format!("{reason}: {n}"));
            let reasons = reasons.collect::<Vec<_>>().join(", ");
            let (n, total) = (summary.blocked_count(), summary.counts.total);
            format!("{n} of {total} requests were blocked ({reasons}). {}", warning.text())
        }
        _ => warning.text().into(),
    }
}

/// Returns why the numbers of a cell are INVALID, with a suggested fix.
fn spoiled(manifest: &Manifest, summary: &CellSummary, reason: &str) -> String {
    let hint = disturbances::hint(&summary.health);
    match (&summary.missing, &manifest.shards) {
        (Some(_), _) => format!("{reason}: the load was another than the plan's"),
        (None, Some(_)) => {
            let hint = hint.unwrap_or("use fewer users, or more or larger machines");
            format!("a machine spoiled the numbers ({reason}); {hint}")
        }
        (None, None) => {
            let hint = hint.unwrap_or("use fewer users, or a larger machine");
            format!("this machine spoiled the numbers ({reason}); {hint}")
        }
    }
}
