//! The limit of the recorder's queue, in bytes. While it is full, no request starts, so that a slow disk cannot fill the
//! memory with records that a kill would lose. Independent of what is queued.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// Size at which the queue is full, in bytes: about 100,000 records.
const LIMIT: usize = 64 << 20;

/// The number of bytes queued for the recorder.
#[derive(Debug)]
pub(crate) struct Backlog {
    limit: usize,
    bytes: AtomicUsize,
    written: AtomicU64,
    room: Notify,
}

impl Default for Backlog {
    fn default() -> Self {
        Self::with_limit(LIMIT)
    }
}

impl Backlog {
    /// Creates a queue that is full at `limit` bytes. Entries added while it is full are accepted: requests in flight end.
    pub(crate) fn with_limit(limit: usize) -> Self {
        Self { limit, bytes: AtomicUsize::new(0), written: AtomicU64::new(0), room: Notify::new() }
    }

    /// Adds an entry of this size.
    pub(crate) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Removes an entry of this size after it was written.
    pub(crate) fn remove(&self, bytes: usize) {
        self.written.fetch_add(1, Ordering::Relaxed);
        let before = self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if before >= self.limit && before - bytes < self.limit {
            self.room.notify_waiters();
        }
    }

    /// Returns the number of queued bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns the number of entries written.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Returns whether starts must wait.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes() >= self.limit
    }

    /// Waits until the queue is not full.
    pub(crate) async fn wait_for_room(&self) {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            // Enabled before the check, so that a notification between the two is not missed.
            room.as_mut().enable();
            if !self.is_full() {
                return;
            }
            room.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn starts_wait_until_the_queue_is_below_its_limit() {
        let backlog = Arc::new(Backlog::with_limit(10));
        backlog.wait_for_room().await;
        (0..3).for_each(|_| backlog.add(5));
        assert!(backlog.is_full());
        let waiting = tokio::spawn({
            let backlog = Arc::clone(&backlog);
            async move { backlog.wait_for_room().await }
        });
        tokio::task::yield_now().await;
        backlog.remove(5);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "10 of 10 bytes are queued");
        backlog.remove(5);
        waiting.await.unwrap();
        assert_eq!((backlog.bytes(), backlog.written()), (5, 2));
    }
}
