//! A server whose times are known: std only, a thread per connection, nothing shared with the
//! program under test or with its simulator. It answers Converse whole and `ConverseStream` in chunks.

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const BODY: &str = r#"{"output":{"message":{"role":"assistant","content":[{"text":"The answer is known."}]}},"stopReason":"end_turn","usage":{"inputTokens":5,"outputTokens":21,"totalTokens":26},"metrics":{"latencyMs":200}}"#;

/// Deltas of a stream, and the time between two of them: 20 a second.
const CHUNKS: u32 = 20;
const CHUNK_GAP: Duration = Duration::from_millis(50);

/// How long a request takes: to the whole reply, or to a stream's first delta.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// At least.
    pub(crate) base_us: u64,
    /// Up to so much more, spread by the request's number.
    pub(crate) spread_us: u64,
}

/// What was done with a request, microseconds after its last byte was read.
#[derive(Debug, Clone, Copy)]
struct Done {
    id: u64,
    first_us: u64,
    whole_us: u64,
}

struct House {
    pace: Pace,
    counter: AtomicU64,
    account: Mutex<Vec<Done>>,
    delta: Vec<u8>,
    ends: Vec<u8>,
}

/// Prints its address, serves until standard input closes, then writes `id,first_us,whole_us`.
pub(crate) fn serve(truth: &Path, pace: Pace) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    println!("http://{}", listener.local_addr().expect("an address"));
    let metadata = r#"{"usage":{"inputTokens":5,"outputTokens":21,"totalTokens":26},"metrics":{"latencyMs":1200}}"#;
    let ends = [frame("messageStop", r#"{"stopReason":"end_turn"}"#), frame("metadata", metadata)].concat();
    let house = Arc::new(House {
        pace,
        counter: AtomicU64::new(0),
        account: Mutex::default(),
        delta: frame("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"known "}}"#),
        ends,
    });
    let served = Arc::clone(&house);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let house = Arc::clone(&served);
            // Ten thousand connections are ten thousand stacks.
            let thread = std::thread::Builder::new().stack_size(96 << 10);
            thread.spawn(move || connection(&stream, &house)).expect("a thread");
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new()).expect("standard input");
    let mut lines = String::new();
    for done in house.account.lock().expect("no panics").iter() {
        lines.push_str(&format!("known-{},{},{}\n", done.id, done.first_us, done.whole_us));
    }
    std::fs::write(truth, lines).expect("the account is written");
}

fn frame(name: &'static str, payload: &'static str) -> Vec<u8> {
    let text = |value: &'static str| HeaderValue::String(value.to_owned().into());
    let message = Message::new(payload)
        .add_header(Header::new(":event-type", text(name)))
        .add_header(Header::new(":content-type", text("application/json")))
        .add_header(Header::new(":message-type", text("event")));
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).expect("a frame");
    bytes
}

/// Serves requests until the peer closes. Times are from the last byte read to the last written.
fn connection(stream: &TcpStream, house: &House) {
    stream.set_nodelay(true).expect("no delay");
    let mut reader = BufReader::with_capacity(4 << 10, stream);
    let mut body = Vec::new();
    while let Some(head) = head(&mut reader) {
        body.resize(head.length, 0);
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let received = Instant::now();
        let id = house.counter.fetch_add(1, Ordering::Relaxed);
        let spread = id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let wait = Duration::from_micros(house.pace.base_us + spread % house.pace.spread_us.max(1));
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
        let first = if head.stream { streamed(stream, house, id, received) } else { whole(stream, id, received) };
        let Some(first) = first else { return };
        let us = |duration: Duration| duration.as_micros() as u64;
        let done = Done { id, first_us: us(first), whole_us: us(received.elapsed()) };
        house.account.lock().expect("no panics").push(done);
    }
}

fn whole(mut stream: &TcpStream, id: u64, received: Instant) -> Option<Duration> {
    let reply = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-amzn-requestid: known-{id}\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    stream.write_all(reply.as_bytes()).ok()?;
    Some(received.elapsed())
}

fn streamed(mut stream: &TcpStream, house: &House, id: u64, received: Instant) -> Option<Duration> {
    let chunk = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\nx-amzn-requestid: known-{id}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let delta = chunk(&house.delta);
    stream.write_all(&[head.as_bytes(), &delta].concat()).ok()?;
    let first = received.elapsed();
    let started = Instant::now();
    for index in 1..=CHUNKS {
        std::thread::sleep((started + CHUNK_GAP * index).saturating_duration_since(Instant::now()));
        stream.write_all(&delta).ok()?;
    }
    stream.write_all(&[chunk(&house.ends), b"0\r\n\r\n".to_vec()].concat()).ok()?;
    Some(first)
}

struct Head {
    length: usize,
    stream: bool,
}

/// Reads a request's head; nothing at the end of the connection.
fn head(reader: &mut impl BufRead) -> Option<Head> {
    let mut head = Head { length: 0, stream: false };
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            return Some(head);
        }
        if line.starts_with("POST ") {
            head.stream = line.contains("/converse-stream ");
        } else if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            head.length = value.trim().parse().ok()?;
        }
    }
}
