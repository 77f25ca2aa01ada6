//! `report.html` and `test_{id}_report.html`: pages from `templates/`, each one file that fetches
//! nothing. What every page has around it, its style, its script and the policy that forbids all else,
//! is put together here.

use super::charts::{self, Figure};
use super::compare::Page as Compared;
use super::templates::Templates;
use super::view::slo::{SloRow, SloView};
use super::view::{
    CellView, ErrorClass, MachinesView, Overview, PriceView, RanView, RunView, TierView, TiersView, View,
};
use super::{Rendered, ReportError};
use crate::record::dir::picture_name;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};

/// What every page has around it.
#[derive(Serialize)]
struct Frame<'a> {
    style: String,
    script: &'a str,
    /// The only one under which they run: these two by their hashes, and nothing from anywhere.
    policy: String,
}

/// What `report.html` knows.
#[derive(Serialize)]
struct RunPage<'a> {
    frame: Frame<'a>,
    run: &'a RunView,
    overview: &'a Overview,
    slo: &'a SloView,
    /// Its rows, failures first.
    thresholds: Vec<&'a SloRow>,
    tiers: &'a TiersView,
    price: &'a PriceView,
    errors: &'a [ErrorClass],
    ran: &'a RanView,
    machines: Option<&'a MachinesView>,
    charts: BTreeMap<&'static str, Chart<'a>>,
}

/// A chart as a page shows it: each panel is a picture of its own, so that they wrap.
#[derive(Serialize)]
struct Chart<'a> {
    title: &'a str,
    notes: &'a [String],
    /// Names, and the class of each colour.
    legend: Vec<(String, String)>,
    /// What the colours of a heat map go from and to.
    scale: Option<(String, String)>,
    /// SVG, those of the first picture.
    panels: Vec<String>,
    /// How many panels there are.
    count: usize,
    /// The pictures with the others.
    more: Vec<Picture>,
}

/// A picture beside the page.
#[derive(Serialize)]
struct Picture {
    /// Its file.
    path: String,
    /// The numbers of its first and last panel.
    first: usize,
    /// As above.
    last: usize,
}

/// What a cell's page knows.
#[derive(Serialize)]
struct CellPage<'a> {
    frame: Frame<'a>,
    run: &'a RunView,
    cell: &'a CellView,
    /// It against `default`.
    tier: Option<&'a TierView>,
    /// How to read that.
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

/// What the page of a comparison knows.
#[derive(Serialize)]
struct ComparePage<'a> {
    frame: Frame<'a>,
    /// For the banners.
    run: Banners,
    #[serde(flatten)]
    compared: &'a Compared<'a>,
    /// How each verdict is drawn,
    states: BTreeMap<&'static str, &'static str>,
    /// and how the whole is.
    state: &'static str,
}

/// What heads every page.
#[derive(Serialize)]
#[allow(clippy::struct_excessive_bools)] // each is a banner of its own
struct Banners {
    simulated: bool,
    not_aws: bool,
    include_failures: bool,
    interrupted: bool,
    running: &'static str,
}

/// How the verdicts of a comparison are drawn.
const STATES: [(&str, &str); 5] = [
    ("REGRESSED", "fail"),
    ("SUSPECT", "unknown"),
    ("IMPROVED", "pass"),
    ("INCONCLUSIVE", "unknown"),
    ("PASS", "pass"),
];

/// The page of a comparison.
pub(super) fn comparison(compared: &Compared, templates: &Templates) -> Result<Vec<u8>, ReportError> {
    let states = BTreeMap::from(STATES);
    let page = ComparePage {
        frame: frame(templates),
        run: Banners {
            simulated: compared.view.simulated,
            not_aws: compared.view.not_aws,
            // Sessions are compared without failed requests.
            include_failures: false,
            interrupted: false,
            running: "",
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

/// The page of the run.
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

/// One page per cell.
pub(super) fn render(view: &View, templates: &Templates) -> Result<Vec<Rendered>, ReportError> {
    let tiers: HashMap<&str, &TierView> = view.tiers.tiers.iter().map(|tier| (tier.id.as_str(), tier)).collect();
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
