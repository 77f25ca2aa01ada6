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

/// Creates a gate like [`BudgetGate::new`], but without the shipped prices, which are slow to parse.
fn budget(limits: Limits, usd_per_million: f64) -> BudgetGate {
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
    let max_prompt_tokens = Source::from_text("hello there").max_tokens(None);
    BudgetGate {
        limits,
        shard: Shard::WHOLE,
        prices: Prices::from_rows(&[price]),
        cells: vec![CellBudget { cell: CELL.clone(), max_prompt_tokens, has_single_prompt: true }],
        probes: vec![0],
        state: Mutex::default(),
        lease_session: None,
    }
}

/// Actual usage of a request: tokens of the prompt, tokens of the reply, and whether the reply reports them.
type Reply = (u64, u64, bool);

/// Settings of a session: limits (cents, requests, output tokens) and the price.
type Settings = (Option<u32>, Option<u64>, Option<u64>, u32);

#[derive(Debug, Clone)]
enum Step {
    /// Sends a request of the load or (true) of the pre-flight, if the gate admits it.
    Start(Reply, bool),
    /// The oldest request in flight ends.
    End,
    /// A lease reaches the disk.
    Sync,
    /// The process is killed: number of records missing from the journal, number of bytes of the current lease that are
    /// on the disk (or of the last line that are lost), and settings of the next session.
    Kill(usize, usize, Settings),
    /// The session ends normally.
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

/// Files that survive a kill.
#[derive(Default)]
struct Disk {
    journal: Vec<Record>,
    reservations: Vec<u8>,
}

struct Session {
    budget: BudgetGate,
    requested: Receiver<Reservation>,
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
            budget.add_earlier_request(0, record);
        }
        let (earlier, whole) = read(&disk.reservations, true);
        disk.reservations.truncate(whole);
        let spent = budget.count_earlier(&earlier);
        let (leases, opened, requested) =
            Leases::new(budget.limit(), budget.worst_case_of_any_cell(), spent, budget.prices_hash());
        disk.reservations.extend(line(&opened));
        budget.lease_session = Some(LeaseSession { leases: Arc::new(leases), writer: Mutex::default() });
        budget.start_cell(0);
        Self { budget, requested, in_flight: Vec::new(), ended: Vec::new(), settings }
    }

    fn leases(&self) -> &Leases {
        &self.budget.lease_session.as_ref().unwrap().leases
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

    /// With requests in flight, unwritten records, torn and damaged lines, and other limits and prices in the next
/// session: after each start, all requests of all sessions are within the limits.
    #[test]
    fn killed_sessions_together_never_exceed_the_budget(first in settings(), steps in steps()) {
        let mut disk = Disk::default();
        let mut session = Session::start(&mut disk, first);
        let mut sent: Vec<Reply> = Vec::new();
        for step in steps {
            match step {
                // The pre-flight ends before the load starts.
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
                        prop_assert!(cents.is_none_or(|cents| cost <= Usd::from_f64(f64::from(cents) / 100.0)), "{cost} USD");
                    }
                }
                Step::End if session.in_flight.is_empty() => {}
                Step::End => session.end_oldest(),
                Step::Sync => {
                    if let Ok(reservation) = session.requested.try_recv() {
                        disk.reservations.extend(line(&reservation));
                        session.leases().grant(&reservation);
                    }
                }
                Step::Kill(lost, bytes, next) => {
                    let kept = session.ended.len().saturating_sub(lost);
                    disk.journal.extend(session.ended.drain(..kept));
                    if let Ok(reservation) = session.requested.try_recv() {
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

/// Starts as many requests as the budget admits, one after the other. Returns their number.
fn exhaust(budget: &BudgetGate) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    budget.start_cell(0);
    let mut started = 0;
    loop {
        match budget.admit() {
            Ok(()) => {
                started += 1;
                budget.settle(&Record { input_tokens: Some(5), output_tokens: Some(5), ..record() });
            }
            Err(Refusal { reason: RefusalReason::NotReserved, .. }) => runtime.block_on(budget.wait_for_reservation()),
            Err(_) => return started,
        }
    }
}

fn reserved_budget(dir: &std::path::Path, limits: Limits) -> BudgetGate {
    let (file, earlier) = Reservations::open(dir).unwrap();
    let mut budget = budget(limits, 1.0);
    budget.reserve(file, &earlier).unwrap();
    budget
}

#[test]
fn whole_budget_is_usable_with_few_leases() {
    for most in [1, 3, 10_000] {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { max_requests: Some(most), ..Limits::default() };
        let limited = reserved_budget(dir.path(), limits);
        assert_eq!(exhaust(&limited), most as usize);
        limited.close().unwrap();
        let text = std::fs::read_to_string(dir.path().join("reservations.jsonl")).unwrap();
        let lines: Vec<Reservation> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines.len() <= 205, "{} lines for {most} requests", lines.len());
        let events: Vec<Event> = lines.iter().map(|line| line.event).collect();
        assert_eq!((events[0], events[events.len() - 1]), (Event::Opened, Event::Returned));
        // A second session with a larger budget can spend the difference.
        let larger = reserved_budget(dir.path(), Limits { max_requests: Some(most + 7), ..Limits::default() });
        assert_eq!(exhaust(&larger), 7);
    }
}

#[test]
fn reservation_of_a_killed_session_counts_as_spent() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { max_requests: Some(1_000), ..Limits::default() };
    let killed = reserved_budget(dir.path(), limits);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    killed.start_cell(0);
    for _ in 0..100 {
        while killed.admit().is_err() {
            runtime.block_on(killed.wait_for_reservation());
        }
    }
    // No request is in the journal.
    drop(killed);
    let left = exhaust(&reserved_budget(dir.path(), limits));
    assert!((700..=900).contains(&left), "{left}");
}

#[test]
fn failing_disk_ends_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let limited = reserved_budget(dir.path(), Limits { max_requests: Some(10), ..Limits::default() });
    limited.lease_session.as_ref().unwrap().leases.revoke();
    limited.start_cell(0);
    let refusal = limited.admit().unwrap_err();
    assert_eq!(
        (refusal.reason, refusal.message.as_str()),
        (RefusalReason::BudgetExhausted, "the budget cannot be reserved on the disk")
    );
}
