//! Opens files that other programs may have put where this tool expects its own: only regular files, without waiting for
//! a FIFO's other end, and whole only up to a size.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

/// The longest file that is read whole, bytes. A manifest of 100,000 cells of a minute takes some 400 MB.
const MAX_BYTES: u64 = 1 << 29;

/// Opens a regular file for reading.
///
/// # Errors
/// As [`File::open`]; `InvalidInput` for a FIFO, a socket, a device or a directory.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    // Without it, to open a FIFO waits until another process writes to it.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

/// Reads a file whole.
///
/// # Errors
/// The system's; `FileTooLarge` above 512 MiB.
pub(crate) fn bytes(file: File) -> io::Result<Vec<u8>> {
    let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, "the file is larger than 512 MiB");
    if file.metadata()?.len() > MAX_BYTES {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    // It may grow meanwhile.
    let length = file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if length as u64 > MAX_BYTES { Err(too_large()) } else { Ok(bytes) }
}

/// Reads a file of text whole.
///
/// # Errors
/// As [`bytes()`]; `InvalidData` for text that is not UTF-8.
pub(crate) fn text(file: File) -> io::Result<String> {
    String::from_utf8(bytes(file)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}
