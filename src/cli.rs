//! The command line (clap). The flags of settings are generated from `config::settings`. Their values are
//! parsed there, so that a wrong value is reported together with all other problems.

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
    // The last of repeated flags wins, so that a shell alias can be extended.
    args_override_self = true
)]
pub(crate) struct Cli {
    /// Log requests and connections to stderr; repeat for more detail. `RUST_LOG` overrides it.
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// Hide the plan and the progress display; still print results, warnings and errors.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Colours; auto: on terminals, unless `NO_COLOR` is set.
    #[arg(long, value_name = "auto|always|never", value_enum, global = true, default_value_t = ColorWhen::Auto, hide_possible_values = true, hide_default_value = true)]
    pub(crate) color: ColorWhen,
    #[command(subcommand)]
    pub(crate) command: Subcommands,
}

/// When colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorWhen {
    /// On terminals, unless `NO_COLOR` is set.
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Subcommands {
    /// Run a plan and write its reports.
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Show the cells of a plan and the origin of each value. Sends nothing.
    Show(ShowArgs),
    /// Write all report files of a run again from its records. Sends nothing.
    Report(ReportArgs),
    /// Merge the records of a run on several machines and write its reports. Sends nothing.
    Merge(MergeArgs),
    /// Manage baselines for `compare`. Sends nothing.
    Baseline(BaselineArgs),
    /// Compare new runs with a baseline, or two runs with each other. Sends nothing.
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(CompareArgs),
    /// Measure the error of this machine's latencies at the peak load of a plan, against a local simulator.
    Calibrate(CalibrateArgs),
    /// Print the JSON Schema of a plan, for completion and checks in editors.
    Schema(SchemaArgs),
    /// Write the built-in report templates to a directory; pass the changed ones with `--templates`.
    Templates(TemplatesArgs),
    /// Write a Slurm job script that runs a plan on several machines. Sends nothing.
    #[command(after_help = SUBMIT_EXAMPLES)]
    Submit(SubmitArgs),
    /// Serve a simulated Bedrock runtime on a loopback address.
    Simulate(SimulateArgs),
}

const RUN_EXAMPLES: &str = "Examples:
  bedrock-plan run plans/quickstart.toml --yes            one minute on a simulated Bedrock, no account needed
  bedrock-plan run plans/nova.toml                        one model, three tiers, on AWS
  bedrock-plan run plans/nova.toml --only 'us_flex_*'     some of its cells
  USER_COUNTS=10 bedrock-plan run --test-duration 30s     no plan: the built-in defaults with two changes";

/// Default of `--barrier-timeout`.
pub(crate) const BARRIER_TIMEOUT: &str = "10m";

#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own
pub(crate) struct RunArgs {
    /// Plan file; without it the built-in defaults are run.
    pub(crate) plan: Option<PathBuf>,
    /// Start without a confirmation prompt.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Replace the results of an earlier run; keeps files that bedrock-plan did not write.
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
    /// Write records only; `report` renders them later, on any machine.
    #[arg(long, conflicts_with = "output")]
    pub(crate) no_report: bool,
    /// Run only the pre-flight: print what is available; write no files.
    #[arg(long, conflicts_with_all = ["no_preflight", "resume", "resume_or_start", "rerun", "overwrite"])]
    pub(crate) preflight_only: bool,
    /// Skip the pre-flight: `run.preflight` = false.
    #[arg(long, conflicts_with = "preflight")]
    pub(crate) no_preflight: bool,
    /// Run only cells whose id matches this pattern (repeatable).
    #[arg(long, value_name = "PATTERN")]
    pub(crate) only: Vec<String>,
    /// Mask account ids, profiles, roles, users, prompts and metadata in all report files.
    #[arg(long)]
    pub(crate) public: bool,
    /// Run as one of several machines that share this exchange: `file:///shared/dir` or `s3://bucket/prefix`; a new one per run.
    #[arg(long, value_name = "URL", conflicts_with_all = ["resume", "resume_or_start", "rerun", "preflight_only", "output", "public"], help_heading = "Several machines")]
    pub(crate) exchange: Option<String>,
    /// Index of this machine, from 0, and number of machines: 2/8; detected under Slurm, AWS Batch and Kubernetes.
    #[arg(long, value_name = "INDEX/COUNT", help_heading = "Several machines")]
    pub(crate) shard: Option<String>,
    /// Maximum wait for the other machines, at the start and before each cell.
    #[arg(long, value_name = "DURATION", default_value = BARRIER_TIMEOUT, help_heading = "Several machines")]
    pub(crate) barrier_timeout: String,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// Plan file; without it the built-in defaults are run.
    pub(crate) plan: Option<PathBuf>,
    /// Output format; `toml` prints a plan with the same cells.
    #[arg(long, value_enum, default_value_t = ShowFormat::Table)]
    pub(crate) format: ShowFormat,
    /// Show only cells whose id matches this pattern (repeatable).
    #[arg(long, value_name = "PATTERN")]
    pub(crate) only: Vec<String>,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShowFormat {
    /// Text for people.
    Table,
    /// JSON for programs.
    Json,
    /// A plan file.
    Toml,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// Results directory of a run.
    pub(crate) dir: PathBuf,
    /// Show latencies that include failed requests; verdicts stay as they are.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) include_failures: Option<bool>,
    /// Include requests of the ramp in the latencies.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) include_ramp: Option<bool>,
    /// Write the files to this directory instead of DIR.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Mask account ids, profiles, roles, users, prompts and metadata in all report files.
    #[arg(long)]
    pub(crate) public: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)] // each is a flag
pub(crate) struct MergeArgs {
    /// The machines' exchange: `file:///shared/dir` or `s3://bucket/prefix`.
    #[arg(value_name = "URL")]
    pub(crate) exchange: String,
    /// Results directory to write.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// Merge even if machines are missing; all verdicts are then INCONCLUSIVE.
    #[arg(long)]
    pub(crate) allow_missing: bool,
    /// Also merge this results directory, which a machine could not deliver to the exchange (repeatable).
    #[arg(long, value_name = "DIR")]
    pub(crate) with: Vec<PathBuf>,
    /// Replace the results of an earlier run in DIR; keeps files that bedrock-plan did not write.
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Send requests that are signed with a session token over http, also to hosts other than loopback.
    #[arg(long)]
    pub(crate) allow_http: bool,
    /// Mask account ids, profiles, roles, users, prompts and metadata in all report files.
    #[arg(long)]
    pub(crate) public: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SchemaArgs {
    /// File format to describe.
    #[arg(long = "of", value_enum, default_value_t = SchemaKind::Plan)]
    pub(crate) kind: SchemaKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaKind {
    /// A plan file.
    Plan,
    /// `summary.json`.
    Summary,
    /// `compare --format json`.
    Comparison,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TemplatesArgs {
    /// Directory to write to; existing files of the same names are kept.
    pub(crate) dir: PathBuf,
}

/// Options of all commands that write reports.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct OutputArgs {
    /// Directory of templates that replace the built-in ones of the same names (see `bedrock-plan templates`).
    #[arg(long, value_name = "DIR")]
    pub(crate) templates: Option<PathBuf>,
    /// Also write FILE; KIND is junit, markdown, json, html, benchmark (for github-action-benchmark) or emf (for `CloudWatch`) (repeatable).
    #[arg(long, value_name = "KIND=FILE")]
    pub(crate) output: Vec<String>,
}

const COMPARE_EXAMPLES: &str = "Examples:
  bedrock-plan compare --baseline baselines/nova.json test_results/nova     exits with 99 if a cell regressed
  bedrock-plan compare test_results/monday test_results/tuesday             two runs side by side, without verdicts";

#[derive(Debug, clap::Args)]
pub(crate) struct BaselineArgs {
    #[command(subcommand)]
    pub(crate) command: BaselineCommands,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BaselineCommands {
    /// Add runs to a baseline, each as one session; use five or more, from different hours or days.
    Add {
        /// Results directories of the runs.
        #[arg(required = true, value_name = "DIR")]
        dirs: Vec<PathBuf>,
        /// Baseline file; created if it does not exist.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// List the sessions of a baseline, and the number of sessions per cell.
    Show {
        /// Baseline file.
        file: PathBuf,
    },
    /// Remove sessions from a baseline.
    Remove {
        /// Session ids, from `baseline show`.
        #[arg(required = true, value_name = "SESSION")]
        sessions: Vec<String>,
        /// Baseline file.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct CompareArgs {
    /// Results directories of the new runs; without a baseline, of two runs.
    #[arg(required = true, value_name = "DIR")]
    pub(crate) dirs: Vec<PathBuf>,
    /// Baseline file.
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,
    /// Output format.
    #[arg(long, value_enum, default_value_t = CompareFormat::Table)]
    pub(crate) format: CompareFormat,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompareFormat {
    /// Text for people.
    Table,
    /// Markdown for a pull request.
    Markdown,
    /// JSON for programs.
    Json,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CalibrateArgs {
    /// Plan file; without it the built-in defaults are run.
    pub(crate) plan: Option<PathBuf>,
    /// Output format.
    #[arg(long, value_enum, default_value_t = CalibrateFormat::Table)]
    pub(crate) format: CalibrateFormat,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CalibrateFormat {
    /// Text for people.
    Table,
    /// JSON for programs.
    Json,
}

const SUBMIT_EXAMPLES: &str = "Examples:
  bedrock-plan submit plans/nova.toml --tasks 8 --print                     prints the script
  bedrock-plan submit plans/nova.toml --tasks 8                             writes nova.sbatch
  bedrock-plan submit plans/nova.toml --tasks 8 --sbatch -- -p load -c 4    submits it, with options of sbatch";

#[derive(Debug, clap::Args)]
pub(crate) struct SubmitArgs {
    /// Plan file.
    pub(crate) plan: PathBuf,
    /// Number of machines that share the load, one task each.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) tasks: u32,
    /// Exchange of the machines, `file:///DIR` or `s3://BUCKET/PREFIX`; each job uses a directory below it [below the results].
    #[arg(long, value_name = "URL")]
    pub(crate) exchange: Option<String>,
    /// Directory of the merged results [a directory per job below `results_dir`].
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,
    /// Time limit of the job [longest duration of the plan, plus time for start and merge].
    #[arg(long, value_name = "HH:MM:SS")]
    pub(crate) time: Option<String>,
    /// Maximum wait of the machines for each other.
    #[arg(long, value_name = "DURATION")]
    pub(crate) barrier_timeout: Option<String>,
    /// Run only cells whose id matches this pattern (repeatable).
    #[arg(long, value_name = "PATTERN")]
    pub(crate) only: Vec<String>,
    /// File to write the script to [`NAME.sbatch`, where NAME is the plan's name].
    #[arg(long, value_name = "FILE", conflicts_with = "print")]
    pub(crate) script: Option<PathBuf>,
    /// Submit the script with `sbatch`.
    #[arg(long, conflicts_with = "print")]
    pub(crate) sbatch: bool,
    /// Print the script and write no file.
    #[arg(long)]
    pub(crate) print: bool,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
    /// Options of `sbatch` (partition, account, cores per task); added to the script.
    #[arg(last = true, value_name = "SBATCH-ARGS")]
    pub(crate) sbatch_args: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SimulateArgs {
    /// Port to listen on; 0 selects a free port and prints it.
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    /// Use the `[simulator]` table of this plan.
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: Option<PathBuf>,
    /// Write the true timing of each request to this file (microseconds).
    #[arg(long, value_name = "FILE")]
    pub(crate) truth: Option<PathBuf>,
    /// Also stop when standard input closes, for programs that start the simulator.
    #[arg(long)]
    pub(crate) until_stdin_closes: bool,
    /// Set any value of the plan: KEY=VALUE, with VALUE as TOML (repeatable).
    #[arg(long, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub(crate) set: Vec<String>,
}

/// The flags of all settings, as given on the command line.
#[derive(Debug, Clone, Default)]
pub(crate) struct SettingFlags {
    /// Flags without dashes, with their values.
    pub(crate) flags: Vec<(String, String)>,
    /// `--set`.
    pub(crate) sets: Vec<String>,
    /// `--max-cells`. Not a setting of the plan: it protects against large plans.
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
                    // A negative number must reach `config`, which reports what is wrong with it.
                    .allow_hyphen_values(true)
                    // The other names are aliases: the last one on the command line wins.
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
                    .help("Same as --endpoint-url simulated: needs no account and sends nothing over the network")
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
                    .help("Set any value of the plan: --set simulator.capacity=40 (repeatable)")
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

/// Not a setting of a plan: plans may come from untrusted sources.
const ALLOW_HTTP: &str = "Send requests that are signed with a session token over http, also to hosts other than loopback (BEDROCK_PLAN_ALLOW_HTTP; never sends a bearer token; not a plan key)";

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
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
