//! What is shown and how: from `--quiet`, `--color`, `NO_COLOR` and what the standard streams are.

use crate::cli::{Cli, ColorWhen};
use crate::terminal::Mode;
use crate::terminal::paint::Paint;
use std::collections::BTreeMap;
use std::io::IsTerminal;

/// How this process talks.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Screen {
    /// How a run is shown while it goes on, on stderr.
    pub(super) mode: Mode,
    /// Of stderr.
    pub(super) err: Paint,
    /// Of stdout.
    pub(super) out: Paint,
}

impl Screen {
    pub(super) fn of(cli: &Cli, environment: &BTreeMap<String, String>) -> Self {
        let set = |name: &str| environment.get(name).is_some_and(|value| !value.is_empty());
        // A terminal that cannot move its cursor is a log.
        let is_dumb = environment.get("TERM").is_some_and(|term| term == "dumb");
        let (err, out) = (std::io::stderr().is_terminal(), std::io::stdout().is_terminal());
        let coloured = |terminal: bool| match cli.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => terminal && !is_dumb && !set("NO_COLOR"),
        };
        let mode = match (cli.quiet, err && !is_dumb) {
            (true, _) => Mode::Quiet,
            (false, true) => Mode::Block,
            (false, false) => Mode::Lines,
        };
        Self { mode, err: Paint::of(coloured(err)), out: Paint::of(coloured(out)) }
    }
}
