//! Barrier, heartbeats and store under races, delays and faults.

use super::store::Store;
use super::{BarrierError, BucketAccess, CommitMarker, Exchange, JoinRequest, Member, Progress, RunFingerprint};
use crate::matrix::Shard;
use crate::units::url::HttpUrl;
use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result as StoreResult,
};
use rand::RngExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn join_request(count: u32, index: u32) -> JoinRequest {
    JoinRequest {
        fingerprint: RunFingerprint { count, tool_version: "0".into(), build: "b".into(), plan_hash: "p".into() },
        seed: u64::from(index),
        host: format!("host{index}"),
        nonce: format!("{index}-{}", rand::random::<u64>()),
    }
}

fn open(url: &str, access: BucketAccess) -> Exchange {
    Exchange::open(url, &BTreeMap::new(), access, true, &crate::units::Secrets::default()).unwrap()
}

fn exchange(dir: &std::path::Path) -> Exchange {
    open(&format!("file://{}", dir.display()), BucketAccess::default())
}

/// Access to a bucket on this machine.
fn local() -> BucketAccess {
    BucketAccess { endpoint: Some(HttpUrl::parse("http://127.0.0.1:1").unwrap()), ..BucketAccess::default() }
}

fn member(exchange: Exchange, index: u32, count: u32, timeout: Duration) -> Member {
    Member {
        exchange,
        shard: Shard { index, count },
        join_request: join_request(count, index),
        timeout,
        progress_timeout: Duration::from_secs(3_600),
        progress: Progress::default(),
    }
}

async fn join(
    exchange: Exchange,
    index: u32,
    count: u32,
    timeout: Duration,
) -> Result<(Member, super::Start), BarrierError> {
    let member = member(exchange, index, count, timeout);
    let start = member.join(&format!("run{index}")).await?;
    Ok((member, start))
}

/// Joins all shards after these delays. Returns each result.
async fn join_all(delays: &[Duration], timeout: Duration) -> Vec<Result<super::Start, String>> {
    let dir = tempfile::tempdir().unwrap();
    let count = delays.len() as u32;
    let mut joining = tokio::task::JoinSet::new();
    for (index, delay) in (0..).zip(delays.iter().copied()) {
        let exchange = exchange(dir.path());
        joining.spawn(async move {
            tokio::time::sleep(delay).await;
            join(exchange, index, count, timeout).await.map(|(_, start)| start).map_err(|error| error.to_string())
        });
    }
    joining.join_all().await
}

#[tokio::test]
async fn all_shards_have_the_same_start_or_none_starts() {
    let timeout = Duration::from_millis(60);
    let (mut started, mut aborted) = (0, 0);
    for _ in 0..40 {
        // The last shard joins at about the time at which the others abort.
        let mut delays = vec![Duration::ZERO; 5];
        delays[4] = Duration::from_millis(rand::rng().random_range(20..110));
        let result = join_all(&delays, timeout).await;
        let starts: Vec<_> = result.iter().filter_map(|result| result.as_ref().ok()).collect();
        assert!(starts.is_empty() || starts.len() == 5, "{result:?}");
        assert!(starts.windows(2).all(|pair| pair[0] == pair[1]), "{result:?}");
        if starts.is_empty() { aborted += 1 } else { started += 1 }
    }
    assert_eq!(started + aborted, 40);
}

#[tokio::test]
async fn thirty_two_concurrent_shards_have_one_start() {
    let result = join_all(&[Duration::ZERO; 32], Duration::from_secs(60)).await;
    let first = result[0].as_ref().unwrap();
    assert!(result.iter().all(|result| result.as_ref() == Ok(first)), "{result:?}");
    assert_eq!(first.run_id, format!("run{}", first.seed), "the decision comes from one shard");
}

#[tokio::test]
async fn each_cell_run_has_its_own_start_and_none_after_a_shard_has_left() {
    let dir = tempfile::tempdir().unwrap();
    let long = Duration::from_secs(60);
    let (one, two) = tokio::join!(join(exchange(dir.path()), 0, 2, long), join(exchange(dir.path()), 1, 2, long));
    let ((one, start), (two, _)) = (one.unwrap(), two.unwrap());
    let (first, other) = tokio::join!(one.wait_for_cell_run(0, &start.run_id), two.wait_for_cell_run(0, &start.run_id));
    assert_eq!(first.unwrap(), other.unwrap());
    one.publish("preflight.json", &vec![1, 2]).await.unwrap();
    assert_eq!(two.receive::<Vec<u32>>("preflight.json", 0).await.unwrap(), [1, 2]);

    let waiting = two.wait_for_cell_run(1, &start.run_id);
    let leaving = async {
        one.leave("its disk is full").await.unwrap();
    };
    let (result, ()) = tokio::join!(waiting, leaving);
    assert_eq!(result.unwrap_err().to_string(), "shard 0 on host0 left: its disk is full");
    let result = two.receive::<Vec<u32>>("never.json", 0).await.unwrap_err().to_string();
    assert_eq!(result, "shard 0 on host0 left: its disk is full");
}

#[tokio::test]
async fn start_in_the_past_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let long = Duration::from_secs(60);
    let (joined, start) = join(exchange(dir.path()), 0, 1, long).await.unwrap();
    let early = serde_json::json!({ "start": { "t0_ms": 1_000, "plan_hash": "p", "run_id": start.run_id, "seed": 1 } });
    std::fs::create_dir_all(dir.path().join("turns/00003")).unwrap();
    std::fs::write(dir.path().join("turns/00003/start.json"), early.to_string()).unwrap();
    let result = joined.wait_for_cell_run(3, &start.run_id).await.unwrap_err().to_string();
    assert!(result.contains("received the common start "), "{result}");
}

#[tokio::test]
async fn malformed_value_is_reported_with_its_key() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("start.json"), "hello").unwrap();
    let result = join(exchange(dir.path()), 0, 1, Duration::from_secs(1)).await.unwrap_err().to_string();
    assert!(result.contains("start.json: expected value"), "{result}");
}

#[test]
fn long_lists_of_shards_are_shortened() {
    let listed = |shards: &[u32]| crate::matrix::format_shards(shards, super::barrier::MAX_LISTED);
    assert_eq!(listed(&[3]), "shard 3");
    assert_eq!(listed(&[1, 2, 5]), "shards 1, 2 and 5");
    assert_eq!(listed(&(0..17).collect::<Vec<_>>()), "shards 0, 1, 2, 3, 4 and 12 more");
}

#[tokio::test]
async fn start_far_in_the_future_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (joined, start) = join(exchange(dir.path()), 0, 1, Duration::from_secs(60)).await.unwrap();
    let t0_ms = crate::units::timestamp::now_ms() + 3_600_000;
    let ahead = serde_json::json!({ "start": { "t0_ms": t0_ms, "plan_hash": "p", "run_id": start.run_id, "seed": 1 } });
    std::fs::create_dir_all(dir.path().join("turns/00002")).unwrap();
    std::fs::write(dir.path().join("turns/00002/start.json"), ahead.to_string()).unwrap();
    let result = joined.wait_for_cell_run(2, &start.run_id).await.unwrap_err().to_string();
    assert!(result.contains("cell run 3 starts in ") && result.contains("clocks of the machines differ"), "{result}");
}

#[tokio::test]
async fn shards_wait_for_a_heartbeating_shard_and_name_a_silent_one() {
    let dir = tempfile::tempdir().unwrap();
    let (short, long) = (Duration::from_secs(2), Duration::from_secs(60));
    let (one, two, three) = tokio::join!(
        join(exchange(dir.path()), 0, 3, short),
        join(exchange(dir.path()), 1, 3, short),
        join(exchange(dir.path()), 2, 3, long)
    );
    let ((one, start), (two, _), (three, _)) = (one.unwrap(), two.unwrap(), three.unwrap());
    let working = tokio::spawn({
        let two = two.clone();
        async move { two.send_heartbeats().await }
    });
    // The second shard arrives after several timeouts of the first and sends heartbeats all the time.
    let late = async {
        tokio::time::sleep(short * 2).await;
        two.wait_for_cell_run(0, &start.run_id).await
    };
    let (first, second, third) =
        tokio::join!(one.wait_for_cell_run(0, &start.run_id), late, three.wait_for_cell_run(0, &start.run_id));
    assert_eq!(first.unwrap(), second.unwrap());
    third.unwrap();
    // The third shard sends none.
    let result = one.wait_for_cell_run(1, &start.run_id).await.unwrap_err().to_string();
    assert_eq!(result, "shard 2 of 3 did not reach the barrier within 2s");
    working.abort();
}

#[tokio::test]
async fn shard_with_heartbeats_but_without_progress_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let timeout = Duration::from_millis(800);
    let (one, two) = tokio::join!(join(exchange(dir.path()), 0, 2, timeout), join(exchange(dir.path()), 1, 2, timeout));
    let ((mut one, start), (two, _)) = (one.unwrap(), two.unwrap());
    one.progress_timeout = Duration::from_secs(3);
    // It works for longer than the progress timeout and then arrives.
    let mut beating = tokio::task::JoinSet::new();
    beating.spawn({
        let two = two.clone();
        async move { two.send_heartbeats().await }
    });
    let late = async {
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            two.progress.advance();
        }
        two.wait_for_cell_run(0, &start.run_id).await
    };
    let (first, second) = tokio::join!(one.wait_for_cell_run(0, &start.run_id), late);
    assert_eq!(first.unwrap(), second.unwrap());
    // Now it hangs while its heartbeats continue.
    let waiting = tokio::time::timeout(Duration::from_secs(60), one.wait_for_cell_run(1, &start.run_id));
    let message = waiting.await.expect("the wait ends").unwrap_err().to_string();
    let expected = "shard 1 (host host1) sends heartbeats but has made no progress for ";
    assert!(message.starts_with(expected), "{message}");
    let waiting = tokio::time::timeout(Duration::from_secs(60), one.receive::<u32>("never.json", 1));
    let message = waiting.await.expect("the wait ends").unwrap_err().to_string();
    assert!(message.starts_with(expected), "{message}");
}

/// A store with injected faults.
#[derive(Debug)]
struct Faulty {
    inner: Arc<dyn ObjectStore>,
    fault: Fault,
    /// Operations that have failed, each with its key.
    failed: Mutex<BTreeSet<(&'static str, String)>>,
    /// Number of calls.
    calls: AtomicUsize,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    None,
    /// Each operation on each key fails once, as with an unreliable network.
    First,
    /// Every call fails, as with missing permissions.
    Denied,
}

impl Faulty {
    /// Returns a bucket in memory with a directory's poll interval and this fault.
    fn bucket(inner: &Arc<dyn ObjectStore>, fault: Fault) -> (Exchange, Arc<Self>) {
        let inner = Arc::clone(inner);
        let faulty = Arc::new(Self { inner, fault, failed: Mutex::default(), calls: AtomicUsize::new(0) });
        let mut exchange = open("s3://bucket", local());
        exchange.store = Store::Bucket { store: Arc::<Self>::clone(&faulty), prefix: String::new() };
        exchange.poll_interval = (Duration::from_millis(20), Duration::from_millis(200));
        (exchange, faulty)
    }

    fn check(&self, operation: &'static str, key: &Key) -> StoreResult<()> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        match self.fault {
            Fault::Denied => {
                let source = "403 Forbidden".into();
                Err(object_store::Error::PermissionDenied { path: key.to_string(), source })
            }
            Fault::First if self.failed.lock().unwrap().insert((operation, key.to_string())) => {
                let source = std::io::Error::from(std::io::ErrorKind::StaleNetworkFileHandle).into();
                Err(object_store::Error::Generic { store: "faulty", source })
            }
            Fault::None | Fault::First => Ok(()),
        }
    }
}

impl std::fmt::Display for Faulty {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, key: &Key, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        self.check("put", key)?;
        self.inner.put_opts(key, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        key: &Key,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.check("multipart", key)?;
        self.inner.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Key, options: GetOptions) -> StoreResult<GetResult> {
        self.check("get", key)?;
        self.inner.get_opts(key, options).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, StoreResult<Key>>) -> BoxStream<'static, StoreResult<Key>> {
        self.inner.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        match self.check("list", prefix.unwrap_or(&Key::default())) {
            Ok(()) => self.inner.list(prefix),
            Err(error) => futures_util::stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Key, to: &Key, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn transient_failures_do_not_end_a_shard() {
    let long = Duration::from_secs(60);
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let ((first, faulty), (second, _)) = (Faulty::bucket(&store, Fault::First), Faulty::bucket(&store, Fault::First));
    let (one, two) = tokio::join!(join(first, 0, 2, long), join(second, 1, 2, long));
    let ((one, start), (two, other)) = (one.unwrap(), two.unwrap());
    assert_eq!(start, other);
    one.publish("preflight.json", &vec![1, 2]).await.unwrap();
    assert_eq!(two.receive::<Vec<u32>>("preflight.json", 0).await.unwrap(), [1, 2]);
    let (first, other) = tokio::join!(one.wait_for_cell_run(0, &start.run_id), two.wait_for_cell_run(0, &start.run_id));
    assert_eq!(first.unwrap(), other.unwrap());
    let results = tempfile::tempdir().unwrap();
    std::fs::write(results.path().join("token_data.jsonl"), "{}\n").unwrap();
    let fingerprint = one.join_request.fingerprint.clone();
    let marker = CommitMarker { index: 0, run_id: start.run_id.clone(), fingerprint, files: BTreeMap::new() };
    super::deliver(&one.exchange, results.path(), &["token_data.jsonl"], marker).await.unwrap();
    one.leave("done").await.unwrap();
    let markers = super::list_commit_markers(&one.exchange).await.unwrap();
    assert_eq!(markers.len(), 1);
    super::fetch(&one.exchange, &markers[0], results.path()).await.unwrap();
    assert_eq!(super::expected_shards(&one.exchange).await.unwrap(), Some(2));
    let failed = faulty.failed.lock().unwrap();
    for operation in [("get", "start.json"), ("put", "ready/0.json"), ("list", "ready"), ("put", "left/0.json")] {
        assert!(failed.contains(&(operation.0, operation.1.to_owned())), "{failed:?}");
    }
}

#[tokio::test]
async fn permanent_failure_ends_a_shard_at_once() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (exchange, faulty) = Faulty::bucket(&store, Fault::Denied);
    let message = join(exchange, 0, 2, Duration::from_secs(60)).await.unwrap_err().to_string();
    assert!(message.contains("lacked the necessary privileges") && message.contains("403"), "{message}");
    assert_eq!(faulty.calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn poll_interval_grows_while_nothing_changes() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (exchange, faulty) = Faulty::bucket(&store, Fault::None);
    join(exchange, 0, 2, Duration::from_secs(3)).await.unwrap_err();
    // A poll every 20 ms would make 450 calls.
    let calls = faulty.calls.load(Ordering::Relaxed);
    assert!(calls < 120, "{calls}");
}

#[test]
fn start_delay_exceeds_the_poll_interval() {
    let dir = tempfile::tempdir().unwrap();
    let bucket = |access| open("s3://bucket/x", access);
    for exchange in [exchange(dir.path()), bucket(local()), bucket(BucketAccess::default())] {
        assert!(exchange.start_delay >= exchange.poll_interval.1 + Duration::from_millis(800), "{exchange:?}");
        assert!(exchange.poll_interval.0 < exchange.poll_interval.1, "{exchange:?}");
    }
}
