//! A token bucket: `rate` tokens per second, at most `burst`.

use std::time::Instant;

/// The bucket. It is full at the start.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    last: Instant,
}

impl Bucket {
    pub(super) fn new(rate: f64, burst: u32, now: Instant) -> Self {
        Self { rate, burst: f64::from(burst), tokens: f64::from(burst), last: now }
    }

    /// Takes a token. Returns false if the bucket is empty.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.last).as_secs_f64();
        self.last = now.max(self.last);
        self.tokens = (self.tokens + passed * self.rate).min(self.burst);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            true
        } else {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    proptest! {
        #[test]
        fn admitted_requests_never_exceed_burst_and_rate(gaps_ms in prop::collection::vec(0_u64..200, 1..300), rate in 1_u32..50, burst in 1_u32..20) {
            let start = Instant::now();
            let mut bucket = Bucket::new(f64::from(rate), burst, start);
            let mut now = start;
            let mut admitted = 0_u32;
            for gap in gaps_ms {
                now += Duration::from_millis(gap);
                admitted += u32::from(bucket.take(now));
            }
            let allowed = f64::from(burst) + f64::from(rate) * (now - start).as_secs_f64();
            prop_assert!(f64::from(admitted) <= allowed + 1e-6);
        }
    }
}
