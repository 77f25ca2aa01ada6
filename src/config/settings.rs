//! The table of settings: one row per setting, from which the flags, the environment's names and the
//! README's table come. Knows no values.

/// How text from the environment or a flag becomes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A comma-separated list of names.
    Texts,
    /// A comma-separated list of whole numbers.
    Counts,
    /// A comma-separated list of numbers.
    Numbers,
    /// A duration; a bare number is seconds.
    Duration,
    /// A duration or a range of two.
    ThinkTime,
    /// A whole number.
    Whole,
    /// Any number.
    Number,
    /// A number, or `none`.
    NumberOrNone,
    /// A whole number, or `p99`.
    Samples,
    /// `true`, `false`, `1`, `0`, in any case.
    Bool,
    /// As it stands.
    Text,
    /// As it stands; relative to the working directory, or to the plan that says it.
    Path,
}

impl Kind {
    /// What a value should look like, for error messages.
    pub(crate) fn expected(self) -> &'static str {
        match self {
            Self::Texts => "a list of names",
            Self::Counts => "a list of whole numbers greater than zero",
            Self::Numbers => "a list of numbers greater than zero",
            Self::Duration => "a duration such as `30s`, `5m` or `1h30m`",
            Self::ThinkTime => "a think time such as `1s..2s` or `500ms`",
            Self::Whole => "a whole number that is not negative",
            Self::Number => "a number",
            Self::NumberOrNone => "a number or `none`",
            Self::Samples => "a whole number or `p99`",
            Self::Bool => "true or false",
            Self::Text | Self::Path => "a text",
        }
    }
}

/// One setting.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Dotted key in a plan.
    pub(crate) key: &'static str,
    /// Flags without dashes; the first is the one that is shown.
    pub(crate) flags: &'static [&'static str],
    /// Names in the environment beside `BEDROCK_PLAN_<FLAG>`: the old tool's, and AWS's.
    pub(crate) env: &'static [&'static str],
    /// How text becomes a value.
    pub(crate) kind: Kind,
    /// What stands for the value in `--help`.
    pub(crate) value: &'static str,
    /// For `--help` and the README.
    pub(crate) help: &'static str,
    /// The default, for people.
    pub(crate) default: &'static str,
}

impl Setting {
    /// The environment's name for a flag: `BEDROCK_PLAN_USER_COUNTS`.
    pub(crate) fn prefixed(flag: &str) -> String {
        format!("{PREFIX}{}", flag.to_uppercase().replace('-', "_"))
    }

    /// The key's table, a heading in `--help`.
    pub(crate) fn section(&self) -> &'static str {
        self.key.split_once('.').map_or("plan", |(table, _)| table)
    }
}

/// What all of our own variables begin with.
pub(crate) const PREFIX: &str = "BEDROCK_PLAN_";

/// Ours too, and not a key of a plan: allows session tokens over plain http.
pub(crate) const ALLOW_HTTP: &str = "BEDROCK_PLAN_ALLOW_HTTP";

/// AWS's: disables the endpoints that its other variables and the profile set.
pub(crate) const IGNORE_ENDPOINTS: &str = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS";

/// Ours too, and about no plan: they say which machine of a run this one is.
pub(crate) const OF_SHARDS: [&str; 2] = ["BEDROCK_PLAN_SHARD", "BEDROCK_PLAN_SHARDS"];

/// The setting of a key.
pub(crate) fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

macro_rules! setting {
    ($key:literal, $flags:expr, $env:expr, $kind:ident, $value:literal, $default:literal, $help:literal) => {
        Setting {
            key: $key,
            flags: &$flags,
            env: &$env,
            kind: Kind::$kind,
            value: $value,
            help: $help,
            default: $default,
        }
    };
}

/// All settings, in the order of a plan.
pub(crate) const SETTINGS: &[Setting] = &[
    setting!(
        "matrix.model_ids",
        ["model-id", "base-model-id"],
        ["BASE_MODEL_ID"],
        Texts,
        "ID,...",
        "amazon.nova-premier-v1:0",
        "Model ids without region prefix, or ARNs"
    ),
    setting!(
        "matrix.region_prefixes",
        ["region-prefixes"],
        ["REGION_PREFIXES", "REGION_PREFIX"],
        Texts,
        "PREFIX,...",
        "us",
        "Region prefixes: us, eu, apac, jp, au, us-gov, global; none sends the model id bare"
    ),
    setting!(
        "matrix.service_tiers",
        ["service-tiers"],
        ["SERVICE_TIERS", "SERVICE_TIER"],
        Texts,
        "TIER,...",
        "default,priority,flex",
        "Service tiers: default, priority, flex, reserved; none sends no tier"
    ),
    setting!(
        "matrix.prompt_sizes",
        ["prompt-sizes"],
        ["PROMPT_SIZES", "PROMPT_SIZE"],
        Texts,
        "NAME,...",
        "small,medium,large",
        "Names of prompts in the prompts file"
    ),
    setting!(
        "matrix.cache_modes",
        ["cache-modes"],
        [],
        Texts,
        "MODE,...",
        "as_is",
        "Prompt cache: as_is (verbatim), cold (a first line of its own), warm (a last line of its own), explicit (warm with a cache point)"
    ),
    setting!(
        "matrix.max_tokens",
        ["max-tokens-values"],
        [],
        Counts,
        "N,...",
        "-",
        "Upper bounds of a reply to compare, in tokens; instead of request.max_tokens"
    ),
    setting!(
        "matrix.user_counts",
        ["user-counts"],
        ["USER_COUNTS"],
        Counts,
        "N,...",
        "30,60,90",
        "Concurrent virtual users"
    ),
    setting!(
        "matrix.arrival_rates",
        ["arrival-rates"],
        [],
        Numbers,
        "N,...",
        "-",
        "Requests started per second, whatever the answers do (open loop); instead of user counts"
    ),
    setting!(
        "matrix.profiles",
        ["profiles"],
        [],
        Texts,
        "NAME,...",
        "-",
        "Names of load profiles ([[profile]]); instead of user counts"
    ),
    setting!(
        "load.test_duration",
        ["test-duration"],
        ["TEST_DURATION"],
        Duration,
        "TIME",
        "1m",
        "Length of each cell, ramp included"
    ),
    setting!("load.spawn_rate", ["spawn-rate"], ["SPAWN_RATE"], Number, "N", "10", "Users started per second"),
    setting!(
        "load.think_time",
        ["think-time"],
        [],
        ThinkTime,
        "TIME[..TIME]",
        "1s..2s",
        "Pause of each user after each request: uniform in a range, or constant"
    ),
    setting!(
        "load.arrivals",
        ["arrivals"],
        [],
        Text,
        "KIND",
        "constant",
        "Spacing of the starts of an open loop: constant, poisson"
    ),
    setting!(
        "load.max_in_flight",
        ["max-in-flight"],
        [],
        Whole,
        "N",
        "10000",
        "Requests in flight at which an open loop drops starts, and counts them"
    ),
    setting!(
        "load.requests",
        ["requests"],
        [],
        Whole,
        "N",
        "-",
        "A cell ends after so many requests, test_duration at the latest"
    ),
    setting!(
        "load.min_samples",
        ["min-samples"],
        [],
        Samples,
        "N",
        "-",
        "A cell goes on until its latency window holds so many successes; p99: until a p99 can be told"
    ),
    setting!(
        "load.max_duration",
        ["max-duration"],
        [],
        Duration,
        "TIME",
        "4 x test_duration",
        "The cap of min_samples"
    ),
    setting!("load.cool_down", ["cool-down"], [], Duration, "TIME", "2s", "Pause between cells"),
    setting!(
        "load.drain",
        ["drain"],
        [],
        Duration,
        "TIME",
        "60s",
        "How long requests in flight at the deadline may take to end"
    ),
    setting!(
        "load.order",
        ["order"],
        [],
        Text,
        "ORDER",
        "blocked",
        "Order of the cells: blocked (tiers adjacent, the rest shuffled), random, matrix"
    ),
    setting!("load.seed", ["seed"], [], Whole, "N", "drawn and kept", "Seed of everything that is drawn"),
    setting!("load.repetitions", ["repetitions"], [], Whole, "N", "1", "How often the whole matrix is run"),
    setting!(
        "request.max_tokens",
        ["max-tokens"],
        ["MAX_TOKENS"],
        Whole,
        "N",
        "4096",
        "Upper bound of a reply, in tokens"
    ),
    setting!("request.temperature", ["temperature"], [], NumberOrNone, "N", "none", "Temperature; none leaves it out"),
    setting!("request.top_p", ["top-p"], [], NumberOrNone, "N", "none", "Top-p; none leaves it out"),
    setting!("request.timeout", ["timeout"], [], Duration, "TIME", "840s", "From a request's send to its last byte"),
    setting!("request.system", ["system"], [], Text, "TEXT", "-", "System text of prompts that have none"),
    setting!("request.stop_sequences", ["stop-sequences"], [], Texts, "TEXT,...", "-", "Texts at which a reply ends"),
    setting!(
        "request.performance",
        ["performance"],
        [],
        Text,
        "WHICH",
        "-",
        "Bedrock's performance configuration: standard, optimized"
    ),
    setting!(
        "run.on_invalid",
        ["on-invalid"],
        [],
        Text,
        "WHAT",
        "warn",
        "What becomes of a cell whose numbers this machine spoiled: warn, or fail (exit code 3)"
    ),
    setting!(
        "run.preflight",
        ["preflight"],
        [],
        Bool,
        "BOOL",
        "true",
        "Ask first, once per model, prefix, tier, api and region, whether it can be asked at all"
    ),
    setting!(
        "run.on_unsupported",
        ["on-unsupported"],
        [],
        Text,
        "WHAT",
        "continue",
        "What follows where that is refused: continue without those cells, or stop (exit code 4)"
    ),
    setting!(
        "run.calibrate",
        ["calibrate"],
        [],
        Bool,
        "BOOL",
        "false",
        "Find out first how far this machine's numbers are off at the plan's peak load"
    ),
    setting!(
        "run.assume_latency",
        ["assume-latency"],
        [],
        Duration,
        "TIME",
        "-",
        "Latency that the estimate before a run assumes [the simulator's own, else 1s]"
    ),
    setting!(
        "run.allow_unknown",
        ["allow-unknown"],
        [],
        Texts,
        "NAME,...",
        "-",
        "Service tiers and region prefixes to send although this version does not know them"
    ),
    setting!(
        "record.text",
        ["record-text"],
        [],
        Bool,
        "BOOL",
        "false",
        "Write prompts and replies into the records, too"
    ),
    setting!(
        "report.include_failures",
        ["include-failures"],
        ["INCLUDE_FAILURES"],
        Bool,
        "BOOL",
        "false",
        "Failed requests join the latency metrics"
    ),
    setting!(
        "report.include_ramp",
        ["include-ramp"],
        [],
        Bool,
        "BOOL",
        "false",
        "Requests of the ramp join the latency metrics"
    ),
    setting!(
        "report.percentiles",
        ["percentiles"],
        [],
        Numbers,
        "P,...",
        "-",
        "Percentiles beside p50, p95 and p99: 90,99.5"
    ),
    setting!(
        "budget.max_cost",
        ["max-cost"],
        [],
        Number,
        "USD",
        "-",
        "At so many US dollars nothing new starts; what is in flight is counted at its worst"
    ),
    setting!(
        "budget.max_requests",
        ["max-requests"],
        [],
        Whole,
        "N",
        "-",
        "After so many requests of the whole run nothing new starts"
    ),
    setting!(
        "budget.max_output_tokens",
        ["max-output-tokens"],
        [],
        Whole,
        "N",
        "-",
        "At so many output tokens of the whole run nothing new starts"
    ),
    setting!(
        "goodput.ttft",
        ["goodput-ttft"],
        [],
        Duration,
        "TIME",
        "-",
        "Goodput counts successes whose first token came within this time"
    ),
    setting!(
        "goodput.tpot",
        ["goodput-tpot"],
        [],
        Duration,
        "TIME",
        "-",
        "Goodput counts successes with at most so much time per further token"
    ),
    setting!(
        "goodput.e2e",
        ["goodput-e2e"],
        [],
        Duration,
        "TIME",
        "-",
        "Goodput counts successes whose last token came within this time"
    ),
    setting!(
        "target.endpoint",
        ["endpoint-url"],
        [],
        Text,
        "URL",
        "aws",
        "aws, simulated, or a URL; --simulated is short for the second"
    ),
    setting!("target.api", ["api"], [], Text, "API", "converse", "Operation: converse, converse-stream"),
    setting!("matrix.apis", ["apis"], [], Texts, "API,...", "-", "Operations to compare; instead of target.api"),
    setting!(
        "target.region",
        ["region"],
        ["AWS_REGION", "AWS_DEFAULT_REGION"],
        Text,
        "REGION",
        "the profile's",
        "AWS region"
    ),
    setting!(
        "matrix.regions",
        ["regions"],
        [],
        Texts,
        "REGION,...",
        "-",
        "AWS regions to call and compare; instead of target.region"
    ),
    setting!("target.profile", ["profile"], ["AWS_PROFILE"], Text, "NAME", "-", "AWS profile"),
    setting!(
        "prompts_file",
        ["prompts-file"],
        ["PROMPTS_FILE"],
        Path,
        "FILE",
        "./prompts.json, else the shipped prompts",
        "Prompts, as JSON"
    ),
    setting!(
        "results_dir",
        ["results-dir"],
        ["RESULTS_DIR"],
        Text,
        "DIR",
        "test_results",
        "Where the results go; may contain {name} and {started}"
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The README's table of settings, in Markdown.
    fn markdown() -> String {
        let mut text = String::from("| plan key | flag | environment | default | what |\n|---|---|---|---|---|\n");
        for setting in SETTINGS {
            let code = |names: Vec<String>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let mut flags: Vec<String> = setting.flags.iter().map(|flag| format!("--{flag}")).collect();
            if setting.key == "target.endpoint" {
                flags.push("--simulated".into());
            }
            let env: Vec<String> = match setting.env {
                [] => vec![Setting::prefixed(setting.flags[0])],
                names => names.iter().map(ToString::to_string).collect(),
            };
            let default = if setting.default == "-" { "-".into() } else { format!("`{}`", setting.default) };
            text +=
                &format!("| `{}` | {} | {} | {default} | {} |\n", setting.key, code(flags), code(env), setting.help);
        }
        text
    }

    #[test]
    fn the_readme_has_every_setting() {
        let readme = include_str!("../../README.md");
        let (_, rest) = readme.split_once("<!-- settings: begin (a test holds this table to the code) -->\n").unwrap();
        let (table, _) = rest.split_once("<!-- settings: end -->").unwrap();
        assert_eq!(table, markdown(), "the README's table of settings is not that of the code");
    }

    #[test]
    fn no_name_is_taken_twice() {
        let names = SETTINGS.iter().flat_map(|setting| setting.flags.iter().chain(setting.env));
        let mut seen = std::collections::BTreeSet::new();
        for name in names {
            assert!(seen.insert(name), "{name}");
        }
    }
}
