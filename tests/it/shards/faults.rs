//! Exchanges with transient and permanent failures, and a shard that hangs.

use super::bucket::Bucket;
use super::machines::{Machines, USERS, id, output_text, set, wait_for_exit, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A proxy in front of an S3 server. It loses the first reply to each request after the server has processed it; without a
/// server it rejects all requests. Its threads end with the test process.
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
                // A disconnected client is not an error.
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
        // Return nothing, or a part: a list is truncated.
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
fn lost_replies_of_a_bucket_are_retried() {
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
        let message = wait_for_exit(shard, 0);
        assert!(message.contains(&format!("exchange {url} failed, retrying for up to 1m")), "{message}");
        assert!(message.contains(&format!("exchange {url} is available again")), "{message}");
    }
    let mut command = machines.scene.command(&["merge", url, "--to", "merged"]);
    bucket.environment(&mut command);
    let output = command.env("AWS_ENDPOINT_URL_S3", &proxy.url).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", output_text(&output));
    assert_eq!(set(&machines.records("merged"), id), machines.truth());
    assert_eq!(machines.json("merged/manifest.json")["shards"]["complete"], true);
}

#[test]
fn bucket_without_permission_ends_a_shard_at_once() {
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
    let message = output_text(&output);
    assert_eq!(output.status.code(), Some(4), "{message}");
    assert!(
        message.contains("the exchange s3://bucket/x cannot be used") && message.contains("AccessDenied"),
        "{message}"
    );
    assert_eq!(proxy.requests.load(Ordering::Relaxed), 1, "{message}");
}

/// A plan whose requests, drain and pauses take at most one second.
fn short_plan() -> String {
    USERS.replace("drain = \"5s\"", "drain = \"1s\"").replace("[request]", "[request]\ntimeout = \"1s\"")
}

#[test]
fn hanging_shard_with_heartbeats_is_named() {
    let machines = Machines::new(&short_plan());
    let mut shard = machines.shard(0, 2, &["--barrier-timeout", "3s"]);
    let write = |key: &str, value: &Value| {
        let (beside, path) = (machines.scene.path("beside"), machines.scene.path(&format!("exchange/{key}")));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&beside, value.to_string()).unwrap();
        fs::rename(&beside, path).unwrap();
    };
    wait_until(|| machines.scene.path("exchange/ready/0.json").exists());
    // The test acts as the other shard: it joins the run and then only sends heartbeats.
    let mut join_request = machines.json("exchange/ready/0.json");
    join_request["host"] = "stuck".into();
    join_request["nonce"] = "other".into();
    write("ready/1.json", &join_request);
    let mut number = 0;
    while shard.try_wait().unwrap().is_none() {
        write("alive/1", &json!({ "host": "stuck", "number": number, "progress": 7 }));
        number += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    let message = wait_for_exit(shard, 4);
    assert!(message.contains("shard 1 (host stuck) sends heartbeats but has made no progress for "), "{message}");
    assert!(number > 20, "the first shard waited: {number}");
}

#[test]
fn long_think_time_is_not_a_hang() {
    let mut machines = Machines::new(&short_plan());
    // The second shard has no user. It waits for the first, whose requests take three times the progress timeout.
    let more = ["--barrier-timeout", "2s", "--user-counts", "1", "--requests", "2", "--test-duration", "1m"];
    machines.run(2, 0, &[&more[..], &["--think-time", "12s"]].concat());
    let output = machines.merge("merged", &[]);
    assert_eq!(output.status.code(), Some(0), "{}", output_text(&output));
    assert_eq!(set(&machines.records("merged"), id), machines.truth());
}
