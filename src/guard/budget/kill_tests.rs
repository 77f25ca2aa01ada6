//! Sessions of one run that are killed at random moments: together they never exceed the budget.

use super::*;
use crate::plan::{Budget as Limits, Price};
use crate::record::request::tests::record;
use crate::record::reservations::{Event, Reservation, line, read};
use proptest::prelude::*;
use std::sync::LazyLock;
use std::sync::mpsc::Receiver;

const MAX_TOKENS: u32 = 400;

/// A cell of one user.
static CELL: LazyLock<Cell> = LazyLock::new(|| {
    let mut plan = crate::plan::tests::plan();
    plan.matrix.model_ids = vec!["m".into()];
    plan.matrix.user_counts = vec![1];
    plan.request.max_tokens = MAX_TOKENS;
    crate::matrix::expand(&plan).swap_remove(0)
});

/// As [`Budget::new`], without the shipped prices, which take long to read.
fn budget(limits: Limits, usd_per_million: f64) -> Budget {
    let price = Price {
        model_id: "m".into(),
        region_prefix: None,
        service_tier: None,
        input: usd_per_million,
        output: usd_per_million,
        cache_read: None,
        cache_write: None,
        up_to_input_tokens: None,
        source: String::new(),
    };
    let prompt_at_most = Source::of_text("hello there").most_tokens(None);
    Budget {
        limits,
        shard: Shard::WHOLE,
        prices: Prices::kept(&[price]),
        cells: vec![PerCell { cell: CELL.clone(), prompt_at_most, one_prompt: true }],
        probes: vec![0],
        state: Mutex::default(),
        leased: None,
    }
}

/// What a request really takes: tokens of the prompt, of the reply, and whether the reply reports them.
type Reply = (u64, u64, bool);

/// What a session is started with.
type Settings = (Option<u32>, Option<u64>, Option<u64>, u32);

#[derive(Debug, Clone)]
enum Step {
    /// A request is sent if the gate admits it; of the load, or of the pre-flight.
    Start(Reply, bool),
    /// The oldest request in flight ends.
    End,
    /// A lease reaches the disk.
    Sync,
    /// The process ends without notice. So many records of the session are not in the journal, so many bytes of the
    /// lease that is being written are on the disk, or so many bytes of the last line are damaged; the settings of the
    /// next session.
    Kill(usize, usize, Settings),
    /// The session ends in order.
    Close(Settings),
}

fn settings() -> impl Strategy<Value = Settings> {
    (prop::option::of(1_u32..60), prop::option::of(1_u64..60), prop::option::of(400_u64..20_000), 1_u32..4)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let reply = (1_u64..60, 0_u64..=u64::from(MAX_TOKENS), any::<bool>());
    let step = prop_oneof![
        8 => (reply, prop::bool::weighted(0.1)).prop_map(|(reply, is_probe)| Step::Start(reply, is_probe)),
        4 => Just(Step::End),
        5 => Just(Step::Sync),
        1 => (0_usize..5, 0_usize..300, settings()).prop_map(|(lost, bytes, next)| Step::Kill(lost, bytes, next)),
        1 => settings().prop_map(Step::Close),
    ];
    prop::collection::vec(step, 1..300)
}

/// What survives a kill.
#[derive(Default)]
struct Disk {
    journal: Vec<Record>,
    reservations: Vec<u8>,
}

struct Session {
    budget: Budget,
    wishes: Receiver<Reservation>,
    in_flight: Vec<(Reply, bool)>,
    ended: Vec<Record>,
    settings: Settings,
}

impl Session {
    fn start(disk: &mut Disk, settings: Settings) -> Self {
        let (cents, max_requests, max_output_tokens, usd) = settings;
        let max_cost = cents.map(|cents| f64::from(cents) / 100.0);
        // 400 tokens at 100 USD per million cost 4 cents.
        let mut budget = budget(Limits { max_cost, max_requests, max_output_tokens }, f64::from(usd) * 100.0);
        for record in &disk.journal {
            budget.remember(0, record);
        }
        let (earlier, whole) = read(&disk.reservations, true);
        disk.reservations.truncate(whole);
        let spent = budget.count_earlier(&earlier);
        let (leases, opened, wishes) = Leases::new(budget.limit(), budget.worst_of_all(), spent, budget.prices_hash());
        disk.reservations.extend(line(&opened));
        budget.leased = Some(Leased { leases: Arc::new(leases), writer: Mutex::default() });
        budget.begin(0);
        Self { budget, wishes, in_flight: Vec::new(), ended: Vec::new(), settings }
    }

    fn leases(&self) -> &Leases {
        &self.budget.leased.as_ref().unwrap().leases
    }

    fn end_oldest(&mut self) {
        let ((input, output, is_reported), is_probe) = self.in_flight.remove(0);
        let ended = Record {
            input_tokens: is_reported.then_some(input),
            output_tokens: is_reported.then_some(output),
            error_class: (!is_reported).then(|| "timeout".into()),
            ..record()
        };
        if is_probe {
            self.budget.settle_probe(0, &ended);
        } else {
            self.budget.settle(&ended);
        }
        self.ended.push(ended);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// In-flight requests, records that were not written, torn and damaged lines of the file, other limits and other
    /// prices in the next session: after each start all requests of all sessions are within the limits.
    #[test]
    fn killed_sessions_never_exceed_the_budget_together(first in settings(), steps in steps()) {
        let mut disk = Disk::default();
        let mut session = Session::start(&mut disk, first);
        let mut sent: Vec<Reply> = Vec::new();
        for step in steps {
            match step {
                // The pre-flight is over before the load starts.
                Step::Start(_, is_probe) if session.in_flight.iter().any(|(_, other)| *other != is_probe) => {}
                Step::Start(reply, is_probe) => {
                    let gate = &session.budget;
                    if (if is_probe { gate.admit_probe(0) } else { gate.admit() }).is_ok() {
                        sent.push(reply);
                        session.in_flight.push((reply, is_probe));
                        let (cents, requests, tokens, usd) = session.settings;
                        let input: u64 = sent.iter().map(|(input, _, _)| input).sum();
                        let output: u64 = sent.iter().map(|(_, output, _)| output).sum();
                        let cost = Usd::per_token(f64::from(usd) * 100.0).times(input + output);
                        prop_assert!(requests.is_none_or(|most| sent.len() as u64 <= most), "{} requests", sent.len());
                        prop_assert!(tokens.is_none_or(|most| output <= most), "{output} tokens");
                        prop_assert!(cents.is_none_or(|cents| cost <= Usd::of(f64::from(cents) / 100.0)), "{cost} USD");
                    }
                }
                Step::End if session.in_flight.is_empty() => {}
                Step::End => session.end_oldest(),
                Step::Sync => {
                    if let Ok(reservation) = session.wishes.try_recv() {
                        disk.reservations.extend(line(&reservation));
                        session.leases().grant(&reservation);
                    }
                }
                Step::Kill(lost, bytes, next) => {
                    let kept = session.ended.len().saturating_sub(lost);
                    disk.journal.extend(session.ended.drain(..kept));
                    if let Ok(reservation) = session.wishes.try_recv() {
                        let line = line(&reservation);
                        disk.reservations.extend(&line[..bytes.min(line.len() - 1)]);
                    } else {
                        let last = disk.reservations.split_inclusive(|byte| *byte == b'\n').next_back().map_or(0, <[u8]>::len);
                        let length = disk.reservations.len() - bytes.min(last - 1);
                        disk.reservations.truncate(length);
                    }
                    session = Session::start(&mut disk, next);
                }
                Step::Close(next) => {
                    while !session.in_flight.is_empty() {
                        session.end_oldest();
                    }
                    disk.journal.append(&mut session.ended);
                    let returned = session.leases().close(session.budget.with(|state| state.spent));
                    disk.reservations.extend(line(&returned));
                    session = Session::start(&mut disk, next);
                }
            }
        }
    }
}

/// Starts as many requests as the budget allows, one after the other. Returns how many.
fn exhaust(budget: &Budget) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    budget.begin(0);
    let mut started = 0;
    loop {
        match budget.admit() {
            Ok(()) => {
                started += 1;
                budget.settle(&Record { input_tokens: Some(5), output_tokens: Some(5), ..record() });
            }
            Err(Refusal { why: Why::Unreserved, .. }) => runtime.block_on(budget.reserved()),
            Err(_) => return started,
        }
    }
}

fn reserved(dir: &std::path::Path, limits: Limits) -> Budget {
    let (file, earlier) = Reservations::open(dir).unwrap();
    let mut budget = budget(limits, 1.0);
    budget.reserve(file, &earlier).unwrap();
    budget
}

#[test]
fn leases_let_all_of_a_budget_be_used_in_few_steps() {
    for most in [1, 3, 10_000] {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { max_requests: Some(most), ..Limits::default() };
        let limited = reserved(dir.path(), limits);
        assert_eq!(exhaust(&limited), most as usize);
        limited.close().unwrap();
        let text = std::fs::read_to_string(dir.path().join("reservations.jsonl")).unwrap();
        let lines: Vec<Reservation> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines.len() <= 205, "{} lines for {most} requests", lines.len());
        let events: Vec<Event> = lines.iter().map(|line| line.event).collect();
        assert_eq!((events[0], events[events.len() - 1]), (Event::Opened, Event::Returned));
        // A second session that gets a larger budget has what the first one has left.
        let larger = reserved(dir.path(), Limits { max_requests: Some(most + 7), ..Limits::default() });
        assert_eq!(exhaust(&larger), 7);
    }
}

#[test]
fn what_a_killed_session_had_reserved_counts_as_spent() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { max_requests: Some(1_000), ..Limits::default() };
    let killed = reserved(dir.path(), limits);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    killed.begin(0);
    for _ in 0..100 {
        while killed.admit().is_err() {
            runtime.block_on(killed.reserved());
        }
    }
    // Nothing of it is in the journal.
    drop(killed);
    let left = exhaust(&reserved(dir.path(), limits));
    assert!((700..=900).contains(&left), "{left}");
}

#[test]
fn disk_that_refuses_ends_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let limited = reserved(dir.path(), Limits { max_requests: Some(10), ..Limits::default() });
    limited.leased.as_ref().unwrap().leases.lose();
    limited.begin(0);
    let refusal = limited.admit().unwrap_err();
    assert_eq!((refusal.why, refusal.reason.as_str()), (Why::Budget, "the budget cannot be reserved on the disk"));
}
