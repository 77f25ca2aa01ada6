//! `summary.json`, `summary.md` and the templates.

use super::{FORMATS, Rendered, Templates, bounded, built_in, manifest, records, streams, text, view_of};
use crate::report::templates::OwnTemplate;

const THRESHOLDS: &str = "[[slo]]\nname = \"<fast> | *really*\"\np50 = \"210ms\"\np95 = \"200ms\"\nfailure_rate = \"5%\"\n\
    requests_per_sec = { min = 15 }\n";

fn text_of(files: &[Rendered], name: &str) -> String {
    let file = files.iter().find(|file| file.path.to_str() == Some(name)).unwrap_or_else(|| panic!("no {name}"));
    String::from_utf8(file.bytes.clone()).unwrap()
}

#[test]
fn the_run_for_programs_and_for_a_pull_request() {
    let view = view_of(&bounded(THRESHOLDS), &records());
    let files: Vec<Rendered> = FORMATS.iter().flat_map(|format| format(&view, &built_in()).unwrap()).collect();
    insta::assert_snapshot!("summary_json", text_of(&files, "summary.json"));
    insta::assert_snapshot!("summary_md", text_of(&files, "summary.md"));
    let (manifest, records) = streams();
    let json = crate::report::summary::render(&view_of(&manifest, &records), &built_in()).unwrap().remove(0);
    insta::assert_snapshot!("summary_json_of_streams", String::from_utf8(json.bytes).unwrap());
    insta::assert_snapshot!("summary_md_without_thresholds", text("summary.md"));
}

#[test]
fn the_published_schema_is_the_code_s() {
    let published = include_str!("../../../docs/summary.schema.json");
    assert_eq!(published, format!("{:#}\n", crate::report::summary::schema()), "bedrock-plan schema --of summary");
}

/// A number whose name says no unit would be read as another one.
#[test]
fn every_number_has_its_unit_in_its_name() {
    const UNITS: [&str; 12] = [
        "_ms",
        "_s",
        "_count",
        "_percent",
        "_share",
        "_per_sec",
        "_tokens",
        "_usd",
        "_bytes",
        "_number",
        "ratio",
        "usd_per1k_requests",
    ];
    fn walk(path: &str, value: &serde_json::Value) {
        match value {
            serde_json::Value::Object(map) => map.iter().for_each(|(key, value)| walk(key, value)),
            serde_json::Value::Array(items) => items.iter().for_each(|item| walk(path, item)),
            serde_json::Value::Number(_) => {
                let is_named = UNITS.iter().any(|unit| path.ends_with(unit) || path.starts_with("ratio"))
                    || [
                        "ms",
                        "n_eff",
                        "share",
                        "per_sec",
                        "schema",
                        "users",
                        "max_tokens",
                        "arrival_rate",
                        "shard",
                        "missing",
                    ]
                    .contains(&path);
                assert!(is_named, "{path}");
            }
            _ => {}
        }
    }
    for view in [view_of(&bounded(THRESHOLDS), &records()), super::machines::incomplete_view()] {
        let json = crate::report::summary::render(&view, &built_in()).unwrap().remove(0);
        walk("", &serde_json::from_slice(&json.bytes).unwrap());
    }
}

fn own(name: &str, source: &str) -> Templates {
    Templates::new(vec![OwnTemplate { name: name.into(), path: format!("mine/{name}").into(), source: source.into() }])
}

#[test]
fn custom_template_replaces_the_built_in_one() {
    let view = view_of(&manifest(), &records());
    let render = |templates: &Templates| FORMATS.iter().map(|format| format(&view, templates)).collect::<Vec<_>>();
    let mine = own("summary.md", "{{ run.name }}: {{ cells | length }} cells\n{% include 'part.md' ignore missing %}");
    let files: Vec<Rendered> = render(&mine).into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(text_of(&files, "summary.md").trim(), "known <&amp;>: 4 cells");

    let failures = |templates: &Templates| {
        let results = render(templates);
        let failed: Vec<String> =
            results.iter().filter_map(|result| result.as_ref().err()).map(ToString::to_string).collect();
        assert_eq!(results.len() - failed.len(), FORMATS.len() - 1, "all the others are made");
        failed.join("\n")
    };
    let messages = [
        failures(&own("summary.md", "one\ntwo {% if %}")),
        failures(&own("summary.md", "one\n\n{{ run.nme }}")),
        failures(&own("cell.html", "{{ cell.id | shout }}")),
    ];
    insta::assert_snapshot!("templates_that_do_not_work", messages.join("\n"));
}

#[test]
fn every_file_of_a_report_is_listed_as_its_own() {
    let manifest = super::manifest();
    let ids = manifest.cells.iter().map(|planned| planned.cell.id.as_str());
    let known = crate::record::owned::report_files(manifest.started_ms, ids);
    for file in super::files() {
        assert!(
            known.iter().any(|name| file.path == std::path::Path::new(name)),
            "{} is not listed",
            file.path.display()
        );
    }
}
