//! Names that are safe in a file name on every system.

/// Keeps letters, digits, `.`, `-` and `_`; every other run of characters becomes one `-`.
/// Different names may fall together: whoever names files with it makes them unique.
pub(crate) fn file_safe(name: &str) -> String {
    let mut safe = String::with_capacity(name.len());
    for c in name.chars() {
        let keep = c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if keep {
            safe.push(c);
        } else if !safe.ends_with('-') {
            safe.push('-');
        }
    }
    let trimmed = safe.trim_matches(['-', '.']);
    if trimmed.is_empty() { "x".into() } else { trimmed.into() }
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
}
