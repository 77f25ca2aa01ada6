//! The executor against a test server, over real sockets and through the real SDK.

use super::connect::NetworkSettings;
use super::port::{Event, Gate, Refusal, Stop};
use super::{Backlog, Bedrock, Job, Target, execute};
use crate::matrix::{Shard, expand, order};
use crate::plan::Plan;
use crate::prompts::Source;
use crate::record::manifest::{CellRunEnd, CellRunReport};
use crate::record::{Connection, Outcome, Phase, Record};
use crate::units::{Rate, ThinkTime};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const REPLY: &str = r#"{"output":{"message":{"role":"assistant","content":[{"text":"yes"}]}},"stopReason":"end_turn",
    "usage":{"inputTokens":5,"outputTokens":2,"totalTokens":7,"cacheReadInputTokens":3},"metrics":{"latencyMs":50},
    "serviceTier":{"type":"default"}}"#;

/// Starts a server that replies to every request after a delay; returns its URL.
async fn server(delay: Duration, status: u16, error: Option<&'static str>, body: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = move |_: Request<Incoming>| async move {
                tokio::time::sleep(delay).await;
                let mut reply = Response::builder().status(status).header("x-amzn-requestid", "abc");
                if let Some(error) = error {
                    reply = reply.header("x-amzn-errortype", error);
                }
                Ok::<_, Infallible>(reply.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap())
            };
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)),
            );
        }
    });
    format!("http://{address}")
}

/// A plan with one cell, two users, 0.3 s and no think time.
fn plan() -> Plan {
    let mut plan = crate::plan::tests::plan();
    plan.matrix.service_tiers.truncate(1);
    plan.matrix.prompt_sizes.truncate(1);
    plan.matrix.user_counts = vec![2];
    plan.load.test_duration = Duration::from_millis(300);
    plan.load.spawn_rate = 100.0;
    plan.load.think_time = ThinkTime { min: Duration::ZERO, max: Duration::ZERO };
    plan.load.cool_down = Duration::ZERO;
    plan
}

struct Open;

impl Gate for Open {
    fn start_cell(&self, _cell: usize) {}
    fn admit(&self) -> Result<(), Refusal> {
        Ok(())
    }
    fn settle(&self, _record: &Record) {}
}

async fn run(plan: &Plan, url: String, stop: &Stop) -> (Vec<Record>, Vec<CellRunReport>) {
    run_part(plan, url, stop, Shard::WHOLE).await
}

async fn run_part(plan: &Plan, url: String, stop: &Stop, shard: Shard) -> (Vec<Record>, Vec<CellRunReport>) {
    run_job(job(plan, shard), url, stop).await
}

async fn bedrock(url: String) -> Arc<Bedrock> {
    let target = Target {
        endpoint_url: Some(crate::units::url::HttpUrl::parse(&url).unwrap()),
        simulated: true,
        is_trusted: true,
        allow_http: false,
        region: None,
        regions: Vec::new(),
        profile: None,
        bearer_token: None,
        network: NetworkSettings::default(),
        secrets: crate::units::Secrets::default(),
    };
    Arc::new(Bedrock::connect(&target).await.unwrap())
}

fn job(plan: &Plan, shard: Shard) -> Job {
    let cells = expand(plan);
    Job {
        prompts: cells.iter().map(|_| Arc::new(Source::from_text("hello"))).collect(),
        planned_runs: (0..cells.len() * plan.load.repetitions as usize).collect(),
        order: order::execution_order(&cells, &plan.load, 1),
        seed: 1,
        cool_down: plan.load.cool_down,
        keep_text: plan.record.text,
        after_abort: plan.abort.then,
        shard,
        barrier: None,
        backlog: Arc::default(),
        cells,
    }
}

async fn run_job(job: Job, url: String, stop: &Stop) -> (Vec<Record>, Vec<CellRunReport>) {
    let received = Arc::new(Mutex::new((Vec::new(), Vec::new())));
    let emit = {
        let received = Arc::clone(&received);
        Arc::new(move |event: Event| match event {
            Event::Ended { record, .. } => received.lock().unwrap().0.push(*record),
            Event::CellRunEnded(report) => received.lock().unwrap().1.push(*report),
            Event::CellRunStarted { .. }
            | Event::Probed { .. }
            | Event::PreflightEnded(_)
            | Event::SimulatorFound(_)
            | Event::Second(_) => {}
        })
    };
    execute(bedrock(url).await, job, Arc::new(Open), emit, stop).await;
    let received = received.lock().unwrap();
    (received.0.clone(), received.1.clone())
}

#[tokio::test]
async fn record_contains_all_fields_of_the_reply() {
    let url = server(Duration::from_millis(50), 200, None, REPLY).await;
    let (records, reports) = run(&plan(), url, &Stop::default()).await;
    assert!(records.len() >= 4, "{}", records.len());
    for record in &records {
        assert_eq!(record.outcome, Outcome::Succeeded);
        assert!(record.response_time_ms >= 50.0);
        assert_eq!((record.input_tokens, record.output_tokens, record.total_tokens), (Some(5), Some(2), Some(7)));
        assert_eq!(record.cache_read_tokens, Some(3));
        assert_eq!(record.server_latency_ms, Some(50));
        assert_eq!(record.stop_reason.as_deref(), Some("end_turn"));
        assert_eq!(record.resolved_service_tier.as_deref(), Some("default"));
        assert_eq!(record.request_id.as_deref(), Some("abc"));
        assert_eq!(record.http_status, Some(200));
        assert_eq!(record.response_bytes, Some(REPLY.len() as u64));
        assert_eq!(record.connect_ms.is_some(), record.connection == Some(Connection::New));
    }
    let new = records.iter().filter(|record| record.connection == Some(Connection::New)).count();
    assert_eq!(new, 2, "one connection per user, then reused");
    assert_eq!((reports[0].connections_opened, reports[0].requests), (2, records.len() as u64));
    assert_eq!(reports[0].connections_reused, records.len() as u64 - 2);
    assert_eq!(reports[0].end, CellRunEnd::Finished);
}

#[tokio::test]
async fn no_request_starts_after_the_deadline_and_requests_in_flight_are_drained() {
    let url = server(Duration::from_millis(200), 200, None, REPLY).await;
    let (records, reports) = run(&plan(), url, &Stop::default()).await;
    assert!(records.iter().all(|record| record.sent_ms < 300.0));
    assert!(records.iter().all(|record| record.outcome == Outcome::Succeeded), "drained, not dropped");
    assert!(records.iter().any(|record| record.phase == Phase::Drain));
    assert!((reports[0].load_ms - 300.0).abs() < 1e-9, "{}", reports[0].load_ms);
}

#[tokio::test]
async fn requests_unfinished_after_the_drain_are_censored() {
    let url = server(Duration::from_secs(600), 200, None, REPLY).await;
    let mut plan = plan();
    plan.load.drain = Duration::from_millis(100);
    let (records, _) = run(&plan, url, &Stop::default()).await;
    assert_eq!(records.len(), 2);
    assert!(records.iter().all(|r| r.outcome == Outcome::Censored && r.response_time_ms >= 380.0 && !r.success));
}

#[tokio::test]
async fn no_request_starts_after_a_stop() {
    let url = server(Duration::from_millis(20), 200, None, REPLY).await;
    let mut plan = plan();
    plan.load.test_duration = Duration::from_secs(600);
    plan.matrix.user_counts = vec![2, 3];
    let stop = Stop::default();
    let stopper = stop.clone();
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stopper.drain.cancel();
    };
    let ((records, reports), ()) = tokio::join!(run(&plan, url, &stop), stopping);
    assert_eq!(reports.len(), 1, "the second cell does not start");
    assert_eq!(reports[0].end, CellRunEnd::Interrupted);
    assert!(records.iter().all(|record| record.outcome == Outcome::Succeeded));
    assert_eq!(reports[0].requests, records.len() as u64);
}

#[tokio::test]
async fn exception_keeps_its_name_and_message() {
    let body = r#"{"message":"Too many requests, please wait before trying again."}"#;
    let url = server(Duration::ZERO, 429, Some("ThrottlingException:http://internal.amazon.com/"), body).await;
    let mut plan = plan();
    plan.load.think_time = ThinkTime { min: Duration::from_millis(100), max: Duration::from_millis(200) };
    let (records, _) = run(&plan, url, &Stop::default()).await;
    assert!(!records.is_empty());
    for record in records {
        assert_eq!(record.outcome, Outcome::Throttled);
        assert_eq!(record.error_class.as_deref(), Some("ThrottlingException"));
        assert_eq!(record.error_message.as_deref(), Some("Too many requests, please wait before trying again."));
        assert_eq!((record.http_status, record.request_id.as_deref()), (Some(429), Some("abc")));
    }
}

#[tokio::test]
async fn replies_of_other_servers_are_failures() {
    for (status, body, class) in [
        (200, "<html>", "decode"),
        (503, "<html>", "http_error"),
        (
            200,
            r#"{"output":{"message":{"role":"assistant","content":[]}},"stopReason":"end_turn","usage":{"inputTokens":5,"outputTokens":0,"totalTokens":5},"metrics":{"latencyMs":1}}"#,
            "empty_reply",
        ),
    ] {
        let url = server(Duration::from_millis(30), status, None, body).await;
        let (records, _) = run(&plan(), url, &Stop::default()).await;
        assert!(records.iter().all(|record| record.error_class.as_deref() == Some(class)), "{class}: {records:?}");
        assert!(records.iter().all(|record| record.outcome == Outcome::Failed));
    }
}

#[tokio::test]
async fn closed_connections_and_closed_ports_have_different_classes() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let closing = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut first = [0; 64];
            tokio::io::AsyncReadExt::read(&mut stream, &mut first).await.unwrap();
        }
    });
    let mut plan = plan();
    plan.load.think_time = ThinkTime { min: Duration::from_millis(50), max: Duration::from_millis(50) };
    let (records, _) = run(&plan, url.clone(), &Stop::default()).await;
    assert!(!records.is_empty() && records.iter().all(|r| r.error_class.as_deref() == Some("reset")), "{records:?}");
    closing.abort();
    let _ = closing.await;
    let (records, _) = run(&plan, url, &Stop::default()).await;
    assert!(!records.is_empty() && records.iter().all(|r| r.error_class.as_deref() == Some("connect")), "{records:?}");
}

#[tokio::test]
async fn think_times_of_a_user_do_not_depend_on_the_shard() {
    let mut plan = plan();
    plan.matrix.user_counts = vec![5];
    plan.load.spawn_rate = 1_000.0;
    plan.load.think_time = ThinkTime { min: Duration::ZERO, max: Duration::from_millis(60) };
    plan.load.test_duration = Duration::from_millis(600);
    for shards in [1, 2, 7] {
        let mut users = Vec::new();
        for index in 0..shards {
            let url = server(Duration::from_millis(5), 200, None, REPLY).await;
            let (records, reports) = run_part(&plan, url, &Stop::default(), Shard { index, count: shards }).await;
            assert_eq!(reports[0].requests, records.len() as u64);
            for user in 0..5 {
                let mut own: Vec<&Record> = records.iter().filter(|record| record.user == Some(user)).collect();
                own.sort_by_key(|record| record.seq);
                users.extend((!own.is_empty()).then_some(user));
                let mut rng = super::users::think_time_rng(1, 0, user);
                for pair in own.windows(2) {
                    let think_ms = crate::units::ms(super::users::draw_think_time(plan.load.think_time, &mut rng));
                    let pause = pair[1].sent_ms - (pair[0].sent_ms + pair[0].response_time_ms);
                    assert!(pause > think_ms - 0.01, "user {user} of {shards}: {pause} < {think_ms}");
                }
            }
        }
        users.sort_unstable();
        assert_eq!(users, [0, 1, 2, 3, 4], "each user runs on one shard");
    }
}

/// Runs a plan whose recorder is behind at the start and catches up after one second.
async fn run_behind(plan: &Plan) -> (Vec<Record>, CellRunReport) {
    let url = server(Duration::from_millis(5), 200, None, REPLY).await;
    let job = Job { backlog: Arc::new(Backlog::with_limit(1)), ..job(plan, Shard::WHOLE) };
    let backlog = Arc::clone(&job.backlog);
    backlog.add(1);
    let catching_up = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        backlog.remove(1);
    };
    let stop = Stop::default();
    let ((records, reports), ()) = tokio::join!(run_job(job, url, &stop), catching_up);
    (records, reports[0].clone())
}

#[tokio::test]
async fn starts_wait_while_the_recorder_is_behind() {
    let mut plan = plan();
    plan.load.test_duration = Duration::from_secs(2);
    let (records, report) = run_behind(&plan).await;
    assert!(!records.is_empty());
    assert!(records.iter().all(|record| record.sent_ms >= 900.0), "{records:?}");
    assert_eq!(report.starts_waited, Some(2), "one per user");

    plan.matrix.user_counts.clear();
    plan.matrix.arrival_rates = vec![Rate(50.0)];
    let (records, report) = run_behind(&plan).await;
    assert!(records.iter().all(|record| record.sent_ms >= 900.0), "{records:?}");
    assert_eq!(records.len(), 100, "overdue arrivals start late, while the load lasts");
    assert!(report.starts_waited.is_some());
}

/// A gate that panics when a request ends.
struct Broken;

impl Gate for Broken {
    fn start_cell(&self, _cell: usize) {}
    fn admit(&self) -> Result<(), Refusal> {
        Ok(())
    }
    fn settle(&self, _record: &Record) {
        panic!("injected by the test");
    }
}

#[tokio::test]
async fn panic_of_a_request_ends_the_run_at_once() {
    let mut plan = plan();
    plan.load.test_duration = Duration::from_secs(600);
    for arrival_rates in [vec![], vec![Rate(1.0)]] {
        if !arrival_rates.is_empty() {
            plan.matrix.user_counts.clear();
        }
        plan.matrix.arrival_rates = arrival_rates;
        let job = job(&plan, Shard::WHOLE);
        let bedrock = bedrock(server(Duration::ZERO, 200, None, REPLY).await).await;
        let running = tokio::spawn(async move {
            execute(bedrock, job, Arc::new(Broken), Arc::new(|_| {}), &Stop::default()).await;
        });
        let guard = tokio::time::timeout(Duration::from_secs(60), running).await.expect("the run ends before its cell");
        assert!(guard.unwrap_err().is_panic());
    }
}
