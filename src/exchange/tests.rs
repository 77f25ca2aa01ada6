//! The barrier under races: whatever the order and the delays, there is one decision.

use super::{Exchange, Hello, Kind, MeetError, Member};
use crate::matrix::Shard;
use rand::RngExt;
use std::collections::BTreeMap;
use std::time::Duration;

fn hello(count: u32, index: u32) -> Hello {
    Hello {
        kind: Kind { count, tool_version: "0".into(), build: "b".into(), plan_hash: "p".into() },
        seed: u64::from(index),
        host: format!("host{index}"),
        nonce: format!("{index}-{}", rand::random::<u64>()),
    }
}

fn exchange(dir: &std::path::Path) -> Exchange {
    let (access, secrets) = (super::BucketAccess::default(), crate::units::Secrets::default());
    Exchange::open(&format!("file://{}", dir.display()), &BTreeMap::new(), access, true, &secrets).unwrap()
}

async fn join(
    exchange: Exchange,
    index: u32,
    count: u32,
    timeout: Duration,
) -> Result<(Member, super::Start), MeetError> {
    let member = Member { exchange, shard: Shard { index, count }, hello: hello(count, index), timeout };
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
