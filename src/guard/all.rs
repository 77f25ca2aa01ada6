//! Several gates as one: a start needs every permission, and a cell goes on if any gate wants it to.

use crate::executor::port::{Gate, Refusal};
use crate::record::Record;
use std::pin::Pin;
use std::sync::Arc;

/// The gates of a run.
pub(crate) struct All(pub(crate) Vec<Arc<dyn Gate>>);

impl Gate for All {
    fn begin(&self, cell: usize) {
        self.0.iter().for_each(|gate| gate.begin(cell));
    }

    fn admit(&self) -> Result<(), Refusal> {
        self.0.iter().try_for_each(|gate| gate.admit())
    }

    fn reserved(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            for gate in &self.0 {
                gate.reserved().await;
            }
        })
    }

    fn could_admit(&self, cell: usize) -> Result<(), Refusal> {
        self.0.iter().try_for_each(|gate| gate.could_admit(cell))
    }

    fn goes_on(&self) -> bool {
        self.0.iter().any(|gate| gate.goes_on())
    }

    fn settle(&self, record: &Record) {
        self.0.iter().for_each(|gate| gate.settle(record));
    }

    fn stalled(&self, from_ms: f64, to_ms: f64) {
        self.0.iter().for_each(|gate| gate.stalled(from_ms, to_ms));
    }

    fn admit_probe(&self, probe: usize) -> Result<(), Refusal> {
        self.0.iter().try_for_each(|gate| gate.admit_probe(probe))
    }

    fn settle_probe(&self, probe: usize, record: &Record) {
        self.0.iter().for_each(|gate| gate.settle_probe(probe, record));
    }
}
