//! The state of a run as lines. Pure: what is shown is a function of the state and the width, and can be
//! tested without a terminal.

use super::paint::{Ink, Paint};
use crate::report::view::text;
use crate::units::duration;
use crate::units::text::clean;
use std::time::Duration;

/// Columns of what begins a line.
const LABEL: usize = 7;

/// What a display shows, taken five times a second.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct State {
    /// Cells to run, repetitions counted.
    pub(crate) turns: usize,
    /// The running one, from 1; 0 before the first.
    pub(crate) turn: usize,
    /// How much of the run's time is over, 0 to 1.
    pub(crate) share: f64,
    /// Until the end of the run, as planned.
    pub(crate) left: Duration,
    /// The running cell's id.
    pub(crate) cell: String,
    /// What it is doing.
    pub(crate) phase: Phase,
    /// Since its first start.
    pub(crate) elapsed: Duration,
    /// Its test duration.
    pub(crate) length: Duration,
    /// Users running; nothing in an open loop.
    pub(crate) users: Option<u32>,
    /// Requests in flight.
    pub(crate) in_flight: u32,
    /// Requests that ended in the last seconds, per second.
    pub(crate) requests_per_sec: Option<f64>,
    /// Ended so far in this cell, by outcome.
    pub(crate) succeeded: u64,
    /// See `succeeded`.
    pub(crate) throttled: u64,
    /// See `succeeded`.
    pub(crate) failed: u64,
    /// Successes so far, milliseconds.
    pub(crate) p50_ms: Option<f64>,
    /// See `p50_ms`.
    pub(crate) p95_ms: Option<f64>,
    /// Time to first token of streams so far, the median, milliseconds.
    pub(crate) ttft_p50_ms: Option<f64>,
    /// Of the successes so far.
    pub(crate) input_tokens: u64,
    /// See `input_tokens`.
    pub(crate) output_tokens: u64,
    /// Of the run so far, US dollars; nothing where no price is known.
    pub(crate) usd: Option<f64>,
    /// At which it ends, US dollars.
    pub(crate) budget_usd: Option<f64>,
    /// Cells that ended since the state before.
    pub(crate) done: Vec<Done>,
}

/// What a cell is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing yet: the endpoint is tried, or a cache is filled.
    #[default]
    Before,
    /// Users are still being started.
    Ramp,
    /// All are there.
    Steady,
    /// Nothing more starts; what is in flight is waited for.
    Drain,
    /// It is over, and the next one has not begun.
    Pause,
}

/// A cell that ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Done {
    /// As [`State::turn`].
    pub(crate) turn: usize,
    /// Its id.
    pub(crate) cell: String,
    /// All that were sent.
    pub(crate) requests: u64,
    /// Throttled and failed over all.
    pub(crate) failure_share: Option<f64>,
    /// Successes, milliseconds, the ramp included.
    pub(crate) p50_ms: Option<f64>,
    /// See `p50_ms`.
    pub(crate) p95_ms: Option<f64>,
    /// US dollars, where all of it is known.
    pub(crate) usd: Option<f64>,
    /// Why it did not run to its end; else empty.
    pub(crate) broken: String,
}

/// Words with their colours, parted by two blanks.
type Parts = Vec<(Ink, String)>;

impl State {
    /// The block of a terminal that is so many columns wide; no line is wider.
    pub(crate) fn block(&self, width: usize, paint: Paint) -> Vec<String> {
        let mut lines = vec![line("run", vec![(Ink::Plain, self.run(width))], width, paint)];
        if self.turn == 0 {
            return lines;
        }
        let doing = self.doing();
        let cell = shortened(&self.cell, width.saturating_sub(LABEL + 2 + doing.len()));
        lines.push(line("cell", vec![(Ink::Strong, cell), (Ink::Plain, doing)], width, paint));
        lines.push(line("load", plain(self.load()), width, paint));
        let times = self.times();
        let times = if times.is_empty() { vec!["no success yet".into()] } else { times };
        lines.push(line("times", plain(times), width, paint));
        lines.push(line("ends", self.ends(), width, paint));
        lines.push(line("spent", plain(self.spent()), width, paint));
        lines
    }

    /// The same facts in one line, for a log.
    pub(crate) fn line(&self) -> String {
        if self.turn == 0 {
            return format!("[0/{}] starting", self.turns);
        }
        let ends = self.ends().into_iter().map(|(_, text)| text).collect();
        let groups: [Vec<String>; 4] = [self.load(), self.times(), ends, self.spent()];
        let facts: Vec<String> =
            groups.iter().filter(|group| !group.is_empty()).map(|group| group.join(", ")).collect();
        format!(
            "[{}/{}] {}: {}, {} left; {}",
            self.turn,
            self.turns,
            self.cell,
            self.doing(),
            clock(self.left),
            facts.join("; ")
        )
    }

    /// `3 of 8 cells  [#####.........]  31 %  4m50s left`.
    fn run(&self, width: usize) -> String {
        let cells = format!("{} of {} {}", self.turn, self.turns, if self.turns == 1 { "cell" } else { "cells" });
        let share = format!("{:.0} %  {} left", self.share.clamp(0.0, 1.0) * 100.0, clock(self.left));
        let room = width.saturating_sub(LABEL + cells.len() + share.len() + 6).min(40);
        let full = (self.share.clamp(0.0, 1.0) * room as f64).round() as usize;
        format!("{cells}  [{}{}]  {share}", "#".repeat(full), ".".repeat(room - full))
    }

    fn doing(&self) -> String {
        let of = format!("{} of {}", clock(self.elapsed), clock(self.length));
        match self.phase {
            Phase::Before => "starting".into(),
            Phase::Ramp => format!("ramp, {of}"),
            Phase::Steady => format!("steady, {of}"),
            Phase::Drain => "draining".into(),
            Phase::Pause => "done".into(),
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
        let ink = |n: u64, ink| if n > 0 { ink } else { Ink::Plain };
        vec![
            (Ink::Plain, format!("{} succeeded", count(self.succeeded))),
            (ink(self.throttled, Ink::Warning), format!("{} throttled", count(self.throttled))),
            (ink(self.failed, Ink::Bad), format!("{} failed", count(self.failed))),
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

impl Done {
    /// `[3/8] us_flex_small_u20: 1,204 requests, 0.2 % failed, p50 180 ms, p95 240 ms, 0.0021 USD`.
    pub(crate) fn line(&self, turns: usize, paint: Paint) -> String {
        let mut facts = vec![
            format!("{} requests", text::thousands(self.requests as f64, 0)),
            format!("{} failed", text::percent(self.failure_share)),
        ];
        for (name, value) in [("p50", self.p50_ms), ("p95", self.p95_ms)] {
            facts.extend(value.map(|ms| format!("{name} {} ms", text::ms(ms))));
        }
        facts.extend(self.usd.map(|usd| format!("{usd:.4} USD")));
        let line = format!("[{}/{turns}] {}: {}", self.turn, self.cell, facts.join(", "));
        if self.broken.is_empty() { line } else { format!("{line}; {}", paint.ink(Ink::Warning, &clean(&self.broken))) }
    }
}

fn plain(words: Vec<String>) -> Parts {
    words.into_iter().map(|word| (Ink::Plain, word)).collect()
}

/// A label and as many of the parts as fit.
fn line(label: &str, parts: Parts, width: usize, paint: Paint) -> String {
    let mut line = paint.ink(Ink::Soft, &format!("{label:<LABEL$}"));
    let mut columns = LABEL;
    for (index, (ink, text)) in parts.into_iter().enumerate() {
        let gap = if index == 0 { 0 } else { 2 };
        columns += gap + text.chars().count();
        if columns > width {
            break;
        }
        line += &" ".repeat(gap);
        line += &paint.ink(ink, &text);
    }
    line
}

/// An id that is too long loses its middle: both its ends tell cells apart.
fn shortened(id: &str, columns: usize) -> String {
    let chars: Vec<char> = id.chars().collect();
    if chars.len() <= columns || columns < 8 {
        return id.into();
    }
    let (head, tail) = ((columns - 3) / 2, (columns - 3).div_ceil(2));
    let text = |part: &[char]| part.iter().collect::<String>();
    format!("{}...{}", text(&chars[..head]), text(&chars[chars.len() - tail..]))
}

/// Whole seconds.
fn clock(time: Duration) -> String {
    duration::format(Duration::from_secs(time.as_secs_f64().round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            turns: 8,
            turn: 3,
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
    fn a_state_is_a_block_at_every_width() {
        let long = State {
            cell: "anthropic.claude-sonnet-4-5-20250929-v1-0_converse-stream_us_priority_large_max4096_u1000".into(),
            phase: Phase::Ramp,
            failed: 12,
            ..state()
        };
        let open = State {
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
        let before = State { turns: 1, left: Duration::from_secs(60), ..State::default() };
        let mut shown = String::new();
        for width in [60, 80, 120] {
            for (name, state) in
                [("a cell", &state()), ("a long id", &long), ("an open loop", &open), ("before", &before)]
            {
                let lines = state.block(width, Paint::Plain);
                assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:#?}");
                shown += &format!("--- {name}, {width} columns\n{}\n", lines.join("\n"));
            }
        }
        insta::assert_snapshot!("block", shown);
    }

    #[test]
    fn colours_change_no_width() {
        let state = State { failed: 2, ..state() };
        for (coloured, plain) in state.block(80, Paint::Coloured).iter().zip(state.block(80, Paint::Plain)) {
            assert_eq!(console::strip_ansi_codes(coloured), plain);
        }
        assert!(state.block(80, Paint::Coloured)[4].contains("\u{1b}[31m2 failed"), "what failed is red");
        assert!(!state.block(80, Paint::Plain).concat().contains('\u{1b}'));
    }

    #[test]
    fn a_state_and_the_end_of_a_cell_are_lines() {
        let done = Done {
            turn: 3,
            cell: "us_flex_small_u20".into(),
            requests: 1_204,
            failure_share: Some(0.002_4),
            p50_ms: Some(180.2),
            p95_ms: Some(240.0),
            usd: Some(0.002_1),
            broken: String::new(),
        };
        let broken = Done {
            broken: "aborted: \u{1b}[2Jaccess denied\nagain".into(),
            p50_ms: None,
            p95_ms: None,
            usd: None,
            ..done.clone()
        };
        let none = State { turns: 8, ..State::default() };
        let lines = [state().line(), none.line(), done.line(8, Paint::Plain), broken.line(8, Paint::Plain)];
        assert!(!lines.concat().contains(char::is_control));
        insta::assert_snapshot!("lines", lines.join("\n"));
    }
}
