//! PNG: a small plotters backend over tiny-skia. Plotters' own bitmap text misplaces glyphs, so that
//! text is set here, with the font that layout measures with.

use super::ChartError;
use super::figure::Figure;
use super::frame;
use super::ink::{Ink, UNITS, em};
use super::style::{face, scale};
use ab_glyph::{Font, ScaleFont, point};
use plotters::prelude::{DrawingBackend, IntoDrawingArea};
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingErrorKind, FontStyle, FontTransform,
};
use tiny_skia::{Color, FillRule, Paint, Path, PathBuilder, Pixmap, PremultipliedColorU8, Rect, Stroke, Transform};

/// Device pixels per CSS pixel.
const PIXELS: f64 = 2.0;
/// Device pixels per unit of the drawing.
const PER_UNIT: f32 = (PIXELS / UNITS) as f32;

pub(super) fn render(figure: &Figure) -> Result<Vec<u8>, ChartError> {
    let layout = frame::layout(figure);
    let size = |css: f64| (css * PIXELS).ceil() as u32;
    let mut pixmap = Pixmap::new(size(layout.width), size(layout.height))
        .ok_or_else(|| ChartError(format!("{} x {} is no size of a picture", layout.width, layout.height)))?;
    let ink = Ink::new(Canvas { pixmap: &mut pixmap }.into_drawing_area())?;
    frame::draw(&ink, figure, &layout)?;
    ink.finish()?;
    pixmap.encode_png().map_err(|error| ChartError(error.to_string()))
}

struct Canvas<'a> {
    pixmap: &'a mut Pixmap,
}

/// Nothing here can fail.
type Drawn = Result<(), DrawingErrorKind<std::convert::Infallible>>;

fn paint(colour: BackendColor) -> Paint<'static> {
    let (r, g, b) = colour.rgb;
    let mut paint = Paint::default();
    paint.set_color(Color::from_rgba8(r, g, b, (colour.alpha * 255.0).round() as u8));
    paint.anti_alias = true;
    paint
}

fn device(coordinate: i32) -> f32 {
    coordinate as f32 * PER_UNIT
}

fn polygon(points: impl IntoIterator<Item = BackendCoord>, close: bool) -> Option<Path> {
    let mut builder = PathBuilder::new();
    for (index, (x, y)) in points.into_iter().enumerate() {
        if index == 0 {
            builder.move_to(device(x), device(y));
        } else {
            builder.line_to(device(x), device(y));
        }
    }
    if close {
        builder.close();
    }
    builder.finish()
}

impl Canvas<'_> {
    fn stroke(&mut self, path: Option<Path>, colour: BackendColor, width: u32) {
        if let Some(path) = path {
            let stroke = Stroke { width: width as f32 * PER_UNIT, ..Stroke::default() };
            self.pixmap.stroke_path(&path, &paint(colour), &stroke, Transform::identity(), None);
        }
    }

    /// Lays ink over a pixel.
    fn blend(&mut self, x: i32, y: i32, coverage: f32, colour: BackendColor) {
        let (width, height) = (self.pixmap.width() as i32, self.pixmap.height() as i32);
        if !(0..width).contains(&x) || !(0..height).contains(&y) {
            return;
        }
        let pixel = &mut self.pixmap.pixels_mut()[(y * width + x) as usize];
        let alpha = coverage.clamp(0.0, 1.0) * colour.alpha as f32;
        let mix = |under: u8, over: u8| (f32::from(under) * (1.0 - alpha) + f32::from(over) * alpha).round() as u8;
        let (r, g, b) = colour.rgb;
        let mixed =
            PremultipliedColorU8::from_rgba(mix(pixel.red(), r), mix(pixel.green(), g), mix(pixel.blue(), b), 255);
        // The paper below is opaque, so that every colour is a valid premultiplied one.
        *pixel = mixed.unwrap_or(*pixel);
    }
}

impl DrawingBackend for Canvas<'_> {
    type ErrorType = std::convert::Infallible;

    fn get_size(&self) -> (u32, u32) {
        ((self.pixmap.width() as f32 / PER_UNIT) as u32, (self.pixmap.height() as f32 / PER_UNIT) as u32)
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, colour: BackendColor) -> Drawn {
        self.blend(device(x) as i32, device(y) as i32, 1.0, colour);
        Ok(())
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Drawn {
        self.stroke(polygon([from, to], false), style.color(), style.stroke_width());
        Ok(())
    }

    fn draw_rect<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S, fill: bool) -> Drawn {
        let rect = Rect::from_ltrb(device(from.0), device(from.1), device(to.0), device(to.1));
        match rect {
            Some(rect) if fill => self.pixmap.fill_rect(rect, &paint(style.color()), Transform::identity(), None),
            Some(rect) => self.stroke(Some(PathBuilder::from_rect(rect)), style.color(), style.stroke_width()),
            None => {}
        }
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Drawn {
        self.stroke(polygon(path, false), style.color(), style.stroke_width());
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, points: I, style: &S) -> Drawn {
        if let Some(path) = polygon(points, true) {
            self.pixmap.fill_path(&path, &paint(style.color()), FillRule::Winding, Transform::identity(), None);
        }
        Ok(())
    }

    fn draw_text<T: BackendTextStyle>(&mut self, text: &str, style: &T, (x, y): BackendCoord) -> Drawn {
        let bold = matches!(style.style(), FontStyle::Bold);
        let size = scale(bold, em(style.size()) * f64::from(PER_UNIT));
        let scaled = face(bold).as_scaled(size);
        let (mut pen, mut last, mut glyphs) = (0.0_f32, None, Vec::new());
        for c in text.chars() {
            let id = scaled.glyph_id(c);
            pen += last.map_or(0.0, |last| scaled.kern(last, id));
            glyphs.push((id, pen));
            pen += scaled.h_advance(id);
            last = Some(id);
        }
        let anchor = style.anchor();
        let start = match anchor.h_pos {
            HPos::Left => 0.0,
            HPos::Center => -pen / 2.0,
            HPos::Right => -pen,
        };
        // Digits and capitals look centred when their height is, not when the line's is.
        let capital = 0.714 * em(style.size()) as f32 * PER_UNIT;
        let baseline = match anchor.v_pos {
            VPos::Top => scaled.ascent(),
            VPos::Center => capital / 2.0,
            VPos::Bottom => scaled.descent(),
        };
        let upright = matches!(style.transform(), FontTransform::Rotate270);
        let (origin_x, origin_y) = (device(x), device(y));
        for (id, offset) in glyphs {
            let glyph = id.with_scale_and_position(size, point(start + offset, baseline));
            let Some(outline) = scaled.font.outline_glyph(glyph) else { continue };
            let bounds = outline.px_bounds();
            outline.draw(|dx, dy, coverage| {
                let (along, across) = (bounds.min.x + dx as f32, bounds.min.y + dy as f32);
                let (px, py) =
                    if upright { (origin_x + across, origin_y - along) } else { (origin_x + along, origin_y + across) };
                self.blend(px.round() as i32, py.round() as i32, coverage, style.color());
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::figure::{Bar, BarFigure, BarPanel, Body, Figure, Group};
    use super::*;

    fn figure() -> Figure {
        let bar = |value: f64| Bar::plain(Some(value), format!("{value}"));
        Figure {
            title: "Average".into(),
            subtitle: "run".into(),
            banner: None,
            notes: vec![],
            body: Body::Bars(BarFigure {
                unit: "ms".into(),
                series: vec!["default".into(), "flex".into()],
                panels: vec![BarPanel {
                    title: String::new(),
                    groups: vec![Group { label: "30".into(), bars: vec![(0, bar(10.0)), (1, bar(20.0))] }],
                }],
            }),
        }
    }

    #[test]
    fn a_picture_has_the_ink_of_its_bars_and_is_the_same_again() {
        let bytes = render(&figure()).unwrap();
        assert_eq!(bytes, render(&figure()).unwrap());
        let picture = Pixmap::decode_png(&bytes).unwrap();
        let area =
            |colour: (u8, u8, u8)| picture.pixels().iter().filter(|p| (p.red(), p.green(), p.blue()) == colour).count();
        let (first, second) = (area(super::super::style::series(0)), area(super::super::style::series(1)));
        assert!(first > 2_000, "{first}");
        // Twice the value is twice the bar; the legend's squares are the same.
        assert!((second as f64 / first as f64 - 2.0).abs() < 0.15, "{first} {second}");
    }
}
