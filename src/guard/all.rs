//! Several gates combined: a request is admitted if all gates admit it; a cell is extended if any gate wants it.

use crate::executor::port::{Gate, Refusal};
use crate::record::Record;
use std::pin::Pin;
use std::sync::Arc;

/// The gates of a run.
pub(crate) struct AllGates(pub(crate) Vec<Arc<dyn Gate>>);

impl Gate for AllGates {
    fn start_cell(&self, cell: usize) {
        self.0.iter().for_each(|gate| gate.start_cell(cell));
    }

    fn admit(&self) -> Result<(), Refusal> {
        self.0.iter().try_for_each(|gate| gate.admit())
    }

    fn wait_for_reservation(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            for gate in &self.0 {
                gate.wait_for_reservation().await;
            }
        })
    }

    fn check_cell(&self, cell: usize) -> Result<(), Refusal> {
        self.0.iter().try_for_each(|gate| gate.check_cell(cell))
    }

    fn wants_extension(&self) -> bool {
        self.0.iter().any(|gate| gate.wants_extension())
    }

    fn settle(&self, record: &Record) {
        self.0.iter().for_each(|gate| gate.settle(record));
    }

    fn exclude_stall(&self, from_ms: f64, to_ms: f64) {
        self.0.iter().for_each(|gate| gate.exclude_stall(from_ms, to_ms));
    }

    fn admit_probe(&self, probe: usize) -> Result<(), Refusal> {
        self.0.iter().try_for_each(|gate| gate.admit_probe(probe))
    }

    fn settle_probe(&self, probe: usize, record: &Record) {
        self.0.iter().for_each(|gate| gate.settle_probe(probe, record));
    }
}
