//! Collects the records of a run in the order of the journal, and computes the summary of each cell.
//!
//! Up to [`MAX_LIVE_SAMPLES`] samples are held, and the cells are summarised at the end of the journal. In a longer
//! journal, whenever a cell run begins, the cells whose last cell run has passed are summarised and their samples are
//! dropped. If more samples are left than may be held, all cells but the current one are evicted: they are read a second
//! time at the end, one by one.

use super::cell_summary::CellSummary;
use super::collect::{CellAccumulator, CellContext};
use super::spend::Spend;
use super::stalls::Stalls;
use super::summary::{self, Summary};
use super::timeline::TimelineBuilder;
use crate::prices::Prices;
use crate::record::disturbance::Disturbances;
use crate::record::manifest::{CellRunEnd, CellRunReport, Manifest, PlannedCell};
use crate::record::probe::{ExcludedCells, Probe};
use crate::record::{LastReports, Record};
use std::collections::{BTreeMap, HashMap};

/// Maximum number of samples of unfinished cells.
const MAX_LIVE_SAMPLES: usize = 200_000;

/// State of a cell.
#[derive(Debug)]
enum CellState {
    /// Its records are being collected.
    Live(Box<CellAccumulator>),
    Summarised(Box<CellSummary>),
    /// Its records were dropped and must be read again.
    Evicted,
}

/// Extent in time of a cell run without a report: the run was killed in it.
#[derive(Debug, Clone, Copy)]
struct KilledRun {
    /// Epoch seconds.
    start_s: f64,
    /// Epoch seconds.
    end_s: f64,
    requests: u64,
}

/// A cell run: cell and repetition.
type CellRun = (usize, u32);

/// Collector of the records of one run.
#[derive(Debug)]
pub(crate) struct Collector<'a> {
    manifest: &'a Manifest,
    reports: LastReports<'a>,
    excluded: ExcludedCells<'a>,
    prices: Prices,
    /// Last attempt of repeated cell runs.
    attempts: HashMap<CellRun, u32>,
    /// Place of each cell run in the order of execution.
    places: HashMap<CellRun, usize>,
    /// Planned cell runs of each cell.
    repetitions: Vec<usize>,
    /// Only for cells with stalls.
    stalls: HashMap<usize, Stalls>,
    /// Cells in the order of their last cell runs, each with the place of that.
    ends: Vec<(usize, usize)>,
    /// The number of `ends` that have passed.
    ended: usize,
    cells: Vec<CellState>,
    killed: BTreeMap<CellRun, KilledRun>,
    /// `None` until the extents of all cell runs are known.
    timeline: Option<TimelineBuilder>,
    /// The cell run of the last record, and whether it has a report.
    last: Option<(CellRun, bool)>,
    live_samples: usize,
    max_live_samples: usize,
    preflight: Spend,
}

impl<'a> Collector<'a> {
    /// Creates a collector for the cells of a manifest.
    pub(crate) fn new(manifest: &'a Manifest) -> Self {
        let reports = manifest.last_reports();
        let again = manifest.order.iter().filter(|run| run.attempt > 1);
        let attempts = again.map(|run| ((run.cell, run.repetition), run.attempt)).collect();
        let (mut repetitions, mut last_places) = (vec![0; manifest.cells.len()], vec![0; manifest.cells.len()]);
        let mut places = HashMap::new();
        for (place, run) in manifest.order.iter().enumerate() {
            repetitions[run.cell] += 1;
            last_places[run.cell] = place;
            places.insert((run.cell, run.repetition), place);
        }
        let mut ends: Vec<(usize, usize)> =
            last_places.into_iter().enumerate().map(|(cell, place)| (place, cell)).collect();
        ends.sort_unstable();
        let id = |cell: usize| manifest.cells[cell].cell.id.as_str();
        // After a run that was not killed, a cell run without a report did not start.
        let is_reported = manifest.ended_ms.is_some()
            || manifest.order.iter().all(|run| reports.get(id(run.cell), run.repetition).is_some());
        let mut collector = Self {
            excluded: manifest.excluded(),
            prices: Prices::from_rows(&manifest.prices),
            stalls: stalls(manifest),
            cells: manifest.cells.iter().map(|_| CellState::Live(Box::default())).collect(),
            manifest,
            reports,
            attempts,
            places,
            repetitions,
            ends,
            ended: 0,
            killed: BTreeMap::new(),
            timeline: None,
            last: None,
            live_samples: 0,
            max_live_samples: MAX_LIVE_SAMPLES,
            preflight: Spend::default(),
        };
        if is_reported {
            collector.lay_out_timeline();
        }
        collector
    }

    /// Adds a record of a cell, in any order. Requests outside the load and of abandoned attempts only count as cost.
    pub(crate) fn add(&mut self, cell: usize, record: &Record) {
        let run = (cell, record.repetition);
        let is_reported = match self.last {
            Some((last, is_reported)) if last == run => is_reported,
            _ => self.begin_run(run),
        };
        let counts = self.counts(cell, record);
        if counts && !is_reported {
            let start_s = record.timestamp - (record.due_ms.unwrap_or(record.sent_ms) + record.response_time_ms) / 1e3;
            let killed = self.killed.entry(run).or_insert(KilledRun { start_s, end_s: f64::NEG_INFINITY, requests: 0 });
            killed.start_s = killed.start_s.min(start_s);
            killed.end_s = killed.end_s.max(record.timestamp);
            killed.requests += 1;
        }
        if matches!(self.cells[cell], CellState::Summarised(_)) {
            // The order of the journal is not that of the cell runs. The time line contains the cell without this record.
            self.cells.fill_with(|| CellState::Evicted);
            self.live_samples = 0;
            self.timeline = None;
        }
        let context =
            CellContext { cell: &self.manifest.cells[cell].cell, prices: &self.prices, stalls: self.stalls.get(&cell) };
        if let CellState::Live(accumulator) = &mut self.cells[cell] {
            accumulator.add(context, record, counts);
            self.live_samples += usize::from(counts);
        }
    }

    /// Prepares for the records of a cell run. Returns whether it has a report.
    fn begin_run(&mut self, run: CellRun) -> bool {
        if self.live_samples > self.max_live_samples {
            self.free_memory(run);
        }
        let (cell, repetition) = run;
        let is_reported = self.reports.get(&self.manifest.cells[cell].cell.id, repetition).is_some();
        self.last = Some((run, is_reported));
        is_reported
    }

    fn counts(&self, cell: usize, record: &Record) -> bool {
        let last = self.attempts.get(&(cell, record.repetition)).copied().unwrap_or(1);
        record.phase.is_load() && record.cell_attempt == last
    }

    /// Summarises the cells whose last cell runs have passed. If that is not enough, evicts all cells but the current
    /// one.
    fn free_memory(&mut self, current: CellRun) {
        let place = self.places.get(&current).copied().unwrap_or(0);
        // Machines of a sharded run do not end a cell run at the same moment, so the previous one may go on.
        let overlap = usize::from(self.manifest.shards.is_some());
        while self.timeline.is_some() && self.ends.get(self.ended).is_some_and(|(end, _)| end + overlap < place) {
            let (_, cell) = self.ends[self.ended];
            self.ended += 1;
            if let CellState::Live(accumulator) = &mut self.cells[cell] {
                let accumulator = std::mem::take(accumulator);
                self.live_samples -= accumulator.samples.len();
                self.cells[cell] = CellState::Summarised(Box::new(self.summarise(cell, *accumulator)));
            }
        }
        if self.live_samples <= self.max_live_samples {
            return;
        }
        for (_, state) in self.cells.iter_mut().enumerate().filter(|(cell, _)| *cell != current.0) {
            if let CellState::Live(accumulator) = state
                && !accumulator.samples.is_empty()
            {
                self.live_samples -= accumulator.samples.len();
                *state = CellState::Evicted;
            }
        }
    }

    /// Adds a pre-flight request, which only counts as cost.
    pub(crate) fn add_probe(&mut self, probe: usize, record: &Record) {
        let Probe { model_id, region_prefix, service_tier, .. } = &self.manifest.preflight[probe].probe;
        self.preflight.add_request(&self.prices, (model_id, region_prefix, service_tier), record, false);
    }

    /// Computes the summary. `read_again` passes all records of a cell to a function; it is called for the cells whose
    /// records were dropped.
    ///
    /// # Errors
    /// Those of `read_again`.
    pub(crate) fn finish<E>(
        mut self,
        mut read_again: impl FnMut(usize, &mut dyn FnMut(&Record)) -> Result<(), E>,
    ) -> Result<Summary, E> {
        if self.timeline.is_none() {
            self.lay_out_timeline();
        }
        let mut cells = Vec::with_capacity(self.cells.len());
        for cell in 0..self.cells.len() {
            cells.push(match std::mem::replace(&mut self.cells[cell], CellState::Evicted) {
                CellState::Summarised(summary) => *summary,
                CellState::Live(accumulator) => self.summarise(cell, *accumulator),
                CellState::Evicted => {
                    let mut accumulator = CellAccumulator::default();
                    let context = CellContext {
                        cell: &self.manifest.cells[cell].cell,
                        prices: &self.prices,
                        stalls: self.stalls.get(&cell),
                    };
                    read_again(cell, &mut |record| accumulator.add(context, record, self.counts(cell, record)))?;
                    self.summarise(cell, accumulator)
                }
            });
        }
        let timeline = self.timeline.map(TimelineBuilder::finish).unwrap_or_default();
        Ok(Summary::new(cells, self.preflight, timeline))
    }

    /// Holds fewer samples.
    #[cfg(test)]
    pub(crate) fn with_limit(self, max_live_samples: usize) -> Self {
        Self { max_live_samples, ..self }
    }

    /// Returns the number of samples that are held.
    #[cfg(test)]
    pub(crate) fn live_samples(&self) -> usize {
        self.live_samples
    }

    /// Computes the summary of few records, none of which was dropped.
    #[cfg(test)]
    pub(crate) fn finish_in_memory(self) -> Summary {
        let summary = self.finish(|cell, _| Err(format!("cell {cell} was dropped")));
        summary.expect("few records")
    }

    fn summarise(&mut self, cell: usize, accumulator: CellAccumulator) -> CellSummary {
        let reports = self.cell_run_reports(cell);
        let planned = &self.manifest.cells[cell].cell;
        let summary =
            summary::cell(self.manifest, &self.excluded, planned, &reports, self.repetitions[cell], accumulator);
        if let Some(timeline) = &mut self.timeline {
            timeline.add(cell, &summary.samples);
        }
        summary.drop_samples(&self.manifest.plan.slo)
    }

    fn lay_out_timeline(&mut self) {
        let reports: Vec<Vec<CellRunReport>> = (0..self.cells.len()).map(|cell| self.cell_run_reports(cell)).collect();
        self.timeline = Some(TimelineBuilder::new(&reports));
    }

    /// Returns the reports of a cell's runs. A killed run has no report: it is reconstructed from its records.
    fn cell_run_reports(&self, cell: usize) -> Vec<CellRunReport> {
        let planned = &self.manifest.cells[cell].cell;
        let reported = self.reports.of_cell(&planned.id).iter().map(|report| (*report).clone());
        let killed = self.killed.range((cell, 0)..=(cell, u32::MAX)).map(|((_, repetition), killed)| {
            let planned_ms = crate::units::ms(planned.load.test_duration);
            CellRunReport {
                test_id: planned.id.clone(),
                repetition: *repetition,
                attempt: 1,
                started_ms: (killed.start_s * 1e3) as u64,
                ended_ms: (killed.end_s * 1e3) as u64,
                load_ms: ((killed.end_s - killed.start_s) * 1e3).min(planned_ms),
                end: CellRunEnd::Interrupted,
                reason: Some("the run was killed".into()),
                failed: None,
                requests: killed.requests,
                connections_opened: 0,
                connections_reused: 0,
                dropped: 0,
                starts_waited: None,
                user_ms: 0.0,
                think_ms: 0.0,
                series: Vec::new(),
                shard: None,
                late_ms: None,
                disturbances: Disturbances::default(),
                parts: Vec::new(),
            }
        });
        reported.chain(killed).collect()
    }
}

/// Returns the stalls that may matter, by cell.
fn stalls(manifest: &Manifest) -> HashMap<usize, Stalls> {
    let mut by_id: HashMap<&str, Vec<&CellRunReport>> = HashMap::new();
    let has_stalls = |turn: &&CellRunReport| turn.machines().iter().any(|part| !part.disturbances.stalls.is_empty());
    for turn in manifest.planned_runs.iter().filter(has_stalls) {
        by_id.entry(&turn.test_id).or_default().push(turn);
    }
    let of = |(cell, planned): (usize, &PlannedCell)| {
        Some((cell, Stalls::of_turns(by_id.get(planned.cell.id.as_str())?.iter().copied())))
    };
    manifest.cells.iter().enumerate().filter_map(of).collect()
}
