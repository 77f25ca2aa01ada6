//! A baseline: what earlier sessions measured, as far as a comparison needs it, in a small JSON file that is
//! kept under version control and read in reviews. Text in, text out: it touches no disk.
//!
//! A run is one session. A cell of a run whose numbers may not be used (INVALID, aborted, cut short) is
//! kept out, with the reason.

use crate::matrix::Cell;
use crate::plan::Endpoint;
use crate::record::hash;
use crate::record::manifest::{Manifest, PlannedCell};
use crate::stats::{CellSummary, Summary, Validity};
use crate::units::timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The version of the file that this tool reads and writes.
const FORMAT: u32 = 1;

/// Sessions that begin closer to each other than this, milliseconds, say less than two.
pub(crate) const APART_MS: u64 = 3_600_000;

/// One run, as far as it is compared.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Session {
    /// The run's id.
    pub(crate) id: String,
    /// Its start, epoch milliseconds.
    pub(crate) started_ms: u64,
    /// The version of the tool that measured it.
    pub(crate) tool_version: String,
    /// `aws` for any host of AWS's, `simulated`, or `url` for any other server.
    pub(crate) endpoint: String,
    /// The AWS region that was resolved.
    pub(crate) region: Option<String>,
    /// In matrix order; of a baseline by id and hash.
    pub(crate) cells: Vec<Measured>,
}

/// One cell of a session.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measured {
    /// What identifies it across runs.
    pub(crate) cell_hash: String,
    /// What it was called in that run.
    pub(crate) test_id: String,
    /// What was asked for, by the names of the hash, but for the prompt; built-in defaults are left out.
    pub(crate) asked: BTreeMap<String, Value>,
    /// What was measured, or why it may not be used.
    pub(crate) numbers: Result<Numbers, String>,
}

/// What a cell is compared by; see `stats::location`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Numbers {
    /// Requests.
    pub(crate) n: usize,
    /// The typical time, milliseconds.
    pub(crate) typical_ms: Option<f64>,
    /// The 95th percentile, milliseconds.
    pub(crate) p95_ms: Option<f64>,
    /// The standard error of ln of the first over the session's requests,
    pub(crate) typical_error: Option<f64>,
    /// and of the second.
    pub(crate) p95_error: Option<f64>,
}

impl Measured {
    /// The service tier asked for.
    pub(crate) fn tier(&self) -> &str {
        self.asked.get("service_tier").and_then(Value::as_str).unwrap_or_default()
    }
}

/// Why a file is no baseline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BaselineError {
    /// Nothing is in it.
    #[error("the file is empty")]
    Empty,
    /// A later version wrote it.
    #[error("format {0} is newer than the format {FORMAT} that this version reads")]
    Newer(u64),
    /// It is not what this tool writes.
    #[error("not a baseline: {0}")]
    Damaged(String),
}

/// What a run measured.
pub(crate) fn session(manifest: &Manifest, summary: &Summary) -> Session {
    // The host is not kept in a file that is shared; whether it is AWS's is.
    let endpoint = match Endpoint::parse(&manifest.endpoint) {
        Ok(Endpoint::Url(url)) if url.is_aws() => "aws",
        Ok(Endpoint::Url(_)) if manifest.simulated() => "simulated",
        Ok(Endpoint::Url(_)) => "url",
        _ => &manifest.endpoint,
    };
    let measured = |(planned, cell): (&PlannedCell, &CellSummary)| {
        let location = cell.location();
        let numbers = Numbers {
            n: location.n,
            typical_ms: location.typical_ms.map(rounded),
            p95_ms: location.p95_ms.map(rounded),
            typical_error: location.typical_error.map(fine),
            p95_error: location.p95_error.map(fine),
        };
        Measured {
            cell_hash: planned.cell_hash.clone(),
            test_id: cell.cell.id.clone(),
            asked: asked(&planned.cell, manifest),
            numbers: unfit(manifest, cell).map_or(Ok(numbers), Err),
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

fn asked(cell: &Cell, manifest: &Manifest) -> BTreeMap<String, Value> {
    hash::asked(cell, &manifest.plan.target).into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// As the file keeps it, so that a run is the same before and after it went through one.
fn rounded(ms: f64) -> f64 {
    (ms * 1e3).round() / 1e3
}

/// As above, of an error.
fn fine(share: f64) -> f64 {
    (share * 1e6).round() / 1e6
}

/// Why a cell's numbers are not compared.
fn unfit(manifest: &Manifest, summary: &CellSummary) -> Option<String> {
    match &summary.validity {
        Validity::NotRun => return Some("it was not run".into()),
        Validity::Unsupported(why) | Validity::Refused(why) => return Some(format!("it was left out: {why}")),
        Validity::Aborted => return Some("it was aborted: it measured nothing".into()),
        Validity::Invalid(reason) => return Some(format!("INVALID: {reason}")),
        Validity::Ok => {}
    }
    match summary.stopped {
        Some(stopped) if stopped.is_resumable() => {
            // Machines begin together: what several made is not gone on with.
            let what_to_do = if manifest.shards.is_none() { "; `run --resume` finishes it" } else { "" };
            Some(format!("it was cut short{what_to_do}"))
        }
        Some(_) => Some("a threshold ended it early".into()),
        None => summary.doubt().map(str::to_owned),
    }
}

/// The file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    cells: Vec<FileCell>,
    sessions: Vec<FileSession>,
}

/// What a hash stands for, once for all sessions.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileCell {
    cell_hash: String,
    asked: BTreeMap<String, Value>,
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
    cells: Vec<FileNumbers>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileNumbers {
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

/// Reads the file: its sessions, the oldest first.
///
/// # Errors
/// Where the text is no baseline that this version reads.
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
        return Err(BaselineError::Newer(head.format));
    }
    let file: File = serde_json::from_str(text).map_err(|error| damaged(error.to_string()))?;
    let asked: BTreeMap<&str, &BTreeMap<String, Value>> =
        file.cells.iter().map(|cell| (cell.cell_hash.as_str(), &cell.asked)).collect();
    let mut sessions = Vec::new();
    for session in &file.sessions {
        let of = |what: &str| damaged(format!("session {}: {what}", session.id));
        let started_ms = timestamp::parse_iso(&session.started).ok_or_else(|| of("`started` is no time"))?;
        let mut cells = Vec::new();
        for cell in &session.cells {
            let asked = asked
                .get(cell.cell_hash.as_str())
                .ok_or_else(|| of(&format!("{} has a cell_hash that `cells` does not know", cell.test_id)))?;
            let times = [cell.typical_ms, cell.p95_ms];
            if times.iter().flatten().any(|ms| !ms.is_finite() || *ms <= 0.0) {
                return Err(of(&format!("{} has a time that is not greater than zero", cell.test_id)));
            }
            let errors = [cell.typical_error, cell.p95_error];
            if errors.iter().flatten().any(|error| !error.is_finite() || *error < 0.0) {
                return Err(of(&format!("{} has an error below zero", cell.test_id)));
            }
            cells.push(Measured {
                cell_hash: cell.cell_hash.clone(),
                test_id: cell.test_id.clone(),
                asked: (*asked).clone(),
                numbers: Ok(Numbers {
                    n: cell.n,
                    typical_ms: cell.typical_ms,
                    p95_ms: cell.p95_ms,
                    typical_error: cell.typical_error,
                    p95_error: cell.p95_error,
                }),
            });
        }
        if sessions.iter().any(|known: &Session| known.id == session.id) {
            return Err(of("is there twice"));
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
    sort(&mut sessions);
    Ok(sessions)
}

/// The oldest first.
pub(crate) fn sort(sessions: &mut [Session]) {
    sessions.sort_by(|a, b| a.started_ms.cmp(&b.started_ms).then_with(|| a.id.cmp(&b.id)));
}

/// The file's text: sorted, a line per cell, so that a further session is a few lines of a diff.
pub(crate) fn text(sessions: &[Session]) -> String {
    let mut sessions: Vec<Session> = sessions.to_vec();
    sort(&mut sessions);
    let usable = |session: &Session| {
        let mut cells: Vec<Measured> = session.cells.iter().filter(|cell| cell.numbers.is_ok()).cloned().collect();
        cells.sort_by(|a, b| a.test_id.cmp(&b.test_id).then_with(|| a.cell_hash.cmp(&b.cell_hash)));
        cells
    };
    let known: BTreeMap<String, BTreeMap<String, Value>> =
        sessions.iter().flat_map(usable).map(|cell| (cell.cell_hash, cell.asked)).collect();
    let cells = known.into_iter().map(|(cell_hash, asked)| line("    ", &FileCell { cell_hash, asked }));
    let session = |session: &Session| {
        let cells = usable(session);
        let rows = cells.iter().filter_map(|cell| {
            let numbers = cell.numbers.as_ref().ok()?;
            Some(FileNumbers {
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

/// One value on one line. Nothing of it can fail to be written.
fn line(indent: &str, value: &impl Serialize) -> String {
    format!("{indent}{}", serde_json::to_string(value).unwrap_or_default())
}

/// What is said of each new session that starts less than an hour from a known one, or from an earlier new one.
pub(crate) fn too_close(known: &[Session], new: &[Session]) -> Vec<String> {
    let said = |(index, session): (usize, &Session)| {
        let near = |other: &&Session| other.started_ms.abs_diff(session.started_ms) < APART_MS;
        let others: Vec<&str> = known.iter().chain(&new[..index]).filter(near).map(|other| other.id.as_str()).collect();
        (!others.is_empty()).then(|| {
            format!(
                "session {} starts less than an hour from {}: sessions of one hour say less than those of several",
                session.id,
                others.join(", ")
            )
        })
    };
    new.iter().enumerate().filter_map(said).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn measured(test_id: &str, cell_hash: &str, typical_ms: f64) -> Measured {
        Measured {
            cell_hash: cell_hash.into(),
            test_id: test_id.into(),
            asked: [("service_tier".to_owned(), "flex".into()), ("users".to_owned(), 5.into())].into(),
            numbers: Ok(Numbers {
                n: 300,
                typical_ms: Some(typical_ms),
                p95_ms: Some(typical_ms * 1.5),
                typical_error: Some(0.02),
                p95_error: None,
            }),
        }
    }

    fn session(id: &str, started_ms: u64, cells: Vec<Measured>) -> Session {
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
    fn the_file_is_sorted_and_has_a_line_per_cell() {
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
        insta::assert_snapshot!(text(&sessions));
    }

    #[test]
    fn what_is_no_baseline_is_refused_with_the_reason() {
        let good = text(&[session("one", 1_795_511_763_000, vec![measured("us_flex_small_u5", "aa", 800.0)])]);
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
        let said: Vec<String> = cases.iter().map(|text| parse(text).unwrap_err().to_string()).collect();
        insta::assert_snapshot!(said.join("\n"));
        assert!(parse(&good).is_ok());
    }

    #[test]
    fn sessions_of_one_hour_are_too_close() {
        let at = |id: &str, minutes: u64| session(id, 1_795_511_763_000 + minutes * 60_000, Vec::new());
        let (known, new) = (vec![at("a", 0), at("b", 600)], vec![at("c", 59), at("d", 60), at("e", 118)]);
        insta::assert_snapshot!(too_close(&known, &new).join("\n"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            sessions in prop::collection::vec((0_u64..4e9 as u64, prop::collection::vec((0_u8..20, 1_u64..1e9 as u64), 0..5)), 0..5)
        ) {
            let mut all: Vec<Session> = sessions.into_iter().enumerate().map(|(index, (s, cells))| {
                let mut cells: Vec<Measured> =
                    cells.into_iter().map(|(hash, us)| measured(&format!("id{hash}"), &format!("h{hash}"), us as f64 / 1e3)).collect();
                cells.sort_by(|a, b| a.test_id.cmp(&b.test_id));
                session(&format!("run{index}"), s * 1_000, cells)
            }).collect();
            sort(&mut all);
            let written = text(&all);
            prop_assert_eq!(parse(&written).unwrap(), all);
            prop_assert_eq!(text(&parse(&written).unwrap()), written);
        }
    }
}
