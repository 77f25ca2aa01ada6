//! Faults of the service, the network and the machine, over real sockets: each has its class, affects no other request, and
//! no sent request is missing in the records.

use super::scene::{SHORT, Scene};
use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes of a reply, and the state of the connection afterwards.
#[derive(Clone)]
struct Reply {
    bytes: Vec<u8>,
    then: AfterReply,
}

#[derive(Clone, Copy, PartialEq)]
enum AfterReply {
    KeepAlive,
    Close,
    /// Until the client closes the connection.
    Hang,
    /// The last bytes, of this count, are repeated until the client closes the connection.
    Repeat(usize),
}

/// A server that replies to every second request with a fault, and to the others correctly.
struct Server {
    port: u16,
    received: Arc<AtomicU64>,
}

impl Server {
    fn start(good_reply: Reply, fault: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(AtomicU64::new(0));
        let answers = Arc::new([good_reply, fault]);
        let counted = Arc::clone(&received);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answers, counted) = (Arc::clone(&answers), Arc::clone(&counted));
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    let mut writer = stream;
                    while read_request(&mut reader).is_some() {
                        let answer = &answers[(counted.fetch_add(1, Ordering::Relaxed) % 2) as usize];
                        if writer.write_all(&answer.bytes).is_err() {
                            return;
                        }
                        match answer.then {
                            AfterReply::KeepAlive => {}
                            AfterReply::Close => return,
                            AfterReply::Hang => drop(reader.read(&mut [0])),
                            AfterReply::Repeat(bytes) => {
                                let piece = &answer.bytes[answer.bytes.len() - bytes..];
                                while writer.write_all(piece).is_ok() {}
                                return;
                            }
                        }
                    }
                });
            }
        });
        Self { port, received }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// Reads a whole request. Returns `None` at the end of the connection.
pub(super) fn read_request(reader: &mut impl BufRead) -> Option<()> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_lowercase();
    let length: usize = head.split("content-length: ").nth(1)?.lines().next()?.parse().ok()?;
    reader.read_exact(&mut vec![0; length]).ok()
}

const REPLY: &str = r#"{"output":{"message":{"role":"assistant","content":[{"text":"yes"}]}},"stopReason":"end_turn","usage":{"inputTokens":7,"outputTokens":3,"totalTokens":10},"metrics":{"latencyMs":1}}"#;

pub(super) fn http(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn keep_alive(bytes: Vec<u8>) -> Reply {
    Reply { bytes, then: AfterReply::KeepAlive }
}

fn exception(name: &str, status: u16) -> Reply {
    keep_alive(http(
        status,
        &format!("x-amzn-ErrorType: {name}:http://internal.amazon.com/\r\n"),
        br#"{"message":"no"}"#,
    ))
}

/// Returns a frame of an event stream.
fn frame(kind: &str, name: &str, payload: &str) -> Vec<u8> {
    let header = |name: &'static str, value: &str| Header::new(name, HeaderValue::String(value.to_owned().into()));
    let message = Message::new(payload.as_bytes().to_vec())
        .add_header(header(":message-type", kind))
        .add_header(header(if kind == "event" { ":event-type" } else { ":exception-type" }, name))
        .add_header(header(":content-type", "application/json"));
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).unwrap();
    bytes
}

pub(super) fn event(name: &str, payload: &str) -> Vec<u8> {
    frame("event", name, payload)
}

/// Returns a reply with frames in a chunked body; `end` terminates the body.
pub(super) fn stream(frames: &[Vec<u8>], end: bool) -> Vec<u8> {
    let mut bytes =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_vec();
    for frame in frames {
        bytes.extend_from_slice(format!("{:x}\r\n", frame.len()).as_bytes());
        bytes.extend_from_slice(frame);
        bytes.extend_from_slice(b"\r\n");
    }
    if end {
        bytes.extend_from_slice(b"0\r\n\r\n");
    }
    bytes
}

/// Returns the frames of a complete reply.
fn reply() -> Vec<Vec<u8>> {
    vec![
        event("messageStart", r#"{"role":"assistant"}"#),
        event("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"yes"}}"#),
        event("contentBlockStop", r#"{"contentBlockIndex":0}"#),
        event("messageStop", r#"{"stopReason":"end_turn"}"#),
        event("metadata", r#"{"usage":{"inputTokens":7,"outputTokens":3,"totalTokens":10},"metrics":{"latencyMs":1}}"#),
    ]
}

/// Returns a complete reply of `converse`.
pub(super) fn good_reply() -> Vec<u8> {
    http(200, "content-type: application/json\r\n", REPLY.as_bytes())
}

struct Case {
    name: String,
    fault: Reply,
    /// `None` if the request succeeds.
    class: Option<&'static str>,
    requests: u64,
}

fn case(name: &str, class: &'static str, fault: Reply) -> Case {
    Case { name: name.into(), fault, class: Some(class), requests: 12 }
}

/// Prints a row of the table; without a count of the server, no loss is printed.
#[allow(clippy::print_stdout)] // the table is output of the test
pub(super) fn row(name: &str, class: &str, sent: Option<u64>, recorded: usize) {
    let (sent, lost) =
        sent.map_or(("-".into(), "-".into()), |sent| (sent.to_string(), sent.abs_diff(recorded as u64).to_string()));
    println!("{name:42} {class:28} sent {sent:>3}  recorded {recorded:3}  lost {lost}");
}

/// Runs a cell for each case, compares the records with the requests the server received, and prints a row.
fn check_cases(api: &str, good_reply: &Reply, cases: Vec<Case>) {
    for Case { name, fault, class, requests } in cases {
        let server = Server::start(good_reply.clone(), fault);
        let scene = Scene::new().plan(&SHORT.replace("max_tokens = 16", "max_tokens = 16\ntimeout = \"400ms\""));
        let timeout = if name.contains("50 MB") || name.contains("endless") { "120s" } else { "400ms" };
        let requests_text = requests.to_string();
        let more = [
            "--endpoint-url",
            &server.url(),
            "--api",
            api,
            "--requests",
            &requests_text,
            "--timeout",
            timeout,
            "--test-duration",
            "10m",
            "--drain",
            "120s",
            "--think-time",
            "0s",
        ];
        scene.run(0, &more);
        let records = scene.records();
        let (succeeded, failed): (Vec<_>, Vec<_>) =
            records.iter().partition(|record| record["success"] == true && record["input_tokens"] == 7);
        row(&name, class.unwrap_or("(a success)"), Some(server.received()), records.len());
        assert_eq!((server.received(), records.len() as u64), (requests, requests), "{name}");
        if let Some(class) = class {
            assert_eq!((succeeded.len(), failed.len()), (records.len() / 2, records.len() / 2), "{name}");
            for record in failed {
                assert_eq!(record["error_class"], class, "{name}: {record}");
            }
            let row = &scene.rows()[0];
            assert_eq!(row["success_count"], (requests / 2).to_string(), "{name}");
            let failures =
                std::fs::read_to_string(scene.path("results/test_us_default_small_u3_failures.csv")).unwrap();
            assert!(failures.contains(class), "{name}: {failures}");
        }
    }
}

#[test]
fn each_fault_of_a_reply_has_its_class_and_affects_no_other_request() {
    let exceptions = [
        ("ThrottlingException", 429),
        ("ModelNotReadyException", 429),
        ("ServiceQuotaExceededException", 400),
        ("InternalServerException", 500),
        ("ServiceUnavailableException", 503),
        ("ModelTimeoutException", 408),
        ("ModelErrorException", 424),
        ("ValidationException", 400),
        ("AccessDeniedException", 403),
        ("ResourceNotFoundException", 404),
        ("ExpiredTokenException", 403),
        ("UnrecognizedClientException", 403),
    ];
    let mut cases: Vec<Case> =
        exceptions.iter().map(|(name, status)| case(name, name, exception(name, *status))).collect();
    let whole = good_reply();
    let half = whole[..whole.len() - 40].to_vec();
    let long = REPLY.replace("yes", &"y".repeat(50_000_000)).replace("\"inputTokens\":7", "\"inputTokens\":8");
    cases.extend([
        case("closed before the reply", "reset", Reply { bytes: Vec::new(), then: AfterReply::Close }),
        case("closed inside the reply", "reset", Reply { bytes: half.clone(), then: AfterReply::Close }),
        case("a body that stalls", "timeout", Reply { bytes: half, then: AfterReply::Hang }),
        case("no answer until the timeout", "timeout", Reply { bytes: Vec::new(), then: AfterReply::Hang }),
        case("a body that is no JSON", "decode", keep_alive(http(200, "", b"<html>hello</html>"))),
        case("an error of a proxy", "http_error", keep_alive(http(502, "", b"<html>bad gateway</html>"))),
        case(
            "200 with an empty message",
            "empty_reply",
            keep_alive(http(200, "", REPLY.replace(r#"{"text":"yes"}"#, "").replace(":3,", ":0,").as_bytes())),
        ),
        Case {
            name: "a body of 50 MB".into(),
            fault: keep_alive(http(200, "", long.as_bytes())),
            class: None,
            requests: 4,
        },
    ]);
    let invalid = "x-amzn-ErrorType: ValidationException\r\n";
    let text = |length: usize| format!(r#"{{"message":"{}"}}"#, "x".repeat(length)).into_bytes();
    let endless = |head: &str, piece: &[u8]| Reply {
        bytes: [head.as_bytes(), piece].concat(),
        then: AfterReply::Repeat(piece.len()),
    };
    let chunk = [b"10000\r\n".as_slice(), &vec![b' '; 0x1_0000], b"\r\n"].concat();
    let rare = |name: &str, class, fault| Case { requests: 4, ..case(name, class, fault) };
    cases.extend([
        // The text is kept as evidence, up to 500 characters.
        rare("an error with a text of 1 MB", "ValidationException", keep_alive(http(400, invalid, &text(1_000_000)))),
        rare("an error of 2 MB", "reply_too_long", keep_alive(http(400, invalid, &text(2_000_000)))),
        rare(
            "an endless error",
            "reply_too_long",
            endless("HTTP/1.1 400 X\r\ntransfer-encoding: chunked\r\n\r\n", &chunk),
        ),
        rare(
            "an endless reply",
            "reply_too_long",
            endless("HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n", &chunk),
        ),
        rare("an endless reply without a length", "reply_too_long", endless("HTTP/1.1 200 X\r\n\r\n", &chunk)),
        rare("an endless head", "reply_too_long", endless("HTTP/1.1 200 X\r\n", b"x-filler: 0123456789abcdef\r\n")),
        rare(
            "a length of 1 TB",
            "reply_too_long",
            Reply {
                bytes: b"HTTP/1.1 200 X\r\ncontent-length: 1000000000000\r\n\r\n{".to_vec(),
                then: AfterReply::Hang,
            },
        ),
    ]);
    check_cases("converse", &keep_alive(whole), cases);
}

#[test]
fn each_fault_of_a_stream_has_its_class_and_affects_no_other_request() {
    let begun = || reply()[..2].to_vec();
    let with = |last: Vec<u8>| {
        let mut frames = begun();
        frames.push(last);
        frames
    };
    let exceptions = [
        ("internalServerException", "InternalServerException"),
        ("modelStreamErrorException", "ModelStreamErrorException"),
        ("validationException", "ValidationException"),
        ("throttlingException", "ThrottlingException"),
        ("serviceUnavailableException", "ServiceUnavailableException"),
    ];
    let mut cases: Vec<Case> = exceptions
        .iter()
        .map(|(wire, class)| {
            let last = frame("exception", wire, r#"{"message":"no"}"#);
            case(&format!("{class} in the middle"), class, keep_alive(stream(&with(last), true)))
        })
        .collect();
    let mut broken = event("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"no"}}"#);
    let last = broken.len() - 1;
    broken[last] ^= 0xff;
    let whole = stream(&reply(), true);
    cases.extend([
        case(
            "a frame with a broken checksum",
            "decode",
            // Kept open: closing after a complete reply may coincide with the next request.
            keep_alive(stream(&with(broken), true)),
        ),
        case(
            "a stream that is cut",
            "stream_incomplete",
            Reply { bytes: stream(&begun(), false), then: AfterReply::Close },
        ),
        case("no messageStop", "stream_incomplete", keep_alive(stream(&begun(), true))),
        case("no metadata", "stream_incomplete", keep_alive(stream(&reply()[..4], true))),
        case(
            "a stream that stalls",
            "stream_timeout",
            Reply { bytes: stream(&begun(), false), then: AfterReply::Hang },
        ),
        case("no answer until the timeout", "timeout", Reply { bytes: Vec::new(), then: AfterReply::Hang }),
    ]);
    let claims_4_gib = [0xff; 12].to_vec();
    let mut endless = begun();
    let padded = format!(r#"{{"contentBlockIndex":0,"delta":{{"text":""}},"p":"{}"}}"#, "a".repeat(60_000));
    let empty = [event("contentBlockDelta", &padded)];
    let piece = stream(&empty, false).len() - stream(&[], false).len();
    endless.extend(empty);
    cases.extend([
        case(
            "an event that claims 4 GiB",
            "reply_too_long",
            Reply { bytes: stream(&with(claims_4_gib), false), then: AfterReply::Hang },
        ),
        Case {
            requests: 4,
            ..case(
                "endless empty events",
                "reply_too_long",
                Reply { bytes: stream(&endless, false), then: AfterReply::Repeat(piece) },
            )
        },
    ]);
    check_cases("converse-stream", &keep_alive(whole), cases);
}

#[test]
fn complete_stream_on_an_open_connection_is_a_success() {
    let open = Reply { bytes: stream(&reply(), false), then: AfterReply::Hang };
    let server = Server::start(open.clone(), open);
    let scene = Scene::new().plan(SHORT);
    let more = ["--endpoint-url", &server.url(), "--api", "converse-stream", "--requests", "6", "--timeout", "60s"];
    scene.run(0, &more);
    let records = scene.records();
    assert_eq!(records.len(), 6);
    for record in records {
        assert_eq!(record["outcome"], "succeeded", "{record}");
        assert_eq!(record["output_tokens"], 3, "{record}");
    }
}

#[test]
fn unreachable_servers_have_their_class() {
    // A port without a listener: that of a listener that was just closed.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let plain = Server::start(keep_alive(Vec::new()), keep_alive(Vec::new()));
    let cases = [
        ("connection refused", "connect", format!("http://127.0.0.1:{closed}")),
        ("a name that does not exist", "dns", "http://bedrock.invalid".to_owned()),
        ("no TLS at the other end", "tls", format!("https://127.0.0.1:{}", plain.port)),
    ];
    for (name, class, url) in cases {
        let scene = Scene::new().plan(SHORT);
        let mut command = scene.run_command(&["--endpoint-url", &url, "--requests", "6", "--region", "us-east-1"]);
        command.env("AWS_ACCESS_KEY_ID", "AKID").env("AWS_SECRET_ACCESS_KEY", "x");
        scene.expect(4, command);
        let records = scene.records();
        row(name, class, None, records.len());
        assert_eq!(records.len(), 6);
        assert!(records.iter().all(|record| record["error_class"] == class), "{name}: {}", records[0]);
    }
}
