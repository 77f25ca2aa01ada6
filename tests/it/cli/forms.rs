//! The forms of the plan language: their expansion, and the messages for invalid ones.

use crate::support::{command, shown};
use serde_json::Value;
use std::path::Path;

/// The common part of all plans, with few cells.
const BASE: &str = r#"
[target]
endpoint = "simulated"
[matrix]
service_tiers = ["default", "flex"]
prompt_sizes = ["small", "large"]
user_counts = [10, 30]
"#;

/// Name of the snapshot, files of one directory with the plan first, the environment, and the arguments after the plan.
type Case = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
);

fn run(dir: &Path, subcommand: &str, (_, files, environment, arguments): &Case) -> std::process::Output {
    for (name, text) in *files {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text.replace("# BASE\n", BASE)).unwrap();
    }
    let mut all = vec![subcommand, files[0].0];
    all.extend(*arguments);
    command(dir, &all).envs(environment.iter().copied()).output().unwrap()
}

const EXPANSIONS: &[Case] = &[
    (
        "exclude",
        &[(
            "plan.toml",
            "# BASE\nexclude = [{ service_tier = \"flex\", users = [30, 90] }, { prompt_size = \"large\", users = 10 }]\n",
        )],
        &[],
        &[],
    ),
    (
        "override",
        &[(
            "plan.toml",
            "# BASE\n[[override]]\nwhen = { service_tier = \"flex\" }\ntimeout = \"30m\"\ndrain = \"2m\"\n\n[[override]]\nwhen = { service_tier = \"flex\", users = 30 }\ntimeout = \"40m\"\nmin_samples = \"p99\"\n",
        )],
        &[],
        &[],
    ),
    (
        "zip",
        &[(
            "plan.toml",
            "[matrix]\nservice_tiers = [\"default\", \"flex\"]\n[[matrix.zip]]\nprompt_sizes = [\"small\", \"large\"]\nmax_tokens = [64, 512]\nuser_counts = [30, 10]\n",
        )],
        &[],
        &[],
    ),
    (
        "add",
        &[(
            "plan.toml",
            "# BASE\nexclude = [{ users = 30 }]\n[[matrix.add]]\nmodel_id = \"amazon.nova-pro-v1:0\"\nregion_prefix = \"eu\"\nservice_tier = \"priority\"\nprompt_size = \"medium\"\nusers = 5\n\n[[matrix.add]]\nservice_tier = \"flex\"\nprompt_size = \"small\"\narrival_rate = 2.5\n",
        )],
        &[],
        &[],
    ),
    (
        "further_axes",
        &[(
            "plan.toml",
            "[matrix]\nmax_tokens = [64, 512]\nregions = [\"us-east-1\", \"eu-west-1\"]\nservice_tiers = [\"flex\"]\nprompt_sizes = [\"small\"]\nuser_counts = [10]\n",
        )],
        &[("AWS_REGION", "ap-south-1")],
        &[],
    ),
    (
        "max_tokens_of_a_flag_takes_the_axis_place",
        &[("plan.toml", "# BASE\nmax_tokens = [64, 512]\n")],
        &[("MAX_TOKENS", "32")],
        &[],
    ),
    (
        "extends",
        &[
            (
                "plans/nightly.toml",
                "extends = \"base.toml\"\n[matrix]\narrival_rates = [5]\n[request]\nmax_tokens = 32\n",
            ),
            (
                "plans/base.toml",
                "name = \"base\"\nextends = \"../shared/account.toml\"\n# BASE\n[request]\nmax_tokens = 64\ntimeout = \"2m\"\n[[override]]\nwhen = { service_tier = \"flex\" }\ntimeout = \"30m\"\n",
            ),
            (
                "shared/account.toml",
                "results_dir = \"results/{name}\"\n[target]\nregion = \"eu-west-1\"\n[request]\ntemperature = 0.5\n",
            ),
        ],
        &[],
        &[],
    ),
];

#[test]
fn each_form_expands_as_documented() {
    for case in EXPANSIONS {
        let dir = tempfile::tempdir().unwrap();
        let output = run(dir.path(), "show", case);
        let text = shown(dir.path(), &output);
        assert_eq!(output.status.code(), Some(0), "{}: {text}", case.0);
        // Other tests cover the defaults.
        let changed: Vec<&str> = text.lines().filter(|line| !line.ends_with(" default")).collect();
        insta::assert_snapshot!(format!("expands_{}", case.0), changed.join("\n"));
    }
}

const INVALID: &[Case] = &[
    (
        "exclude_unknown",
        &[(
            "plan.toml",
            "# BASE\nexclude = [\n  { service_tiers = \"flex\" },\n  { colour = \"red\" },\n  { users = 31 },\n  { profile = \"x\" },\n]\n",
        )],
        &[],
        &[],
    ),
    (
        "exclude_never_together",
        &[(
            "plan.toml",
            "[matrix]\nexclude = [{ service_tier = \"flex\", max_tokens = [64] }]\n[[matrix.zip]]\nservice_tiers = [\"default\", \"flex\"]\nmax_tokens = [64, 512]\n",
        )],
        &[],
        &[],
    ),
    ("exclude_all", &[("plan.toml", "# BASE\nexclude = [{ users = 10 }, { users = [30, 40] }]\n")], &[], &[]),
    ("exclude_no_list", &[("plan.toml", "# BASE\nexclude = { users = 10 }\n")], &[], &[]),
    ("exclude_wrong_value", &[("plan.toml", "# BASE\nexclude = [{ users = [] }]\n")], &[], &[]),
    ("exclude_narrowed", &[("plan.toml", "# BASE\nexclude = [{ users = 30 }]\n")], &[("USER_COUNTS", "5")], &[]),
    (
        "override_wrong",
        &[(
            "plan.toml",
            "# BASE\n[[override]]\nwhen = { service_tier = \"flx\" }\ntimeout = \"30m\"\n[[override]]\ntimeout = \"30m\"\n[[override]]\nwhen = { tier = \"flex\" }\n[[override]]\nwhen = { users = 30 }\ntimeuot = \"30m\"\nseed = 3\nmax_tokens = -4\ntest_duration = -30\nmin_samples = \"p98\"\n",
        )],
        &[],
        &[],
    ),
    (
        "override_rules_per_cell",
        &[(
            "plan.toml",
            "# BASE\n[load]\nspawn_rate = 10\n[[override]]\nwhen = { users = 10 }\ntest_duration = \"1s\"\n[[override]]\nwhen = { users = 30 }\ntest_duration = \"2s\"\ntemperature = 3\nmax_duration = \"5s\"\n",
        )],
        &[],
        &[],
    ),
    ("override_single_table", &[("plan.toml", "# BASE\n[override]\nwhen = { users = 10 }\n")], &[], &[]),
    (
        "override_of_an_axis",
        &[("plan.toml", "# BASE\nmax_tokens = [8, 16]\n[[override]]\nwhen = { users = 10 }\nmax_tokens = 32\n")],
        &[],
        &[],
    ),
    (
        "zip_wrong",
        &[(
            "plan.toml",
            "[[matrix.zip]]\nprompt_sizes = [\"small\", \"large\", \"huge\"]\nmax_tokens = [64, 0]\n[[matrix.zip]]\nservice_tier = [\"flex\"]\nuser_counts = [1, -2]\n[[matrix.zip]]\nprompt_sizes = [\"small\", \"small\"]\ncache_modes = \"cold\"\narrival_rates = [1, 1]\n[[matrix.zip]]\nmodel_ids = []\nregion_prefixes = []\n",
        )],
        &[],
        &[],
    ),
    (
        "zip_and_matrix",
        &[(
            "plan.toml",
            "[matrix]\nprompt_sizes = [\"small\"]\narrival_rates = [4]\n[[matrix.zip]]\nprompt_sizes = [\"small\", \"large\"]\nuser_counts = [10, 20]\n",
        )],
        &[],
        &[],
    ),
    (
        "zip_and_environment",
        &[("plan.toml", "[[matrix.zip]]\nprompt_sizes = [\"small\", \"large\"]\nmax_tokens = [64, 512]\n")],
        &[("PROMPT_SIZES", "small")],
        &["--max-tokens", "5"],
    ),
    (
        "zip_twice_the_same",
        &[("plan.toml", "[[matrix.zip]]\nprompt_sizes = [\"small\", \"small\"]\nmax_tokens = [64, 64]\n")],
        &[],
        &[],
    ),
    (
        "add_wrong",
        &[(
            "plan.toml",
            "# BASE\n[[matrix.add]]\nservice_tier = \"flex\"\nusers = 5\n[[matrix.add]]\nservice_tier = \"flex\"\nprompt_size = \"small\"\nusers = 30\n[[matrix.add]]\nservice_tier = \"flex\"\nprompt_sise = \"small\"\nusers = 5\narrival_rate = 3\n[[matrix.add]]\nservice_tier = \"flex\"\nprompt_size = \"tiny\"\nusers = 0\n[[matrix.add]]\nservice_tier = 5\nprompt_size = \"small\"\nprofile = \"spike\"\n",
        )],
        &[],
        &[],
    ),
    (
        "further_axes_and_rivals",
        &[(
            "plan.toml",
            "[target]\nregion = \"x\"\n[matrix]\nregions = [\"us-east-1\", \"us-east-1\"]\nmax_tokens = [0]\n[request]\nmax_tokens = 5\n",
        )],
        &[],
        &[],
    ),
    ("extends_missing", &[("plans/a.toml", "extends = \"b.toml\"\n")], &[], &[]),
    ("extends_no_text", &[("a.toml", "extends = [\"b.toml\"]\n")], &[], &[]),
    ("extends_misplaced", &[("a.toml", "[matrix]\nextends = \"b.toml\"\n")], &[], &[]),
    (
        "extends_in_a_circle",
        &[
            ("a.toml", "extends = \"x/b.toml\"\n"),
            ("x/b.toml", "extends = \"c.toml\"\n"),
            ("x/c.toml", "extends = \"b.toml\"\n"),
        ],
        &[],
        &[],
    ),
    ("extends_itself", &[("a.toml", "extends = \"./a.toml\"\n")], &[], &[]),
    (
        "extends_a_faulty_parent",
        &[
            ("a.toml", "extends = \"b.toml\"\n[load]\ndrain = -5\n"),
            (
                "b.toml",
                "[matrix]\nuser_count = [5]\nservice_tiers = [\"flex\", \"flex\"]\n[[override]]\nwhen = { users = 7 }\ntimeout = \"1m\"\n",
            ),
        ],
        &[],
        &[],
    ),
    (
        "extends_a_zip",
        &[
            ("a.toml", "extends = \"b.toml\"\n[matrix]\nprompt_sizes = [\"small\"]\n"),
            ("b.toml", "[[matrix.zip]]\nprompt_sizes = [\"small\", \"large\"]\nmax_tokens = [64, 512]\n"),
        ],
        &[],
        &[],
    ),
];

#[test]
fn invalid_forms_are_reported_with_their_position() {
    for case in INVALID {
        let dir = tempfile::tempdir().unwrap();
        let output = run(dir.path(), "show", case);
        assert_eq!(output.status.code(), Some(2), "{}: {}", case.0, shown(dir.path(), &output));
        insta::assert_snapshot!(case.0, shown(dir.path(), &output));
    }
}

/// Returns the ids of the cells of a plan.
fn ids(dir: &Path, arguments: &[&str]) -> Vec<String> {
    let output = command(dir, arguments).output().unwrap();
    let json: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", shown(dir, &output)));
    json["cells"].as_array().unwrap().iter().map(|cell| cell["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn child_plan_overrides_its_parent() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write(
        "base.toml",
        "[matrix]\nservice_tiers = [\"flex\"]\n[[matrix.zip]]\nprompt_sizes = [\"small\", \"large\"]\nuser_counts = [1, 2]\n",
    );
    // The zip of the child replaces that of the parent; the axis that is no longer in a zip has its default again.
    write(
        "child.toml",
        "extends = \"base.toml\"\n[[matrix.zip]]\nprompt_sizes = [\"small\", \"large\"]\nmax_tokens = [3, 4]\n",
    );
    write(
        "none.toml",
        "extends = \"base.toml\"\n[matrix]\nzip = []\narrival_rates = [5]\nprompt_sizes = [\"large\"]\n",
    );
    assert_eq!(ids(dir.path(), &["show", "base.toml", "--format", "json"]), ["us_flex_small_u1", "us_flex_large_u2"]);
    assert_eq!(
        ids(dir.path(), &["show", "child.toml", "--format", "json", "--user-counts", "7"]),
        ["max3_us_flex_small_u7", "max4_us_flex_large_u7"]
    );
    assert_eq!(ids(dir.path(), &["show", "none.toml", "--format", "json"]), ["us_flex_large_r5"]);
}

#[test]
fn paths_in_a_parent_plan_are_relative_to_it_and_its_name_is_not_inherited() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("base")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("base/base.toml", "name = \"parent\"\nprompts_file = \"mine.json\"\n[matrix]\nprompt_sizes = [\"own\"]\n");
    write("base/mine.json", "{\"own\": {\"text\": \"hi\"}}");
    write("child.toml", "extends = \"base/base.toml\"\n");
    let output = command(dir.path(), &["show", "child.toml", "--format", "json"]).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["plan"]["name"], "child");
    assert!(
        json["plan"]["prompts_file"].as_str().unwrap().ends_with("/base/mine.json"),
        "{}",
        json["plan"]["prompts_file"]
    );
    assert_eq!(json["origin"]["prompts_file"]["name"], "base/base.toml:2");
    assert!(json["plan"].get("extends").is_none(), "what is resolved stands alone");
}

#[test]
fn schema_is_committed_and_shipped_plans_conform_to_it() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let printed = String::from_utf8(command(repository, &["schema"]).output().unwrap().stdout).unwrap();
    let committed = std::fs::read_to_string(repository.join("docs/plan.schema.json")).unwrap();
    assert_eq!(printed, committed, "bedrock-plan schema > docs/plan.schema.json");
    let schema: Value = serde_json::from_str(&printed).unwrap();
    let mut looked_at = 0;
    for entry in std::fs::read_dir(repository.join("plans")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(text.starts_with("#:schema ../docs/plan.schema.json\n"), "{text}");
        assert_eq!(violations(&toml::from_str(&text).unwrap(), &schema, ""), Vec::<String>::new());
        looked_at += 1;
    }
    assert!(looked_at >= 7);
    let wrong = "[matrix]\nuser_count = [1]\nexclude = [{ tier = \"x\" }]\n[[matrix.add]]\nusers = \"5\"\n[[override]]\ntimeout = true\n[load]\norder = \"sorted\"\n[request]\ntemperature = true\n";
    let found = violations(&toml::from_str(wrong).unwrap(), &schema, "");
    let mut places: Vec<&str> = found.iter().filter_map(|fault| fault.split(": ").next()).collect();
    places.sort_unstable();
    let wanted = [
        ".load.order",
        ".matrix.add[0].users",
        ".matrix.exclude[0].tier",
        ".matrix.user_count",
        ".override[0]",
        ".override[0].timeout",
        ".request.temperature",
    ];
    assert_eq!(places, wanted, "{found:?}");
}

/// Returns the parts of a value that violate a schema. Supports the part of JSON Schema that ours uses, except patterns.
fn violations(value: &Value, schema: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        other => panic!("the type {other}"),
    };
    let types: Vec<&str> = match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().map(|name| name.as_str().unwrap()).collect(),
        _ => Vec::new(),
    };
    if !types.is_empty() && !types.iter().any(|name| is(name)) {
        found.push(format!("{at}: {value} is no {types:?}"));
    }
    if schema.get("const").is_some_and(|only| only != value) {
        found.push(format!("{at}: {value} is not {}", schema["const"]));
    }
    if schema["enum"].as_array().is_some_and(|known| !known.contains(value)) {
        found.push(format!("{at}: {value} is none of {}", schema["enum"]));
    }
    for word in ["anyOf", "oneOf"] {
        let choices = schema[word].as_array();
        if choices.is_some_and(|choices| choices.iter().all(|choice| !violations(value, choice, at).is_empty())) {
            found.push(format!("{at}: {value} is none of {}", schema[word]));
        }
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.is_object() && value.get(name.as_str().unwrap()).is_none() {
            found.push(format!("{at}: {name} is missing"));
        }
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        let here = format!("{at}.{key}");
        match schema["properties"].get(key) {
            Some(known) => found.extend(violations(inner, known, &here)),
            // The only pattern in the schema: percentiles of a threshold.
            None if schema.get("patternProperties").is_some()
                && key
                    .rsplit('_')
                    .next()
                    .is_some_and(|p| p.strip_prefix('p').is_some_and(|p| p.parse::<f64>().is_ok())) =>
            {
                let pattern = schema["patternProperties"].as_object().unwrap().values().next().unwrap();
                found.extend(violations(inner, pattern, &here));
            }
            None if schema["additionalProperties"] == false => found.push(format!("{here}: unknown")),
            None => {}
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        found.extend(violations(item, &schema["items"], &format!("{at}[{index}]")));
    }
    found
}
