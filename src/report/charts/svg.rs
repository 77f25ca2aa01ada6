//! SVG renderer: shapes with a CSS class per colour, and over them areas with their tooltips as titles, so that values
//! are shown without a script.

use super::canvas::{Align, Canvas, Position, Shape, TextStyle};
use super::figure::Figure;
use super::style::LABEL;
use super::{frame, panel, panels_of_picture};
use std::fmt::Write;

/// Style sheet with light and dark colours; pages include the same file.
pub(crate) const STYLE: &str = include_str!("../../../templates/chart.css");

/// Renders a picture of a figure as a file of its own; `picture` is counted from 0.
pub(crate) fn file(figure: &Figure, picture: usize) -> String {
    let layout = frame::layout(figure, picture);
    let canvas = frame::draw(figure, &layout);
    let body = shapes(&canvas);
    let (width, height) = (layout.width.ceil(), layout.height.ceil());
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" fill=\"none\" role=\"img\" aria-label=\"{}\"><style>{STYLE}</style><rect class=\"fp\" width=\"100%\" height=\"100%\"/>{body}</svg>\n",
        escape(&figure.title)
    )
}

/// Renders the panels of the first picture of a figure, each for embedding in a page.
pub(crate) fn panels(figure: &Figure) -> Vec<String> {
    let measured = panel::measure(figure);
    panels_of_picture(figure, 0)
        .map(|index| {
            let (width, height) = measured.size;
            let mut canvas = Canvas::default();
            panel::draw(&mut canvas, figure, &measured, index, (0.0, 0.0));
            let (width, height) = (width.ceil(), height.ceil());
            let name = panel::title(&figure.body, index);
            let name = if name.is_empty() { figure.title.clone() } else { format!("{}: {name}", figure.title) };
            format!(
                "<svg class=\"chart\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" fill=\"none\" role=\"img\" aria-label=\"{}\">{}</svg>",
                escape(&name),
                shapes(&canvas)
            )
        })
        .collect()
}

fn shapes(canvas: &Canvas) -> String {
    let mut text = String::new();
    let mut open: Option<usize> = None;
    let mut group = |text: &mut String, series: Option<usize>| {
        if open != series {
            if open.is_some() {
                text.push_str("</g>");
            }
            if let Some(series) = series {
                let _ = write!(text, "<g class=\"z{series}\">");
            }
            open = series;
        }
    };
    for (series, shape) in &canvas.shapes {
        group(&mut text, *series);
        one(&mut text, shape);
    }
    group(&mut text, None);
    if !canvas.marks.is_empty() {
        text.push_str("<g class=\"marks\">");
        for mark in &canvas.marks {
            let [left, top, width, height] = mark.area.map(short);
            let class = mark.series.map_or_else(String::new, |series| format!(" class=\"z{series}\""));
            let _ = write!(
                text,
                "<rect{class} x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\"><title>{}</title></rect>",
                escape(&mark.tooltip)
            );
        }
        text.push_str("</g>");
    }
    text
}

fn one(text: &mut String, shape: &Shape) {
    let _ = match shape {
        Shape::Block(area, paint) => {
            let [left, top, width, height] = area.map(short);
            let class = paint.class();
            write!(text, "<rect class=\"f{class}\" x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\"/>")
        }
        Shape::Area(positions, paint) => {
            write!(text, "<path class=\"f{}\" d=\"{}Z\"/>", paint.class(), path(positions))
        }
        Shape::Strokes { lines, thickness, dashed, paint } => {
            let d: String = lines.iter().map(|line| path(line)).collect();
            let dash = if *dashed { " d" } else { "" };
            let is = |width: f64| (thickness - width).abs() < 1e-9;
            // The style sheet defines the usual widths.
            let (class, width) = match thickness {
                _ if is(1.0) => ("", String::new()),
                _ if is(1.25) => (" v", String::new()),
                _ => ("", format!(" stroke-width=\"{thickness}\"")),
            };
            write!(text, "<path class=\"k{}{class}{dash}\" d=\"{d}\"{width}/>", paint.class())
        }
        Shape::Disc { at: (x, y), radius, hollow, paint } => {
            let (x, y, class) = (short(*x), short(*y), paint.class());
            if *hollow {
                write!(
                    text,
                    "<circle class=\"fp k{class}\" cx=\"{x}\" cy=\"{y}\" r=\"{radius}\" stroke-width=\"1.5\"/>"
                )
            } else {
                write!(text, "<circle class=\"f{class}\" cx=\"{x}\" cy=\"{y}\" r=\"{radius}\"/>")
            }
        }
        Shape::Text { text: content, at, style } => {
            write!(text, "<text{}>{}</text>", attributes(*at, *style), escape(content))
        }
    };
}

fn attributes((x, y_middle): Position, style: TextStyle) -> String {
    // Centre by the height of digits and capitals, so that they look centred.
    let drop = 0.357 * style.size;
    let anchor = match style.align {
        Align::Left => "",
        Align::Centre => " m",
        Align::Right => " e",
    };
    let bold = if style.bold { " b" } else { "" };
    // The style sheet defines the usual font sizes.
    let size = if (style.size - LABEL).abs() < 1e-9 { String::new() } else { format!(" font-size=\"{}\"", style.size) };
    let (x, y, class) = (short(x), short(y_middle), format!("f{}{anchor}{bold}", style.paint.class()));
    if style.rotated {
        let drop = short(drop);
        return format!(" class=\"{class}\" transform=\"translate({x} {y}) rotate(-90)\" y=\"{drop}\"{size}");
    }
    let y = short(y_middle + drop);
    format!(" class=\"{class}\" x=\"{x}\" y=\"{y}\"{size}")
}

fn path(positions: &[Position]) -> String {
    let mut d = String::new();
    let mut last = (String::new(), String::new());
    for (index, (x, y)) in positions.iter().enumerate() {
        let (x, y) = (short(*x), short(*y));
        // Horizontal and vertical segments have a shorter path syntax, which halves their size.
        let _ = match index {
            0 => write!(d, "M{x} {y}"),
            _ if y == last.1 => write!(d, "H{x}"),
            _ if x == last.0 => write!(d, "V{y}"),
            _ => write!(d, "L{x} {y}"),
        };
        last = (x, y);
    }
    d
}

/// Formats a length with a precision of a tenth of a pixel.
fn short(value: f64) -> String {
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" { "0".into() } else { text.into() }
}

fn escape(text: &str) -> String {
    let clean = text.chars().filter(|c| !c.is_control());
    clean.fold(String::new(), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
        out
    })
}
