//! A resolved plan as text: each value with its origin, the cells and the estimate. Printed by `show`, and by `run` before
//! its confirmation prompt.

use super::table::{MAX_ROWS, new_table, rendered};
use crate::estimate::{Bound, Estimate, ExpectedPrompts, QuotaUse};
use crate::matrix::rule::matches;
use crate::matrix::{Cell, expand_all};
use crate::plan::{Endpoint, OnInconclusive, Origins, Override, Plan};
use crate::report::view::slo::shown;
use crate::report::view::text::more;
use crate::units::text::{clean_lines, count};
use serde_json::Value;
use std::collections::HashMap;

/// Formats the plan.
pub(crate) fn block(plan: &Plan, origins: &Origins, cells: &[Cell], estimate: &Estimate, width: usize) -> String {
    let mut text = String::new();
    if plan.target.endpoint == Endpoint::Simulated {
        text += "SIMULATED: requests go to the built-in simulator, not to Amazon Bedrock.\n\n";
    }
    if plan.target.endpoint.is_other_server() {
        text += &format!("NOT AWS: requests go to {}, not to Amazon Bedrock.\n\n", plan.target.endpoint);
    }
    text += &values(plan, origins, width);
    text += &thresholds(plan, origins, cells);
    text += &format!("\n{}\n", cells_line(plan, origins, cells));
    text += &format!("{}\n", estimate_line(estimate));
    text += &expectations(estimate, plan);
    // The text contains values of the plan.
    clean_lines(&text)
}

/// Formats keys, values and origins. Simulator values are listed only if the simulator is used and they were changed.
fn values(plan: &Plan, origins: &Origins, width: usize) -> String {
    let tree = serde_json::to_value(plan).unwrap_or_default();
    // Paths in a plan are absolute; paths below the working directory are shortened.
    let here = std::env::current_dir().map(|dir| format!("{}{}", dir.display(), std::path::MAIN_SEPARATOR));
    let near = |text: String| here.as_ref().map_or_else(|_| text.clone(), |here| text.replace(here.as_str(), ""));
    let mut table = new_table(width);
    for (key, origin) in origins {
        let Some(value) = key.split('.').try_fold(&tree, |inner, part| inner.get(part)) else { continue };
        let is_simulator = key.starts_with("simulator.");
        // Thresholds are listed separately, with their cells.
        if key == "slo" {
            continue;
        }
        if is_simulator && (plan.target.endpoint != Endpoint::Simulated || origin.name.is_none()) {
            continue;
        }
        table.add_row(vec![key.clone(), near(plain(value)), origin.to_string()]);
    }
    format!("{}\n", rendered(&table))
}

/// Formats each threshold with its origin, number of cells and bounds.
fn thresholds(plan: &Plan, origins: &Origins, cells: &[Cell]) -> String {
    let mut text = String::new();
    for (index, slo) in plan.slo.iter().enumerate() {
        let origin = origins.get(&format!("slo[{index}]")).map_or_else(String::new, |origin| format!(" ({origin})"));
        let matching = cells.iter().filter(|cell| matches(&slo.when, cell)).count();
        let bounds: Vec<String> = slo.bounds.iter().map(|bound| format!("{} {}", bound.key(), shown(bound))).collect();
        text += &format!("\nthreshold {}{origin}: {}, {}\n", slo.title(index), count(matching, "cell"), slo.when);
        text += &format!("  {}\n", bounds.join("\n  "));
        if slo.on_inconclusive == OnInconclusive::Fail {
            text += "  an inconclusive verdict fails the run\n";
        }
        if slo.abort_on_fail {
            text += "  a cell that can no longer meet a time or rate bound is ended early\n";
        }
    }
    text
}

fn plain(value: &Value) -> String {
    match value {
        // Line breaks would break the table, and a stop sequence can be a line break.
        Value::String(text) if text.contains(char::is_control) => format!("{text:?}"),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        // In the syntax of the plan.
        table @ Value::Object(_) => {
            toml::Value::try_from(table).map_or_else(|_| table.to_string(), |toml| toml.to_string())
        }
        other => other.to_string(),
    }
}

/// Formats the cells, with the overrides that apply.
fn cells_line(plan: &Plan, origins: &Origins, cells: &[Cell]) -> String {
    let expanded = expand_all(plan);
    let overrides: HashMap<&str, &[usize]> =
        expanded.iter().map(|expanded| (expanded.cell.id.as_str(), &expanded.overrides[..])).collect();
    let widest = cells.iter().map(|cell| cell.id.len()).max().unwrap_or(0);
    let line = |cell: &Cell| {
        let changed = overrides.get(cell.id.as_str()).copied().unwrap_or_default();
        let overridden = Override::combined(&plan.overrides, changed).into_iter().map(|(key, value, index)| {
            let origin = origins.get(&format!("override[{index}]")).map(ToString::to_string).unwrap_or_default();
            format!("{key} = {} ({origin})", plain(value))
        });
        let overridden: Vec<String> = overridden.collect();
        format!("  {:widest$}  {}", cell.id, overridden.join(", ")).trim_end().to_owned()
    };
    let lines = cells.iter().take(MAX_ROWS).map(line).collect::<Vec<_>>().join("\n");
    let mut text = format!("{}:\n{lines}", count(cells.len(), "cell"));
    if cells.len() > MAX_ROWS {
        text += &format!("\n  {}", more(cells.len() - MAX_ROWS, "the output of `bedrock-plan show --format json`"));
    }
    text
}

fn estimate_line(estimate: &Estimate) -> String {
    format!(
        "\ntime        expected {}, at most {} (if every drain takes its full time)",
        span(estimate.seconds),
        span(estimate.seconds_at_most)
    )
}

/// Formats an upper bound with its reason.
fn at_most(most: Option<String>, by: &str) -> String {
    match most {
        Some(most) => format!("at most {most} (by {by})"),
        None => "no upper bound".into(),
    }
}

/// Formats tokens, cost and quota with the assumptions.
fn expectations(estimate: &Estimate, plan: &Plan) -> String {
    let by = match estimate.bounded_by {
        Bound::Budget => "budget",
        Bound::Requests => "load.requests",
        Bound::Duration | Bound::Unbounded => "duration",
    };
    let reply = if plan.target.endpoint == Endpoint::Simulated {
        "the simulator's mean reply".to_owned()
    } else {
        format!("{} per reply, or max_tokens", crate::estimate::ASSUMED_OUTPUT_TOKENS)
    };
    let mut lines = vec![
        (
            "requests",
            format!(
                "expected {} (assuming a latency of {}), {}",
                number(estimate.requests),
                latency(estimate.assumed_latency_s),
                match estimate.requests_at_most {
                    None => "no upper bound: think time is 0, and neither load.requests nor a budget is set".into(),
                    most => at_most(most.map(number), by),
                }
            ),
        ),
        ("tokens in", format!("expected {} (4 characters per token, no cache reads)", number(estimate.input_tokens))),
        (
            "tokens out",
            format!(
                "expected {} ({reply}), {}",
                number(estimate.output_tokens),
                at_most(estimate.output_tokens_at_most.map(number), &format!("{by}, max_tokens per reply"))
            ),
        ),
    ];
    if let Some(expected) = estimate.cost_usd {
        let whose = if plan.prices.is_unset() { "third-party list" } else { "the plan's, then a third-party list" };
        let date = crate::prices::SHIPPED_DATE;
        let cost = format!(
            "expected {} USD on Amazon Bedrock, {} (prices of {date}: {whose})",
            usd(expected),
            at_most(
                estimate.cost_usd_at_most.map(|most| format!("{} USD", usd(most))),
                if estimate.is_cost_bounded_by_budget { "budget" } else { by }
            )
        );
        lines.push(("cost", cost));
    }
    lines.extend(estimate.prompts.iter().map(|prompts| ("prompts", expected_prompts(prompts))));
    for item in &estimate.unpriced {
        lines.push(("no price", format!("for {item}: not included in the cost; add it under [prices]")));
    }
    if let Some(reserved) = &estimate.reserved {
        lines.extend([("quota", format_reservation(reserved, plan)), ("settled", format_settled_use(reserved, plan))]);
    }
    lines.iter().fold(String::new(), |all, (label, text)| all + &format!("{label:<11} {text}\n"))
}

/// Formats the number of distinct prompts and the expected number of requests per prompt.
fn expected_prompts(prompts: &ExpectedPrompts) -> String {
    let ExpectedPrompts { prompt_size, distinct, requests, is_repeated } = prompts;
    let uses = *requests as f64 / (*distinct).max(1) as f64;
    let uses = match uses {
        uses if uses > 1.0 => {
            format!("each expected to be sent {} times per cell on average", number(uses.round() as u64))
        }
        _ => "each expected to be sent once per cell at most".into(),
    };
    let warning = if *is_repeated {
        "; prompt caching or memorised replies can make latencies lower than in production"
    } else {
        ""
    };
    format!("{prompt_size}: {}, {uses}{warning}", count(*distinct, "distinct prompt"))
}

/// Formats the expected reservation of the quota.
fn format_reservation(reserved: &QuotaUse, plan: &Plan) -> String {
    format!(
        "expected to reserve {} and {} (prompt and max_tokens at each start, in {})",
        compare_with_quota(reserved.tokens_per_minute, plan.quota.tokens_per_minute, "tokens"),
        compare_with_quota(reserved.requests_per_minute, plan.quota.requests_per_minute, "requests"),
        reserved.test_id
    )
}

/// Formats the expected quota use after replies.
fn format_settled_use(reserved: &QuotaUse, plan: &Plan) -> String {
    let whose = if plan.quota.burndown.is_some() { "the plan" } else { "a third-party list" };
    let counted = match reserved.burndown {
        1.0 => String::new(),
        factor => format!(", output tokens count {factor} times: {whose}"),
    };
    let tokens = compare_with_quota(reserved.settled_tokens_per_minute, plan.quota.tokens_per_minute, "tokens");
    format!("about {tokens} (prompt and reply at the end of each request{counted})")
}

fn compare_with_quota(wanted: u64, quota: Option<u64>, unit: &str) -> String {
    match quota {
        Some(quota) if wanted > quota => {
            format!("{} {unit} per minute: MORE than the quota of {}, expect throttling", number(wanted), number(quota))
        }
        Some(quota) => format!("{} {unit} per minute of {}", number(wanted), number(quota)),
        None => format!("{} {unit} per minute", number(wanted)),
    }
}

fn number(value: u64) -> String {
    crate::report::view::text::thousands(value as f64, 0)
}

/// `1s`, `1s250ms`.
fn latency(seconds: f64) -> String {
    let ms = (seconds * 1e3).round().max(1.0) as u64;
    crate::units::duration::format(std::time::Duration::from_millis(ms))
}

fn usd(value: f64) -> String {
    crate::report::view::text::thousands(value, if value >= 1.0 { 2 } else { 4 })
}

/// `27 min 52 s`.
fn span(seconds: f64) -> String {
    let seconds = seconds.ceil() as u64;
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}
