//! Leases of the budget: what may be spent is reserved on the disk, in steps of about 1 % of each limit, before it is
//! spent. A thread of its own syncs the next lease before the current one is used up, so that starts rarely wait and no
//! thread of the runtime waits for the disk.
//!
//! The budget is never exceeded, whenever the process is killed. Let S be what the run has really spent since its
//! start, J what its journal shows, and C the ceiling in the last line on the disk.
//! 1. [`Leases::cover`] admits a request only if everything that is spent, everything in flight at its worst, and the
//!    request at its worst are within C. Hence S <= C at every moment, and C <= the limit.
//! 2. A session counts max(J, C) as spent before it starts. By 1 this is at least S, and it stays a lower bound of
//!    every later C. Hence 1 holds in that session, too, whatever the journal lacks.
//! 3. Requests are bounded in every session. If C has no bound of a dimension (it had no limit then), or prices have
//!    changed, the journal lacks at most C - J requests, and J plus that many requests at their worst is at least S.
//! 4. A session that ends in order has nothing in flight and a synced journal: S = what the gate counts, which
//!    becomes C.

use crate::record::dir::DirError;
use crate::record::reservations::{Amount, Event, Reservation, Reservations};
use crate::units::Usd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::watch;

/// A lease is this part of the limit.
const LEASES: u64 = 100;

/// A lease grows to at most this part of the limit while starts have to wait for the disk.
const LARGEST: u64 = 10;

/// A lease grows to at most so many times its usual size.
const MAX_GROWTH: u64 = 8;

/// The fewest requests in a lease if requests are not limited.
const UNLIMITED_REQUESTS: u64 = 128;

/// Whether a request may be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cover {
    /// It is within the leases on the disk.
    Covered,
    /// A lease is being written.
    Pending,
    /// Leases cannot be written.
    Lost,
}

/// The leases of one session.
#[derive(Debug)]
pub(super) struct Leases {
    state: Mutex<State>,
    limit: Amount,
    /// The worst case of a request of any cell.
    worst: Amount,
    prices: String,
    granted: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    /// On the disk.
    ceiling: Amount,
    /// What the last line promises not to exceed.
    next: Amount,
    growth: u64,
    has_waited: bool,
    is_pending: bool,
    /// Gone once the session ends or the disk has refused.
    wishes: Option<Sender<Reservation>>,
}

/// The thread that writes leases.
pub(super) type Writer = JoinHandle<Result<Reservations, DirError>>;

impl Leases {
    /// Starts a session with `spent` by earlier ones. Returns the first line of the session, which must be on the disk
    /// before a request is sent, and the lines that must be written from then on; see [`Self::grant`].
    pub(super) fn new(
        limit: Amount,
        worst: Amount,
        spent: Amount,
        prices: String,
    ) -> (Self, Reservation, Receiver<Reservation>) {
        let (sender, wishes) = channel();
        let ceiling = bounded(spent, limit);
        let state =
            State { ceiling, next: ceiling, growth: 1, has_waited: false, is_pending: false, wishes: Some(sender) };
        let leases = Self { state: Mutex::new(state), limit, worst, prices, granted: watch::Sender::new(()) };
        let opened = leases.line(Event::Opened, ceiling);
        leases.with(|state| state.next = opened.next_up_to);
        (leases, opened, wishes)
    }

    /// As [`Self::new`], with the file and the thread that writes it.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn start(
        mut file: Reservations,
        limit: Amount,
        worst: Amount,
        spent: Amount,
        prices: String,
    ) -> Result<(Arc<Self>, Writer), DirError> {
        let (leases, opened, wishes) = Self::new(limit, worst, spent, prices);
        file.append(&opened)?;
        let leases = Arc::new(leases);
        let granting = Arc::clone(&leases);
        let write = move || {
            let granting = LosesOnDrop(granting);
            for reservation in wishes {
                file.append(&reservation)?;
                granting.0.grant(&reservation);
            }
            Ok(file)
        };
        let thread = std::thread::Builder::new().name("reservations".into()).spawn(write);
        Ok((leases, thread.unwrap_or_else(|error| panic!("no thread for reservations: {error}"))))
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn line(&self, event: Event, up_to: Amount) -> Reservation {
        let next_up_to = (up_to + self.step(up_to, self.worst).times(2 * MAX_GROWTH)).min(self.limit).max(up_to);
        Reservation { event, up_to, next_up_to, prices: self.prices.clone() }
    }

    /// Returns the usual size of a lease: 1 % of each limit, and at least one request at its worst. Never zero.
    fn step(&self, ceiling: Amount, worst: Amount) -> Amount {
        let smallest = Amount { cost: Usd::from_picodollars(1), requests: 1, output_tokens: 1 };
        let limited = self.limit.part(LEASES).max(worst).max(smallest);
        let unlimited = UNLIMITED_REQUESTS.max(ceiling.requests / LEASES);
        Amount { requests: if self.limit.requests == u64::MAX { unlimited } else { limited.requests }, ..limited }
    }

    /// Returns whether `needed`, which is within the limit, is on the disk: all that is spent and in flight, and one
    /// more request, whose worst case is `worst`. Requests the next lease if less than half of one is left.
    pub(super) fn cover(&self, needed: Amount, worst: Amount) -> Cover {
        self.with(|state| {
            let is_covered = needed.is_within(state.ceiling);
            let Some(wishes) = &state.wishes else {
                return if is_covered { Cover::Covered } else { Cover::Lost };
            };
            state.has_waited |= !is_covered;
            let usual = self.step(state.ceiling, worst);
            let size = usual.times(state.growth).min(self.limit.part(LARGEST).max(usual));
            let half = size.minus(size.part(2));
            if !state.is_pending && !(needed + half).min(self.limit).is_within(state.ceiling) {
                let up_to = (needed + size).min(self.limit).min(state.next).max(state.ceiling);
                if up_to != state.ceiling {
                    let growth = if state.has_waited { state.growth * 2 } else { state.growth / 2 };
                    (state.growth, state.has_waited) = (growth.clamp(1, MAX_GROWTH), false);
                    state.is_pending = true;
                    // The writer that is gone has set, or is about to set, that nothing more is granted.
                    let _ = wishes.send(self.line(Event::Reserved, up_to));
                }
            }
            if is_covered { Cover::Covered } else { Cover::Pending }
        })
    }

    /// Takes a line that is on the disk.
    pub(super) fn grant(&self, reservation: &Reservation) {
        self.with(|state| {
            (state.ceiling, state.next) = (reservation.up_to, reservation.next_up_to);
            state.is_pending = false;
        });
        let _ = self.granted.send(());
    }

    /// The writer has ended: nothing more is granted.
    pub(super) fn lose(&self) {
        self.with(|state| (state.wishes, state.is_pending) = (None, false));
        let _ = self.granted.send(());
    }

    /// Waits until no lease is being written.
    pub(super) async fn wait(&self) {
        let mut granted = self.granted.subscribe();
        // Subscribed before the look: a lease that is granted in between is seen.
        if self.with(|state| state.is_pending) {
            let _ = granted.changed().await;
        }
    }

    /// Ends the session: nothing more is granted. Returns the line that gives back what is left, `spent` being all
    /// that the run has spent.
    pub(super) fn close(&self, spent: Amount) -> Reservation {
        self.with(|state| {
            state.wishes = None;
            self.line(Event::Returned, bounded(spent, self.limit))
        })
    }
}

/// Ends the leases when the writer ends, by an error or a panic too: nobody waits for it any more.
struct LosesOnDrop(Arc<Leases>);

impl Drop for LosesOnDrop {
    fn drop(&mut self) {
        self.0.lose();
    }
}

/// Returns an amount as a ceiling: cost and output tokens have no bound where they have no limit.
fn bounded(amount: Amount, limit: Amount) -> Amount {
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
