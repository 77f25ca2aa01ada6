//! `reservations.jsonl`: an upper bound of what a run has spent of its budget, on disk before it is spent. The journal
//! contains requests that have ended; after a kill or a power cut this file bounds those that it lacks.
//!
//! Every line contains a ceiling of everything the run has spent since its start, and the last line counts. A line is
//! synced before a request is sent that needs it, so at most the last line can be torn by a crash.

use super::dir::{DirError, RESERVATIONS};
use crate::files::Directory;
use crate::units::Usd;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Add;
use std::path::{Path, PathBuf};

/// No line is longer, bytes.
const MAX_LINE: u64 = 1 << 10;

/// How much of the end of the file is read, bytes.
const TAIL: u64 = 1 << 16;

/// Quantities that a budget limits, as spent, reserved or allowed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Amount {
    /// Left out in the file if it has no bound.
    #[serde(
        rename = "cost_picodollars",
        with = "picodollars",
        default = "unbounded_cost",
        skip_serializing_if = "is_unbounded_cost"
    )]
    pub(crate) cost: Usd,
    pub(crate) requests: u64,
    /// Left out in the file if it has no bound.
    #[serde(default = "unbounded", skip_serializing_if = "is_unbounded")]
    pub(crate) output_tokens: u64,
}

impl Amount {
    /// An amount without a bound in any dimension.
    pub(crate) const UNBOUNDED: Self = Self { cost: Usd::MAX, requests: u64::MAX, output_tokens: u64::MAX };

    /// Returns this amount `number` times.
    pub(crate) fn times(self, number: u64) -> Self {
        Self {
            cost: self.cost.times(number),
            requests: self.requests.saturating_mul(number),
            output_tokens: self.output_tokens.saturating_mul(number),
        }
    }

    /// Returns one of `number` equal parts, rounded down.
    pub(crate) fn part(self, number: u64) -> Self {
        let number = number.max(1);
        Self {
            cost: self.cost.share(number),
            requests: self.requests / number,
            output_tokens: self.output_tokens / number,
        }
    }

    /// Returns the smaller value of each dimension.
    pub(crate) fn min(self, other: Self) -> Self {
        Self {
            cost: self.cost.min(other.cost),
            requests: self.requests.min(other.requests),
            output_tokens: self.output_tokens.min(other.output_tokens),
        }
    }

    /// Returns the larger value of each dimension.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            cost: self.cost.max(other.cost),
            requests: self.requests.max(other.requests),
            output_tokens: self.output_tokens.max(other.output_tokens),
        }
    }

    /// Returns this amount without `other`, in no dimension below zero.
    pub(crate) fn minus(self, other: Self) -> Self {
        Self {
            cost: self.cost - other.cost,
            requests: self.requests.saturating_sub(other.requests),
            output_tokens: self.output_tokens.saturating_sub(other.output_tokens),
        }
    }

    /// Returns whether no dimension is above that of `limit`.
    pub(crate) fn is_within(self, limit: Self) -> bool {
        self.max(limit) == limit
    }
}

/// In no dimension above [`Amount::UNBOUNDED`].
impl Add for Amount {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            cost: self.cost + other.cost,
            requests: self.requests.saturating_add(other.requests),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
        }
    }
}

mod picodollars {
    use crate::units::Usd;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(cost: &Usd, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(cost.picodollars())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Usd, D::Error> {
        u64::deserialize(deserializer).map(Usd::from_picodollars)
    }
}

fn unbounded_cost() -> Usd {
    Usd::MAX
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde calls it
fn is_unbounded_cost(cost: &Usd) -> bool {
    *cost == Usd::MAX
}

fn unbounded() -> u64 {
    u64::MAX
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde calls it
fn is_unbounded(number: &u64) -> bool {
    *number == u64::MAX
}

/// Why a line was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Event {
    /// A session starts; nothing is reserved beyond what counts as spent.
    Opened,
    /// The ceiling rises.
    Reserved,
    /// The session ended in order: the ceiling falls to what was spent.
    Returned,
}

/// A line of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reservation {
    pub(crate) event: Event,
    /// Upper bound of what the run has spent since its start.
    pub(crate) up_to: Amount,
    /// The next line does not raise the ceiling above this.
    pub(crate) next_up_to: Amount,
    /// SHA-256 of the price rows that costs are computed with.
    pub(crate) prices: String,
}

/// What earlier sessions may have spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Earlier {
    /// The file does not exist or is empty.
    Nothing,
    /// At most this, in prices with this hash.
    AtMost { amount: Amount, prices: String },
    /// The end of the file is damaged: the amount cannot be bounded.
    Unknown,
}

/// The open file.
#[derive(Debug)]
pub(crate) struct Reservations {
    path: PathBuf,
    file: File,
}

impl Reservations {
    /// Returns whether the directory contains the file.
    pub(crate) fn exist(dir: &Path) -> bool {
        Directory::open(dir).and_then(|dir| dir.has(RESERVATIONS)).unwrap_or(false)
    }

    /// Removes the file that an earlier run without a manifest has left.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn remove(dir: &Path) -> Result<(), DirError> {
        let removed = Directory::open(dir).and_then(|dir| dir.remove(RESERVATIONS));
        removed.map_err(|source| DirError::Io { path: dir.join(RESERVATIONS), source })
    }

    /// Opens or creates the file in a run directory that is locked, and reads what earlier sessions may have spent.
    /// Cuts off a torn line at the end.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn open(dir: &Path) -> Result<(Self, Earlier), DirError> {
        let path = dir.join(RESERVATIONS);
        let opened = (|| {
            let dir = Directory::open(dir)?;
            let mut file = dir.append(RESERVATIONS)?;
            let length = file.metadata()?.len();
            let start = length.saturating_sub(TAIL);
            file.seek(SeekFrom::Start(start))?;
            let mut tail = Vec::new();
            (&mut file).take(TAIL).read_to_end(&mut tail)?;
            let (earlier, whole) = read(&tail, start == 0);
            file.set_len(start + whole as u64)?;
            // A new name is not on the disk before its directory is.
            dir.sync()?;
            Ok((file, earlier))
        })();
        match opened {
            Ok((file, earlier)) => Ok((Self { path, file }, earlier)),
            Err(source) => Err(DirError::Io { path, source }),
        }
    }

    /// Appends a line and waits until the disk has it.
    ///
    /// # Errors
    /// When the disk is full or gone.
    pub(crate) fn append(&mut self, reservation: &Reservation) -> Result<(), DirError> {
        self.file
            .write_all(&line(reservation))
            .and_then(|()| self.file.sync_data())
            .map_err(|source| DirError::Io { path: self.path.clone(), source })
    }
}

/// Returns the line with its end.
pub(crate) fn line(reservation: &Reservation) -> Vec<u8> {
    let mut line = serde_json::to_vec(reservation).unwrap_or_else(|error| unreachable!("plain data: {error}"));
    line.push(b'\n');
    line
}

/// Reads the end of the file: what may have been spent, and the length up to the last valid line. `is_whole` is false
/// if the first line of `tail` may lack its beginning.
///
/// A crash tears at most the last line, since every line is synced before the next one is written. That line raised
/// the ceiling to at most `next_up_to` of the line before it, so this bounds the amount even if the line had been in
/// use and was damaged later. More damage than that is no crash: the amount is unknown.
pub(crate) fn read(tail: &[u8], is_whole: bool) -> (Earlier, usize) {
    let mut last: Option<Reservation> = None;
    let (mut at, mut whole, mut damaged) = (0, 0, 0_u64);
    for (index, line) in tail.split_inclusive(|byte| *byte == b'\n').enumerate() {
        at += line.len();
        match serde_json::from_slice(line).ok().filter(|_| line.ends_with(b"\n")) {
            Some(reservation) => (last, whole, damaged) = (Some(reservation), at, 0),
            None if index == 0 && !is_whole => {}
            None if line.len() as u64 > MAX_LINE => damaged += 2,
            None => damaged += 1,
        }
    }
    let earlier = match (last, damaged) {
        (None, _) if tail.is_empty() => Earlier::Nothing,
        (Some(last), 0) => Earlier::AtMost { amount: last.up_to, prices: last.prices },
        // After the end of a session only the start of the next one is written, which raises nothing.
        (Some(last), 1) if last.event == Event::Returned => Earlier::AtMost { amount: last.up_to, prices: last.prices },
        (Some(last), 1) => Earlier::AtMost { amount: last.next_up_to, prices: last.prices },
        _ => Earlier::Unknown,
    };
    (earlier, whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(requests: u64) -> Amount {
        Amount { requests, ..Amount::UNBOUNDED }
    }

    fn reservation(event: Event, up_to: u64) -> Reservation {
        Reservation { event, up_to: amount(up_to), next_up_to: amount(up_to + 16), prices: "p".into() }
    }

    fn at_most(requests: u64) -> Earlier {
        Earlier::AtMost { amount: amount(requests), prices: "p".into() }
    }

    #[test]
    fn damaged_end_counts_as_the_largest_amount_that_it_can_have_reserved() {
        let opened = line(&reservation(Event::Opened, 0));
        let reserved = line(&reservation(Event::Reserved, 7));
        let returned = line(&reservation(Event::Returned, 5));
        let torn = &line(&reservation(Event::Reserved, 9))[..20];
        let cases: [(&[&[u8]], Earlier); 12] = [
            (&[], Earlier::Nothing),
            (&[&opened], at_most(0)),
            (&[&opened, &reserved], at_most(7)),
            (&[&opened, &reserved, torn], at_most(23)),
            (&[&opened, &reserved, b"\0\0\0\0\0\0"], at_most(23)),
            (&[&opened, &reserved, b"not JSON\n"], at_most(23)),
            (&[&opened, b"not JSON\n", &reserved], at_most(7)),
            (&[&opened, &reserved, b"not JSON\n", torn], Earlier::Unknown),
            (&[&opened, &reserved, &[0; 5_000]], Earlier::Unknown),
            (&[&opened, &reserved, &returned], at_most(5)),
            (&[&opened, &reserved, &returned, torn], at_most(5)),
            (&[torn], Earlier::Unknown),
        ];
        for (lines, expected) in cases {
            let text = lines.concat();
            let (earlier, whole) = read(&text, true);
            assert_eq!(earlier, expected, "{}", String::from_utf8_lossy(&text));
            assert!(text[..whole].is_empty() || text[..whole].ends_with(b"\n"));
        }
    }

    #[test]
    fn file_is_private_and_only_its_end_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let (mut file, earlier) = Reservations::open(dir.path()).unwrap();
        assert_eq!(earlier, Earlier::Nothing);
        for number in 0..1_000 {
            file.file.write_all(&line(&reservation(Event::Reserved, number))).unwrap();
        }
        file.append(&reservation(Event::Reserved, 1_000)).unwrap();
        assert!(file.file.metadata().unwrap().len() > TAIL);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(file.file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        file.file.write_all(b"{\"event\":\"res").unwrap();
        drop(file);
        let (mut file, earlier) = Reservations::open(dir.path()).unwrap();
        assert_eq!(earlier, at_most(1_016));
        file.append(&reservation(Event::Opened, 1_016)).unwrap();
        assert_eq!(Reservations::open(dir.path()).unwrap().1, at_most(1_016), "the torn line was cut off");
    }

    #[test]
    fn unbounded_dimensions_are_left_out() {
        let bounded = Amount { cost: Usd::from_f64(0.5), ..amount(3) };
        let text = serde_json::to_string(&bounded).unwrap();
        assert_eq!(text, r#"{"cost_picodollars":500000000000,"requests":3}"#);
        assert_eq!(serde_json::from_str::<Amount>(&text).unwrap(), bounded);
    }
}
