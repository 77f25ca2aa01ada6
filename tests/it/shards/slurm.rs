//! A plan under a real Slurm of four nodes, with the script that `submit` writes: what the machines sent, against
//! what the simulator saw; and how it ends where a node dies, a task never starts, and the job is cancelled. What
//! was written decides, since Slurm's exit codes do not tell.

use super::cluster::{NODES, Slurm};
use crate::run::scene::{Scene, Simulate};
use crate::run::stalls::{met, stalls};
use bedrock_plan::simulator::Truth;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Output;

const PROGRAM: &str = env!("CARGO_BIN_EXE_bedrock-plan");

/// Closed and open loops, a mix whose draws tell users apart, and a threshold.
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

/// A cluster, a simulator, and a job of `submit`'s in a directory of its own.
struct Job {
    slurm: Slurm,
    scene: Scene,
    server: Option<Simulate>,
    id: u32,
}

impl Job {
    /// Hands in what `submit` prints, as `change` makes it; nothing where Slurm is not installed.
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

    fn place(&self, name: &str) -> PathBuf {
        self.scene.path(&format!("test_results/job_{}", self.id)).join(name)
    }

    fn shard(&self, index: u32) -> PathBuf {
        self.place(&format!("shard_{index}_of_{NODES}"))
    }

    fn mark(&self, index: u32) -> PathBuf {
        self.place(&format!("exchange/shards/{index}/shard.json"))
    }

    /// Waits until a machine has recorded something.
    fn wait_for_records(&self, shard: u32) {
        let journal = self.shard(shard).join("token_data.jsonl");
        let lines = || std::fs::read_to_string(&journal).map_or(0, |text| text.lines().count());
        self.slurm.wait("twenty records", |_| lines() >= 20);
    }

    /// What the script and its tasks said.
    fn said(&self) -> String {
        std::fs::read_to_string(self.scene.path(&format!("slurm-{}.out", self.id))).unwrap()
    }

    /// Ends the simulator. Returns the requests that it answered, by id.
    fn truth(&mut self) -> BTreeMap<String, Truth> {
        self.server.take().unwrap().stop();
        let text = std::fs::read_to_string(self.scene.path("truth.csv")).unwrap();
        text.lines().filter_map(Truth::parse).map(|truth| (truth.request_id.clone(), truth)).collect()
    }

    /// `merge` by hand.
    fn merge(&self, code: i32, to: &str, more: &[&str]) -> Output {
        let url = format!("file://{}", self.place("exchange").display());
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

/// The ids of the requests that came back; each is there once.
fn ids(records: &[Value]) -> BTreeSet<String> {
    let all: Vec<String> =
        records.iter().filter_map(|record| record["request_id"].as_str()).map(str::to_owned).collect();
    let each: BTreeSet<String> = all.iter().cloned().collect();
    assert_eq!(all.len(), each.len(), "nothing is counted twice");
    each
}

fn is_load(record: &Value) -> bool {
    !matches!(record["phase"].as_str(), Some("preflight" | "priming"))
}

/// The prompt of each request, by cell and number.
fn prompts(records: &[Value]) -> BTreeMap<(&str, u64), &str> {
    let mut prompts = BTreeMap::new();
    for record in records.iter().filter(|record| is_load(record)) {
        let number = (record["test_id"].as_str().unwrap(), record["seq"].as_u64().unwrap());
        prompts.insert(number, record["prompt"].as_str().unwrap());
    }
    prompts
}

/// How long each user of the closed loop thought after each request, milliseconds, as far as the records show it.
fn thoughts(records: &[Value]) -> BTreeMap<u64, Vec<f64>> {
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

/// How far the thoughts of each user are from those of the user so many places on, all together, milliseconds a thought.
fn distance(one: &BTreeMap<u64, Vec<f64>>, other: &BTreeMap<u64, Vec<f64>>, places: usize) -> f64 {
    let mut all = Vec::new();
    for (a, b) in one.values().zip(other.values().cycle().skip(places)) {
        all.extend(a.iter().zip(b).map(|(a, b)| (a - b).abs()));
    }
    all.iter().sum::<f64>() / all.len() as f64
}

/// The numbers of an open loop's starts.
fn arrivals(records: &[Value]) -> BTreeSet<u64> {
    records.iter().filter(|record| record["due_ms"].is_f64()).map(|record| record["seq"].as_u64().unwrap()).collect()
}

/// Nearest rank.
fn percentile(values: &mut [f64], p: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() as f64 * p - 1e-9).ceil() as usize - 1]
}

fn unchanged(_: &Scene, script: String) -> String {
    script
}

/// A job of this script, which has ended.
fn script(slurm: &Slurm, scene: &Scene, text: &str) -> u32 {
    std::fs::write(scene.path("job.sh"), format!("#!/bin/bash\n{text}")).unwrap();
    let job = slurm.submit(&scene.path(""), "job.sh");
    slurm.ended(job);
    job
}

#[test]
fn steps_and_arrays_tell_which_machine_it_is_and_whatever_else_has_tasks_is_refused() {
    let Some(slurm) = Slurm::start() else { return };
    let scene = Scene::new().plan(&PLAN.replace("\"http://127.0.0.1:9\"", "\"simulated\""));
    let run = format!("{PROGRAM} run plan.toml --yes --quiet --user-counts 4 --test-duration 1s");
    let exchange = |name: &str| format!("--exchange file://{}", scene.path(name).display());

    // Tasks on nodes of their own; but the batch script is none of them, and tasks that do not meet are no run.
    let gang = format!(
        "#SBATCH --ntasks=4 --ntasks-per-node=1
srun bash -c 'echo $SLURMD_NODENAME $SLURM_STEP_ID $SLURM_NTASKS > told.$SLURM_PROCID'
{run} {}
srun {run} --results-dir each
",
        exchange("of_script")
    );
    let job = script(&slurm, &scene, &gang);
    let told = (0..NODES).map(|task| std::fs::read_to_string(scene.path(&format!("told.{task}"))).unwrap());
    assert_eq!(told.collect::<BTreeSet<_>>(), (1..=NODES).map(|node| format!("n{node} 0 4\n")).collect());
    let said = std::fs::read_to_string(scene.path(&format!("slurm-{job}.out"))).unwrap();
    assert!(said.contains("SLURM_NTASKS is 4, but this is the batch script itself"), "{said}");
    assert_eq!(said.matches("this is one of 4 tasks of a Slurm step").count(), 4, "{said}");
    assert!(!scene.path("of_script").exists() && !scene.path("each").exists() && !scene.path("test_results").exists());

    // An array of as many jobs, which Slurm starts one by one.
    script(&slurm, &scene, &format!("#SBATCH --array=0-3 --ntasks=1\n{run} {}\n", exchange("of_array")));
    for shard in 0..NODES {
        let mark = json(&scene.path(&format!("of_array/shards/{shard}/shard.json")));
        assert_eq!((&mark["index"], &mark["count"]), (&shard.into(), &NODES.into()));
        let own = records(&scene.path(&format!("test_results/shard_{shard}_of_4")));
        assert!(!own.is_empty() && own.iter().all(|record| record["seq"].as_u64().unwrap() % 4 == u64::from(shard)));
    }

    // One that does not count from 0 has no shard 0.
    script(&slurm, &scene, &format!("#SBATCH --array=1-2 --output=array.%a\n{run} {}\n", exchange("of_two")));
    for index in 1..=2 {
        let said = std::fs::read_to_string(scene.path(&format!("array.{index}"))).unwrap();
        assert!(said.contains("a Slurm array of 2, from 1 to 2: a run needs --array=0-1"), "{said}");
    }
    assert!(!scene.path("of_two").exists());
}

#[test]
fn four_tasks_do_together_what_one_does_alone_and_each_request_is_counted_once() {
    let comment = r#"it's $HOME, "x" \ # 1"#;
    let more = ["--include-ramp", "--", &format!("--comment={comment}"), "-J", "four"];
    let Some(mut job) = Job::start(&more, unchanged) else { return };
    let state = job.slurm.ended(job.id);
    let known = text(&job.slurm.command("scontrol", &["show", "job", &job.id.to_string()]).output().unwrap().stdout);
    assert!(known.contains(&format!("Comment={comment}")) && known.contains("JobName=four"), "{known}");
    let whole = job.place("");
    assert!(whole.join("manifest.json").exists(), "{state}: {}", job.said());
    let merged = records(&whole);

    // What an unsharded run of the same seed does, against the same simulator.
    let manifest = json(&whole.join("manifest.json"));
    let seed = manifest["seed"].as_u64().unwrap().to_string();
    let url = job.server.as_ref().unwrap().url.clone();
    let mut alone = vec!["run", "plan.toml", "--yes", "--no-report", "--endpoint-url", &url];
    alone.extend(["--seed", &seed, "--results-dir", "alone"]);
    job.scene.expect(0, job.scene.command(&alone));
    let alone = records(&job.scene.path("alone"));

    // Requests: the simulator's, one by one.
    let truth = job.truth();
    let (together, apart) = (ids(&merged), ids(&alone));
    assert!(together.is_disjoint(&apart) && together.len() == merged.len());
    assert_eq!(together.len() + apart.len(), truth.len());
    assert!(together.union(&apart).all(|id| truth.contains_key(id)));
    let row_sum: usize = consolidated(&whole).iter().map(|row| row["total_requests"].parse::<usize>().unwrap()).sum();
    assert_eq!(row_sum, merged.iter().filter(|record| is_load(record)).count());
    assert_eq!(merged.iter().filter(|record| !is_load(record)).count(), 1, "one machine asks for all");

    // Users and seeds: those of the unsharded run, each thinking as long, and asking the same.
    for shard in 0..NODES {
        let own = json(&job.shard(shard).join("manifest.json"));
        assert_eq!((own["seed"].to_string(), &own["run_id"]), (seed.clone(), &manifest["run_id"]), "shard {shard}");
        assert!(
            records(&job.shard(shard)).iter().filter(|record| is_load(record)).all(|record| record["shard"] == shard)
        );
    }
    let (thought, alone_thought) = (thoughts(&merged), thoughts(&alone));
    assert_eq!(thought.keys().copied().collect::<Vec<_>>(), (0..10).collect::<Vec<_>>(), "every user is somewhere");
    assert!(thought.keys().eq(alone_thought.keys()));
    let (same, others) = (distance(&thought, &alone_thought, 0), distance(&thought, &alone_thought, 1));
    assert!(same * 2.0 < others, "a user thinks as long wherever it is: {same} ms apart, others {others} ms");
    let (asked, alone_asked) = (prompts(&merged), prompts(&alone));
    let both = asked.iter().filter(|(number, _)| alone_asked.contains_key(*number)).count();
    assert!(both > 150 && asked.iter().all(|(number, prompt)| alone_asked.get(number).is_none_or(|own| own == prompt)));
    assert_eq!(arrivals(&merged), (0..100).collect(), "each start is somebody's, and nobody else's");
    assert_eq!(arrivals(&merged), arrivals(&alone));

    // Percentiles: over all records, whoever sent them, but for those that a machine that stood still delayed.
    let summary = json(&whole.join("summary.json"));
    let manifest = json(&whole.join("manifest.json"));
    let is_stalled = |record: &Value| {
        let turns = manifest["turns"].as_array().unwrap().iter();
        let of_cell =
            turns.filter(|turn| turn["test_id"] == record["test_id"] && turn["repetition"] == record["repetition"]);
        let mut parts = of_cell.flat_map(|turn| turn["parts"].as_array().unwrap());
        parts.any(|part| part["shard"] == record["shard"] && met(record, &stalls(part)))
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

/// All that is left of the job on this machine is what it wrote.
fn nothing_runs(job: &Job) {
    let left = job.slurm.tasks(PROGRAM, "SLURM_PROCID");
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_node_that_dies_is_missed_and_what_the_others_did_is_kept() {
    let Some(mut job) = Job::start(&["--barrier-timeout", "10s", "--test-duration", "4s"], unchanged) else { return };
    job.wait_for_records(2);
    job.slurm.kill_node_of(PROGRAM, 2);
    job.slurm.ended(job.id);
    nothing_runs(&job);

    // The others ended in a named state, and left all that they had.
    for shard in [0, 1, 3] {
        assert!(job.mark(shard).exists(), "{}", job.said());
        let own = json(&job.shard(shard).join("manifest.json"));
        let reason = own["shards"]["parts"][0]["reason"].as_str().unwrap();
        assert!(reason.contains("shard 2 of 4 did not come within 10s"), "{reason}");
        assert_eq!(own["turns"].as_array().unwrap().len(), 1, "the second cell did not begin");
        assert_eq!(own["turns"][0]["end"], "finished");
    }
    // The job's own merge refused, and said whom it misses.
    assert!(!job.mark(2).exists() && !job.place("manifest.json").exists());
    let said = job.said();
    assert!(said.contains("shard 2 came") && said.contains("left no results"), "{said}");

    // What there is can be merged, and nothing can be concluded from it.
    job.merge(3, "most", &["--allow-missing"]);
    let (manifest, summary) = (json(&job.scene.path("most/manifest.json")), json(&job.scene.path("most/summary.json")));
    for shards in [&manifest["shards"], &summary["shards"]] {
        assert_eq!(shards["complete"], false, "{shards:#}");
    }
    let began = &consolidated(&job.scene.path("most"))[0];
    assert!(began["validity"].starts_with("INVALID"), "{began:?}");
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

    // With what the dead node had written until then: whole lines of its own, each once.
    job.merge(3, "all", &["--with", job.shard(2).to_str().unwrap()]);
    let all = records(&job.scene.path("all"));
    assert!(all.len() >= most.len() + 20 && ids(&all).is_superset(&ids(&most)));
    assert!(ids(&all).iter().all(|id| truth.contains_key(id)));
}

#[test]
fn where_a_task_never_starts_nothing_is_sent_and_it_is_named() {
    let only_some = |scene: &Scene, script: String| {
        let path = scene.path("only_some");
        std::fs::write(&path, format!("#!/bin/bash\n[ \"$SLURM_PROCID\" = 3 ] && exit 127\nexec {PROGRAM} \"$@\"\n"))
            .unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        script.replacen(&format!("{PROGRAM} run"), &format!("{} run", path.display()), 1)
    };
    let Some(mut job) = Job::start(&["--barrier-timeout", "10s"], only_some) else { return };
    job.slurm.ended(job.id);
    nothing_runs(&job);
    assert_eq!(job.truth().len(), 0, "nothing was sent");
    let said = job.said();
    let decided = std::fs::read_to_string(job.place("exchange/start.json")).unwrap();
    assert!(decided.contains("shard 3 of 4 did not come within 10s"), "{decided}");
    assert_eq!(said.matches("shard 3 of 4 did not come within 10s").count(), 3, "{said}");
    assert_eq!(said.matches("Exited with exit code 4").count(), 3, "{said}");
    assert!(said.contains("shard 3 never came"), "{said}");
    assert!(!job.place("manifest.json").exists());
    let is_empty =
        |shard| std::fs::metadata(job.shard(shard).join("token_data.jsonl")).map_or(0, |file| file.len()) == 0;
    assert!((0..NODES).all(is_empty), "nothing was recorded");
}

#[test]
fn a_cancelled_job_ends_at_once_and_what_had_ended_is_recorded() {
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
        assert!(job.mark(shard).exists(), "handed over: {}", job.said());
        let own = ids(&records(&job.shard(shard)));
        assert!(own.len() >= 20 && recorded.is_disjoint(&own));
        recorded.extend(own);
    }
    // The job's script went on to the merge: what is there is whole, and says that it was cut short.
    let merged = records(&job.place(""));
    let manifest = json(&job.place("manifest.json"));
    assert_eq!((&manifest["interrupted"], &manifest["shards"]["complete"]), (&true.into(), &true.into()));
    assert_eq!(ids(&merged), recorded);
    // Who was answered and is not in it was given up, and that is recorded too.
    let censored = merged.iter().filter(|record| record["outcome"] == "censored").count();
    assert!(recorded.iter().all(|id| truth.contains_key(id)));
    assert!(truth.len() - recorded.len() <= censored, "{} {} {censored}", truth.len(), recorded.len());
}
