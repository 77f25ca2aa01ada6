//! A server whose times are known: std only, a thread per connection, nothing shared with the
//! program under test or with its simulator.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Every request is answered after 200 ms and up to 50 ms more, spread by its number.
const BASE_US: u64 = 200_000;
const SPREAD_US: u64 = 50_000;

const BODY: &str = r#"{"output":{"message":{"role":"assistant","content":[{"text":"The answer is known."}]}},"stopReason":"end_turn","usage":{"inputTokens":5,"outputTokens":5,"totalTokens":10},"metrics":{"latencyMs":200}}"#;

type Account = Arc<Mutex<Vec<(u64, Duration)>>>;

/// Prints its address, serves until standard input closes, then writes `request id,milliseconds`.
pub(crate) fn serve(truth: &Path) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    println!("http://{}", listener.local_addr().expect("an address"));
    let account = Account::default();
    let counter = Arc::new(AtomicU64::new(0));
    let served = Arc::clone(&account);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (account, counter) = (Arc::clone(&served), Arc::clone(&counter));
            std::thread::spawn(move || connection(&stream, &account, &counter));
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new()).expect("standard input");
    let mut lines = String::new();
    for (id, took) in account.lock().expect("no panics").iter() {
        lines.push_str(&format!("known-{id},{:.3}\n", took.as_secs_f64() * 1e3));
    }
    std::fs::write(truth, lines).expect("the account is written");
}

/// Serves requests until the peer closes. The time taken is from the last byte read to the last written.
fn connection(stream: &TcpStream, account: &Account, counter: &AtomicU64) {
    stream.set_nodelay(true).expect("no delay");
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    while let Some(length) = head(&mut reader) {
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let received = Instant::now();
        let id = counter.fetch_add(1, Ordering::Relaxed);
        let spread = id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        std::thread::sleep(Duration::from_micros(BASE_US + spread % SPREAD_US));
        let reply = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-amzn-requestid: known-{id}\r\ncontent-length: {}\r\n\r\n{BODY}",
            BODY.len()
        );
        if writer.write_all(reply.as_bytes()).is_err() {
            return;
        }
        account.lock().expect("no panics").push((id, received.elapsed()));
    }
}

/// Reads a request's head and returns the length of its body; nothing at the end of the connection.
fn head(reader: &mut impl BufRead) -> Option<usize> {
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            return Some(length);
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
    }
}
