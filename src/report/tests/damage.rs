//! Damaged and duplicate lines of a journal: nothing of them is counted, all of them are reported.

use super::{manifest, records};
use crate::record::acquire::take;
use crate::record::damage::QUARANTINE;
use crate::record::dir::{JOURNAL, write_manifest};
use crate::record::journal::{Journal, identities};
use crate::record::manifest::Manifest;
use crate::record::read::{ReadError, RecordOwner, Records};
use crate::result::Verdict;
use crate::stats::{Collector, Summary};
use crate::verdict::slo::evaluate;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;

/// A journal of the known run, 40 lines of its first cell, 80 of its second and 5 of its third; and its manifest.
struct Run {
    dir: tempfile::TempDir,
    manifest: Manifest,
    lines: Vec<String>,
}

impl Run {
    fn new() -> Self {
        Self::from_manifest(manifest())
    }

    fn from_manifest(mut manifest: Manifest) -> Self {
        manifest.plan.slo = vec![serde_json::from_value(json!({"failure_rate": "50%"})).unwrap()];
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(take(dir.path(), false).unwrap().journal, identities(&manifest));
        for (cell, record) in &records() {
            journal.append(*cell, record).unwrap();
        }
        journal.sync().unwrap();
        write_manifest(dir.path(), &manifest).unwrap();
        let text = fs::read_to_string(dir.path().join(JOURNAL)).unwrap();
        let lines = text.split_inclusive('\n').map(str::to_owned).collect();
        Self { dir, manifest, lines }
    }

    fn read(
        &self,
        journal: impl AsRef<[u8]>,
    ) -> Result<(Vec<(RecordOwner, crate::record::Record)>, Summary), ReadError> {
        fs::write(self.dir.path().join(JOURNAL), journal).unwrap();
        let mut records = Records::open(self.dir.path(), &self.manifest)?;
        let read: Vec<_> = records.by_ref().collect::<Result<_, _>>()?;
        let mut collector = Collector::new(&self.manifest);
        for (of, record) in &read {
            let RecordOwner::Cell(cell) = of else { panic!("the run has no pre-flight") };
            collector.add(*cell, record);
        }
        let mut summary = collector.finish_in_memory();
        summary.add_damage(records.damage());
        // A second pass by cell gives the same records.
        let mut cells = records.by_cell();
        for cell in 0..self.manifest.cells.len() {
            let mut again = Vec::new();
            cells.read(cell, &mut |record| again.push(record.clone()))?;
            let first: Vec<_> = read.iter().filter(|(owner, _)| *owner == RecordOwner::Cell(cell)).collect();
            assert_eq!(again.iter().collect::<Vec<_>>(), first.iter().map(|(_, record)| record).collect::<Vec<_>>());
        }
        Ok((read, summary))
    }

    fn summary(&self, journal: impl AsRef<[u8]>) -> Summary {
        self.read(journal).unwrap().1
    }

    /// Of the first two cells.
    fn verdicts(&self, summary: &Summary) -> [Verdict; 2] {
        let results = evaluate(&self.manifest, summary);
        [0, 1].map(|cell| results.iter().find(|result| result.cell == cell).unwrap().verdict)
    }
}

fn totals(summary: &Summary) -> [u64; 4] {
    [0, 1, 2, 3].map(|cell| summary.cells[cell].counts.total)
}

/// Whether each cell has a warning.
fn warned(summary: &Summary, key: &str) -> [bool; 4] {
    [0, 1, 2, 3].map(|cell| summary.cells[cell].warnings.iter().any(|warning| warning.key() == key))
}

#[test]
fn complete_journal_has_no_damage() {
    let run = Run::new();
    let summary = run.summary(run.lines.concat());
    assert_eq!(summary.damage.lines + summary.damage.duplicates, 0);
    assert_eq!(run.verdicts(&summary), [Verdict::Pass; 2]);
}

#[test]
fn duplicates_count_once_and_make_cells_inconclusive() {
    let run = Run::new();
    let summary = run.summary(run.lines.concat().repeat(2));
    assert_eq!((totals(&summary), summary.damage.duplicates), ([40, 80, 5, 0], 125));
    assert_eq!(warned(&summary, "duplicate_records"), [true, true, true, false]);
    assert_eq!(run.verdicts(&summary), [Verdict::Inconclusive; 2]);
    // One line of the second cell.
    let summary = run.summary([run.lines.concat(), run.lines[50].clone()].concat());
    assert_eq!((totals(&summary), summary.damage.duplicates), ([40, 80, 5, 0], 1));
    assert_eq!(warned(&summary, "duplicate_records"), [false, true, false, false]);
    assert_eq!(run.verdicts(&summary), [Verdict::Pass, Verdict::Inconclusive]);
}

#[test]
fn any_damaged_byte_takes_its_line_alone() {
    let run = Run::new();
    let whole = run.lines.concat().into_bytes();
    let start = run.lines[..9].concat().len();
    for at in 0..run.lines[9].len() - 1 {
        let mut damaged = whole.clone();
        damaged[start + at] ^= 1;
        let summary = run.summary(&damaged);
        // A byte that becomes a line feed makes two lines of one, neither of which is a record.
        let lines = if damaged[start + at] == b'\n' { 2 } else { 1 };
        assert_eq!((totals(&summary), summary.damage.lines), ([39, 80, 5, 0], lines), "byte {at}");
        assert_eq!(warned(&summary, "damaged_records"), [true, false, false, false], "byte {at}");
        assert_eq!(run.verdicts(&summary), [Verdict::Inconclusive, Verdict::Pass], "byte {at}");
    }
}

#[test]
fn unassignable_damage_affects_all_possible_cells() {
    let run = Run::new();
    let damaged = |numbers: &[usize]| {
        let mut lines = run.lines.clone();
        for number in numbers {
            lines[*number] = "damaged\n".into();
        }
        let summary = run.summary(lines.concat());
        assert_eq!(summary.damage.lines, numbers.len() as u64);
        warned(&summary, "damaged_records")
    };
    assert_eq!(damaged(&[0]), [true, false, false, false], "the first line is of the first cell");
    assert_eq!(damaged(&[39]), [true, true, false, false], "the last line of a cell may be the next one's");
    assert_eq!(damaged(&[40]), [true, true, false, false], "and the other way round");
    assert_eq!(damaged(&[5, 60]), [true, true, false, false]);
    assert_eq!(damaged(&(39..121).collect::<Vec<_>>()), [true, true, true, false], "a hole over a whole cell");
    assert_eq!(damaged(&[124]), [false, false, true, true], "behind the last record may be the rest of the order");
    assert_eq!(damaged(&(0..125).collect::<Vec<_>>()), [true; 4]);
}

#[test]
fn damage_in_a_superseded_attempt_affects_no_cell() {
    let mut manifest = manifest();
    manifest.order[0].attempt = 2;
    let run = Run::from_manifest(manifest);
    let mut lines = run.lines.clone();
    lines[5] = "damaged\n".into();
    lines.push(run.lines[7].clone());
    let summary = run.summary(lines.concat());
    assert_eq!((summary.damage.lines, summary.damage.duplicates), (1, 1));
    assert_eq!(warned(&summary, "damaged_records"), [false; 4]);
    assert_eq!(warned(&summary, "duplicate_records"), [false; 4]);
}

#[test]
fn another_spelling_of_a_record_is_the_record() {
    let run = Run::new();
    let (expected, _) = run.read(run.lines.concat()).unwrap();
    let sorted = |line: &String| {
        let fields: BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
        let fields: Vec<String> = fields.iter().map(|(key, value)| format!("\"{key}\" : {value}")).collect();
        format!("{{ {} }}\r\n", fields.join(" ,\t"))
    };
    let shorter = |line: &String| line.replace(".0,", ",").replace("\"test_id\"", "\"\\u0074est_id\"");
    for spelled in [run.lines.iter().map(sorted).collect::<String>(), run.lines.iter().map(shorter).collect()] {
        assert_ne!(spelled, run.lines.concat());
        let (read, summary) = run.read(spelled).unwrap();
        assert_eq!((summary.damage.lines, summary.damage.duplicates), (0, 0));
        assert_eq!(read, expected);
    }
    // The same spelling of another record is not the record, whatever field says so.
    for (key, value) in
        [("service_tier", json!("priority")), ("users", json!(3)), ("sent_ms", json!(1.5)), ("user", json!(7))]
    {
        let changed = |line: &String| {
            let mut fields: Map<String, Value> = serde_json::from_str(line).unwrap();
            fields[key] = value.clone();
            format!("{}\n", Value::Object(fields))
        };
        let summary = run.summary([run.lines[..9].concat(), changed(&run.lines[9]), run.lines[10..].concat()].concat());
        assert_eq!((totals(&summary), summary.damage.lines), ([39, 80, 5, 0], 1), "{key}");
    }
}

#[test]
fn run_of_format_1_requires_no_checksums() {
    let plain = |line: &String| format!("{}}}\n", line.rsplit_once(",\"crc\":").unwrap().0);
    let mut run = Run::new();
    let lines: Vec<String> = run.lines.iter().map(plain).collect();
    assert_eq!(totals(&run.summary(lines.concat())), [0; 4], "a run of today has them");
    run.manifest.format = 1;
    // A session that resumed it adds them.
    let summary = run.summary([lines[..50].concat(), run.lines[50..].concat()].concat());
    assert_eq!((totals(&summary), summary.damage.lines), ([40, 80, 5, 0], 0));
    assert_eq!(run.verdicts(&summary), [Verdict::Pass; 2]);
    let broken = [lines[..9].concat(), "{\"run_id\":\n".into(), lines[10..].concat()].concat();
    let summary = run.summary(broken);
    assert_eq!((totals(&summary), summary.damage.lines), ([39, 80, 5, 0], 1));
}

#[test]
fn impossible_record_is_damage() {
    let mut run = Run::new();
    run.manifest.format = 1;
    for (key, value) in [
        ("timestamp", json!(1e300)),
        ("sent_ms", json!(1e300)),
        ("response_time_ms", json!(-1)),
        ("input_tokens", json!(u64::MAX)),
        ("seq", json!(u64::MAX)),
        ("repetition", json!(0)),
        ("shard", json!(u32::MAX)),
    ] {
        let mut fields: Map<String, Value> = serde_json::from_str(&run.lines[9]).unwrap();
        fields.remove("crc");
        fields.insert(key.into(), value);
        let line = format!("{}\n", Value::Object(fields));
        let summary = run.summary([run.lines[..9].concat(), line, run.lines[10..].concat()].concat());
        assert_eq!((totals(&summary), summary.damage.lines), ([39, 80, 5, 0], 1), "{key}");
    }
}

#[test]
fn the_quarantine_holds_the_damaged_lines_and_does_not_grow() {
    let run = Run::new();
    let mut lines = run.lines.clone();
    for number in [3, 4, 70] {
        lines[number] = lines[number].replace("succeeded", "Succeeded");
    }
    let out = run.dir.path().join("out");
    for _ in 0..2 {
        run.summary(lines.concat()).damage.quarantine(run.dir.path(), &out).unwrap();
        let kept = fs::read_to_string(out.join(QUARANTINE)).unwrap();
        assert_eq!(kept, [&lines[3..5], &lines[70..71]].concat().concat());
    }
}
