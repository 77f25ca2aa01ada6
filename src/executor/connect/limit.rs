//! Bounds on the body of a reply, which are enforced while it is read: a server must not be able to fill the memory of
//! this machine. Heads are bounded by hyper's read buffer.

use crate::executor::reported::Reported;
use hyper::body::Incoming;
use hyper::http::Response;
use hyper::http::header::CONTENT_TYPE;

/// The class of a reply that is too long.
pub(in crate::executor) const TOO_LONG: &str = "reply_too_long";

/// The largest body of an error (a status other than 2xx), in bytes.
const LARGEST_ERROR: u64 = 1 << 20;

/// The largest body of any other reply, in bytes.
const LARGEST_REPLY: u64 = 64 << 20;

/// The largest event of a stream, in bytes: the protocol's 24 MiB of payload, 128 KiB of headers, and the frame.
const LARGEST_EVENT: u32 = (24 << 20) + (128 << 10) + 16;

/// Why a body was not read to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// Below the body.
    #[error(transparent)]
    Http(hyper::Error),
    /// See [`LARGEST_ERROR`] and [`LARGEST_REPLY`].
    #[error("the body is longer than {} MiB: the connection was closed", .0 >> 20)]
    TooLong(u64),
    /// See [`LARGEST_EVENT`].
    #[error("an event of the stream claims a length of {0} bytes: the connection was closed")]
    EventTooLong(u32),
}

impl BodyError {
    /// The class of a request that ends so.
    pub(super) fn class(&self) -> &'static str {
        match self {
            Self::Http(error) if error.is_parse() => "decode",
            Self::Http(_) => "reset",
            Self::TooLong(_) | Self::EventTooLong(_) => TOO_LONG,
        }
    }
}

/// The bound of one body.
#[derive(Debug)]
pub(super) struct BodyLimit {
    /// In bytes.
    largest: u64,
    /// For a body that consists of events.
    events: Option<Events>,
}

impl BodyLimit {
    pub(super) fn new(response: &Response<Incoming>) -> Self {
        let is_success = response.status().is_success();
        let content_type = response.headers().get(CONTENT_TYPE).map_or(&[][..], |value| value.as_bytes());
        let is_stream = is_success && content_type.starts_with(b"application/vnd.amazon.eventstream");
        Self {
            largest: if is_success { LARGEST_REPLY } else { LARGEST_ERROR },
            events: is_stream.then(Events::default),
        }
    }

    /// Returns the figures that the last `metadata` event of a stream contains.
    pub(super) fn reported(&self) -> Option<Reported> {
        self.events.as_ref().and_then(|events| events.reported)
    }

    /// Checks the length of the whole body as far as it is known.
    pub(super) fn check_announced(&self, bytes: u64) -> Result<(), BodyError> {
        if bytes > self.largest { Err(BodyError::TooLong(self.largest)) } else { Ok(()) }
    }

    /// Checks the bytes read so far, `data` last.
    pub(super) fn check(&mut self, bytes: u64, data: &[u8]) -> Result<(), BodyError> {
        self.check_announced(bytes)?;
        self.events.as_mut().map_or(Ok(()), |events| events.check(data))
    }
}

/// The position in a stream of events, each of which starts with its length. A decoder waits for the end of an event,
/// whatever length it claims.
#[derive(Debug, Default)]
struct Events {
    /// The bytes of the current length that have been read.
    length: Vec<u8>,
    /// Bytes of the current event that follow.
    left: usize,
    /// The current event as far as it has been read, if it is not too long to be kept.
    event: Vec<u8>,
    /// The figures of the last `metadata` event.
    reported: Option<Reported>,
}

/// The longest event that is scanned for figures, in bytes.
const LONGEST_SCANNED: usize = 1 << 20;

impl Events {
    fn check(&mut self, mut data: &[u8]) -> Result<(), BodyError> {
        while !data.is_empty() {
            if self.left > 0 {
                let skipped = self.left.min(data.len());
                self.left -= skipped;
                if self.event.len() + skipped <= LONGEST_SCANNED {
                    self.event.extend_from_slice(&data[..skipped]);
                }
                data = &data[skipped..];
                if self.left == 0 {
                    self.reported = Reported::from_event(&self.event).or(self.reported);
                }
                continue;
            }
            self.length.push(data[0]);
            data = &data[1..];
            if let Ok(length) = <[u8; 4]>::try_from(self.length.as_slice()) {
                self.event.clear();
                self.event.extend_from_slice(&length);
                let length = u32::from_be_bytes(length);
                if length > LARGEST_EVENT {
                    return Err(BodyError::EventTooLong(length));
                }
                self.length.clear();
                // One that is shorter than its own frame is an error of the decoder.
                self.left = (length as usize).saturating_sub(4);
            }
        }
        Ok(())
    }
}
