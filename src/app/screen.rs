//! Display modes and colours, from `--quiet`, `--color`, `NO_COLOR` and the kinds of the standard streams.

use crate::cli::{Cli, ColorWhen};
use crate::terminal::DisplayMode;
use crate::terminal::paint::ColorMode;
use std::collections::BTreeMap;
use std::io::IsTerminal;

/// How this process displays its output.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Screen {
    /// How the progress of a run is displayed on stderr.
    pub(super) mode: DisplayMode,
    /// Colours of stderr.
    pub(super) err: ColorMode,
    /// Colours of stdout.
    pub(super) out: ColorMode,
}

impl Screen {
    pub(super) fn new(cli: &Cli, environment: &BTreeMap<String, String>) -> Self {
        let is_set = |name: &str| environment.get(name).is_some_and(|value| !value.is_empty());
        // A terminal that cannot move its cursor is treated like a log file.
        let is_dumb = environment.get("TERM").is_some_and(|term| term == "dumb");
        let (err, out) = (std::io::stderr().is_terminal(), std::io::stdout().is_terminal());
        let coloured = |terminal: bool| match cli.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => terminal && !is_dumb && !is_set("NO_COLOR"),
        };
        let mode = match (cli.quiet, err && !is_dumb) {
            (true, _) => DisplayMode::Quiet,
            (false, true) => DisplayMode::Block,
            (false, false) => DisplayMode::Lines,
        };
        Self { mode, err: ColorMode::from_support(coloured(err)), out: ColorMode::from_support(coloured(out)) }
    }
}
