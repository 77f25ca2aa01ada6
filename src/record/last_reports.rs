//! How the cell runs of a manifest went: the report of each at its last attempt, found by cell and repetition.

use super::manifest::{Manifest, TurnReport};
use std::collections::HashMap;

/// The reports of all cell runs at their last attempt.
#[derive(Debug)]
pub(crate) struct LastReports<'a> {
    /// In the order in which they ran.
    all: Vec<&'a TurnReport>,
    by_cell: HashMap<&'a str, Vec<&'a TurnReport>>,
    by_run: HashMap<(&'a str, u32), &'a TurnReport>,
}

impl<'a> LastReports<'a> {
    /// Reads the order and the reports once. A cell run that the order does not name has one attempt.
    pub(super) fn new(manifest: &'a Manifest) -> Self {
        let attempts: HashMap<(&str, u32), u32> = manifest
            .order
            .iter()
            .filter(|turn| turn.attempt > 1)
            .map(|turn| ((manifest.cells[turn.cell].cell.id.as_str(), turn.repetition), turn.attempt))
            .collect();
        let mut reports = Self { all: Vec::new(), by_cell: HashMap::new(), by_run: HashMap::new() };
        for report in &manifest.turns {
            let run = (report.test_id.as_str(), report.repetition);
            if report.attempt == attempts.get(&run).copied().unwrap_or(1) {
                reports.all.push(report);
                reports.by_cell.entry(run.0).or_default().push(report);
                reports.by_run.entry(run).or_insert(report);
            }
        }
        reports
    }

    /// All of them, in the order in which they ran.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a TurnReport> + '_ {
        self.all.iter().copied()
    }

    /// Those of one cell, in the order in which they ran.
    pub(crate) fn of_cell(&self, test_id: &str) -> &[&'a TurnReport] {
        self.by_cell.get(test_id).map_or(&[], Vec::as_slice)
    }

    /// That of one cell run.
    pub(crate) fn get(&self, test_id: &'a str, repetition: u32) -> Option<&'a TurnReport> {
        self.by_run.get(&(test_id, repetition)).copied()
    }
}
