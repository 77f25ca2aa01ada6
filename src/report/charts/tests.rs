//! Figures of every kind, with gaps and hostile names, as SVG; and that pictures have their canvas.

use super::canvas::{Align, Canvas, Shape};
use super::style::{Paint, width};
use super::{
    Axis, Bar, BarFigure, BarPanel, Body, Figure, Group, HeatFigure, HeatPanel, Join, Limit, Line, LineFigure,
    LinePanel, Point, Scale, Series, frame, panel, panels_count, pictures_count, png, svg,
};

fn figure(series: Vec<Series>, body: Body) -> Figure {
    Figure {
        title: "P50 and P95 response time".into(),
        subtitle: "quickstart, 2026-11-24T09:16:03Z".into(),
        banner: Some("SIMULATED".into()),
        notes: vec!["Of the successes in each cell's latency window.".into()],
        marks: vec!["us_flex_small_u2: INVALID".into()],
        series,
        body,
    }
}

/// A file without its style, which is a file of its own.
fn drawn(figure: &Figure) -> String {
    svg::file(figure, 0).replace(svg::STYLE, "").replace('>', ">\n")
}

fn two() -> Vec<Series> {
    vec![Series { pale: true, ..Series::new("P50", 6) }, Series::new("P95", 6)]
}

#[test]
fn bars_with_gaps_and_hostile_names() {
    let bar = |value: f64| Bar {
        value: Some(value),
        label: format!("{value}"),
        is_unreliable: value > 400.0,
        tooltip: format!("<b>: {value}"),
    };
    let refused = Bar { label: "n/a (41 samples)".into(), tooltip: "nothing".into(), ..Bar::default() };
    let group = |label: &str, hue, bars| Group { label: label.into(), hue: Some(hue), bars };
    let groups = vec![
        group("default / us", 0, vec![(0, bar(180.0)), (1, bar(412.5))]),
        group("<script>&\u{7}\u{4e2d}", 2, vec![(0, bar(95.0)), (1, refused)]),
    ];
    let body = Body::Bars(BarFigure {
        unit: "response time, ms".into(),
        panels: vec![BarPanel { title: "prompt small".into(), groups }],
    });
    let svg = drawn(&figure(two(), body));
    assert!(!svg.contains("<script>") && !svg.contains('\u{7}') && !svg.contains("<b>"));
    insta::assert_snapshot!(svg);
}

#[test]
fn heat_map() {
    let square = |row, column, value: f64| {
        let bar =
            Bar { value: Some(value), label: format!("{value}"), tooltip: format!("{row} {value}"), ..Bar::default() };
        (row, column, bar)
    };
    let panel = HeatPanel {
        title: "prefix us".into(),
        rows: vec!["default".into(), "flex".into()],
        columns: vec!["small".into(), "large".into()],
        squares: vec![
            square(0, 0, 100.0),
            square(0, 1, 250.0),
            square(1, 0, 180.0),
            (1, 1, Bar { label: "n/a".into(), tooltip: "none".into(), ..Bar::default() }),
        ],
    };
    let body = Body::Heat(HeatFigure { unit: "response time, ms".into(), panels: vec![panel] });
    insta::assert_snapshot!(drawn(&figure(vec![], body)));
}

#[test]
fn lines_with_a_limit_and_a_gap() {
    let point = |x, y: Option<f64>| Point {
        x,
        y,
        interval: y.map(|y| (y * 0.9, Some(y * 1.2))),
        hollow: x > 50.0,
        tooltip: format!("{x} users: {y:?}"),
        ..Point::default()
    };
    let panel = LinePanel {
        title: "prompt small".into(),
        captions: vec!["default holds up to 60 users".into()],
        lines: vec![Line {
            series: 0,
            join: Join::Marked,
            points: vec![point(30.0, Some(210.0)), point(60.0, Some(260.0)), point(90.0, None)],
        }],
        limits: vec![Limit { y: 300.0, series: None, tooltip: "p95 <= 300 ms".into() }],
    };
    let axis = |label: &str, scale| Axis { label: label.into(), scale };
    let body = Body::Lines(LineFigure {
        x: axis("users", Scale::Linear),
        y: axis("p95, ms", Scale::Linear),
        panels: vec![panel],
    });
    insta::assert_snapshot!(drawn(&figure(vec![Series::new("default", 0)], body)));
}

#[test]
fn empty_chart_has_a_message() {
    let bodies = [
        Body::Bars(BarFigure { unit: "ms".into(), panels: vec![] }),
        Body::Heat(HeatFigure { unit: "ms".into(), panels: vec![] }),
    ];
    for body in bodies {
        assert!(svg::file(&figure(vec![], body), 0).contains("no data"));
    }
}

#[test]
fn picture_contains_its_bars_and_is_deterministic() {
    let bar = |value: f64| Bar { value: Some(value), label: format!("{value}"), ..Bar::default() };
    let bars = vec![(0, bar(10.0)), (1, bar(20.0))];
    let body = Body::Bars(BarFigure {
        unit: "ms".into(),
        panels: vec![BarPanel { title: String::new(), groups: vec![Group { label: "30".into(), hue: None, bars }] }],
    });
    let figure = figure(vec![Series::new("default", 0), Series::new("flex", 2)], body);
    let bytes = png(&figure, 0).unwrap();
    assert_eq!(bytes, png(&figure, 0).unwrap());
    let mut reader = ::png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
    let mut picture = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut picture).unwrap();
    let area =
        |(red, green, blue): (u8, u8, u8)| picture.chunks(3).filter(|pixel| **pixel == [red, green, blue]).count();
    let (first, second) = (area(Paint::Hue(0).light()), area(Paint::Hue(2).light()));
    assert!(first > 2_000, "{first}");
    // Twice the value is twice the bar; the legend's squares are the same.
    assert!((second as f64 / first as f64 - 2.0).abs() < 0.15, "{first} {second}");
}

#[test]
fn every_colour_has_a_value_for_light_that_is_the_pictures_and_one_for_dark() {
    let paints = [Paint::Ink, Paint::Soft, Paint::Grid, Paint::Paper, Paint::Warn, Paint::WarnPaper, Paint::Limit]
        .into_iter()
        .chain((0..8).flat_map(|index| [Paint::Hue(index), Paint::Pale(index)]))
        .chain((0..7).map(Paint::Outcome))
        .chain((0..=10).map(Paint::Heat));
    let (light, dark) = svg::STYLE.split_once("@media").unwrap();
    for paint in paints {
        let class = paint.class();
        let name = if class.len() == 1 { format!("--c{class}") } else { format!("--{class}") };
        let (r, g, b) = paint.light();
        let hex = if paint == Paint::Paper { "#fff".into() } else { format!("#{r:02x}{g:02x}{b:02x}") };
        assert!(light.contains(&format!("{name}: {hex};")), "{paint:?} is {hex}");
        assert!(dark.contains(&format!("{name}: #")) && dark.contains(&format!(".f{class} ")), "{paint:?}");
    }
}

/// Texts of a figure that run into each other or out of their picture, as one file and panel by panel.
pub(crate) fn collisions(figure: &Figure) -> Vec<String> {
    let mut found = Vec::new();
    for picture in 0..pictures_count(figure) {
        let layout = frame::layout(figure, picture);
        found.extend(canvas_problems(&frame::draw(figure, &layout), layout.width, layout.height));
    }
    let measured = panel::measure(figure);
    for index in 0..panels_count(figure) {
        let mut canvas = Canvas::default();
        panel::draw(&mut canvas, figure, &measured, index, (0.0, 0.0));
        let (width, height) = measured.size;
        found.extend(canvas_problems(&canvas, width, height));
    }
    found
}

fn canvas_problems(canvas: &Canvas, right: f64, bottom: f64) -> Vec<String> {
    let texts: Vec<(&str, [f64; 4])> = canvas
        .shapes
        .iter()
        .filter_map(|(_, shape)| match shape {
            Shape::Text { text, at: (x, y), style } => {
                let (long, high) = (width(text, style.size, style.bold), 0.7 * style.size);
                let back = match style.align {
                    Align::Left => 0.0,
                    Align::Centre => long / 2.0,
                    Align::Right => long,
                };
                let area = if style.rotated {
                    [x - high / 2.0, y + back - long, x + high / 2.0, y + back]
                } else {
                    [x - back, y - high / 2.0, x - back + long, y + high / 2.0]
                };
                Some((text.as_str(), area))
            }
            _ => None,
        })
        .collect();
    let outside = |area: &[f64; 4]| area[0] < -1.0 || area[1] < -1.0 || area[2] > right + 1.0 || area[3] > bottom + 1.0;
    let mut found: Vec<String> = texts
        .iter()
        .filter(|(_, area)| outside(area))
        .map(|(text, _)| format!("{text:?} leaves its picture"))
        .collect();
    for (index, (one, a)) in texts.iter().enumerate() {
        for (other, b) in &texts[index + 1..] {
            if a[0] < b[2] - 0.5 && b[0] < a[2] - 0.5 && a[1] < b[3] - 0.5 && b[1] < a[3] - 0.5 {
                found.push(format!("{one:?} runs into {other:?}"));
            }
        }
    }
    found
}
