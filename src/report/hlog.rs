//! `histograms/{cell}.hlog`: the successes in each cell's latency window, for the `HdrHistogram` tools of other
//! languages.

use super::templates::Templates;
use super::view::View;
use super::{Rendered, ReportError};
use crate::record::dir::HISTOGRAMS;
use std::path::Path;

/// Renders one file per cell that ran.
#[allow(clippy::unnecessary_wraps)] // a format like the others
pub(super) fn render(view: &View, _: &Templates) -> Result<Vec<Rendered>, ReportError> {
    let ran = view.cells.iter().filter(|cell| !cell.histogram.is_empty());
    let file = |cell: &super::view::CellView| Rendered {
        path: Path::new(HISTOGRAMS).join(format!("{}.hlog", cell.id)),
        bytes: cell.histogram.clone(),
    };
    Ok(ran.map(file).collect())
}
