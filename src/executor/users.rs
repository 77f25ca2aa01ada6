//! Virtual users (closed loop), which repeat: send a request, wait for the reply, think; and arrivals (open loop), which send
//! one request. Each request becomes one record, whatever its outcome.

use super::admission::{Admission, StartOutcome};
use super::context::CellContext;
use super::counters::CellCounters;
use super::deadline::ClosesOnPanic;
use super::health::Ticker;
use super::prepared::RequestNumber;
use crate::record::Phase;
use crate::units::ThinkTime;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Streams of the run's seed for think times: one per cell run and user.
const THINK_STREAMS: u64 = 1 << 63;

/// State of a cell run, which all of its users share.
pub(super) struct CellRunState {
    pub(super) context: CellContext,
    pub(super) admission: Admission,
    pub(super) counters: CellCounters,
    pub(super) ticker: Ticker,
    ramp: Duration,
    /// Cancelled: nothing is in flight.
    pub(super) finished: CancellationToken,
}

impl CellRunState {
    pub(super) fn new(context: CellContext, admission: Admission) -> Self {
        Self {
            ramp: context.cell.ramp(),
            context,
            admission,
            counters: CellCounters::default(),
            ticker: Ticker::default(),
            finished: CancellationToken::new(),
        }
    }

    fn phase(&self, sent: Instant, ended: Instant) -> Phase {
        if sent < self.context.start + self.ramp {
            Phase::Ramp
        } else if ended > self.admission.deadline.ended() {
            Phase::Drain
        } else {
            Phase::Steady
        }
    }

    /// Sends a request of the load and emits its record.
    async fn request(&self, user: Option<u32>, seq: u64, intended: Instant) {
        let number = RequestNumber::Load(seq);
        let reply = self.context.send(number).await;
        self.counters.remove_in_flight();
        let phase = self.phase(reply.sent, reply.ended);
        let mut record = self.context.record(user, seq, intended, phase, reply);
        self.context.add_prompt(&mut record, number);
        self.context.emit_ended(record);
    }
}

/// Returns the random generator of a user's think times, which does not depend on the shard.
pub(super) fn think_time_rng(seed: u64, place: usize, user: u32) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(THINK_STREAMS | (place as u64) << 32 | u64::from(user));
    rng
}

/// Runs one user until the load ends or the user leaves.
pub(super) async fn run_user(state: Arc<CellRunState>, user: u32, seed: u64, place: usize, leaving: CancellationToken) {
    let _guard = ClosesOnPanic(&state.admission.deadline);
    let mut rng = think_time_rng(seed, place, user);
    state.counters.add_user();
    let joined_at = Instant::now();
    let mut intended = joined_at;
    loop {
        if state.admission.recorder_is_full() {
            // Boxed, so that the task of each user stays small.
            Box::pin(state.admission.wait_for_recorder(&state.counters, &leaving)).await;
        }
        if leaving.is_cancelled() || !state.admission.wait_until_allowed().await {
            break;
        }
        let seq = match state.admission.try_start(&state.counters) {
            StartOutcome::Started(seq) => seq,
            StartOutcome::NotReserved => {
                state.admission.wait_for_reservation().await;
                continue;
            }
            StartOutcome::Refused => break,
        };
        state.request(Some(user), seq, intended).await;
        let pause = draw_think_time(state.context.cell.load.think_time, &mut rng);
        let pause_start = Instant::now();
        if !pause.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = leaving.cancelled() => {}
            }
        }
        intended = Instant::now();
        // A pause that is longer than drawn is a delay of this client, not think time.
        let think = (pause_start + pause)
            .min(intended)
            .min(state.admission.deadline.ended())
            .saturating_duration_since(pause_start);
        state.counters.add_think_time(think);
    }
    let present = Instant::now().min(state.admission.deadline.ended()).saturating_duration_since(joined_at);
    state.counters.remove_user(present);
}

/// Runs one arrival of an open loop, intended for `due`.
pub(super) async fn run_arrival(state: Arc<CellRunState>, seq: u64, due: Instant) {
    let _guard = ClosesOnPanic(&state.admission.deadline);
    state.request(None, seq, due).await;
}

pub(super) fn draw_think_time(think_time: ThinkTime, rng: &mut ChaCha8Rng) -> Duration {
    let (min, max) = (think_time.min.as_micros() as u64, think_time.max.as_micros() as u64);
    Duration::from_micros(if min == max { min } else { rng.random_range(min..=max) })
}
