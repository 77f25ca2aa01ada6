//! Renders a summary to bytes: a [`view`] that contains all computed values, and one function per format. Formats do
//! not access the disk and compute nothing. This module must not depend on executor, config, guard or cli.

mod chart_files;
pub(crate) mod charts;
pub(crate) mod ci;
pub(crate) mod compare;
mod consolidated;
mod encode;
mod hlog;
mod html;
mod locust;
mod markdown;
mod markdown_text;
pub(crate) mod outside;
mod rendered;
mod slo;
mod stages;
pub(crate) mod summary;
pub(crate) mod templates;
#[cfg(test)]
pub(crate) mod tests;
mod texts;
mod tiers;
pub(crate) mod view;

pub(crate) use rendered::{Rendered, ReportError};

use encode::{csv_bytes, json_bytes, number, schema_of};
use templates::Templates;
use view::View;

/// Function that renders a view to files. Formats without a template ignore the second argument.
pub(crate) type Format = fn(&View, &Templates) -> Result<Vec<Rendered>, ReportError>;

/// All formats. The summary comes first. It lists the files of the others, so that a later report may replace them even
/// if this one is killed.
pub(crate) const FORMATS: &[Format] = &[
    summary::render,
    consolidated::render,
    slo::render,
    stages::render,
    tiers::render,
    locust::render,
    html::run,
    html::render,
    markdown::render,
    chart_files::render,
    hlog::render,
];
