//! A bounded fuzz of everything that reads what people write and crashes leave: the plan loader, the
//! prompts file, the journal, the manifest, a baseline and an exchange. Valid files are cut, doubled and sprinkled with
//! what breaks parsers, and their numbers become extreme; whatever comes out is either read or refused with a message,
//! and a run that is read can be summarised. More of it: `cargo test --lib fuzz -- --ignored --nocapture`.

use crate::cluster::{self, BucketAccess, Exchange};
use crate::config::{self, Sources};
use crate::matrix::Shard;
use crate::prompts::{Files, Prompts};
use crate::record::dir::{JOURNAL, MANIFEST};
use crate::record::read::{self, RecordOwner, Records};
use crate::stats::Collector;
use crate::units::Secrets;
use crate::verdict::{baseline, compare};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Texts that are inserted.
const TOKENS: &[&str] = &[
    "\"",
    "'",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ",",
    ".",
    "\n",
    "\r\n",
    "\\",
    "\\u0000",
    "\\ud800",
    "#",
    "\u{feff}",
    "\0",
    "-1",
    "0",
    "1e999",
    "-0.0",
    "18446744073709551616",
    "99999999999999999999999",
    "1e-320",
    "nan",
    "inf",
    "true",
    "null",
    "\"\"",
    "\"none\"",
    "\"1s..\"",
    "\"-1s\"",
    "\"99999999h\"",
    "[slo]",
    "[[slo]]",
    "[[override]]",
    "[[matrix.add]]",
    "[[matrix.zip]]",
    "[[profile]]",
    "[[mix]]",
    "[[dataset]]",
    "when = {}",
    "extends = \"plan.toml\"",
    "users = []",
    "schema = 2",
    "\"format\": 2,",
    "\"cell\": 99,",
    "\u{202e}",
    "é",
    "{\"a\":",
    "}\n{",
];

/// What takes the place of a number.
const NUMBERS: &[&str] = &[
    "0",
    "-1",
    "1e-300",
    "1e300",
    "-1e300",
    "1e400",
    "0.5",
    "65535",
    "4294967295",
    "9007199254740992",
    "9223372036854775808",
    "18446744073709551615",
];

#[derive(Debug, Clone)]
enum Edit {
    Number(Index, usize),
    Cut(Index, usize),
    Strew(Index, usize),
    Double(Index, usize),
    Flip(Index, u8),
    End(Index),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        8 => (any::<Index>(), 0..NUMBERS.len()).prop_map(|(at, which)| Edit::Number(at, which)),
        4 => (any::<Index>(), 1_usize..40).prop_map(|(at, n)| Edit::Cut(at, n)),
        6 => (any::<Index>(), 0..TOKENS.len()).prop_map(|(at, which)| Edit::Strew(at, which)),
        2 => (any::<Index>(), 1_usize..80).prop_map(|(at, n)| Edit::Double(at, n)),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Flip(at, byte)),
        1 => any::<Index>().prop_map(Edit::End),
    ];
    prop::collection::vec(edit, 1..5)
}

fn edited(text: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = text.to_vec();
    for edit in edits {
        let at = |index: &Index, bytes: &[u8]| index.index(bytes.len() + 1);
        match edit {
            Edit::Number(index, which) => {
                // The next number, digit by digit: text is hit, too.
                let at = at(index, &bytes);
                let is_number = |byte: &u8| byte.is_ascii_digit() || b".-+eE".contains(byte);
                let from = (at..bytes.len()).find(|at| bytes[*at].is_ascii_digit()).unwrap_or(bytes.len());
                let to = (from..bytes.len()).find(|at| !is_number(&bytes[*at])).unwrap_or(bytes.len());
                bytes.splice(from..to, NUMBERS[*which].bytes());
            }
            Edit::Cut(index, n) => {
                let at = at(index, &bytes);
                bytes.drain(at..(at + n).min(bytes.len()));
            }
            Edit::Strew(index, which) => {
                let at = at(index, &bytes);
                bytes.splice(at..at, TOKENS[*which].bytes());
            }
            Edit::Double(index, n) => {
                let at = at(index, &bytes);
                let piece = bytes[at..(at + n).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
            Edit::Flip(index, with) => {
                let at = at(index, &bytes);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= with;
                }
            }
            Edit::End(index) => bytes.truncate(at(index, &bytes)),
        }
    }
    bytes
}

fn cases(n: u32, strategy: &impl Strategy<Value = (usize, Vec<Edit>)>, act: impl Fn(usize, &[Edit])) {
    let config = Config { cases: n, failure_persistence: None, ..Config::default() };
    let run = TestRunner::new(config).run(strategy, |(which, edits)| {
        act(which, &edits);
        Ok(())
    });
    if let Err(error) = run {
        panic!("{error}");
    }
}

fn plans(n: u32) {
    let shipped: Vec<Vec<u8>> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("plans"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .map(|path| fs::read(path).unwrap())
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plan.toml");
    let environment = BTreeMap::new();
    let which = (0..shipped.len(), edits());
    cases(n, &which, |which, edits| {
        fs::write(&path, edited(&shipped[which], edits)).unwrap();
        let sources = Sources {
            plan: Some(&path),
            flags: &[],
            sets: &[],
            environment: &environment,
            working_dir: dir.path(),
            max_cells: config::MAX_CELLS,
        };
        match config::read(&sources) {
            Ok(resolved) => drop(crate::matrix::expand(&resolved.plan)),
            Err(problems) => assert!(!problems.to_string().trim().is_empty(), "a refusal without a word"),
        }
    });
}

fn prompts(n: u32) {
    let seeds = [
        include_str!("../prompts/prompts.json").as_bytes().to_vec(),
        br#"{"a":{"generate":{"input_tokens":100}},"b":{"messages":[{"role":"user","text":"x"}],"system":"y"},"c":{"file":"d"}}"#.to_vec(),
    ];
    cases(n, &(0..seeds.len(), edits()), |which, edits| {
        let bytes = edited(&seeds[which], edits);
        if let Err(errors) = Prompts::parse(&String::from_utf8_lossy(&bytes), &Files::none()) {
            assert!(!errors.is_empty() && errors.iter().all(|error| !error.message.is_empty()));
        }
    });
}

/// Reads a run directory to its end, and makes numbers of what can be read.
fn summarise(dir: &Path) -> Result<(), String> {
    let manifest = read::manifest(dir).map_err(|error| error.to_string())?;
    let mut collector = Collector::new(&manifest);
    let mut lines = 0;
    let mut records = Records::open(dir, &manifest).map_err(|error| error.to_string())?;
    for entry in &mut records {
        lines += 1;
        assert!(lines < 10_000, "the reader never ends");
        match entry {
            Ok((RecordOwner::Cell(cell), record)) => collector.add(cell, &record),
            Ok((RecordOwner::Probe(probe), record)) => collector.add_probe(probe, &record),
            Err(error) => return Err(error.to_string()),
        }
    }
    let mut summary = collector.finish_in_memory();
    summary.add_damage(records.damage());
    let judged = crate::verdict::slo::evaluate(&manifest, &summary);
    drop(crate::report::view::build(&manifest, &summary, &judged));
    drop(baseline::session_from_run(&manifest, &summary));
    Ok(())
}

fn runs(n: u32) {
    let dir = tempfile::tempdir().unwrap();
    crate::report::tests::write_run(dir.path());
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    let checked = (read(MANIFEST), read(JOURNAL));
    // Without checksums, so that what is changed in a record is read.
    let plain = |line: &str| format!("{}}}\n", line.rsplit_once(",\"crc\":").unwrap().0);
    let unchecked =
        (checked.0.replacen("\"format\": 2", "\"format\": 1", 1), checked.1.lines().map(plain).collect::<String>());
    assert_ne!(checked.0, unchecked.0);
    cases(n, &(0..4_usize, edits()), |which, edits| {
        let (manifest, journal) = if which < 2 { &checked } else { &unchecked };
        let (broken, name) = if which % 2 == 0 { (manifest, MANIFEST) } else { (journal, JOURNAL) };
        let broken = broken.as_bytes();
        fs::write(dir.path().join(MANIFEST), manifest).unwrap();
        fs::write(dir.path().join(JOURNAL), journal).unwrap();
        fs::write(dir.path().join(name), edited(broken, edits)).unwrap();
        if let Err(message) = summarise(dir.path()) {
            // A cell that a manifest does not have any more is missed by the journal.
            let names = message.contains(MANIFEST) || message.contains(JOURNAL);
            assert!(names && message.len() > dir.path().as_os_str().len() + 30, "{message}");
        }
    });
}

fn baselines(n: u32) {
    let known = compare::tests::base(5);
    let text = baseline::format_file(&known).into_bytes();
    let new = [compare::tests::session(9, vec![compare::tests::cell("default_a", 101.0)])];
    cases(n, &(0..1_usize, edits()), |_, edits| {
        match baseline::parse(&String::from_utf8_lossy(&edited(&text, edits))) {
            Ok(sessions) => drop(compare::compare(&sessions, &new)),
            Err(error) => assert!(error.to_string().len() > 8),
        }
    });
}

/// Files of a shard in an exchange, and the description of a shard without files.
fn exchanges(n: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let url = format!("file://{}", dir.path().display());
    let kind = r#""count":2,"tool_version":"1","build":"b","plan_hash":"p""#;
    let files = [
        ("shards/0/shard.json", format!(r#"{{"index":0,"run_id":"r",{kind},"files":{{"manifest.json":"00"}}}}"#)),
        ("ready/1.json", format!(r#"{{{kind},"seed":1,"host":"h","nonce":"n"}}"#)),
        ("left/1.json", r#"{"host":"h","reason":"it was stopped"}"#.to_owned()),
        ("shards/0/manifest.json", "{}".to_owned()),
    ];
    for folder in ["shards/0", "ready", "left"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    cases(n, &(0..files.len(), edits()), |which, edits| {
        for (index, (name, text)) in files.iter().enumerate() {
            let bytes = if index == which { edited(text.as_bytes(), edits) } else { text.clone().into_bytes() };
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        runtime.block_on(async {
            let exchange =
                Exchange::open(&url, &BTreeMap::new(), BucketAccess::default(), false, &Secrets::default()).unwrap();
            match cluster::list_commit_markers(&exchange).await {
                Ok(marks) => {
                    for mark in marks {
                        assert!(mark.index < mark.fingerprint.count && mark.fingerprint.count <= Shard::MAX_COUNT);
                        drop(cluster::fetch(&exchange, &mark, dir.path()).await);
                    }
                }
                Err(error) => assert!(error.to_string().len() > 8),
            }
            let expected = cluster::expected_shards(&exchange).await.unwrap();
            assert!(expected.is_none_or(|count| count <= Shard::MAX_COUNT));
            drop(cluster::missing_shard(&exchange, 1).await.unwrap());
        });
    });
}

#[test]
fn no_exchange_panics_its_readers() {
    exchanges(200);
}

#[test]
fn no_baseline_panics_its_reader() {
    baselines(1_000);
}

#[test]
fn no_plan_panics_the_loader() {
    plans(400);
}

#[test]
fn no_prompts_file_panics_its_reader() {
    prompts(1_000);
}

#[test]
fn no_run_directory_panics_its_readers() {
    runs(200);
}

#[test]
#[ignore = "a fuzz run of some minutes"]
fn all_targets_for_longer() {
    plans(20_000);
    prompts(50_000);
    runs(1_500);
    baselines(100_000);
    exchanges(20_000);
}
