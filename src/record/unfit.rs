//! Successes that were not what was asked for: they stay in the journal and in the counts, and leave
//! the latency statistics of their cell.

use crate::matrix::Cell;
use crate::plan::CacheMode;
use serde::{Deserialize, Serialize};

/// Why a success says nothing about its cell's latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unfit {
    /// Served on another tier than it asked for.
    TierMismatch,
    /// Asked to be cold, and read from the prompt cache.
    CacheContaminated,
    /// Asked to be warm, and read nothing from the prompt cache.
    WarmMiss,
    /// In flight while this machine stood still. Known at the end of the cell run only, so that no journal contains it:
    /// it is computed from the stalls in the manifest, and a request of any outcome may have it.
    ClientStalled,
    /// Ended by a guardrail, a filter, a refusal, malformed output or a full context window.
    Blocked,
}

/// Returns whether a stop reason means that the reply is not the answer that was requested.
pub(crate) fn is_blocked(stop_reason: &str) -> bool {
    matches!(stop_reason, "guardrail_intervened" | "content_filtered" | "refusal" | "model_context_window_exceeded")
        || stop_reason.starts_with("malformed_")
}

impl Unfit {
    /// Judges a success of a cell by what its reply says. A reply that names no tier is taken as asked.
    pub(crate) fn of(cell: &Cell, served: Option<&str>, cache_read_tokens: Option<u64>) -> Option<Self> {
        let asked = cell.service_tier.as_str();
        if asked != "none" && served.is_some_and(|tier| tier != asked) {
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
    fn what_was_not_asked_for_is_told_apart() {
        let mut cell = crate::matrix::expand(&crate::plan::tests::plan()).remove(0);
        let mut judge = |mode, tier: &str, served, read| {
            cell.cache_mode = mode;
            cell.service_tier = tier.into();
            Unfit::of(&cell, served, read)
        };
        assert_eq!(judge(CacheMode::AsIs, "flex", Some("flex"), Some(9)), None);
        assert_eq!(judge(CacheMode::AsIs, "flex", Some("default"), None), Some(Unfit::TierMismatch));
        assert_eq!(judge(CacheMode::AsIs, "flex", None, None), None);
        assert_eq!(judge(CacheMode::AsIs, "none", Some("default"), None), None);
        assert_eq!(judge(CacheMode::Cold, "none", None, Some(1)), Some(Unfit::CacheContaminated));
        assert_eq!(judge(CacheMode::Cold, "none", None, Some(0)), None);
        assert_eq!(judge(CacheMode::Warm, "none", None, None), Some(Unfit::WarmMiss));
        assert_eq!(judge(CacheMode::Explicit, "none", None, Some(1)), None);
    }
}
