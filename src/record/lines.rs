//! Reads the lines of a journal one by one with bounded memory.

use super::dir::JOURNAL;
use crate::files::Directory;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

/// Maximum length of a line, bytes: more than any prompt and reply of Bedrock with escapes.
pub(super) const MAX_LINE_BYTES: u64 = 1 << 26;

/// How a line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineEnd {
    /// With a line feed.
    Whole,
    /// With a line feed behind more than [`MAX_LINE_BYTES`]; the text is cut.
    TooLong,
    /// With the end of the file, for example after a crash.
    Torn,
}

/// A reader of the lines of a journal.
pub(super) struct Lines {
    file: BufReader<File>,
    /// The last line, with its line feed.
    pub(super) text: Vec<u8>,
    /// Its number, from 1.
    pub(super) number: u64,
    /// Its offset in the file, bytes.
    pub(super) offset: u64,
    /// Its whole length with the line feed, bytes.
    pub(super) length: u64,
}

impl Lines {
    /// Opens the journal of a run directory at its start.
    ///
    /// # Errors
    /// As [`Directory::read`].
    pub(super) fn open(dir: &Directory) -> io::Result<Self> {
        let file = BufReader::with_capacity(1 << 18, dir.read(JOURNAL)?);
        Ok(Self { file, text: Vec::with_capacity(1_024), number: 0, offset: 0, length: 0 })
    }

    /// Continues at an offset in the file, which must be the start of a line.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn seek(&mut self, offset: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(offset))?;
        (self.offset, self.length) = (offset, 0);
        Ok(())
    }

    /// Reads the next line; `None` at the end of the file.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn read(&mut self) -> io::Result<Option<LineEnd>> {
        self.text.clear();
        self.number += 1;
        self.offset += self.length;
        self.length = (&mut self.file).take(MAX_LINE_BYTES).read_until(b'\n', &mut self.text)? as u64;
        if self.length == 0 {
            return Ok(None);
        }
        if self.text.last() == Some(&b'\n') {
            return Ok(Some(LineEnd::Whole));
        }
        let mut rest = Vec::new();
        while self.length >= MAX_LINE_BYTES {
            rest.clear();
            match (&mut self.file).take(1 << 16).read_until(b'\n', &mut rest)? {
                0 => break,
                more => self.length += more as u64,
            }
            if rest.last() == Some(&b'\n') {
                return Ok(Some(LineEnd::TooLong));
            }
        }
        Ok(Some(LineEnd::Torn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn endless_line_takes_bounded_memory() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = File::create(dir.path().join(JOURNAL)).unwrap();
        file.write_all(b"first\n").unwrap();
        // A hole takes no space on the disk.
        file.seek(SeekFrom::Current(3 * MAX_LINE_BYTES as i64)).unwrap();
        file.write_all(b"\nlast\ntorn").unwrap();
        let mut lines = Lines::open(&Directory::open(dir.path()).unwrap()).unwrap();
        let mut read = || {
            let end = lines.read().unwrap();
            assert!(lines.text.capacity() as u64 <= 2 * MAX_LINE_BYTES);
            end.map(|end| (end, lines.offset, lines.length))
        };
        let long = 3 * MAX_LINE_BYTES + 1;
        assert_eq!(read(), Some((LineEnd::Whole, 0, 6)));
        assert_eq!(read(), Some((LineEnd::TooLong, 6, long)));
        assert_eq!(read(), Some((LineEnd::Whole, 6 + long, 5)));
        assert_eq!(read(), Some((LineEnd::Torn, 11 + long, 4)));
        assert_eq!(read(), None);
    }
}
