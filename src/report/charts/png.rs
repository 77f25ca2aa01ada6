//! PNG renderer: draws shapes with tiny-skia. Text is set with the font that the layout measures with.

use super::canvas::{Align, Canvas, Position, Shape, TextStyle};
use super::figure::Figure;
use super::frame;
use super::pictures::{ChartError, MOST_PIXELS};
use super::style::{Paint as Named, face, scale};
use ab_glyph::{Font, ScaleFont, point};
use std::io::Write;
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
    let mut surface = Surface { pixmap, pixels: pixels as f32 };
    let (r, g, b) = Named::Paper.light();
    surface.pixmap.fill(Color::from_rgba8(r, g, b, 255));
    draw(&mut surface, &frame::draw(figure, &layout));
    encode(&surface.pixmap).map_err(|error| ChartError(error.to_string()))
}

/// Encodes a picture row by row. Charts consist of plain areas: a fast compression packs them well, and filters do not help.
fn encode(pixmap: &Pixmap) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, pixmap.width(), pixmap.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_deflate_compression(png::DeflateCompression::Level(1));
    encoder.set_filter(png::Filter::NoFilter);
    let mut writer = encoder.write_header()?;
    let mut rows = writer.stream_writer()?;
    let mut row = Vec::with_capacity(3 * pixmap.width() as usize);
    for pixels in pixmap.pixels().chunks(pixmap.width() as usize) {
        row.clear();
        // The background is opaque, and so is every pixel.
        row.extend(pixels.iter().flat_map(|pixel| [pixel.red(), pixel.green(), pixel.blue()]));
        rows.write_all(&row)?;
    }
    rows.finish()?;
    writer.finish()?;
    Ok(bytes)
}

/// Raster surface.
struct Surface {
    pixmap: Pixmap,
    /// Device pixels per CSS pixel.
    pixels: f32,
}

impl Surface {
    fn device(&self, css: f64) -> f32 {
        css as f32 * self.pixels
    }
}

fn draw(surface: &mut Surface, canvas: &Canvas) {
    for (_, shape) in &canvas.shapes {
        match shape {
            Shape::Block([left, top, width, height], paint) => {
                let [left, top, width, height] = [left, top, width, height].map(|value| surface.device(*value));
                if let Some(rect) = Rect::from_xywh(left, top, width, height) {
                    surface.pixmap.fill_rect(rect, &colour(*paint), Transform::identity(), None);
                }
            }
            Shape::Area(positions, paint) => fill(surface, outline(surface, positions, true), *paint),
            Shape::Strokes { lines, thickness, dashed, paint } => {
                for line in lines {
                    stroke(surface, outline(surface, line, false), *thickness, *dashed, *paint);
                }
            }
            Shape::Disc { at: (x, y), radius, hollow, paint } => {
                let disc = PathBuilder::from_circle(surface.device(*x), surface.device(*y), surface.device(*radius));
                if *hollow {
                    fill(surface, disc.clone(), Named::Paper);
                    stroke(surface, disc, 1.5, false, *paint);
                } else {
                    fill(surface, disc, *paint);
                }
            }
            Shape::Text { text, at, style } => write(surface, text, *at, *style),
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

fn outline(surface: &Surface, positions: &[Position], close: bool) -> Option<Path> {
    let mut builder = PathBuilder::new();
    for (index, (x, y)) in positions.iter().enumerate() {
        if index == 0 {
            builder.move_to(surface.device(*x), surface.device(*y));
        } else {
            builder.line_to(surface.device(*x), surface.device(*y));
        }
    }
    if close {
        builder.close();
    }
    builder.finish()
}

fn fill(surface: &mut Surface, path: Option<Path>, paint: Named) {
    if let Some(path) = path {
        surface.pixmap.fill_path(&path, &colour(paint), FillRule::Winding, Transform::identity(), None);
    }
}

fn stroke(surface: &mut Surface, path: Option<Path>, thickness: f64, dashed: bool, paint: Named) {
    if let Some(path) = path {
        let dash = dashed.then(|| StrokeDash::new(vec![surface.device(5.0), surface.device(4.0)], 0.0)).flatten();
        let stroke = Stroke { width: surface.device(thickness), dash, ..Stroke::default() };
        surface.pixmap.stroke_path(&path, &colour(paint), &stroke, Transform::identity(), None);
    }
}

/// Draws a line of text, glyph by glyph.
fn write(surface: &mut Surface, text: &str, (x, y): Position, style: TextStyle) {
    let size = scale(style.bold, style.size * f64::from(surface.pixels));
    let scaled = face(style.bold).as_scaled(size);
    let (mut pen, mut last, mut glyphs) = (0.0_f32, None, Vec::new());
    for c in text.chars() {
        let id = scaled.glyph_id(c);
        pen += last.map_or(0.0, |last| scaled.kern(last, id));
        glyphs.push((id, pen));
        pen += scaled.h_advance(id);
        last = Some(id);
    }
    let start = match style.align {
        Align::Left => 0.0,
        Align::Centre => -pen / 2.0,
        Align::Right => -pen,
    };
    // Centre by the height of digits and capitals, not by the line height, so that they look centred.
    let baseline = surface.device(0.357 * style.size);
    let (origin_x, origin_y) = (surface.device(x), surface.device(y));
    for (id, offset) in glyphs {
        let glyph = id.with_scale_and_position(size, point(start + offset, baseline));
        let Some(outline) = scaled.font.outline_glyph(glyph) else { continue };
        let bounds = outline.px_bounds();
        outline.draw(|dx, dy, coverage| {
            let (along, across) = (bounds.min.x + dx as f32, bounds.min.y + dy as f32);
            let (px, py) = if style.rotated {
                (origin_x + across, origin_y - along)
            } else {
                (origin_x + along, origin_y + across)
            };
            blend(&mut surface.pixmap, px.round() as i32, py.round() as i32, coverage, style.paint);
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
