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
    let caption = &view.tiers.caption;
    view.cells
        .iter()
        .map(|cell| {
            let against = view.tiers.tiers.iter().find(|tier| tier.id == cell.id);
            let page = template.render(context! {
                run => run.clone(), cell => Value::from(Serde(cell)), tier => Value::from(Serde(against)), caption => caption
            })?;
            Ok(Rendered { path: format!("test_{}_report.html", cell.id).into(), bytes: page.into_bytes() })
        })
        .collect()
}
