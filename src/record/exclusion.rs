//! Successes that differ from the request: they are recorded and counted, but excluded from latencies.

use crate::matrix::Cell;
use crate::plan::CacheMode;
use serde::{Deserialize, Serialize};

/// The reason why a sample is excluded from the latencies of its cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ExclusionReason {
    /// Served by another tier than requested.
    TierMismatch,
    /// A cold request that was served from the prompt cache.
    CacheContaminated,
    /// A warm request that read nothing from the prompt cache.
    WarmMiss,
    /// In flight while this machine was stalled. Known only at the end of the cell run, so no journal contains it: it is
    /// computed from the stalls in the manifest, for requests of any outcome.
    ClientStalled,
    /// Ended by a guardrail, a filter, a refusal, malformed output or a full context window.
    Blocked,
}

/// Returns whether a stop reason marks a reply that is not the requested answer.
pub(crate) fn is_blocked(stop_reason: &str) -> bool {
    matches!(stop_reason, "guardrail_intervened" | "content_filtered" | "refusal" | "model_context_window_exceeded")
        || stop_reason.starts_with("malformed_")
}

impl ExclusionReason {
    /// Returns why a success of a cell is excluded. A reply without a tier counts as served by the requested one.
    pub(crate) fn from_reply(cell: &Cell, served: Option<&str>, cache_read_tokens: Option<u64>) -> Option<Self> {
        let requested = cell.service_tier.as_str();
        if requested != "none" && served.is_some_and(|tier| tier != requested) {
            return Some(Self::TierMismatch);
        }
        let was_read = cache_read_tokens.is_some_and(|tokens| tokens > 0);
        match cell.cache_mode {
            CacheMode::Cold if was_read => Some(Self::CacheContaminated),
            CacheMode::Warm | CacheMode::Explicit if !was_read => Some(Self::WarmMiss),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_reasons_of_blocked_replies() {
        let blocked = ["guardrail_intervened", "content_filtered", "refusal", "model_context_window_exceeded"];
        assert!(blocked.into_iter().chain(["malformed_tool_use", "malformed_model_output"]).all(is_blocked));
        assert!(!["end_turn", "max_tokens", "stop_sequence", "tool_use"].into_iter().any(is_blocked));
    }

    #[test]
    fn replies_that_differ_from_the_request_are_excluded() {
        let mut cell = crate::matrix::expand(&crate::plan::tests::plan()).remove(0);
        let mut judge = |mode, tier: &str, served, read| {
            cell.cache_mode = mode;
            cell.service_tier = tier.into();
            ExclusionReason::from_reply(&cell, served, read)
        };
        assert_eq!(judge(CacheMode::AsIs, "flex", Some("flex"), Some(9)), None);
        assert_eq!(judge(CacheMode::AsIs, "flex", Some("default"), None), Some(ExclusionReason::TierMismatch));
        assert_eq!(judge(CacheMode::AsIs, "flex", None, None), None);
        assert_eq!(judge(CacheMode::AsIs, "none", Some("default"), None), None);
        assert_eq!(judge(CacheMode::Cold, "none", None, Some(1)), Some(ExclusionReason::CacheContaminated));
        assert_eq!(judge(CacheMode::Cold, "none", None, Some(0)), None);
        assert_eq!(judge(CacheMode::Warm, "none", None, None), Some(ExclusionReason::WarmMiss));
        assert_eq!(judge(CacheMode::Explicit, "none", None, Some(1)), None);
    }
}
