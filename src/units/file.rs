//! Opening of files that another program may have replaced: only regular files, without waiting for the other end of a
//! FIFO, and with a maximum size.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

/// Maximum size of a file, in bytes. A manifest of 100,000 cells of one minute has about 400 MB.
const MAX_BYTES: u64 = 1 << 29;

/// Opens a regular file for reading.
///
/// # Errors
/// Those of [`File::open`]; `InvalidInput` for a FIFO, a socket, a device or a directory.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    // Otherwise, opening a FIFO blocks until another process opens it for writing.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

/// Reads a whole file.
///
/// # Errors
/// Fails with an I/O error, or `FileTooLarge` above 512 MiB.
pub(crate) fn read_bytes(file: File) -> io::Result<Vec<u8>> {
    let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, "the file is larger than 512 MiB");
    if file.metadata()?.len() > MAX_BYTES {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    // The file may grow while it is read.
    let length = file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if length as u64 > MAX_BYTES { Err(too_large()) } else { Ok(bytes) }
}

/// Reads a whole text file.
///
/// # Errors
/// Those of [`read_bytes()`]; `InvalidData` for text that is not UTF-8.
pub(crate) fn read_text(file: File) -> io::Result<String> {
    String::from_utf8(read_bytes(file)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}
