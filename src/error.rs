//! One error over the rooms' errors: what is shown, with which hint, and the exit code. A failure of
//! a request is data and never comes here.

use crate::config::Problems;
use crate::exchange::{BarrierError, DetectError, StoreError};
use crate::executor::SetupError;
use crate::matrix::Shard;
use crate::record::dir::DirError;
use crate::record::merge::MergeError;
use crate::record::read::ReadError;
use crate::report::ReportError;
use crate::report::ci::Kind;
use crate::units::nearest;
use crate::verdict::baseline::BaselineError;

/// Why a subcommand cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The plan, the environment or the flags.
    #[error("{0}")]
    Problems(Problems),
    /// `--only` picks nothing.
    #[error("no cell matches `{patterns}`")]
    NoCell {
        /// What was asked for.
        patterns: String,
        /// Some that there are.
        known: String,
    },
    /// A pattern that is none.
    #[error("--only {pattern}: {message}")]
    Pattern {
        /// What was asked for.
        pattern: String,
        /// What is wrong with it.
        message: String,
    },
    /// The results directory, before anything was sent.
    #[error("{0}")]
    Results(DirError),
    /// `--resume` or `--rerun` without a run to continue.
    #[error("cannot resume: {} contains no run (no manifest.json)", dir.display())]
    NothingToResume {
        /// The directory.
        dir: std::path::PathBuf,
    },
    /// `--resume` with a directory whose name is new every time.
    #[error("every run of this plan has a directory of its own: results_dir contains {{started}}")]
    ResumeWhere,
    /// `--resume` with what several machines left.
    #[error("{} holds the run of several machines, or a part of one", dir.display())]
    ResumeShards {
        /// The directory.
        dir: std::path::PathBuf,
    },
    /// The results directory holds the run of another plan.
    #[error("{} holds the run of another plan:\n    {}", dir.display(), differences.join("\n    "))]
    OtherPlan {
        /// The directory.
        dir: std::path::PathBuf,
        /// What differs.
        differences: Vec<String>,
    },
    /// Each connection is an open file.
    #[error("{users} users need {needed} open files, and this process may open {allowed}")]
    OpenFiles {
        /// With what the process needs for itself.
        needed: u64,
        /// As far as the limit could be raised.
        allowed: u64,
        /// The most at a time.
        users: u64,
    },
    /// No cell can start within the budget, and results would be erased for that.
    #[error("nothing can start, and the results are kept: {reason}")]
    Unaffordable {
        /// Why the first cell cannot.
        reason: String,
    },
    /// No terminal to ask on.
    #[error("there is no terminal to ask on, and `--yes` was not said")]
    NotConfirmed,
    /// The answer was no.
    #[error("not started")]
    Declined,
    /// No request can be sent.
    #[error("{0}")]
    Setup(#[from] SetupError),
    /// A run directory that cannot be read.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// A baseline that cannot be read or written.
    #[error("{}: {source}", path.display())]
    BaselineFile {
        /// Which.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file that is no baseline.
    #[error("{}: {source}", path.display())]
    Baseline {
        /// Which.
        path: std::path::PathBuf,
        /// What is wrong with it.
        source: BaselineError,
    },
    /// A run that a baseline holds already.
    #[error("the run in {} is session {id} of {} already", dir.display(), path.display())]
    AlreadyThere {
        /// The run.
        dir: std::path::PathBuf,
        /// Its id.
        id: String,
        /// The baseline.
        path: std::path::PathBuf,
    },
    /// A run of which nothing can be kept.
    #[error("no cell of the run in {} can be used:\n    {}", dir.display(), bounded(reasons).join("\n    "))]
    NothingToAdd {
        /// The run.
        dir: std::path::PathBuf,
        /// Cell by cell.
        reasons: Vec<String>,
    },
    /// A session that a baseline does not hold.
    #[error("{} has no session {id}", path.display())]
    NoSession {
        /// Which.
        id: String,
        /// The baseline.
        path: std::path::PathBuf,
        /// Those that it has.
        known: Vec<String>,
    },
    /// The same run twice.
    #[error("{} is run {id}, which was named already", dir.display())]
    SameRun {
        /// The second time.
        dir: std::path::PathBuf,
        /// The run.
        id: String,
    },
    /// `compare` without a baseline and without two runs.
    #[error("without --baseline two runs are compared, not {0}")]
    TwoRuns(usize),
    /// Nothing could be compared.
    #[error("nothing to compare: no cell of {new} is also in {against}")]
    NothingInCommon {
        /// The new runs.
        new: String,
        /// The other side.
        against: String,
    },
    /// A disk that was too slow for somebody who asked twice to stop.
    #[error("interrupted before the disk took the last {:.1} MiB of records: they are lost", *bytes as f64 / f64::from(1 << 20))]
    Unrecorded {
        /// The results directory.
        dir: std::path::PathBuf,
        /// What was not written.
        bytes: usize,
    },
    /// The disk refused during or after the run.
    #[error("{0}")]
    Disk(#[from] DirError),
    /// Which shard this is.
    #[error("{0}")]
    Shard(DetectError),
    /// `--shard` without an exchange.
    #[error("`--shard {shard}` requires `--exchange`")]
    NoExchange {
        /// Which.
        shard: Shard,
    },
    /// Each task of a Slurm step would run the whole plan.
    #[error("this is one of {tasks} tasks of a Slurm step, each of which would run the whole plan")]
    TasksBeside {
        /// How many.
        tasks: u32,
    },
    /// `--barrier-timeout`.
    #[error("--barrier-timeout: {0}")]
    BarrierTimeout(String),
    /// An exchange that cannot be used, before anything was sent.
    #[error("{0}")]
    Exchange(StoreError),
    /// The barrier failed before anything was sent.
    #[error("{0}")]
    Barrier(BarrierError),
    /// A shard's results that are not in the exchange.
    #[error("the results are in {} and could not be left in the exchange: {source}", dir.display())]
    NotDelivered {
        /// Where they are.
        dir: std::path::PathBuf,
        /// Why not.
        source: StoreError,
    },
    /// Shards without results.
    #[error("{}", lines(missing))]
    Missing {
        /// What is known of each.
        missing: Vec<String>,
    },
    /// Shards of several runs.
    #[error("shards {one} and {other} are not of one run: {what}")]
    OtherShards {
        /// An index.
        one: u32,
        /// Another one.
        other: u32,
        /// What differs.
        what: String,
    },
    /// `merge` into what it reads.
    #[error("{} holds results that are to be merged: they would be overwritten", dir.display())]
    IntoItself {
        /// The directory.
        dir: std::path::PathBuf,
    },
    /// A shard's directory that somebody changed.
    #[error("{}: {message}", path.display())]
    Altered {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// Results that cannot be put together.
    #[error("{0}")]
    Merge(MergeError),
    /// Some files of a report could not be made; the others are written.
    #[error("{}", lines(.0))]
    Report(Vec<ReportError>),
    /// A template, before anything was sent.
    #[error("{0}")]
    Template(ReportError),
    /// Templates that cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Templates {
        /// The file or directory.
        path: std::path::PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A directory of templates that holds none.
    #[error("{} holds no template that there is", dir.display())]
    NoTemplates {
        /// The directory.
        dir: std::path::PathBuf,
    },
    /// The address to serve on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A file named on the command line.
    #[error("cannot write {path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// `--output` that names no kind or no file.
    #[error("--output {asked}: not KIND=FILE with a kind that there is")]
    OutputKind {
        /// What was said.
        asked: String,
    },
    /// An output that could be opened and not be written.
    #[error("cannot write {}: {source}", path.display())]
    Output {
        /// Which.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Where merged results are to go.
    #[error("{0}")]
    To(DirError),
    /// A time limit that Slurm would not understand.
    #[error("invalid --time `{0}`: expected HH:MM:SS or D-HH:MM:SS")]
    TimeLimit(String),
    /// An exchange that is not a known kind of URL.
    #[error("invalid --exchange `{0}`: expected file:///DIR or s3://BUCKET/PREFIX")]
    ExchangeUrl(String),
    /// An option of `sbatch` that the script sets itself.
    #[error("invalid sbatch option `{0}`: the script sets it")]
    SbatchOption(String),
    /// A text that cannot be quoted for a shell.
    #[error("`{}` cannot be part of a job script", .0.escape_debug())]
    NotForScripts(String),
    /// The script's path is a file that this command did not write.
    #[error("`{}` exists and is not a script of this command", .0.display())]
    NotOurScript(std::path::PathBuf),
    /// `sbatch` cannot be run.
    #[error("cannot run sbatch: {0}")]
    NoSbatch(std::io::Error),
    /// `sbatch` failed.
    #[error("sbatch refused `{}`: {message}", script.display())]
    Sbatch {
        /// The submitted script.
        script: std::path::PathBuf,
        /// What `sbatch` printed to stderr.
        message: String,
    },
    /// The system refused something that it never refuses.
    #[error("internal error: {0}")]
    Internal(std::io::Error),
}

/// The most lines of one error.
const MOST_LINES: usize = 20;

fn lines(errors: &[impl ToString]) -> String {
    bounded(errors).join("\nerror: ")
}

/// The first texts, and how many there are beside them.
fn bounded(texts: &[impl ToString]) -> Vec<String> {
    let mut shown: Vec<String> = texts.iter().take(MOST_LINES).map(ToString::to_string).collect();
    let left_out = texts.len() - shown.len();
    if left_out > 0 {
        shown.push(format!("... and {left_out} more"));
    }
    shown
}

impl From<Problems> for Error {
    fn from(problems: Problems) -> Self {
        Self::Problems(problems)
    }
}

impl Error {
    /// See the README's table.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Disk(_) | Self::Report(_) | Self::Output { .. } | Self::NotDelivered { .. } | Self::Internal(_) => 1,
            Self::Unrecorded { .. } => 130,
            Self::Missing { .. } => 3,
            Self::Setup(
                SetupError::UntrustedEndpoint(_) | SetupError::SessionTokenOverHttp(_) | SetupError::CaBundle(_),
            ) => 2,
            Self::Setup(_) | Self::Exchange(_) | Self::Barrier(_) => 4,
            _ => 2,
        }
    }

    /// What to do next.
    #[allow(clippy::too_many_lines)] // one row per error
    pub(crate) fn hint(&self) -> Option<String> {
        let simulated = "`--simulated` needs neither an account nor a network";
        Some(match self {
            Self::Results(DirError::Occupied { .. }) => {
                "choose another --results-dir (it may contain {name} and {started}), or say --overwrite to replace what this tool wrote there".into()
            }
            Self::Results(DirError::Locked { .. }) => "wait for that run to end, or choose another --results-dir".into(),
            Self::Results(DirError::Foreign { .. }) | Self::To(DirError::Foreign { .. }) => {
                "move or rename them, or choose another directory; --overwrite replaces only what bedrock-plan wrote".into()
            }
            Self::Disk(DirError::Foreign { .. }) => {
                "the records are kept: move or rename these files, then `bedrock-plan report DIR` writes the report".into()
            }
            Self::Unaffordable { .. } => "raise the budget, or choose another --results-dir".into(),
            Self::NothingToResume { .. } => {
                "`bedrock-plan run PLAN` starts a new run; --resume-or-start resumes a run if there is one and starts one otherwise".into()
            }
            Self::ResumeWhere => "name the run's directory: --results-dir DIR".into(),
            Self::ResumeShards { .. } => {
"the shards of a run start together and cannot be resumed: run the plan again with a new exchange and another directory".into()
            }
            Self::OtherPlan { .. } => {
                "only the same cells can be gone on with: undo the change, or choose another --results-dir".into()
            }
            Self::NoCell { known, .. } => format!("there are {known}; `bedrock-plan show` lists them all"),
            Self::OpenFiles { needed, .. } => format!(
                "`ulimit -n {needed}` before the run, a larger hard limit (`LimitNOFILE`, /etc/security/limits.conf), or fewer users"
            ),
            Self::OutputKind { .. } => {
                let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.key()).collect();
                format!("kinds are {}: --output junit=FILE", kinds.join(", "))
            }
            Self::Report(_) => "everything else is written".into(),
            Self::Template(_) | Self::NoTemplates { .. } => {
                "`bedrock-plan templates DIR` writes the built-in ones, which work".into()
            }
            Self::NotConfirmed => "say --yes to start without being asked".into(),
            Self::Setup(SetupError::NoRegion) => {
                format!("set AWS_REGION, --region, or the profile's region; {simulated}")
            }
            Self::Setup(SetupError::NoCredentials(_)) => format!(
                "set AWS_PROFILE (with `aws sso login`), AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_BEARER_TOKEN_BEDROCK; -v prints what the AWS SDK reports; {simulated}"
            ),
            Self::Setup(SetupError::UnknownProfile { name, known, .. }) => {
                let near = nearest(name, known.iter().map(String::as_str));
                let near = near.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
                format!("{near}AWS_PROFILE, --profile or `profile` in [target] selects the profile; {simulated}")
            }
            Self::Setup(SetupError::Unreachable { .. }) => {
                "check the endpoint, the network and the proxy, or choose another --results-dir to run all the same".into()
            }
            Self::Setup(SetupError::CaBundle(error)) => {
                format!("name a PEM file with the certificates to trust, or unset {}", error.name)
            }
            Self::Setup(SetupError::UntrustedEndpoint(url)) => {
                format!("pass `--endpoint-url {url}` if you trust this host with your credentials; {simulated}")
            }
            Self::Setup(SetupError::SessionTokenOverHttp(url)) => format!(
                "use https, or pass `--allow-http` if you trust the network between this machine and `{}`", url.host()
            ),
            Self::Read(ReadError::NotARun { .. } | ReadError::Io { .. }) => {
                "a results directory holds manifest.json and token_data.jsonl".into()
            }
            Self::Read(ReadError::Newer { tool_version, .. }) => {
                format!("bedrock-plan {tool_version} wrote it: that version, or a later one, reads it")
            }
            Self::BaselineFile { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                "`bedrock-plan baseline add DIR --to FILE` makes one".into()
            }
            Self::Baseline { source: BaselineError::Newer(_), .. } => "update bedrock-plan".into(),
            Self::Baseline { .. } => {
                "take it out of version control again, or make it anew: `bedrock-plan baseline add DIR --to FILE`".into()
            }
            Self::AlreadyThere { id, path, .. } => {
                format!("`bedrock-plan baseline remove {id} --from {}` takes it out first", path.display())
            }
            Self::NoSession { known, .. } if known.is_empty() => "it has none".into(),
            Self::NoSession { known, .. } => format!("it has {}", bounded(known).join(", ")),
            Self::TwoRuns(_) => "name two runs, or a baseline: --baseline FILE".into(),
            Self::NothingInCommon { .. } => {
                "two cells are compared only if every setting that affects latency is equal; the differences are listed above".into()
            }
            Self::Shard(DetectError::BatchScript(_)) => "start it with `srun`, as the script of `bedrock-plan submit` does".into(),
            Self::Shard(DetectError::CountNotSet(_)) => {
                "set BEDROCK_PLAN_SHARDS to the number of completions, or pass --shard INDEX/COUNT".into()
            }
            Self::Shard(DetectError::NotSet) => "pass --shard INDEX/COUNT, for example 0/8 to 7/8".into(),
            Self::NoExchange { .. } => {
                "pass --exchange file:///shared/dir or s3://bucket/prefix, which all machines can reach".into()
            }
            Self::TasksBeside { .. } => {
                "--exchange URL makes them shards of one run; --shard 0/1 runs the whole plan in each task".into()
            }
            Self::Barrier(BarrierError::Used { .. }) => "each run needs its own exchange: name a new one".into(),
            Self::Barrier(BarrierError::Aborted(_)) => "nothing was sent; start again with a new exchange".into(),
            Self::Missing { .. } => {
                "--with DIR takes in what a shard has on its own machine; --allow-missing merges the rest, INCONCLUSIVE".into()
            }
            Self::NotDelivered { dir, .. } => {
                format!("`bedrock-plan merge URL --to DIR --with {}` takes them from there", dir.display())
            }
            Self::IntoItself { .. } | Self::To(DirError::Occupied { .. }) => "choose another --to".into(),
            Self::TimeLimit(_) => "for example --time 02:30:00".into(),
            Self::SbatchOption(_) => {
                "set the number of machines with --tasks; they start together and are never requeued".into()
            }
            Self::NotForScripts(_) => "use names without control characters".into(),
            Self::NotOurScript(_) => "choose another path with --script FILE, or use --print".into(),
            Self::NoSbatch(_) => "the script is written: submit it on a machine that has Slurm's commands".into(),
            Self::Unrecorded { dir, .. } => format!("`bedrock-plan report {}` renders what is written", dir.display()),
            Self::Disk(DirError::Removed { .. }) => {
                "the run was stopped, since nothing could be recorded: run it again, and leave its directory in place".into()
            }
            Self::Disk(DirError::Io { .. }) => "what was recorded is kept; `bedrock-plan report DIR` renders it once there is room".into(),
            _ => return None,
        })
    }
}
