//! Text that means harm, in every place where text can come in from a plan, a prompts file, a service or a
//! journal; and that `--public` output does not identify the sender.

use super::{
    Collector, FORMATS, Manifest, PlannedCell, Record, Rendered, View, build, built_in, evaluate, execution_order,
    expand,
};
use super::{bounded, records};
use crate::plan::{Layer, Origin};
use crate::record::manifest::{Machine, ShardPart, Shards};
use crate::report::charts::svg;
use crate::report::ci::{self, Kind};
use crate::report::outside::clean_all;

/// What would run, break out, move a cursor, turn text around, or fill a page.
fn hostile() -> String {
    format!(
        "=cmd()|'/C calc'!A0 <script>alert(1)</script> \"quoted\" 'single' `tick` | pipe\r\n**bold** [a](http://x.test) ]]> {} {} \u{1b}[2J\u{7} \u{202e}txt.exe \u{0}\u{fffe} {}",
        "{{ 7*7777 }}",
        "\u{5e9}\u{5dc}\u{5d5}\u{5dd}",
        "x".repeat(400)
    )
}

fn plan_of(text: &str) -> Manifest {
    let mut manifest = bounded("[[slo]]\nname = \"x\"\np95 = \"200ms\"\nfailure_rate = \"5%\"\n");
    let plan = &mut manifest.plan;
    plan.name = text.into();
    plan.description = text.into();
    plan.slo[0].name = text.into();
    plan.matrix.model_ids = vec![text.into(), format!("{text}2")];
    plan.matrix.service_tiers = vec!["default".into(), text.into()];
    plan.matrix.region_prefixes = vec![text.into()];
    plan.matrix.prompt_sizes = vec![text.into()];
    plan.matrix.user_counts = vec![2];
    plan.request.system = Some(text.into());
    plan.request.stop_sequences = vec![text.into()];
    plan.request.additional_fields.insert(text.into(), text.into());
    let cells = expand(plan);
    manifest.order = execution_order(&cells, &plan.load, 1);
    for (cell_run, cell) in manifest.planned_runs.iter_mut().zip(&cells) {
        cell_run.test_id.clone_from(&cell.id);
        cell_run.reason = cell_run.reason.as_ref().map(|_| text.to_owned());
    }
    manifest.cells = cells.into_iter().map(|cell| PlannedCell { cell, cell_hash: "0".into() }).collect();
    for cell_run in &mut manifest.planned_runs {
        cell_run.shard = Some(0);
    }
    let machine = Machine { os: text.into(), arch: text.into(), cores: 2, cpu_quota_cores: None };
    let part = ShardPart {
        index: 0,
        host: text.into(),
        machine,
        clock: None,
        started_ms: manifest.started_ms,
        ended_ms: manifest.ended_ms,
        interrupted: false,
        reason: Some(text.into()),
    };
    manifest.shards = Some(Shards { count: 1, complete: true, parts: vec![part] });
    manifest.endpoint = text.into();
    manifest.region = Some(text.into());
    manifest
}

fn records_of(text: &str) -> Vec<(usize, Record)> {
    let hostile = |mut record: Record| {
        for field in [&mut record.error_class, &mut record.error_message] {
            *field = field.as_ref().map(|_| text.to_owned());
        }
        record.shard = Some(0);
        record.request_id = Some(text.into());
        record.stop_reason = Some(text.into());
        record.resolved_service_tier = Some(text.into());
        record.protocol = Some(text.into());
        record.prompt = Some(text.into());
        record
    };
    records().into_iter().map(|(cell, record)| (cell, hostile(record))).collect()
}

fn view_of(manifest: &Manifest, records: &[(usize, Record)], public: bool) -> View {
    let mut collector = Collector::new(manifest);
    for (cell, record) in records {
        collector.add(*cell, record);
    }
    let (manifest, summary) = clean_all(manifest, collector.finish_in_memory(), public).unwrap();
    build(&manifest, &summary, &evaluate(&manifest, &summary))
}

/// Every file of a run, what goes to CI, and what the terminal gets.
fn outputs(view: &View) -> Vec<(String, String)> {
    let files: Vec<Rendered> = FORMATS.iter().flat_map(|format| format(view, &built_in()).unwrap()).collect();
    let mut texts: Vec<(String, String)> = files
        .into_iter()
        .filter(|file| file.path.extension().is_none_or(|extension| extension != "png"))
        .map(|file| (file.path.display().to_string(), String::from_utf8(file.bytes).unwrap()))
        .collect();
    texts.extend(view.charts.iter().map(|(stem, figure)| (format!("{stem}.svg"), svg::file(figure, 0))));
    for (kind, name) in [(Kind::Junit, "junit.xml"), (Kind::Benchmark, "benchmark.json"), (Kind::Emf, "emf.jsonl")] {
        texts.push((name.into(), String::from_utf8(ci::of_run(kind, view, &built_in()).unwrap()).unwrap()));
    }
    texts.push(("terminal".into(), crate::terminal::table::summary(view, 100)));
    texts
}

#[test]
fn hostile_text_is_text_in_every_output() {
    let text = hostile();
    let view = view_of(&plan_of(&text), &records_of(&text), false);
    let mut kinds = std::collections::BTreeSet::new();
    for (name, output) in outputs(&view) {
        let end = name.rsplit('.').next().unwrap();
        kinds.insert(end.to_owned());
        let is_odd = |c: char| c.is_control() && !"\n\r\t".contains(c) || c == '\u{202e}' || c == '\u{fffe}';
        assert!(!output.contains(is_odd), "{name} holds {:?}", output.chars().find(|c| is_odd(*c)));
        match end {
            "html" => {
                assert!(output.contains("&lt;script&gt;alert(1)"), "{name}: it is shown");
                assert!(!output.contains("<script>alert"), "{name}: it is no script");
                assert_eq!(output.matches("<script").count(), 1, "{name}: the page's own is the only one");
                assert!(!output.contains("\"quoted\""), "{name}: no attribute is left");
                assert!(!output.contains("54439"), "{name}: no template is filled in twice");
            }
            "svg" | "xml" => {
                let mut reader = quick_xml::Reader::from_str(&output);
                loop {
                    match reader.read_event().unwrap_or_else(|error| panic!("{name}: {error}")) {
                        quick_xml::events::Event::Eof => break,
                        quick_xml::events::Event::Start(tag) => assert_ne!(tag.name().as_ref(), "script", "{name}"),
                        _ => {}
                    }
                }
            }
            "csv" => {
                let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(output.as_bytes());
                for field in reader.records().flat_map(|row| row.unwrap().iter().map(str::to_owned).collect::<Vec<_>>())
                {
                    let is_formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']);
                    assert!(!is_formula || field.parse::<f64>().is_ok(), "{name}: {field}");
                }
            }
            "json" => drop(serde_json::from_str::<serde_json::Value>(&output).unwrap()),
            "jsonl" => output.lines().for_each(|line| drop(serde_json::from_str::<serde_json::Value>(line).unwrap())),
            "md" => {
                assert!(!output.contains("<script"), "{name}");
                let unescaped = |line: &str| line.replace("\\\\", "").replace("\\|", "").matches('|').count();
                let mut columns = 0;
                for line in output.lines() {
                    match (line.starts_with('|'), columns) {
                        (false, _) => columns = 0,
                        (true, 0) => columns = unescaped(line),
                        (true, _) => assert_eq!(unescaped(line), columns, "{name}: {line}"),
                    }
                }
            }
            "hlog" | "terminal" => {}
            _ => panic!("{name} is not looked at"),
        }
    }
    let all = ["csv", "hlog", "html", "json", "jsonl", "md", "svg", "terminal", "xml"];
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), all);
}

#[test]
fn formulas_are_escaped_and_numbers_are_kept() {
    let text = |text: &str| crate::report::encode::csv_text(text.into());
    for formula in ["=cmd()", "+1+2", "-x", "@sum", "\tx", "\rx", "-", "-inf", "+nan"] {
        assert_eq!(text(formula), format!("'{formula}"));
    }
    for plain in ["-1.5", "+2", "-.5", "-1e-3", "", "a=b", "us_flex"] {
        assert_eq!(text(plain), plain);
    }
}

#[test]
fn in_public_no_text_of_a_request_and_no_directory_is_shown() {
    let mut manifest = plan_of("plain");
    let plan = &mut manifest.plan;
    plan.request.system = Some("You are Hal.".into());
    plan.request.stop_sequences = vec!["END-OF-HAL".into(), "HAL-STOPS".into()];
    plan.request.request_metadata = [("hal-team".to_owned(), "hal-9000".to_owned())].into();
    plan.request.additional_fields = serde_json::from_value(serde_json::json!({
        "effort": "high", "notes": {"persona": "a calm voice of hal"},
    }))
    .unwrap();
    plan.prompts_file = Some("/home/hal/prompts.json".into());
    plan.results_dir = "/home/hal/results".into();
    let origin = Origin { layer: Layer::File, name: Some("/home/hal/plan.toml:7".into()) };
    for key in [
        "prompts_file",
        "results_dir",
        "request.system",
        "request.stop_sequences",
        "request.request_metadata.hal-team",
        "request.additional_fields.effort",
        "request.additional_fields.notes.persona",
    ] {
        manifest.origins.insert(key.into(), origin.clone());
    }
    manifest.plan.overrides = vec![
        serde_json::from_value(serde_json::json!({"when": {"service_tier": "default"}, "system": "You are Hal 2."}))
            .unwrap(),
    ];
    let cells = expand(&manifest.plan);
    for (planned, cell) in manifest.cells.iter_mut().zip(cells) {
        planned.cell = cell;
    }
    let is_secret = |text: &str| text.to_lowercase().contains("hal-") || text.contains("Hal") || text.contains("/hal");
    let records = records_of("plain");
    let unmasked = outputs(&view_of(&manifest, &records, false));
    for secret in ["You are Hal.", "You are Hal 2.", "END-OF-HAL", "hal-team", "hal-9000", "calm voice"] {
        assert!(unmasked.iter().any(|(_, text)| text.contains(secret)), "{secret} is there to mask");
    }
    for (name, text) in outputs(&view_of(&manifest, &records, true)) {
        let text = text.replace("&#x2f;", "/");
        let line = text.lines().find(|line| is_secret(line) || line.contains("calm voice")).unwrap_or_default();
        assert!(line.is_empty(), "{name} contains {line}");
        if name.ends_with("report.html") && name.starts_with("test_") {
            assert!(text.contains("[masked]") && text.contains("high"), "{name}");
        }
    }
}

#[test]
fn public_output_contains_no_identity() {
    let arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6";
    let mut manifest = plan_of("plain");
    manifest.plan.target.profile = Some("payments-prod".into());
    let part = &mut manifest.shards.as_mut().unwrap().parts[0];
    part.host = "janes-laptop".into();
    part.reason = Some("janes-laptop went to sleep".into());
    manifest.plan.matrix.model_ids = vec![arn.into(), "amazon.nova-2-lite-v1:0".into()];
    manifest.plan.matrix.region_prefixes = vec!["none".into()];
    let cells = expand(&manifest.plan);
    for (cell_run, cell) in manifest.planned_runs.iter_mut().zip(&cells) {
        cell_run.test_id.clone_from(&cell.id);
    }
    manifest.cells = cells.into_iter().map(|cell| PlannedCell { cell, cell_hash: "0".into() }).collect();
    let lines = format!(
        "User: arn:aws:sts::123456789012:assumed-role/LoadTester/jane.doe is not authorized on {arn} (profile payments-prod)"
    );
    let records = records_of(&lines);
    let secrets = ["123456789012", "a1b2c3d4e5f6", "LoadTester", "jane.doe", "janes-laptop", "payments-prod"];
    let unmasked = outputs(&view_of(&manifest, &records, false));
    for secret in &secrets[..5] {
        assert!(
            unmasked.iter().any(|(name, text)| text.contains(secret) || name.contains(secret)),
            "{secret} is there to mask"
        );
    }
    let masked = outputs(&view_of(&manifest, &records, true));
    assert_eq!(masked.len(), unmasked.len());
    for (name, text) in &masked {
        for secret in secrets {
            assert!(!text.contains(secret) && !name.contains(secret), "{name} tells {secret}");
        }
    }
    let page = masked.iter().find(|(name, _)| name.starts_with("test_") && name.ends_with("report.html")).unwrap();
    assert!(page.1.contains("assumed-role&#x2f;name-") && page.0.contains("id-1"), "{}", page.0);
}
