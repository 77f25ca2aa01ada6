//! Sessions with known numbers: the records of one short run with replaced times.

use super::scene::{SHORT, Scene};
use serde_json::{Value, json};
use std::path::Path;

/// 2026-11-24T09:16:03Z.
const FIRST_MS: u64 = 1_795_511_763_000;

/// Requests of a cell.
const REQUESTS: u32 = 100;

/// Runs a plan with two tiers into `results`, which is the template of all sessions.
pub(super) fn template_run() -> Scene {
    let scene = Scene::new().plan(SHORT);
    scene.run(0, &["--service-tiers", "default,flex"]);
    scene
}

/// Writes a session to the directory `name` that starts `hours` after the first. `times` returns the median response
/// time of a cell in milliseconds, by its id.
pub(super) fn session(scene: &Scene, name: &str, hours: u64, times: impl Fn(&str) -> f64) {
    std::fs::create_dir_all(scene.path(name)).unwrap();
    let mut manifest = scene.manifest();
    let started_ms = FIRST_MS + hours * 3_600_000;
    manifest["run_id"] = format!("run-{name}").into();
    manifest["started_ms"] = started_ms.into();
    // The records are generated here, and lines of this format version have no checksum.
    manifest["format"] = 1.into();
    for cell_run in manifest["turns"].as_array_mut().unwrap() {
        for second in cell_run["series"].as_array_mut().unwrap() {
            second["cpu_ms"] = 1.into();
        }
    }
    let records = scene.records();
    let mut journal = String::new();
    for cell in manifest["cells"].as_array().unwrap() {
        let id = cell["id"].as_str().unwrap();
        let mut record = records.iter().find(|record| record["test_id"] == id).unwrap().clone();
        record.as_object_mut().unwrap().remove("crc");
        for seq in 0..REQUESTS {
            let spread = 0.8 + 0.4 * f64::from(seq) / f64::from(REQUESTS - 1);
            // Not sorted by length: correlated neighbours reduce the effective sample size.
            let shuffled = seq * 37 % REQUESTS;
            record["run_id"] = manifest["run_id"].clone();
            record["seq"] = seq.into();
            record["phase"] = "steady".into();
            record["sent_ms"] = (600.0 + f64::from(shuffled)).into();
            record["send_lag_ms"] = 0.1.into();
            record["response_time_ms"] = ((times(id) * spread * 1e3).round() / 1e3).into();
            journal += &format!("{record}\n");
        }
    }
    write(scene, name, &manifest, &journal);
}

/// Changes the manifest of a session.
pub(super) fn change(scene: &Scene, name: &str, change: impl Fn(&mut Value)) {
    let path = scene.path(name).join("manifest.json");
    let mut manifest: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    change(&mut manifest);
    std::fs::write(path, manifest.to_string()).unwrap();
}

/// Removes the client health of this machine from a run: no cell is INVALID, and each request takes as long as the server
/// reports.
pub(super) fn clear_client_health(scene: &Scene, name: &str) {
    change(scene, name, |manifest| {
        manifest["format"] = 1.into();
        for cell_run in manifest["turns"].as_array_mut().unwrap() {
            cell_run.as_object_mut().unwrap().remove("disturbances");
            for second in cell_run["series"].as_array_mut().unwrap() {
                second["cpu_ms"] = 1.into();
            }
        }
    });
    let path = scene.path(name).join("token_data.jsonl");
    let quiet = |line: &str| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        record.as_object_mut().unwrap().remove("crc");
        record["send_lag_ms"] = 0.1.into();
        if let Some(server_ms) = record["server_latency_ms"].as_f64() {
            record["response_time_ms"] = server_ms.into();
        }
        format!("{record}\n")
    };
    let journal: String = std::fs::read_to_string(&path).unwrap().lines().map(quiet).collect();
    std::fs::write(path, journal).unwrap();
}

/// Adds client lag to all cells of a session, which makes them INVALID.
pub(super) fn add_client_lag(scene: &Scene, name: &str) {
    let path = scene.path(name).join("token_data.jsonl");
    let journal = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, journal.replace("\"send_lag_ms\":0.1", "\"send_lag_ms\":50.0")).unwrap();
}

/// Writes `baseline.json` with five sessions of five days that differ by some percent.
pub(super) fn baseline(scene: &Scene) {
    let mut add = vec!["baseline", "add"];
    let names = ["b0", "b1", "b2", "b3", "b4"];
    for (day, name) in (0..).zip(names) {
        session(scene, name, day * 24, calm(day));
        add.push(name);
    }
    add.extend(["--to", "baseline.json"]);
    scene.expect(0, scene.command(&add));
}

/// Returns the times of an unchanged session.
pub(super) fn calm(day: u64) -> impl Fn(&str) -> f64 {
    let hour = [1.0, 1.02, 0.99, 1.01, 0.98][day as usize % 5];
    move |id| if id.contains("flex") { 160.0 * hour } else { 100.0 / hour }
}

/// Returns times as [`calm`] does, with `flex` slower by a factor.
pub(super) fn slow_flex(day: u64, factor: f64) -> impl Fn(&str) -> f64 {
    let calm = calm(day);
    move |id| calm(id) * if id.contains("flex") { factor } else { 1.0 }
}

fn write(scene: &Scene, name: &str, manifest: &Value, journal: &str) {
    std::fs::write(scene.path(name).join("manifest.json"), manifest.to_string()).unwrap();
    std::fs::write(scene.path(name).join("token_data.jsonl"), journal).unwrap();
}

/// Reads a JSON file.
pub(super) fn json_of(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap_or(json!(null))
}
