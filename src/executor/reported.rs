//! Detection of the figures that a reply reports. The SDK sets missing required members to 0, so that only the bytes of the
//! reply distinguish 0 from "not reported".

use serde::Deserialize;
use serde::de::IgnoredAny;

/// Whether each figure is contained in a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // one flag per member
pub(super) struct Reported {
    pub(super) input_tokens: bool,
    pub(super) output_tokens: bool,
    pub(super) total_tokens: bool,
    pub(super) latency_ms: bool,
}

/// The members to find in the body of a reply, or in the `metadata` event of a stream.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Members {
    usage: Option<UsageMembers>,
    metrics: Option<MetricsMembers>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(clippy::struct_field_names)] // names of the wire format
struct UsageMembers {
    input_tokens: Option<IgnoredAny>,
    output_tokens: Option<IgnoredAny>,
    total_tokens: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MetricsMembers {
    latency_ms: Option<IgnoredAny>,
}

impl Reported {
    /// All figures are reported; used if the bytes of the reply are not available.
    pub(super) const ALL: Self = Self { input_tokens: true, output_tokens: true, total_tokens: true, latency_ms: true };

    /// Scans a JSON object without storing it. Returns `None` if it is invalid.
    pub(super) fn from_json(json: &[u8]) -> Option<Self> {
        let members: Members = serde_json::from_slice(json).ok()?;
        let usage = members.usage.unwrap_or_default();
        Some(Self {
            input_tokens: usage.input_tokens.is_some(),
            output_tokens: usage.output_tokens.is_some(),
            total_tokens: usage.total_tokens.is_some(),
            latency_ms: members.metrics.is_some_and(|metrics| metrics.latency_ms.is_some()),
        })
    }

    /// Scans a whole event of a stream. Returns `None` for all events except `metadata`.
    pub(super) fn from_event(event: &[u8]) -> Option<Self> {
        const IS_METADATA: &[u8] = b":event-type\x07\x00\x08metadata";
        let number = |at: usize| event.get(at..at + 4)?.try_into().ok().map(|bytes| u32::from_be_bytes(bytes) as usize);
        let (length, headers) = (number(0)?, 12_usize.checked_add(number(4)?)?);
        let is_metadata = event.get(12..headers)?.windows(IS_METADATA.len()).any(|window| window == IS_METADATA);
        let payload = event.get(headers..event.len().checked_sub(4)?)?;
        (is_metadata && length == event.len()).then(|| Self::from_json(payload)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_that_are_absent_or_null_are_not_reported() {
        let text = r#"{"output":{"text":"\"usage\":{\"inputTokens\":1}","usage":{"inputTokens":1}},"stopReason":"x""#;
        let read = |rest: &str| Reported::from_json(format!("{text}{rest}}}").as_bytes()).unwrap();
        let none = Reported { input_tokens: false, output_tokens: false, total_tokens: false, latency_ms: false };
        assert_eq!(read(""), none, "members inside the content are ignored");
        assert_eq!(read(r#","usage":null,"metrics":{}"#), none);
        assert_eq!(read(r#","usage":{"outputTokens":0}"#), Reported { output_tokens: true, ..none });
        let all = r#","usage":{"inputTokens":0,"outputTokens":0,"totalTokens":0},"metrics":{"latencyMs":0}"#;
        assert_eq!(read(all), Reported::ALL);
        assert_eq!(Reported::from_json(b"<html>"), None);
        assert_eq!(Reported::from_event(&[0; 15]), None);
        assert_eq!(Reported::from_event(b"\xff\xff\xff\xff\xff\xff\xff\xff"), None);
    }
}
