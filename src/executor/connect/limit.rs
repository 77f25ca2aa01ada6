//! Limits on the body of a reply, enforced while it is read, so that a server cannot fill the memory of this machine. Heads
//! are limited by hyper's read buffer.

use crate::executor::reported::Reported;
use hyper::body::Incoming;
use hyper::http::Response;
use hyper::http::header::CONTENT_TYPE;

/// Error class of a reply that is too long.
pub(in crate::executor) const REPLY_TOO_LONG: &str = "reply_too_long";

/// Maximum body of an error (a status other than 2xx), in bytes.
const MAX_ERROR_BYTES: u64 = 1 << 20;

/// Maximum body of any other reply, in bytes.
const MAX_REPLY_BYTES: u64 = 64 << 20;

/// Maximum event of a stream, in bytes: the protocol's 24 MiB of payload, 128 KiB of headers, and the frame.
const MAX_EVENT_BYTES: u32 = (24 << 20) + (128 << 10) + 16;

/// Why a body was not read completely.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// An error below the body.
    #[error(transparent)]
    Http(hyper::Error),
    /// See [`MAX_ERROR_BYTES`] and [`MAX_REPLY_BYTES`].
    #[error("the body is longer than {} MiB: the connection was closed", .0 >> 20)]
    TooLong(u64),
    /// See [`MAX_EVENT_BYTES`].
    #[error("an event of the stream has a length of {0} bytes: the connection was closed")]
    EventTooLong(u32),
}

impl BodyError {
    /// Returns the error class of the request.
    pub(super) fn class(&self) -> &'static str {
        match self {
            Self::Http(error) if error.is_parse() => "decode",
            Self::Http(_) => "reset",
            Self::TooLong(_) | Self::EventTooLong(_) => REPLY_TOO_LONG,
        }
    }
}

/// The limit of one body.
#[derive(Debug)]
pub(super) struct BodyLimit {
    /// Maximum size, in bytes.
    max_bytes: u64,
    /// Parser state, if the body is a stream of events.
    events: Option<Events>,
}

impl BodyLimit {
    pub(super) fn new(response: &Response<Incoming>) -> Self {
        let is_success = response.status().is_success();
        let content_type = response.headers().get(CONTENT_TYPE).map_or(&[][..], |value| value.as_bytes());
        let is_stream = is_success && content_type.starts_with(b"application/vnd.amazon.eventstream");
        Self {
            max_bytes: if is_success { MAX_REPLY_BYTES } else { MAX_ERROR_BYTES },
            events: is_stream.then(Events::default),
        }
    }

    /// Returns the figures that the last `metadata` event of a stream contains.
    pub(super) fn reported(&self) -> Option<Reported> {
        self.events.as_ref().and_then(|events| events.reported)
    }

    /// Checks the length of the whole body as far as it is known.
    pub(super) fn check_announced(&self, bytes: u64) -> Result<(), BodyError> {
        if bytes > self.max_bytes { Err(BodyError::TooLong(self.max_bytes)) } else { Ok(()) }
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
    /// Bytes read of the current length field.
    length: Vec<u8>,
    /// Remaining bytes of the current event.
    left: usize,
    /// Bytes read of the current event, if it is not too long.
    event: Vec<u8>,
    /// The figures of the last `metadata` event.
    reported: Option<Reported>,
}

/// Maximum event that is scanned for figures, in bytes.
const MAX_SCANNED_BYTES: usize = 1 << 20;

impl Events {
    fn check(&mut self, mut data: &[u8]) -> Result<(), BodyError> {
        while !data.is_empty() {
            if self.left > 0 {
                let skipped = self.left.min(data.len());
                self.left -= skipped;
                if self.event.len() + skipped <= MAX_SCANNED_BYTES {
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
                if length > MAX_EVENT_BYTES {
                    return Err(BodyError::EventTooLong(length));
                }
                self.length.clear();
                // An event shorter than its own frame is reported by the decoder.
                self.left = (length as usize).saturating_sub(4);
            }
        }
        Ok(())
    }
}
