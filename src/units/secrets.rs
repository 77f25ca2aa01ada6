//! Masking of secrets in text: the exact values that this process uses, and the usual forms of secrets. All foreign text
//! that leaves the program passes through this module. All operations are linear in the length of the text.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use regex_lite::Regex;
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

/// Placeholder of a secret.
const MASKED: &str = "[redacted]";

/// Minimum length of a masked value, in bytes: shorter values could be parts of ordinary words.
const MIN_LENGTH: usize = 8;

/// Access key id and secret key for requests to a simulator.
pub(crate) const DUMMY: &str = "simulated";

/// Maximum number of renewed values kept: requests in flight use the latest credentials.
const MAX_RENEWED: usize = 96;

/// Length of the part of a foreign text that is read, in bytes. The rest is dropped.
const WINDOW: usize = 8 << 10;

/// Minimum length of the end of that part that is searched but not shown, in bytes: it may contain a secret split by the
/// cut.
const OVERLAP: usize = 4 << 10;

/// Variables whose values are secrets.
const VARIABLES: [&str; 6] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_BEARER_TOKEN_BEDROCK",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
];

/// Ordinary words that follow names of secrets in sentences: "bearer token", "identity token: the provider ...".
const ORDINARY_WORDS: [&str; 12] = [
    "token",
    "tokens",
    "auth",
    "authentication",
    "authorization",
    "credentials",
    "scheme",
    "realm",
    "the",
    "not",
    "no",
    "none",
];

/// A usual form of secrets.
struct Form {
    /// Lower-case substrings. A text without any of them is not searched: most texts have none, and a search is slow.
    parts: &'static [&'static str],
    /// The last group of a match is the secret.
    pattern: Regex,
}

static FORMS: LazyLock<Vec<Form>> = LazyLock::new(|| {
    // A quote may be escaped, as in JSON inside JSON, or an entity.
    let quote = r#"(?:\\*["'`]|&quot;|&#34;|%22)"#;
    let separator = format!(r"{quote}?\s*(?:[:=>]+|%3[ad])\s*");
    let value = format!(r#"(?:\\*"([^"\\]+)|\\*'([^'\\]+)|{quote}?([^\s"'`,;&<>(){{}}\[\]\\]+))"#);
    let name = r"(?:access[-_ ]?key(?:[-_ ]?id)?|secret(?:[-_ ]?key)?|token|(?:api|private|signing|subscription|account)[-_ ]?key|pass(?:word|wd|phrase)|pwd|signature|credential)";
    let scheme = r"(?:bearer|basic|digest|negotiate|ntlm|token|apikey|aws4-hmac-sha256)";
    let form = |parts: &'static [&'static str], pattern: &str| Form {
        parts,
        pattern: Regex::new(pattern).unwrap_or_else(|error| unreachable!("the pattern `{pattern}` is fixed: {error}")),
    };
    vec![
        form(
            &["key", "secret", "token", "pass", "pwd", "signature", "credential"],
            &format!(r"(?i){name}{separator}{value}"),
        ),
        form(&["authorization"], &format!(r"(?i)authorization{separator}{quote}?(?:{scheme}\s+)?{value}")),
        form(&["bearer", "basic"], &format!(r"(?i)(?:bearer|basic)(?:\s+|%20|\+){value}")),
        // A name and a long value in a sentence: "the security token FwoG... is expired".
        form(
            &["key", "token", "secret", "password"],
            r#"(?i)(?:key|token|secret|password)(?:\s+id)?(?:\s+(?:is|was))?\s+["'`(]*([a-z0-9+/=_.~%-]{20,})"#,
        ),
        form(&["://"], r#"(?i)[a-z][a-z0-9+.-]*://([^\s/?#"'<>`]*)@"#),
        // Access key ids, Bedrock API keys, session tokens, JSON web tokens, private keys.
        form(&["akia", "asia", "abia", "acca"], "((?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,})"),
        form(&["absk", "bedrock-api-key-"], "((?:ABSK|bedrock-api-key-)[A-Za-z0-9+/=_%-]{8,})"),
        form(&["iqojb3jpz2lu", "ogzxivyxdz"], "((?:IQoJb3JpZ2lu|FwoGZXIvYXdz|FQoGZXIvYXdz)[A-Za-z0-9+/=_%-]{8,})"),
        form(&["eyj"], r"(eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_.-]{8,})"),
        form(&["private key"], "(-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*)"),
    ]
});

/// The secrets in use, shared by all clones.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Arc<RwLock<Values>>);

#[derive(Default)]
struct Values {
    /// Values from the environment.
    fixed: Vec<String>,
    /// Values from credential providers, oldest first.
    renewed: VecDeque<String>,
}

impl Secrets {
    /// Collects the secrets of the environment: credentials, and passwords of proxies and endpoints.
    pub(crate) fn from_environment(environment: &BTreeMap<String, String>) -> Self {
        let mut fixed = Vec::new();
        for (name, value) in environment {
            if VARIABLES.contains(&name.as_str()) {
                add_spellings(value, &mut fixed);
            }
            let name = name.to_ascii_uppercase();
            if (name.ends_with("_PROXY") || name.contains("ENDPOINT"))
                && let Some(user_info) = user_info(value)
            {
                let (_, password) = user_info.split_once(':').unwrap_or(("", user_info));
                let decoded = percent_decoded(user_info);
                add_spellings(password, &mut fixed);
                add_spellings(&percent_decoded(password), &mut fixed);
                // The value of the `Proxy-Authorization` header.
                add(BASE64_STANDARD.encode(decoded), &mut fixed);
            }
        }
        Self(Arc::new(RwLock::new(Values { fixed, renewed: VecDeque::new() })))
    }

    /// Adds a value to the masked secrets, except short values and those of the simulator.
    pub(crate) fn remember(&self, value: &str) {
        let mut spellings = Vec::new();
        add_spellings(value, &mut spellings);
        let known = |values: &Values, value: &String| values.fixed.contains(value) || values.renewed.contains(value);
        {
            let values = self.0.read().unwrap_or_else(PoisonError::into_inner);
            spellings.retain(|value| !known(&values, value));
        }
        if !spellings.is_empty() {
            let mut values = self.0.write().unwrap_or_else(PoisonError::into_inner);
            values.renewed.extend(spellings);
            let surplus = values.renewed.len().saturating_sub(MAX_RENEWED);
            values.renewed.drain(..surplus);
        }
    }

    /// Returns the text with all secrets masked.
    pub(crate) fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        masked(text, text.len(), self.find_secrets(text))
    }

    /// Returns the text with the values in use masked, but no other forms: for text that is not a message.
    pub(crate) fn mask_values<'t>(&self, text: &'t str) -> Cow<'t, str> {
        masked(text, text.len(), self.find_values(text))
    }

    /// Returns a foreign text on one line, with all secrets masked, cut to `longest` characters. Only a fixed part of a long
    /// text is read, and no part of a secret remains at a cut.
    pub(crate) fn redact(&self, text: &str, longest: usize) -> String {
        let window = &text[..text.floor_char_boundary(WINDOW)];
        let shown = if window.len() < text.len() {
            window.floor_char_boundary(WINDOW - OVERLAP.max(self.longest()).min(WINDOW))
        } else {
            window.len()
        };
        let text = masked(window, shown, self.find_secrets(window));
        let mut line = String::with_capacity(text.len());
        for word in text.split_whitespace() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if let Some((end, _)) = line.char_indices().nth(longest) {
            line.truncate(end);
        }
        line
    }

    fn longest(&self) -> usize {
        let values = self.0.read().unwrap_or_else(PoisonError::into_inner);
        values.fixed.iter().chain(&values.renewed).map(String::len).max().unwrap_or(0)
    }

    fn find_secrets(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = self.find_values(text);
        let lower = text.to_ascii_lowercase();
        for form in FORMS.iter().filter(|form| form.parts.iter().any(|part| lower.contains(part))) {
            let secrets = form.pattern.captures_iter(text).filter_map(|groups| {
                let secret = groups.iter().skip(1).flatten().last()?;
                (!ORDINARY_WORDS.iter().any(|word| secret.as_str().eq_ignore_ascii_case(word))).then(|| secret.range())
            });
            found.extend(secrets);
        }
        found
    }

    fn find_values(&self, text: &str) -> Vec<Range<usize>> {
        let values = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let places = |value: &String| {
            let length = value.len();
            text.match_indices(value.as_str()).map(|(start, _)| start..start + length).collect::<Vec<_>>()
        };
        values.fixed.iter().chain(&values.renewed).flat_map(places).collect()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secrets")
    }
}

/// Returns the text up to the byte `end`, with these ranges masked.
fn masked(text: &str, end: usize, mut found: Vec<Range<usize>>) -> Cow<'_, str> {
    if found.is_empty() {
        return Cow::Borrowed(&text[..end]);
    }
    found.sort_by_key(|part| part.start);
    let mut masked = String::with_capacity(end);
    let mut copied = 0;
    for part in found {
        if part.start >= end {
            break;
        }
        if part.start >= copied {
            masked.push_str(&text[copied..part.start]);
            masked.push_str(MASKED);
        }
        copied = copied.max(part.end);
    }
    masked.push_str(text.get(copied..end).unwrap_or_default());
    Cow::Owned(masked)
}

/// Adds a value in all its spellings: verbatim, in a URL, in JSON and in base64.
fn add_spellings(value: &str, values: &mut Vec<String>) {
    let value = value.trim();
    if value.len() < MIN_LENGTH || value == DUMMY {
        return;
    }
    for spelling in [
        value.to_owned(),
        percent_encoded(value, true),
        percent_encoded(value, false),
        value.replace('/', "\\/"),
        BASE64_STANDARD.encode(value),
    ] {
        add(spelling, values);
    }
}

fn add(value: String, values: &mut Vec<String>) {
    if value.len() >= MIN_LENGTH && !values.contains(&value) {
        values.push(value);
    }
}

/// Returns the user information of a URL, `user:password`. A proxy may have no scheme.
fn user_info(url: &str) -> Option<&str> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.rsplit_once('@').map(|(user_info, _)| user_info)
}

fn percent_encoded(value: &str, in_capitals: bool) -> String {
    value.bytes().fold(String::with_capacity(value.len()), |text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text + char::from(byte).encode_utf8(&mut [0; 4])
        } else if in_capitals {
            text + &format!("%{byte:02X}")
        } else {
            text + &format!("%{byte:02x}")
        }
    })
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        let escaped = code.and_then(|code| u8::from_str_radix(code, 16).ok()).filter(|_| *first == b'%');
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redact(text: &str) -> String {
        Secrets::default().redact(text, 500)
    }

    #[test]
    fn known_forms_are_masked() {
        let forms = [
            (
                "Credential=AKIAIOSFODNN7EXAMPLE/20261124/us-east-1, Signature=abc123 refused",
                "Credential=[redacted], Signature=[redacted] refused",
            ),
            ("key AKIAIOSFODNN7EXAMPLE\nis unknown", "key [redacted] is unknown"),
            ("Authorization: Bearer abc.def ghi", "Authorization: Bearer [redacted] ghi"),
            ("x-amz-security-token: abc, x", "x-amz-security-token: [redacted], x"),
            ("Proxy-Authorization: Basic abc= refused", "Proxy-Authorization: Basic [redacted] refused"),
            (
                r#"{"SecretAccessKey": "abc", "SessionToken":"def"} is no answer"#,
                r#"{"SecretAccessKey": "[redacted]", "SessionToken":"[redacted]"} is no answer"#,
            ),
            (r#"{\"SecretAccessKey\":\"a b\"}"#, r#"{\"SecretAccessKey\":\"[redacted]\"}"#),
            ("Invalid API key: ABSKQmVkcm9ja0FQSUtleQ==", "Invalid API key: [redacted]"),
            ("no such key ABSKQmVkcm9ja0FQSUtleQ==.", "no such key [redacted]"),
            ("SecretAccessKey: x", "SecretAccessKey: [redacted]"),
            ("aws_secret_access_key = x y", "aws_secret_access_key = [redacted] y"),
            ("password='correct horse' refused", "password='[redacted]' refused"),
            ("<SecretAccessKey>x/y</SecretAccessKey>", "<SecretAccessKey>[redacted]</SecretAccessKey>"),
            ("&quot;secret&quot;:&quot;x&quot;", "&quot;secret&quot;:&quot;[redacted]&quot;"),
            (
                "?X-Amz-Credential=AKID%2F2026&X-Amz-Signature=ab",
                "?X-Amz-Credential=[redacted]&X-Amz-Signature=[redacted]",
            ),
            ("via http://user:p@ss@proxy:3128/ failed", "via http://[redacted]@proxy:3128/ failed"),
            ("the bearer ab12 is unknown", "the bearer [redacted] is unknown"),
            ("the security token FwoGZXIvYXdzEXAMPLE1 is expired", "the security token [redacted] is expired"),
            ("api key is abcdefghij0123456789", "api key is [redacted]"),
            ("jwt eyJhbGciOiJI.eyJzdWIiOiIx.c2ln", "jwt [redacted]"),
        ];
        for (text, expected) in forms {
            assert_eq!(redact(text), expected);
        }
    }

    #[test]
    fn ordinary_messages_are_not_changed() {
        for text in [
            "The provided service tier is not supported",
            "The bearer token included in the request is invalid; basic authentication is not supported",
            "The security token included in the request is invalid.",
            "max_tokens: 8192 > 4096, which is the maximum allowed number of output tokens for us.amazon.nova-lite-v1:0",
            "User: arn:aws:sts::123456789012:assumed-role/Team/jane is not authorized to perform: bedrock:InvokeModel",
            "no AWS credentials: the profile `x` is not defined: https://example.com/docs",
            "WebIdentityToken: the credential provider was not enabled",
            "simulated",
        ] {
            assert_eq!(redact(text), text);
        }
    }

    #[test]
    fn values_in_use_are_masked_in_every_spelling_and_short_ones_are_not() {
        let environment = [
            ("AWS_SECRET_ACCESS_KEY", "wJalr/XUtn+FEMI"),
            ("AWS_ACCESS_KEY_ID", "us"),
            ("https_proxy", "http://jane:p%40ssw0rd@proxy:3128"),
        ];
        let secrets = Secrets::from_environment(
            &environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect(),
        );
        secrets.remember("renewed-token");
        secrets.remember(DUMMY);
        let text = "us wJalr/XUtn+FEMI wJalr%2FXUtn%2BFEMI wJalr%2fXUtn%2bFEMI wJalr\\/XUtn+FEMI d0phbHIvWFV0bitGRU1J \
            p%40ssw0rd p@ssw0rd amFuZTpwQHNzdzByZA== renewed-token simulated";
        assert_eq!(secrets.redact(text, 500), format!("us{} simulated", " [redacted]".repeat(9)));
        for n in 0..1_000 {
            secrets.remember(&format!("token number {n}"));
        }
        assert!(secrets.0.read().unwrap().renewed.len() <= MAX_RENEWED);
        assert_eq!(
            secrets.mask_values("wJalr/XUtn+FEMI, token number 999, token: x"),
            "[redacted], [redacted], token: x"
        );
    }

    #[test]
    fn no_cut_leaves_a_part_of_a_secret() {
        let secret = "s3cr3t/".repeat(300);
        let secrets = Secrets::default();
        secrets.remember(&secret);
        // The masked text is much shorter than the text: a secret at the first cut would reach the second one.
        for before in 0..40 {
            let text = format!("{}{}", " ".repeat(before * 97), format!("{secret} ").repeat(20));
            assert!(!secrets.redact(&text, 500).contains("s3cr3t"), "{before}");
        }
        for before in 480..500 {
            let text = format!("{}Bearer {secret}", "x".repeat(before));
            assert!(!secrets.redact(&text, 500).contains("s3cr"), "{before}");
        }
    }

    #[test]
    fn long_text_is_cut_and_its_redaction_is_linear() {
        assert_eq!(redact(&"ä".repeat(900)).chars().count(), 500);
        // A quadratic search would not end within the time of a test.
        let size = 4 << 20;
        for piece in ["x", "AKIA", "bearer ", "token=\"", "a://", "key is ", "[", " ", "\"", "authorization: bearer "] {
            assert!(redact(&piece.repeat(size / piece.len())).chars().count() <= 500);
        }
        for piece in ["x", "bearer ", "token=\"", "a://", "key is ", "&quot;", "authorization: bearer "] {
            let text = piece.repeat((64 << 10) / piece.len());
            assert!(!Secrets::default().mask(&text).is_empty());
        }
    }
}
