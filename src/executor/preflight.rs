//! Pre-flight: one small request per probe before the load. Results are emitted as events and evaluated elsewhere.

use super::bedrock::Bedrock;
use super::clock::Clock;
use super::context::CellContext;
use super::port::{Event, EventSink, Gate, Stop};
use super::prepared::{Prepared, RequestNumber, conversations};
use super::tasks::join_all;
use crate::matrix::Cell;
use crate::matrix::order::PlannedRun;
use crate::plan::CacheMode;
use crate::prompts::Source;
use crate::record::Phase;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Maximum concurrent requests, so that the pre-flight does not use up a quota.
const MAX_CONCURRENT: usize = 8;

/// Maximum duration of a pre-flight request: a server that never replies must not delay the load for the 14 minutes of the
/// default timeout.
pub(crate) const PREFLIGHT_TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum tokens of a reply.
const MAX_TOKENS: u32 = 16;

const PROMPT: &str = "Answer with the word OK.";

/// Sends one request per probe, with the settings of the cell beside it, and waits for all. The first stop signal prevents
/// further requests, the second one abandons those in flight.
pub(crate) async fn preflight(
    bedrock: &Arc<Bedrock>,
    probes: &[(usize, Cell)],
    gate: &Arc<dyn Gate>,
    emit: &EventSink,
    stop: &Stop,
) {
    let clock = Clock::anchored_now();
    let places = Arc::new(Semaphore::new(MAX_CONCURRENT));
    let mut asking = JoinSet::new();
    for (probe, cell) in probes {
        let place = tokio::select! {
            biased;
            () = stop.drain.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let run = PlannedRun { cell: *probe, repetition: 1, attempt: 1 };
        let small = small(cell);
        let source = Arc::new(Source::from_text(PROMPT));
        let prepared = Prepared::new(&small, &source, conversations(&small, &source), String::new(), 0, 1);
        let context = CellContext {
            bedrock: Arc::clone(bedrock),
            prepared: Arc::new(prepared),
            gate: Arc::clone(gate),
            emit: Arc::clone(emit),
            cell: Arc::new(small),
            run,
            shard_index: None,
            clock,
            start: Instant::now(),
            // Probes are not drained: the second stop signal abandons them directly.
            abandon: stop.abandon.clone(),
        };
        asking.spawn(async move {
            let _place = place;
            send_probe(&context).await;
        });
    }
    join_all(&mut asking).await;
}

/// Sends a probe and emits its record, unless the gate refuses it.
async fn send_probe(context: &CellContext) {
    let probe = context.run.cell;
    if !context.wait_for_admission(|| context.gate.admit_probe(probe)).await {
        return;
    }
    let reply = context.send(RequestNumber::Load(0)).await;
    let record = context.record_outside_load(probe, Phase::Preflight, reply);
    context.gate.settle_probe(probe, &record);
    (context.emit)(Event::Probed { probe, record: Box::new(record) });
}

/// Returns a cell with a minimal request. With model-specific fields, `max_tokens` is kept, since they may depend on it.
fn small(cell: &Cell) -> Cell {
    let mut small = cell.clone();
    small.cache_mode = CacheMode::AsIs;
    small.request.system = None;
    small.request.timeout = small.request.timeout.min(PREFLIGHT_TIMEOUT);
    if small.request.additional_fields.is_empty() {
        small.request.max_tokens = small.request.max_tokens.min(MAX_TOKENS);
    }
    small
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_server_delays_the_load_by_at_most_30_seconds() {
        let cell = &crate::matrix::expand(&crate::plan::tests::plan())[0];
        assert!(cell.request.timeout > Duration::from_secs(30));
        assert!(small(cell).request.timeout <= Duration::from_secs(30));
    }
}
