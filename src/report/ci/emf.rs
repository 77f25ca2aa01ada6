//! `CloudWatch` embedded metric format: one line per cell. `CloudWatch` Logs converts each line to metrics with the
//! plan, the cell and the endpoint as dimensions.

use crate::report::ReportError;
use crate::report::compare::{CompareView, RowView};
use crate::report::view::{CellView, View};
use crate::result::{Quality, Validity, Verdict};
use crate::units::rounded;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// Namespace of the metrics.
const NAMESPACE: &str = "bedrock-plan";

/// Dimensions of the metrics.
const DIMENSIONS: [&str; 3] = ["plan", "test_id", "endpoint"];

/// Name, `CloudWatch` unit and value of a metric.
type Metric = (&'static str, &'static str, Option<f64>);

/// Returns the lines of a run.
pub(super) fn of_run(view: &View) -> Result<Vec<u8>, ReportError> {
    let line = |cell: &CellView| {
        let result = &cell.result;
        let (counts, latency) = (&result.requests.counts, &result.verdict_response_time);
        let mut facts: Map<String, Value> =
            result.axes.0.iter().map(|(field, value)| ((*field).to_owned(), json!(value))).collect();
        facts.insert("run_id".into(), json!(view.run.run_id));
        facts.insert("validity".into(), json!(result.validity));
        if let Some(running) = &view.run.running {
            facts.insert("running".into(), json!(running));
        }
        let count = |verdict| cell.slo.iter().filter(|row| row.verdict == verdict).count() as f64;
        let judged = |verdict| (!cell.slo.is_empty()).then(|| count(verdict));
        let usable = |value: Option<f64>| value.filter(|_| result.validity == Validity::Ok);
        let p95 = latency.percentile(0.95).filter(|p95| p95.quality == Quality::Ok).map(|p95| p95.value_ms);
        let metrics = [
            ("requests", "Count", Some(counts.total as f64)),
            ("failures", "Count", Some(counts.failures() as f64)),
            ("throttled", "Count", Some(counts.throttled as f64)),
            ("blocked", "Count", Some(result.requests.blocked as f64)),
            ("p50", "Milliseconds", usable(latency.at(0.5))),
            ("p95", "Milliseconds", usable(p95)),
            ("ttft_p50", "Milliseconds", usable(result.time_to_first_token.as_ref().and_then(|ttft| ttft.at(0.5)))),
            ("requests_per_sec", "Count/Second", usable(result.requests_per_sec)),
            ("output_tokens_per_sec", "Count/Second", usable(result.output_tokens_per_sec)),
            ("thresholds_failed", "Count", judged(Verdict::Fail)),
            ("thresholds_inconclusive", "Count", judged(Verdict::Inconclusive)),
        ];
        one([&view.run.name, &cell.id, &view.run.endpoint], view.run.started_ms, facts, &metrics)
    };
    lines(view.cells.iter().map(line))
}

/// Returns the lines of a comparison.
pub(super) fn of_comparison(view: &CompareView) -> Result<Vec<u8>, ReportError> {
    let Some(session) = view.new.last() else { return Ok(Vec::new()) };
    let mut ids: Vec<&str> = view.rows.iter().map(|row| row.result.test_id.as_str()).collect();
    ids.dedup();
    let mut by_cell: HashMap<&str, Vec<&RowView>> = HashMap::new();
    for row in &view.rows {
        by_cell.entry(row.result.test_id.as_str()).or_default().push(row);
    }
    let line = |id: &str| {
        let rows = || by_cell.get(id).into_iter().flatten();
        let row = |metric: &str| rows().find(|row| row.result.metric == metric);
        let change = |metric: &str| row(metric).and_then(|row| row.result.change).map(|share| share * 100.0);
        let count = |verdict: &str| rows().filter(|row| row.result.verdict == Some(verdict)).count() as f64;
        let called = |verdict: &str| view.judged.then(|| count(verdict));
        let verdicts =
            rows().filter_map(|row| Some((format!("verdict_{}", row.result.metric), json!(row.result.verdict?))));
        let mut facts: Map<String, Value> = verdicts.collect();
        facts.insert("run_id".into(), json!(session.id));
        facts.insert("baseline".into(), json!(view.baseline));
        let metrics = [
            ("change_typical", "Percent", change("typical")),
            ("change_p95", "Percent", change("p95")),
            ("regressed", "Count", called("REGRESSED")),
            ("suspect", "Count", called("SUSPECT")),
            ("inconclusive", "Count", called("INCONCLUSIVE")),
        ];
        one([&view.name, id, &session.endpoint], session.started_ms, facts, &metrics)
    };
    lines(ids.into_iter().map(line))
}

/// Returns one line: the metric directive, the dimensions, values that are only logged, and the metrics that have a
/// value.
fn one(dimensions: [&str; 3], at_ms: u64, facts: Map<String, Value>, metrics: &[Metric]) -> Value {
    let known = || metrics.iter().filter_map(|(name, unit, value)| Some((*name, *unit, (*value)?)));
    let mut line = Map::new();
    line.insert(
        "_aws".into(),
        json!({
            "Timestamp": at_ms,
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [DIMENSIONS],
                "Metrics": known().map(|(name, unit, _)| json!({ "Name": name, "Unit": unit })).collect::<Vec<_>>(),
            }],
        }),
    );
    line.extend(facts);
    line.extend(DIMENSIONS.iter().zip(dimensions).map(|(name, value)| ((*name).to_owned(), json!(value))));
    line.extend(known().map(|(name, _, value)| (name.to_owned(), json!(rounded(value, 3)))));
    Value::Object(line)
}

fn lines(lines: impl Iterator<Item = Value>) -> Result<Vec<u8>, ReportError> {
    let mut bytes = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut bytes, &line).map_err(|error| ReportError::Json(error.to_string()))?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}
