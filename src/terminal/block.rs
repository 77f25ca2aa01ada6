//! Formats the state of a run as lines: a pure function of state and width.

use super::paint::{ColorMode, TextRole};
use crate::report::view::text;
use crate::units::duration;
use crate::units::text::clean;
use std::time::Duration;

/// Width of the labels, columns.
const LABEL: usize = 7;

/// State that a display shows, updated five times per second.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ProgressState {
    /// Number of cell runs (repetitions included).
    pub(crate) planned_runs: usize,
    /// The current cell run, from 1; 0 before the first.
    pub(crate) planned_run: usize,
    /// Elapsed fraction of the planned run time, 0 to 1.
    pub(crate) share: f64,
    /// Planned time until the end of the run.
    pub(crate) left: Duration,
    /// Id of the running cell.
    pub(crate) cell: String,
    pub(crate) phase: Phase,
    /// Time since the first start.
    pub(crate) elapsed: Duration,
    /// Test duration.
    pub(crate) length: Duration,
    /// Running users; `None` in an open loop.
    pub(crate) users: Option<u32>,
    /// Requests in flight.
    pub(crate) in_flight: u32,
    /// Requests that ended in the last 10 seconds, per second.
    pub(crate) requests_per_sec: Option<f64>,
    /// Successes in this cell.
    pub(crate) succeeded: u64,
    /// See `succeeded`.
    pub(crate) throttled: u64,
    /// See `succeeded`.
    pub(crate) failed: u64,
    /// Of the successes, milliseconds.
    pub(crate) p50_ms: Option<f64>,
    /// See `p50_ms`.
    pub(crate) p95_ms: Option<f64>,
    /// Median time to first token, milliseconds.
    pub(crate) ttft_p50_ms: Option<f64>,
    /// Of the successes.
    pub(crate) input_tokens: u64,
    /// See `input_tokens`.
    pub(crate) output_tokens: u64,
    /// Cost of the run, US dollars; `None` without known prices.
    pub(crate) usd: Option<f64>,
    /// Budget, US dollars.
    pub(crate) budget_usd: Option<f64>,
    /// Cells that ended since the previous state.
    pub(crate) done: Vec<FinishedCell>,
}

/// Phase of a cell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Pre-flight or priming.
    #[default]
    Starting,
    /// Users are being started.
    Ramp,
    /// All users run.
    Steady,
    /// No more starts; waiting for requests in flight.
    Drain,
    /// Cool-down before the next cell.
    CoolDown,
}

/// A finished cell run.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct FinishedCell {
    /// See [`ProgressState::planned_run`].
    pub(crate) planned_run: usize,
    pub(crate) cell: String,
    /// Requests sent.
    pub(crate) requests: u64,
    /// Throttled and failed requests over all.
    pub(crate) failure_share: Option<f64>,
    /// Of the successes including the ramp, milliseconds.
    pub(crate) p50_ms: Option<f64>,
    /// See `p50_ms`.
    pub(crate) p95_ms: Option<f64>,
    /// US dollars, if completely known.
    pub(crate) usd: Option<f64>,
    /// Why the cell did not finish; empty if it did.
    pub(crate) abort_reason: String,
}

/// Texts with their roles, separated by two blanks.
type Parts = Vec<(TextRole, String)>;

impl ProgressState {
    /// Formats the block; no line is wider than `width` columns.
    pub(crate) fn block(&self, width: usize, color: ColorMode) -> Vec<String> {
        let mut lines = vec![line("run", vec![(TextRole::Plain, self.run(width))], width, color)];
        if self.planned_run == 0 {
            return lines;
        }
        let phase = self.describe_phase();
        let cell = shorten(&self.cell, width.saturating_sub(LABEL + 2 + phase.len()));
        lines.push(line("cell", vec![(TextRole::Strong, cell), (TextRole::Plain, phase)], width, color));
        lines.push(line("load", plain(self.load()), width, color));
        let times = self.times();
        let times = if times.is_empty() { vec!["no success yet".into()] } else { times };
        lines.push(line("times", plain(times), width, color));
        lines.push(line("ends", self.ends(), width, color));
        lines.push(line("spent", plain(self.spent()), width, color));
        lines
    }

    /// Formats the state as one log line.
    pub(crate) fn line(&self) -> String {
        if self.planned_run == 0 {
            return format!("[0/{}] starting", self.planned_runs);
        }
        let ends = self.ends().into_iter().map(|(_, text)| text).collect();
        let groups: [Vec<String>; 4] = [self.load(), self.times(), ends, self.spent()];
        let facts: Vec<String> =
            groups.iter().filter(|group| !group.is_empty()).map(|group| group.join(", ")).collect();
        format!(
            "[{}/{}] {}: {}, {} left; {}",
            self.planned_run,
            self.planned_runs,
            self.cell,
            self.describe_phase(),
            format_seconds(self.left),
            facts.join("; ")
        )
    }

    /// `3 of 8 cells  [#####.........]  31 %  4m50s left`.
    fn run(&self, width: usize) -> String {
        let cells = format!(
            "{} of {} {}",
            self.planned_run,
            self.planned_runs,
            if self.planned_runs == 1 { "cell" } else { "cells" }
        );
        let share = format!("{:.0} %  {} left", self.share.clamp(0.0, 1.0) * 100.0, format_seconds(self.left));
        let room = width.saturating_sub(LABEL + cells.len() + share.len() + 6).min(40);
        let full = (self.share.clamp(0.0, 1.0) * room as f64).round() as usize;
        format!("{cells}  [{}{}]  {share}", "#".repeat(full), ".".repeat(room - full))
    }

    fn describe_phase(&self) -> String {
        let time = format!("{} of {}", format_seconds(self.elapsed), format_seconds(self.length));
        match self.phase {
            Phase::Starting => "starting".into(),
            Phase::Ramp => format!("ramp, {time}"),
            Phase::Steady => format!("steady, {time}"),
            Phase::Drain => "draining".into(),
            Phase::CoolDown => "done".into(),
        }
    }

    fn load(&self) -> Vec<String> {
        let users = self.users.map(|users| format!("{users} users"));
        let rate = self.requests_per_sec.map(|rate| format!("{} requests/s", text::thousands(rate, 1)));
        users.into_iter().chain([format!("{} in flight", self.in_flight)]).chain(rate).collect()
    }

    fn times(&self) -> Vec<String> {
        let named = [("p50", self.p50_ms), ("p95", self.p95_ms), ("TTFT p50", self.ttft_p50_ms)];
        named.iter().filter_map(|(name, ms)| Some(format!("{name} {} ms", text::ms((*ms)?)))).collect()
    }

    fn ends(&self) -> Parts {
        let count = |n: u64| text::thousands(n as f64, 0);
        let role = |n: u64, role| if n > 0 { role } else { TextRole::Plain };
        vec![
            (TextRole::Plain, format!("{} succeeded", count(self.succeeded))),
            (role(self.throttled, TextRole::Warning), format!("{} throttled", count(self.throttled))),
            (role(self.failed, TextRole::Bad), format!("{} failed", count(self.failed))),
        ]
    }

    fn spent(&self) -> Vec<String> {
        let count = |n: u64| text::thousands(n as f64, 0);
        let tokens = format!("{} tokens in, {} out", count(self.input_tokens), count(self.output_tokens));
        let usd = match (self.usd, self.budget_usd) {
            (Some(usd), Some(budget)) => Some(format!("{usd:.4} of {budget:.2} USD")),
            (Some(usd), None) => Some(format!("{usd:.4} USD")),
            (None, _) => None,
        };
        usd.into_iter().chain([tokens]).collect()
    }
}

impl FinishedCell {
    /// `[3/8] us_flex_small_u20: 1,204 requests, 0.2 % failed, p50 180 ms, p95 240 ms, 0.0021 USD`.
    pub(crate) fn line(&self, planned_runs: usize, color: ColorMode) -> String {
        let mut facts = vec![
            format!("{} requests", text::thousands(self.requests as f64, 0)),
            format!("{} failed", text::percent(self.failure_share)),
        ];
        for (name, value) in [("p50", self.p50_ms), ("p95", self.p95_ms)] {
            facts.extend(value.map(|ms| format!("{name} {} ms", text::ms(ms))));
        }
        facts.extend(self.usd.map(|usd| format!("{usd:.4} USD")));
        let line = format!("[{}/{planned_runs}] {}: {}", self.planned_run, self.cell, facts.join(", "));
        if self.abort_reason.is_empty() {
            line
        } else {
            format!("{line}; {}", color.apply(TextRole::Warning, &clean(&self.abort_reason)))
        }
    }
}

fn plain(words: Vec<String>) -> Parts {
    words.into_iter().map(|word| (TextRole::Plain, word)).collect()
}

/// Formats a label and as many parts as fit.
fn line(label: &str, parts: Parts, width: usize, color: ColorMode) -> String {
    let mut line = color.apply(TextRole::Soft, &format!("{label:<LABEL$}"));
    let mut columns = LABEL;
    for (index, (role, text)) in parts.into_iter().enumerate() {
        let gap = if index == 0 { 0 } else { 2 };
        columns += gap + text.chars().count();
        if columns > width {
            break;
        }
        line += &" ".repeat(gap);
        line += &color.apply(role, &text);
    }
    line
}

/// Shortens a long id in the middle: both ends identify the cell.
fn shorten(id: &str, columns: usize) -> String {
    let chars: Vec<char> = id.chars().collect();
    if chars.len() <= columns || columns < 8 {
        return id.into();
    }
    let (head, tail) = ((columns - 3) / 2, (columns - 3).div_ceil(2));
    let text = |part: &[char]| part.iter().collect::<String>();
    format!("{}...{}", text(&chars[..head]), text(&chars[chars.len() - tail..]))
}

/// Formats whole seconds.
fn format_seconds(time: Duration) -> String {
    duration::format(Duration::from_secs(time.as_secs_f64().round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> ProgressState {
        ProgressState {
            planned_runs: 8,
            planned_run: 3,
            share: 0.31,
            left: Duration::from_secs(290),
            cell: "us_flex_small_u20".into(),
            phase: Phase::Steady,
            elapsed: Duration::from_millis(12_400),
            length: Duration::from_secs(60),
            users: Some(20),
            in_flight: 18,
            requests_per_sec: Some(41.26),
            succeeded: 1_204,
            throttled: 3,
            failed: 0,
            p50_ms: Some(180.2),
            p95_ms: Some(2_240.0),
            ttft_p50_ms: Some(81.37),
            input_tokens: 7_224,
            output_tokens: 1_212_040,
            usd: Some(0.012_345),
            budget_usd: Some(5.0),
            done: Vec::new(),
        }
    }

    #[test]
    fn block_fits_every_width() {
        let long = ProgressState {
            cell: "anthropic.claude-sonnet-4-5-20250929-v1-0_converse-stream_us_priority_large_max4096_u1000".into(),
            phase: Phase::Ramp,
            failed: 12,
            ..state()
        };
        let open = ProgressState {
            phase: Phase::Drain,
            users: None,
            budget_usd: None,
            usd: None,
            requests_per_sec: None,
            p50_ms: None,
            p95_ms: None,
            ttft_p50_ms: None,
            ..state()
        };
        let before = ProgressState { planned_runs: 1, left: Duration::from_secs(60), ..ProgressState::default() };
        let mut shown = String::new();
        for width in [60, 80, 120] {
            for (name, state) in
                [("a cell", &state()), ("a long id", &long), ("an open loop", &open), ("before", &before)]
            {
                let lines = state.block(width, ColorMode::Plain);
                assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:#?}");
                shown += &format!("--- {name}, {width} columns\n{}\n", lines.join("\n"));
            }
        }
        insta::assert_snapshot!("block", shown);
    }

    #[test]
    fn colours_do_not_change_the_width() {
        let state = ProgressState { failed: 2, ..state() };
        for (coloured, plain) in state.block(80, ColorMode::Coloured).iter().zip(state.block(80, ColorMode::Plain)) {
            assert_eq!(console::strip_ansi_codes(coloured), plain);
        }
        assert!(state.block(80, ColorMode::Coloured)[4].contains("\u{1b}[31m2 failed"), "what failed is red");
        assert!(!state.block(80, ColorMode::Plain).concat().contains('\u{1b}'));
    }

    #[test]
    fn states_and_finished_cells_are_formatted_as_lines() {
        let done = FinishedCell {
            planned_run: 3,
            cell: "us_flex_small_u20".into(),
            requests: 1_204,
            failure_share: Some(0.002_4),
            p50_ms: Some(180.2),
            p95_ms: Some(240.0),
            usd: Some(0.002_1),
            abort_reason: String::new(),
        };
        let broken = FinishedCell {
            abort_reason: "aborted: \u{1b}[2Jaccess denied\nagain".into(),
            p50_ms: None,
            p95_ms: None,
            usd: None,
            ..done.clone()
        };
        let none = ProgressState { planned_runs: 8, ..ProgressState::default() };
        let lines = [state().line(), none.line(), done.line(8, ColorMode::Plain), broken.line(8, ColorMode::Plain)];
        assert!(!lines.concat().contains(char::is_control));
        insta::assert_snapshot!("lines", lines.join("\n"));
    }
}
