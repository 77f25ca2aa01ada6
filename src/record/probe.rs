//! The pre-flight: one small request per model, prefix, tier, api and region of a run, and the finding for its cells. Knows
//! how an outcome is classified, not how a request is sent.

use super::{Record, class};
use crate::matrix::Cell;
use crate::plan::{Api, OnUnsupported};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// A combination that a service may refuse for any load and prompt.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Probe {
    /// AWS region; `None` is that of the profile. First field, so that no identity is a prefix of another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    /// Model id without prefix, or an ARN.
    pub(crate) model_id: String,
    /// `none` sends the model id without prefix.
    pub(crate) region_prefix: String,
    /// `none` omits the field.
    pub(crate) service_tier: String,
    pub(crate) api: Api,
}

/// The key of a probe for look-ups: model, prefix, tier, api and region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ProbeKey<'a>(&'a str, &'a str, &'a str, Api, Option<&'a str>);

impl<'a> ProbeKey<'a> {
    pub(super) fn from_cell(cell: &'a Cell) -> Self {
        Self(&cell.model_id, &cell.region_prefix, &cell.service_tier, cell.api, cell.region.as_deref())
    }
}

/// The findings of a pre-flight that exclude cells from the run.
#[derive(Debug)]
pub(crate) struct ExcludedCells<'a>(HashMap<ProbeKey<'a>, &'a ProbeResult>);

impl<'a> ExcludedCells<'a> {
    pub(super) fn new(preflight: &'a [ProbeResult]) -> Self {
        let excluding = preflight.iter().rev().filter(|checked| checked.is_excluded());
        Self(excluding.map(|checked| (checked.probe.key(), checked)).collect())
    }

    /// Returns the result that excludes a cell.
    pub(crate) fn get(&self, cell: &Cell) -> Option<&'a ProbeResult> {
        self.0.get(&ProbeKey::from_cell(cell)).copied()
    }

    /// Whether the service does not support the tier of a cell.
    pub(crate) fn is_unsupported(&self, cell: &Cell) -> bool {
        self.get(cell).is_some_and(|checked| checked.finding == Some(Finding::Unsupported))
    }
}

/// The finding of a probe for its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Finding {
    /// The service replied.
    Supported,
    /// The service does not have this tier for the model.
    Unsupported,
    /// Every request will be refused: no access, unknown model, or invalid credentials.
    Refused,
    /// The endpoint was not reached: address, name, or TLS.
    Unreachable,
    /// Throttled, a service error, or a timeout: the load may still succeed.
    Unclear,
}

/// A probe and its finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProbeResult {
    #[serde(flatten)]
    pub(crate) probe: Probe,
    /// `None` until it has ended, or if it was not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) finding: Option<Finding>,
    /// See [`class`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error_class: Option<String>,
    /// Message of the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error_message: Option<String>,
    /// The tier that served it, if it differs from the requested one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) served_by: Option<String>,
}

impl Probe {
    /// Returns the probe of a cell.
    fn from_cell(cell: &Cell) -> Self {
        Self {
            model_id: cell.model_id.clone(),
            region_prefix: cell.region_prefix.clone(),
            service_tier: cell.service_tier.clone(),
            api: cell.api,
            region: cell.region.clone(),
        }
    }

    /// Returns the key of its cells.
    pub(super) fn key(&self) -> ProbeKey<'_> {
        ProbeKey(&self.model_id, &self.region_prefix, &self.service_tier, self.api, self.region.as_deref())
    }

    /// Returns `us.amazon.nova-pro-v1:0 on flex, converse, in us-west-2`.
    fn label(&self) -> String {
        let prefix = if self.region_prefix == "none" { String::new() } else { format!("{}.", self.region_prefix) };
        let tier =
            if self.service_tier == "none" { "without a tier".into() } else { format!("on {}", self.service_tier) };
        let region = self.region.as_ref().map_or_else(String::new, |region| format!(", in {region}"));
        format!("{prefix}{} {tier}, {}{region}", self.model_id, self.api)
    }
}

/// Returns the probes of cells in their order, without findings.
pub(crate) fn probes<'a>(cells: impl IntoIterator<Item = &'a Cell>) -> Vec<ProbeResult> {
    let mut probes: Vec<ProbeResult> = Vec::new();
    let mut known = HashSet::new();
    for cell in cells {
        if known.insert(ProbeKey::from_cell(cell)) {
            let probe = Probe::from_cell(cell);
            probes.push(ProbeResult { probe, finding: None, error_class: None, error_message: None, served_by: None });
        }
    }
    probes
}

/// Returns the indices of the cells of each probe.
pub(crate) fn cells_by_probe<'a>(
    preflight: &[ProbeResult],
    cells: impl IntoIterator<Item = &'a Cell>,
) -> Vec<Vec<usize>> {
    let probes = preflight.iter().enumerate().map(|(index, checked)| (checked.probe.key(), index));
    let probes: HashMap<ProbeKey, usize> = probes.collect();
    let mut cells_of_probes = vec![Vec::new(); preflight.len()];
    for (index, cell) in cells.into_iter().enumerate() {
        if let Some(probe) = probes.get(&ProbeKey::from_cell(cell)) {
            cells_of_probes[*probe].push(index);
        }
    }
    cells_of_probes
}

impl ProbeResult {
    /// Sets the finding from the record of the request.
    pub(crate) fn set_outcome(&mut self, record: &Record) {
        let (class, message) = (record.error_class.as_deref(), record.error_message.as_deref());
        self.finding = Some(classify(record, class.unwrap_or_default(), message.unwrap_or_default()));
        self.error_class.clone_from(&record.error_class);
        self.error_message.clone_from(&record.error_message);
        let requested = &self.probe.service_tier;
        self.served_by = record.resolved_service_tier.clone().filter(|tier| requested != "none" && tier != requested);
    }

    /// Whether its cells are excluded.
    pub(crate) fn is_excluded(&self) -> bool {
        matches!(self.finding, Some(Finding::Unsupported | Finding::Refused))
    }

    /// Returns the problem of a probe with `cells` cells, and how to fix it; `None` if there is none.
    pub(crate) fn problem_text(&self, cells: usize) -> Option<String> {
        let shown = self.probe.label();
        let (class, message) =
            (self.error_class.as_deref().unwrap_or_default(), self.error_message.as_deref().unwrap_or_default());
        let error = match (class, message) {
            // The request was abandoned.
            ("", _) => "stopped".to_owned(),
            (class, "") => class.to_owned(),
            (class, message) => format!("{class}: {message}"),
        };
        let hint = class::hint(class, message).map_or_else(String::new, |hint| format!(" ({hint})"));
        let subject = if cells == 1 { "its cell is".into() } else { format!("its {cells} cells are") };
        Some(match self.finding {
            None => format!("{shown}: not tested"),
            Some(Finding::Supported) => {
                let tier = self.served_by.as_ref()?;
                format!("{shown}: served by the tier {tier}; such replies are counted but excluded from latencies")
            }
            Some(Finding::Unsupported | Finding::Refused) => {
                format!("{shown}: {subject} excluded: {error}{hint}")
            }
            Some(Finding::Unreachable | Finding::Unclear) => format!("{shown}: inconclusive: {error}{hint}"),
        })
    }

    /// Returns `us.amazon.nova-pro-v1:0 on flex, converse: supported`.
    pub(crate) fn line(&self, cells: usize) -> String {
        self.problem_text(cells).unwrap_or_else(|| format!("{}: supported", self.probe.label()))
    }
}

fn classify(record: &Record, class: &str, message: &str) -> Finding {
    // Errors that depend on the model or the account, not on the request.
    const ACCOUNT: [&str; 2] = ["AccessDeniedException", "ResourceNotFoundException"];
    const MODEL: [&str; 3] = ["on-demand throughput", "model identifier is invalid", "inference profile"];
    let names = |parts: &[&str]| parts.iter().any(|part| message.contains(part));
    if record.success || class == "empty_reply" {
        // A reasoning model may use all tokens before its answer.
        Finding::Supported
    } else if class == "ValidationException" && names(&["service tier", "Reservation not found"]) {
        Finding::Unsupported
    } else if ACCOUNT.contains(&class)
        || class::is_credential_failure(class)
        || class == "ValidationException" && names(&MODEL)
    {
        Finding::Refused
    } else if !class.is_empty() && !class::was_sent(class) {
        Finding::Unreachable
    } else {
        Finding::Unclear
    }
}

/// Whether the pre-flight ends the run: no cell is left, or an unsupported cell stops the plan.
pub(crate) fn ends_run(checked: &[ProbeResult], on_unsupported: OnUnsupported) -> bool {
    excludes_every_cell(checked)
        || on_unsupported == OnUnsupported::Stop && checked.iter().any(ProbeResult::is_excluded)
}

fn excludes_every_cell(checked: &[ProbeResult]) -> bool {
    let is_lost = |checked: &ProbeResult| checked.is_excluded() || checked.finding == Some(Finding::Unreachable);
    !checked.is_empty() && checked.iter().all(is_lost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Outcome;
    use crate::record::request::tests::record;

    fn probe_result(class: &str, message: &str) -> ProbeResult {
        let mut checked = probes(&crate::matrix::expand(&crate::plan::tests::plan())).remove(0);
        checked.set_outcome(&Record {
            success: false,
            outcome: Outcome::Failed,
            error_class: Some(class.into()),
            error_message: Some(message.into()),
            ..record()
        });
        checked
    }

    #[test]
    fn each_combination_is_probed_once() {
        let mut plan = crate::plan::tests::plan();
        plan.matrix.region_prefixes = vec!["us".into(), "global".into()];
        let cells = crate::matrix::expand(&plan);
        let probes = probes(&cells);
        assert_eq!(probes.len(), 2 * plan.matrix.service_tiers.len(), "users and prompts are not probed");
        assert!(cells.iter().all(|cell| probes.iter().any(|checked| checked.probe.key() == ProbeKey::from_cell(cell))));
    }

    #[test]
    fn only_request_independent_errors_exclude_cells() {
        let cases = [
            ("ValidationException", "The provided service tier is not supported for this model", Finding::Unsupported),
            ("ValidationException", "Reservation not found.", Finding::Unsupported),
            (
                "ValidationException",
                "Invocation of model ID X with on-demand throughput isn't supported.",
                Finding::Refused,
            ),
            ("AccessDeniedException", "You don't have access to the model.", Finding::Refused),
            ("ResourceNotFoundException", "", Finding::Refused),
            ("ExpiredTokenException", "", Finding::Refused),
            ("ValidationException", "max_tokens is too small", Finding::Unclear),
            ("ThrottlingException", "Too many requests", Finding::Unclear),
            ("ServiceUnavailableException", "", Finding::Unclear),
            ("timeout", "", Finding::Unclear),
            ("reset", "", Finding::Unclear),
            ("dns", "", Finding::Unreachable),
            ("empty_reply", "", Finding::Supported),
        ];
        for (class, message, finding) in cases {
            let checked = probe_result(class, message);
            assert_eq!(checked.finding, Some(finding), "{class}: {message}");
            assert_eq!(checked.is_excluded(), matches!(finding, Finding::Unsupported | Finding::Refused));
        }
        assert!(excludes_every_cell(&[probe_result("dns", ""), probe_result("AccessDeniedException", "")]));
        assert!(
            !excludes_every_cell(&[probe_result("dns", ""), probe_result("timeout", "")]) && !excludes_every_cell(&[])
        );
    }
}
