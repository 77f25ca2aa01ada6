//! Requests as a server receives them: signatures, bearer tokens, proxies, headers and bodies.

use super::scene::{SHORT, Scene};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

const REPLY: &str = r#"{"output":{"message":{"role":"assistant","content":[{"text":"yes"}]}},"stopReason":"end_turn","usage":{"inputTokens":1,"outputTokens":1,"totalTokens":2},"metrics":{"latencyMs":1}}"#;

/// Replies to every request and reports its head and body.
pub(super) fn listen() -> (u16, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, received) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let sender = sender.clone();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut writer = stream;
                loop {
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") {
                        if reader.read_line(&mut head).unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    let head = head.to_lowercase();
                    let length = head
                        .split("content-length: ")
                        .nth(1)
                        .map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
                    let mut body = vec![0; length];
                    reader.read_exact(&mut body).unwrap();
                    let _ = sender.send((head, String::from_utf8(body).unwrap()));
                    let _ = write!(writer, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{REPLY}", REPLY.len());
                }
            });
        }
    });
    (port, received)
}

#[test]
fn a_bearer_token_never_goes_over_plain_http() {
    let (port, received) = listen();
    let scene = Scene::new().plan(SHORT);
    let mut command = scene.run_command(&["--endpoint-url", &format!("http://127.0.0.1:{port}")]);
    command
        .env("AWS_BEARER_TOKEN_BEDROCK", "top-secret")
        .env("AWS_ACCESS_KEY_ID", "AKID")
        .env("AWS_SECRET_ACCESS_KEY", "x");
    scene.expect(0, command);
    let heads: Vec<String> = received.try_iter().map(|(head, _)| head).collect();
    assert!(!heads.is_empty());
    for head in heads {
        assert!(head.contains("authorization: aws4-hmac-sha256 credential=akid/"), "{head}");
        assert!(!head.contains("top-secret"));
    }
}

#[test]
fn request_contains_exactly_the_settings_of_the_plan() {
    let (port, received) = listen();
    let scene = Scene::new().plan(SHORT);
    let url = format!("http://127.0.0.1:{port}");
    scene.run(0, &["--endpoint-url", &url, "--region-prefixes", "eu"]);
    let (head, body) = received.recv().unwrap();
    assert!(head.starts_with("post /model/eu.test.model-v1%3a0/converse http/1.1"), "{head}");
    insta::assert_snapshot!("body_as_planned", body);

    let (port, received) = listen();
    let url = format!("http://127.0.0.1:{port}");
    let more = [
        "--endpoint-url",
        &url,
        "--region-prefixes",
        "none",
        "--service-tiers",
        "none",
        "--temperature",
        "0.5",
        "--top-p",
        "1",
        "--overwrite",
    ];
    scene.run(0, &more);
    let (head, body) = received.recv().unwrap();
    assert!(head.starts_with("post /model/test.model-v1%3a0/converse "), "{head}");
    insta::assert_snapshot!("body_with_numbers_and_without_tier", body);
    assert!(scene.records().iter().all(|record| record["service_tier"] == "none"));
}

#[test]
fn proxies_are_honoured_and_loopback_is_never_proxied() {
    let (proxy, received) = listen();
    let scene = Scene::new().plan(SHORT);
    let mut command = scene.run_command(&["--endpoint-url", "http://bedrock.example", "--region", "us-east-1"]);
    command
        .env("HTTP_PROXY", format!("http://127.0.0.1:{proxy}"))
        .env("AWS_ACCESS_KEY_ID", "x")
        .env("AWS_SECRET_ACCESS_KEY", "x");
    scene.expect(0, command);
    let (head, _) = received.recv().unwrap();
    assert!(head.starts_with("post http://bedrock.example/model/us.test.model-v1%3a0/converse http/1.1"), "{head}");

    let (server, direct) = listen();
    let mut command = scene.run_command(&["--endpoint-url", &format!("http://localhost:{server}"), "--overwrite"]);
    command.env("HTTP_PROXY", "http://127.0.0.1:1");
    scene.expect(0, command);
    assert!(direct.try_iter().count() > 0);
}

#[test]
fn each_cell_uses_its_region() {
    let (port, received) = listen();
    let scene = Scene::new().plan(SHORT);
    let url = format!("http://127.0.0.1:{port}");
    let more = ["--requests", "2", "--regions", "us-east-1,eu-west-1"];
    let mut command = scene.run_command(&[&["--endpoint-url", &url], &more[..]].concat());
    // AWS_REGION, which many jobs set, does not override the axis.
    command.env("AWS_REGION", "ap-south-1").env("AWS_ACCESS_KEY_ID", "AKID").env("AWS_SECRET_ACCESS_KEY", "x");
    scene.expect(0, command);
    let heads: Vec<String> = received.try_iter().map(|(head, _)| head).collect();
    for region in ["us-east-1", "eu-west-1"] {
        let signed = heads.iter().filter(|head| head.contains(&format!("/{region}/bedrock/aws4_request"))).count();
        let recorded = scene.records().iter().filter(|record| record["region"] == region).count();
        assert_eq!((signed, recorded), (2, 2), "{region}: {heads:?}");
    }
    assert_eq!(scene.manifest()["region"], "us-east-1, eu-west-1");

    // With AWS as endpoint, the region selects the host.
    let (proxy, received) = listen();
    let mut command = scene.run_command(&[&["--overwrite"], &more[..]].concat());
    command.arg("--endpoint-url=aws").env("HTTPS_PROXY", format!("http://127.0.0.1:{proxy}"));
    command.env("AWS_ACCESS_KEY_ID", "AKID").env("AWS_SECRET_ACCESS_KEY", "x");
    scene.expect(4, command);
    let heads: Vec<String> = received.try_iter().map(|(head, _)| head).collect();
    for region in ["us-east-1", "eu-west-1"] {
        let host = format!("connect bedrock-runtime.{region}.amazonaws.com:443 ");
        assert!(heads.iter().any(|head| head.starts_with(&host)), "{host}: {heads:?}");
    }
}

#[test]
fn override_changes_the_request_of_matching_cells() {
    let (port, received) = listen();
    let plan = format!(
        "{SHORT}\n[[override]]\nwhen = {{ service_tier = \"flex\" }}\nmax_tokens = 7\ntemperature = 0.5\nrequests = 3\n"
    );
    let scene = Scene::new().plan(&plan);
    let url = format!("http://127.0.0.1:{port}");
    scene.run(0, &["--endpoint-url", &url, "--service-tiers", "default,flex", "--requests", "2"]);
    let bodies: Vec<String> = received.try_iter().map(|(_, body)| body).collect();
    let with = |text: &str| bodies.iter().filter(|body| body.contains(text)).count();
    assert_eq!((with("\"maxTokens\":16"), with("\"maxTokens\":7,\"temperature\":0.5")), (2, 3), "{bodies:?}");
    let hashes: Vec<String> =
        scene.manifest()["cells"].as_array().unwrap().iter().map(|cell| cell["cell_hash"].to_string()).collect();
    let plain = Scene::new().plan(SHORT);
    plain.run(0, &["--endpoint-url", &url, "--service-tiers", "default,flex", "--requests", "2"]);
    let before: Vec<String> =
        plain.manifest()["cells"].as_array().unwrap().iter().map(|cell| cell["cell_hash"].to_string()).collect();
    assert!(hashes[0] == before[0] && hashes[1] != before[1], "what an override changes is another measurement");
}

#[test]
fn each_cell_has_its_own_timeout() {
    let plan = format!(
        "{}\n[simulator.faults]\nstall = 1.0\n[[override]]\nwhen = {{ service_tier = \"flex\" }}\ntimeout = \"400ms\"\n",
        SHORT.replace("max_tokens = 16", "timeout = \"150ms\"")
    );
    let scene = Scene::new().plan(&plan);
    // The server never replies.
    scene.run(4, &["--service-tiers", "default,flex", "--order", "matrix"]);
    for (tier, timeout, at_least_ms) in [("default", "150ms", 150.0), ("flex", "400ms", 400.0)] {
        let records: Vec<_> = scene.records().into_iter().filter(|record| record["service_tier"] == tier).collect();
        assert!(!records.is_empty());
        for record in records {
            assert_eq!(record["error_message"], format!("no complete reply within {timeout}"));
            assert!(record["response_time_ms"].as_f64().unwrap() >= at_least_ms, "{record}");
        }
    }
}

#[test]
fn verbose_log_names_the_endpoint_but_no_secret_or_prompt() {
    let scene = Scene::new().plan(SHORT);
    let mut command = scene.run_command(&["-vv"]);
    command.env("AWS_SECRET_ACCESS_KEY", "top-secret");
    let printed = String::from_utf8(scene.expect(0, command).stderr).unwrap();
    assert!(printed.contains("requests go to this endpoint") && printed.contains("us.test.model-v1:0"), "{printed}");
    assert!(!printed.contains("top-secret") && !printed.contains("cloud computing"));
}

#[test]
fn log_filters_never_show_a_secret_or_prompt() {
    let (port, received) = listen();
    let scene = Scene::new().plan(SHORT);
    let mut command = scene.run_command(&["--endpoint-url", &format!("http://127.0.0.1:{port}")]);
    command.env("RUST_LOG", "trace").env("AWS_ACCESS_KEY_ID", "AKIDAKID").env("AWS_SECRET_ACCESS_KEY", "top-secret");
    command.env("AWS_SESSION_TOKEN", "the-token");
    let printed = String::from_utf8(scene.expect(0, command).stderr).unwrap();
    assert!(received.try_iter().any(|(head, _)| head.contains("x-amz-security-token: the-token")));
    assert!(printed.contains("TRACE"), "the log is on");
    for secret in ["top-secret", "the-token", "AKIDAKID", "Signature=", "cloud computing"] {
        assert!(
            !printed.contains(secret),
            "{secret} in {}",
            printed.lines().find(|line| line.contains(secret)).unwrap_or_default()
        );
    }
}
