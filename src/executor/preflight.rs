//! One small request for each way in which the cells of a run ask, before any load. Sends and tells;
//! what an end means is judged elsewhere.

use super::bedrock::Bedrock;
use super::port::{Event, Gate, Stop};
use super::prepared::Prepared;
use super::run::{Clock, Tell};
use super::users::Shared;
use crate::matrix::Cell;
use crate::matrix::order::Turn;
use crate::plan::CacheMode;
use crate::prompts::Source;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// So many at a time: a quota must not be used up by the pre-flight.
const AT_ONCE: usize = 8;

/// No small request takes longer: a server that accepts connections and never answers must not hold the load for the
/// 14 minutes of a request's own timeout.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Enough for a word.
const MAX_TOKENS: u32 = 16;

const PROMPT: &str = "Answer with the word OK.";

/// Sends the request of each probe, as the cell beside it would, and waits until all have ended. A wish
/// to stop lets no other one begin; a second one gives up what is in flight.
pub(crate) async fn preflight(
    bedrock: &Arc<Bedrock>,
    probes: &[(usize, Cell)],
    gate: &Arc<dyn Gate>,
    tell: &Tell,
    stop: &Stop,
) {
    let clock = Clock::anchored_now();
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut asking = JoinSet::new();
    for (probe, cell) in probes {
        let place = tokio::select! {
            biased;
            () = stop.starting.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let turn = Turn { cell: *probe, repetition: 1, attempt: 1 };
        let small = small(cell);
        let prepared = Prepared::new(&small, &Arc::new(Source::from_text(PROMPT)), String::new(), 0, 1);
        let mut shared = Shared::new(
            Arc::clone(bedrock),
            Arc::new(prepared),
            &small,
            turn,
            Instant::now(),
            clock,
            Arc::clone(gate),
            Arc::clone(tell),
        );
        // Nothing of a probe is drained: what gives up the waiting gives it up at once.
        shared.giving_up = stop.waiting.clone();
        let (tell, probe) = (Arc::clone(tell), *probe);
        asking.spawn(async move {
            let _place = place;
            if let Some(record) = shared.probe().await {
                tell(Event::Probed { probe, record: Box::new(record) });
            }
        });
    }
    super::cell::all(&mut asking).await;
}

/// A cell's request, as small as it may be: with fields of the model's own among it, a limit of tokens may
/// be bound to them.
fn small(cell: &Cell) -> Cell {
    let mut small = cell.clone();
    small.cache_mode = CacheMode::AsIs;
    small.request.system = None;
    small.request.timeout = small.request.timeout.min(PATIENCE);
    if small.request.additional_fields.is_empty() {
        small.request.max_tokens = small.request.max_tokens.min(MAX_TOKENS);
    }
    small
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_server_holds_the_load_for_half_a_minute_at_most() {
        let cell = &crate::matrix::expand(&crate::plan::tests::plan())[0];
        assert!(cell.request.timeout > Duration::from_secs(30));
        assert!(small(cell).request.timeout <= Duration::from_secs(30));
    }
}
