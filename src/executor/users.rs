//! Virtual users (closed loop), which repeat: send a request, wait for the reply, think; and arrivals (open loop), which send
//! one request. Each request becomes one record, whatever its outcome.

use super::backlog::Backlog;
use super::bedrock::{Answer, Bedrock, Failure, Reply};
use super::deadline::{ClosesOnPanic, Deadline};
use super::health::{Ticker, cpu_time};
use super::port::{Barrier, Event, Gate, Refusal, RefusalReason};
use super::prepared::{Prepared, RequestNumber};
use super::redact::redact_record;
use super::run::{Clock, EventSink, Job};
use crate::matrix::order::PlannedRun;
use crate::matrix::{Cell, Shard};
use crate::record::manifest::Second;
use crate::record::{ExclusionReason, Outcome, Phase, Record, class, is_blocked};
use crate::units::{ThinkTime, ms};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Streams of the run's seed for think times: one per cell run and user.
const THINK_STREAMS: u64 = 1 << 63;

/// Maximum plausible difference by which a server latency exceeds the client's own time, in milliseconds.
const LATENCY_TOLERANCE_MS: f64 = 1_000.0;

/// State of a cell run, used by all of its users.
pub(super) struct CellRunState {
    bedrock: Arc<Bedrock>,
    prepared: Arc<Prepared>,
    pub(super) gate: Arc<dyn Gate>,
    pub(super) emit: EventSink,
    run: PlannedRun,
    cell: Cell,
    pub(super) start: Instant,
    pub(super) deadline: Deadline,
    /// Index of the shard, if there are several.
    shard_index: Option<u32>,
    /// The barrier and the position of the cell run, if there are several shards.
    barrier: Option<(Arc<dyn Barrier>, usize)>,
    /// The shard whose requests are started here.
    shard: Shard,
    /// Maximum requests of all shards together.
    max_requests: u64,
    max_in_flight: u32,
    ramp: Duration,
    clock: Clock,
    /// Cancelled: requests in flight are abandoned.
    pub(super) abandon: CancellationToken,
    /// Cancelled: nothing is in flight.
    pub(super) finished: CancellationToken,
    sequence: AtomicU64,
    users: AtomicU32,
    in_flight: AtomicU32,
    dropped: AtomicU64,
    backlog: Arc<Backlog>,
    starts_waited: AtomicU64,
    user_us: AtomicU64,
    think_us: AtomicU64,
    pub(super) ticker: Ticker,
    refusal: Mutex<Option<Refusal>>,
}

impl CellRunState {
    #[allow(clippy::too_many_arguments)] // independent parts, for two callers
    pub(super) fn new(
        bedrock: Arc<Bedrock>,
        prepared: Arc<Prepared>,
        cell: &Cell,
        run: PlannedRun,
        start: Instant,
        clock: Clock,
        gate: Arc<dyn Gate>,
        emit: EventSink,
    ) -> Self {
        Self {
            bedrock,
            prepared,
            gate,
            emit,
            run,
            cell: cell.clone(),
            start,
            deadline: Deadline::new(start + cell.length()),
            shard_index: None,
            barrier: None,
            shard: Shard::WHOLE,
            max_requests: cell.load.requests.unwrap_or(u64::MAX),
            max_in_flight: cell.load.max_in_flight,
            ramp: cell.ramp(),
            clock,
            abandon: CancellationToken::new(),
            finished: CancellationToken::new(),
            sequence: AtomicU64::new(0),
            users: AtomicU32::new(0),
            in_flight: AtomicU32::new(0),
            dropped: AtomicU64::new(0),
            backlog: Arc::default(),
            starts_waited: AtomicU64::new(0),
            user_us: AtomicU64::new(0),
            think_us: AtomicU64::new(0),
            ticker: Ticker::default(),
            refusal: Mutex::new(None),
        }
    }

    /// Restricts the cell run to a shard. An idle shard starts no requests.
    pub(super) fn with_job(mut self, job: &Job, place: usize, shard: Shard, is_idle: bool) -> Self {
        self.shard_index = job.shard.is_part().then_some(job.shard.index);
        self.barrier = job.barrier.clone().map(|barrier| (barrier, place));
        self.shard = shard;
        self.backlog = Arc::clone(&job.backlog);
        self.max_in_flight = shard.share(u64::from(self.max_in_flight)).max(1) as u32;
        if is_idle && self.max_requests < u64::MAX {
            self.max_requests = 0;
            self.deadline.closing.cancel();
        }
        self
    }

    /// Returns the maximum number of requests of this shard.
    fn own_requests(&self) -> u64 {
        self.shard.share(self.max_requests)
    }

    /// Closes the load: nothing starts afterwards. Returns the duration of the load.
    pub(super) fn close(&self) -> Duration {
        self.deadline.close() - self.start
    }

    /// Returns the number of dropped starts.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Counts starts as dropped that were overdue at the end of the load.
    pub(super) fn drop_overdue(&self, starts: u64) {
        self.dropped.fetch_add(starts, Ordering::Relaxed);
    }

    /// Returns the number of starts that waited for the recorder's queue; `None` if there were none.
    pub(super) fn starts_waited(&self) -> Option<u64> {
        Some(self.starts_waited.load(Ordering::Relaxed)).filter(|starts| *starts > 0)
    }

    /// Returns whether starts must wait for the recorder. Cheap: one atomic load.
    pub(super) fn recorder_is_full(&self) -> bool {
        self.backlog.is_full()
    }

    /// Waits while the recorder's queue is full, at most until `leaving`.
    pub(super) async fn wait_for_recorder(&self, leaving: &CancellationToken) {
        self.starts_waited.fetch_add(1, Ordering::Relaxed);
        tokio::select! {
            () = self.backlog.wait_for_room() => {}
            () = leaving.cancelled() => {}
        }
    }

    /// Returns the total time of all users, and their total think time, in milliseconds.
    pub(super) fn user_and_think_ms(&self) -> (f64, f64) {
        let read = |us: &AtomicU64| crate::units::us_to_ms(us.load(Ordering::Relaxed));
        (read(&self.user_us), read(&self.think_us))
    }

    /// Returns the number of requests started.
    pub(super) fn started(&self) -> u64 {
        self.sequence.load(Ordering::Relaxed).min(self.own_requests())
    }

    /// Returns the refusal of the gate, if any.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the figures since the previous sample and updates it.
    pub(super) fn take_second(&self, previous: &mut PreviousSample) -> Second {
        let now = PreviousSample { cpu: cpu_time(), dropped: self.dropped() };
        let last = std::mem::replace(previous, now);
        Second {
            users: self.users.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            cpu_ms: now.cpu.zip(last.cpu).map(|(now, last)| ms(now.saturating_sub(last))),
            ticker_ms: self.ticker.take_ms(),
            dropped: u32::try_from(now.dropped - last.dropped).unwrap_or(u32::MAX),
        }
    }

    /// Tries to start a request. A refusal of the gate closes the load, and so does the last planned request.
    fn try_start(&self) -> StartOutcome {
        if let Err(refusal) = self.gate.admit() {
            if refusal.reason == RefusalReason::NotReserved {
                return StartOutcome::NotReserved;
            }
            self.refusal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(refusal);
            self.deadline.closing.cancel();
            return StartOutcome::Refused;
        }
        let nth = self.sequence.fetch_add(1, Ordering::Relaxed);
        if nth + 1 >= self.own_requests() {
            self.deadline.closing.cancel();
        }
        if nth >= self.own_requests() {
            return StartOutcome::Refused;
        }
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        StartOutcome::Started(self.shard.number(nth))
    }

    /// Waits until a start that was [`StartOutcome::NotReserved`] can be retried, or the load is closed.
    pub(super) async fn wait_for_reservation(&self) {
        tokio::select! {
            () = self.gate.wait_for_reservation() => {}
            () = self.deadline.closing.cancelled() => {}
        }
    }

    /// Calls the gate until it decides about a request outside the load. Returns whether the request may be sent.
    async fn wait_for_admission(&self, admit: impl Fn() -> Result<(), Refusal>) -> bool {
        loop {
            match admit() {
                Err(Refusal { reason: RefusalReason::NotReserved, .. }) => tokio::select! {
                    () = self.gate.wait_for_reservation() => {}
                    () = self.abandon.cancelled() => return false,
                },
                decided => return decided.is_ok(),
            }
        }
    }

    /// Tries to start an arrival. With too many requests in flight, it is dropped and counted.
    pub(super) fn try_arrive(&self) -> StartOutcome {
        if self.in_flight.load(Ordering::Relaxed) >= self.max_in_flight {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return StartOutcome::Refused;
        }
        self.try_start()
    }

    /// Waits until it is decided whether a user may start a request now; returns the decision.
    async fn wait_until_allowed(&self) -> bool {
        let now = Instant::now();
        match self.deadline.allows(now) {
            Some(decided) => decided,
            None => self.deadline.wait_for_decision(now).await,
        }
    }

    /// Returns whether the gate wants to extend the cell.
    pub(super) fn wants_extension(&self) -> bool {
        self.gate.wants_extension()
    }

    /// Returns whether all shards have enough samples. This shard has.
    pub(super) async fn all_shards_have_enough(&self) -> bool {
        match &self.barrier {
            Some((barrier, place)) => barrier.all_have_enough(*place).await,
            None => true,
        }
    }

    /// Returns whether all planned requests have been started.
    pub(super) fn has_started_all(&self) -> bool {
        self.started() >= self.own_requests()
    }

    fn phase(&self, sent: Instant, ended: Instant) -> Phase {
        let closed = self.deadline.ended();
        if sent < self.start + self.ramp {
            Phase::Ramp
        } else if ended > closed {
            Phase::Drain
        } else {
            Phase::Steady
        }
    }

    /// Returns the record of a request with an intended start, from which the response time of an open loop counts.
    fn record(&self, user: Option<u32>, seq: u64, intended: Instant, reply: Reply) -> Record {
        let Reply { sent, ended, facts, stream, answer } = reply;
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
        let since = |start: Instant, end: Instant| ms(end.saturating_duration_since(start));
        let usage = answer.usage;
        let is_open = user.is_none();
        let validity = match outcome {
            Outcome::Succeeded if answer.stop_reason.as_deref().is_some_and(is_blocked) => {
                Some(ExclusionReason::Blocked)
            }
            Outcome::Succeeded => ExclusionReason::from_reply(
                &self.cell,
                answer.resolved_service_tier.as_deref(),
                usage.cache_read_tokens,
            ),
            _ => None,
        };
        let most_ms = since(sent, ended) + LATENCY_TOLERANCE_MS;
        let server_latency_ms = answer.server_latency_ms.filter(|ms| (0.0..=most_ms).contains(&(*ms as f64)));
        let dropped = u32::from(server_latency_ms != answer.server_latency_ms);
        let implausible_values = Some(answer.implausible_values + dropped).filter(|values| *values > 0);
        let mut record = Record {
            timestamp: self.clock.epoch_us(ended) as f64 / 1e6,
            response_time_ms: since(if is_open { intended } else { sent }, ended),
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            total_tokens: usage.total_tokens,
            success: outcome == Outcome::Succeeded,
            repetition: self.run.repetition,
            cell_attempt: self.run.attempt,
            shard: self.shard_index,
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
            validity,
            cache_read_tokens: usage.cache_read_tokens,
            cache_write_tokens: usage.cache_write_tokens,
            server_latency_ms,
            implausible_values,
            due_ms: is_open.then(|| since(self.start, intended)),
            sent_ms: since(self.start, sent),
            send_lag_ms: since(intended, sent),
            service_time_ms: is_open.then(|| since(sent, ended)),
            ttft_ms: None,
            ttfat_ms: None,
            e2e_ms: None,
            tpot_ms: None,
            chunks: None,
            chunk_gap_p50_ms: None,
            chunk_gap_max_ms: None,
            prompt: None,
            prompt_text: None,
            reply_text: answer.text,
            prompt_line: None,
            prompt_same_as: None,
            response_bytes: facts.response_bytes,
            connection: facts.connection,
            protocol: facts.protocol.map(str::to_owned),
            connect_ms: facts.connect.map(ms),
        };
        if let Some(tally) = stream {
            tally.add_to(&mut record, sent);
        }
        redact_record(&self.bedrock.secrets, &mut record);
        record
    }

    /// Adds the prompt's name, line and text to a record.
    fn add_prompt(&self, record: &mut Record, number: RequestNumber) {
        if let Some(choice) = self.prepared.choice(self.prepared.prompt_index(number)) {
            record.prompt = (choice.name != self.cell.prompt_size).then(|| choice.name.clone());
            (record.prompt_line, record.prompt_same_as) = (choice.line, choice.same_as);
        }
        let secrets = &self.bedrock.secrets;
        record.prompt_text = self.prepared.prompt_text(number).map(|text| secrets.mask_values(&text).into_owned());
    }

    /// Returns the record of a request outside the load.
    fn record_outside_load(&self, number: usize, phase: Phase, reply: Reply) -> Record {
        let record = self.record(None, number as u64, reply.sent, reply);
        Record { phase, validity: None, due_ms: None, service_time_ms: None, ..record }
    }

    /// Sends a priming request and emits its record.
    pub(super) async fn prime(&self, index: usize) {
        if !self.wait_for_admission(|| self.gate.admit()).await {
            return;
        }
        let reply = self.bedrock.send(&self.prepared, RequestNumber::Priming(index), &self.abandon).await;
        let mut record = self.record_outside_load(index, Phase::Priming, reply);
        self.add_prompt(&mut record, RequestNumber::Priming(index));
        self.gate.settle(&record);
        (self.emit)(Event::Ended { cell: self.run.cell, record: Box::new(record) });
    }

    /// Sends a pre-flight probe; returns `None` if the gate refuses it.
    pub(super) async fn probe(&self) -> Option<Record> {
        let probe = self.run.cell;
        if !self.wait_for_admission(|| self.gate.admit_probe(probe)).await {
            return None;
        }
        let reply = self.bedrock.send(&self.prepared, RequestNumber::Load(0), &self.abandon).await;
        let record = self.record_outside_load(probe, Phase::Preflight, reply);
        self.gate.settle_probe(probe, &record);
        Some(record)
    }

    /// Sends a request of the load and emits its record.
    async fn request(&self, user: Option<u32>, seq: u64, intended: Instant) {
        let reply = self.bedrock.send(&self.prepared, RequestNumber::Load(seq), &self.abandon).await;
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let mut record = self.record(user, seq, intended, reply);
        self.add_prompt(&mut record, RequestNumber::Load(seq));
        self.gate.settle(&record);
        (self.emit)(Event::Ended { cell: self.run.cell, record: Box::new(record) });
    }
}

/// Outcome of an attempt to start a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StartOutcome {
    /// The request has this number and must be sent.
    Started(u64),
    /// The start must wait, see [`CellRunState::wait_for_reservation`].
    NotReserved,
    /// The request must not be sent.
    Refused,
}

/// Counters at the previous sample.
#[derive(Debug, Clone, Copy)]
pub(super) struct PreviousSample {
    cpu: Option<Duration>,
    dropped: u64,
}

impl PreviousSample {
    pub(super) fn now() -> Self {
        Self { cpu: cpu_time(), dropped: 0 }
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
    let _guard = ClosesOnPanic(&state.deadline);
    let mut rng = think_time_rng(seed, place, user);
    state.users.fetch_add(1, Ordering::Relaxed);
    let joined_at = Instant::now();
    let mut intended = joined_at;
    loop {
        if state.recorder_is_full() {
            // Boxed, so that the task of each user stays small.
            Box::pin(state.wait_for_recorder(&leaving)).await;
        }
        if leaving.is_cancelled() || !state.wait_until_allowed().await {
            break;
        }
        let seq = match state.try_start() {
            StartOutcome::Started(seq) => seq,
            StartOutcome::NotReserved => {
                state.wait_for_reservation().await;
                continue;
            }
            StartOutcome::Refused => break,
        };
        state.request(Some(user), seq, intended).await;
        let pause = draw_think_time(state.cell.load.think_time, &mut rng);
        let pause_start = Instant::now();
        if !pause.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = leaving.cancelled() => {}
            }
        }
        intended = Instant::now();
        // A pause that is longer than drawn is a delay of this client, not think time.
        let think =
            (pause_start + pause).min(intended).min(state.deadline.ended()).saturating_duration_since(pause_start);
        state.think_us.fetch_add(think.as_micros() as u64, Ordering::Relaxed);
    }
    let present = Instant::now().min(state.deadline.ended()).saturating_duration_since(joined_at);
    state.user_us.fetch_add(present.as_micros() as u64, Ordering::Relaxed);
    state.users.fetch_sub(1, Ordering::Relaxed);
}

/// Runs one arrival of an open loop, intended for `due`.
pub(super) async fn run_arrival(state: Arc<CellRunState>, seq: u64, due: Instant) {
    let _guard = ClosesOnPanic(&state.deadline);
    state.request(None, seq, due).await;
}

pub(super) fn draw_think_time(think_time: ThinkTime, rng: &mut ChaCha8Rng) -> Duration {
    let (min, max) = (think_time.min.as_micros() as u64, think_time.max.as_micros() as u64);
    Duration::from_micros(if min == max { min } else { rng.random_range(min..=max) })
}
