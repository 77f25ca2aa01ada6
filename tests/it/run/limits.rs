//! Automatic stops: budgets, and cells without successes.

use super::scene::{SHORT, Scene};

const PRO: [&str; 8] =
    ["--model-id", "amazon.nova-pro-v1:0", "--user-counts", "2,3", "--requests", "20", "--test-duration", "10m"];

#[test]
fn request_budget_is_enforced_and_a_larger_one_resumes() {
    let scene = Scene::new().plan(SHORT);
    let output = scene.run(3, &[&PRO[..], &["--max-requests", "30", "--order", "matrix"]].concat());
    assert_eq!(scene.records().len(), 30, "exactly");
    let manifest = scene.manifest();
    let ends: Vec<&str> =
        manifest["turns"].as_array().unwrap().iter().map(|cell_run| cell_run["end"].as_str().unwrap()).collect();
    assert_eq!(ends, ["finished", "out_of_budget"]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("the budget of max_requests = 30 admits no further request"), "{stdout}");
    scene.run(3, &[&PRO[..], &["--max-requests", "45", "--order", "matrix", "--resume"]].concat());
    assert_eq!(scene.records().len(), 45, "what earlier sessions took is counted");
    scene.run(0, &[&PRO[..], &["--max-requests", "70", "--order", "matrix", "--resume"]].concat());
    assert_eq!(scene.records().len(), 65);
    for row in scene.rows() {
        assert_eq!(row["total_requests"], "20", "{}", row["test_id"]);
    }
}

#[test]
fn cost_budget_is_never_exceeded() {
    let scene = Scene::new().plan(SHORT);
    // A request costs about 0.00006 USD: 16 output tokens at 3.20 per million, and a few input tokens.
    scene.run(3, &[&PRO[..], &["--max-cost", "0.001"]].concat());
    let cost: f64 = scene.rows().iter().filter_map(|row| row["cost_usd"].parse::<f64>().ok()).sum();
    assert!(cost > 0.0005 && cost <= 0.001, "{cost}");
    assert!(scene.records().len() < 40);
}

#[test]
fn cell_with_mostly_failures_is_aborted() {
    let faults = "[simulator.faults]\nservice_unavailable = 1.0\n[abort]\nrequests = 10\nwithin = \"100ms\"\n";
    let scene = Scene::new().plan(&format!("{SHORT}\n{faults}"));
    let long = ["--test-duration", "10m", "--user-counts", "2,3"];
    scene.run(3, &long);
    let cell_runs = scene.manifest()["turns"].as_array().unwrap().clone();
    assert_eq!(cell_runs.len(), 2, "the run goes on");
    for cell_run in &cell_runs {
        assert_eq!(cell_run["end"], "aborted");
        let reason = cell_run["reason"].as_str().unwrap();
        assert!(reason.contains("requests failed or were throttled; last error: ServiceUnavailable"), "{reason}");
    }
    scene.run(3, &[&long[..], &["--overwrite", "--set", "abort.then=stop"]].concat());
    assert_eq!(scene.manifest()["turns"].as_array().unwrap().len(), 1, "unless it is to stop");
}

#[test]
fn attempt_is_kept_until_the_budget_is_raised() {
    let scene = Scene::new().plan(SHORT);
    let load = ["--user-counts", "2", "--requests", "40", "--test-duration", "10m"];
    let small = [&load[..], &["--max-requests", "15"]].concat();
    scene.run(3, &small);
    assert_eq!(scene.rows()[0]["total_requests"], "15");
    scene.run(3, &[&small[..], &["--resume"]].concat());
    assert_eq!(scene.rows()[0]["total_requests"], "15", "what was measured counts until there is something better");
    scene.run(0, &[&load[..], &["--max-requests", "60", "--resume"]].concat());
    assert_eq!(scene.rows()[0]["total_requests"], "40");
}

#[test]
fn cost_budget_requires_a_price_for_every_cell() {
    let zip = "[[matrix.zip]]\nmodel_ids = [\"amazon.nova-pro-v1:0\", \"no.price-v1:0\"]\nmax_tokens = [8, 16]\n";
    let add = "[[matrix.add]]\nmodel_id = \"no.price-v1:0\"\nregion_prefix = \"us\"\nservice_tier = \"default\"\n\
        prompt_size = \"small\"\nusers = 1\n";
    for more in [zip, add] {
        let plan = format!("{}\n{more}", SHORT.replace("test.model-v1:0", "amazon.nova-pro-v1:0"));
        let plan =
            if more == zip { plan.replace("model_ids = [\"amazon.nova-pro-v1:0\"]\nservice", "service") } else { plan };
        let plan = if more == zip { plan.replace("[request]\nmax_tokens = 16\n", "") } else { plan };
        let output = Scene::new().plan(&plan).run(2, &["--max-cost", "1"]);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(stderr.contains("`max_cost` cannot be enforced: no price for `no.price-v1:0`"), "{stderr}");
    }
    let plan = format!(
        "{}\n",
        SHORT.replace("user_counts = [3]", "user_counts = [3]\nexclude = [{ model_id = \"test.model-v1:0\" }]")
    );
    let plan = plan.replace("[\"test.model-v1:0\"]", "[\"test.model-v1:0\", \"amazon.nova-pro-v1:0\"]");
    Scene::new().plan(&plan).run(0, &["--max-cost", "1", "--requests", "3"]);
}
