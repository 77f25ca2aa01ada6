//! Output on stdout, which is for data.

use crate::error::Error;
use std::io::Write;

/// Writes data to stdout. A closed pipe is not an error; any other failure, such as a full disk, is.
pub(super) fn print(bytes: &[u8]) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(source) if source.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::File { path: "to stdout".into(), source })
        }
        _ => Ok(()),
    }
}
