//! Names that are safe and short enough for file names on every system: a file name has at most 255 bytes, and 23 of them
//! surround a cell's id (`test_`, `_stats_history.csv`).

use super::text::hex;
use sha2::{Digest, Sha256};

/// Maximum length of a name, in bytes. A longer name is cut and ends in a hash of the whole name.
pub(crate) const MAX_NAME_BYTES: usize = 80;

/// Maximum length of a cell's id, which joins several names, in bytes.
pub(crate) const MAX_ID_BYTES: usize = 200;

/// Maximum length of an id read from disk, in bytes. Versions without [`MAX_ID_BYTES`] made longer ids.
const MAX_STORED_ID_BYTES: usize = 232;

/// Keeps letters, digits, `.`, `-` and `_`; replaces every other run of characters by one `-`. Returns at most
/// [`MAX_NAME_BYTES`] bytes. Different names may have the same result: the caller must make file names unique.
pub(crate) fn file_safe(name: &str) -> String {
    let mut safe = String::with_capacity(name.len());
    for c in name.chars() {
        if is_safe(c) {
            safe.push(c);
        } else if !safe.ends_with('-') {
            safe.push('-');
        }
    }
    let trimmed = safe.trim_matches(['-', '.']);
    if trimmed.is_empty() { "x".into() } else { shortened(trimmed, MAX_NAME_BYTES) }
}

fn is_safe(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

/// Shortens a safe text to at most `longest` bytes: a longer text is cut and ends in 16 digits of a hash of the whole.
pub(crate) fn shortened(safe: &str, longest: usize) -> String {
    if safe.len() <= longest {
        return safe.to_owned();
    }
    let digest = hex(&Sha256::digest(safe)[..8]);
    let start: String = safe.chars().take(longest - digest.len() - 1).collect();
    format!("{start}-{digest}")
}

/// Returns whether a text is a valid cell id of any version of this tool. Ids read from disk are part of file names: an
/// invalid one could lead out of the directory.
pub(crate) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_STORED_ID_BYTES && text.chars().all(is_safe) && !text.starts_with(['-', '.'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_allowed_in_file_names_are_kept() {
        assert_eq!(file_safe("amazon.nova-2-lite-v1:0"), "amazon.nova-2-lite-v1-0");
        assert_eq!(
            file_safe("arn:aws:bedrock:us-east-1:123:inference-profile/us.x"),
            "arn-aws-bedrock-us-east-1-123-inference-profile-us.x"
        );
        assert_eq!(file_safe("../.."), "x");
    }

    #[test]
    fn name_of_80_characters_is_kept_and_a_longer_one_is_hashed() {
        let name = |length: usize| "n".repeat(length);
        assert_eq!(file_safe(&name(80)), name(80));
        let (one, other) = (file_safe(&name(81)), file_safe(&name(215)));
        assert_eq!((one.len(), other.len()), (80, 80));
        assert!(one != other && one.starts_with(&name(63)) && is_id(&one), "{one} {other}");
        assert_eq!(one, file_safe(&name(81)), "the same in every run");
    }

    #[test]
    fn ids_with_path_components_are_invalid() {
        for id in ["us_flex_small_u20", "nova-2-lite_us_default_small_u1", "_x", "account-1_us", &"x".repeat(232)] {
            assert!(is_id(id), "{id}");
        }
        for id in [
            "",
            ".",
            "..",
            "x/../../evil",
            "/x",
            "a\\b",
            "c:x",
            "-rf",
            ".hidden",
            "a b",
            "a\0",
            "\u{e9}",
            &"x".repeat(233),
        ] {
            assert!(!is_id(id), "{id}");
        }
    }
}
