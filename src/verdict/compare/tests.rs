//! Verdicts on synthetic sessions with a known truth.

use super::super::baseline::{CellStatistics, Session, SessionCell};
use super::*;
use serde_json::json;

const HOUR_MS: u64 = 3_600_000;

pub(crate) fn cell(id: &str, typical_ms: f64) -> SessionCell {
    let tier = id.split('_').next().unwrap();
    SessionCell {
        cell_hash: format!("hash of {id}"),
        test_id: id.into(),
        settings: [("service_tier".to_owned(), json!(tier)), ("users".to_owned(), json!(5))].into(),
        numbers: Ok(CellStatistics {
            n: 300,
            typical_ms: Some(typical_ms),
            p95_ms: Some(typical_ms * 2.0),
            typical_error: None,
            p95_error: None,
        }),
    }
}

pub(crate) fn session(number: u64, cells: Vec<SessionCell>) -> Session {
    Session {
        id: format!("s{number}"),
        started_ms: 1_795_511_763_000 + number * 24 * HOUR_MS,
        tool_version: "0.1.0".into(),
        endpoint: "aws".into(),
        region: Some("us-east-1".into()),
        cells,
    }
}

/// Sessions that differ by 1 %.
pub(crate) fn base(sessions: u64) -> Vec<Session> {
    let level = |number: u64| 1.0 + 0.01 * (number % 3) as f64;
    (0..sessions)
        .map(|number| {
            let at = level(number);
            session(
                number,
                vec![cell("default_a", 100.0 * at), cell("default_b", 200.0 / at), cell("flex_a", 150.0 * at)],
            )
        })
        .collect()
}

fn verdicts(comparison: &Comparison) -> Vec<(&str, &str, &str)> {
    comparison.rows.iter().map(|row| (row.test_id.as_str(), row.metric.key(), row.verdict.key())).collect()
}

#[test]
fn slower_cell_is_a_regression() {
    let new = [session(9, vec![cell("default_a", 101.0), cell("default_b", 199.0), cell("flex_a", 175.0)])];
    let comparison = compare(&base(5), &new);
    assert_eq!(
        verdicts(&comparison),
        [
            ("default_a", "typical", "PASS"),
            ("default_a", "p95", "PASS"),
            ("default_b", "typical", "PASS"),
            ("default_b", "p95", "PASS"),
            ("flex_a", "typical", "REGRESSED"),
            ("flex_a", "p95", "REGRESSED"),
        ]
    );
    assert!(comparison.is_failed() && comparison.warnings.is_empty(), "{:?}", comparison.warnings);
    assert_eq!(comparison.tests, 6);
    let change = comparison.rows[4].change.unwrap();
    let base_ms = 150.0 * (1.0_f64 * 1.01 * 1.02 * 1.0 * 1.01).powf(0.2);
    assert!((change.base_ms - base_ms).abs() < 1e-9 && (change.new_ms - 175.0).abs() < 1e-9, "{change:?}");
    assert!((change.share - (175.0 / base_ms - 1.0)).abs() < 1e-12);
    let (low, high) = change.interval.unwrap();
    assert!(low < change.share && change.share < high);
}

#[test]
fn common_change_is_reported_as_drift() {
    let new = [session(9, vec![cell("default_a", 130.0), cell("default_b", 250.0), cell("flex_a", 190.0)])];
    let comparison = compare(&base(5), &new);
    let drift = comparison.drift[0];
    assert_eq!((drift.metric, drift.cells), (Metric::Typical, 3));
    assert!((0.25..0.27).contains(&drift.change), "{drift:?}");
}

#[test]
fn fewer_than_three_baseline_sessions_only_warn() {
    let new = [session(9, vec![cell("default_a", 150.0), cell("default_b", 200.0), cell("flex_a", 150.0)])];
    let two = compare(&base(2), &new);
    assert_eq!(two.rows[0].verdict, Verdict::Regressed);
    assert!(!two.is_failed());
    assert!(two.rows[0].reason.contains("a regression only warns"), "{:?}", two.rows[0]);
    assert!(two.warnings[0].contains("only warn"), "{:?}", two.warnings);
    let one = compare(&base(1), &new);
    assert!(one.rows.iter().all(|row| row.verdict == Verdict::Inconclusive && row.change.unwrap().interval.is_none()));
    assert!(one.rows[0].reason.contains("one session against one"), "{:?}", one.rows[0]);
    assert!(compare(&base(3), &new).is_failed());
}

#[test]
fn unusable_numbers_are_inconclusive() {
    let mut cells = vec![cell("default_a", 500.0), cell("default_b", 200.0), cell("flex_a", 150.0)];
    cells[0].numbers = Err("INVALID: CPU 95 % of 2 cores".into());
    cells[1].numbers =
        Ok(CellStatistics { n: 40, typical_ms: Some(200.0), p95_ms: None, typical_error: None, p95_error: None });
    cells[2].numbers =
        Ok(CellStatistics { n: 300, typical_ms: Some(150.0), p95_ms: None, typical_error: None, p95_error: None });
    let comparison = compare(&base(5), &[session(9, cells)]);
    let lines: Vec<String> = comparison
        .rows
        .iter()
        .map(|row| format!("{} {}: {} {}", row.test_id, row.metric.key(), row.verdict.key(), row.reason))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
    assert!(!comparison.is_failed());
}

#[test]
fn unmatched_cells_are_listed_with_their_differences() {
    let mut longer = cell("default_a", 100.0);
    longer.cell_hash = "other".into();
    longer.settings.insert("test_duration".into(), json!("5m"));
    let mut reworded = cell("default_b", 200.0);
    reworded.cell_hash = "another".into();
    let new = [session(9, vec![longer, reworded, cell("flex_a", 150.0)])];
    let comparison = compare(&base(5), &new);
    assert_eq!(comparison.rows.len(), 2);
    let lines: Vec<String> = comparison
        .unmatched
        .iter()
        .map(|cell| format!("{} {}: {}", if cell.is_new { "new" } else { "baseline" }, cell.test_id, cell.differs))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
    assert_eq!(compare(&[], &new).unmatched.len(), 3);
}

#[test]
fn session_warnings_are_reported() {
    let mut near = session(9, vec![cell("flex_a", 150.0)]);
    near.started_ms = session(4, Vec::new()).started_ms + 59 * 60_000;
    near.region = Some("eu-central-1".into());
    near.tool_version = "0.2.0".into();
    let mut new = vec![near];
    new.extend((10..15).map(|number| session(number, vec![cell("flex_a", 150.0)])));
    insta::assert_snapshot!(compare(&base(5), &new).warnings.join("\n"));
}

#[test]
fn missing_cell_of_a_baseline_session_does_not_affect_others() {
    let mut sessions = base(5);
    sessions[0].cells.remove(2);
    let new = [session(9, vec![cell("default_a", 101.0), cell("default_b", 199.0), cell("flex_a", 175.0)])];
    let comparison = compare(&sessions, &new);
    assert_eq!(comparison.rows[4].change.unwrap().base_sessions, 4);
    assert_eq!(comparison.rows[0].change.unwrap().base_sessions, 5);
    assert!(comparison.unmatched.is_empty());
}
