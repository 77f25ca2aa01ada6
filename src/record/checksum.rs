//! The checksum of a journal line: its last field, `"crc":"1a2b3c4d"`, the CRC-32 (IEEE) of the bytes of the line before
//! the comma of that field, as eight hexadecimal digits in lower case.
//!
//! The bytes before it are the canonical JSON of the record without its closing brace: the identity of the cell in the
//! order of the axes, then the fields of [`super::Record`] in their order, no blanks, and the shortest form of each
//! number. A tool that writes the same record with other blanks, another order or another form of a number changes the
//! bytes and not the record: a reader that finds another checksum formats the record canonically and compares again.

/// The name of the field.
pub(super) const KEY: &str = "crc";

/// The field with its comma, up to its value.
const FIELD: &[u8] = b",\"crc\":\"";

/// What follows the value, with the line feed.
const END: &[u8] = b"\"}\n";

/// Bytes of the field, its value and the end of the line.
const LENGTH: usize = FIELD.len() + 8 + END.len();

/// Ends a line: adds the field, the closing brace and the line feed to the bytes before them.
pub(super) fn append(line: &mut Vec<u8>) {
    let crc = compute(line);
    line.extend_from_slice(FIELD);
    line.extend_from_slice(format!("{crc:08x}").as_bytes());
    line.extend_from_slice(END);
}

/// Compares a line with its checksum; `None` if it does not end with the field as [`append`] writes it.
pub(super) fn verify(line: &[u8]) -> Option<bool> {
    let (before, last) = line.split_at(line.len().checked_sub(LENGTH)?);
    let digits = last.strip_prefix(FIELD)?.strip_suffix(END)?;
    Some(parse(digits) == Some(compute(before)))
}

/// Returns the CRC-32 of the bytes before the field.
pub(super) fn compute(before: &[u8]) -> u32 {
    crc32fast::hash(before)
}

/// Parses eight hexadecimal digits.
pub(super) fn parse(digits: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.len() == 8)?;
    // `from_str_radix` accepts a sign.
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_is_detected() {
        let mut line = b"{\"run_id\":\"r\",\"seq\":7".to_vec();
        append(&mut line);
        assert_eq!(line, b"{\"run_id\":\"r\",\"seq\":7,\"crc\":\"e1060dfe\"}\n");
        assert_eq!(verify(&line), Some(true));
        for at in 0..line.len() {
            for bit in 0..8 {
                let mut damaged = line.clone();
                damaged[at] ^= 1 << bit;
                // The digits may change their case.
                let is_digit = (line.len() - END.len() - 8..line.len() - END.len()).contains(&at);
                let is_case = is_digit && damaged.eq_ignore_ascii_case(&line);
                assert!(verify(&damaged) != Some(true) || is_case, "byte {at}, bit {bit}");
            }
        }
        assert_eq!([verify(b""), verify(b"\"}\n"), verify(&line[1..])], [None, None, Some(false)]);
    }
}
