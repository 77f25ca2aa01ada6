//! Exchanges that fail for a moment or refuse for good, and a shard that hangs.

use super::bucket::Bucket;
use super::machines::{Machines, USERS, ended, id, said, set, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A proxy before an S3 server that loses the first reply to every request, after the server has done what it says;
/// without a server it refuses all. Its threads end with the test's process.
struct Proxy {
    url: String,
    requests: Arc<AtomicUsize>,
}

impl Proxy {
    fn start(server: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = server.map(|url| url.trim_start_matches("http://").to_owned());
        let (requests, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(BTreeSet::new())));
        let counted = Arc::clone(&requests);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (server, seen, counted) = (server.clone(), Arc::clone(&seen), Arc::clone(&counted));
                // A client that goes away is none of the proxy's business.
                std::thread::spawn(move || Self::serve(&client?, server.as_deref(), &seen, &counted));
            }
        });
        Self { url, requests }
    }

    /// Serves one request and closes the connection.
    fn serve(
        mut client: &TcpStream,
        server: Option<&str>,
        seen: &Mutex<BTreeSet<String>>,
        counted: &AtomicUsize,
    ) -> std::io::Result<()> {
        let mut reader = BufReader::new(client);
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let (mut head, mut length) = (format!("{first}connection: close\r\n"), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            head += &line;
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        counted.fetch_add(1, Ordering::Relaxed);
        let Some(server) = server else {
            let text = "<Error><Code>AccessDenied</Code></Error>";
            let length = text.len();
            return write!(
                client,
                "HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{text}"
            );
        };
        let mut upstream = TcpStream::connect(server)?;
        upstream.write_all(head.as_bytes())?;
        upstream.write_all(&body)?;
        let mut reply = Vec::new();
        upstream.read_to_end(&mut reply)?;
        let is_first = seen.lock().unwrap().insert(first.clone());
        // Nothing of it, or a part: a list breaks off in its middle.
        let part = if !is_first {
            reply.len()
        } else if first.contains("list-type=") {
            reply.len() - 10
        } else {
            0
        };
        client.write_all(&reply[..part])
    }
}

#[test]
fn a_bucket_whose_replies_are_lost_ends_no_shard() {
    let Some(bucket) = Bucket::start() else { return };
    let proxy = Proxy::start(Some(&bucket.url));
    let mut machines = Machines::new(USERS);
    let url = "s3://bucket/runs/faulty";
    let start = |index: u32| {
        let shard = format!("{index}/2");
        let mut command = machines.command("results", &["--exchange", url, "--shard", &shard]);
        bucket.environment(&mut command);
        command.env("AWS_ENDPOINT_URL_S3", &proxy.url).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let running: Vec<Child> = (0..2).map(start).collect();
    for shard in running {
        let said = ended(shard, 0);
        assert!(said.contains(&format!("exchange {url} failed, retrying for up to 1m")), "{said}");
        assert!(said.contains(&format!("exchange {url} answers again")), "{said}");
    }
    let mut command = machines.scene.command(&["merge", url, "--to", "merged"]);
    bucket.environment(&mut command);
    let output = command.env("AWS_ENDPOINT_URL_S3", &proxy.url).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(set(&machines.records("merged"), id), machines.truth());
    assert_eq!(machines.json("merged/manifest.json")["shards"]["complete"], true);
}

#[test]
fn a_bucket_that_refuses_ends_a_shard_at_once() {
    let machines = Machines::new(USERS);
    let proxy = Proxy::start(None);
    let mut command = machines.command("results", &["--exchange", "s3://bucket/x", "--shard", "0/2"]);
    let environment = [
        ("AWS_ENDPOINT_URL_S3", proxy.url.as_str()),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_REGION", "us-east-1"),
    ];
    let output = command.envs(environment).output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("the exchange s3://bucket/x cannot be used") && said.contains("AccessDenied"), "{said}");
    assert_eq!(proxy.requests.load(Ordering::Relaxed), 1, "{said}");
}

/// No request, drain or pause of this plan is longer than a second.
fn brisk() -> String {
    USERS.replace("drain = \"5s\"", "drain = \"1s\"").replace("[request]", "[request]\ntimeout = \"1s\"")
}

#[test]
fn a_shard_that_hangs_with_a_heartbeat_is_named() {
    let machines = Machines::new(&brisk());
    let mut shard = machines.shard(0, 2, &["--barrier-timeout", "3s"]);
    let write = |key: &str, value: &Value| {
        let (beside, path) = (machines.scene.path("beside"), machines.scene.path(&format!("exchange/{key}")));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&beside, value.to_string()).unwrap();
        fs::rename(&beside, path).unwrap();
    };
    until(|| machines.scene.path("exchange/ready/0.json").exists());
    // The other shard is this test: it joins the run, and then does nothing but to heartbeat.
    let mut hello = machines.json("exchange/ready/0.json");
    hello["host"] = "stuck".into();
    hello["nonce"] = "other".into();
    write("ready/1.json", &hello);
    let mut beat = 0;
    while shard.try_wait().unwrap().is_none() {
        write("alive/1", &json!({ "host": "stuck", "beat": beat, "progress": 7 }));
        beat += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    let said = ended(shard, 4);
    assert!(said.contains("shard 1 (host stuck) heartbeats but has made no progress for "), "{said}");
    assert!(beat > 20, "it was waited for: {beat}");
}

#[test]
fn a_long_think_time_is_no_hang() {
    let mut machines = Machines::new(&brisk());
    // The second shard has no user. It waits for the first, of which no request ends for three times as long as a shard
    // that does not work is waited for.
    let more = ["--barrier-timeout", "2s", "--user-counts", "1", "--requests", "2", "--test-duration", "1m"];
    machines.run(2, 0, &[&more[..], &["--think-time", "12s"]].concat());
    let output = machines.merge("merged", &[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(set(&machines.records("merged"), id), machines.truth());
}
