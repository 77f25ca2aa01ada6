//! An index of the reports of cell runs at their last attempt, by cell and repetition, and the progress of a run that follows
//! from it.

use super::manifest::{CellRunReport, Manifest};
use std::collections::{HashMap, HashSet};

/// The reports of all cell runs at their last attempt.
#[derive(Debug)]
pub(crate) struct LastReports<'a> {
    /// All reports in the order of execution.
    all: Vec<&'a CellRunReport>,
    by_cell: HashMap<&'a str, Vec<&'a CellRunReport>>,
    by_run: HashMap<(&'a str, u32), &'a CellRunReport>,
}

impl<'a> LastReports<'a> {
    /// Indexes the reports of a manifest. A cell run that the order does not contain has one attempt.
    fn new(manifest: &'a Manifest) -> Self {
        let attempts: HashMap<(&str, u32), u32> = manifest
            .order
            .iter()
            .filter(|run| run.attempt > 1)
            .map(|run| ((manifest.cells[run.cell].cell.id.as_str(), run.repetition), run.attempt))
            .collect();
        let mut reports = Self { all: Vec::new(), by_cell: HashMap::new(), by_run: HashMap::new() };
        for report in &manifest.planned_runs {
            let run = (report.test_id.as_str(), report.repetition);
            if report.attempt == attempts.get(&run).copied().unwrap_or(1) {
                reports.all.push(report);
                reports.by_cell.entry(run.0).or_default().push(report);
                reports.by_run.entry(run).or_insert(report);
            }
        }
        reports
    }

    /// Returns all reports in the order of execution.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a CellRunReport> + '_ {
        self.all.iter().copied()
    }

    /// Returns the reports of a cell in the order of execution.
    pub(crate) fn of_cell(&self, test_id: &str) -> &[&'a CellRunReport] {
        self.by_cell.get(test_id).map_or(&[], Vec::as_slice)
    }

    /// Returns the report of a cell run.
    pub(crate) fn get(&self, test_id: &'a str, repetition: u32) -> Option<&'a CellRunReport> {
        self.by_run.get(&(test_id, repetition)).copied()
    }
}

impl Manifest {
    /// Indexes the reports of the last attempt of every cell run. A loop over cells builds the index once, before it.
    pub(crate) fn last_reports(&self) -> LastReports<'_> {
        LastReports::new(self)
    }

    /// Whether a cell run that is not excluded is incomplete.
    pub(crate) fn has_unfinished(&self) -> bool {
        let (reports, excluded) = (self.last_reports(), self.excluded());
        self.order.iter().any(|planned_run| {
            let cell = &self.cells[planned_run.cell].cell;
            let report = reports.get(&cell.id, planned_run.repetition);
            excluded.get(cell).is_none() && report.is_none_or(|report| report.end.is_incomplete())
        })
    }

    /// Returns the number of finished cells and of all cells that are not excluded.
    pub(crate) fn progress(&self) -> (usize, usize) {
        let (reports, excluded) = (self.last_reports(), self.excluded());
        let (mut all, mut open) = (HashSet::new(), HashSet::new());
        for planned_run in &self.order {
            let cell = &self.cells[planned_run.cell].cell;
            if excluded.get(cell).is_some() {
                continue;
            }
            all.insert(planned_run.cell);
            if reports.get(&cell.id, planned_run.repetition).is_none_or(|report| report.end.is_incomplete()) {
                open.insert(planned_run.cell);
            }
        }
        (all.len() - open.len(), all.len())
    }
}
