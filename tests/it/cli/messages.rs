//! Invalid input: a clear message, exit code 2, no request, no file.

use crate::support::{command, shown};

/// Name of the snapshot, the plan if there is one, the environment, and the arguments after `run`.
type Case = (&'static str, Option<&'static str>, &'static [(&'static str, &'static str)], &'static [&'static str]);

const CASES: &[Case] = &[
    ("unknown_key", Some("[matrix]\nuser_count = [5]\n"), &[], &[]),
    ("misplaced_key", Some("test_duration = \"5m\"\n"), &[], &[]),
    ("unknown_table", Some("[laod]\ndrain = \"5s\"\n"), &[], &[]),
    ("value_for_a_table", Some("load = 5\n"), &[], &[]),
    ("misspelt_table", Some("[requests]\nmax_tokens = 5\n[[slos]]\np95 = \"1s\"\n"), &[], &[]),
    ("misplaced_key_of_two_tables", Some("max_tokens = 100\n"), &[], &[]),
    ("misplaced_list_of_two_tables", Some("max_tokens = [100, 200]\n"), &[], &[]),
    (
        "misspelt_names",
        Some(
            "[matrix]\nservice_tiers = [\"defualt\", \"flx\"]\n[[matrix.add]]\nservice_tier = \"Flex\"\nregion_prefix = \"apc\"\nprompt_size = \"small\"\nusers = 5\n",
        ),
        &[("REGION_PREFIXES", "uk,us")],
        &[],
    ),
    ("table_for_a_value", Some("[name]\nx = 1\n"), &[], &[]),
    (
        "wrong_type",
        Some("[load]\nspawn_rate = \"fast\"\n[matrix]\nmodel_ids = [5]\nservice_tiers = \"flex\"\n"),
        &[],
        &[],
    ),
    (
        "numbers_out_of_range",
        Some(
            "[matrix]\nuser_counts = [30, 0, -3, 2.5]\n[load]\nspawn_rate = 0\ntest_duration = \"0s\"\nrepetitions = 0\n[request]\nmax_tokens = 0\ntimeout = \"0s\"\ntemperature = 1.5\n",
        ),
        &[],
        &[],
    ),
    (
        "negative_on_flags",
        None,
        &[],
        &["--user-counts", "-3", "--spawn-rate", "-1", "--max-tokens", "-5", "--test-duration", "-1s"],
    ),
    (
        "more_cells_than_the_limit",
        Some(
            "[matrix]\nmodel_ids = [\"a\", \"b\", \"c\", \"d\", \"e\", \"f\", \"g\", \"h\", \"i\", \"j\"]\nregions = [\"a\", \"b\", \"c\", \"d\", \"e\", \"f\", \"g\", \"h\", \"i\", \"j\"]\nregion_prefixes = [\"a\", \"b\", \"c\", \"d\", \"e\", \"f\", \"g\", \"h\", \"i\", \"j\"]\nservice_tiers = [\"a\", \"b\", \"c\", \"d\", \"e\", \"f\", \"g\", \"h\", \"i\", \"j\"]\nmax_tokens = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\nuser_counts = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n[[matrix.zip]]\nprompt_sizes = [\"small\", \"medium\"]\ncache_modes = [\"cold\", \"warm\"]\n",
        ),
        &[],
        &[],
    ),
    ("more_cell_runs_than_the_limit", Some("[load]\nrepetitions = 4000000000\n"), &[], &[]),
    ("a_limit_of_the_user", None, &[], &["--max-cells", "26"]),
    (
        "more_load_than_the_limit",
        Some(
            "[load]\nspawn_rate = 1e-300\n[matrix]\nprofiles = [\"wave\", \"flood\"]\n[[matrix.add]]\nservice_tier = \"flex\"\nprompt_size = \"small\"\nusers = 4000000000\n[[profile]]\nname = \"wave\"\nstages = [{ users = 600000, for = \"1s\" }, { users = 100000, for = \"1s\" }]\n[[profile]]\nname = \"flood\"\nstages = [{ rate = 1e12, for = \"1s\" }]\n",
        ),
        &[],
        &[],
    ),
    ("empty_axis", Some("[matrix]\nservice_tiers = []\n"), &[], &[]),
    ("repeated_value", Some("[matrix]\nservice_tiers = [\"flex\", \"default\", \"flex\"]\n"), &[], &[]),
    ("empty_item", None, &[("USER_COUNTS", "30,,60")], &["--service-tiers", "flex,"]),
    ("empty_flag", None, &[], &["--service-tiers", ""]),
    ("unknown_prompt_size", None, &[], &["--prompt-sizes", "small,huge"]),
    ("unknown_cache_mode", None, &[], &["--cache-modes", "cold,hot"]),
    (
        "mixes_without_sense",
        Some(
            "[matrix]\nprompt_sizes = [\"chat\", \"lagre\"]\n[[mix]]\nname = \"chat\"\nsizes = { small = 7, large = 0, medum = 1, other = 2 }\n[[mix]]\nname = \"other\"\nsizes = {}\n[[mix]]\nname = \"small\"\nsizes = { large = 1 }\n[[mix]]\nname = \"other\"\nsizes = { small = -1 }\n",
        ),
        &[],
        &[],
    ),
    ("mix_with_an_unknown_key", Some("[[mix]]\nname = \"chat\"\nweights = { small = 7 }\n"), &[], &[]),
    (
        "data_sets_that_are_not_there",
        Some(
            "[[dataset]]\nname = \"small\"\nfile = \"q.jsonl\"\n[[dataset]]\nname = \"questions\"\nfile = \"nowhere.jsonl\"\n",
        ),
        &[],
        &[],
    ),
    (
        "request_fields_without_sense",
        Some(
            "[request]\nsystem = \" \"\nstop_sequences = [\"END\", \"\", \"END\"]\nperformance = \"fast\"\nadditional_fields = 5\n[request.request_metadata]\nteam = 7\n",
        ),
        &[],
        &[],
    ),
    (
        "request_lists_of_numbers",
        Some("[request]\nstop_sequences = [5]\n[request.additional_fields]\n\"a.b\" = 1\n"),
        &[],
        &["--set", "request.request_metadata=[1]", "--set", "request.additional_field.x=1"],
    ),
    ("missing_prompts_file", None, &[], &["--prompts-file", "nowhere.json"]),
    ("missing_plan", None, &[], &["nowhere.toml"]),
    ("malformed_plan", Some("[matrix\nuser_counts = [5\n[load]\ndrain = = 3\n"), &[("USER_COUNTS", "x")], &[]),
    ("duration_without_sense", None, &[], &["--test-duration", "5x"]),
    ("think_time_backwards", None, &[], &["--think-time", "2s..1s"]),
    ("ramp_longer_than_the_test", Some("[load]\nspawn_rate = 1\n"), &[], &[]),
    ("arn_with_a_prefix", None, &[("BASE_MODEL_ID", "arn:aws:bedrock:us-east-1:1:inference-profile/us.x")], &[]),
    ("prefix_twice", None, &[], &["--model-id", "eu.amazon.nova-2-lite-v1:0"]),
    ("unknown_variable", None, &[("BEDROCK_PLAN_USER_COUNT", "5"), ("BEDROCK_PLAN_LOAD__DRAN", "5s")], &[]),
    (
        "same_setting_twice",
        None,
        &[
            ("REGION_PREFIX", "us"),
            ("REGION_PREFIXES", "us,eu"),
            ("USER_COUNTS", "5"),
            ("BEDROCK_PLAN_USER_COUNTS", "6"),
        ],
        &["--simulated", "--endpoint-url", "http://127.0.0.1:1"],
    ),
    ("bad_set", None, &[], &["--set", "simulator.capacty=4", "--set", "nothing"]),
    ("bad_boolean", None, &[("INCLUDE_FAILURES", "maybe")], &[]),
    ("bad_endpoint", None, &[], &["--endpoint-url", "localhost:8080"]),
    ("bad_order", None, &[], &["--order", "sorted"]),
    ("bad_placeholder", None, &[], &["--results-dir", "results/{date}"]),
    ("bad_schema", Some("schema = 2\n"), &[], &[]),
    (
        "simulator_without_sense",
        Some("[simulator]\nflex_as_default = 2\noutput_tokens = 0\n[simulator.faults]\nstall = 0.6\nreset = 0.6\n"),
        &[],
        &[],
    ),
    (
        "all_at_once",
        Some("[matrix]\nuser_counts = [0]\nmodel_id = \"x\"\n[load]\ndrain = -5\n"),
        &[("MAX_TOKENS", "many")],
        &["--timeout", "5x"],
    ),
    (
        "stages_without_sense",
        Some(
            "[matrix]\nprofiles = [\"spike\", \"soak\", \"mixed\"]\n[[profile]]\nname = \"spike\"\nstages = [{ users = 10, for = \"30s\" }, { users = 20 }]\n[[profile]]\nname = \"mixed\"\nstages = [{ users = 1, for = \"1s\" }, { rate = 2.5, for = \"1s\" }, { for = \"1s\" }]\n",
        ),
        &[],
        &[],
    ),
    (
        "profile_with_an_unknown_key",
        Some(
            "[matrix]\nprofiles = [\"spike\"]\n[[profile]]\nname = \"spike\"\nstages = [{ user = 10, for = \"30s\" }]\n",
        ),
        &[],
        &[],
    ),
    (
        "thresholds_without_sense",
        Some(
            r#"[[slo]]
name = "interactive"
when = { service_tier = "priority", users = 31 }
p95 = "2.5s"
[[slo]]
name = "interactive"
when = { tier = "flex" }
p99.9 = "3s"
p59x = "1s"
ttft_p95 = 800
failure_rate = "101%"
thottle_rate = "1%"
requests_per_sec = 20
goodput = { min = 12.0 }
on_inconclusive = "maybe"
[[slo]]
[[slo]]
requests_per_sec = { min = 20 }
abort_on_fail = true
[[slo]]
service_p95 = "1s"
tpot_p50 = "40ms"
goodput = { min = 12.0, ttft = "800ms" }
"#,
        ),
        &[],
        &[],
    ),
    (
        "threshold_on_streams_where_some_are",
        Some("[matrix]\napis = [\"converse\", \"converse-stream\"]\n[[slo]]\nttft_p95 = \"1s\"\nname = 5\n"),
        &[],
        &[],
    ),
    ("budgets_without_sense", None, &[], &["--max-cost", "5", "--max-requests", "0", "--model-id", "my.model"]),
    ("abort_without_sense", Some("[abort]\nfailure_rate = 0\nrequests = 0\nthen = \"pause\"\n"), &[], &[]),
    (
        "negative_prices",
        Some("[quota]\ntokens_per_minute = 0\n[[prices.rows]]\nmodel_id = \"m\"\ninput = -0.8\noutput = 1\n"),
        &[],
        &[],
    ),
    (
        "price_with_an_unknown_key",
        Some("[[prices.rows]]\nmodel_id = \"m\"\ninput = 1\noutput = 1\ncache = 3\n"),
        &[],
        &[],
    ),
    ("percentiles_out_of_range", None, &[], &["--percentiles", "0,50,100,99.9,99.9"]),
    ("rivals_in_one_layer", Some("[matrix]\nuser_counts = [5]\narrival_rates = [5]\n"), &[], &[]),
    (
        "rivals_in_other_layers",
        None,
        &[("USER_COUNTS", "5"), ("BEDROCK_PLAN_ARRIVAL_RATES", "3")],
        &["--api", "converse", "--apis", "converse-stream"],
    ),
    (
        "arrivals_without_sense",
        None,
        &[],
        &["--arrival-rates", "5,0,-1,x", "--arrivals", "sometimes", "--max-in-flight", "0"],
    ),
    (
        "lengths_that_contradict",
        None,
        &[],
        &["--requests", "0", "--min-samples", "p98", "--max-duration", "5s", "--goodput-e2e", "0s"],
    ),
    ("samples_and_requests", None, &[], &["--requests", "5", "--min-samples", "p99", "--max-duration", "5s"]),
    ("unknown_api", None, &[], &["--apis", "converse,invoke", "--on-invalid", "ignore"]),
    ("only_picks_nothing", None, &[], &["--only", "eu_*"]),
    ("only_is_no_pattern", None, &[], &["--only", "us_[*"]),
    ("unknown_flag", None, &[], &["--user-count", "5"]),
    ("no_terminal_and_no_yes", None, &[], &["--simulated"]),
];

#[test]
fn invalid_input_is_reported_with_one_message() {
    for (name, plan, environment, arguments) in CASES {
        let dir = tempfile::tempdir().unwrap();
        let mut all = vec!["run"];
        if let Some(plan) = plan {
            std::fs::write(dir.path().join("plan.toml"), plan).unwrap();
            all.push("plan.toml");
        }
        all.extend(*arguments);
        let output = command(dir.path(), &all).envs(environment.iter().copied()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}: {}", shown(dir.path(), &output));
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|file| file == "plan.toml"), "{name} left {left:?}");
        insta::assert_snapshot!(*name, shown(dir.path(), &output));
    }
}

#[test]
fn errors_in_prompts_files_have_positions() {
    let cases = [
        ("prompts_malformed", "{\n  \"small\": {\"text\": \"hi\"},\n  \"large\": {\"text\": }\n}\n"),
        ("prompts_empty", "{}"),
        ("prompts_nothing", ""),
        ("prompts_without_text", "{\n  \"small\": {\"txt\": \"hi\"}\n}\n"),
        ("prompts_blank", "{\n  \"small\": {\"text\": \" \"}\n}\n"),
        (
            "prompts_all_at_once",
            "{\n  \"small\": {\"text\": \"hi\", \"file\": \"x\"},\n  \"none\": {\"description\": \"d\"},\n  \"talk\": {\"messages\": [{\"role\": \"user\", \"text\": \"a\"}, {\"role\": \"user\", \"text\": \"b\"}]},\n  \"end\": {\"messages\": [{\"role\": \"user\", \"text\": \"a\"}, {\"role\": \"assistant\", \"text\": \"b\"}]},\n  \"made\": {\"generate\": {\"input_tokens\": 5}},\n  \"away\": {\"file\": \"nowhere.txt\"},\n  \"lines\": {\"dataset\": \"lines.jsonl\"}\n}\n",
        ),
    ];
    for (name, text) in cases {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("prompts.json"), text).unwrap();
        let lines = "{\"text\": \"a\"}\n{\"text\": \"b\"\n{\"txt\": \"c\"}\n";
        std::fs::write(dir.path().join("lines.jsonl"), lines).unwrap();
        let output = command(dir.path(), &["show"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}");
        insta::assert_snapshot!(name, shown(dir.path(), &output));
    }
}

#[test]
fn unwritable_results_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "x").unwrap();
    let output =
        command(dir.path(), &["run", "--simulated", "--yes", "--results-dir", "file/results"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!("results_dir_is_a_file", shown(dir.path(), &output));
}

#[test]
fn report_without_a_results_directory_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let output = command(dir.path(), &["report", "nowhere"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!("report_without_a_run", shown(dir.path(), &output));
}

/// A plan can name any file of the machine, and its errors may be written to public logs.
#[test]
fn errors_quote_no_line_of_files_of_other_formats() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    let error = |name: &str| {
        let output = command(dir.path(), &["run", name, "--yes"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}");
        String::from_utf8(output.stderr).unwrap()
    };
    // An invalid and a valid file: a message must quote neither values nor keys of it.
    for (n, text) in [
        "[default]\ntop-secret-key = hunter-two\nother-secret = hunter-three\n",
        "\"top-secret-key\" = \"hunter-two\"\nname = [\"hunter-three\"]\n[load]\nspawn_rate = \"hunter-two\"\n",
        "{\"top-secret-key\": \"hunter-two\"}\n{\"text\": \"x\", \"hunter-three\": 5}\n\"hunter`-\\\"two\"\n",
    ]
    .iter()
    .enumerate()
    {
        write("credentials", text);
        let mut plans = vec![
            ("extends.toml", "extends = \"credentials\"\n"),
            ("prompts.toml", "prompts_file = \"credentials\"\n"),
            ("dataset.toml", "[[dataset]]\nname = \"d\"\nfile = \"credentials\"\n"),
            ("indirect.toml", "prompts_file = \"prompts.json\"\n"),
        ];
        write("prompts.json", r#"{"d": {"dataset": "credentials"}}"#);
        #[cfg(unix)]
        {
            let link = dir.path().join("link.toml");
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink("credentials", &link).unwrap();
            plans.push(("linked.toml", "extends = \"link.toml\"\n"));
        }
        for (name, plan) in plans {
            write(name, plan);
            let message = error(name);
            assert!(message.contains("credentials:") || message.contains("link.toml:"), "{n} {name}: {message}");
            for secret in ["secret", "hunter", "two", "three"] {
                assert!(!message.contains(secret), "{n} {name}: {message}");
            }
        }
    }
    // At most one line of a plan is quoted, even if the value continues.
    write("base.toml", "[matrix]\nservice_tiers = [\n# hunter-two\n]\n");
    write("child.toml", "extends = \"base.toml\"\n");
    let message = error("child.toml");
    assert!(message.contains("base.toml:2") && !message.contains("hunter-two"), "{message}");
}

#[test]
fn excess_problems_are_counted_instead_of_shown() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("plan.toml"), "a b\n".repeat(5_000)).unwrap();
    let output = command(dir.path(), &["run", "plan.toml"]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains(" more problems"), "{message}");
    assert!(message.lines().count() < 1_000, "{}", message.lines().count());
}
