//! What holds for every page: it brings all that it needs, and may run nothing else.

use super::{built_in, files, manifest, record, view_of};
use crate::matrix::{expand, order::execution_order};
use crate::plan::Api;
use crate::record::manifest::{CellRunEnd, CellRunReport, Manifest, PlannedCell};
use crate::record::{Outcome, Record};
use crate::report::charts::tests::collisions;
use crate::report::html;
use std::time::Duration;

/// A run of streams with every combination of these axes: some cells fast, some slow, some full of
/// failures, one aborted, one that never began.
fn run(models: usize, tiers: usize, prompts: usize, users: usize) -> (Manifest, Vec<(usize, Record)>) {
    let mut manifest = manifest();
    let plan = &mut manifest.plan;
    let take = |names: &[&str], n: usize| names.iter().take(n).map(|name| (*name).to_owned()).collect::<Vec<_>>();
    plan.matrix.model_ids = take(
        &["amazon.nova-2-lite-v1:0", "amazon.nova-pro-v1:0", "amazon.nova-premier-v1:0", "amazon.nova-micro-v1:0"],
        models,
    );
    plan.matrix.service_tiers = take(&["default", "priority", "flex"], tiers);
    plan.matrix.prompt_sizes =
        take(&["small", "large", "a-prompt-of-a-very-long-name-that-somebody-chose", "tiny", "huge"], prompts);
    plan.matrix.user_counts = (1..=users as u32).map(|n| n * 15).collect();
    plan.target.api = Some(Api::ConverseStream);
    plan.load.test_duration = Duration::from_secs(20);
    plan.report.include_ramp = true;
    plan.slo = [
        "name = \"interactive\"\np95 = \"400ms\"\nfailure_rate = \"5%\"",
        "p95 = \"1s\"\nwhen = { service_tier = \"flex\" }",
    ]
    .map(|toml| toml::from_str(toml).unwrap())
    .to_vec();
    let cells = expand(plan);
    manifest.order = execution_order(&cells, &plan.load, 1);
    manifest.prices = crate::prices::Prices::from_plan(plan).rows_for(&cells);
    let (first, last) = (manifest.planned_runs[0].clone(), cells.len() - 1);
    let cell_run = |(index, cell): (usize, &crate::matrix::Cell)| CellRunReport {
        test_id: cell.id.clone(),
        started_ms: super::STARTED_MS + 21_000 * index as u64,
        ended_ms: super::STARTED_MS + 21_000 * index as u64 + 20_500,
        load_ms: 20_000.0,
        end: if index == 3 { CellRunEnd::Aborted } else { CellRunEnd::Finished },
        ..first.clone()
    };
    manifest.planned_runs = cells
        .iter()
        .enumerate()
        .map(cell_run)
        .filter(|cell_run| last == 0 || cell_run.test_id != cells[last].id)
        .collect();
    let mut records = Vec::new();
    for (index, cell) in cells.iter().enumerate().filter(|(index, _)| last == 0 || *index != last) {
        let slow = if cell.service_tier == "flex" { 1.6 } else { 1.0 } * f64::from(cell.users.unwrap_or(1)).sqrt();
        for seq in 0..90_u64 {
            let outcome = match (index % 5, seq % 9) {
                (2, 0..3) => Outcome::Throttled,
                (2, 3) => Outcome::Failed,
                _ => Outcome::Succeeded,
            };
            let took_ms = (40.0 + (seq * 37 % 50) as f64) * slow;
            let mut record = record(index, seq, seq as f64 * 200.0, took_ms, outcome);
            record.timestamp += 16.0 * index as f64;
            record.resolved_service_tier = Some(cell.service_tier.clone());
            record.ttft_ms = record.success.then_some(took_ms / 3.0);
            record.e2e_ms = record.success.then_some(took_ms);
            record.tpot_ms = record.success.then_some(took_ms / 20.0);
            if outcome == Outcome::Failed {
                record.http_status = Some(503);
            }
            records.push((index, record));
        }
    }
    manifest.cells = cells.into_iter().map(|cell| PlannedCell { cell, cell_hash: "0".into() }).collect();
    (manifest, records)
}

#[test]
fn labels_keep_apart_from_one_cell_to_two_hundred() {
    for (models, tiers, prompts, users) in [(1, 1, 1, 1), (1, 3, 2, 2), (1, 3, 3, 3), (4, 3, 2, 5), (4, 2, 5, 5)] {
        let (manifest, records) = run(models, tiers, prompts, users);
        assert_eq!(manifest.cells.len(), models * tiers * prompts * users);
        let view = view_of(&manifest, &records);
        assert!(view.charts.len() >= 11, "{} cells have {} charts", manifest.cells.len(), view.charts.len());
        for (stem, figure) in &view.charts {
            let found = collisions(figure);
            assert!(found.is_empty(), "{stem} of {} cells: {:#?}", manifest.cells.len(), &found[..found.len().min(8)]);
        }
    }
}

#[test]
fn the_page_of_120_cells_is_at_most_a_megabyte() {
    let (manifest, records) = run(4, 3, 2, 5);
    let page = html::run(&view_of(&manifest, &records), &built_in()).unwrap().remove(0);
    assert!(page.bytes.len() <= 1_000_000, "{} bytes", page.bytes.len());
}

#[test]
fn page_is_self_contained_and_its_policy_forbids_other_scripts() {
    use base64::Engine;
    use sha2::Digest;
    let hash = |text: &str| base64::prelude::BASE64_STANDARD.encode(sha2::Sha256::digest(text));
    for file in files().iter().filter(|file| file.path.extension().is_some_and(|extension| extension == "html")) {
        let page = String::from_utf8(file.bytes.clone()).unwrap();
        let inside = |tag: &str| {
            let (start, end) = (format!("<{tag}>"), format!("</{tag}>"));
            assert_eq!(page.matches(&start).count(), 1, "{}", file.path.display());
            page[page.find(&start).unwrap() + start.len()..page.find(&end).unwrap()].to_owned()
        };
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
            hash(&inside("style")),
            hash(&inside("script"))
        );
        let escaped = policy.replace('\'', "&#x27;").replace('/', "&#x2f;");
        assert!(page.contains(&format!("http-equiv=\"Content-Security-Policy\" content=\"{escaped}\"")), "{page}");
        // An attribute of style would want a policy of its own.
        assert!(!page.contains(" style=") && !page.contains(" onclick=") && !page.contains("src=\""));
        let links = page.split("href=\"").skip(1).map(|rest| &rest[..rest.find('"').unwrap()]);
        assert!(links.clone().count() > 0 && links.clone().all(|link| link.starts_with('#')), "{page}");
        for link in links {
            let id = format!("id=\"{}\"", &link[1..]);
            assert!(page.contains(&id), "{link} leads nowhere");
        }
    }
}

#[test]
fn text_from_outside_stays_text() {
    const HOSTILE: &str = "</title><script>hacked()</script>\" onload='hacked()' \u{202e}\u{7}=cmd()";
    let (mut manifest, mut records) = run(1, 2, 1, 2);
    HOSTILE.clone_into(&mut manifest.plan.name);
    HOSTILE.clone_into(&mut manifest.plan.description);
    HOSTILE.clone_into(&mut manifest.endpoint);
    HOSTILE.clone_into(&mut manifest.connection_policy);
    manifest.region = Some(HOSTILE.into());
    manifest.planned_runs[0].reason = Some(HOSTILE.into());
    manifest.plan.slo[0].name = HOSTILE.into();
    let origin = crate::plan::Origin { layer: crate::plan::Layer::File, name: Some(HOSTILE.into()) };
    manifest.origins.insert("name".into(), origin);
    for planned in &mut manifest.cells {
        planned.cell.model_id = format!("{HOSTILE}{}", planned.cell.id);
        planned.cell.prompt_size = HOSTILE.into();
        planned.cell.service_tier = format!("{HOSTILE}{}", planned.cell.service_tier);
    }
    for (_, record) in &mut records {
        if !record.success {
            record.error_class = Some(HOSTILE.into());
            record.error_message = Some(HOSTILE.into());
        }
        record.resolved_service_tier = Some(HOSTILE.into());
    }
    let view = view_of(&manifest, &records);
    let page = String::from_utf8(html::run(&view, &built_in()).unwrap().remove(0).bytes).unwrap();
    let drawn = view.charts.iter().map(|(_, figure)| crate::report::charts::svg::file(figure, 0));
    for text in drawn.chain([page]) {
        // A page has one script of its own, and its style ends once.
        assert!(text.matches("<script").count() <= 1 && !text.contains("<script>hacked"));
        assert!(!text.contains("\" onload"), "an attribute of the text's own");
        assert!(text.contains("&lt;script&gt;hacked()"), "the text is there, as text");
    }
}

#[test]
fn limits_are_drawn_with_the_highest_passing_load() {
    use crate::report::charts::Body;
    let (manifest, records) = run(1, 3, 1, 5);
    let view = view_of(&manifest, &records);
    let (_, figure) = view.charts.iter().find(|(stem, _)| *stem == "latency_by_load").unwrap();
    let Body::Lines(lines) = &figure.body else { panic!("{figure:?}") };
    let panel = &lines.panels[0];
    let limits = panel.limits.iter().map(|limit| format!("{} ms, {:?}: {}", limit.y, limit.series, limit.tooltip));
    let verdict = |cell: &crate::report::view::CellView| cell.result.verdict.map_or("", crate::result::Verdict::key);
    let verdicts = view.cells.iter().map(|cell| format!("{} {}", cell.id, verdict(cell)));
    let all: Vec<String> = limits.chain(panel.captions.iter().cloned()).chain(verdicts).collect();
    insta::assert_snapshot!(all.join("\n"));
}
