//! SVG: plotters' own backend, four units to a CSS pixel. In this version charts are snapshotted as
//! SVG; what people get are pictures.

use super::ChartError;
use super::figure::Figure;
use super::frame;
use super::ink::{Ink, UNITS};
use plotters::prelude::{IntoDrawingArea, SVGBackend};

pub(crate) fn render(figure: &Figure) -> Result<String, ChartError> {
    let layout = frame::layout(figure);
    let units = |css: f64| (css * UNITS).ceil() as u32;
    let (width, height) = (units(layout.width), units(layout.height));
    let mut text = String::new();
    let ink = Ink::new(SVGBackend::with_string(&mut text, (width, height)).into_drawing_area())?;
    frame::draw(&ink, figure, &layout)?;
    ink.finish()?;
    let drawn = format!("width=\"{width}\" height=\"{height}\"");
    let shown = format!("width=\"{}\" height=\"{}\"", layout.width.ceil(), layout.height.ceil());
    Ok(text.replacen(&drawn, &shown, 1))
}

#[cfg(test)]
mod tests {
    use super::super::figure::{Bar, BarFigure, BarPanel, Body, Figure, Group, HeatFigure, HeatPanel};

    fn figure(body: Body) -> Figure {
        Figure {
            title: "P50 and P95 response time".into(),
            subtitle: "quickstart, 2026-11-24T09:16:03Z".into(),
            banner: Some("SIMULATED".into()),
            notes: vec!["Of the successes in each cell's latency window.".into()],
            body,
        }
    }

    #[test]
    fn bars_with_whiskers_gaps_and_hostile_names() {
        let bar = |value: f64, high| Bar {
            value: Some(value),
            interval: Some((value * 0.9, high)),
            label: format!("{value}"),
        };
        let refused = Bar::plain(None, "n/a (41 samples)".into());
        let groups = vec![
            Group { label: "default / us".into(), bars: vec![(0, bar(180.0, Some(190.0))), (1, bar(412.5, None))] },
            Group { label: "<script>&\u{7}\u{4e2d}".into(), bars: vec![(0, bar(95.0, Some(99.0))), (1, refused)] },
        ];
        let body = Body::Bars(BarFigure {
            unit: "response time, ms".into(),
            series: vec!["P50".into(), "P95".into()],
            panels: vec![BarPanel { title: "prompt small".into(), groups }],
        });
        let svg = super::render(&figure(body)).unwrap();
        assert!(!svg.contains("<script>") && !svg.contains('\u{7}'));
        insta::assert_snapshot!(svg);
    }

    #[test]
    fn a_heat_map() {
        let square = |row, column, value: f64| (row, column, Bar::plain(Some(value), format!("{value}")));
        let panel = HeatPanel {
            title: "prefix us".into(),
            rows: vec!["default".into(), "flex".into()],
            columns: vec!["small".into(), "large".into()],
            squares: vec![
                square(0, 0, 100.0),
                square(0, 1, 250.0),
                square(1, 0, 180.0),
                (1, 1, Bar::plain(None, "n/a".into())),
            ],
        };
        let body = Body::Heat(HeatFigure { unit: "response time, ms".into(), panels: vec![panel] });
        insta::assert_snapshot!(super::render(&figure(body)).unwrap());
    }

    #[test]
    fn nothing_to_draw_is_said() {
        let body = Body::Bars(BarFigure { unit: "ms".into(), series: vec![], panels: vec![] });
        assert!(super::render(&figure(body)).unwrap().contains("no data"));
        assert!(
            super::render(&figure(Body::Heat(HeatFigure { unit: "ms".into(), panels: vec![] })))
                .unwrap()
                .contains("no data")
        );
    }
}
