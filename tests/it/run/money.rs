//! The cost of a run, computed again from the journal and the price file.

use super::scene::{SHORT, Scene};
use serde_json::Value;
use std::collections::HashMap;

/// Returns the shipped prices per million tokens: input, output, cache read, cache write.
fn price_file() -> HashMap<(String, String, String), [Option<f64>; 4]> {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("prices");
    let file = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_path(file).unwrap();
    let row = |row: csv::StringRecord| {
        let price = |index: usize| row[index].parse().ok();
        ((row[0].into(), row[1].into(), row[2].into()), [price(3), price(4), price(5), price(6)])
    };
    reader.records().map(|record| row(record.unwrap())).collect()
}

/// Returns the cost of one record in US dollars, by the tier that served it.
fn cost(record: &Value, prices: &HashMap<(String, String, String), [Option<f64>; 4]>) -> Option<f64> {
    let text = |key: &str| record[key].as_str().unwrap().to_owned();
    let tokens = |key: &str| record[key].as_u64().unwrap_or(0) as f64;
    let row = prices.get(&(text("model_id"), text("region_prefix"), text("resolved_service_tier")))?;
    let used =
        [tokens("input_tokens"), tokens("output_tokens"), tokens("cache_read_tokens"), tokens("cache_write_tokens")];
    let parts = used
        .iter()
        .zip(row)
        .map(|(tokens, price)| if *tokens > 0.0 { price.map(|price| price * tokens) } else { Some(0.0) });
    parts.sum::<Option<f64>>().map(|millionths| millionths / 1e6)
}

fn scene() -> Scene {
    let scene = Scene::new().plan(&format!("prompts_file = \"prompts.json\"\n{SHORT}"));
    let prompts = serde_json::json!({
        "small": { "text": "Say hello." },
        "long": { "text": "Some words that are always the same. ".repeat(150) },
    });
    std::fs::write(scene.path("prompts.json"), prompts.to_string()).unwrap();
    scene
}

#[test]
fn costs_are_those_of_the_journal_and_the_price_file() {
    let scene = scene();
    let output = scene.run(
        0,
        &[
            "--model-id",
            "anthropic.claude-sonnet-4-5-20250929-v1:0,amazon.nova-pro-v1:0",
            "--service-tiers",
            "default,flex",
            "--prompt-sizes",
            "small",
            "--set",
            "simulator.flex_as_default=0.3",
        ],
    );
    let prices = price_file();
    let (records, rows) = (scene.records(), scene.rows());
    let (mut checked, mut total) = (0, 0.0);
    for row in &rows {
        let own: Vec<&Value> = records.iter().filter(|record| record["test_id"] == row["test_id"].as_str()).collect();
        let costs: Option<Vec<f64>> = own.iter().map(|record| cost(record, &prices)).collect();
        let sonnet_on_flex = row["test_id"].starts_with("claude") && row["service_tier"] == "flex";
        assert_eq!(costs.is_none(), sonnet_on_flex, "{}: only this one has no price", row["test_id"]);
        let Some(costs) = costs else {
            assert_eq!((row["cost_usd"].as_str(), row["cost_per_1k_requests"].as_str()), ("", ""));
            continue;
        };
        let (sum, n) = (costs.iter().sum::<f64>(), costs.len() as f64);
        let output: u64 = own.iter().map(|record| record["output_tokens"].as_u64().unwrap()).sum();
        let near = |column: &str, wanted: f64| {
            let value: f64 = row[column].parse().unwrap();
            assert!((value - wanted).abs() <= 5.1e-9 * wanted.max(1.0), "{column}: {value} for {wanted}");
        };
        assert_eq!(row["cost_usd"].split_once('.').unwrap().1.len(), 8);
        near("cost_usd", sum);
        near("cost_per_1k_requests", sum / n * 1e3);
        near("cost_per_1m_output_tokens", sum / output as f64 * 1e6);
        (checked, total) = (checked + 1, total + sum);
    }
    assert_eq!(checked, 3);
    let served_as_default = records.iter().any(|record| {
        record["model_id"] == "amazon.nova-pro-v1:0"
            && record["service_tier"] == "flex"
            && record["resolved_service_tier"] == "default"
    });
    assert!(served_as_default, "and what default served costs what default costs");
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains(&format!("this would have cost {total:.8} USD, of 3 of 4 cells")), "{stdout}");
    assert!(stdout.contains("cost not known: no price for anthropic.claude-sonnet-4-5-20250929-v1:0"), "{stdout}");
}

#[test]
fn cache_tokens_have_their_own_prices_and_priming_is_counted() {
    let scene = scene();
    let sonnet = "anthropic.claude-sonnet-4-5-20250929-v1:0";
    scene.run(0, &["--model-id", sonnet, "--prompt-sizes", "long", "--cache-modes", "warm"]);
    let (records, row) = (scene.records(), &scene.rows()[0]);
    let prices = price_file();
    let all: f64 = records.iter().map(|record| cost(record, &prices).unwrap()).sum();
    let load: Vec<f64> = records
        .iter()
        .filter(|record| record["phase"] != "priming")
        .map(|record| cost(record, &prices).unwrap())
        .collect();
    let value = |column: &str| row[column].parse::<f64>().unwrap();
    assert_eq!(load.len() + 1, records.len());
    assert!((value("cost_usd") - all).abs() < 5.1e-9, "the priming request is paid for");
    let per_1k = load.iter().sum::<f64>() / load.len() as f64 * 1e3;
    assert!((value("cost_per_1k_requests") - per_1k).abs() < 5.1e-9, "and no request of the load");
    let read: u64 = records.iter().filter_map(|record| record["cache_read_tokens"].as_u64()).sum();
    assert!(read > 1_000);
}

#[test]
fn plan_prices_override_and_reports_keep_prices_of_the_run() {
    let rows =
        "[[prices.rows]]\nmodel_id = \"test.model-v1:0\"\ninput = 1000.0\noutput = 2000.0\nsource = \"our contract\"\n";
    let scene = Scene::new().plan(&format!("{SHORT}\n{rows}"));
    let output = scene.run(0, &[]);
    assert!(String::from_utf8(output.stdout).unwrap().contains("(prices: our contract)"));
    let tokens = |key: &str| scene.records().iter().map(|record| record[key].as_u64().unwrap()).sum::<u64>() as f64;
    let wanted = (tokens("input_tokens") * 1_000.0 + tokens("output_tokens") * 2_000.0) / 1e6;
    assert!((scene.rows()[0]["cost_usd"].parse::<f64>().unwrap() - wanted).abs() < 5.1e-9);
    assert_eq!(scene.manifest()["prices"][0]["source"], "our contract");
    let before = scene.rows()[0]["cost_usd"].clone();
    std::fs::remove_file(scene.path("plan.toml")).unwrap();
    scene.expect(0, scene.command(&["report", "results"]));
    assert_eq!(scene.rows()[0]["cost_usd"], before);
}
