//! Leases of the budget: amounts are reserved on the disk, in steps of about 1 % of each limit, before they are spent. A
//! separate thread syncs the next lease before the current one is used up, so that starts rarely wait and no thread of the
//! runtime waits for the disk.
//!
//! The budget is never exceeded, even if the process is killed. Let S be the amount that the run has actually spent, J the
//! amount in its journal, and C the ceiling in the last line on the disk.
//! 1. [`Leases::cover`] admits a request only if the amount spent plus the worst cases of all requests in flight and of the
//!    request itself is within C. Hence S <= C at any time, and C <= the limit.
//! 2. A session counts max(J, C) as spent before it starts. By 1 this is at least S, and it is a lower bound of every
//!    later C. Hence 1 holds in that session too, whichever records the journal lacks.
//! 3. The number of requests is bounded in every session. If C has no bound in a dimension (it had no limit), or prices
//!    have changed, the journal lacks at most C - J requests, and J plus their worst cases is at least S.
//! 4. A session that ends normally has nothing in flight and a synced journal: S is the gate's own count, which becomes C.

use crate::record::dir::DirError;
use crate::record::reservations::{Amount, Event, Reservation, Reservations};
use crate::units::Usd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::watch;

/// The usual size of a lease is the limit divided by this.
const LEASE_DIVISOR: u64 = 100;

/// The largest lease, while starts wait for the disk, is the limit divided by this.
const MAX_LEASE_DIVISOR: u64 = 10;

/// The largest lease as a multiple of the usual size.
const MAX_GROWTH: u64 = 8;

/// Minimum number of requests per lease if requests are not limited.
const MIN_LEASE_REQUESTS: u64 = 128;

/// Whether leases cover a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LeaseState {
    /// The leases on the disk cover the request.
    Covered,
    /// A lease that may cover the request is being written.
    Pending,
    /// Leases cannot be written.
    Lost,
}

/// The leases of one session.
#[derive(Debug)]
pub(super) struct Leases {
    state: Mutex<State>,
    limit: Amount,
    /// Worst case of a request of any cell.
    worst: Amount,
    prices: String,
    granted: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    /// Ceiling on the disk.
    ceiling: Amount,
    /// Upper bound of the next ceiling, as announced in the last line.
    next: Amount,
    growth: u64,
    has_waited: bool,
    is_pending: bool,
    /// `None` once the session has ended or a write has failed.
    requested: Option<Sender<Reservation>>,
}

/// The thread that writes leases.
pub(super) type Writer = JoinHandle<Result<Reservations, DirError>>;

impl Leases {
    /// Starts a session after earlier ones have spent `spent`. Returns the first line of the session, which must be on the
    /// disk before a request is sent, and the channel of the lines to write afterwards; see [`Self::grant`].
    pub(super) fn new(
        limit: Amount,
        worst: Amount,
        spent: Amount,
        prices: String,
    ) -> (Self, Reservation, Receiver<Reservation>) {
        let (sender, requested) = channel();
        let ceiling = ceiling_from(spent, limit);
        let state =
            State { ceiling, next: ceiling, growth: 1, has_waited: false, is_pending: false, requested: Some(sender) };
        let leases = Self { state: Mutex::new(state), limit, worst, prices, granted: watch::Sender::new(()) };
        let opened = leases.reservation(Event::Opened, ceiling);
        leases.with(|state| state.next = opened.next_up_to);
        (leases, opened, requested)
    }

    /// Starts a session like [`Self::new`], with the file and the thread that writes it.
    ///
    /// # Errors
    /// Fails if the first line cannot be written.
    pub(super) fn start(
        mut file: Reservations,
        limit: Amount,
        worst: Amount,
        spent: Amount,
        prices: String,
    ) -> Result<(Arc<Self>, Writer), DirError> {
        let (leases, opened, requested) = Self::new(limit, worst, spent, prices);
        file.append(&opened)?;
        let leases = Arc::new(leases);
        let granting = Arc::clone(&leases);
        let write = move || {
            let granting = RevokeOnDrop(granting);
            for reservation in requested {
                file.append(&reservation)?;
                granting.0.grant(&reservation);
            }
            Ok(file)
        };
        let thread = std::thread::Builder::new().name("reservations".into()).spawn(write);
        Ok((leases, thread.unwrap_or_else(|error| panic!("cannot start the reservations thread: {error}"))))
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn reservation(&self, event: Event, up_to: Amount) -> Reservation {
        let next_up_to = (up_to + self.usual_size(up_to, self.worst).times(2 * MAX_GROWTH)).min(self.limit).max(up_to);
        Reservation { event, up_to, next_up_to, prices: self.prices.clone() }
    }

    /// Returns the usual size of a lease: 1 % of each limit, at least the worst case of one request, never zero.
    fn usual_size(&self, ceiling: Amount, worst: Amount) -> Amount {
        let smallest = Amount { cost: Usd::from_picodollars(1), requests: 1, output_tokens: 1 };
        let limited = self.limit.part(LEASE_DIVISOR).max(worst).max(smallest);
        let unlimited = MIN_LEASE_REQUESTS.max(ceiling.requests / LEASE_DIVISOR);
        Amount { requests: if self.limit.requests == u64::MAX { unlimited } else { limited.requests }, ..limited }
    }

    /// Returns whether the ceiling on the disk covers `needed` (spent, in flight and one further request with the worst case
    /// `worst`), which must be within the limit. Requests the next lease if less than half of one is left.
    pub(super) fn cover(&self, needed: Amount, worst: Amount) -> LeaseState {
        self.with(|state| {
            let is_covered = needed.is_within(state.ceiling);
            let Some(requested) = &state.requested else {
                return if is_covered { LeaseState::Covered } else { LeaseState::Lost };
            };
            state.has_waited |= !is_covered;
            let usual = self.usual_size(state.ceiling, worst);
            let size = usual.times(state.growth).min(self.limit.part(MAX_LEASE_DIVISOR).max(usual));
            let half = size.minus(size.part(2));
            if !state.is_pending && !(needed + half).min(self.limit).is_within(state.ceiling) {
                let up_to = (needed + size).min(self.limit).min(state.next).max(state.ceiling);
                if up_to != state.ceiling {
                    let growth = if state.has_waited { state.growth * 2 } else { state.growth / 2 };
                    (state.growth, state.has_waited) = (growth.clamp(1, MAX_GROWTH), false);
                    state.is_pending = true;
                    // If the writer has ended, it revokes the leases.
                    let _ = requested.send(self.reservation(Event::Reserved, up_to));
                }
            }
            if is_covered { LeaseState::Covered } else { LeaseState::Pending }
        })
    }

    /// Applies a line that is on the disk.
    pub(super) fn grant(&self, reservation: &Reservation) {
        self.with(|state| {
            (state.ceiling, state.next) = (reservation.up_to, reservation.next_up_to);
            state.is_pending = false;
        });
        let _ = self.granted.send(());
    }

    /// Grants no further lease: the writer has ended.
    pub(super) fn revoke(&self) {
        self.with(|state| (state.requested, state.is_pending) = (None, false));
        let _ = self.granted.send(());
    }

    /// Waits until no lease is being written.
    pub(super) async fn wait_for_grant(&self) {
        let mut granted = self.granted.subscribe();
        // The subscription precedes the check, so that a lease granted in between is not missed.
        if self.with(|state| state.is_pending) {
            let _ = granted.changed().await;
        }
    }

    /// Ends the session and grants no further lease. Returns the line that releases the rest; `spent` is the amount that the
    /// whole run has spent.
    pub(super) fn close(&self, spent: Amount) -> Reservation {
        self.with(|state| {
            state.requested = None;
            self.reservation(Event::Returned, ceiling_from(spent, self.limit))
        })
    }
}

/// Revokes the leases when the writer ends, also after an error or a panic, so that nothing waits for it.
struct RevokeOnDrop(Arc<Leases>);

impl Drop for RevokeOnDrop {
    fn drop(&mut self) {
        self.0.revoke();
    }
}

/// Returns an amount as a ceiling: cost and output tokens are unbounded if they have no limit.
fn ceiling_from(amount: Amount, limit: Amount) -> Amount {
    let none = Amount::UNBOUNDED;
    Amount {
        cost: if limit.cost == none.cost { none.cost } else { amount.cost },
        output_tokens: if limit.output_tokens == none.output_tokens {
            none.output_tokens
        } else {
            amount.output_tokens
        },
        requests: amount.requests,
    }
}
