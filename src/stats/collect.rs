//! Takes records in, keeps what the numbers need.

use super::summary::{self, Summary};
use crate::record::manifest::Manifest;
use crate::record::{Outcome, Record};
use std::collections::BTreeMap;

/// What is kept of a record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    /// From the start of its turn to the send, milliseconds.
    pub(crate) sent_ms: f64,
    /// Milliseconds.
    pub(crate) response_ms: f64,
    /// When it ended, epoch seconds.
    pub(crate) ended_s: f64,
    /// Tokens, where the reply said.
    pub(crate) input_tokens: Option<u32>,
    /// Tokens, where the reply said.
    pub(crate) output_tokens: Option<u32>,
    /// Bytes of the body.
    pub(crate) response_bytes: u32,
    /// Which run of the matrix, from 1.
    pub(crate) repetition: u32,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// It failed by its own timeout: its true time is longer.
    pub(crate) timed_out: bool,
    /// The reply reports tokens read from the prompt cache.
    pub(crate) cache_read: bool,
    /// The reply names another tier than was asked for.
    pub(crate) other_tier: bool,
}

/// One kind of failure in a cell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ErrorCount {
    /// See `record::class`.
    pub(crate) class: String,
    /// What was said.
    pub(crate) message: String,
    /// How often.
    pub(crate) count: u64,
    /// Epoch seconds.
    pub(crate) first_s: f64,
    /// Epoch seconds.
    pub(crate) last_s: f64,
}

/// What is known of a cell while records come in.
#[derive(Debug, Clone, Default)]
pub(super) struct Gathered {
    pub(super) samples: Vec<Sample>,
    pub(super) errors: BTreeMap<(String, String), (u64, f64, f64)>,
    /// Some reply came with an HTTP status.
    pub(super) answered: bool,
}

/// Takes the records of one run.
#[derive(Debug)]
pub(crate) struct Collector<'a> {
    manifest: &'a Manifest,
    cells: Vec<Gathered>,
}

impl<'a> Collector<'a> {
    /// For the cells of a manifest.
    pub(crate) fn new(manifest: &'a Manifest) -> Self {
        Self { manifest, cells: vec![Gathered::default(); manifest.cells.len()] }
    }

    /// Takes one record of a cell, in any order.
    pub(crate) fn add(&mut self, cell: usize, record: &Record) {
        let gathered = &mut self.cells[cell];
        let asked = &self.manifest.cells[cell].cell.service_tier;
        gathered.answered |= record.http_status.is_some();
        gathered.samples.push(Sample {
            sent_ms: record.sent_ms,
            response_ms: record.response_time_ms,
            ended_s: record.timestamp,
            input_tokens: record.input_tokens.map(saturate),
            output_tokens: record.output_tokens.map(saturate),
            response_bytes: record.response_bytes.map_or(0, saturate),
            repetition: record.repetition,
            outcome: record.outcome,
            timed_out: record.error_class.as_deref() == Some("timeout"),
            cache_read: record.cache_read_tokens.is_some_and(|tokens| tokens > 0),
            other_tier: asked != "none" && record.resolved_service_tier.as_ref().is_some_and(|tier| tier != asked),
        });
        if record.outcome.is_failure() {
            let text = |field: &Option<String>| field.clone().unwrap_or_default();
            let entry = gathered.errors.entry((text(&record.error_class), text(&record.error_message))).or_insert((
                0,
                f64::INFINITY,
                f64::NEG_INFINITY,
            ));
            *entry = (entry.0 + 1, entry.1.min(record.timestamp), entry.2.max(record.timestamp));
        }
    }

    /// The numbers.
    pub(crate) fn finish(self) -> Summary {
        summary::summarise(self.manifest, self.cells)
    }
}

fn saturate(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
