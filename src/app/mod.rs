//! The subcommands. The only module that connects the other modules with each other.

mod baseline;
mod budget;
mod calibrate;
mod cells;
mod compare;
mod connect;
mod execute;
mod identity;
mod limits;
mod log;
mod merge;
mod network;
mod new_manifest;
mod outcome;
mod outputs;
mod plan_text;
mod plan_warnings;
mod preflight;
mod recorder;
mod render;
mod report;
mod resume;
mod run;
mod runtime;
mod screen;
mod sessions;
mod shards;
mod show;
mod signals;
mod simulate;
mod simulated;
mod stdout;
mod submit;
mod templates;
mod watch;

use crate::cli::{BaselineCommands, Cli, OutputArgs, SchemaKind, SettingFlags, Subcommands};
use crate::cluster::ShardOptions;
use crate::config::{self, Resolved, Sources};
use crate::error::Error;
use crate::record::dir::OnExisting;
use crate::terminal::paint::ColorMode;
use crate::units::Secrets;
use crate::units::text::clean_lines;
use clap::{CommandFactory, Parser};
use screen::Screen;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Runs the program and returns its exit code. `arguments` start with the program's name; `environment` replaces the
/// environment of the process.
pub fn main(arguments: impl IntoIterator<Item = OsString>, environment: &BTreeMap<String, String>) -> ExitCode {
    let arguments = arguments.into_iter().map(|argument| with_home(argument, environment));
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let error = with_suggestion(error);
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let secrets = Secrets::from_environment(environment);
    log::start(cli.verbose, environment, &secrets);
    let screen = Screen::new(&cli, environment);
    match dispatch(cli.command, screen, environment, &secrets) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = std::io::stderr()
                .write_all(secrets.mask(&format_error(&error, screen.err == ColorMode::Coloured)).as_bytes());
            ExitCode::from(error.exit_code())
        }
    }
}

/// Expands `~/` at the start of an argument's value. Shells replace the tilde only at the start of a word, and
/// therefore not in `--output junit=~/x.xml`.
fn with_home(argument: OsString, environment: &BTreeMap<String, String>) -> OsString {
    let Some(text) = argument.to_str() else { return argument };
    let (head, path) = match text.rfind("=~/") {
        Some(at) => text.split_at(at + 1),
        None => ("", text),
    };
    match config::expand_home(path, environment) {
        Ok(expanded) if path.starts_with("~/") => format!("{head}{expanded}").into(),
        _ => argument,
    }
}

/// Adds the most similar subcommand to the error for a misspelt one, if clap suggests none.
fn with_suggestion(mut error: clap::Error) -> clap::Error {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    if error.kind() == ErrorKind::InvalidSubcommand
        && error.get(ContextKind::SuggestedSubcommand).is_none()
        && let Some(ContextValue::String(wrong)) = error.get(ContextKind::InvalidSubcommand)
        && let Some(name) = nearest_command(wrong)
    {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![name]));
    }
    error
}

/// Returns the subcommand with the smallest edit distance to a wrong one, two at most. A transposition counts as one
/// edit.
fn nearest_command(wrong: &str) -> Option<String> {
    let command = Cli::command();
    let names = command.get_subcommands().map(clap::Command::get_name);
    let distance = |name: &&str| strsim::damerau_levenshtein(wrong, name);
    names.min_by_key(distance).filter(|name| distance(name) <= 2).map(str::to_owned)
}

fn dispatch(
    command: Subcommands,
    screen: Screen,
    environment: &BTreeMap<String, String>,
    secrets: &Secrets,
) -> Result<u8, Error> {
    match command {
        Subcommands::Run(args) => {
            let mut settings = args.settings;
            if args.no_preflight {
                settings.flags.push(("preflight".into(), "false".into()));
            }
            let resolved = read(args.plan.as_deref(), &settings, environment)?;
            let on_existing = if args.overwrite {
                OnExisting::Overwrite
            } else if args.resume || args.resume_or_start || !args.rerun.is_empty() {
                OnExisting::Resume
            } else {
                OnExisting::Refuse
            };
            let shard =
                ShardOptions::from_flags(args.exchange, args.shard.as_deref(), &args.barrier_timeout, environment)
                    .map_err(Error::Shard)?;
            let options = run::Options {
                shard,
                yes: args.yes,
                on_existing,
                rerun: args.rerun,
                resume_or_start: args.resume_or_start,
                no_report: args.no_report,
                preflight_only: args.preflight_only,
                only: args.only,
                screen,
                output: output(args.output, args.public, screen),
            };
            run::run(&options, &resolved, environment, secrets)
        }
        Subcommands::Show(args) => {
            let resolved = read(args.plan.as_deref(), &args.settings, environment)?;
            show::show(args.format, &args.only, args.plan.as_deref(), &resolved)
        }
        Subcommands::Report(args) => {
            let output = output(args.output, args.public, screen);
            let options = report::Options {
                dir: args.dir,
                out: args.out,
                include_failures: args.include_failures,
                include_ramp: args.include_ramp,
                output,
            };
            report::report(&options, environment)
        }
        Subcommands::Merge(args) => merge::merge(
            &merge::Options {
                url: args.exchange,
                to: args.to,
                with: args.with,
                allow_missing: args.allow_missing,
                overwrite: args.overwrite,
                allow_http: args.allow_http,
                output: output(args.output, args.public, screen),
            },
            environment,
            secrets,
        ),
        Subcommands::Baseline(args) => match args.command {
            BaselineCommands::Add { dirs, to } => baseline::add(&dirs, &to),
            BaselineCommands::Show { file } => baseline::show(&file),
            BaselineCommands::Remove { sessions, from } => baseline::remove(&sessions, &from),
        },
        Subcommands::Compare(args) => {
            let output = output(args.output, false, screen);
            let (baseline, dirs, format) = (args.baseline, args.dirs, args.format);
            compare::compare(&compare::Options { baseline, dirs, format, output }, environment)
        }
        Subcommands::Calibrate(args) => {
            let resolved = read(args.plan.as_deref(), &args.settings, environment)?;
            calibrate::calibrate(args.format, &resolved)
        }
        Subcommands::Schema(args) => {
            let schema = match args.kind {
                SchemaKind::Plan => config::schema(),
                SchemaKind::Summary => crate::report::summary::schema(),
                SchemaKind::Comparison => crate::report::compare::schema(),
            };
            stdout::print(format!("{schema:#}\n").as_bytes())?;
            Ok(0)
        }
        Subcommands::Templates(args) => templates::write(&args.dir),
        Subcommands::Submit(args) => {
            let resolved = read(Some(&args.plan), &args.settings, environment)?;
            submit::submit(&args, &resolved, environment)
        }
        Subcommands::Simulate(args) => {
            let settings = SettingFlags { sets: args.set, ..SettingFlags::default() };
            let resolved = read(args.plan.as_deref(), &settings, environment)?;
            simulate::simulate(&simulate::Options {
                port: args.port,
                model: resolved.plan.simulator,
                truth: args.truth,
                until_stdin_closes: args.until_stdin_closes,
            })
        }
    }
}

fn output(args: OutputArgs, public: bool, screen: Screen) -> render::Output {
    render::Output { templates: args.templates, public, files: args.output, paint: screen.out }
}

fn read(
    plan: Option<&Path>,
    settings: &SettingFlags,
    environment: &BTreeMap<String, String>,
) -> Result<Resolved, Error> {
    let working_dir = std::env::current_dir().map_err(Error::Internal)?;
    let max_cells = settings.max_cells.unwrap_or(config::MAX_CELLS);
    let sources = Sources {
        plan,
        flags: &settings.flags,
        sets: &settings.sets,
        environment,
        working_dir: &working_dir,
        max_cells,
    };
    Ok(config::read(&sources)?)
}

/// Formats an error with its hint.
fn format_error(error: &Error, styled: bool) -> String {
    match (error, error.hint()) {
        (Error::Problems(problems), _) => format!("{}\n", problems.render(styled)),
        (error, Some(hint)) => clean_lines(&format!("error: {error}\n  = help: {hint}\n")),
        (error, None) => clean_lines(&format!("error: {error}\n")),
    }
}
