//! Shards with a bucket as their exchange: moto's S3, which supports conditional puts, and the real client of the store.

use super::machines::{Machines, USERS, id, output_text, set, wait_for_exit};
use crate::support::python_has;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Number of shards that race for the barrier.
const SHARDS: u32 = 16;

/// An S3 server that ends when it is dropped.
pub(super) struct Bucket {
    process: Child,
    pub(super) url: String,
}

impl Bucket {
    /// Starts the server; returns `None` with a message if moto is not installed.
    pub(super) fn start() -> Option<Self> {
        if !python_has("moto.server") || !python_has("boto3") {
            return None;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/shards/s3_server.py");
        let mut process = Command::new("python3")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(url.starts_with("http://"), "{url:?}");
        Some(Self { process, url: url.trim().to_owned() })
    }

    pub(super) fn environment(&self, command: &mut Command) {
        command
            .env("AWS_ENDPOINT_URL_S3", &self.url)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_REGION", "us-east-1");
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

#[test]
fn sixteen_shards_run_with_a_bucket() {
    let Some(bucket) = Bucket::start() else { return };
    let mut machines = Machines::new(USERS);
    let url = "s3://bucket/runs/one";
    let start = |index: u32| {
        let shard = format!("{index}/{SHARDS}");
        let more = ["--exchange", url, "--shard", &shard, "--only", "*default*", "--user-counts", "20"];
        let mut command = machines.command("results", &more);
        bucket.environment(&mut command);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let running: Vec<Child> = (0..SHARDS).map(start).collect();
    for shard in running {
        wait_for_exit(shard, 0);
    }
    let merge = |to: &str, url: &str| {
        let mut command = machines.scene.command(&["merge", url, "--to", to]);
        bucket.environment(&mut command);
        command.output().unwrap()
    };
    let output = merge("merged", url);
    assert_eq!(output.status.code(), Some(0), "{}", output_text(&output));
    let nothing = output_text(&merge("nothing", "s3://bucket/runs/two"));
    assert!(nothing.contains("no shard delivered its results to s3://bucket/runs/two"), "{nothing}");
    let no_bucket = output_text(&merge("nothing", "s3://elsewhere/one"));
    assert!(no_bucket.contains("the exchange s3://elsewhere/one cannot be used"), "{no_bucket}");

    let records = machines.records("merged");
    assert_eq!(set(&records, id), machines.truth());
    assert_eq!(set(&records, id).len(), records.len());
    let users = |record: &serde_json::Value| record["user"].as_u64();
    assert_eq!(set(&records, users).into_iter().flatten().collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
    let manifest = machines.json("merged/manifest.json");
    let shards: Vec<_> = (0..SHARDS).map(|index| machines.shard_results(index, SHARDS).join("manifest.json")).collect();
    for path in shards {
        let own: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        // There is one decision, whichever shard made it.
        assert_eq!((&own["run_id"], &own["seed"]), (&manifest["run_id"], &manifest["seed"]));
    }
    assert_eq!(manifest["turns"][0]["parts"].as_array().unwrap().len(), SHARDS as usize);
}
