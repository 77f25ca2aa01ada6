//! Budget of a run: the part that earlier sessions spent, and the file of reservations.

use super::cells::sources;
use crate::config::Resolved;
use crate::error::Error;
use crate::executor::Job;
use crate::executor::port::Gate;
use crate::guard::BudgetGate;
use crate::matrix::{Cell, Shard};
use crate::record::dir::{JOURNAL, OnExisting, RESERVATIONS};
use crate::record::manifest::Manifest;
use crate::record::read::{RecordOwner, Records};
use crate::record::reservations::{Earlier, Reservations};
use crate::units::text::count;
use std::io::Write;
use std::path::Path;

/// Opens the budget of a run whose directory is locked. Without a budget no reservation file is opened, unless an
/// earlier session of the run left one.
pub(super) fn open(dir: &Path, manifest: &Manifest, job: &Job) -> Result<BudgetGate, Error> {
    let is_resumed = !manifest.resumed_ms.is_empty();
    if !is_resumed {
        Reservations::remove(dir)?;
    }
    let probes = super::preflight::first_cells(manifest);
    let mut budget = BudgetGate::new(&manifest.plan, &job.cells, &job.prompts, probes.clone(), job.shard);
    if manifest.plan.budget.is_unset() && !Reservations::exist(dir) {
        return Ok(budget);
    }
    if is_resumed {
        let mut records = Records::open(dir, manifest)?;
        for entry in &mut records {
            let (owner, record) = entry?;
            let cell = match owner {
                RecordOwner::Cell(cell) => cell,
                RecordOwner::Probe(probe) => probes[probe],
            };
            budget.add_earlier_request(cell, &record);
        }
        let damaged = records.damage().lines;
        if damaged > 0 {
            budget.count_damaged(damaged);
            let _ = writeln!(
                std::io::stderr(),
                "warning: {} of {JOURNAL} cannot be read: each counts in the budget as a request at its worst case",
                count(damaged as usize, "damaged line")
            );
        }
    }
    let (file, earlier) = Reservations::open(dir)?;
    if earlier == Earlier::Unknown {
        let _ = writeln!(
            std::io::stderr(),
            "warning: {RESERVATIONS} is damaged: the whole budget counts as spent, since requests that were in flight \
             cannot be counted\nhelp: set a larger budget, or delete `{}` to count only the requests in the journal",
            dir.join(RESERVATIONS).display()
        );
    }
    let unrecorded = budget.reserve(file, &earlier)?.requests;
    if unrecorded > 0 {
        let _ = writeln!(
            std::io::stderr(),
            "{} of the budget may have been in flight when an earlier session was killed, and counts as spent",
            count(unrecorded as usize, "request")
        );
    }
    Ok(budget)
}

/// Checks that the budget allows at least one cell to start, before earlier results are erased.
///
/// # Errors
/// The refusal of the first cell, if the budget refuses every cell.
pub(super) fn check_affordable(
    existing: OnExisting,
    resolved: &Resolved,
    cells: &[Cell],
    shard: Shard,
) -> Result<(), Error> {
    if existing != OnExisting::Overwrite || resolved.plan.budget.is_unset() {
        return Ok(());
    }
    let sources = sources(resolved, cells, 0);
    let budget = BudgetGate::new(&resolved.plan, cells, &sources, Vec::new(), shard);
    let refusals: Option<Vec<_>> = (0..cells.len()).map(|cell| budget.check_cell(cell).err()).collect();
    match refusals.and_then(|refusals| refusals.into_iter().next()) {
        Some(refusal) => Err(Error::Unaffordable { reason: refusal.message }),
        None => Ok(()),
    }
}
