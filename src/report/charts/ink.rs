//! Drawing in CSS pixels on any plotters backend. Coordinates there are integers, so that a pixel is
//! four units.

use super::ChartError;
use super::style::{Colour, PAPER};
use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingBackend, IntoFont, PathElement, Polygon, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, FontTransform, RGBColor, ShapeStyle, TextStyle};
use std::sync::Once;

/// Units per CSS pixel.
pub(super) const UNITS: f64 = 4.0;

/// The family name under which Noto Sans is registered.
const FAMILY: &str = "Noto Sans";

/// What plotters' own backends divide a font's size by to get the em.
const SIZE_PER_EM: f64 = 1.24;

/// A surface.
pub(super) struct Ink<DB: DrawingBackend> {
    area: DrawingArea<DB, Shift>,
}

/// How a text is set.
#[derive(Clone, Copy)]
pub(super) struct Type {
    pub(super) size: f64,
    pub(super) bold: bool,
    pub(super) colour: Colour,
    pub(super) align: HPos,
    /// A quarter turn to the left.
    pub(super) upright: bool,
}

impl Type {
    pub(super) fn new(size: f64, colour: Colour) -> Self {
        Self { size, bold: false, colour, align: HPos::Left, upright: false }
    }

    pub(super) fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub(super) fn centred(self) -> Self {
        Self { align: HPos::Center, ..self }
    }

    pub(super) fn right(self) -> Self {
        Self { align: HPos::Right, ..self }
    }

    pub(super) fn upright(self) -> Self {
        Self { upright: true, ..self }
    }
}

fn units(pixels: f64) -> i32 {
    (pixels * UNITS).round() as i32
}

fn rgb(colour: Colour) -> RGBColor {
    RGBColor(colour.0, colour.1, colour.2)
}

/// Makes plotters measure with the font that is drawn with.
pub(super) fn register_fonts() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for (style, bytes) in [(FontStyle::Normal, notosans::REGULAR_TTF), (FontStyle::Bold, notosans::BOLD_TTF)] {
            let _ = plotters::style::register_font(FAMILY, style, bytes);
        }
    });
}

impl<DB: DrawingBackend> Ink<DB> {
    pub(super) fn new(area: DrawingArea<DB, Shift>) -> Result<Self, ChartError> {
        register_fonts();
        let ink = Self { area };
        ink.area.fill(&rgb(PAPER)).map_err(wrong)?;
        Ok(ink)
    }

    pub(super) fn finish(self) -> Result<(), ChartError> {
        self.area.present().map_err(wrong)
    }

    /// A filled rectangle.
    pub(super) fn block(&self, left: f64, top: f64, width: f64, height: f64, colour: Colour) -> Result<(), ChartError> {
        let corners = [(units(left), units(top)), (units(left + width), units(top + height))];
        self.area.draw(&Rectangle::new(corners, rgb(colour).filled())).map_err(wrong)
    }

    /// A straight line.
    pub(super) fn line(
        &self,
        from: (f64, f64),
        to: (f64, f64),
        thickness: f64,
        colour: Colour,
    ) -> Result<(), ChartError> {
        let style =
            ShapeStyle { color: rgb(colour).to_rgba(), filled: false, stroke_width: units(thickness).max(1) as u32 };
        let points = vec![(units(from.0), units(from.1)), (units(to.0), units(to.1))];
        self.area.draw(&PathElement::new(points, style)).map_err(wrong)
    }

    /// A triangle that points up: an interval without an upper end.
    pub(super) fn arrow(&self, x: f64, y: f64, colour: Colour) -> Result<(), ChartError> {
        let points = vec![(units(x - 3.5), units(y)), (units(x + 3.5), units(y)), (units(x), units(y - 5.0))];
        self.area.draw(&Polygon::new(points, rgb(colour).filled())).map_err(wrong)
    }

    /// A line of text, vertically centred on `y`.
    pub(super) fn text(&self, text: &str, x: f64, y: f64, kind: Type) -> Result<(), ChartError> {
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        if text.is_empty() {
            return Ok(());
        }
        let style = if kind.bold { FontStyle::Bold } else { FontStyle::Normal };
        let transform = if kind.upright { FontTransform::Rotate270 } else { FontTransform::None };
        let font = (FAMILY, kind.size * SIZE_PER_EM * UNITS).into_font().style(style).transform(transform);
        let colour = rgb(kind.colour);
        let style = TextStyle::from(font).color(&colour).pos(Pos::new(kind.align, VPos::Center));
        self.area.draw(&Text::new(text, (units(x), units(y)), style)).map_err(wrong)
    }
}

fn wrong(error: impl std::fmt::Display) -> ChartError {
    ChartError(error.to_string())
}

/// The em of a font that plotters calls `size`, in units.
pub(super) fn em(size: f64) -> f64 {
    size / SIZE_PER_EM
}
