//! The table of settings: one row per setting defines its flags, its environment variables and its row of the README.

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
    /// Verbatim text.
    Text,
    /// A path relative to the working directory, or to the plan that sets it.
    Path,
}

impl Kind {
    /// Returns the description of valid values for error messages.
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

/// A setting of a plan.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Dotted key in a plan.
    pub(crate) key: &'static str,
    /// Flags without dashes; the first one is shown.
    pub(crate) flags: &'static [&'static str],
    /// Variables in addition to `BEDROCK_PLAN_<FLAG>`: those of the previous tool and of AWS.
    pub(crate) env: &'static [&'static str],
    /// How text becomes a value.
    pub(crate) kind: Kind,
    /// Placeholder of the value in `--help`.
    pub(crate) value: &'static str,
    /// Text for `--help` and the README.
    pub(crate) help: &'static str,
    /// The default, for people.
    pub(crate) default: &'static str,
}

impl Setting {
    /// Returns the variable of a flag: `BEDROCK_PLAN_USER_COUNTS`.
    pub(crate) fn prefixed(flag: &str) -> String {
        format!("{PREFIX}{}", flag.to_uppercase().replace('-', "_"))
    }

    /// Returns the table of the key, a heading in `--help`.
    pub(crate) fn section(&self) -> &'static str {
        self.key.split_once('.').map_or("plan", |(table, _)| table)
    }
}

/// Prefix of the variables of this tool.
pub(crate) const PREFIX: &str = "BEDROCK_PLAN_";

/// Allows session tokens over plain http. Not a key of a plan.
pub(crate) const ALLOW_HTTP: &str = "BEDROCK_PLAN_ALLOW_HTTP";

/// Variable of AWS that disables the endpoints of its other variables and of the profile.
pub(crate) const IGNORE_ENDPOINTS: &str = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS";

/// Variables that select the shard. Not keys of a plan.
pub(crate) const SHARD_VARIABLES: [&str; 2] = ["BEDROCK_PLAN_SHARD", "BEDROCK_PLAN_SHARDS"];

/// Returns the setting of a key.
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
        "Region prefixes: us, eu, apac, jp, au, us-gov, global; none omits the prefix"
    ),
    setting!(
        "matrix.service_tiers",
        ["service-tiers"],
        ["SERVICE_TIERS", "SERVICE_TIER"],
        Texts,
        "TIER,...",
        "default,priority,flex",
        "Service tiers: default, priority, flex, reserved; none omits the tier"
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
        "Prompt cache: as_is (verbatim), cold (unique first line), warm (unique last line), explicit (warm with a cache point)"
    ),
    setting!(
        "matrix.max_tokens",
        ["max-tokens-values"],
        [],
        Counts,
        "N,...",
        "-",
        "Maximum reply lengths, in tokens, one cell per value; replaces request.max_tokens"
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
        "Requests started per second, independent of replies (open loop); replaces user counts"
    ),
    setting!(
        "matrix.profiles",
        ["profiles"],
        [],
        Texts,
        "NAME,...",
        "-",
        "Names of load profiles ([[profile]]); replaces user counts"
    ),
    setting!(
        "load.test_duration",
        ["test-duration"],
        ["TEST_DURATION"],
        Duration,
        "TIME",
        "1m",
        "Duration of each cell, ramp included"
    ),
    setting!("load.spawn_rate", ["spawn-rate"], ["SPAWN_RATE"], Number, "N", "10", "Users started per second"),
    setting!(
        "load.think_time",
        ["think-time"],
        [],
        ThinkTime,
        "TIME[..TIME]",
        "1s..2s",
        "Pause of each user after each request, constant or uniform in a range"
    ),
    setting!(
        "load.arrivals",
        ["arrivals"],
        [],
        Text,
        "KIND",
        "constant",
        "Distribution of the starts of an open loop: constant, poisson"
    ),
    setting!(
        "load.max_in_flight",
        ["max-in-flight"],
        [],
        Whole,
        "N",
        "10000",
        "Maximum requests in flight (open loop); further arrivals are dropped and counted"
    ),
    setting!(
        "load.requests",
        ["requests"],
        [],
        Whole,
        "N",
        "-",
        "Number of requests after which a cell ends, at the latest after test_duration"
    ),
    setting!(
        "load.min_samples",
        ["min-samples"],
        [],
        Samples,
        "N",
        "-",
        "Minimum successes in the latency window, for which a cell is extended; p99: as many as a p99 needs"
    ),
    setting!(
        "load.max_duration",
        ["max-duration"],
        [],
        Duration,
        "TIME",
        "4 x test_duration",
        "Maximum duration of a cell that is extended for min_samples"
    ),
    setting!("load.cool_down", ["cool-down"], [], Duration, "TIME", "2s", "Pause between cells"),
    setting!(
        "load.drain",
        ["drain"],
        [],
        Duration,
        "TIME",
        "60s",
        "Maximum time for requests in flight at the end of the load to finish"
    ),
    setting!(
        "load.order",
        ["order"],
        [],
        Text,
        "ORDER",
        "blocked",
        "Order of the cells: blocked (tiers adjacent, otherwise shuffled), random, matrix"
    ),
    setting!("load.seed", ["seed"], [], Whole, "N", "random and recorded", "Seed of all random draws"),
    setting!("load.repetitions", ["repetitions"], [], Whole, "N", "1", "Number of repetitions of the whole matrix"),
    setting!(
        "request.max_tokens",
        ["max-tokens"],
        ["MAX_TOKENS"],
        Whole,
        "N",
        "4096",
        "Maximum length of a reply, in tokens"
    ),
    setting!("request.temperature", ["temperature"], [], NumberOrNone, "N", "none", "Temperature; none omits it"),
    setting!("request.top_p", ["top-p"], [], NumberOrNone, "N", "none", "Top-p; none omits it"),
    setting!(
        "request.timeout",
        ["timeout"],
        [],
        Duration,
        "TIME",
        "840s",
        "Maximum time from the send of a request to the last byte of the reply"
    ),
    setting!("request.system", ["system"], [], Text, "TEXT", "-", "System prompt of prompts without their own"),
    setting!("request.stop_sequences", ["stop-sequences"], [], Texts, "TEXT,...", "-", "Texts that end a reply"),
    setting!(
        "request.performance",
        ["performance"],
        [],
        Text,
        "KIND",
        "-",
        "Performance configuration of Bedrock: standard, optimized"
    ),
    setting!(
        "run.on_invalid",
        ["on-invalid"],
        [],
        Text,
        "ACTION",
        "warn",
        "What to do when this machine was too slow for a cell: warn, or fail with exit code 3"
    ),
    setting!(
        "run.preflight",
        ["preflight"],
        [],
        Bool,
        "BOOL",
        "true",
        "Send one small test request per model, prefix, tier, api and region before the load"
    ),
    setting!(
        "run.on_unsupported",
        ["on-unsupported"],
        [],
        Text,
        "ACTION",
        "continue",
        "What to do when the pre-flight finds unsupported cells: continue without them, or stop with exit code 4"
    ),
    setting!(
        "run.calibrate",
        ["calibrate"],
        [],
        Bool,
        "BOOL",
        "false",
        "Measure this machine's own overhead at the plan's peak load first"
    ),
    setting!(
        "run.assume_latency",
        ["assume-latency"],
        [],
        Duration,
        "TIME",
        "-",
        "Latency assumed by the estimate before a run [the simulator's own, otherwise 1s]"
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
    setting!("record.text", ["record-text"], [], Bool, "BOOL", "false", "Include prompts and replies in the records"),
    setting!(
        "report.include_failures",
        ["include-failures"],
        ["INCLUDE_FAILURES"],
        Bool,
        "BOOL",
        "false",
        "Include failed and throttled requests in the displayed latencies"
    ),
    setting!(
        "report.include_ramp",
        ["include-ramp"],
        [],
        Bool,
        "BOOL",
        "false",
        "Include requests of the ramp in the latencies"
    ),
    setting!(
        "report.percentiles",
        ["percentiles"],
        [],
        Numbers,
        "P,...",
        "-",
        "Percentiles beside p50, p95 and p99, for example 90,99.5"
    ),
    setting!(
        "budget.max_cost",
        ["max-cost"],
        [],
        Number,
        "USD",
        "-",
        "Stop starting requests when the cost, including the worst case of requests in flight, reaches this amount (USD)"
    ),
    setting!(
        "budget.max_requests",
        ["max-requests"],
        [],
        Whole,
        "N",
        "-",
        "Stop starting requests after this number of requests in the whole run"
    ),
    setting!(
        "budget.max_output_tokens",
        ["max-output-tokens"],
        [],
        Whole,
        "N",
        "-",
        "Stop starting requests at this number of output tokens in the whole run"
    ),
    setting!("goodput.ttft", ["goodput-ttft"], [], Duration, "TIME", "-", "Goodput: maximum time to the first token"),
    setting!(
        "goodput.tpot",
        ["goodput-tpot"],
        [],
        Duration,
        "TIME",
        "-",
        "Goodput: maximum time per output token after the first"
    ),
    setting!("goodput.e2e", ["goodput-e2e"], [], Duration, "TIME", "-", "Goodput: maximum time to the last token"),
    setting!(
        "target.endpoint",
        ["endpoint-url"],
        [],
        Text,
        "URL",
        "aws",
        "Endpoint: aws, simulated (short: --simulated), or a URL"
    ),
    setting!("target.api", ["api"], [], Text, "API", "converse", "Operation: converse, converse-stream"),
    setting!("matrix.apis", ["apis"], [], Texts, "API,...", "-", "Operations, one cell per value; replaces target.api"),
    setting!(
        "target.region",
        ["region"],
        ["AWS_REGION", "AWS_DEFAULT_REGION"],
        Text,
        "REGION",
        "that of the profile",
        "AWS region"
    ),
    setting!(
        "matrix.regions",
        ["regions"],
        [],
        Texts,
        "REGION,...",
        "-",
        "AWS regions, one cell per value; replaces target.region"
    ),
    setting!("target.profile", ["profile"], ["AWS_PROFILE"], Text, "NAME", "-", "AWS profile"),
    setting!(
        "prompts_file",
        ["prompts-file"],
        ["PROMPTS_FILE"],
        Path,
        "FILE",
        "./prompts.json, otherwise the shipped prompts",
        "Prompts file (JSON)"
    ),
    setting!(
        "results_dir",
        ["results-dir"],
        ["RESULTS_DIR"],
        Text,
        "DIR",
        "test_results",
        "Results directory; may contain {name} and {started}"
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The README's table of settings, in Markdown.
    fn markdown() -> String {
        let mut text =
            String::from("| plan key | flag | environment | default | description |\n|---|---|---|---|---|\n");
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
    fn readme_lists_every_setting() {
        let readme = include_str!("../../README.md");
        let (_, rest) = readme.split_once("<!-- settings: begin (a test holds this table to the code) -->\n").unwrap();
        let (table, _) = rest.split_once("<!-- settings: end -->").unwrap();
        assert_eq!(table, markdown(), "the README's table of settings differs from the code");
    }

    #[test]
    fn names_are_unique() {
        let names = SETTINGS.iter().flat_map(|setting| setting.flags.iter().chain(setting.env));
        let mut seen = std::collections::BTreeSet::new();
        for name in names {
            assert!(seen.insert(name), "{name}");
        }
    }
}
