//! A Slurm cluster for a test: one controller and four nodes on this machine, in a scratch directory and on free ports. All
//! processes started here are ended with it, each by its id.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Number of nodes.
pub(super) const NODES: u32 = 4;

/// Hang guard.
const PATIENCE: Duration = Duration::from_secs(120);

/// Only one cluster runs at a time.
static ONE: Mutex<()> = Mutex::new(());

/// Variable in the environment of a node's daemon and of its step processes, but not of tasks.
const NODE: &str = "TEST_SLURM_NODE";

/// A running cluster.
pub(super) struct Slurm {
    dir: tempfile::TempDir,
    daemons: Vec<Child>,
    _one: MutexGuard<'static, ()>,
}

impl Slurm {
    /// Starts the cluster and waits until all nodes are idle; returns `None` if Slurm is not installed.
    #[allow(clippy::print_stderr)]
    pub(super) fn start() -> Option<Self> {
        for program in ["slurmctld", "slurmd", "srun", "sbatch", "scancel", "scontrol", "sinfo"] {
            if Command::new(program).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
                eprintln!("skipped: {program} is not installed");
                return None;
            }
        }
        // The daemons start processes as any user.
        if output(Command::new("id").arg("-u")).trim() != "0" {
            eprintln!("skipped: slurmd must be started by root");
            return None;
        }
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut slurm = Self { dir: tempfile::tempdir().unwrap(), daemons: Vec::new(), _one: one };
        std::fs::create_dir(slurm.dir.path().join("state")).unwrap();
        std::fs::create_dir(slurm.dir.path().join("spool")).unwrap();
        std::fs::write(slurm.conf(), configuration(slurm.dir.path())).unwrap();
        slurm.daemon("slurmctld", "ctld", &[]);
        for node in 1..=NODES {
            let name = format!("n{node}");
            slurm.daemon("slurmd", &name, &["-N", &name]);
        }
        let idle = |slurm: &Self| slurm.query("sinfo", &["-h", "-t", "idle", "-o", "%D"]).trim() == NODES.to_string();
        slurm.wait("four idle nodes", idle);
        Some(slurm)
    }

    fn conf(&self) -> PathBuf {
        self.dir.path().join("slurm.conf")
    }

    fn daemon(&mut self, program: &str, name: &str, more: &[&str]) {
        let log = std::fs::File::create(self.dir.path().join(format!("{name}.out"))).unwrap();
        let daemon = Command::new(program)
            .args(["-D", "-f"])
            .arg(self.conf())
            .args(more)
            .env("SLURM_CONF", self.conf())
            .env(NODE, name)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.daemons.push(daemon);
    }

    /// Returns one of Slurm's commands with a timeout.
    pub(super) fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["-k", "2", "60", program]).args(arguments).env("SLURM_CONF", self.conf()).stdin(Stdio::null());
        command
    }

    /// Returns the output of one of Slurm's commands; empty if it fails.
    fn query(&self, program: &str, arguments: &[&str]) -> String {
        output(&mut self.command(program, arguments))
    }

    /// Submits a script from a directory with a clean environment. Returns the job id.
    pub(super) fn submit(&self, dir: &Path, script: &str) -> u32 {
        let mut sbatch = self.command("sbatch", &["--parsable", script]);
        sbatch.current_dir(dir).env_clear().env("SLURM_CONF", self.conf());
        sbatch.env("PATH", std::env::var("PATH").unwrap()).env("HOME", dir).env("AWS_EC2_METADATA_DISABLED", "true");
        let Output { status, stdout, stderr } = sbatch.output().unwrap();
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap().trim().parse().unwrap()
    }

    /// Waits until a job, or each job of an array, has ended. Returns the state.
    pub(super) fn ended(&self, job: u32) -> String {
        let states = || {
            let output = self.query("scontrol", &["-o", "show", "job", &job.to_string()]);
            let states = output.split_whitespace().filter_map(|word| word.strip_prefix("JobState=").map(str::to_owned));
            states.collect::<Vec<_>>()
        };
        let is_over = |state: &String| !["PENDING", "CONFIGURING", "RUNNING", "COMPLETING"].contains(&&**state);
        self.wait("the job's end", |_| {
            let states = states();
            !states.is_empty() && states.iter().all(is_over)
        });
        states().swap_remove(0)
    }

    /// Runs `scancel`.
    pub(super) fn cancel(&self, job: u32, more: &[&str]) {
        let job = job.to_string();
        let mut arguments = vec![job.as_str()];
        arguments.extend(more);
        assert!(self.command("scancel", &arguments).status().unwrap().success());
    }

    /// Returns the tasks of this cluster that run a program, with the value of a variable.
    pub(super) fn tasks(&self, program: &str, variable: &str) -> Vec<(u32, String)> {
        let of = |process: &Process| process.runs(program).then(|| process.variable(variable)).flatten();
        self.processes().iter().filter_map(|process| Some((process.id, of(process)?))).collect()
    }

    /// Kills the node that runs a task: its daemon, its step processes and its tasks, at once.
    pub(super) fn kill_node_of(&self, program: &str, task: u32) {
        let task = task.to_string();
        let all = self.processes();
        let is_task = |process: &&Process| {
            process.runs(program) && process.variable("SLURM_PROCID").as_deref() == Some(task.as_str())
        };
        let node = all.iter().find(is_task).and_then(|process| process.variable("SLURMD_NODENAME")).unwrap();
        // Tasks have Slurm's own variable with the node name; the batch script, its merge and `srun` run on the first node.
        let on_node = |process: &&Process| {
            process.variable(NODE).is_some_and(|name| name == node)
                || process.runs(program) && process.variable("SLURMD_NODENAME").is_some_and(|name| name == node)
        };
        let ids: Vec<u32> = all.iter().filter(on_node).map(|process| process.id).collect();
        assert!(ids.len() >= 3, "a daemon, a step and a task: {ids:?}");
        kill(&ids);
    }

    /// Waits for a condition, checked ten times per second to save CPU time. Fails after the hang guard.
    pub(super) fn wait(&self, condition: &str, mut is_ready: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !is_ready(self) {
            assert!(start.elapsed() < PATIENCE, "timed out waiting for {condition}:\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn logs(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
        format!("{}\n{}", self.query("scontrol", &["show", "job"]), read("ctld.out"))
    }

    /// Returns all processes with this cluster in their environment.
    fn processes(&self) -> Vec<Process> {
        let mine = format!("SLURM_CONF={}", self.conf().display()).into_bytes();
        let read = |entry: std::fs::DirEntry| {
            let id: u32 = entry.file_name().to_str()?.parse().ok()?;
            let environment = std::fs::read(entry.path().join("environ")).ok()?;
            environment.split(|byte| *byte == 0).any(|variable| variable == mine).then_some(())?;
            let program = std::fs::read_link(entry.path().join("exe")).ok()?;
            Some(Process { id, program, environment })
        };
        std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).filter_map(read).collect()
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        // A daemon may still be starting processes: repeat until none is left.
        for _ in 0..50 {
            let left: Vec<u32> = self.processes().iter().map(|process| process.id).collect();
            for daemon in &mut self.daemons {
                let _ = daemon.kill();
                let _ = daemon.wait();
            }
            if left.is_empty() {
                break;
            }
            kill(&left);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

struct Process {
    id: u32,
    program: PathBuf,
    environment: Vec<u8>,
}

impl Process {
    fn runs(&self, program: &str) -> bool {
        self.program == Path::new(program)
    }

    fn variable(&self, name: &str) -> Option<String> {
        let entries = self.environment.split(|byte| *byte == 0).filter_map(|entry| std::str::from_utf8(entry).ok());
        entries.filter_map(|entry| entry.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value.into())
    }
}

/// Kills processes with SIGKILL.
fn kill(ids: &[u32]) {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let _ = Command::new("kill").arg("-KILL").args(ids).stderr(Stdio::null()).status();
}

fn output(command: &mut Command) -> String {
    let output = command.stderr(Stdio::null()).output().unwrap();
    if output.status.success() { String::from_utf8_lossy(&output.stdout).into_owned() } else { String::new() }
}

/// Returns unused ports below the ephemeral range, so that no connection takes them.
fn free_ports(count: usize) -> Vec<u16> {
    let first = 17_000 + (std::process::id() % 1_000) as u16 * 10;
    (first..).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).take(count).collect()
}

/// Returns the configuration: as root, without munge, systemd, cgroups or accounting.
fn configuration(dir: &Path) -> String {
    let (dir, ports) = (dir.display(), free_ports(1 + NODES as usize));
    let host = output(Command::new("uname").arg("-n"));
    let host = host.trim().split('.').next().unwrap();
    let mut text = format!(
        "ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={}
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
CryptoType=crypto/none
MpiDefault=none
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_min_interval=50000,batch_sched_delay=0
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=5
InactiveLimit=0
KillWait=20
MinJobAge=300
SlurmctldPidFile={dir}/ctld.pid
SlurmdPidFile={dir}/%n.pid
StateSaveLocation={dir}/state
SlurmdSpoolDir={dir}/spool/%n
SlurmctldLogFile={dir}/ctld.log
SlurmdLogFile={dir}/%n.log
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
",
        ports[0]
    );
    for (node, port) in (1..).zip(&ports[1..]) {
        // One core per node: a node with more cores than the machine is refused.
        text += &format!("NodeName=n{node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 State=UNKNOWN\n");
    }
    text
}
