//! A cell's page: all that Locust's report has and more, in one small file.

use super::{Outcome, Record, built_in, manifest, record, records, streams, view_of};
use crate::record::manifest::{CellRunEnd, Second};

fn page_of(view: &super::View, id: &str) -> String {
    let name = format!("test_{id}_report.html");
    let pages = crate::report::html::render(view, &built_in()).unwrap();
    let page = pages.into_iter().find(|page| page.path.to_str() == Some(&name)).unwrap();
    String::from_utf8(page.bytes).unwrap()
}

/// What a chart says of itself without a script.
fn marks(page: &str, stem: &str) -> Vec<String> {
    let start = page.find(&format!("id=\"chart-{stem}\"")).unwrap_or_else(|| panic!("no chart {stem}"));
    let figure = &page[start..start + page[start..].find("</figure>").unwrap()];
    figure.split("<title>").skip(1).map(|rest| rest[..rest.find("</title>").unwrap()].to_owned()).collect()
}

#[test]
fn page_shows_time_series_and_requests() {
    let page = page_of(&view_of(&manifest(), &records()), "us_default_small_u2");
    // 40 requests in the first 4 s, every tenth of them throttled.
    assert!(
        marks(&page, "requests").contains(&"requests at 4 s: 9.75 per second".to_owned()),
        "{:?}",
        marks(&page, "requests")
    );
    assert!(marks(&page, "requests").contains(&"failures at 1 s: 0.00 per second".to_owned()));
    assert_eq!(marks(&page, "users").iter().filter(|expected| expected.starts_with("users at ")).count(), 5);
    assert!(marks(&page, "times").iter().any(|expected| expected.starts_with("p95 at 4 s: ")));
    assert!(marks(&page, "lag").contains(&"ticker at 1 s: 1.20 ms".to_owned()));
    let bins: usize = marks(&page, "distribution")
        .iter()
        .map(|expected| expected.rsplit(' ').nth(1).unwrap().parse::<usize>().unwrap())
        .sum();
    let beyond = page.contains("1 requests took longer");
    assert_eq!(bins + usize::from(beyond), 32, "every success of the window is in a bin");
    for expected in
        ["<th scope=\"row\">ramp</th><td class=\"n\">2</td>", "<th scope=\"row\">steady</th><td class=\"n\">38</td>"]
    {
        assert!(page.contains(expected), "{expected}");
    }
    let slowest = &page[page.find("id=\"slowest\"").unwrap()..];
    let ids: Vec<usize> = (30..40).rev().map(|seq| slowest.find(&format!("<bdi>id-{seq}</bdi>")).unwrap()).collect();
    assert!(ids.is_sorted(), "the slowest first");
    assert!(slowest.contains("<bdi>ThrottlingException</bdi>"), "of any outcome");
}

#[test]
fn page_of_streams_shows_first_tokens_and_chunk_gaps() {
    let (manifest, records) = streams();
    let page = page_of(&view_of(&manifest, &records), "us_default_small_r10");
    for expected in
        ["Time to first token, ms", "Longest gap between two chunks, ms", "time to first token", "first token, ms"]
    {
        assert!(page.contains(expected), "{expected}");
    }
    assert!(marks(&page, "curves").iter().any(|expected| expected.starts_with("first token, p50: ")));
    assert!(
        marks(&page, "users").iter().all(|expected| expected.starts_with("in flight at ")),
        "an open loop has no users"
    );
}

#[test]
fn cell_that_did_not_start_has_a_page() {
    let page = page_of(&view_of(&manifest(), &records()), "us_flex_small_u4");
    assert!(!page.contains("<figure class"), "nothing is drawn as zero");
    assert!(page.contains("<dt>p95</dt><dd>n&#x2f;a"), "{page}");
}

#[test]
fn page_of_a_long_test_is_small() {
    let mut manifest = manifest();
    let second = Second { users: 2, in_flight: 1, cpu_ms: Some(200.0), ticker_ms: 1.2, dropped: 0 };
    (manifest.planned_runs[0].series, manifest.planned_runs[0].load_ms) = (vec![second; 7_200], 7_200_000.0);
    manifest.planned_runs[0].ended_ms = manifest.planned_runs[0].started_ms + 7_200_000;
    let letter = |n: u64| char::from(b'a' + (n % 26) as u8);
    let message = |seq: u64| {
        let name: String = [seq / 30, seq / 780, seq / 20_280].map(letter).iter().collect();
        format!("failure {name}: {}", "x".repeat(450))
    };
    let records: Vec<(usize, Record)> = (0..36_000_u64)
        .map(|seq| {
            let failed = seq.is_multiple_of(30);
            let outcome = if failed { Outcome::Failed } else { Outcome::Succeeded };
            let mut record = record(0, seq, seq as f64 * 200.0, 100.0 + (seq * 37 % 1_000) as f64, outcome);
            record.error_message = failed.then(|| message(seq));
            (0, record)
        })
        .collect();
    let page = page_of(&view_of(&manifest, &records), "us_default_small_u2");
    assert!(page.len() < 500_000, "{} bytes", page.len());
    assert!(
        page.contains("... and 51 more in test_us_default_small_u2_failures.csv"),
        "messages that are all different do not fill it"
    );
    let points = marks(&page, "requests").len();
    assert!((200..=260).contains(&points), "{points} points of two lines");
}

#[test]
fn incomparable_tier_has_a_reason_for_each_number() {
    let mut manifest = manifest();
    manifest.planned_runs[2].end = CellRunEnd::Finished;
    (manifest.planned_runs[0].requests, manifest.planned_runs[2].requests) = (13, 6);
    let few = |cell: usize, n: u64| {
        (0..n).map(move |seq| (cell, record(cell, seq, 500.0 + seq as f64 * 50.0, 100.0, Outcome::Succeeded)))
    };
    let view = view_of(&manifest, &few(0, 13).chain(few(2, 6)).collect::<Vec<_>>());
    insta::assert_snapshot!(view.tiers.tiers[0].result.sentence, @"flex is not compared at p50 (6 samples of flex are too few for an interval), not compared at p95 (13 samples of default are too few for an interval); it costs 1.00x per reply");
}

#[test]
fn lists_of_comparisons_name_the_stopped_cell() {
    const WHY: &str = "flex was ended early by a threshold (abort_on_fail)";
    let mut manifest = manifest();
    manifest.planned_runs[2].end = CellRunEnd::FailedEarly;
    let view = view_of(&manifest, &records());
    assert_eq!(view.tiers.tiers[0].result.sentence, format!("flex is not compared: {WHY}"));
    let files: Vec<_> = crate::report::FORMATS.iter().flat_map(|format| format(&view, &built_in()).unwrap()).collect();
    for name in ["tiers.csv", "summary.json", "summary.md", "report.html", "test_us_flex_small_u2_report.html"] {
        let file = files.iter().find(|file| file.path.to_str() == Some(name)).unwrap();
        let text = String::from_utf8_lossy(&file.bytes).replace('\\', "");
        assert!(text.contains(WHY), "{name}: {text}");
    }
    let terminal = crate::terminal::table::summary(&view, 200);
    assert!(terminal.contains(WHY), "{terminal}");
    let offer =
        view.price.rows.iter().flat_map(|row| &row.offers).find(|offer| offer.id == "us_flex_small_u2").unwrap();
    assert_eq!(offer.interval, "was ended early by a threshold (abort_on_fail)");
}
