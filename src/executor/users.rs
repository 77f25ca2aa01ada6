//! A virtual user: ask, wait for the answer, think, ask again. Each request becomes one record,
//! whatever its end.

use super::bedrock::{Answer, Bedrock, Failure, Prepared, Reply};
use super::exchange::Facts;
use super::port::{Event, Gate};
use super::run::{Clock, Tell};
use crate::matrix::Cell;
use crate::matrix::order::Turn;
use crate::record::manifest::Second;
use crate::record::{Outcome, Phase, Record, class};
use crate::units::{ThinkTime, ms};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The streams of the run's seed from which think times are drawn: one per turn and user, apart
/// from the stream that orders cells.
const THINK_STREAMS: u64 = 1 << 63;

/// What the users of one turn have in common.
pub(super) struct Shared {
    bedrock: Arc<Bedrock>,
    prepared: Prepared,
    gate: Arc<dyn Gate>,
    pub(super) tell: Tell,
    cell: usize,
    repetition: u32,
    think_time: ThinkTime,
    pub(super) start: Instant,
    pub(super) deadline: Instant,
    ramp: Duration,
    clock: Clock,
    /// Nothing new starts.
    pub(super) closing: CancellationToken,
    /// What is in flight is given up.
    pub(super) giving_up: CancellationToken,
    /// Nothing is in flight any more.
    pub(super) finished: CancellationToken,
    sequence: AtomicU64,
    users: AtomicU32,
    in_flight: AtomicU32,
    closed: Mutex<Option<Instant>>,
    refusal: Mutex<Option<String>>,
}

impl Shared {
    #[allow(clippy::too_many_arguments)] // each is a different thing, and there is one caller
    pub(super) fn new(
        bedrock: Arc<Bedrock>,
        prepared: Prepared,
        cell: &Cell,
        turn: Turn,
        start: Instant,
        clock: Clock,
        gate: Arc<dyn Gate>,
        tell: Tell,
    ) -> Self {
        Self {
            bedrock,
            prepared,
            gate,
            tell,
            cell: turn.cell,
            repetition: turn.repetition,
            think_time: cell.load.think_time,
            start,
            deadline: start + cell.load.test_duration,
            ramp: cell.ramp(),
            clock,
            closing: CancellationToken::new(),
            giving_up: CancellationToken::new(),
            finished: CancellationToken::new(),
            sequence: AtomicU64::new(0),
            users: AtomicU32::new(0),
            in_flight: AtomicU32::new(0),
            closed: Mutex::new(None),
            refusal: Mutex::new(None),
        }
    }

    /// From now on nothing starts. Returns how long the load lasted.
    pub(super) fn close(&self) -> Duration {
        let now = Instant::now().min(self.deadline);
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        self.closing.cancel();
        now - self.start
    }

    /// Requests started until now.
    pub(super) fn started(&self) -> u64 {
        self.sequence.load(Ordering::Relaxed)
    }

    /// Why the gate refused a start.
    pub(super) fn refusal(&self) -> Option<String> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a sampler sees now.
    pub(super) fn second(&self) -> Second {
        Second { users: self.users.load(Ordering::Relaxed), in_flight: self.in_flight.load(Ordering::Relaxed) }
    }

    /// Whether a start is allowed; a refusal of the gate closes the turn.
    fn may_start(&self) -> bool {
        if self.closing.is_cancelled() || Instant::now() >= self.deadline {
            return false;
        }
        match self.gate.admit() {
            Ok(()) => true,
            Err(reason) => {
                self.refusal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
                self.closing.cancel();
                false
            }
        }
    }

    fn phase(&self, sent: Instant, ended: Instant) -> Phase {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(self.deadline);
        if sent < self.start + self.ramp {
            Phase::Ramp
        } else if ended > closed {
            Phase::Drain
        } else {
            Phase::Steady
        }
    }

    /// The record of a request; without a reply it was given up.
    fn record(&self, user: u32, seq: u64, started: Instant, reply: Option<Reply>) -> Record {
        let (sent, ended, facts, answer) = match reply {
            Some(reply) => (reply.sent, reply.ended, reply.facts, Some(reply.answer)),
            None => (started, Instant::now(), Facts::default(), None),
        };
        let (outcome, answer, failure) = match answer {
            Some(Ok(answer)) => (Outcome::Succeeded, answer, None),
            Some(Err(failure)) => {
                let Failure { class, message, http_status, request_id, answer } = *failure;
                (class::outcome(&class), answer, Some((class, message, http_status, request_id)))
            }
            None => (Outcome::Censored, Answer::default(), None),
        };
        let (error_class, error_message, http_status, request_id) = match failure {
            Some((class, message, status, request_id)) => (Some(class), Some(message), status, request_id),
            None => (None, None, (outcome == Outcome::Succeeded).then_some(200), None),
        };
        Record {
            timestamp: self.clock.epoch_us(ended) as f64 / 1e6,
            response_time_ms: ms(ended.saturating_duration_since(sent)),
            input_tokens: answer.input_tokens,
            output_tokens: answer.output_tokens,
            total_tokens: answer.total_tokens,
            success: outcome == Outcome::Succeeded,
            repetition: self.repetition,
            user,
            seq,
            phase: self.phase(sent, ended),
            outcome,
            error_class,
            error_message,
            http_status,
            request_id: answer.request_id.or(request_id),
            stop_reason: answer.stop_reason,
            resolved_service_tier: answer.resolved_service_tier,
            cache_read_tokens: answer.cache_read_tokens,
            cache_write_tokens: answer.cache_write_tokens,
            server_latency_ms: answer.server_latency_ms,
            sent_ms: ms(sent.saturating_duration_since(self.start)),
            response_bytes: facts.response_bytes,
            connection: facts.connection,
            connect_ms: facts.connect.map(ms),
        }
    }
}

/// The life of one user.
pub(super) async fn user(shared: Arc<Shared>, user: u32, seed: u64, turn: usize) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(THINK_STREAMS | (turn as u64) << 32 | u64::from(user));
    shared.users.fetch_add(1, Ordering::Relaxed);
    while shared.may_start() {
        let seq = shared.sequence.fetch_add(1, Ordering::Relaxed);
        shared.in_flight.fetch_add(1, Ordering::Relaxed);
        let started = Instant::now();
        let reply = tokio::select! {
            biased;
            reply = shared.bedrock.converse(&shared.prepared) => Some(reply),
            () = shared.giving_up.cancelled() => None,
        };
        shared.in_flight.fetch_sub(1, Ordering::Relaxed);
        let record = shared.record(user, seq, started, reply);
        shared.gate.settle(&record);
        (shared.tell)(Event::Ended { cell: shared.cell, record: Box::new(record) });
        let pause = draw(shared.think_time, &mut rng);
        if !pause.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shared.closing.cancelled() => {}
            }
        }
    }
    shared.users.fetch_sub(1, Ordering::Relaxed);
}

fn draw(think_time: ThinkTime, rng: &mut ChaCha8Rng) -> Duration {
    let (min, max) = (think_time.min.as_micros() as u64, think_time.max.as_micros() as u64);
    Duration::from_micros(if min == max { min } else { rng.random_range(min..=max) })
}
