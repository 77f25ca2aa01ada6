//! Error messages are evidence and go into files that people share: what could be a secret is cut
//! out, and the length is bounded.

/// The longest message that is kept, in characters.
const LONGEST: usize = 500;

/// Words whose value is a secret, as they stand in headers and query strings.
const SECRETS: [&str; 14] = [
    "bearer ",
    "basic ",
    "signature=",
    "credential=",
    "x-amz-security-token:",
    "x-amz-security-token=",
    "x-amz-signature=",
    "x-amz-credential=",
    "secretaccesskey\":",
    "secretaccesskey=",
    "sessiontoken\":",
    "sessiontoken=",
    "aws_secret_access_key=",
    "aws_session_token=",
];

/// Cuts out secrets, joins lines, and bounds the length.
pub(super) fn redact(message: &str) -> String {
    let one_line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut clean = String::with_capacity(one_line.len());
    let mut rest = one_line.as_str();
    while !rest.is_empty() {
        if let Some(secret) = SECRETS.iter().find(|secret| starts_with_ignoring_case(rest, secret)) {
            clean.push_str(&rest[..secret.len()]);
            rest = &rest[secret.len()..];
            let begins = rest.find(|c: char| c != ' ' && c != '"').unwrap_or(rest.len());
            clean.push_str(&rest[..begins]);
            clean.push_str("[redacted]");
            rest = &rest[begins..];
            rest = &rest[rest.find([' ', ',', '&', '"', ';', '}']).unwrap_or(rest.len())..];
        } else if let Some(length) = access_key(rest).filter(|_| !clean.ends_with(|c: char| c.is_ascii_alphanumeric()))
        {
            clean.push_str("[redacted]");
            rest = &rest[length..];
        } else {
            let next = rest.chars().next().map_or(1, char::len_utf8);
            clean.push_str(&rest[..next]);
            rest = &rest[next..];
        }
    }
    match clean.char_indices().nth(LONGEST) {
        Some((end, _)) => {
            clean.truncate(end);
            clean
        }
        None => clean,
    }
}

fn starts_with_ignoring_case(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// The length of an AWS access key id at the start of the text.
fn access_key(text: &str) -> Option<usize> {
    let length = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    (length == 20 && (text.starts_with("AKIA") || text.starts_with("ASIA"))).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn secrets_are_cut_out() {
        assert_eq!(
            redact("Credential=AKIAIOSFODNN7EXAMPLE/20261124/us-east-1, Signature=abc123 refused"),
            "Credential=[redacted], Signature=[redacted] refused"
        );
        assert_eq!(redact("key AKIAIOSFODNN7EXAMPLE\nis unknown"), "key [redacted] is unknown");
        assert_eq!(redact("Authorization: Bearer abc.def ghi"), "Authorization: Bearer [redacted] ghi");
        assert_eq!(redact("x-amz-security-token: abc, x"), "x-amz-security-token: [redacted], x");
        assert_eq!(redact("Proxy-Authorization: Basic abc= refused"), "Proxy-Authorization: Basic [redacted] refused");
        assert_eq!(
            redact(r#"{"SecretAccessKey": "abc", "SessionToken":"def"} is no answer"#),
            r#"{"SecretAccessKey": "[redacted]", "SessionToken":"[redacted]"} is no answer"#
        );
    }

    #[test]
    fn ordinary_words_stay_and_the_length_is_bounded() {
        assert_eq!(redact("The provided service tier is not supported"), "The provided service tier is not supported");
        assert_eq!(redact(&"ä".repeat(900)).chars().count(), 500);
    }
}
