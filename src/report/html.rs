//! `report.html` and `test_{id}_report.html`: pages from `templates/`, each one file that fetches
//! nothing. What every page has around it, its style, its script and the policy that forbids all else,
//! is put together here.

use super::charts::{self, Figure};
use super::view::View;
use super::{Rendered, ReportError};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use minijinja::{
    Environment, UndefinedBehavior, context,
    syntax::SyntaxConfig,
    value::{Serde, Value},
};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The templates by name. Names and messages come from outside: `.html` templates escape by themselves.
const TEMPLATES: [(&str, &str); 7] = [
    ("chart.html", include_str!("../../templates/chart.html")),
    ("chart.css", include_str!("../../templates/chart.css")),
    ("base.html", include_str!("../../templates/base.html")),
    ("report.html", include_str!("../../templates/report.html")),
    ("cell.html", include_str!("../../templates/cell.html")),
    ("page.css", include_str!("../../templates/page.css")),
    ("page.js", include_str!("../../templates/page.js")),
];

fn environment() -> Result<Environment<'static>, ReportError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    for (name, source) in TEMPLATES {
        environment.add_template(name, source)?;
    }
    Ok(environment)
}

/// Style and script of a page, and the only policy under which they run: these two by their hashes,
/// and nothing from anywhere.
fn frame(environment: &Environment) -> Result<Value, ReportError> {
    let style = format!(
        "{}{}",
        environment.get_template("page.css")?.source(),
        environment.get_template("chart.css")?.source()
    );
    let script = environment.get_template("page.js")?.source().to_owned();
    let hash = |text: &str| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)));
    let policy = format!(
        "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        hash(&style),
        hash(&script)
    );
    Ok(context! { style, script, policy })
}

/// The page of the run.
pub(super) fn run(view: &View) -> Result<Vec<Rendered>, ReportError> {
    let environment = environment()?;
    let page = environment.get_template("report.html")?.render(context! {
        frame => frame(&environment)?,
        run => Value::from(Serde(&view.run)),
        overview => Value::from(Serde(&view.overview)),
        slo => Value::from(Serde(&view.slo)),
        thresholds => view.slo.rows_in_order().map(|row| Value::from(Serde(row))).collect::<Vec<_>>(),
        tiers => Value::from(Serde(&view.tiers)),
        price => Value::from(Serde(&view.price)),
        errors => Value::from(Serde(&view.errors)),
        ran => Value::from(Serde(&view.ran)),
        charts => view.charts.iter().map(|(stem, figure)| (*stem, drawn(figure))).collect::<BTreeMap<_, _>>(),
    })?;
    Ok(vec![Rendered { path: "report.html".into(), bytes: page.into_bytes() }])
}

/// A chart as a page shows it: each panel is a picture of its own, so that they wrap.
fn drawn(figure: &Figure) -> Value {
    context! {
        title => figure.title.clone(), notes => figure.notes.clone(), legend => charts::legend(figure),
        scale => charts::scale(figure), panels => charts::svg::panels(figure)
    }
}

/// One page per cell.
pub(super) fn render(view: &View) -> Result<Vec<Rendered>, ReportError> {
    let environment = environment()?;
    let template = environment.get_template("cell.html")?;
    let frame = frame(&environment)?;
    let run = Value::from(Serde(&view.run));
    let caption = &view.tiers.caption;
    view.cells
        .iter()
        .map(|cell| {
            let against = view.tiers.tiers.iter().find(|tier| tier.id == cell.id);
            let page = template.render(context! {
                frame => frame.clone(), run => run.clone(), cell => Value::from(Serde(cell)),
                tier => Value::from(Serde(against)), caption => caption
            })?;
            Ok(Rendered { path: format!("test_{}_report.html", cell.id).into(), bytes: page.into_bytes() })
        })
        .collect()
}
