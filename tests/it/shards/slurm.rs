//! A plan under a real Slurm with four nodes and the script of `submit`: the records are compared with the simulator's. Also
//! covers a node failure, a task that never starts, and a cancelled job. Assertions use the files written, since Slurm's exit
//! codes are not reliable.

use super::cluster::{NODES, Slurm};
use crate::run::scene::{Scene, Simulate};
use crate::run::stalls::{overlaps, stalls};
use bedrock_plan::simulator::Truth;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Output;

const PROGRAM: &str = env!("CARGO_BIN_EXE_bedrock-plan");

/// A closed and an open loop, a mix of prompts, and a threshold.
const PLAN: &str = r#"
[target]
endpoint = "http://127.0.0.1:9"
[matrix]
model_ids = ["test.model-v1:0"]
service_tiers = ["default"]
prompt_sizes = ["chat"]
user_counts = [10]
[[matrix.add]]
model_id = "test.model-v1:0"
region_prefix = "us"
service_tier = "default"
prompt_size = "chat"
arrival_rate = 50
[[mix]]
name = "chat"
sizes = { small = 1, medium = 1, large = 1 }
[load]
test_duration = "2s"
spawn_rate = 100
think_time = "20ms..220ms"
cool_down = "0s"
drain = "2s"
order = "matrix"
[request]
max_tokens = 16
[[slo]]
name = "all answer"
failure_rate = "50%"
[simulator]
ttft = "20ms"
tpot = "1ms"
"#;

/// A cluster, a simulator, and a job of `submit` in a separate directory.
struct Job {
    slurm: Slurm,
    scene: Scene,
    server: Option<Simulate>,
    id: u32,
}

impl Job {
    /// Submits the script printed by `submit`, modified by `change`; returns `None` if Slurm is not installed.
    fn start(more: &[&str], change: impl Fn(&Scene, String) -> String) -> Option<Self> {
        let slurm = Slurm::start()?;
        let scene = Scene::new().plan(PLAN);
        let server = Simulate::start(&scene, &["--plan", "plan.toml", "--truth", "truth.csv"]);
        let tasks = NODES.to_string();
        let mut submit = vec!["submit", "plan.toml", "--print", "--tasks", &tasks, "--endpoint-url", &server.url];
        submit.extend(more);
        let script = text(&scene.expect(0, scene.command(&submit)).stdout);
        std::fs::write(scene.path("job.sh"), change(&scene, script)).unwrap();
        let id = slurm.submit(&scene.path(""), "job.sh");
        Some(Self { slurm, scene, server: Some(server), id })
    }

    fn results(&self, name: &str) -> PathBuf {
        self.scene.path(&format!("test_results/job_{}", self.id)).join(name)
    }

    fn shard(&self, index: u32) -> PathBuf {
        self.results(&format!("shard_{index}_of_{NODES}"))
    }

    fn marker(&self, index: u32) -> PathBuf {
        self.results(&format!("exchange/shards/{index}/shard.json"))
    }

    /// Waits until a shard has recorded twenty requests.
    fn wait_for_records(&self, shard: u32) {
        let journal = self.shard(shard).join("token_data.jsonl");
        let lines = || std::fs::read_to_string(&journal).map_or(0, |text| text.lines().count());
        self.slurm.wait("twenty records", |_| lines() >= 20);
    }

    /// Returns the output of the script and its tasks.
    fn output(&self) -> String {
        std::fs::read_to_string(self.scene.path(&format!("slurm-{}.out", self.id))).unwrap()
    }

    /// Stops the simulator. Returns the requests it served, by id.
    fn truth(&mut self) -> BTreeMap<String, Truth> {
        self.server.take().unwrap().stop();
        let text = std::fs::read_to_string(self.scene.path("truth.csv")).unwrap();
        text.lines().filter_map(Truth::parse).map(|truth| (truth.request_id.clone(), truth)).collect()
    }

    /// Runs `merge`.
    fn merge(&self, code: i32, to: &str, more: &[&str]) -> Output {
        let url = format!("file://{}", self.results("exchange").display());
        let mut arguments = vec!["merge", &url, "--to", to];
        arguments.extend(more);
        self.scene.expect(code, self.scene.command(&arguments))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn records(dir: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(dir.join("token_data.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    csv::Reader::from_path(path).unwrap().deserialize().map(Result::unwrap).collect()
}

fn consolidated(dir: &Path) -> Vec<BTreeMap<String, String>> {
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names = std::fs::read_dir(dir).unwrap().map(name);
    rows(&dir.join(names.find(|name| name.starts_with("consolidated_results_")).unwrap()))
}

/// Returns the ids of the requests with a reply; each id must be unique.
fn ids(records: &[Value]) -> BTreeSet<String> {
    let all: Vec<String> =
        records.iter().filter_map(|record| record["request_id"].as_str()).map(str::to_owned).collect();
    let each: BTreeSet<String> = all.iter().cloned().collect();
    assert_eq!(all.len(), each.len(), "each id is unique");
    each
}

fn is_load(record: &Value) -> bool {
    !matches!(record["phase"].as_str(), Some("preflight" | "priming"))
}

/// Returns the prompt of each request, by cell and number.
fn prompts(records: &[Value]) -> BTreeMap<(&str, u64), &str> {
    let mut prompts = BTreeMap::new();
    for record in records.iter().filter(|record| is_load(record)) {
        let number = (record["test_id"].as_str().unwrap(), record["seq"].as_u64().unwrap());
        prompts.insert(number, record["prompt"].as_str().unwrap());
    }
    prompts
}

/// Returns the think times of each user of the closed loop, in milliseconds, derived from the records.
fn think_times(records: &[Value]) -> BTreeMap<u64, Vec<f64>> {
    let mut sent: BTreeMap<u64, Vec<(f64, f64)>> = BTreeMap::new();
    for record in records.iter().filter(|record| is_load(record)) {
        let Some(user) = record["user"].as_u64() else { continue };
        let ms = |key: &str| record[key].as_f64().unwrap();
        sent.entry(user).or_default().push((ms("sent_ms"), ms("sent_ms") + ms("response_time_ms")));
    }
    let gaps = |mut requests: Vec<(f64, f64)>| {
        requests.sort_by(|a, b| a.0.total_cmp(&b.0));
        requests.windows(2).map(|pair| pair[1].0 - pair[0].1).collect()
    };
    sent.into_iter().map(|(user, requests)| (user, gaps(requests))).collect()
}

/// Returns the mean difference, in milliseconds, between the think times of each user and those of the user `places`
/// further.
fn distance(one: &BTreeMap<u64, Vec<f64>>, other: &BTreeMap<u64, Vec<f64>>, places: usize) -> f64 {
    let mut all = Vec::new();
    for (a, b) in one.values().zip(other.values().cycle().skip(places)) {
        all.extend(a.iter().zip(b).map(|(a, b)| (a - b).abs()));
    }
    all.iter().sum::<f64>() / all.len() as f64
}

/// Returns the numbers of an open loop's starts.
fn arrivals(records: &[Value]) -> BTreeSet<u64> {
    records.iter().filter(|record| record["due_ms"].is_f64()).map(|record| record["seq"].as_u64().unwrap()).collect()
}

/// Returns a percentile by nearest rank.
fn percentile(values: &mut [f64], p: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() as f64 * p - 1e-9).ceil() as usize - 1]
}

fn unchanged(_: &Scene, script: String) -> String {
    script
}

/// Runs a script as a job and waits for its end.
fn run_script(slurm: &Slurm, scene: &Scene, text: &str) -> u32 {
    std::fs::write(scene.path("job.sh"), format!("#!/bin/bash\n{text}")).unwrap();
    let job = slurm.submit(&scene.path(""), "job.sh");
    slurm.ended(job);
    job
}

#[test]
fn shard_is_detected_in_steps_and_arrays_and_other_tasks_are_refused() {
    let Some(slurm) = Slurm::start() else { return };
    let scene = Scene::new().plan(&PLAN.replace("\"http://127.0.0.1:9\"", "\"simulated\""));
    let run = format!("{PROGRAM} run plan.toml --yes --quiet --user-counts 4 --test-duration 1s");
    let exchange = |name: &str| format!("--exchange file://{}", scene.path(name).display());

    // Each task runs on a separate node. The batch script is not a task, and tasks without an exchange are refused.
    let gang = format!(
        "#SBATCH --ntasks=4 --ntasks-per-node=1
srun bash -c 'echo $SLURMD_NODENAME $SLURM_STEP_ID $SLURM_NTASKS > task.$SLURM_PROCID'
{run} {}
srun {run} --results-dir each
",
        exchange("of_script")
    );
    let job = run_script(&slurm, &scene, &gang);
    let written = (0..NODES).map(|task| std::fs::read_to_string(scene.path(&format!("task.{task}"))).unwrap());
    assert_eq!(written.collect::<BTreeSet<_>>(), (1..=NODES).map(|node| format!("n{node} 0 4\n")).collect());
    let log = std::fs::read_to_string(scene.path(&format!("slurm-{job}.out"))).unwrap();
    assert!(log.contains("SLURM_NTASKS is 4, but this process is the batch script"), "{log}");
    assert_eq!(log.matches("each of the 4 tasks of this Slurm step").count(), 4, "{log}");
    assert!(!scene.path("of_script").exists() && !scene.path("each").exists() && !scene.path("test_results").exists());

    // An array of jobs, which Slurm starts one by one.
    run_script(&slurm, &scene, &format!("#SBATCH --array=0-3 --ntasks=1\n{run} {}\n", exchange("of_array")));
    for shard in 0..NODES {
        let mark = json(&scene.path(&format!("of_array/shards/{shard}/shard.json")));
        assert_eq!((&mark["index"], &mark["count"]), (&shard.into(), &NODES.into()));
        let own = records(&scene.path(&format!("test_results/shard_{shard}_of_4")));
        assert!(!own.is_empty() && own.iter().all(|record| record["seq"].as_u64().unwrap() % 4 == u64::from(shard)));
    }

    // An array that does not start at 0 has no shard 0.
    run_script(&slurm, &scene, &format!("#SBATCH --array=1-2 --output=array.%a\n{run} {}\n", exchange("of_two")));
    for index in 1..=2 {
        let log = std::fs::read_to_string(scene.path(&format!("array.{index}"))).unwrap();
        assert!(log.contains("the Slurm array has the indices 1 to 2: expected --array=0-1"), "{log}");
    }
    assert!(!scene.path("of_two").exists());
}

#[test]
fn four_tasks_together_equal_one_run_and_each_request_is_counted_once() {
    let comment = r#"it's $HOME, "x" \ # 1"#;
    let more = ["--include-ramp", "--", &format!("--comment={comment}"), "-J", "four"];
    let Some(mut job) = Job::start(&more, unchanged) else { return };
    let state = job.slurm.ended(job.id);
    let known = text(&job.slurm.command("scontrol", &["show", "job", &job.id.to_string()]).output().unwrap().stdout);
    assert!(known.contains(&format!("Comment={comment}")) && known.contains("JobName=four"), "{known}");
    let whole = job.results("");
    assert!(whole.join("manifest.json").exists(), "{state}: {}", job.output());
    let merged = records(&whole);

    // An unsharded run with the same seed against the same simulator.
    let manifest = json(&whole.join("manifest.json"));
    let seed = manifest["seed"].as_u64().unwrap().to_string();
    let url = job.server.as_ref().unwrap().url.clone();
    let mut alone = vec!["run", "plan.toml", "--yes", "--no-report", "--endpoint-url", &url];
    alone.extend(["--seed", &seed, "--results-dir", "alone"]);
    job.scene.expect(0, job.scene.command(&alone));
    let alone = records(&job.scene.path("alone"));

    // The records are exactly the requests that the simulator served.
    let truth = job.truth();
    let (together, apart) = (ids(&merged), ids(&alone));
    assert!(together.is_disjoint(&apart) && together.len() == merged.len());
    assert_eq!(together.len() + apart.len(), truth.len());
    assert!(together.union(&apart).all(|id| truth.contains_key(id)));
    let row_sum: usize = consolidated(&whole).iter().map(|row| row["total_requests"].parse::<usize>().unwrap()).sum();
    assert_eq!(row_sum, merged.iter().filter(|record| is_load(record)).count());
    assert_eq!(merged.iter().filter(|record| !is_load(record)).count(), 1, "one shard runs the pre-flight for all");

    // Users, seeds, think times and prompts equal those of the unsharded run.
    for shard in 0..NODES {
        let own = json(&job.shard(shard).join("manifest.json"));
        assert_eq!((own["seed"].to_string(), &own["run_id"]), (seed.clone(), &manifest["run_id"]), "shard {shard}");
        assert!(
            records(&job.shard(shard)).iter().filter(|record| is_load(record)).all(|record| record["shard"] == shard)
        );
    }
    let (times, alone_times) = (think_times(&merged), think_times(&alone));
    assert_eq!(times.keys().copied().collect::<Vec<_>>(), (0..10).collect::<Vec<_>>(), "each user runs on some shard");
    assert!(times.keys().eq(alone_times.keys()));
    let (same, others) = (distance(&times, &alone_times, 0), distance(&times, &alone_times, 1));
    assert!(
        same * 2.0 < others,
        "the think times of a user do not depend on the shard: {same} ms apart, others {others} ms"
    );
    let (sharded, unsharded) = (prompts(&merged), prompts(&alone));
    let both = sharded.iter().filter(|(number, _)| unsharded.contains_key(*number)).count();
    assert!(both > 150 && sharded.iter().all(|(number, prompt)| unsharded.get(number).is_none_or(|own| own == prompt)));
    assert_eq!(arrivals(&merged), (0..100).collect(), "each start belongs to exactly one shard");
    assert_eq!(arrivals(&merged), arrivals(&alone));

    // Percentiles cover the records of all shards, except those excluded because of a client stall.
    let summary = json(&whole.join("summary.json"));
    let manifest = json(&whole.join("manifest.json"));
    let is_stalled = |record: &Value| {
        let cell_runs = manifest["turns"].as_array().unwrap().iter();
        let of_cell = cell_runs.filter(|cell_run| {
            cell_run["test_id"] == record["test_id"] && cell_run["repetition"] == record["repetition"]
        });
        let mut parts = of_cell.flat_map(|cell_run| cell_run["parts"].as_array().unwrap());
        parts.any(|part| part["shard"] == record["shard"] && overlaps(record, &stalls(part)))
    };
    for row in consolidated(&whole) {
        let of_cell = merged.iter().filter(|record| record["test_id"] == row["test_id"].as_str());
        let mut times: Vec<f64> = of_cell
            .filter(|record| is_load(record))
            .filter(|record| record["outcome"] == "succeeded" && record["validity"].is_null() && !is_stalled(record))
            .map(|record| record["response_time_ms"].as_f64().unwrap())
            .collect();
        assert_eq!(row["latency_n"], times.len().to_string());
        for (column, p) in [("success_p50", 0.50), ("success_p95", 0.95), ("success_p99", 0.99)] {
            let wanted = percentile(&mut times, p);
            assert!((row[column].parse::<f64>().unwrap() - wanted).abs() < 1e-9, "{column}: {wanted} in {row:?}");
        }
    }
    assert_eq!(manifest["shards"]["complete"], true);
    assert_eq!(summary["shards"]["complete"], true, "{:#}", summary["shards"]);
}

/// Asserts that no process of the job is left.
fn assert_no_task_left(job: &Job) {
    let left = job.slurm.tasks(PROGRAM, "SLURM_PROCID");
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn node_failure_is_reported_and_results_of_the_others_are_kept() {
    let Some(mut job) = Job::start(&["--barrier-timeout", "10s", "--test-duration", "4s"], unchanged) else { return };
    job.wait_for_records(2);
    job.slurm.kill_node_of(PROGRAM, 2);
    job.slurm.ended(job.id);
    assert_no_task_left(&job);

    // The other shards ended with a reason and delivered their results.
    for shard in [0, 1, 3] {
        assert!(job.marker(shard).exists(), "{}", job.output());
        let own = json(&job.shard(shard).join("manifest.json"));
        let reason = own["shards"]["parts"][0]["reason"].as_str().unwrap();
        assert!(reason.contains("shard 2 of 4 did not reach the barrier within 10s"), "{reason}");
        assert_eq!(own["turns"].as_array().unwrap().len(), 1, "the second cell did not start");
        assert_eq!(own["turns"][0]["end"], "finished");
    }
    // The merge in the job failed and named the missing shard.
    assert!(!job.marker(2).exists() && !job.results("manifest.json").exists());
    let log = job.output();
    assert!(log.contains("shard 2 joined on") && log.contains("delivered no results"), "{log}");

    // The available results can be merged; all verdicts are INCONCLUSIVE.
    job.merge(3, "most", &["--allow-missing"]);
    let (manifest, summary) = (json(&job.scene.path("most/manifest.json")), json(&job.scene.path("most/summary.json")));
    for shards in [&manifest["shards"], &summary["shards"]] {
        assert_eq!(shards["complete"], false, "{shards:#}");
    }
    let started = &consolidated(&job.scene.path("most"))[0];
    assert!(started["validity"].starts_with("INVALID"), "{started:?}");
    let why = summary["cells"].to_string();
    assert!(why.contains("shard 2 of 4 is missing"), "{why}");
    let verdicts = rows(&job.scene.path("most/slo.csv"));
    assert!(!verdicts.is_empty() && verdicts.iter().all(|row| row["verdict"] == "INCONCLUSIVE"), "{verdicts:?}");
    let truth = job.truth();
    let most = records(&job.scene.path("most"));
    let others: Vec<Value> = [0, 1, 3].iter().flat_map(|shard| records(&job.shard(*shard))).collect();
    assert_eq!(ids(&most), ids(&others));
    assert_eq!(most.len(), others.len());
    assert!(ids(&most).iter().all(|id| truth.contains_key(id)));

    // With the local results of the failed node: its complete lines, each once.
    job.merge(3, "all", &["--with", job.shard(2).to_str().unwrap()]);
    let all = records(&job.scene.path("all"));
    assert!(all.len() >= most.len() + 20 && ids(&all).is_superset(&ids(&most)));
    assert!(ids(&all).iter().all(|id| truth.contains_key(id)));
}

#[test]
fn task_that_never_starts_is_named_and_nothing_is_sent() {
    let only_some = |scene: &Scene, script: String| {
        let path = scene.path("only_some");
        std::fs::write(&path, format!("#!/bin/bash\n[ \"$SLURM_PROCID\" = 3 ] && exit 127\nexec {PROGRAM} \"$@\"\n"))
            .unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        script.replacen(&format!("{PROGRAM} run"), &format!("{} run", path.display()), 1)
    };
    let Some(mut job) = Job::start(&["--barrier-timeout", "10s"], only_some) else { return };
    job.slurm.ended(job.id);
    assert_no_task_left(&job);
    assert_eq!(job.truth().len(), 0, "nothing was sent");
    let log = job.output();
    let decision = std::fs::read_to_string(job.results("exchange/start.json")).unwrap();
    assert!(decision.contains("shard 3 of 4 did not reach the barrier within 10s"), "{decision}");
    assert_eq!(log.matches("shard 3 of 4 did not reach the barrier within 10s").count(), 3, "{log}");
    assert_eq!(log.matches("Exited with exit code 4").count(), 3, "{log}");
    assert!(log.contains("shard 3 never joined"), "{log}");
    assert!(!job.results("manifest.json").exists());
    let is_empty =
        |shard| std::fs::metadata(job.shard(shard).join("token_data.jsonl")).map_or(0, |file| file.len()) == 0;
    assert!((0..NODES).all(is_empty), "nothing was recorded");
}

#[test]
fn cancelled_job_ends_at_once_and_ended_requests_are_recorded() {
    let Some(mut job) = Job::start(&["--test-duration", "10m"], unchanged) else { return };
    for shard in 0..NODES {
        job.wait_for_records(shard);
    }
    job.slurm.cancel(job.id, &[]);
    assert_eq!(job.slurm.ended(job.id), "CANCELLED");
    job.slurm.wait("the end of all tasks", |slurm| slurm.tasks(PROGRAM, "SLURM_JOB_ID").is_empty());
    let truth = job.truth();
    let mut recorded = BTreeSet::new();
    for shard in 0..NODES {
        let own = json(&job.shard(shard).join("manifest.json"));
        assert_eq!((&own["interrupted"], &own["turns"][0]["end"]), (&true.into(), &"interrupted".into()));
        assert!(job.marker(shard).exists(), "delivered: {}", job.output());
        let own = ids(&records(&job.shard(shard)));
        assert!(own.len() >= 20 && recorded.is_disjoint(&own));
        recorded.extend(own);
    }
    // The script continued with the merge: the result is complete and marked as interrupted.
    let merged = records(&job.results(""));
    let manifest = json(&job.results("manifest.json"));
    assert_eq!((&manifest["interrupted"], &manifest["shards"]["complete"]), (&true.into(), &true.into()));
    assert_eq!(ids(&merged), recorded);
    // Requests that were served but have no reply in the records were censored, which is recorded too.
    let censored = merged.iter().filter(|record| record["outcome"] == "censored").count();
    assert!(recorded.iter().all(|id| truth.contains_key(id)));
    assert!(truth.len() - recorded.len() <= censored, "{} {} {censored}", truth.len(), recorded.len());
}
