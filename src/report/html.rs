//! `report.html` and `test_{id}_report.html`: pages from `templates/`. Each page is one file that loads nothing else.
//! This module adds the frame of every page: style, script, and the content security policy that forbids everything
//! else.

use super::charts::{self, Figure};
use super::compare::Page as Compared;
use super::templates::Templates;
use super::view::slo::SloView;
use super::view::{CellView, ErrorClass, MachinesView, Overview, PlanView, PriceView, TierView, TiersView, View};
use super::{Rendered, ReportError};
use crate::record::dir::picture_name;
use crate::result::{RunInfo, ThresholdResult};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};

/// Frame of every page.
#[derive(Serialize)]
struct Frame<'a> {
    style: String,
    script: &'a str,
    /// Content security policy: allows only this style and this script, by hash, and no other source.
    policy: String,
}

/// Context of the template `report.html`.
#[derive(Serialize)]
struct RunPage<'a> {
    frame: Frame<'a>,
    run: &'a RunInfo,
    overview: &'a Overview,
    slo: &'a SloView,
    /// Rows of the thresholds, failures first.
    thresholds: Vec<&'a ThresholdResult>,
    tiers: &'a TiersView,
    price: &'a PriceView,
    errors: &'a [ErrorClass],
    ran: &'a PlanView,
    machines: Option<&'a MachinesView>,
    charts: BTreeMap<&'static str, Chart<'a>>,
}

/// Chart on a page. Each panel is an SVG picture of its own, so that panels wrap.
#[derive(Serialize)]
struct Chart<'a> {
    title: &'a str,
    notes: &'a [String],
    /// Names, each with the CSS class of its colour.
    legend: Vec<(String, String)>,
    /// Ends of the colour scale of a heat map.
    scale: Option<(String, String)>,
    /// SVG panels of the first picture.
    panels: Vec<String>,
    /// Number of all panels.
    count: usize,
    /// Pictures with the other panels.
    more: Vec<Picture>,
}

/// Picture in a file next to the page.
#[derive(Serialize)]
struct Picture {
    /// Path of the file.
    path: String,
    /// Number of the first panel in the picture.
    first: usize,
    /// Number of the last panel in the picture.
    last: usize,
}

/// Context of the template `cell.html`.
#[derive(Serialize)]
struct CellPage<'a> {
    frame: Frame<'a>,
    run: &'a RunInfo,
    cell: &'a CellView,
    /// Comparison of the cell with `default`.
    tier: Option<&'a TierView>,
    /// Explanation of the comparison.
    caption: &'a str,
    charts: BTreeMap<&'static str, Chart<'a>>,
}

fn chart<'a>(stem: &str, figure: &'a Figure) -> Chart<'a> {
    let picture = |picture: usize| {
        let panels = charts::panels_of_picture(figure, picture);
        Picture { path: format!("{}.svg", picture_name(stem, picture)), first: panels.start + 1, last: panels.end }
    };
    Chart {
        title: &figure.title,
        notes: &figure.notes,
        legend: charts::legend(figure),
        scale: charts::scale(figure),
        panels: charts::svg::panels(figure),
        count: charts::panels_count(figure),
        more: (1..charts::pictures_count(figure)).map(picture).collect(),
    }
}

/// Context of the template `compare.html`.
#[derive(Serialize)]
struct ComparePage<'a> {
    frame: Frame<'a>,
    /// Values for the banners.
    run: Banners,
    #[serde(flatten)]
    compared: &'a Compared<'a>,
    /// CSS class of each verdict.
    states: BTreeMap<&'static str, &'static str>,
    /// CSS class of the overall verdict.
    state: &'static str,
}

/// Banners at the top of every page.
#[derive(Serialize)]
#[allow(clippy::struct_excessive_bools)] // each is a banner of its own
struct Banners {
    simulated: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    not_aws: bool,
    include_failures: bool,
    interrupted: bool,
}

/// CSS classes of the verdicts of a comparison.
const STATES: [(&str, &str); 5] = [
    ("REGRESSED", "fail"),
    ("SUSPECT", "unknown"),
    ("IMPROVED", "pass"),
    ("INCONCLUSIVE", "unknown"),
    ("PASS", "pass"),
];

/// Renders the page of a comparison.
pub(super) fn comparison(compared: &Compared, templates: &Templates) -> Result<Vec<u8>, ReportError> {
    let states = BTreeMap::from(STATES);
    let page = ComparePage {
        frame: frame(templates),
        run: Banners {
            simulated: compared.view.simulated,
            not_aws: compared.view.not_aws,
            // Comparisons exclude failed requests.
            include_failures: false,
            interrupted: false,
        },
        compared,
        state: states.get(compared.view.verdict).copied().unwrap_or("unknown"),
        states,
    };
    templates.render("compare.html", &page)
}

fn frame(templates: &Templates) -> Frame<'_> {
    let style = format!("{}{}", templates.text("page.css"), templates.text("chart.css"));
    let script = templates.text("page.js");
    let hash = |text: &str| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)));
    let policy = format!(
        "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        hash(&style),
        hash(script)
    );
    Frame { style, script, policy }
}

/// Renders the page of the run.
pub(super) fn run(view: &View, templates: &Templates) -> Result<Vec<Rendered>, ReportError> {
    let page = RunPage {
        frame: frame(templates),
        run: &view.run,
        overview: &view.overview,
        slo: &view.slo,
        thresholds: view.slo.rows_in_order().collect(),
        tiers: &view.tiers,
        price: &view.price,
        errors: &view.errors,
        ran: &view.ran,
        machines: view.machines.as_ref(),
        charts: view.charts.iter().map(|(stem, figure)| (*stem, chart(stem, figure))).collect(),
    };
    Ok(vec![Rendered { path: "report.html".into(), bytes: templates.render("report.html", &page)? }])
}

/// Renders one page per cell.
pub(super) fn render(view: &View, templates: &Templates) -> Result<Vec<Rendered>, ReportError> {
    let tiers: HashMap<&str, &TierView> =
        view.tiers.tiers.iter().map(|tier| (tier.result.test_id.as_str(), tier)).collect();
    view.cells
        .iter()
        .map(|cell| {
            let tier = tiers.get(cell.id.as_str()).copied();
            let frame = frame(templates);
            let charts = cell.page.figures.iter().map(|(stem, figure)| (*stem, chart(stem, figure))).collect();
            let page = CellPage { frame, run: &view.run, cell, tier, caption: &view.tiers.caption, charts };
            let path = format!("test_{}_report.html", cell.id).into();
            Ok(Rendered { path, bytes: templates.render("cell.html", &page)? })
        })
        .collect()
}
