//! Messages and positions of JSON errors.

/// Returns the message of a JSON parser without the position, which is displayed separately.
pub(super) fn json_message(error: &serde_json::Error) -> String {
    error.to_string().split(" at line").next().unwrap_or_default().to_owned()
}

/// Returns the byte offset of a line (from 1) and a column (from 1, in bytes).
pub(super) fn offset(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let mut at = (before + column.saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
