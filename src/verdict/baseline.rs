//! A baseline: the statistics of earlier sessions that a comparison needs, in a small JSON file for version control
//! and code review. Converts from and to text; does no I/O.
//!
//! A run is one session. Cells with unusable numbers (INVALID, aborted, incomplete) are excluded with a reason.

use crate::matrix::Cell;
use crate::plan::Endpoint;
use crate::record::hash;
use crate::record::manifest::{Manifest, PlannedCell};
use crate::result::Validity;
use crate::stats::{CellSummary, Summary};
use crate::units::explained::Explained;
use crate::units::rounded;
use crate::units::timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// File format version that this tool reads and writes.
const FORMAT: u32 = 1;

/// Minimum time between the starts of two independent sessions, milliseconds.
pub(crate) const MIN_SESSION_GAP_MS: u64 = 3_600_000;

/// The part of a run that is compared.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Session {
    pub(crate) id: String,
    /// Start, epoch milliseconds.
    pub(crate) started_ms: u64,
    pub(crate) tool_version: String,
    /// `aws` for any AWS host, `simulated`, or `url` for any other server.
    pub(crate) endpoint: String,
    /// Resolved AWS region.
    pub(crate) region: Option<String>,
    /// In matrix order; in a baseline sorted by id and hash.
    pub(crate) cells: Vec<SessionCell>,
}

/// One cell of a session.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SessionCell {
    /// Identifies the cell across runs.
    pub(crate) cell_hash: String,
    /// Cell id in that run.
    pub(crate) test_id: String,
    /// Settings that the hash covers, without the prompt and without built-in defaults.
    pub(crate) settings: BTreeMap<String, Value>,
    /// The statistics, or the reason why they cannot be used.
    pub(crate) numbers: Result<CellStatistics, String>,
}

/// The statistics that are compared; see `stats::location`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CellStatistics {
    /// Number of requests.
    pub(crate) n: usize,
    /// Typical time, milliseconds.
    pub(crate) typical_ms: Option<f64>,
    /// 95th percentile, milliseconds.
    pub(crate) p95_ms: Option<f64>,
    /// Standard error of ln(typical time) over the requests of the session.
    pub(crate) typical_error: Option<f64>,
    /// Standard error of ln(p95) over the requests of the session.
    pub(crate) p95_error: Option<f64>,
}

impl SessionCell {
    /// Returns the requested service tier.
    pub(crate) fn tier(&self) -> &str {
        self.settings.get("service_tier").and_then(Value::as_str).unwrap_or_default()
    }
}

/// Reason why a file cannot be read as a baseline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BaselineError {
    #[error("the file is empty")]
    Empty,
    #[error("format `{0}` is newer than format {FORMAT}, the newest that this version reads")]
    NewerFormat(u64),
    #[error("not a baseline: {0}")]
    Damaged(String),
}

impl Explained for BaselineError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NewerFormat(_) => "update bedrock-plan".into(),
            Self::Empty | Self::Damaged(_) => {
                "restore it from version control, or create a new one with `bedrock-plan baseline add DIR --to FILE`"
                    .into()
            }
        })
    }
}

/// Extracts the compared statistics of a run.
pub(crate) fn session_from_run(manifest: &Manifest, summary: &Summary) -> Session {
    // Baselines are shared: they record whether the host belongs to AWS, not its name.
    let endpoint = match Endpoint::parse(&manifest.endpoint) {
        Ok(Endpoint::Url(url)) if url.is_aws() => "aws",
        Ok(Endpoint::Url(_)) if manifest.simulated() => "simulated",
        Ok(Endpoint::Url(_)) => "url",
        _ => &manifest.endpoint,
    };
    let measured = |(planned, cell): (&PlannedCell, &CellSummary)| {
        let location = cell.location();
        let numbers = CellStatistics {
            n: location.n,
            typical_ms: location.typical_ms.map(round_ms),
            p95_ms: location.p95_ms.map(round_ms),
            typical_error: location.typical_error.map(round_error),
            p95_error: location.p95_error.map(round_error),
        };
        SessionCell {
            cell_hash: planned.cell_hash.clone(),
            test_id: cell.cell.id.clone(),
            settings: hashed_settings(&planned.cell, manifest),
            numbers: exclusion_reason(manifest, cell).map_or(Ok(numbers), Err),
        }
    };
    Session {
        id: manifest.run_id.clone(),
        started_ms: manifest.started_ms,
        tool_version: manifest.tool_version.clone(),
        endpoint: endpoint.to_owned(),
        region: manifest.region.clone(),
        cells: manifest.cells.iter().zip(&summary.cells).map(measured).collect(),
    }
}

fn hashed_settings(cell: &Cell, manifest: &Manifest) -> BTreeMap<String, Value> {
    hash::hashed_fields(cell, &manifest.plan.target).into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Rounds to the precision of the file, so that a run does not change when it is written and read back.
fn round_ms(ms: f64) -> f64 {
    rounded(ms, 3)
}

/// Rounds a standard error to the precision of the file.
fn round_error(share: f64) -> f64 {
    rounded(share, 6)
}

/// Returns why the numbers of a cell cannot be compared.
fn exclusion_reason(manifest: &Manifest, summary: &CellSummary) -> Option<String> {
    match &summary.validity {
        Validity::NotRun => return Some("not run".into()),
        Validity::Unsupported(why) | Validity::Refused(why) => return Some(format!("skipped: {why}")),
        Validity::Aborted => return Some("aborted before it measured anything".into()),
        Validity::Invalid(reason) => return Some(format!("INVALID: {reason}")),
        Validity::Ok => {}
    }
    match summary.stopped {
        Some(stopped) if stopped.is_resumable() => {
            // Shards start together: a sharded run cannot be resumed.
            let hint = if manifest.shards.is_none() { "; complete it with `run --resume`" } else { "" };
            Some(format!("incomplete{hint}"))
        }
        Some(_) => Some("ended early by a threshold".into()),
        None => summary.record_damage().map(str::to_owned),
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    cells: Vec<FileCell>,
    sessions: Vec<FileSession>,
}

/// The settings behind a cell hash, listed once for all sessions.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileCell {
    cell_hash: String,
    #[serde(rename = "asked")]
    settings: BTreeMap<String, Value>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSession {
    id: String,
    started: String,
    tool_version: String,
    endpoint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    cells: Vec<FileStatistics>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileStatistics {
    test_id: String,
    n: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    typical_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    p95_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    typical_error: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    p95_error: Option<f64>,
    cell_hash: String,
}

/// Parses a baseline file and returns its sessions, oldest first.
///
/// # Errors
/// Returns an error if this version cannot read the text as a baseline.
pub(crate) fn parse(text: &str) -> Result<Vec<Session>, BaselineError> {
    #[derive(Deserialize)]
    struct Head {
        format: u64,
    }
    let damaged = |message: String| BaselineError::Damaged(message);
    if text.trim().is_empty() {
        return Err(BaselineError::Empty);
    }
    let head: Head = serde_json::from_str(text).map_err(|error| damaged(error.to_string()))?;
    if head.format > u64::from(FORMAT) {
        return Err(BaselineError::NewerFormat(head.format));
    }
    let file: File = serde_json::from_str(text).map_err(|error| damaged(error.to_string()))?;
    let settings: BTreeMap<&str, &BTreeMap<String, Value>> =
        file.cells.iter().map(|cell| (cell.cell_hash.as_str(), &cell.settings)).collect();
    let mut sessions = Vec::new();
    for session in &file.sessions {
        let invalid = |problem: &str| damaged(format!("session `{}`: {problem}", session.id));
        let started_ms =
            timestamp::parse_iso(&session.started).ok_or_else(|| invalid("`started` is not an ISO 8601 time"))?;
        let mut cells = Vec::new();
        for cell in &session.cells {
            let settings = settings
                .get(cell.cell_hash.as_str())
                .ok_or_else(|| invalid(&format!("the cell_hash of `{}` is not listed in `cells`", cell.test_id)))?;
            let times = [cell.typical_ms, cell.p95_ms];
            if times.iter().flatten().any(|ms| !ms.is_finite() || *ms <= 0.0) {
                return Err(invalid(&format!("`{}` has a time that is not positive", cell.test_id)));
            }
            let errors = [cell.typical_error, cell.p95_error];
            if errors.iter().flatten().any(|error| !error.is_finite() || *error < 0.0) {
                return Err(invalid(&format!("`{}` has a negative standard error", cell.test_id)));
            }
            cells.push(SessionCell {
                cell_hash: cell.cell_hash.clone(),
                test_id: cell.test_id.clone(),
                settings: (*settings).clone(),
                numbers: Ok(CellStatistics {
                    n: cell.n,
                    typical_ms: cell.typical_ms,
                    p95_ms: cell.p95_ms,
                    typical_error: cell.typical_error,
                    p95_error: cell.p95_error,
                }),
            });
        }
        if sessions.iter().any(|known: &Session| known.id == session.id) {
            return Err(invalid("duplicate id"));
        }
        sessions.push(Session {
            id: session.id.clone(),
            started_ms,
            tool_version: session.tool_version.clone(),
            endpoint: session.endpoint.clone(),
            region: session.region.clone(),
            cells,
        });
    }
    sort_by_start(&mut sessions);
    Ok(sessions)
}

/// Sorts sessions by start, oldest first.
pub(crate) fn sort_by_start(sessions: &mut [Session]) {
    sessions.sort_by(|a, b| a.started_ms.cmp(&b.started_ms).then_with(|| a.id.cmp(&b.id)));
}

/// Formats a baseline file: sorted, one line per cell, so that an added session is a short diff.
pub(crate) fn format_file(sessions: &[Session]) -> String {
    let mut sessions: Vec<Session> = sessions.to_vec();
    sort_by_start(&mut sessions);
    let usable = |session: &Session| {
        let mut cells: Vec<SessionCell> = session.cells.iter().filter(|cell| cell.numbers.is_ok()).cloned().collect();
        cells.sort_by(|a, b| a.test_id.cmp(&b.test_id).then_with(|| a.cell_hash.cmp(&b.cell_hash)));
        cells
    };
    let cells_by_hash: BTreeMap<String, BTreeMap<String, Value>> =
        sessions.iter().flat_map(usable).map(|cell| (cell.cell_hash, cell.settings)).collect();
    let cells = cells_by_hash.into_iter().map(|(cell_hash, settings)| line("    ", &FileCell { cell_hash, settings }));
    let session = |session: &Session| {
        let cells = usable(session);
        let rows = cells.iter().filter_map(|cell| {
            let numbers = cell.numbers.as_ref().ok()?;
            Some(FileStatistics {
                test_id: cell.test_id.clone(),
                n: numbers.n,
                typical_ms: numbers.typical_ms,
                p95_ms: numbers.p95_ms,
                typical_error: numbers.typical_error,
                p95_error: numbers.p95_error,
                cell_hash: cell.cell_hash.clone(),
            })
        });
        let head = line(
            "    ",
            &FileSession {
                id: session.id.clone(),
                started: timestamp::iso(session.started_ms),
                tool_version: session.tool_version.clone(),
                endpoint: session.endpoint.clone(),
                region: session.region.clone(),
                cells: Vec::new(),
            },
        );
        let rows = rows.map(|row| line("      ", &row)).collect::<Vec<_>>().join(",\n");
        format!("{}, \"cells\": [\n{rows}\n    ]}}", head.trim_end_matches('}'))
    };
    let cells = cells.collect::<Vec<_>>().join(",\n");
    let sessions = sessions.iter().map(session).collect::<Vec<_>>().join(",\n");
    format!("{{\n  \"format\": {FORMAT},\n  \"cells\": [\n{cells}\n  ],\n  \"sessions\": [\n{sessions}\n  ]\n}}\n")
}

/// Formats a value as one line of JSON. These values always serialise.
fn line(indent: &str, value: &impl Serialize) -> String {
    format!("{indent}{}", serde_json::to_string(value).unwrap_or_default())
}

/// Returns a warning for each new session that starts less than an hour from a known or an earlier new session.
pub(crate) fn proximity_warnings(known: &[Session], new: &[Session]) -> Vec<String> {
    let warning = |(index, session): (usize, &Session)| {
        let near = |other: &&Session| other.started_ms.abs_diff(session.started_ms) < MIN_SESSION_GAP_MS;
        let others: Vec<&str> = known.iter().chain(&new[..index]).filter(near).map(|other| other.id.as_str()).collect();
        (!others.is_empty()).then(|| {
            format!(
                "session `{}` starts less than one hour from {}: sessions at different hours are stronger evidence",
                session.id,
                others.join(", ")
            )
        })
    };
    new.iter().enumerate().filter_map(warning).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn measured(test_id: &str, cell_hash: &str, typical_ms: f64) -> SessionCell {
        SessionCell {
            cell_hash: cell_hash.into(),
            test_id: test_id.into(),
            settings: [("service_tier".to_owned(), "flex".into()), ("users".to_owned(), 5.into())].into(),
            numbers: Ok(CellStatistics {
                n: 300,
                typical_ms: Some(typical_ms),
                p95_ms: Some(typical_ms * 1.5),
                typical_error: Some(0.02),
                p95_error: None,
            }),
        }
    }

    fn session(id: &str, started_ms: u64, cells: Vec<SessionCell>) -> Session {
        Session {
            id: id.into(),
            started_ms,
            tool_version: "0.1.0".into(),
            endpoint: "aws".into(),
            region: Some("us-east-1".into()),
            cells,
        }
    }

    #[test]
    fn file_is_sorted_with_one_line_per_cell() {
        let mut cut = measured("us_flex_large_u5", "cc", 1.0);
        cut.numbers = Err("INVALID: CPU".into());
        let sessions = [
            session("second", 1_795_515_363_000, vec![measured("us_flex_small_u5", "aa", 812.25)]),
            session(
                "first",
                1_795_511_763_000,
                vec![measured("us_flex_small_u9", "bb", 900.0), measured("us_flex_small_u5", "aa", 800.5), cut],
            ),
        ];
        insta::assert_snapshot!(format_file(&sessions));
    }

    #[test]
    fn invalid_baselines_are_rejected_with_a_reason() {
        let good = format_file(&[session("one", 1_795_511_763_000, vec![measured("us_flex_small_u5", "aa", 800.0)])]);
        let cases = [
            String::new(),
            " \n".into(),
            good[..good.len() / 2].to_owned(),
            "{}".into(),
            "[1, 2]".into(),
            good.replace("\"format\": 1", "\"format\": 2"),
            good.replace("\"n\":300", "\"n\":300,\"p99_ms\":1"),
            good.replace("\"typical_ms\":800.0", "\"typical_ms\":-1.0"),
            good.replace("{\"cell_hash\":\"aa\"", "{\"cell_hash\":\"ab\""),
            good.replace("2026-11-24T09:16:03Z", "last week"),
        ];
        let errors: Vec<String> = cases.iter().map(|text| parse(text).unwrap_err().to_string()).collect();
        insta::assert_snapshot!(errors.join("\n"));
        assert!(parse(&good).is_ok());
    }

    #[test]
    fn sessions_within_one_hour_are_reported() {
        let at = |id: &str, minutes: u64| session(id, 1_795_511_763_000 + minutes * 60_000, Vec::new());
        let (known, new) = (vec![at("a", 0), at("b", 600)], vec![at("c", 59), at("d", 60), at("e", 118)]);
        insta::assert_snapshot!(proximity_warnings(&known, &new).join("\n"));
    }

    proptest! {
        #[test]
        fn written_baselines_are_read_back(
            sessions in prop::collection::vec((0_u64..4e9 as u64, prop::collection::vec((0_u8..20, 1_u64..1e9 as u64), 0..5)), 0..5)
        ) {
            let mut all: Vec<Session> = sessions.into_iter().enumerate().map(|(index, (s, cells))| {
                let mut cells: Vec<SessionCell> =
                    cells.into_iter().map(|(hash, us)| measured(&format!("id{hash}"), &format!("h{hash}"), us as f64 / 1e3)).collect();
                cells.sort_by(|a, b| a.test_id.cmp(&b.test_id));
                session(&format!("run{index}"), s * 1_000, cells)
            }).collect();
            sort_by_start(&mut all);
            let written = format_file(&all);
            prop_assert_eq!(parse(&written).unwrap(), all);
            prop_assert_eq!(format_file(&parse(&written).unwrap()), written);
        }
    }
}
