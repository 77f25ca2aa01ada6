//! PNG renderer: draws shapes with tiny-skia. Text is set with the font that the layout measures with.

use super::figure::Figure;
use super::frame;
use super::ink::{Align, Ink, Shape, Spot, Type};
use super::style::{Paint as Named, face, scale};
use super::{ChartError, MOST_PIXELS};
use ab_glyph::{Font, ScaleFont, point};
use tiny_skia::{
    Color, FillRule, Paint, Path, PathBuilder, Pixmap, PremultipliedColorU8, Rect, Stroke, StrokeDash, Transform,
};

/// Device pixels per CSS pixel, unless the picture would become too large.
const PIXELS: f64 = 2.0;

pub(super) fn render(figure: &Figure, picture: usize) -> Result<Vec<u8>, ChartError> {
    let layout = frame::layout(figure, picture);
    let most = (MOST_PIXELS / (layout.width * layout.height)).sqrt();
    let pixels = most.min(PIXELS);
    let size = |css: f64| if most < PIXELS { (css * pixels).floor() } else { (css * pixels).ceil() } as u32;
    let pixmap = Pixmap::new(size(layout.width), size(layout.height))
        .ok_or_else(|| ChartError::no_size(layout.width, layout.height))?;
    let mut canvas = Canvas { pixmap, pixels: pixels as f32 };
    let (r, g, b) = Named::Paper.light();
    canvas.pixmap.fill(Color::from_rgba8(r, g, b, 255));
    draw(&mut canvas, &frame::draw(figure, &layout));
    canvas.pixmap.encode_png().map_err(|error| ChartError(error.to_string()))
}

/// Raster canvas.
struct Canvas {
    pixmap: Pixmap,
    /// Device pixels per CSS pixel.
    pixels: f32,
}

impl Canvas {
    fn device(&self, css: f64) -> f32 {
        css as f32 * self.pixels
    }
}

fn draw(canvas: &mut Canvas, ink: &Ink) {
    for (_, shape) in &ink.shapes {
        match shape {
            Shape::Block([left, top, width, height], paint) => {
                let [left, top, width, height] = [left, top, width, height].map(|value| canvas.device(*value));
                if let Some(rect) = Rect::from_xywh(left, top, width, height) {
                    canvas.pixmap.fill_rect(rect, &colour(*paint), Transform::identity(), None);
                }
            }
            Shape::Area(spots, paint) => fill(canvas, outline(canvas, spots, true), *paint),
            Shape::Strokes { lines, thickness, dashed, paint } => {
                for line in lines {
                    stroke(canvas, outline(canvas, line, false), *thickness, *dashed, *paint);
                }
            }
            Shape::Disc { at: (x, y), radius, hollow, paint } => {
                let disc = PathBuilder::from_circle(canvas.device(*x), canvas.device(*y), canvas.device(*radius));
                if *hollow {
                    fill(canvas, disc.clone(), Named::Paper);
                    stroke(canvas, disc, 1.5, false, *paint);
                } else {
                    fill(canvas, disc, *paint);
                }
            }
            Shape::Text { text, at, set } => write(canvas, text, *at, *set),
        }
    }
}

fn colour(paint: Named) -> Paint<'static> {
    let (r, g, b) = paint.light();
    let mut paint = Paint::default();
    paint.set_color(Color::from_rgba8(r, g, b, 255));
    paint.anti_alias = true;
    paint
}

fn outline(canvas: &Canvas, spots: &[Spot], close: bool) -> Option<Path> {
    let mut builder = PathBuilder::new();
    for (index, (x, y)) in spots.iter().enumerate() {
        if index == 0 {
            builder.move_to(canvas.device(*x), canvas.device(*y));
        } else {
            builder.line_to(canvas.device(*x), canvas.device(*y));
        }
    }
    if close {
        builder.close();
    }
    builder.finish()
}

fn fill(canvas: &mut Canvas, path: Option<Path>, paint: Named) {
    if let Some(path) = path {
        canvas.pixmap.fill_path(&path, &colour(paint), FillRule::Winding, Transform::identity(), None);
    }
}

fn stroke(canvas: &mut Canvas, path: Option<Path>, thickness: f64, dashed: bool, paint: Named) {
    if let Some(path) = path {
        let dash = dashed.then(|| StrokeDash::new(vec![canvas.device(5.0), canvas.device(4.0)], 0.0)).flatten();
        let stroke = Stroke { width: canvas.device(thickness), dash, ..Stroke::default() };
        canvas.pixmap.stroke_path(&path, &colour(paint), &stroke, Transform::identity(), None);
    }
}

/// Draws a line of text, glyph by glyph.
fn write(canvas: &mut Canvas, text: &str, (x, y): Spot, set: Type) {
    let size = scale(set.bold, set.size * f64::from(canvas.pixels));
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
    // Centre by the height of digits and capitals, not by the line height, so that they look centred.
    let baseline = canvas.device(0.357 * set.size);
    let (origin_x, origin_y) = (canvas.device(x), canvas.device(y));
    for (id, offset) in glyphs {
        let glyph = id.with_scale_and_position(size, point(start + offset, baseline));
        let Some(outline) = scaled.font.outline_glyph(glyph) else { continue };
        let bounds = outline.px_bounds();
        outline.draw(|dx, dy, coverage| {
            let (along, across) = (bounds.min.x + dx as f32, bounds.min.y + dy as f32);
            let (px, py) =
                if set.upright { (origin_x + across, origin_y - along) } else { (origin_x + along, origin_y + across) };
            blend(&mut canvas.pixmap, px.round() as i32, py.round() as i32, coverage, set.paint);
        });
    }
}

/// Blends a colour over a pixel.
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
    // The background is opaque, so every mixed colour is a valid premultiplied one.
    *pixel = mixed.unwrap_or(*pixel);
}
