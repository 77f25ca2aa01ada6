//! Resource use of a process: CPU time and peak memory from `/proc`; not available on other systems.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A process that has exited successfully.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finished {
    /// User and system time of all threads, seconds.
    pub(crate) cpu_s: Option<f64>,
    /// Maximum resident memory, bytes.
    pub(crate) peak: Option<u64>,
    /// Duration from start to end.
    pub(crate) took: Duration,
}

impl Finished {
    /// Combines concurrent processes: the total resource use, and the duration until the last one ended.
    pub(crate) fn together(all: &[Self]) -> Self {
        Self {
            cpu_s: all.iter().map(|one| one.cpu_s).sum(),
            peak: all.iter().map(|one| one.peak).sum(),
            took: all.iter().map(|one| one.took).max().unwrap_or_default(),
        }
    }
}

/// Runs a command to its end.
pub(crate) fn finish(mut command: Command) -> Finished {
    let started = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
    let proc = format!("/proc/{}", child.id());
    let (mut cpu_s, mut peak) = (None, None);
    // A process that has ended stays readable until it is waited for.
    loop {
        let stat = std::fs::read_to_string(format!("{proc}/stat")).ok();
        let fields: Vec<&str> = stat
            .as_deref()
            .and_then(|stat| stat.rsplit_once(") "))
            .map_or_else(Vec::new, |(_, rest)| rest.split(' ').collect());
        if fields.len() > 12 {
            // The kernel counts in hundredths of a second.
            let ticks = |index: usize| fields[index].parse::<f64>().unwrap_or(0.0);
            cpu_s = Some((ticks(11) + ticks(12)) / 100.0);
        }
        if fields.first().is_none_or(|state| *state == "Z") {
            break;
        }
        let status = std::fs::read_to_string(format!("{proc}/status")).unwrap_or_default();
        let most =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")).and_then(|rest| rest.split_whitespace().next());
        peak = most.and_then(|kb| kb.parse::<u64>().ok()).map(|kb| kb << 10).or(peak);
        std::thread::sleep(Duration::from_millis(20));
    }
    let status = child.wait().expect("the program ends");
    assert!(status.success(), "{command:?} failed: {status}");
    Finished { cpu_s, peak, took: started.elapsed() }
}
