//! The error that ends a subcommand. Errors of a module state their own exit code and hint (see [`Explained`]); a failed
//! request is data and never becomes one of these.

use crate::cluster::{BarrierError, DetectError, StoreError};
use crate::config::Problems;
use crate::executor::SetupError;
use crate::record::dir::{DirError, DirUse};
use crate::record::merge::MergeError;
use crate::record::read::ReadError;
use crate::report::ReportError;
use crate::report::ci::Kind;
use crate::units::explained::{Explained, INCOMPLETE, INTERNAL, INTERRUPTED, USAGE};
use crate::verdict::baseline::BaselineError;

/// Why a subcommand failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Problems of the plan, the environment or the flags.
    #[error("{0}")]
    Problems(Problems),
    /// `--only` matches no cell.
    #[error("no cell matches `{patterns}`")]
    NoCell {
        patterns: String,
        /// Some of the ids, as a list.
        known: String,
    },
    /// A pattern that cannot be parsed.
    #[error("invalid --only `{pattern}`: {message}")]
    Pattern { pattern: String, message: String },
    /// The results directory cannot be used; no request was sent.
    #[error("{0}")]
    Results(DirError),
    /// `--resume` or `--rerun` without a run to continue.
    #[error("cannot resume: {} contains no run (no manifest.json)", dir.display())]
    NothingToResume { dir: std::path::PathBuf },
    /// `--resume` with a directory whose name is new in every run.
    #[error("cannot resume: results_dir contains {{started}}, so that every run has a new directory")]
    ResumeDirUnknown,
    /// `--resume` with the results of several machines.
    #[error("cannot resume: `{}` contains a run on several machines, or a part of one", dir.display())]
    ResumeShards { dir: std::path::PathBuf },
    /// The results directory holds the run of another plan.
    #[error("cannot resume the run in `{}`: the plan has changed:\n    {}", dir.display(), differences.join("\n    "))]
    PlanChanged { dir: std::path::PathBuf, differences: Vec<String> },
    /// Each connection is an open file.
    #[error("{users} users need {needed} open files; this process may open {allowed}")]
    OpenFiles {
        /// Connections, and the files of the process itself.
        needed: u64,
        /// The limit, raised as far as the system allows.
        allowed: u64,
        /// Maximum at a time.
        users: u64,
    },
    /// No cell can start within the budget; the existing results are kept.
    #[error("no cell can start, so the existing results are kept: {reason}")]
    Unaffordable { reason: String },
    /// No terminal for the confirmation prompt.
    #[error("cannot ask for confirmation: standard input is not a terminal")]
    NotConfirmed,
    /// The user declined.
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
    BaselineFile { path: std::path::PathBuf, source: std::io::Error },
    /// A file that is not a baseline.
    #[error("{}: {source}", path.display())]
    Baseline { path: std::path::PathBuf, source: BaselineError },
    /// A run that the baseline already contains.
    #[error("the run in `{}` is already session {id} of `{}`", dir.display(), path.display())]
    SessionExists { dir: std::path::PathBuf, id: String, path: std::path::PathBuf },
    /// A run without a usable cell.
    #[error("no cell of the run in `{}` can be used:\n    {}", dir.display(), first_lines(reasons).join("\n    "))]
    NothingToAdd {
        dir: std::path::PathBuf,
        /// One per cell.
        reasons: Vec<String>,
    },
    /// A session that the baseline does not contain.
    #[error("`{}` has no session `{id}`", path.display())]
    NoSession { id: String, path: std::path::PathBuf, known: Vec<String> },
    /// The same run twice.
    #[error("`{}` is run {id}, which is listed twice", dir.display())]
    SameRun { dir: std::path::PathBuf, id: String },
    /// `compare` without a baseline and without two runs.
    #[error("without --baseline, expected two runs, got {0}")]
    TwoRuns(usize),
    /// No cells in common.
    #[error("nothing to compare: no cell of {new} is also in {against}")]
    NoCommonCell { new: String, against: String },
    /// A second interrupt before all records were written.
    #[error("interrupted before the disk accepted the last {:.1} MiB of records: they are lost", *bytes as f64 / f64::from(1 << 20))]
    RecordsLost {
        dir: std::path::PathBuf,
        /// Size of the lost records.
        bytes: usize,
    },
    /// A disk error during or after the run.
    #[error("{0}")]
    Disk(#[from] DirError),
    /// The shard's index or count is not known.
    #[error("{0}")]
    Shard(DetectError),
    /// An exchange that cannot be used; no request was sent.
    #[error("{0}")]
    Exchange(StoreError),
    /// The barrier failed before anything was sent.
    #[error("{0}")]
    Barrier(BarrierError),
    /// A shard's results that could not be delivered.
    #[error("cannot deliver the results to the exchange: {source}; they are in `{}`", dir.display())]
    NotDelivered { dir: std::path::PathBuf, source: StoreError },
    /// Shards without results.
    #[error("{}", lines(missing))]
    MissingShards {
        /// One line per shard.
        missing: Vec<String>,
    },
    /// Shards of several runs.
    #[error("shards {first} and {other} belong to different runs: {difference}")]
    DifferentRuns { first: u32, other: u32, difference: String },
    /// `merge` into what it reads.
    #[error("cannot merge into `{}`: it contains results that are merged", dir.display())]
    MergeIntoInput { dir: std::path::PathBuf },
    /// A file of a shard that was changed after its delivery.
    #[error("{}: {message}", path.display())]
    Altered { path: std::path::PathBuf, message: String },
    /// Results that cannot be merged.
    #[error("{0}")]
    Merge(MergeError),
    /// Report files that could not be rendered; all others are written.
    #[error("{}", lines(.0))]
    Report(Vec<ReportError>),
    /// An invalid template; no request was sent.
    #[error("{0}")]
    Template(ReportError),
    /// Templates that cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Templates { path: std::path::PathBuf, source: std::io::Error },
    /// A directory without templates.
    #[error("`{}` contains no file with the name of a template", dir.display())]
    NoTemplates { dir: std::path::PathBuf },
    /// The address to serve on.
    #[error("cannot listen on {address}: {source}")]
    Listen { address: String, source: std::io::Error },
    /// A file named on the command line.
    #[error("cannot write {path}: {source}")]
    File { path: String, source: std::io::Error },
    /// An `--output` without a known kind or without a file.
    #[error("invalid --output `{value}`: expected KIND=FILE")]
    OutputKind { value: String },
    /// An output that could be opened but not written.
    #[error("cannot write {}: {source}", path.display())]
    Output { path: std::path::PathBuf, source: std::io::Error },
    /// The target directory of `merge` or `submit`.
    #[error("{0}")]
    TargetDir(DirError),
    /// A time limit that Slurm would not accept.
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
    UnquotableText(String),
    /// The script's path is a file that this command did not write.
    #[error("`{}` exists and is not a script of this command", .0.display())]
    ForeignScript(std::path::PathBuf),
    /// `sbatch` cannot be run.
    #[error("cannot run sbatch: {0}")]
    NoSbatch(std::io::Error),
    /// `sbatch` failed.
    #[error("sbatch refused `{}`: {message}", script.display())]
    Sbatch {
        script: std::path::PathBuf,
        /// What `sbatch` printed to stderr.
        message: String,
    },
    /// An error of the system that is not expected.
    #[error("internal error: {0}")]
    Internal(std::io::Error),
}

/// Maximum number of lines of one error.
const MAX_LINES: usize = 20;

fn lines(errors: &[impl ToString]) -> String {
    first_lines(errors).join("\nerror: ")
}

/// Returns the first texts, and the number of the remaining ones.
fn first_lines(texts: &[impl ToString]) -> Vec<String> {
    let mut shown: Vec<String> = texts.iter().take(MAX_LINES).map(ToString::to_string).collect();
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
    /// Returns the error of a module, which states its own exit code and hint.
    fn explained(&self) -> Option<&dyn Explained> {
        Some(match self {
            Self::Setup(error) => error,
            Self::Read(error) => error,
            Self::Baseline { source, .. } => source,
            Self::Shard(error) => error,
            Self::Exchange(error) => error,
            Self::Barrier(error) => error,
            Self::Merge(error) => error,
            _ => return None,
        })
    }

    /// Returns the exit code; DESIGN and the README list them.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Disk(_) | Self::Report(_) | Self::Output { .. } | Self::NotDelivered { .. } | Self::Internal(_) => {
                INTERNAL
            }
            Self::RecordsLost { .. } => INTERRUPTED,
            Self::MissingShards { .. } => INCOMPLETE,
            _ => self.explained().map_or(USAGE, Explained::exit_code),
        }
    }

    /// Returns a line that states the fix.
    pub(crate) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Results(error) => error.hint(DirUse::Results)?.into(),
            Self::TargetDir(error) => error.hint(DirUse::Target)?.into(),
            Self::Disk(error) => error.hint(DirUse::Written)?.into(),
            Self::Unaffordable { .. } => "raise the budget, or choose another --results-dir".into(),
            Self::NothingToResume { .. } => {
                "start a new run with `bedrock-plan run PLAN`, or use --resume-or-start".into()
            }
            Self::ResumeDirUnknown => "name the run's directory: --results-dir DIR".into(),
            Self::ResumeShards { .. } => {
"the shards of a run start together and cannot be resumed: run the plan again with a new exchange and another directory".into()
            }
            Self::PlanChanged { .. } => {
                "use the original plan (plan.toml in that directory), or choose another --results-dir".into()
            }
            Self::NoCell { known, .. } => format!("the cells are {known}; `bedrock-plan show` lists all"),
            Self::OpenFiles { needed, .. } => format!(
                "run `ulimit -n {needed}` first, raise the hard limit (`LimitNOFILE`, /etc/security/limits.conf), or use fewer users"
            ),
            Self::OutputKind { .. } => {
                let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.key()).collect();
                format!("KIND is one of {}", kinds.join(", "))
            }
            Self::Report(_) => "all other files are written".into(),
            Self::Template(_) | Self::NoTemplates { .. } => {
                "`bedrock-plan templates DIR` writes the built-in templates".into()
            }
            Self::NotConfirmed => "add --yes to start without a confirmation prompt".into(),
            Self::BaselineFile { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                "create one with `bedrock-plan baseline add DIR --to FILE`".into()
            }
            Self::SessionExists { id, path, .. } => {
                format!("to replace it, first run `bedrock-plan baseline remove {id} --from {}`", path.display())
            }
            Self::NoSession { known, .. } if known.is_empty() => "the baseline has no sessions".into(),
            Self::NoSession { known, .. } => format!("its sessions are {}", first_lines(known).join(", ")),
            Self::TwoRuns(_) => "name two results directories, or add --baseline FILE".into(),
            Self::NoCommonCell { .. } => {
                "two cells are compared only if every setting that affects latency is equal; the differences are listed above".into()
            }
            Self::MissingShards { .. } => {
                "add --with DIR for results that are still on a machine, or --allow-missing to merge the rest (verdicts are then INCONCLUSIVE)".into()
            }
            Self::NotDelivered { dir, .. } => {
                format!("merge them with `bedrock-plan merge URL --to DIR --with {}`", dir.display())
            }
            Self::MergeIntoInput { .. } => "choose another --to".into(),
            Self::TimeLimit(_) => "for example --time 02:30:00".into(),
            Self::SbatchOption(_) => {
                "set the number of machines with --tasks; they start together and are never requeued".into()
            }
            Self::UnquotableText(_) => "use names without control characters".into(),
            Self::ForeignScript(_) => "choose another path with --script FILE, or use --print".into(),
            Self::NoSbatch(_) => "the script is written: submit it on a machine that has Slurm's commands".into(),
            Self::RecordsLost { dir, .. } => format!("render the written records with `bedrock-plan report {}`", dir.display()),
            _ => return self.explained()?.hint(),
        })
    }
}
