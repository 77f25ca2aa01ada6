//! Text files of the user: UTF-8, with or without a byte order mark. Other encodings are named in the error, since a parser
//! would report an error at an invisible character.

use super::file;
use std::io;
use std::path::Path;

/// Reads a text file and skips a byte order mark.
///
/// # Errors
/// Fails with an I/O error, or [`io::ErrorKind::InvalidData`] for another encoding.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    decode(std::fs::read(path)?).map_err(|message| io::Error::new(io::ErrorKind::InvalidData, message))
}

/// Reads a text file that this tool has written: a FIFO or a file of gigabytes in its place is refused.
///
/// # Errors
/// Those of [`read`], [`file::open_regular`] and [`file::read_bytes`].
pub(crate) fn read_regular(path: &Path) -> io::Result<String> {
    decode(file::read_bytes(file::open_regular(path)?)?)
        .map_err(|message| io::Error::new(io::ErrorKind::InvalidData, message))
}

fn decode(bytes: Vec<u8>) -> Result<String, String> {
    let utf16 = |form: &str| Err(format!("it is encoded as UTF-16{form}: save it as UTF-8"));
    match bytes.as_slice() {
        [0xff, 0xfe, ..] => return utf16(" (little endian)"),
        [0xfe, 0xff, ..] => return utf16(" (big endian)"),
        [0, second, ..] if *second != 0 => return utf16(" (big endian)"),
        [first, 0, ..] if *first != 0 => return utf16(" (little endian)"),
        _ => {}
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let line = bytes[..valid].split(|byte| *byte == b'\n').count();
        format!(
            "it is not UTF-8 (byte 0x{:02x} in line {line}; Latin-1 or Windows-1252?): save it as UTF-8",
            bytes[valid]
        )
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn byte_order_mark_is_skipped_and_other_encodings_are_named() {
        assert_eq!(decode(b"\xef\xbb\xbf{}".to_vec()).unwrap(), "{}");
        assert_eq!(decode("grün".into()).unwrap(), "grün");
        assert_eq!(decode(Vec::new()).unwrap(), "");
        for (bytes, named) in [
            (&b"\xff\xfe{\0"[..], "UTF-16 (little endian)"),
            (b"\xfe\xff\0{", "UTF-16 (big endian)"),
            (b"{\0}\0", "UTF-16 (little endian)"),
            (b"\0{\0}", "UTF-16 (big endian)"),
            (b"{\n\"gr\xfcn\"}", "byte 0xfc in line 2"),
        ] {
            let message = decode(bytes.to_vec()).unwrap_err();
            assert!(message.contains(named) && message.ends_with("save it as UTF-8"), "{message}");
        }
    }
}
