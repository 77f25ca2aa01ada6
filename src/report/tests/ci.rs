//! What CI systems and people read of a run and of a comparison, as snapshots.

use super::{bounded, built_in, manifest, records, streams, view_of};
use crate::report::ci::{Kind, of_comparison, of_run, step_summary};
use crate::report::compare::{About, CompareView, build, schema};
use crate::verdict::baseline::Session;
use crate::verdict::compare::compare;
use crate::verdict::compare::tests::{base, cell, session};

/// One threshold that fails, one that is inconclusive, and names that contain markup.
const THRESHOLDS: &str = "[[slo]]\nname = \"<fast> & \\u0001 \\\"really\\\"\"\np50 = \"210ms\"\np95 = \"200ms\"\n\
    failure_rate = \"5%\"\n[[slo]]\nwhen = { service_tier = \"default\", users = 2 }\nthrottle_rate = \"0.1%\"\n";

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// A slower cell, one that is worth repeating, one that may not be used, one that the baseline lacks.
fn comparison() -> CompareView {
    let mut busy = cell("default_b", 200.0);
    busy.numbers = Err("INVALID: CPU 95 % of 2 cores".into());
    let new = [session(9, vec![cell("default_a", 104.5), busy, cell("flex_a", 185.0), cell("flex_<b>", 1.0)])];
    let base = base(5);
    let dirs = ["test_results/nova".to_owned()];
    let about =
        About { baseline: Some("baselines/nova.json"), against: "baselines/nova.json", dirs: &dirs, name: "nova <&>" };
    build(&about, &base, &new, &compare(&base, &new))
}

#[test]
fn outputs_of_a_run() {
    let view = view_of(&bounded(THRESHOLDS), &records());
    for kind in [Kind::Junit, Kind::Benchmark, Kind::Emf] {
        insta::assert_snapshot!(format!("ci_{}", kind.key()), text(of_run(kind, &view, &built_in()).unwrap()));
    }
    let without = view_of(&manifest(), &records());
    insta::assert_snapshot!("ci_junit_without_thresholds", text(of_run(Kind::Junit, &without, &built_in()).unwrap()));
    let (manifest, records) = streams();
    let streams = view_of(&manifest, &records);
    insta::assert_snapshot!("ci_emf_of_streams", text(of_run(Kind::Emf, &streams, &built_in()).unwrap()));
}

#[test]
fn the_kinds_that_are_files_of_a_run_too_are_the_same() {
    let view = view_of(&bounded(THRESHOLDS), &records());
    for (kind, name) in [(Kind::Markdown, "summary.md"), (Kind::Json, "summary.json"), (Kind::Html, "report.html")] {
        let mut files = super::FORMATS.iter().flat_map(|format| format(&view, &built_in()).unwrap());
        let file = files.find(|file| file.path.to_str() == Some(name)).unwrap();
        assert_eq!(of_run(kind, &view, &built_in()).unwrap(), file.bytes, "{name}");
    }
}

#[test]
fn outputs_of_a_comparison() {
    let view = comparison();
    for kind in Kind::ALL {
        let rendered = text(of_comparison(kind, &view, &built_in()).unwrap());
        let rendered = if kind == Kind::Html { super::main_of(&rendered).to_owned() } else { rendered };
        insta::assert_snapshot!(format!("compare_{}", kind.key()), rendered);
    }
    insta::assert_snapshot!("compare_table", crate::terminal::compare::comparison(&view, 110));
}

/// Returns sessions with alternating deviations of this size.
fn wide(spread: f64) -> Vec<Session> {
    let level = |number: u64| 1.0 + spread * [-1.0, 1.0, 0.0, -0.5, 0.5][number as usize % 5];
    (0..5).map(|number| session(number, vec![cell("flex_a", 100.0 * level(number))])).collect()
}

#[test]
fn comparison_states_what_makes_a_change_visible() {
    let mut text = String::new();
    for spread in [0.04, 0.07, 0.12, 0.8] {
        let (base, new) = (wide(spread), [session(9, vec![cell("flex_a", 100.0 * (1.0 + spread / 4.0))])]);
        let dirs = ["test_results/it's new".to_owned()];
        let about = About { baseline: Some("b.json"), against: "b.json", dirs: &dirs, name: "nova" };
        let view = build(&about, &base, &new, &compare(&base, &new));
        text += &format!(
            "sessions that differ by {spread}: {}, visible from {}\n",
            view.counts, view.rows[0].shown.visible
        );
        for next in view.next {
            text += &format!("  {}\n", next.why);
            text.extend(next.commands.iter().map(|command| format!("    {command}\n")));
        }
    }
    insta::assert_snapshot!("compare_next", text);
}

#[test]
fn two_runs_have_no_verdict_in_any_kind() {
    let base = [session(0, vec![cell("default_a", 100.0)])];
    let new = [session(1, vec![cell("default_a", 150.0)])];
    let dirs = ["b".to_owned()];
    let about = About { baseline: None, against: "a", dirs: &dirs, name: "nova" };
    let view = build(&about, &base, &new, &compare(&base, &new));
    for kind in Kind::ALL {
        let rendered = text(of_comparison(kind, &view, &built_in()).unwrap());
        assert!(
            !rendered.contains("INCONCLUSIVE") && !rendered.contains("skipped message"),
            "{}: {rendered}",
            kind.key()
        );
    }
}

#[test]
fn the_published_schema_of_a_comparison_is_the_code_s() {
    let published = include_str!("../../../docs/comparison.schema.json");
    assert_eq!(published, format!("{:#}\n", schema()), "bedrock-plan schema --of comparison");
}

#[test]
fn step_summary_is_smaller_than_one_mebibyte() {
    const MEBIBYTE: usize = 1 << 20;
    let long = "a line of a table | 1 | 2 |\n".repeat(60_000).into_bytes();
    assert_eq!(step_summary(b"short\n", 0), b"short\n");
    for used in [0, 500_000, MEBIBYTE - 100, MEBIBYTE - 1, MEBIBYTE, 2 * MEBIBYTE] {
        let cut = step_summary(&long, used);
        assert!(cut.is_empty() || used + cut.len() < MEBIBYTE, "{used} and {}", cut.len());
        assert!(cut.is_empty() || text(cut).ends_with("at most)\n"));
    }
    assert!(step_summary(&long, 0).len() > MEBIBYTE - 200, "what there is room for is kept");
}
