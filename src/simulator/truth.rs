//! What the server really did with a request, on one monotonic clock: microseconds since its start.

/// One request, told when its last byte was handed to the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truth {
    /// As in `x-amzn-RequestId`.
    pub request_id: String,
    /// The request's last byte was read.
    pub received_us: u64,
    /// The first token was ready; nothing for a refusal.
    pub first_token_us: Option<u64>,
    /// The reply's last byte was handed to the connection.
    pub replied_us: u64,
    /// The HTTP status.
    pub status: u16,
}

impl Truth {
    /// The header of a CSV of these.
    pub const HEADER: &str = "request_id,received_us,first_token_us,replied_us,status";

    /// One line of it, without its end.
    pub fn csv(&self) -> String {
        let first = self.first_token_us.map_or_else(String::new, |us| us.to_string());
        format!("{},{},{first},{},{}", self.request_id, self.received_us, self.replied_us, self.status)
    }
}
