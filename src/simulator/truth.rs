//! The server's own record of each request, to compare measurements with. Times are on one monotonic clock:
//! microseconds since the start of the server.

/// The server's record of one request, sent when the last byte of the reply was handed to the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truth {
    /// The value of `x-amzn-RequestId`.
    pub request_id: String,
    /// Time at which the last byte of the request was read.
    pub received_us: u64,
    /// Time at which the first token was ready; `None` for a refusal.
    pub first_token_us: Option<u64>,
    /// Time at which the last byte of the reply was handed to the connection.
    pub replied_us: u64,
    /// HTTP status of the reply.
    pub status: u16,
    /// The tier that served the request; `None` for a refusal.
    pub tier: Option<String>,
    /// Prompt tokens read from the cache.
    pub cache_read_tokens: u32,
}

impl Truth {
    /// The CSV header.
    pub const HEADER: &str = "request_id,received_us,first_token_us,replied_us,status,service_tier,cache_read_tokens";

    /// Parses a line written by [`Self::csv`]; returns `None` for the header.
    pub fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(',');
        Some(Self {
            request_id: fields.next()?.to_owned(),
            received_us: fields.next()?.parse().ok()?,
            first_token_us: match fields.next()? {
                "" => None,
                text => Some(text.parse().ok()?),
            },
            replied_us: fields.next()?.parse().ok()?,
            status: fields.next()?.parse().ok()?,
            tier: fields.next().filter(|tier| !tier.is_empty()).map(str::to_owned),
            cache_read_tokens: fields.next()?.parse().ok()?,
        })
    }

    /// Returns the CSV line, without a line break.
    pub fn csv(&self) -> String {
        let first = self.first_token_us.map_or_else(String::new, |us| us.to_string());
        format!(
            "{},{},{first},{},{},{},{}",
            self.request_id,
            self.received_us,
            self.replied_us,
            self.status,
            self.tier.as_deref().unwrap_or_default(),
            self.cache_read_tokens
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Truth;

    #[test]
    fn csv_round_trips() {
        for first_token_us in [None, Some(7)] {
            let truth = Truth {
                request_id: "a-1".into(),
                received_us: 5,
                first_token_us,
                replied_us: 9,
                status: 200,
                tier: first_token_us.map(|_| "flex".into()),
                cache_read_tokens: 1_024,
            };
            assert_eq!(Truth::parse(&truth.csv()), Some(truth));
        }
        assert_eq!(Truth::parse(Truth::HEADER), None);
    }
}
