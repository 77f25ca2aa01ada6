//! The cost of a run, for people and for files. A cost is shown as a total only if all of its parts are known.

use super::entry::Entry;
use super::text;
use crate::prices::Unpriced;
use crate::record::manifest::Manifest;
use crate::stats::{CellSummary, Summary};
use crate::units::Usd;

/// Returns the cost entries of a cell's page.
pub(super) fn entries(summary: &CellSummary) -> Vec<Entry> {
    let spend = &summary.spend;
    let mut entries = match spend.known() {
        Some(total) => vec![
            Entry::new("every request, USD", total.to_string()),
            Entry::new("per 1,000 replies, USD", usd(spend.per_1k_requests())),
            Entry::new("per million output tokens, USD", usd(spend.per_1m_output_tokens())),
        ],
        None => vec![Entry::new("every request, USD", text::NOTHING)],
    };
    if let Some(unknown) = unknown(summary) {
        entries.push(Entry::new("not known", unknown.trim_start_matches("cost not known: ").to_owned()));
    }
    let broken = spend.unreported.saturating_sub(spend.without_usage);
    if broken > 0 {
        let text = format!(
            "{} without a complete reply: Bedrock reported no tokens, but may charge for them",
            requests(broken)
        );
        entries.push(Entry::new("not included", text));
    }
    if spend.without_usage > 0 {
        let text = format!("{} succeeded without reporting tokens", requests(spend.without_usage));
        entries.push(Entry::new("cost not known", text));
    }
    entries
}

/// Returns the cost sentences for the end of a run: the total, the price sources, and the items without a price.
pub(super) fn sentences(manifest: &Manifest, summary: &Summary) -> Vec<String> {
    let known: Vec<&CellSummary> = summary.cells.iter().filter(|cell| cell.spend.known().is_some()).collect();
    let total = known.iter().map(|cell| cell.spend.total).sum::<Usd>() + summary.preflight.total;
    let measured = summary.cells.iter().filter(|cell| cell.counts.total > 0).count();
    let mut sentences = Vec::new();
    if !known.is_empty() {
        let would = if manifest.simulated() { "this would have cost" } else { "cost:" };
        let of =
            if known.len() < measured { format!(", of {} of {measured} cells", known.len()) } else { String::new() };
        let sources = sources(manifest);
        sentences.push(format!("{would} {total} USD{of} (prices: {sources})"));
    }
    let mut unpriced: Vec<String> = summary.cells.iter().filter_map(unknown).collect();
    unpriced.dedup();
    unpriced.sort();
    unpriced.dedup();
    sentences.extend(unpriced);
    let without_usage: u64 = summary.cells.iter().map(|cell| cell.spend.without_usage).sum();
    if without_usage > 0 {
        sentences.push(format!("cost not known: {} succeeded without reporting tokens", requests(without_usage)));
    }
    let unreported: u64 =
        summary.cells.iter().map(|cell| cell.spend.unreported.saturating_sub(cell.spend.without_usage)).sum();
    if unreported > 0 && !known.is_empty() {
        sentences.push(format!(
            "not in the cost: {} without a complete reply; Bedrock reported no tokens, but may charge for them",
            requests(unreported)
        ));
    }
    sentences
}

/// Returns which items have no price and how to set one.
fn unknown(summary: &CellSummary) -> Option<String> {
    let (tier, unpriced) = (summary.spend.unpriced_tier.as_ref()?, summary.spend.unpriced_what?);
    let (model_id, region_prefix) = (&summary.cell.model_id, &summary.cell.region_prefix);
    if unpriced == Unpriced::Model {
        return Some(format!(
            "cost not known: no price for {model_id} ({region_prefix}, {tier}); add it under [prices]"
        ));
    }
    let message = unpriced.message((model_id, region_prefix, tier));
    Some(format!("{}. Add it under [prices].", message.replacen("no price", "No price", 1)))
}

/// Returns the price sources whose rows may have been used.
fn sources(manifest: &Manifest) -> String {
    let mut sources: Vec<&str> = Vec::new();
    for price in &manifest.prices {
        let source = if price.source.is_empty() { "the plan" } else { &price.source };
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    sources.join("; ")
}

fn requests(number: u64) -> String {
    let noun = if number == 1 { "request" } else { "requests" };
    format!("{} {noun}", text::thousands(number as f64, 0))
}

/// Returns the total cost including the pre-flight, or `None` if no cell sent requests or the cost of such a cell is
/// not wholly known.
pub(super) fn total(summary: &Summary) -> Option<String> {
    let measured: Vec<&CellSummary> = summary.cells.iter().filter(|cell| cell.counts.total > 0).collect();
    let known: Option<Usd> = measured.iter().map(|cell| cell.spend.known()).sum();
    let others = summary.cells.iter().filter(|cell| cell.counts.total == 0).map(|cell| cell.spend.total).sum::<Usd>();
    let total = known.filter(|_| !measured.is_empty()).map(|known| known + others + summary.preflight.total);
    total.map(|total| shown(Some(total.as_f64())))
}

/// Formats US dollars with the significant digits: `1,204`, `14.63`, `0.1463`, `0.001463`.
pub(super) fn shown(usd: Option<f64>) -> String {
    let Some(usd) = usd else { return text::NOTHING.into() };
    let decimals = match usd {
        usd if usd >= 999.5 || usd == 0.0 => 0,
        usd if usd >= 1.0 => 2,
        usd => (3.0 - usd.log10().floor()).clamp(2.0, 8.0) as usize,
    };
    text::thousands(usd, decimals)
}

/// Formats US dollars with four significant digits, since the price of a single request is small.
pub(crate) fn usd(value: Option<f64>) -> String {
    value.map_or_else(|| text::NOTHING.into(), |value| text::thousands(value, if value >= 1.0 { 2 } else { 6 }))
}
