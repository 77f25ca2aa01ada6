//! `test_{id}_report.html`: a page per cell, from `templates/cell.html`.

use super::view::View;
use super::{Rendered, ReportError};
use minijinja::{
    Environment, UndefinedBehavior, context,
    value::{Serde, Value},
};

/// One page per cell. Names and messages come from outside: `.html` templates escape by themselves.
pub(super) fn render(view: &View) -> Result<Vec<Rendered>, ReportError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_template("cell.html", include_str!("../../templates/cell.html"))?;
    let template = environment.get_template("cell.html")?;
    let run = Value::from(Serde(&view.run));
    view.cells
        .iter()
        .map(|cell| {
            let page = template.render(context! { run => run.clone(), cell => Value::from(Serde(cell)) })?;
            Ok(Rendered { path: format!("test_{}_report.html", cell.id).into(), bytes: page.into_bytes() })
        })
        .collect()
}
