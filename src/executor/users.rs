//! A virtual user: ask, wait for the answer, think, ask again; and an arrival, which asks once. Each
//! request becomes one record, whatever its end.

use super::backlog::Backlog;
use super::bedrock::{Answer, Bedrock, Failure, Reply};
use super::deadline::{ClosesOnPanic, Deadline};
use super::health::{Ticker, cpu_time};
use super::port::{Barrier, Event, Gate, Refusal, RefusalReason};
use super::prepared::{Number, Prepared};
use super::redact::redact_record;
use super::run::{Clock, Job, Tell};
use crate::matrix::order::Turn;
use crate::matrix::{Cell, Shard};
use crate::record::manifest::Second;
use crate::record::{Outcome, Phase, Record, Unfit, class, is_blocked};
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

/// A server latency that exceeds the client's own time by more is implausible, milliseconds.
const LATENCY_TOLERANCE_MS: f64 = 1_000.0;

/// What the users of one turn have in common.
pub(super) struct Shared {
    bedrock: Arc<Bedrock>,
    prepared: Arc<Prepared>,
    pub(super) gate: Arc<dyn Gate>,
    pub(super) tell: Tell,
    turn: Turn,
    planned: Cell,
    pub(super) start: Instant,
    pub(super) deadline: Deadline,
    /// The machine, where several make the run.
    machine: Option<u32>,
    /// Where it meets the others, and the place of the turn.
    barrier: Option<(Arc<dyn Barrier>, usize)>,
    /// Which requests of the turn are started here.
    shard: Shard,
    /// Of all machines.
    most_requests: u64,
    most_in_flight: u32,
    ramp: Duration,
    clock: Clock,
    /// What is in flight is given up.
    pub(super) giving_up: CancellationToken,
    /// Nothing is in flight any more.
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

impl Shared {
    #[allow(clippy::too_many_arguments)] // each is a different thing, and there is one caller
    pub(super) fn new(
        bedrock: Arc<Bedrock>,
        prepared: Arc<Prepared>,
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
            turn,
            planned: cell.clone(),
            start,
            deadline: Deadline::new(start + cell.length()),
            machine: None,
            barrier: None,
            shard: Shard::WHOLE,
            most_requests: cell.load.requests.unwrap_or(u64::MAX),
            most_in_flight: cell.load.max_in_flight,
            ramp: cell.ramp(),
            clock,
            giving_up: CancellationToken::new(),
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

    /// The part of it that is a machine's, `shard`; one that has no users starts none of the requests either.
    pub(super) fn of(mut self, job: &Job, place: usize, shard: Shard, is_idle: bool) -> Self {
        self.machine = job.shard.is_part().then_some(job.shard.index);
        self.barrier = job.barrier.clone().map(|barrier| (barrier, place));
        self.shard = shard;
        self.backlog = Arc::clone(&job.backlog);
        self.most_in_flight = shard.share(u64::from(self.most_in_flight)).max(1) as u32;
        if is_idle && self.most_requests < u64::MAX {
            self.most_requests = 0;
            self.deadline.closing.cancel();
        }
        self
    }

    /// Requests that may be started here.
    fn own_requests(&self) -> u64 {
        self.shard.share(self.most_requests)
    }

    /// From now on nothing starts. Returns how long the load lasted.
    pub(super) fn close(&self) -> Duration {
        self.deadline.close() - self.start
    }

    /// Starts that were dropped until now.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Starts that are not made any more, since they were overdue when the load ended.
    pub(super) fn drop_overdue(&self, starts: u64) {
        self.dropped.fetch_add(starts, Ordering::Relaxed);
    }

    /// Starts that had to wait until now, since the recorder's queue was full; nothing where none had to.
    pub(super) fn starts_waited(&self) -> Option<u64> {
        Some(self.starts_waited.load(Ordering::Relaxed)).filter(|starts| *starts > 0)
    }

    /// Whether starts must wait for the recorder: one load of a number.
    pub(super) fn recorder_is_full(&self) -> bool {
        self.backlog.is_full()
    }

    /// Waits while the recorder's queue is full, at most until `leaving`.
    pub(super) async fn wait_for_recorder(&self, leaving: &CancellationToken) {
        self.starts_waited.fetch_add(1, Ordering::Relaxed);
        tokio::select! {
            () = self.backlog.has_room() => {}
            () = leaving.cancelled() => {}
        }
    }

    /// The time that users were there, and what they thought of it, milliseconds.
    pub(super) fn user_and_think_ms(&self) -> (f64, f64) {
        let read = |us: &AtomicU64| crate::units::us_to_ms(us.load(Ordering::Relaxed));
        (read(&self.user_us), read(&self.think_us))
    }

    /// Requests started until now.
    pub(super) fn started(&self) -> u64 {
        self.sequence.load(Ordering::Relaxed).min(self.own_requests())
    }

    /// Why the gate refused a start.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a sampler sees now, with what happened since it looked last.
    pub(super) fn second(&self, before: &mut Seen) -> Second {
        let now = Seen { cpu: cpu_time(), dropped: self.dropped() };
        let last = std::mem::replace(before, now);
        Second {
            users: self.users.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            cpu_ms: now.cpu.zip(last.cpu).map(|(now, last)| ms(now.saturating_sub(last))),
            ticker_ms: self.ticker.take_ms(),
            dropped: u32::try_from(now.dropped - last.dropped).unwrap_or(u32::MAX),
        }
    }

    /// The number of a request that may start. A refusal of the gate closes the turn, and so does the
    /// last request that was asked for.
    fn next(&self) -> Start {
        if let Err(refusal) = self.gate.admit() {
            if refusal.reason == RefusalReason::NotReserved {
                return Start::Unreserved;
            }
            self.refusal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(refusal);
            self.deadline.closing.cancel();
            return Start::Never;
        }
        let nth = self.sequence.fetch_add(1, Ordering::Relaxed);
        if nth + 1 >= self.own_requests() {
            self.deadline.closing.cancel();
        }
        if nth >= self.own_requests() {
            return Start::Never;
        }
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Start::Number(self.shard.number(nth))
    }

    /// Waits until a start that was [`Start::Unreserved`] can be tried again, or nothing starts any more.
    pub(super) async fn reserved(&self) {
        tokio::select! {
            () = self.gate.wait_for_reservation() => {}
            () = self.deadline.closing.cancelled() => {}
        }
    }

    /// Asks the gate with `ask` until it decides. Returns whether a request outside of the load may be sent.
    async fn is_admitted(&self, ask: impl Fn() -> Result<(), Refusal>) -> bool {
        loop {
            match ask() {
                Err(Refusal { reason: RefusalReason::NotReserved, .. }) => tokio::select! {
                    () = self.gate.wait_for_reservation() => {}
                    () = self.giving_up.cancelled() => return false,
                },
                decided => return decided.is_ok(),
            }
        }
    }

    /// As [`Self::next`] for an arrival: with too many in flight it is dropped, and counted so.
    pub(super) fn arrive(&self) -> Start {
        if self.in_flight.load(Ordering::Relaxed) >= self.most_in_flight {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return Start::Never;
        }
        self.next()
    }

    /// Whether a user may ask now.
    async fn may_start(&self) -> bool {
        let now = Instant::now();
        match self.deadline.allows(now) {
            Some(decided) => decided,
            None => self.deadline.decides(now).await,
        }
    }

    /// Whether the gate wants the cell to go on past its time.
    pub(super) fn wants_extension(&self) -> bool {
        self.gate.wants_extension()
    }

    /// Whether no machine of the run wants the cell to go on; this one does not.
    pub(super) async fn all_have_enough(&self) -> bool {
        match &self.barrier {
            Some((barrier, place)) => barrier.all_have_enough(*place).await,
            None => true,
        }
    }

    /// Whether all requests that were asked for have been started.
    pub(super) fn has_all(&self) -> bool {
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

    /// The record of a request that was wanted at `wanted`; an open loop's response begins there.
    fn record(&self, user: Option<u32>, seq: u64, wanted: Instant, reply: Reply) -> Record {
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
            Outcome::Succeeded if answer.stop_reason.as_deref().is_some_and(is_blocked) => Some(Unfit::Blocked),
            Outcome::Succeeded => {
                Unfit::of(&self.planned, answer.resolved_service_tier.as_deref(), usage.cache_read_tokens)
            }
            _ => None,
        };
        let most_ms = since(sent, ended) + LATENCY_TOLERANCE_MS;
        let server_latency_ms = answer.server_latency_ms.filter(|ms| (0.0..=most_ms).contains(&(*ms as f64)));
        let dropped = u32::from(server_latency_ms != answer.server_latency_ms);
        let implausible_values = Some(answer.implausible_values + dropped).filter(|values| *values > 0);
        let mut record = Record {
            timestamp: self.clock.epoch_us(ended) as f64 / 1e6,
            response_time_ms: since(if is_open { wanted } else { sent }, ended),
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            total_tokens: usage.total_tokens,
            success: outcome == Outcome::Succeeded,
            repetition: self.turn.repetition,
            cell_attempt: self.turn.attempt,
            shard: self.machine,
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
            due_ms: is_open.then(|| since(self.start, wanted)),
            sent_ms: since(self.start, sent),
            send_lag_ms: since(wanted, sent),
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

    /// Which of several prompts it was.
    fn add_prompt(&self, record: &mut Record, number: Number) {
        if let Some(choice) = self.prepared.choice(self.prepared.which(number)) {
            record.prompt = (choice.name != self.planned.prompt_size).then(|| choice.name.clone());
            (record.prompt_line, record.prompt_same_as) = (choice.line, choice.same_as);
        }
        let secrets = &self.bedrock.secrets;
        record.prompt_text = self.prepared.text(number).map(|text| secrets.mask_values(&text).into_owned());
    }

    /// The record of a request that is no part of the load.
    fn aside(&self, number: usize, phase: Phase, reply: Reply) -> Record {
        let record = self.record(None, number as u64, reply.sent, reply);
        Record { phase, validity: None, due_ms: None, service_time_ms: None, ..record }
    }

    /// Sends a request that fills the prompt cache, from 0, and tells how it ended.
    pub(super) async fn prime(&self, index: usize) {
        if !self.is_admitted(|| self.gate.admit()).await {
            return;
        }
        let reply = self.bedrock.ask(&self.prepared, Number::Priming(index), &self.giving_up).await;
        let mut record = self.aside(index, Phase::Priming, reply);
        self.add_prompt(&mut record, Number::Priming(index));
        self.gate.settle(&record);
        (self.tell)(Event::Ended { cell: self.turn.cell, record: Box::new(record) });
    }

    /// Sends a pre-flight request, whose turn names its probe; nothing where the gate does not let it.
    pub(super) async fn probe(&self) -> Option<Record> {
        let probe = self.turn.cell;
        if !self.is_admitted(|| self.gate.admit_probe(probe)).await {
            return None;
        }
        let reply = self.bedrock.ask(&self.prepared, Number::Load(0), &self.giving_up).await;
        let record = self.aside(probe, Phase::Preflight, reply);
        self.gate.settle_probe(probe, &record);
        Some(record)
    }

    /// Sends a request that was wanted at `wanted` and tells how it ended.
    async fn request(&self, user: Option<u32>, seq: u64, wanted: Instant) {
        let reply = self.bedrock.ask(&self.prepared, Number::Load(seq), &self.giving_up).await;
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let mut record = self.record(user, seq, wanted, reply);
        self.add_prompt(&mut record, Number::Load(seq));
        self.gate.settle(&record);
        (self.tell)(Event::Ended { cell: self.turn.cell, record: Box::new(record) });
    }
}

/// What comes of the attempt to start a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// It has this number, and is sent.
    Number(u64),
    /// It has to wait, see [`Shared::reserved`].
    Unreserved,
    /// It is not sent.
    Never,
}

/// What a sampler saw last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    cpu: Option<Duration>,
    dropped: u64,
}

impl Seen {
    pub(super) fn now() -> Self {
        Self { cpu: cpu_time(), dropped: 0 }
    }
}

/// What a user draws its think times from: the same on whichever machine it is.
pub(super) fn thoughts(seed: u64, turn: usize, user: u32) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(THINK_STREAMS | (turn as u64) << 32 | u64::from(user));
    rng
}

/// The life of one user, until the load ends or the user leaves.
pub(super) async fn user(shared: Arc<Shared>, user: u32, seed: u64, turn: usize, leaving: CancellationToken) {
    let _guard = ClosesOnPanic(&shared.deadline);
    let mut rng = thoughts(seed, turn, user);
    shared.users.fetch_add(1, Ordering::Relaxed);
    let came = Instant::now();
    let mut wanted = came;
    loop {
        if shared.recorder_is_full() {
            // In a box, so that the task of every user need not have the place for it.
            Box::pin(shared.wait_for_recorder(&leaving)).await;
        }
        if leaving.is_cancelled() || !shared.may_start().await {
            break;
        }
        let seq = match shared.next() {
            Start::Number(seq) => seq,
            Start::Unreserved => {
                shared.reserved().await;
                continue;
            }
            Start::Never => break,
        };
        shared.request(Some(user), seq, wanted).await;
        let pause = draw(shared.planned.load.think_time, &mut rng);
        let thinks = Instant::now();
        if !pause.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = leaving.cancelled() => {}
            }
        }
        wanted = Instant::now();
        // What a pause lasts longer than it should is this machine's doing, and no thought.
        let thought = (thinks + pause).min(wanted).min(shared.deadline.ended()).saturating_duration_since(thinks);
        shared.think_us.fetch_add(thought.as_micros() as u64, Ordering::Relaxed);
    }
    let there = Instant::now().min(shared.deadline.ended()).saturating_duration_since(came);
    shared.user_us.fetch_add(there.as_micros() as u64, Ordering::Relaxed);
    shared.users.fetch_sub(1, Ordering::Relaxed);
}

/// One arrival of an open loop, intended for `due`.
pub(super) async fn arrival(shared: Arc<Shared>, seq: u64, due: Instant) {
    let _guard = ClosesOnPanic(&shared.deadline);
    shared.request(None, seq, due).await;
}

pub(super) fn draw(think_time: ThinkTime, rng: &mut ChaCha8Rng) -> Duration {
    let (min, max) = (think_time.min.as_micros() as u64, think_time.max.as_micros() as u64);
    Duration::from_micros(if min == max { min } else { rng.random_range(min..=max) })
}
