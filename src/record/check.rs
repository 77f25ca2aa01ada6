//! Bounds of manifests and records. Everything that is read from a run directory is checked once, so that no number
//! overflows, loops without end, or takes memory out of proportion to the file. Plans and runs stay within these bounds:
//! `config::bounds` refuses larger values before a run.

use super::Record;
use super::manifest::{Calibration, CellRunReport, Machine, Manifest, Shards};
use crate::matrix::{Cell, Shard};
use crate::plan::{Load, MAX_PERCENTILES, MAX_RATE, MAX_USERS, MIN_SPAWN_RATE, Plan, Price, Profile};
use crate::units::id::is_id;
use crate::units::text::clean;
use std::collections::{HashMap, HashSet};
use std::fmt::{Debug, Display};

/// The end of the year 9999, epoch milliseconds: file names have four digits for a year.
const MAX_EPOCH_MS: u64 = 253_402_300_799_999;
/// The longest time of a request or a cell run, milliseconds: two years, since no duration of a plan is above one.
const MAX_MS: f64 = 2.0 * 366.0 * 86_400_000.0;
/// The largest count: JSON readers take no larger integer exactly.
const MAX_COUNT: u64 = 1 << 53;
/// The largest sum of the times of all users, milliseconds.
const MAX_USER_MS: f64 = MAX_MS * MAX_USERS as f64;
/// The most tokens of one request.
const MAX_TOKENS: u64 = 1 << 40;
/// The most cores of a machine.
const MAX_CORES: usize = 1 << 20;
/// The highest price, US dollars per million tokens.
const MAX_PRICE: f64 = 1e6;

/// An error contains the key, its value and the expected range.
type CheckResult = Result<(), String>;

fn within<T: PartialOrd + Debug + Copy>(key: impl Display, value: T, from: T, to: T) -> CheckResult {
    if value >= from && value <= to {
        Ok(())
    } else {
        Err(format!("`{key}` is `{value:?}`: expected {from:?} to {to:?}"))
    }
}

/// Checks ranges and the consistency of a manifest.
///
/// # Errors
/// The first invalid value.
pub(super) fn manifest(manifest: &Manifest) -> CheckResult {
    let times = [("started_ms", Some(manifest.started_ms)), ("ended_ms", manifest.ended_ms)];
    let resumed = manifest.resumed_ms.iter().map(|resumed| ("resumed_ms", Some(*resumed)));
    for (key, time) in times.into_iter().chain(resumed) {
        within(key, time.unwrap_or(0), 0, MAX_EPOCH_MS)?;
    }
    machine("machine", &manifest.machine)?;
    plan(&manifest.plan)?;
    manifest.prices.iter().try_for_each(price)?;
    manifest.calibration.iter().try_for_each(calibration)?;
    manifest.shards.iter().try_for_each(shards)?;
    let cells = manifest.cells.len();
    let (mut ids, mut folded) = (HashSet::new(), HashSet::new());
    for (index, planned) in manifest.cells.iter().enumerate() {
        let id = planned.cell.id.as_str();
        if !is_id(id) {
            return Err(format!("invalid cell id `{}`", clean(id)));
        }
        ids.insert(id);
        // Some file systems ignore case: files of one cell would replace those of another.
        if !folded.insert(id.to_ascii_lowercase()) {
            return Err(format!("duplicate cell `{id}`"));
        }
        cell(&planned.cell).map_err(|error| format!("cells[{index}]: {error}"))?;
    }
    if let Some(planned_run) = manifest.order.iter().find(|planned_run| planned_run.cell >= cells) {
        return Err(format!(
            "its order names the cell number `{}`, but it contains {cells} cells",
            planned_run.cell.saturating_add(1)
        ));
    }
    let mut runs = HashMap::new();
    for (place, planned_run) in manifest.order.iter().enumerate() {
        within(format!("order[{place}].repetition"), planned_run.repetition, 1, u32::MAX)?;
        within(format!("order[{place}].attempt"), planned_run.attempt, 1, u32::MAX - 1)?;
        if let Some(other) = runs.insert((planned_run.cell, planned_run.repetition), place) {
            return Err(format!("`order[{place}]` is the same cell run as `order[{other}]`"));
        }
    }
    if let Some(cell_run) = manifest.planned_runs.iter().find(|cell_run| !ids.contains(cell_run.test_id.as_str())) {
        return Err(format!("it reports the end of the unknown cell `{}`", cell_run.test_id));
    }
    let most_parts = manifest.shards.as_ref().map_or(0, |shards| shards.count as usize);
    for (index, report) in manifest.planned_runs.iter().enumerate() {
        let at = |error: String| format!("turns[{index}]: {error}");
        check_cell_run(report).map_err(at)?;
        within("parts", report.parts.len(), 0, most_parts).map_err(at)?;
        for part in &report.parts {
            check_cell_run(part).map_err(at)?;
            within("parts of parts", part.parts.len(), 0, 0).map_err(at)?;
        }
    }
    Ok(())
}

fn machine(key: &str, machine: &Machine) -> CheckResult {
    within(format!("{key}.cores"), machine.cores, 1, MAX_CORES)
}

fn plan(plan: &Plan) -> CheckResult {
    load(&plan.load)?;
    plan.profile.iter().try_for_each(profile)?;
    within("report.percentiles", plan.report.percentiles.len(), 0, MAX_PERCENTILES)?;
    plan.report
        .percentiles
        .iter()
        .try_for_each(|p| within("report.percentiles", *p, f64::MIN_POSITIVE, 100.0_f64.next_down()))?;
    plan.prices.rows.iter().try_for_each(price)?;
    plan.budget.max_cost.iter().try_for_each(|cost| within("budget.max_cost", *cost, 0.0, f64::MAX))?;
    plan.quota.burndown.iter().try_for_each(|factor| within("quota.burndown", *factor, 1.0, 1e3))
}

fn price(price: &Price) -> CheckResult {
    let prices = [Some(price.input), Some(price.output), price.cache_read, price.cache_write];
    prices.iter().flatten().try_for_each(|price| within("prices", *price, 0.0, MAX_PRICE))
}

fn load(load: &Load) -> CheckResult {
    within("load.spawn_rate", load.spawn_rate, MIN_SPAWN_RATE, f64::MAX)
}

fn profile(profile: &Profile) -> CheckResult {
    within(format!("profile {}", profile.name), profile.user_changes(), 0, u64::from(MAX_USERS))?;
    let rates = profile.stages.iter().filter_map(|stage| stage.rate);
    rates.into_iter().try_for_each(|rate| within(format!("profile {}", profile.name), rate, 0.0, MAX_RATE))
}

fn cell(cell: &Cell) -> CheckResult {
    load(&cell.load)?;
    within("users", cell.users.unwrap_or(0), 0, MAX_USERS)?;
    cell.arrival_rate.iter().try_for_each(|rate| within("arrival_rate", rate.0, f64::MIN_POSITIVE, MAX_RATE))?;
    cell.profile.iter().try_for_each(profile)
}

fn shards(shards: &Shards) -> CheckResult {
    within("shards.count", shards.count, 1, Shard::MAX_COUNT)?;
    let mut known = HashSet::new();
    for part in &shards.parts {
        within("shards.parts.index", part.index, 0, shards.count - 1)?;
        if !known.insert(part.index) {
            return Err(format!("duplicate shard {}", part.index));
        }
        within("shards.parts.started_ms", part.started_ms, 0, MAX_EPOCH_MS)?;
        within("shards.parts.ended_ms", part.ended_ms.unwrap_or(0), 0, MAX_EPOCH_MS)?;
        machine("shards.parts.machine", &part.machine)?;
        part.clock.iter().try_for_each(|clock| within("max_error_ms", clock.max_error_ms, 0.0, f64::MAX))?;
    }
    Ok(())
}

fn calibration(calibration: &Calibration) -> CheckResult {
    let paired = [Some(calibration.paired), calibration.ttft];
    let paired = paired.iter().flatten().flat_map(|paired| [paired.p50_ms, paired.p99_ms, paired.max_ms]);
    let levels = calibration.percentiles.iter().flat_map(|level| [level.p, level.server_ms, level.client_ms]);
    paired.chain(levels).try_for_each(|number| within("calibration", number, -MAX_MS, MAX_MS))
}

fn check_cell_run(cell_run: &CellRunReport) -> CheckResult {
    within("repetition", cell_run.repetition, 1, u32::MAX)?;
    within("attempt", cell_run.attempt, 1, u32::MAX - 1)?;
    within("started_ms", cell_run.started_ms, 0, MAX_EPOCH_MS)?;
    within("ended_ms", cell_run.ended_ms, 0, MAX_EPOCH_MS)?;
    within("ended_ms - started_ms", cell_run.ended_ms.saturating_sub(cell_run.started_ms) as f64, 0.0, MAX_MS)?;
    within("load_ms", cell_run.load_ms, 0.0, MAX_MS)?;
    within("user_ms", cell_run.user_ms, 0.0, MAX_USER_MS)?;
    within("think_ms", cell_run.think_ms, 0.0, MAX_USER_MS)?;
    within("late_ms", cell_run.late_ms.unwrap_or(0.0), -MAX_MS, MAX_MS)?;
    for (key, count) in [
        ("requests", cell_run.requests),
        ("connections_opened", cell_run.connections_opened),
        ("connections_reused", cell_run.connections_reused),
        ("dropped", cell_run.dropped),
    ] {
        within(key, count, 0, MAX_COUNT)?;
    }
    within("series", cell_run.series.len() as f64, 0.0, MAX_MS / 1e3)?;
    within("shard", cell_run.shard.unwrap_or(0), 0, Shard::MAX_COUNT - 1)?;
    cell_run.series.iter().try_for_each(|second| {
        within("series.cpu_ms", second.cpu_ms.unwrap_or(0.0), 0.0, MAX_MS)?;
        within("series.ticker_ms", second.ticker_ms, 0.0, MAX_MS)
    })
}

/// Checks the numbers of a record, except for those that the service reports.
///
/// # Errors
/// The first invalid number.
pub(super) fn record(record: &Record) -> CheckResult {
    within("timestamp", record.timestamp, 0.0, MAX_EPOCH_MS as f64 / 1e3)?;
    within("repetition", record.repetition, 1, u32::MAX)?;
    within("cell_attempt", record.cell_attempt, 1, u32::MAX - 1)?;
    within("seq", record.seq, 0, MAX_COUNT)?;
    within("shard", record.shard.unwrap_or(0), 0, Shard::MAX_COUNT - 1)?;
    within("response_bytes", record.response_bytes.unwrap_or(0), 0, MAX_COUNT)?;
    let always = [record.response_time_ms, record.sent_ms, record.send_lag_ms].map(Some);
    let others = [
        record.due_ms,
        record.service_time_ms,
        record.ttft_ms,
        record.ttfat_ms,
        record.e2e_ms,
        record.tpot_ms,
        record.chunk_gap_p50_ms,
        record.chunk_gap_max_ms,
        record.connect_ms,
    ];
    always.iter().chain(&others).flatten().try_for_each(|ms| within("ms", *ms, 0.0, MAX_MS))?;
    let tokens = [
        record.input_tokens,
        record.output_tokens,
        record.total_tokens,
        record.cache_read_tokens,
        record.cache_write_tokens,
    ];
    tokens.iter().flatten().try_for_each(|tokens| within("tokens", *tokens, 0, MAX_TOKENS))
}

#[cfg(test)]
mod tests {
    use crate::record::dir::MANIFEST;
    use crate::record::read;
    use serde_json::{Value, json};
    use std::fs;

    #[test]
    fn invalid_numbers_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        crate::report::tests::write_run(dir.path());
        let path = dir.path().join(MANIFEST);
        let whole: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let part = |index: u32| json!({"index": index, "host": "h", "machine": whole["machine"], "started_ms": 0});
        let shards = |count: u64, parts: &[Value]| json!({"count": count, "complete": false, "parts": parts});
        let profile = |users: u32| json!({"name": "p", "stages": [{"users": users, "for": "1s"}]});
        let cases = [
            ("/cells/0/load/spawn_rate", json!(0), "load.spawn_rate"),
            ("/cells/0/load/spawn_rate", json!(-1), "load.spawn_rate"),
            ("/cells/0/load/spawn_rate", json!(1e-300), "load.spawn_rate"),
            ("/plan/load/spawn_rate", json!(0), "load.spawn_rate"),
            ("/cells/0/users", json!(4_000_000_000_u32), "users"),
            ("/cells/0/arrival_rate", json!(1e300), "arrival_rate"),
            ("/cells/0/profile", profile(4_000_000_000), "profile p"),
            ("/cells/0/load/test_duration", json!("99999999h"), "longer than a year"),
            ("/plan/report/percentiles", json!([100]), "report.percentiles"),
            ("/plan/report/percentiles", json!(vec![50; 101]), "report.percentiles"),
            ("/turns/0/load_ms", json!(1e300), "load_ms"),
            ("/turns/0/load_ms", json!(-1), "load_ms"),
            ("/turns/0/user_ms", json!(1e300), "user_ms"),
            ("/turns/0/started_ms", json!(0), "ended_ms - started_ms"),
            ("/turns/0/ended_ms", json!(1_u64 << 63), "ended_ms"),
            ("/turns/0/requests", json!(u64::MAX), "requests"),
            ("/turns/0/repetition", json!(0), "repetition"),
            ("/turns/0/series/0/ticker_ms", json!(1e300), "ticker_ms"),
            ("/turns/0/parts", json!([whole["turns"][0]]), "parts"),
            ("/turns/0/test_id", json!("other"), "other"),
            ("/order/0/cell", json!(99), "cell number `100`"),
            ("/order/0/cell", json!(u64::MAX), "its order"),
            ("/order/1", whole["order"][0].clone(), "order[1]"),
            ("/order/0/repetition", json!(0), "order[0].repetition"),
            ("/ended_ms", json!(1_u64 << 63), "ended_ms"),
            ("/machine/cores", json!(0), "machine.cores"),
            ("/shards", shards((1 << 32) - 1, &[]), "shards.count"),
            ("/shards", shards(0, &[]), "shards.count"),
            ("/shards", shards(2, &[part(2)]), "shards.parts.index"),
            ("/shards", shards(2, &[part(0), part(0)]), "duplicate shard 0"),
            ("/prices/0/input", json!(1e300), "prices"),
        ];
        for (pointer, value, key) in cases {
            let mut changed = whole.clone();
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            match (changed.pointer_mut(parent).unwrap(), field.parse::<usize>()) {
                (Value::Array(items), Ok(index)) => items[index] = value.clone(),
                (fields, _) => fields[field] = value.clone(),
            }
            fs::write(&path, changed.to_string()).unwrap();
            let message = read::manifest(dir.path()).map(drop).unwrap_err().to_string();
            assert!(message.contains(MANIFEST) && message.contains(key), "{pointer} = {value}: {message}");
        }
        let text = whole.to_string();
        let huge = text.replacen("\"load_ms\":4000.0", "\"load_ms\":1e400", 1);
        assert_ne!(huge, text);
        fs::write(&path, huge).unwrap();
        assert!(read::manifest(dir.path()).is_err(), "infinity");
        fs::write(&path, format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))).unwrap();
        assert!(read::manifest(dir.path()).is_err(), "nesting");
        fs::write(&path, text).unwrap();
        assert!(read::manifest(dir.path()).is_ok(), "the run itself");
    }

    #[test]
    fn oversized_manifest_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        // A hole takes no space on the disk.
        fs::File::create(dir.path().join(MANIFEST)).unwrap().set_len(1 << 40).unwrap();
        let message = read::manifest(dir.path()).map(drop).unwrap_err().to_string();
        assert!(message.contains("larger than 512 MiB"), "{message}");
    }
}
