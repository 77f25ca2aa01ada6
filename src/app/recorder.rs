//! The one thread that writes while a run goes on: records to the journal, ended cells to the
//! manifest. No request waits for it.

use super::outcome::CellEnd;
use crate::error::Error;
use crate::executor::port::{Event, Stop};
use crate::record::dir::{self, DirError, JOURNAL, RunDir};
use crate::record::journal::{Journal, identities};
use crate::record::manifest::Manifest;
use crate::stats::live::Live;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long records may wait for the journal, so that many are written at once.
const PAUSE: Duration = Duration::from_millis(25);

/// The recorder's handle: events go in, the finished manifest comes out.
pub(super) struct Recorder {
    events: Sender<Event>,
    thread: JoinHandle<Result<(Manifest, Vec<CellEnd>), DirError>>,
}

impl Recorder {
    /// Starts the thread. A disk that refuses stops the run, since what is not recorded is lost.
    pub(super) fn start(dir: RunDir, manifest: Manifest, live: Arc<Mutex<Live>>, stop: Stop) -> Result<Self, Error> {
        let (events, received) = channel();
        let thread = std::thread::Builder::new()
            .name("recorder".into())
            .spawn(move || {
                let ends = vec![CellEnd::default(); manifest.cells.len()];
                let journal = Journal::new(dir.journal, identities(&manifest));
                let writer = Writer { dir: dir.path, journal, manifest, live, ends, stop: stop.clone() };
                let result = writer.run(&received);
                if result.is_err() {
                    stop.starting.cancel();
                    stop.waiting.cancel();
                }
                result
            })
            .map_err(Error::Internal)?;
        Ok(Self { events, thread })
    }

    /// Where events go. It never blocks.
    pub(super) fn sender(&self) -> Sender<Event> {
        self.events.clone()
    }

    /// Waits until everything is on the disk; all other senders must be gone.
    pub(super) fn finish(self) -> Result<(Manifest, Vec<CellEnd>), Error> {
        drop(self.events);
        match self.thread.join() {
            Ok(result) => result.map_err(Error::from),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

struct Writer {
    dir: PathBuf,
    journal: Journal,
    manifest: Manifest,
    live: Arc<Mutex<Live>>,
    /// How the cells ended, for the exit code.
    ends: Vec<CellEnd>,
    stop: Stop,
}

impl Writer {
    fn run(mut self, events: &Receiver<Event>) -> Result<(Manifest, Vec<CellEnd>), DirError> {
        loop {
            match events.try_recv() {
                Ok(event) => self.take(event)?,
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => {
                    self.journal.flush().map_err(|source| self.lost(source))?;
                    // Not `recv`: to be woken by every record costs more CPU than to write it. But once somebody wants
                    // to stop, a kill may follow at any moment.
                    if self.stop.starting.is_cancelled() {
                        match events.recv_timeout(PAUSE) {
                            Ok(event) => self.take(event)?,
                            Err(RecvTimeoutError::Timeout) => {}
                            Err(RecvTimeoutError::Disconnected) => break,
                        }
                    } else {
                        std::thread::sleep(PAUSE);
                    }
                }
            }
        }
        self.journal.sync().map_err(|source| self.lost(source))?;
        Ok((self.manifest, self.ends))
    }

    fn take(&mut self, event: Event) -> Result<(), DirError> {
        match event {
            Event::Ended { cell, record } => {
                let of = &self.manifest.cells[cell].cell;
                self.live.lock().unwrap_or_else(PoisonError::into_inner).add(of, &record);
                if record.phase.is_load() {
                    self.ends[cell].add(&record);
                }
                self.journal.append(cell, &record).map_err(|source| self.lost(source))?;
            }
            Event::Probed { probe, record } => {
                let whose = self.manifest.cells.len() + probe;
                self.journal.append(whose, &record).map_err(|source| self.lost(source))?;
            }
            Event::PreflightEnded(checked) => {
                self.manifest.preflight = checked;
                self.journal.sync().map_err(|source| self.lost(source))?;
                dir::write_manifest(&self.dir, &self.manifest)?;
            }
            Event::TurnEnded(report) => {
                self.journal.sync().map_err(|source| self.lost(source))?;
                self.live.lock().unwrap_or_else(PoisonError::into_inner).end(&report);
                self.manifest.turns.push(*report);
                dir::write_manifest(&self.dir, &self.manifest)?;
            }
            Event::TurnStarted { place, turn } => {
                // Before its first record: from now on the records of earlier attempts do not count.
                if self.manifest.order[place] != turn {
                    self.manifest.order[place] = turn;
                    dir::write_manifest(&self.dir, &self.manifest)?;
                }
                self.live.lock().unwrap_or_else(PoisonError::into_inner).begin(place, turn.cell);
            }
            Event::Second(second) => {
                self.live.lock().unwrap_or_else(PoisonError::into_inner).second(second);
            }
        }
        Ok(())
    }

    fn lost(&self, source: std::io::Error) -> DirError {
        DirError::Io { path: self.dir.join(JOURNAL), source }
    }
}
