//! Secrets that a server repeats in messages, classes, ids and other texts. None may be written to a file, the terminal or
//! the log.

use super::scene::{SHORT, Scene, files};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const KEY_ID: &str = "KEYIDINUSE0001";
const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCY";
const TOKEN: &str = "session/token+in-use==";
const PASSWORD: &str = "pr0xy-passw0rd";
/// A secret that is not configured here.
const FOREIGN: &str = "f0re1gn-s3cret";

/// Starts a server whose reply is computed from the head and the number of the request.
pub(super) fn serve(answer: impl Fn(&str, usize) -> Vec<u8> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    let (answer, count) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (answer, count) = (Arc::clone(&answer), Arc::clone(&count));
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
                    let length = head
                        .to_lowercase()
                        .split("content-length: ")
                        .nth(1)
                        .map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
                    reader.read_exact(&mut vec![0; length]).unwrap();
                    let _ = writer.write_all(&answer(&head, count.fetch_add(1, Ordering::Relaxed)));
                }
            });
        }
    });
    address
}

pub(super) fn http(status: u16, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn refusal(message: &str) -> Vec<u8> {
    let body = serde_json::json!({ "message": message }).to_string();
    http(503, "x-amzn-ErrorType: ServiceUnavailableException\r\n", &body)
}

fn reply(stop_reason: &str, tier: &str) -> Vec<u8> {
    let body = serde_json::json!({
        "output": {"message": {"role": "assistant", "content": [{"text": format!("it is {SECRET_KEY}")}]}},
        "stopReason": stop_reason, "serviceTier": {"type": tier},
        "usage": {"inputTokens": 7, "outputTokens": 3, "totalTokens": 10}, "metrics": {"latencyMs": 1},
    });
    http(200, &format!("x-amzn-RequestId: {TOKEN}\r\n"), &body.to_string())
}

/// Returns replies of a server, each with a secret in it.
fn replies() -> Vec<Vec<u8>> {
    let messages = [
        "Invalid API key: ABSKf0re1gn-s3cretQUtleQ==".to_owned(),
        format!("SecretAccessKey: {FOREIGN}"),
        format!("aws_secret_access_key = {FOREIGN}"),
        format!("{{\"SecretAccessKey\":\"{FOREIGN}\"}} is no answer"),
        format!("{{\\\"SessionToken\\\":\\\"{FOREIGN}\\\"}} is no answer"),
        format!("X-Amz-Security-Token={FOREIGN}&X-Amz-Signature={FOREIGN}"),
        format!("Authorization: Bearer {FOREIGN}"),
        format!("password: '{FOREIGN}' is wrong"),
        format!("api_key={FOREIGN}, x-api-key: {FOREIGN}"),
        format!("<SessionToken>{FOREIGN}</SessionToken>"),
        format!("http://user:{FOREIGN}@proxy:3128 does not answer"),
        format!("the id {KEY_ID} is not known"),
        format!("signed with {SECRET_KEY}, which is wrong"),
        "signed with wJalrXUtnFEMI%2FK7MDENG%2BbPxRfiCY".to_owned(),
        "signed with wJalrXUtnFEMI\\/K7MDENG+bPxRfiCY".to_owned(),
        format!("{TOKEN} is expired"),
        format!("{PASSWORD} was given"),
        // base64 of proxyuser:pr0xy-passw0rd
        "the proxy got cHJveHl1c2VyOnByMHh5LXBhc3N3MHJk".to_owned(),
        // Split by the cut to 500 characters.
        format!("{} {SECRET_KEY}", "x".repeat(485)),
        // Split by the first cut, which is at a round number of bytes; masking shortens the text before it.
        format!("{}{}", " ".repeat(3), format!("{SECRET_KEY} ").repeat(2_000)),
    ];
    let mut answers: Vec<Vec<u8>> = messages.iter().map(|message| refusal(message)).collect();
    let with_class =
        |class: &str| http(503, &format!("x-amzn-ErrorType: {class}\r\nx-amzn-RequestId: {TOKEN}\r\n"), "{}");
    answers.extend([
        with_class(SECRET_KEY),
        with_class(&"A".repeat(3_000)),
        http(
            503,
            "",
            &serde_json::json!({"__type": format!("{}{SECRET_KEY}", "B".repeat(120)), "message": ""}).to_string(),
        ),
        reply(SECRET_KEY, "default"),
        reply(&"C".repeat(100_000), "default"),
        reply("end_turn", TOKEN),
        http(200, "", &format!("{SECRET_KEY} is no JSON")),
    ]);
    answers
}

/// Returns all files and all output of a run.
fn all_output(scene: &Scene, output: &Output) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let results = scene.path("results");
    let mut all: Vec<_> = files(&results)
        .into_iter()
        .map(|name| (name.clone(), text(&std::fs::read(results.join(name)).unwrap())))
        .collect();
    all.push(("stdout".into(), text(&output.stdout)));
    all.push(("stderr".into(), text(&output.stderr)));
    all
}

/// Asserts that no text contains a secret or a part of one.
fn assert_hidden(texts: &[(String, String)], secrets: &[&str]) {
    for (name, text) in texts {
        for secret in secrets {
            let line = text.lines().find(|line| line.contains(secret)).unwrap_or_default();
            let at = line.find(secret).unwrap_or(0);
            let shown: String = line.chars().skip(at.saturating_sub(100)).take(250).collect();
            assert!(!text.contains(secret), "{secret} is in {name}: {shown}");
        }
    }
}

fn with_credentials(command: &mut Command) -> &mut Command {
    command
        .env("AWS_ACCESS_KEY_ID", KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .env("AWS_SESSION_TOKEN", TOKEN)
        .env("AWS_REGION", "us-east-1")
}

#[test]
fn secrets_repeated_by_a_server_are_masked() {
    let replies = replies();
    let requests = replies.len().to_string();
    let count = replies.len();
    let address = serve(move |_, n| replies[n % replies.len()].clone());
    let scene = Scene::new().plan(&format!("{SHORT}\n[record]\ntext = true\n"));
    let more = [
        "--endpoint-url",
        "http://bedrock.example",
        "--allow-http",
        "--requests",
        &requests,
        "--user-counts",
        "1",
        "--test-duration",
        "10m",
        "--think-time",
        "0s",
    ];
    let mut command = scene.run_command(&more);
    with_credentials(&mut command)
        .env("HTTP_PROXY", format!("http://proxyuser:{PASSWORD}@{address}"))
        .env("RUST_LOG", "trace");
    let output = scene.expect(0, command);
    let records = scene.records();
    assert_eq!(records.len(), count);
    for record in &records {
        for (field, longest) in [("error_message", 500), ("error_class", 128), ("stop_reason", 128)] {
            let length = record[field].as_str().map_or(0, |text| text.chars().count());
            assert!(length <= longest, "{field} has {length} characters");
        }
    }
    assert_eq!(records.iter().filter(|record| record["success"] == true).count(), 3);
    assert_eq!(records[11]["error_message"], "the id [redacted] is not known");
    assert_eq!(records[count - 4]["reply_text"], "it is [redacted]");
    let hidden =
        [KEY_ID, "XUtnFEMI", "MDENG", "session/token", "in-use=", "passw0rd", "cHJveHl1c2VyOn", "re1gn-s3cret"];
    assert_hidden(&all_output(&scene, &output), &hidden);
}

#[test]
#[cfg(unix)]
fn renewed_credentials_are_masked_too() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let known = Arc::clone(&seen);
    let address = serve(move |head, _| {
        let id = head.split("Credential=").nth(1).unwrap().split('/').next().unwrap().to_owned();
        let answer = refusal(&format!("who is {id}?"));
        known.lock().unwrap().push(id);
        answer
    });
    let scene = Scene::new().plan(SHORT);
    // Each call provides new credentials that have already expired, so that every request has different ones.
    let script = r#"n=$(cat "$0.count" 2>/dev/null || echo 0); n=$((n + 1)); echo $n > "$0.count"
printf '{"Version":1,"AccessKeyId":"ROTATED%d","SecretAccessKey":"rotated-secret-%d","Expiration":"2020-01-01T00:00:00Z"}' $n $n
"#;
    std::fs::write(scene.path("rotate.sh"), script).unwrap();
    let config = format!(
        "[profile rotating]\nregion = us-east-1\ncredential_process = sh {}\n",
        scene.path("rotate.sh").display()
    );
    std::fs::write(scene.path("config"), config).unwrap();
    let url = format!("http://{address}");
    let mut command =
        scene.run_command(&["--endpoint-url", &url, "--requests", "4", "--user-counts", "1", "--profile", "rotating"]);
    command.env("AWS_CONFIG_FILE", scene.path("config"));
    let output = scene.expect(3, command);
    let mut ids = seen.lock().unwrap().clone();
    ids.sort();
    ids.dedup();
    assert!(ids.len() > 1, "the credentials were renewed: {ids:?}");
    assert_hidden(&all_output(&scene, &output), &["ROTATED"]);
    assert!(scene.records().iter().all(|record| record["error_message"] == "who is [redacted]?"));
}

#[test]
fn exchange_files_and_errors_contain_no_secret() {
    let address = serve(|_, _| {
        let body = format!(
            "<Error><Code>SignatureDoesNotMatch</Code><Message>{SECRET_KEY} {TOKEN}</Message><AWSAccessKeyId>{KEY_ID}</AWSAccessKeyId></Error>"
        );
        http(403, "", &body)
    });
    let scene = Scene::new();
    let mut command = scene.command(&["merge", "s3://bucket/run", "--to", "merged"]);
    with_credentials(&mut command).env("AWS_ENDPOINT_URL_S3", format!("http://{address}")).env("RUST_LOG", "trace");
    let output = scene.expect(4, command);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("SignatureDoesNotMatch"), "{message}");
    let mut texts = vec![("merge".to_owned(), message)];

    let plan = format!("http://jane:{PASSWORD}@proxy:3128/{SECRET_KEY}.toml");
    let mut command = scene.command(&["run", &plan, "--yes"]);
    with_credentials(&mut command);
    let message = String::from_utf8_lossy(&scene.expect(2, command).stderr).into_owned();
    assert!(message.contains("cannot read the plan"), "{message}");
    texts.push(("run".into(), message));
    assert_hidden(&texts, &[KEY_ID, "XUtnFEMI", "MDENG", "session/token", "passw0rd"]);
}
