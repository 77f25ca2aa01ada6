//! PNG: shapes onto tiny-skia. Text is set here, with the font that layout measures with.

use super::ChartError;
use super::figure::Figure;
use super::frame;
use super::ink::{Align, Ink, Shape, Spot, Type};
use super::style::{Paint as Named, face, scale};
use ab_glyph::{Font, ScaleFont, point};
use tiny_skia::{
    Color, FillRule, Paint, Path, PathBuilder, Pixmap, PremultipliedColorU8, Rect, Stroke, StrokeDash, Transform,
};

/// Device pixels per CSS pixel.
const PIXELS: f32 = 2.0;

pub(super) fn render(figure: &Figure) -> Result<Vec<u8>, ChartError> {
    let layout = frame::layout(figure);
    let size = |css: f64| (css * f64::from(PIXELS)).ceil() as u32;
    let mut pixmap = Pixmap::new(size(layout.width), size(layout.height))
        .ok_or_else(|| ChartError(format!("{} x {} is no size of a picture", layout.width, layout.height)))?;
    let (r, g, b) = Named::Paper.light();
    pixmap.fill(Color::from_rgba8(r, g, b, 255));
    draw(&mut pixmap, &frame::draw(figure, &layout));
    pixmap.encode_png().map_err(|error| ChartError(error.to_string()))
}

fn draw(pixmap: &mut Pixmap, ink: &Ink) {
    for (_, shape) in &ink.shapes {
        match shape {
            Shape::Block([left, top, width, height], paint) => {
                let [left, top, width, height] = [left, top, width, height].map(|value| device(*value));
                if let Some(rect) = Rect::from_xywh(left, top, width, height) {
                    pixmap.fill_rect(rect, &colour(*paint), Transform::identity(), None);
                }
            }
            Shape::Area(spots, paint) => fill(pixmap, outline(spots, true), *paint),
            Shape::Strokes { lines, thickness, dashed, paint } => {
                for line in lines {
                    stroke(pixmap, outline(line, false), *thickness, *dashed, *paint);
                }
            }
            Shape::Disc { at: (x, y), radius, hollow, paint } => {
                let disc = PathBuilder::from_circle(device(*x), device(*y), device(*radius));
                if *hollow {
                    fill(pixmap, disc.clone(), Named::Paper);
                    stroke(pixmap, disc, 1.5, false, *paint);
                } else {
                    fill(pixmap, disc, *paint);
                }
            }
            Shape::Text { text, at, set } => write(pixmap, text, *at, *set),
        }
    }
}

fn device(css: f64) -> f32 {
    css as f32 * PIXELS
}

fn colour(paint: Named) -> Paint<'static> {
    let (r, g, b) = paint.light();
    let mut paint = Paint::default();
    paint.set_color(Color::from_rgba8(r, g, b, 255));
    paint.anti_alias = true;
    paint
}

fn outline(spots: &[Spot], close: bool) -> Option<Path> {
    let mut builder = PathBuilder::new();
    for (index, (x, y)) in spots.iter().enumerate() {
        if index == 0 {
            builder.move_to(device(*x), device(*y));
        } else {
            builder.line_to(device(*x), device(*y));
        }
    }
    if close {
        builder.close();
    }
    builder.finish()
}

fn fill(pixmap: &mut Pixmap, path: Option<Path>, paint: Named) {
    if let Some(path) = path {
        pixmap.fill_path(&path, &colour(paint), FillRule::Winding, Transform::identity(), None);
    }
}

fn stroke(pixmap: &mut Pixmap, path: Option<Path>, thickness: f64, dashed: bool, paint: Named) {
    if let Some(path) = path {
        let dash = dashed.then(|| StrokeDash::new(vec![device(5.0), device(4.0)], 0.0)).flatten();
        let stroke = Stroke { width: device(thickness), dash, ..Stroke::default() };
        pixmap.stroke_path(&path, &colour(paint), &stroke, Transform::identity(), None);
    }
}

/// A line of text, glyph by glyph.
fn write(pixmap: &mut Pixmap, text: &str, (x, y): Spot, set: Type) {
    let size = scale(set.bold, set.size * f64::from(PIXELS));
    let scaled = face(set.bold).as_scaled(size);
    let (mut pen, mut last, mut glyphs) = (0.0_f32, None, Vec::new());
    for c in text.chars() {
        let id = scaled.glyph_id(c);
        pen += last.map_or(0.0, |last| scaled.kern(last, id));
        glyphs.push((id, pen));
        pen += scaled.h_advance(id);
        last = Some(id);
    }
    let start = match set.align {
        Align::Left => 0.0,
        Align::Centre => -pen / 2.0,
        Align::Right => -pen,
    };
    // Digits and capitals look centred when their height is, not when the line's is.
    let baseline = device(0.357 * set.size);
    let (origin_x, origin_y) = (device(x), device(y));
    for (id, offset) in glyphs {
        let glyph = id.with_scale_and_position(size, point(start + offset, baseline));
        let Some(outline) = scaled.font.outline_glyph(glyph) else { continue };
        let bounds = outline.px_bounds();
        outline.draw(|dx, dy, coverage| {
            let (along, across) = (bounds.min.x + dx as f32, bounds.min.y + dy as f32);
            let (px, py) =
                if set.upright { (origin_x + across, origin_y - along) } else { (origin_x + along, origin_y + across) };
            blend(pixmap, px.round() as i32, py.round() as i32, coverage, set.paint);
        });
    }
}

/// Lays ink over a pixel.
fn blend(pixmap: &mut Pixmap, x: i32, y: i32, coverage: f32, paint: Named) {
    let (width, height) = (pixmap.width() as i32, pixmap.height() as i32);
    if !(0..width).contains(&x) || !(0..height).contains(&y) {
        return;
    }
    let pixel = &mut pixmap.pixels_mut()[(y * width + x) as usize];
    let alpha = coverage.clamp(0.0, 1.0);
    let mix = |under: u8, over: u8| (f32::from(under) * (1.0 - alpha) + f32::from(over) * alpha).round() as u8;
    let (r, g, b) = paint.light();
    let mixed = PremultipliedColorU8::from_rgba(mix(pixel.red(), r), mix(pixel.green(), g), mix(pixel.blue(), b), 255);
    // The paper below is opaque, so that every colour is a valid premultiplied one.
    *pixel = mixed.unwrap_or(*pixel);
}
