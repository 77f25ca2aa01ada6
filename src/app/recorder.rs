//! The only thread that writes files during a run: records to the journal, and ended cell runs to the manifest.
//! Requests wait for it only while its queue is full.

use super::outcome::CellEnd;
use crate::error::Error;
use crate::executor::Backlog;
use crate::executor::port::{Event, Stop};
use crate::record::dir::{self, DirError, JOURNAL, RunDir};
use crate::record::journal::{Journal, identities};
use crate::record::manifest::Manifest;
use crate::stats::live::LiveStats;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest time that records wait before they are written to the journal, so that many are written at once.
const WRITE_INTERVAL: Duration = Duration::from_millis(25);
/// Interval between checks that the journal is still in its directory.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// A recorder that writes nothing for this long although events are queued is reported.
const REPORTED_DELAY: Duration = Duration::from_secs(1);
/// A recorder with this many queued bytes is reported too.
const REPORTED_BACKLOG: usize = 8 << 20;
/// Time that the disk has for the queued events after the second request to stop.
const ABANDON_TIMEOUT: Duration = Duration::from_secs(2);

type RecorderOutput = (Manifest, Vec<CellEnd>);

/// Handle of the recorder: accepts events and returns the finished manifest.
pub(super) struct Recorder {
    events: Sender<Event>,
    backlog: Arc<Backlog>,
    dir: PathBuf,
    thread: JoinHandle<Result<RecorderOutput, DirError>>,
}

impl Recorder {
    /// Starts the thread. If the thread ends early for any reason, the run is stopped, because further records would be
    /// lost.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub(super) fn start(
        dir: RunDir,
        manifest: Manifest,
        live: Arc<Mutex<LiveStats>>,
        stop: Stop,
        backlog: Arc<Backlog>,
    ) -> Result<Self, Error> {
        let (events, received) = channel();
        let (path, counted) = (dir.path.clone(), Arc::clone(&backlog));
        let thread = std::thread::Builder::new()
            .name("recorder".into())
            .spawn(move || {
                let mut guard = StopGuard(Some(stop.clone()));
                let ends = vec![CellEnd::default(); manifest.cells.len()];
                let journal = Journal::new(dir.journal, identities(&manifest));
                let checked = Instant::now();
                let writer = Writer { dir: dir.path, journal, manifest, live, ends, stop, backlog: counted, checked };
                let result = writer.run(&received);
                if result.is_ok() {
                    guard.0 = None;
                }
                result
            })
            .map_err(Error::Internal)?;
        Ok(Self { events, backlog, dir: path, thread })
    }

    /// Returns a function that queues an event. It never blocks: while the queue is full, the start of requests is
    /// delayed instead.
    pub(super) fn sink(&self) -> impl Fn(Event) + Send + Sync + use<> {
        let (events, backlog) = (self.events.clone(), Arc::clone(&self.backlog));
        move |event| {
            backlog.add(event.bytes());
            // The receiver is gone only if the recorder itself stopped the run.
            let _ = events.send(event);
        }
    }

    /// Waits until everything is on disk. All other senders must have been dropped. After the second request to stop, a
    /// slow disk is waited for only a short time longer.
    ///
    /// # Errors
    /// If the recorder failed or panicked, or if queued records were abandoned.
    pub(super) fn finish(self, stop: &Stop) -> Result<RecorderOutput, Error> {
        drop(self.events);
        let mut abandoned = None;
        while !self.thread.is_finished() {
            if stop.abandon.is_cancelled() && abandoned.get_or_insert_with(Instant::now).elapsed() > ABANDON_TIMEOUT {
                return Err(Error::RecordsLost { dir: self.dir, bytes: self.backlog.bytes() });
            }
            std::thread::sleep(WRITE_INTERVAL / 5);
        }
        match self.thread.join() {
            Ok(result) => result.map_err(Error::from),
            // The panic message has been printed to stderr.
            Err(_) => Err(Error::Internal(std::io::Error::other("the recorder panicked"))),
        }
    }
}

/// A guard that stops the run when it is dropped, also by a panic.
struct StopGuard(Option<Stop>);

impl Drop for StopGuard {
    fn drop(&mut self) {
        if let Some(stop) = &self.0 {
            stop.drain.cancel();
            stop.abandon.cancel();
        }
    }
}

/// Reports once when the recorder falls behind, and again when it has caught up.
pub(super) async fn watch(backlog: Arc<Backlog>, report: impl Fn(&str)) {
    let (mut taken, mut since) = (0, Instant::now());
    let (mut is_behind, mut is_full) = (false, false);
    loop {
        tokio::time::sleep(REPORTED_DELAY / 5).await;
        let (now, bytes) = (backlog.written(), backlog.bytes());
        if now != taken || bytes == 0 {
            (taken, since) = (now, Instant::now());
        }
        let mib = bytes as f64 / f64::from(1 << 20);
        if !is_behind && (since.elapsed() >= REPORTED_DELAY || bytes >= REPORTED_BACKLOG) {
            is_behind = true;
            report(&format!("the disk is slow: {mib:.1} MiB of records wait to be written, and a crash loses them"));
        }
        if !is_full && backlog.is_full() {
            is_full = true;
            report(&format!(
                "the disk is too slow: {mib:.0} MiB of records wait, so that requests start late and the cell is INVALID"
            ));
        }
        if is_behind && bytes == 0 {
            (is_behind, is_full) = (false, false);
            report("the disk has caught up: all records are written");
        }
    }
}

struct Writer {
    dir: PathBuf,
    journal: Journal,
    manifest: Manifest,
    live: Arc<Mutex<LiveStats>>,
    /// How the cells ended, for the exit code.
    ends: Vec<CellEnd>,
    stop: Stop,
    backlog: Arc<Backlog>,
    /// Time of the last check that the journal is in its directory.
    checked: Instant,
}

impl Writer {
    fn run(mut self, events: &Receiver<Event>) -> Result<RecorderOutput, DirError> {
        loop {
            self.check()?;
            match events.try_recv() {
                Ok(event) => self.handle(event)?,
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => {
                    self.journal.flush().map_err(|source| self.journal_error(source))?;
                    // Do not use `recv` here: waking up for every record costs more CPU time than writing it. Once a
                    // stop has been requested, a kill may follow at any moment, so each record is then written at once.
                    if self.stop.drain.is_cancelled() {
                        match events.recv_timeout(WRITE_INTERVAL) {
                            Ok(event) => self.handle(event)?,
                            Err(RecvTimeoutError::Timeout) => {}
                            Err(RecvTimeoutError::Disconnected) => break,
                        }
                    } else {
                        std::thread::sleep(WRITE_INTERVAL);
                    }
                }
            }
        }
        self.journal.sync().map_err(|source| self.journal_error(source))?;
        Ok((self.manifest, self.ends))
    }

    /// Checks once per second that the journal is still in its directory, because writes to a removed file succeed.
    ///
    /// # Errors
    /// [`DirError::Removed`] if the journal was removed or replaced.
    fn check(&mut self) -> Result<(), DirError> {
        if self.checked.elapsed() < CHECK_INTERVAL {
            return Ok(());
        }
        self.checked = Instant::now();
        let path = self.dir.join(JOURNAL);
        match self.journal.is_at(&path) {
            Ok(true) => Ok(()),
            Ok(false) => Err(DirError::Removed { path }),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Err(DirError::Removed { path }),
            Err(source) => Err(DirError::Io { path, source }),
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), DirError> {
        let bytes = event.bytes();
        match event {
            Event::Ended { cell, record } => {
                let planned = &self.manifest.cells[cell].cell;
                self.live.lock().unwrap_or_else(PoisonError::into_inner).add(planned, &record);
                if record.phase.is_load() {
                    self.ends[cell].add(&record);
                }
                self.journal.append(cell, &record).map_err(|source| self.journal_error(source))?;
            }
            Event::Probed { probe, record } => {
                let owner = self.manifest.cells.len() + probe;
                self.journal.append(owner, &record).map_err(|source| self.journal_error(source))?;
            }
            Event::PreflightEnded(checked) => {
                self.manifest.preflight = checked;
                self.journal.sync().map_err(|source| self.journal_error(source))?;
                dir::write_manifest(&self.dir, &self.manifest)?;
            }
            Event::SimulatorFound(name) => {
                self.manifest.simulator = Some(name);
                dir::write_manifest(&self.dir, &self.manifest)?;
            }
            Event::CellRunEnded(report) => {
                self.journal.sync().map_err(|source| self.journal_error(source))?;
                self.live.lock().unwrap_or_else(PoisonError::into_inner).end(&report);
                self.manifest.planned_runs.push(*report);
                dir::write_manifest(&self.dir, &self.manifest)?;
            }
            Event::CellRunStarted { place, run: planned_run } => {
                // Write this before the first record of the attempt. From now on, records of earlier attempts do not
                // count.
                if self.manifest.order[place] != planned_run {
                    self.manifest.order[place] = planned_run;
                    dir::write_manifest(&self.dir, &self.manifest)?;
                }
                self.live.lock().unwrap_or_else(PoisonError::into_inner).begin(place, planned_run.cell);
            }
            Event::Second(second) => {
                self.live.lock().unwrap_or_else(PoisonError::into_inner).second(second);
            }
        }
        self.backlog.remove(bytes);
        Ok(())
    }

    fn journal_error(&self, source: std::io::Error) -> DirError {
        DirError::Io { path: self.dir.join(JOURNAL), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prices::Prices;
    use crate::record::acquire;
    use crate::record::manifest::Manifest;

    fn started(stop: &Stop) -> (tempfile::TempDir, Recorder) {
        let dir = tempfile::tempdir().unwrap();
        let taken = acquire::take(dir.path(), false).unwrap();
        (dir, started_in(taken, stop, Arc::default()))
    }

    fn started_in(taken: RunDir, stop: &Stop, backlog: Arc<Backlog>) -> Recorder {
        let live = Arc::new(Mutex::new(LiveStats::new(Prices::from_rows(&[]))));
        let manifest: Manifest = crate::report::tests::manifest();
        Recorder::start(taken, manifest, live, stop.clone(), backlog).unwrap()
    }

    #[tokio::test]
    async fn recorder_panic_stops_the_run() {
        let stop = Stop::default();
        let (_dir, recorder) = started(&stop);
        // This cell does not exist.
        let record = Box::new(crate::record::request::tests::record());
        recorder.sink()(Event::Ended { cell: usize::MAX, record });
        stop.drain.cancelled().await;
        stop.abandon.cancelled().await;
        let error = recorder.finish(&stop).map(drop).unwrap_err();
        assert_eq!((error.exit_code(), error.to_string().as_str()), (1, "internal error: the recorder panicked"));
    }

    /// Replaces the journal by a pipe that is held open but not read, to simulate a disk that hangs.
    #[cfg(unix)]
    fn pipe_for(dir: &std::path::Path) -> (RunDir, std::fs::File) {
        use std::fs::{File, remove_file};
        let mut taken = acquire::take(dir, false).unwrap();
        let path = dir.join(JOURNAL);
        remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let reader = File::options().read(true).write(true).open(&path).unwrap();
        taken.journal = File::options().write(true).open(&path).unwrap();
        (taken, reader)
    }

    /// Waits for a line that contains a text.
    #[cfg(unix)]
    fn wait_for_line(lines: &Receiver<String>, text: &str) -> String {
        let line = lines.iter().find(|line| line.contains(text));
        line.unwrap_or_else(|| panic!("no line contains {text:?}"))
    }

    #[cfg(unix)]
    #[tokio::test(flavor = "multi_thread")]
    async fn reports_a_hanging_disk_and_stops_waiting_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let (taken, _reader) = pipe_for(dir.path());
        let stop = Stop::default();
        let backlog = Arc::new(Backlog::with_limit(2 << 20));
        let recorder = started_in(taken, &stop, Arc::clone(&backlog));
        let (lines, received_lines) = channel();
        let watching = tokio::spawn(watch(Arc::clone(&backlog), move |line| drop(lines.send(line.to_owned()))));
        let sink = recorder.sink();
        let record = crate::record::request::tests::record();
        let event = || Event::Ended { cell: 0, record: Box::new(record.clone()) };
        // The pipe and the writer's buffer take less than a third of these bytes.
        (0..(3 << 20) / event().bytes()).for_each(|_| sink(event()));
        let (report, received_lines) = tokio::task::spawn_blocking(move || {
            (wait_for_line(&received_lines, "the disk is too slow"), received_lines)
        })
        .await
        .unwrap();
        assert!(report.contains(" MiB of records wait") && report.contains("the cell is INVALID"), "{report}");
        drop((sink, received_lines));
        // Same effect as a second Ctrl-C.
        stop.abandon.cancel();
        let finished = tokio::task::spawn_blocking(move || recorder.finish(&stop).map(drop)).await.unwrap();
        let error = finished.unwrap_err();
        assert_eq!(error.exit_code(), 130);
        assert!(error.to_string().starts_with("interrupted before the disk accepted the last 2."), "{error}");
        watching.abort();
    }

    #[cfg(unix)]
    #[tokio::test(flavor = "multi_thread")]
    async fn reports_when_the_disk_has_caught_up() {
        use std::io::Read;
        let dir = tempfile::tempdir().unwrap();
        let (taken, mut reader) = pipe_for(dir.path());
        let stop = Stop::default();
        let backlog = Arc::default();
        let recorder = started_in(taken, &stop, Arc::clone(&backlog));
        let (lines, received_lines) = channel();
        let watching = tokio::spawn(watch(Arc::clone(&backlog), move |line| drop(lines.send(line.to_owned()))));
        let sink = recorder.sink();
        let record = crate::record::request::tests::record();
        (0..2_000).for_each(|_| sink(Event::Ended { cell: 0, record: Box::new(record.clone()) }));
        let received_lines = tokio::task::spawn_blocking(move || {
            wait_for_line(&received_lines, "the disk is slow");
            received_lines
        });
        let received_lines = received_lines.await.unwrap();
        std::thread::spawn(move || while reader.read(&mut [0; 4_096]).is_ok_and(|length| length > 0) {});
        tokio::task::spawn_blocking(move || wait_for_line(&received_lines, "the disk has caught up")).await.unwrap();
        assert_eq!(backlog.bytes(), 0);
        watching.abort();
    }

    #[test]
    fn replaced_journal_stops_the_run() {
        let stop = Stop::default();
        let (dir, recorder) = started(&stop);
        let journal = dir.path().join(JOURNAL);
        std::fs::rename(&journal, dir.path().join("elsewhere")).unwrap();
        std::fs::write(&journal, "").unwrap();
        let sink = recorder.sink();
        while !stop.abandon.is_cancelled() {
            std::thread::yield_now();
        }
        drop(sink);
        let error = recorder.finish(&stop).map(drop).unwrap_err();
        assert!(error.to_string().contains("it was removed or replaced during the run"), "{error}");
    }

    #[test]
    fn written_records_leave_the_backlog() {
        let stop = Stop::default();
        let (_dir, recorder) = started(&stop);
        let backlog = Arc::clone(&recorder.backlog);
        let record = crate::record::request::tests::record();
        let sink = recorder.sink();
        (0..10).for_each(|_| sink(Event::Ended { cell: 0, record: Box::new(record.clone()) }));
        drop(sink);
        recorder.finish(&stop).unwrap();
        assert_eq!((backlog.bytes(), backlog.written()), (0, 10));
        assert!(!stop.drain.is_cancelled() && !stop.abandon.is_cancelled(), "an end in time stops nothing");
    }
}
