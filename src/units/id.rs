//! Names that are safe in a file name on every system, and bounded: a file name has at most 255 bytes, and what is written
//! around a cell's id (`test_`, `_stats_history.csv`) takes 23 of them.

use super::text::hex;
use sha2::{Digest, Sha256};

/// A longer name is cut and ends in a hash of the whole. Names up to this length are in ids, baselines and file names as they are.
pub(crate) const LONGEST_NAME: usize = 80;

/// The same of a cell's id, which joins several names.
pub(crate) const LONGEST_ID: usize = 200;

/// The longest id that fits into file names. Versions without [`LONGEST_ID`] made such ids.
const LONGEST_STORED_ID: usize = 232;

/// Keeps letters, digits, `.`, `-` and `_`; every other run of characters becomes one `-`. At most [`LONGEST_NAME`] bytes.
/// Different names may fall together: whoever names files with it makes them unique.
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
    if trimmed.is_empty() { "x".into() } else { bounded(trimmed, LONGEST_NAME) }
}

fn is_safe(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

/// A safe text of at most so many bytes: a longer one is cut and ends in 16 digits of a hash of the whole.
pub(crate) fn bounded(safe: &str, longest: usize) -> String {
    if safe.len() <= longest {
        return safe.to_owned();
    }
    let digest = hex(&Sha256::digest(safe)[..8]);
    let start: String = safe.chars().take(longest - digest.len() - 1).collect();
    format!("{start}-{digest}")
}

/// Whether a text is the id of a cell as some version of this tool makes it. Ids that are read from the disk name files: one
/// that is not could lead out of its directory.
pub(crate) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_STORED_ID && text.chars().all(is_safe) && !text.starts_with(['-', '.'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_a_file_name_may_hold() {
        assert_eq!(file_safe("amazon.nova-2-lite-v1:0"), "amazon.nova-2-lite-v1-0");
        assert_eq!(
            file_safe("arn:aws:bedrock:us-east-1:123:inference-profile/us.x"),
            "arn-aws-bedrock-us-east-1-123-inference-profile-us.x"
        );
        assert_eq!(file_safe("../.."), "x");
    }

    #[test]
    fn a_name_of_80_characters_is_kept_and_a_longer_one_is_hashed() {
        let name = |length: usize| "n".repeat(length);
        assert_eq!(file_safe(&name(80)), name(80));
        let (one, other) = (file_safe(&name(81)), file_safe(&name(215)));
        assert_eq!((one.len(), other.len()), (80, 80));
        assert!(one != other && one.starts_with(&name(63)) && is_id(&one), "{one} {other}");
        assert_eq!(one, file_safe(&name(81)), "the same in every run");
    }

    #[test]
    fn an_id_never_leads_elsewhere() {
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
