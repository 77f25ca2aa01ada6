//! The barrier under races: whatever the order and the delays, there is one decision.

use super::store::Store;
use super::{BucketAccess, Exchange, Hello, Kind, Mark, MeetError, Member, Progress};
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

fn hello(count: u32, index: u32) -> Hello {
    Hello {
        kind: Kind { count, tool_version: "0".into(), build: "b".into(), plan_hash: "p".into() },
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

/// A bucket on this machine.
fn local() -> BucketAccess {
    BucketAccess { endpoint: Some(HttpUrl::parse("http://127.0.0.1:1").unwrap()), ..BucketAccess::default() }
}

fn member(exchange: Exchange, index: u32, count: u32, timeout: Duration) -> Member {
    Member {
        exchange,
        shard: Shard { index, count },
        hello: hello(count, index),
        timeout,
        max_quiet: Duration::from_secs(3_600),
        progress: Progress::default(),
    }
}

async fn join(
    exchange: Exchange,
    index: u32,
    count: u32,
    timeout: Duration,
) -> Result<(Member, super::Start), MeetError> {
    let member = member(exchange, index, count, timeout);
    let start = member.join(&format!("run{index}")).await?;
    Ok((member, start))
}

/// All shards come after these delays. Returns what each was told.
async fn all(delays: &[Duration], timeout: Duration) -> Vec<Result<super::Start, String>> {
    let dir = tempfile::tempdir().unwrap();
    let count = delays.len() as u32;
    let mut coming = tokio::task::JoinSet::new();
    for (index, delay) in (0..).zip(delays.iter().copied()) {
        let exchange = exchange(dir.path());
        coming.spawn(async move {
            tokio::time::sleep(delay).await;
            join(exchange, index, count, timeout).await.map(|(_, start)| start).map_err(|error| error.to_string())
        });
    }
    coming.join_all().await
}

#[tokio::test]
async fn all_begin_with_the_same_or_nobody_does() {
    let timeout = Duration::from_millis(60);
    let (mut begun, mut given_up) = (0, 0);
    for _ in 0..40 {
        // The last one comes about when the others give up.
        let mut delays = vec![Duration::ZERO; 5];
        delays[4] = Duration::from_millis(rand::rng().random_range(20..110));
        let told = all(&delays, timeout).await;
        let starts: Vec<_> = told.iter().filter_map(|told| told.as_ref().ok()).collect();
        assert!(starts.is_empty() || starts.len() == 5, "{told:?}");
        assert!(starts.windows(2).all(|pair| pair[0] == pair[1]), "{told:?}");
        if starts.is_empty() { given_up += 1 } else { begun += 1 }
    }
    assert_eq!(begun + given_up, 40);
}

#[tokio::test]
async fn thirty_two_that_come_at_once_have_one_start() {
    let told = all(&[Duration::ZERO; 32], Duration::from_secs(60)).await;
    let first = told[0].as_ref().unwrap();
    assert!(told.iter().all(|told| told.as_ref() == Ok(first)), "{told:?}");
    assert_eq!(first.run_id, format!("run{}", first.seed), "the decision is one shard's, whole");
}

#[tokio::test]
async fn turns_have_starts_of_their_own_and_end_when_one_leaves() {
    let dir = tempfile::tempdir().unwrap();
    let long = Duration::from_secs(60);
    let (one, two) = tokio::join!(join(exchange(dir.path()), 0, 2, long), join(exchange(dir.path()), 1, 2, long));
    let ((one, start), (two, _)) = (one.unwrap(), two.unwrap());
    let (first, other) = tokio::join!(one.turn(0, &start.run_id), two.turn(0, &start.run_id));
    assert_eq!(first.unwrap(), other.unwrap());
    one.tell("preflight.json", &vec![1, 2]).await.unwrap();
    assert_eq!(two.hear::<Vec<u32>>("preflight.json", 0).await.unwrap(), [1, 2]);

    let waiting = two.turn(1, &start.run_id);
    let leaving = async {
        one.leave("its disk is full").await.unwrap();
    };
    let (told, ()) = tokio::join!(waiting, leaving);
    assert_eq!(told.unwrap_err().to_string(), "shard 0 on host0 left: its disk is full");
    let told = two.hear::<Vec<u32>>("never.json", 0).await.unwrap_err().to_string();
    assert_eq!(told, "shard 0 on host0 left: its disk is full");
}

#[tokio::test]
async fn whoever_learns_of_a_start_too_late_stays_away() {
    let dir = tempfile::tempdir().unwrap();
    let long = Duration::from_secs(60);
    let (joined, start) = join(exchange(dir.path()), 0, 1, long).await.unwrap();
    let early = serde_json::json!({ "start": { "t0_ms": 1_000, "plan_hash": "p", "run_id": start.run_id, "seed": 1 } });
    std::fs::create_dir_all(dir.path().join("turns/00003")).unwrap();
    std::fs::write(dir.path().join("turns/00003/start.json"), early.to_string()).unwrap();
    let told = joined.turn(3, &start.run_id).await.unwrap_err().to_string();
    assert!(told.contains("after the start that all had begun"), "{told}");
}

#[tokio::test]
async fn what_no_shard_wrote_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("start.json"), "hello").unwrap();
    let told = join(exchange(dir.path()), 0, 1, Duration::from_secs(1)).await.unwrap_err().to_string();
    assert!(told.contains("start.json: expected value"), "{told}");
}

#[test]
fn absentees_are_named_as_far_as_that_helps() {
    let named = |shards: &[u32]| crate::matrix::listed_shards(shards, super::barrier::NAMED);
    assert_eq!(named(&[3]), "shard 3");
    assert_eq!(named(&[1, 2, 5]), "shards 1, 2 and 5");
    assert_eq!(named(&(0..17).collect::<Vec<_>>()), "shards 0, 1, 2, 3, 4 and 12 more");
}

#[tokio::test]
async fn a_start_that_lies_far_ahead_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (joined, start) = join(exchange(dir.path()), 0, 1, Duration::from_secs(60)).await.unwrap();
    let t0_ms = crate::units::timestamp::now_ms() + 3_600_000;
    let ahead = serde_json::json!({ "start": { "t0_ms": t0_ms, "plan_hash": "p", "run_id": start.run_id, "seed": 1 } });
    std::fs::create_dir_all(dir.path().join("turns/00002")).unwrap();
    std::fs::write(dir.path().join("turns/00002/start.json"), ahead.to_string()).unwrap();
    let told = joined.turn(2, &start.run_id).await.unwrap_err().to_string();
    assert!(told.contains("turn 3 is to begin in ") && told.contains("clocks differ"), "{told}");
}

#[tokio::test]
async fn who_shows_life_is_waited_for_and_who_does_not_is_named() {
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
        async move { two.beat().await }
    });
    // The second comes after several timeouts of the first, and shows life all the time.
    let late = async {
        tokio::time::sleep(short * 2).await;
        two.turn(0, &start.run_id).await
    };
    let (first, second, third) = tokio::join!(one.turn(0, &start.run_id), late, three.turn(0, &start.run_id));
    assert_eq!(first.unwrap(), second.unwrap());
    third.unwrap();
    // The third shows none.
    let told = one.turn(1, &start.run_id).await.unwrap_err().to_string();
    assert_eq!(told, "shard 2 of 3 did not come within 2s");
    working.abort();
}

#[tokio::test]
async fn a_shard_that_heartbeats_without_progress_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let timeout = Duration::from_millis(800);
    let (one, two) = tokio::join!(join(exchange(dir.path()), 0, 2, timeout), join(exchange(dir.path()), 1, 2, timeout));
    let ((mut one, start), (two, _)) = (one.unwrap(), two.unwrap());
    one.max_quiet = Duration::from_secs(3);
    // It works for longer than may pass without progress, and comes.
    let mut beating = tokio::task::JoinSet::new();
    beating.spawn({
        let two = two.clone();
        async move { two.beat().await }
    });
    let late = async {
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            two.progress.advance();
        }
        two.turn(0, &start.run_id).await
    };
    let (first, second) = tokio::join!(one.turn(0, &start.run_id), late);
    assert_eq!(first.unwrap(), second.unwrap());
    // Now it hangs, and its heartbeat goes on.
    let waiting = tokio::time::timeout(Duration::from_secs(60), one.turn(1, &start.run_id));
    let message = waiting.await.expect("it is not waited for").unwrap_err().to_string();
    let expected = "shard 1 (host host1) heartbeats but has made no progress for ";
    assert!(message.starts_with(expected), "{message}");
    let waiting = tokio::time::timeout(Duration::from_secs(60), one.hear::<u32>("never.json", 1));
    let message = waiting.await.expect("it is not waited for").unwrap_err().to_string();
    assert!(message.starts_with(expected), "{message}");
}

/// A store that fails.
#[derive(Debug)]
struct Faulty {
    inner: Arc<dyn ObjectStore>,
    fault: Fault,
    /// The operations that have failed, each with its key.
    failed: Mutex<BTreeSet<(&'static str, String)>>,
    /// Calls of any operation.
    calls: AtomicUsize,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    None,
    /// The first time of every operation on every key, as a network does.
    First,
    /// Every time, as a bucket without permission does.
    Denied,
}

impl Faulty {
    /// A bucket in memory, polled as a directory is, whose operations fail in this way.
    fn bucket(inner: &Arc<dyn ObjectStore>, fault: Fault) -> (Exchange, Arc<Self>) {
        let inner = Arc::clone(inner);
        let faulty = Arc::new(Self { inner, fault, failed: Mutex::default(), calls: AtomicUsize::new(0) });
        let mut exchange = open("s3://bucket", local());
        exchange.store = Store::Bucket { store: Arc::<Self>::clone(&faulty), prefix: String::new() };
        exchange.polls = (Duration::from_millis(20), Duration::from_millis(200));
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
async fn a_failure_that_passes_ends_no_shard() {
    let long = Duration::from_secs(60);
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let ((first, faulty), (second, _)) = (Faulty::bucket(&store, Fault::First), Faulty::bucket(&store, Fault::First));
    let (one, two) = tokio::join!(join(first, 0, 2, long), join(second, 1, 2, long));
    let ((one, start), (two, other)) = (one.unwrap(), two.unwrap());
    assert_eq!(start, other);
    one.tell("preflight.json", &vec![1, 2]).await.unwrap();
    assert_eq!(two.hear::<Vec<u32>>("preflight.json", 0).await.unwrap(), [1, 2]);
    let (first, other) = tokio::join!(one.turn(0, &start.run_id), two.turn(0, &start.run_id));
    assert_eq!(first.unwrap(), other.unwrap());
    let results = tempfile::tempdir().unwrap();
    std::fs::write(results.path().join("token_data.jsonl"), "{}\n").unwrap();
    let kind = one.hello.kind.clone();
    let mark = Mark { index: 0, run_id: start.run_id.clone(), kind, files: BTreeMap::new() };
    super::send(&one.exchange, results.path(), &["token_data.jsonl"], mark).await.unwrap();
    one.leave("it is done").await.unwrap();
    let held = super::held(&one.exchange).await.unwrap();
    assert_eq!(held.len(), 1);
    super::fetch(&one.exchange, &held[0], results.path()).await.unwrap();
    assert_eq!(super::expected(&one.exchange).await.unwrap(), Some(2));
    let failed = faulty.failed.lock().unwrap();
    for operation in [("get", "start.json"), ("put", "ready/0.json"), ("list", "ready"), ("put", "left/0.json")] {
        assert!(failed.contains(&(operation.0, operation.1.to_owned())), "{failed:?}");
    }
}

#[tokio::test]
async fn a_refusal_ends_a_shard_at_once() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (exchange, faulty) = Faulty::bucket(&store, Fault::Denied);
    let message = join(exchange, 0, 2, Duration::from_secs(60)).await.unwrap_err().to_string();
    assert!(message.contains("lacked the necessary privileges") && message.contains("403"), "{message}");
    assert_eq!(faulty.calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn polls_become_rare_while_nothing_changes() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (exchange, faulty) = Faulty::bucket(&store, Fault::None);
    join(exchange, 0, 2, Duration::from_secs(3)).await.unwrap_err();
    // Every 20 ms these would be 450 calls.
    let calls = faulty.calls.load(Ordering::Relaxed);
    assert!(calls < 120, "{calls}");
}

#[test]
fn a_start_is_known_everywhere_before_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let bucket = |access| open("s3://bucket/x", access);
    for exchange in [exchange(dir.path()), bucket(local()), bucket(BucketAccess::default())] {
        assert!(exchange.lead >= exchange.polls.1 + Duration::from_millis(800), "{exchange:?}");
        assert!(exchange.polls.0 < exchange.polls.1, "{exchange:?}");
    }
}
