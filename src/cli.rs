//! The command line (clap). The flags of settings come from `config::settings`; what their values
//! mean is decided there, so that a wrong one is reported with all other problems.

use crate::config::MAX_CELLS;
use crate::config::settings::{Kind, SETTINGS};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Declarative load tests for the Amazon Bedrock Converse API.
#[derive(Debug, Parser)]
#[command(
    name = "bedrock-plan",
    version,
    about,
    max_term_width = 110,
    subcommand_required = true,
    arg_required_else_help = true,
    // Of a flag that is given twice the last holds, as in a shell alias that is extended.
    args_override_self = true
)]
pub(crate) struct Cli {
    /// Log to stderr what is sent where; twice for more. `RUST_LOG` says it in detail.
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// Show no progress, and not what is about to be run; results, warnings and errors are said.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Colours; auto is where there is a terminal and `NO_COLOR` is not set.
    #[arg(long, value_name = "auto|always|never", value_enum, global = true, default_value_t = ColorWhen::Auto, hide_possible_values = true, hide_default_value = true)]
    pub(crate) color: ColorWhen,
    #[command(subcommand)]
    pub(crate) command: Subcommands,
}

/// When colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorWhen {
    /// Where there is a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Subcommands {
    /// Run a plan and report on it.
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Show what a plan would run and where each value comes from. Sends nothing.
    Show(ShowArgs),
    /// Render every file again from the records of a run. Sends nothing.
    Report(ReportArgs),
    /// Put together what the machines of a run left in their exchange, and report on it. Sends nothing.
    Merge(MergeArgs),
    /// Keep what runs measured, to hold later ones against it. Sends nothing.
    Baseline(BaselineArgs),
    /// Hold new runs against a baseline, or one run beside another. Sends nothing.
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(CompareArgs),
    /// Find out how far this machine's numbers are from the truth, at the peak load of a plan.
    Calibrate(CalibrateArgs),
    /// Print the JSON Schema of a plan, for editors that complete and check.
    Schema(SchemaArgs),
    /// Write the built-in templates of the reports into a directory, to change them: `--templates` takes it.
    Templates(TemplatesArgs),
    /// Write the Slurm job script that runs a plan on several machines. Sends nothing.
    #[command(after_help = SUBMIT_EXAMPLES)]
    Submit(SubmitArgs),
    /// Serve a simulated Bedrock runtime on a loopback address.
    Simulate(SimulateArgs),
}

const RUN_EXAMPLES: &str = "Examples:
  bedrock-plan run plans/quickstart.toml --yes            a minute on a simulated Bedrock, no account needed
  bedrock-plan run plans/nova.toml                        one model, three tiers, on AWS
  bedrock-plan run plans/nova.toml --only 'us_flex_*'     a part of it
  USER_COUNTS=10 bedrock-plan run --test-duration 30s     without a plan: the built-in defaults, changed";

/// How long machines wait for each other where nothing is said.
pub(crate) const BARRIER_TIMEOUT: &str = "10m";

/// `run`.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own
pub(crate) struct RunArgs {
    /// The plan; without one the built-in defaults are the plan.
    pub(crate) plan: Option<PathBuf>,
    /// Start without being asked.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Replace what an earlier run left in the results directory; only files that this tool writes.
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Continue the run in the results directory: keep finished cells, run the rest.
    #[arg(long, conflicts_with = "overwrite")]
    pub(crate) resume: bool,
    /// Continue the run in the results directory, or start a new one if there is none (for CI jobs).
    #[arg(long, conflicts_with_all = ["overwrite", "resume"])]
    pub(crate) resume_or_start: bool,
    /// Run cells of the run in the results directory again: `failed`, `invalid`, or an id pattern (repeatable).
    #[arg(long, value_name = "WHICH", conflicts_with_all = ["overwrite", "resume_or_start"])]
    pub(crate) rerun: Vec<String>,
    /// End after the records; `report` renders them later, anywhere.
    #[arg(long, conflicts_with = "output")]
    pub(crate) no_report: bool,
    /// Send the small requests before the load alone, and say what can be asked; nothing is asked or written.
    #[arg(long, conflicts_with_all = ["no_preflight", "resume", "resume_or_start", "rerun", "overwrite"])]
    pub(crate) preflight_only: bool,
    /// Do not find out first what can be asked: `run.preflight` = false.
    #[arg(long, conflicts_with = "preflight")]
    pub(crate) no_preflight: bool,
    /// Run only the cells whose id is like this; may be said again.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) only: Vec<String>,
    /// Mask account ids and the names of profiles, roles and users in everything that the report writes.
    #[arg(long)]
    pub(crate) public: bool,
    /// Run as one of several machines, which meet here: `file:///shared/dir` or `s3://bucket/prefix`, a new one for each run.
    #[arg(long, value_name = "URL", conflicts_with_all = ["resume", "resume_or_start", "rerun", "preflight_only", "output", "public"], help_heading = "Several machines")]
    pub(crate) exchange: Option<String>,
    /// Which of them this is, from 0: 2/8; found by itself under Slurm, AWS Batch and Kubernetes.
    #[arg(long, value_name = "INDEX/COUNT", help_heading = "Several machines")]
    pub(crate) shard: Option<String>,
    /// How long it waits for the others, at the start and before each cell.
    #[arg(long, value_name = "DURATION", default_value = BARRIER_TIMEOUT, help_heading = "Several machines")]
    pub(crate) barrier_timeout: String,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

/// `show`.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// The plan; without one the built-in defaults are the plan.
    pub(crate) plan: Option<PathBuf>,
    /// How to show it; `toml` is a plan that gives the same matrix again.
    #[arg(long, value_enum, default_value_t = ShowFormat::Table)]
    pub(crate) format: ShowFormat,
    /// Show only the cells whose id is like this; may be said again.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) only: Vec<String>,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

/// How `show` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShowFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// A plan.
    Toml,
}

/// `report`.
#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// The results directory of a run.
    pub(crate) dir: PathBuf,
    /// Failed requests join the latency metrics.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) include_failures: Option<bool>,
    /// Requests of the ramp join the latency metrics.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) include_ramp: Option<bool>,
    /// Where the files go, instead of DIR.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Mask account ids and the names of profiles, roles and users in everything that the report writes.
    #[arg(long)]
    pub(crate) public: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `merge`.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)] // each is a flag
pub(crate) struct MergeArgs {
    /// Where they met: `file:///shared/dir` or `s3://bucket/prefix`.
    #[arg(value_name = "URL")]
    pub(crate) exchange: String,
    /// The results directory that they become.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// Merge what is there though machines are missing: every verdict is INCONCLUSIVE.
    #[arg(long)]
    pub(crate) allow_missing: bool,
    /// Take in the results directory that a machine could not leave in the exchange; may be said again.
    #[arg(long, value_name = "DIR")]
    pub(crate) with: Vec<PathBuf>,
    /// Replace what an earlier run left in DIR; only files that this tool writes.
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Send requests signed with a session token to S3 over http, to hosts other than loopback too.
    #[arg(long)]
    pub(crate) allow_http: bool,
    /// Mask account ids and the names of profiles, roles and users in everything that the report writes.
    #[arg(long)]
    pub(crate) public: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `schema`.
#[derive(Debug, clap::Args)]
pub(crate) struct SchemaArgs {
    /// Of which file.
    #[arg(long, value_enum, default_value_t = SchemaOf::Plan)]
    pub(crate) of: SchemaOf,
}

/// What there is a schema of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaOf {
    /// A plan.
    Plan,
    /// `summary.json`.
    Summary,
    /// `compare --format json`.
    Comparison,
}

/// `templates`.
#[derive(Debug, clap::Args)]
pub(crate) struct TemplatesArgs {
    /// Where they go; files of the same names there are kept.
    pub(crate) dir: PathBuf,
}

/// What commands are told of the files that they write.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct OutputArgs {
    /// A directory whose files replace the built-in templates of the same names; `bedrock-plan templates DIR` writes those.
    #[arg(long, value_name = "DIR")]
    pub(crate) templates: Option<PathBuf>,
    /// One file more: junit, markdown, json, html, benchmark (github-action-benchmark's) or emf (`CloudWatch`'s); may be said again.
    #[arg(long, value_name = "KIND=FILE")]
    pub(crate) output: Vec<String>,
}

const COMPARE_EXAMPLES: &str = "Examples:
  bedrock-plan compare --baseline baselines/nova.json test_results/nova     exits with 99 where something regressed
  bedrock-plan compare test_results/monday test_results/tuesday             the numbers beside each other, no verdict";

/// `baseline`.
#[derive(Debug, clap::Args)]
pub(crate) struct BaselineArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub(crate) command: BaselineCommands,
}

/// What to do with a baseline.
#[derive(Debug, Subcommand)]
pub(crate) enum BaselineCommands {
    /// Add runs to a baseline, each as one session; five or more, of different hours or days, make a good one.
    Add {
        /// The results directories of the runs.
        #[arg(required = true, value_name = "DIR")]
        dirs: Vec<PathBuf>,
        /// The baseline; made where it is not there.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Show the sessions of a baseline, and how many each cell has.
    Show {
        /// The baseline.
        file: PathBuf,
    },
    /// Take sessions out of a baseline.
    Remove {
        /// Their ids, as `baseline show` tells them.
        #[arg(required = true, value_name = "SESSION")]
        sessions: Vec<String>,
        /// The baseline.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
    },
}

/// `compare`.
#[derive(Debug, clap::Args)]
pub(crate) struct CompareArgs {
    /// The results directories of new runs; without a baseline, of two runs.
    #[arg(required = true, value_name = "DIR")]
    pub(crate) dirs: Vec<PathBuf>,
    /// The baseline.
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,
    /// What is printed.
    #[arg(long, value_enum, default_value_t = CompareFormat::Table)]
    pub(crate) format: CompareFormat,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// How `compare` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompareFormat {
    /// For people.
    Table,
    /// For a pull request.
    Markdown,
    /// For programs.
    Json,
}

/// `calibrate`.
#[derive(Debug, clap::Args)]
pub(crate) struct CalibrateArgs {
    /// The plan; without one the built-in defaults are the plan.
    pub(crate) plan: Option<PathBuf>,
    /// How to show it.
    #[arg(long, value_enum, default_value_t = CalibrateFormat::Table)]
    pub(crate) format: CalibrateFormat,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

/// How `calibrate` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CalibrateFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
}

const SUBMIT_EXAMPLES: &str = "Examples:
  bedrock-plan submit plans/nova.toml --tasks 8 --print                     the script on stdout, nothing is written
  bedrock-plan submit plans/nova.toml --tasks 8                             writes nova.sbatch
  bedrock-plan submit plans/nova.toml --tasks 8 --sbatch -- -p load -c 4    and hands it in, with options of sbatch";

/// `submit`.
#[derive(Debug, clap::Args)]
pub(crate) struct SubmitArgs {
    /// The plan.
    pub(crate) plan: PathBuf,
    /// Machines that share the load, each as one task.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) tasks: u32,
    /// Where they meet, `file:///DIR` or `s3://BUCKET/PREFIX`; each job has a place of its own below it. Without it: below the results.
    #[arg(long, value_name = "URL")]
    pub(crate) exchange: Option<String>,
    /// Where the merged results go; without it: `results_dir`, in a directory of each job's own.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,
    /// The job's time limit; without it: what the plan takes at most, and time to come together.
    #[arg(long, value_name = "HH:MM:SS")]
    pub(crate) time: Option<String>,
    /// How long the machines wait for each other.
    #[arg(long, value_name = "DURATION")]
    pub(crate) barrier_timeout: Option<String>,
    /// Run only the cells whose id is like this; may be said again.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) only: Vec<String>,
    /// Where the script goes; without it: the plan's name with `.sbatch` behind it.
    #[arg(long, value_name = "FILE", conflicts_with = "print")]
    pub(crate) script: Option<PathBuf>,
    /// Hand it in: runs `sbatch`.
    #[arg(long, conflicts_with = "print")]
    pub(crate) sbatch: bool,
    /// Only print the script.
    #[arg(long)]
    pub(crate) print: bool,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
    /// Options of `sbatch`: partition, account, cores of a task; they become lines of the script.
    #[arg(last = true, value_name = "SBATCH-ARGS")]
    pub(crate) sbatch_args: Vec<String>,
}

/// `simulate`.
#[derive(Debug, clap::Args)]
pub(crate) struct SimulateArgs {
    /// The port; 0 picks a free one and prints it.
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    /// Take the `[simulator]` of this plan.
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: Option<PathBuf>,
    /// Write what was really done with each request, in microseconds.
    #[arg(long, value_name = "FILE")]
    pub(crate) truth: Option<PathBuf>,
    /// End when standard input closes, beside the signals: for programs that start it.
    #[arg(long)]
    pub(crate) until_stdin_closes: bool,
    /// Any value of the plan: KEY=VALUE, the value as TOML.
    #[arg(long, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub(crate) set: Vec<String>,
}

/// The flags of all settings, as given.
#[derive(Debug, Clone, Default)]
pub(crate) struct SettingFlags {
    /// Flags without dashes, with their values.
    pub(crate) flags: Vec<(String, String)>,
    /// `--set`.
    pub(crate) sets: Vec<String>,
    /// `--max-cells`. Not a setting of the plan: it protects against what a plan means.
    pub(crate) max_cells: Option<u64>,
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut found = Self::default();
        found.update_from_arg_matches(matches)?;
        Ok(found)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for setting in SETTINGS {
            for flag in setting.flags {
                if let Some(value) = matches.get_one::<String>(flag) {
                    self.flags.push(((*flag).to_owned(), value.clone()));
                }
            }
        }
        if matches.get_flag("simulated") {
            self.flags.push(("simulated".into(), "true".into()));
        }
        if matches.get_flag("allow-http") {
            self.flags.push(("allow-http".into(), "true".into()));
        }
        self.max_cells = matches.get_one::<u64>("max-cells").copied().or(self.max_cells);
        self.sets.extend(matches.get_many::<String>("set").into_iter().flatten().cloned());
        Ok(())
    }
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        let flags = SETTINGS.iter().flat_map(|setting| {
            setting.flags.iter().enumerate().map(move |(index, flag)| {
                let arg = Arg::new(*flag)
                    .long(*flag)
                    .value_name(setting.value)
                    .help(help(setting.help, setting.default))
                    .help_heading(heading(setting.section()))
                    // A negative number must reach our own check, which says what is wrong with it.
                    .allow_hyphen_values(true)
                    // The other names are aliases: the last one on the command line holds.
                    .overrides_with_all(setting.flags.iter().filter(|other| *other != flag))
                    .hide(index > 0);
                match setting.kind {
                    Kind::Bool => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
                    _ => arg,
                }
            })
        });
        command
            .args(flags)
            .arg(
                Arg::new("simulated")
                    .long("simulated")
                    .action(ArgAction::SetTrue)
                    .help("Short for --endpoint-url simulated: no account, nothing leaves this machine")
                    .help_heading(heading("target")),
            )
            .arg(
                Arg::new("allow-http")
                    .long("allow-http")
                    .action(ArgAction::SetTrue)
                    .help(ALLOW_HTTP)
                    .help_heading(heading("target")),
            )
            .arg(
                Arg::new("set")
                    .long("set")
                    .action(ArgAction::Append)
                    .value_name("KEY=VALUE")
                    .allow_hyphen_values(true)
                    .help("Any value of a plan: --set simulator.capacity=40")
                    .help_heading(heading("plan")),
            )
            .arg(
                Arg::new("max-cells")
                    .long("max-cells")
                    .value_name("N")
                    .value_parser(clap::value_parser!(u64))
                    .help(help("Maximum cells, and maximum cell runs, of the plan", &MAX_CELLS.to_string()))
                    .help_heading(heading("plan")),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// Not a setting of a plan: a plan may come from a stranger.
const ALLOW_HTTP: &str = "Send requests signed with a session token over http to hosts other than loopback (BEDROCK_PLAN_ALLOW_HTTP; never a bearer token; not a key of a plan)";

fn help(help: &str, default: &str) -> String {
    if default == "-" { help.to_owned() } else { format!("{help} [{default}]") }
}

fn heading(section: &str) -> String {
    format!("Settings: [{section}]")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_holds_together() {
        super::Cli::command().debug_assert();
    }
}
