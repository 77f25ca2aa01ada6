//! The pre-flight: one small request for each way in which the cells of a run ask, and what its end
//! says of them. Knows how an end is judged, not how a request is sent.

use super::{Record, class};
use crate::matrix::Cell;
use crate::plan::{Api, OnUnsupported};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// A way to ask: what a service may refuse whatever the load and the prompt.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Probe {
    /// The AWS region that is called; nothing is the profile's. First, so that no probe's text begins another's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    /// Without prefix, or an ARN.
    pub(crate) model_id: String,
    /// `none` is the bare model id.
    pub(crate) region_prefix: String,
    /// `none` leaves the field out.
    pub(crate) service_tier: String,
    /// The operation.
    pub(crate) api: Api,
}

/// The way in which a cell asks, for look-ups: model, prefix, tier, api and region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ProbeKey<'a>(&'a str, &'a str, &'a str, Api, Option<&'a str>);

impl<'a> ProbeKey<'a> {
    pub(super) fn of(cell: &'a Cell) -> Self {
        Self(&cell.model_id, &cell.region_prefix, &cell.service_tier, cell.api, cell.region.as_deref())
    }
}

/// The findings of a pre-flight that exclude cells from the run.
#[derive(Debug)]
pub(crate) struct Excluded<'a>(HashMap<ProbeKey<'a>, &'a Checked>);

impl<'a> Excluded<'a> {
    pub(super) fn new(preflight: &'a [Checked]) -> Self {
        let excluding = preflight.iter().rev().filter(|checked| checked.is_out());
        Self(excluding.map(|checked| (checked.probe.key(), checked)).collect())
    }

    /// What took a cell out of the run before it began.
    pub(crate) fn get(&self, cell: &Cell) -> Option<&'a Checked> {
        self.0.get(&ProbeKey::of(cell)).copied()
    }

    /// The service does not have the cell's tier: nothing failed.
    pub(crate) fn is_unsupported(&self, cell: &Cell) -> bool {
        self.get(cell).is_some_and(|checked| checked.finding == Some(Finding::Unsupported))
    }
}

/// What an end says of the cells that ask so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Finding {
    /// It was answered.
    Supported,
    /// The service does not have this tier for the model.
    Unsupported,
    /// It will not be answered, whatever is asked: no access, no such model, no credentials.
    Refused,
    /// It was never reached: address, name, TLS.
    Unreachable,
    /// Throttled, an error of the service, a timeout: the load may go well all the same.
    Unclear,
}

/// A probe and its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checked {
    /// How it was asked.
    #[serde(flatten)]
    pub(crate) probe: Probe,
    /// Nothing while it has no end, or where it was not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) finding: Option<Finding>,
    /// See [`class`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error_class: Option<String>,
    /// What was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error_message: Option<String>,
    /// The tier that answered, where it is another one than was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) served_by: Option<String>,
}

impl Probe {
    /// How a cell asks.
    fn of(cell: &Cell) -> Self {
        Self {
            model_id: cell.model_id.clone(),
            region_prefix: cell.region_prefix.clone(),
            service_tier: cell.service_tier.clone(),
            api: cell.api,
            region: cell.region.clone(),
        }
    }

    /// What a cell must have to ask so.
    pub(super) fn key(&self) -> ProbeKey<'_> {
        ProbeKey(&self.model_id, &self.region_prefix, &self.service_tier, self.api, self.region.as_deref())
    }

    /// `us.amazon.nova-pro-v1:0 on flex, converse, in us-west-2`.
    fn shown(&self) -> String {
        let prefix = if self.region_prefix == "none" { String::new() } else { format!("{}.", self.region_prefix) };
        let tier =
            if self.service_tier == "none" { "without a tier".into() } else { format!("on {}", self.service_tier) };
        let region = self.region.as_ref().map_or_else(String::new, |region| format!(", in {region}"));
        format!("{prefix}{} {tier}, {}{region}", self.model_id, self.api)
    }
}

/// How cells ask, each way once, in their order.
pub(crate) fn probes<'a>(cells: impl IntoIterator<Item = &'a Cell>) -> Vec<Checked> {
    let mut probes: Vec<Checked> = Vec::new();
    let mut known = HashSet::new();
    for cell in cells {
        if known.insert(ProbeKey::of(cell)) {
            let probe = Probe::of(cell);
            probes.push(Checked { probe, finding: None, error_class: None, error_message: None, served_by: None });
        }
    }
    probes
}

/// The indices of the cells that ask as each probe does, by probe.
pub(crate) fn asking<'a>(preflight: &[Checked], cells: impl IntoIterator<Item = &'a Cell>) -> Vec<Vec<usize>> {
    let probes = preflight.iter().enumerate().map(|(index, checked)| (checked.probe.key(), index));
    let probes: HashMap<ProbeKey, usize> = probes.collect();
    let mut asking = vec![Vec::new(); preflight.len()];
    for (index, cell) in cells.into_iter().enumerate() {
        if let Some(probe) = probes.get(&ProbeKey::of(cell)) {
            asking[*probe].push(index);
        }
    }
    asking
}

impl Checked {
    /// Takes the end of its request.
    pub(crate) fn learn(&mut self, record: &Record) {
        let (class, message) = (record.error_class.as_deref(), record.error_message.as_deref());
        self.finding = Some(judge(record, class.unwrap_or_default(), message.unwrap_or_default()));
        self.error_class.clone_from(&record.error_class);
        self.error_message.clone_from(&record.error_message);
        let asked = &self.probe.service_tier;
        self.served_by = record.resolved_service_tier.clone().filter(|tier| asked != "none" && tier != asked);
    }

    /// Its cells are not run.
    pub(crate) fn is_out(&self) -> bool {
        matches!(self.finding, Some(Finding::Unsupported | Finding::Refused))
    }

    /// What a person should know, with what to do about it; nothing where all is well. `cells` is how many ask so.
    pub(crate) fn sentence(&self, cells: usize) -> Option<String> {
        let shown = self.probe.shown();
        let (class, message) =
            (self.error_class.as_deref().unwrap_or_default(), self.error_message.as_deref().unwrap_or_default());
        let said = match (class, message) {
            // It was given up.
            ("", _) => "stopped".to_owned(),
            (class, "") => class.to_owned(),
            (class, message) => format!("{class}: {message}"),
        };
        let hint = class::hint(class, message).map_or_else(String::new, |hint| format!(" ({hint})"));
        let its = if cells == 1 { "its cell is".into() } else { format!("its {cells} cells are") };
        Some(match self.finding {
            None => format!("{shown}: not asked"),
            Some(Finding::Supported) => {
                let tier = self.served_by.as_ref()?;
                format!("{shown}: answered by the tier {tier}; such replies leave the latencies and are counted")
            }
            Some(Finding::Unsupported | Finding::Refused) => {
                format!("{shown}: {its} left out: {said}{hint}")
            }
            Some(Finding::Unreachable | Finding::Unclear) => format!("{shown}: no answer yet: {said}{hint}"),
        })
    }

    /// `us.amazon.nova-pro-v1:0 on flex, converse: answered`.
    pub(crate) fn line(&self, cells: usize) -> String {
        self.sentence(cells).unwrap_or_else(|| format!("{}: answered", self.probe.shown()))
    }
}

fn judge(record: &Record, class: &str, message: &str) -> Finding {
    // What holds for the model or the account, and not for what was said to it.
    const ACCOUNT: [&str; 2] = ["AccessDeniedException", "ResourceNotFoundException"];
    const MODEL: [&str; 3] = ["on-demand throughput", "model identifier is invalid", "inference profile"];
    let names = |parts: &[&str]| parts.iter().any(|part| message.contains(part));
    if record.success || class == "empty_reply" {
        // A reasoning model may have nothing to say in so few tokens.
        Finding::Supported
    } else if class == "ValidationException" && names(&["service tier", "Reservation not found"]) {
        Finding::Unsupported
    } else if ACCOUNT.contains(&class) || class::is_unsigned(class) || class == "ValidationException" && names(&MODEL) {
        Finding::Refused
    } else if !class.is_empty() && !class::was_sent(class) {
        Finding::Unreachable
    } else {
        Finding::Unclear
    }
}

/// Nothing may run after this: it left nobody to be asked, or it found what stops the plan.
pub(crate) fn grounds(checked: &[Checked], on_unsupported: OnUnsupported) -> bool {
    leaves_nothing(checked) || on_unsupported == OnUnsupported::Stop && checked.iter().any(Checked::is_out)
}

fn leaves_nothing(checked: &[Checked]) -> bool {
    let is_hopeless = |checked: &Checked| checked.is_out() || checked.finding == Some(Finding::Unreachable);
    !checked.is_empty() && checked.iter().all(is_hopeless)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Outcome;
    use crate::record::request::tests::record;

    fn found(class: &str, message: &str) -> Checked {
        let mut checked = probes(&crate::matrix::expand(&crate::plan::tests::plan())).remove(0);
        checked.learn(&Record {
            success: false,
            outcome: Outcome::Failed,
            error_class: Some(class.into()),
            error_message: Some(message.into()),
            ..record()
        });
        checked
    }

    #[test]
    fn each_way_to_ask_is_asked_once() {
        let mut plan = crate::plan::tests::plan();
        plan.matrix.region_prefixes = vec!["us".into(), "global".into()];
        let cells = crate::matrix::expand(&plan);
        let probes = probes(&cells);
        assert_eq!(probes.len(), 2 * plan.matrix.service_tiers.len(), "neither users nor prompts are asked");
        assert!(cells.iter().all(|cell| probes.iter().any(|checked| checked.probe.key() == ProbeKey::of(cell))));
    }

    #[test]
    fn only_what_no_other_request_could_change_takes_cells_out() {
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
            let checked = found(class, message);
            assert_eq!(checked.finding, Some(finding), "{class}: {message}");
            assert_eq!(checked.is_out(), matches!(finding, Finding::Unsupported | Finding::Refused));
        }
        assert!(leaves_nothing(&[found("dns", ""), found("AccessDeniedException", "")]));
        assert!(!leaves_nothing(&[found("dns", ""), found("timeout", "")]) && !leaves_nothing(&[]));
    }
}
