//! A drawing as a list of shapes in CSS pixels, and areas with tooltips. `svg` and `png` render the shapes.

use super::style::Paint;

/// Primitive shape of a drawing.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    /// Filled rectangle: left, top, width, height.
    Block([f64; 4], Paint),
    /// Filled polygon.
    Area(Vec<Position>, Paint),
    /// Polylines.
    Strokes { lines: Vec<Vec<Position>>, thickness: f64, dashed: bool, paint: Paint },
    /// Disc, or a ring if hollow.
    Disc { at: Position, radius: f64, hollow: bool, paint: Paint },
    /// Line of text, vertically centred.
    Text { text: String, at: Position, style: TextStyle },
}

/// Point in CSS pixels: x from the left, y from the top.
pub(super) type Position = (f64, f64);

/// Area with a tooltip.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mark {
    /// Left, top, width, height.
    pub(super) area: [f64; 4],
    /// Tooltip text.
    pub(super) tooltip: String,
    /// Index of the series it belongs to.
    pub(super) series: Option<usize>,
}

/// Canvas: shapes in drawing order, and areas with tooltips.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Canvas {
    /// Shapes, each with the index of the series it belongs to.
    pub(super) shapes: Vec<(Option<usize>, Shape)>,
    pub(super) marks: Vec<Mark>,
    series: Option<usize>,
}

/// Horizontal alignment of a text relative to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    /// The text starts at the point.
    Left,
    /// The text is centred on the point.
    Centre,
    /// The text ends at the point.
    Right,
}

/// Length of the arrow that an interval without an upper end extends beyond its value.
pub(super) const OPEN: f64 = 16.0;

/// Interval: a line with a cap at each end, or an arrow in place of an open upper end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whisker {
    /// Position on the axis across the interval.
    pub(super) at: f64,
    /// Position of the lower end along the interval.
    pub(super) from: f64,
    /// Position of the upper end along the interval.
    pub(super) to: f64,
    /// Whether the upper end is unknown.
    pub(super) open: bool,
    /// Half the length of a cap.
    pub(super) cap: f64,
    /// Whether the interval is horizontal; otherwise it is vertical.
    pub(super) horizontal: bool,
}

/// Style of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TextStyle {
    pub(super) size: f64,
    pub(super) bold: bool,
    pub(super) paint: Paint,
    pub(super) align: Align,
    /// Whether the text is rotated by 90 degrees counter-clockwise.
    pub(super) rotated: bool,
}

impl TextStyle {
    pub(super) fn new(size: f64, paint: Paint) -> Self {
        Self { size, bold: false, paint, align: Align::Left, rotated: false }
    }

    pub(super) fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub(super) fn centred(self) -> Self {
        Self { align: Align::Centre, ..self }
    }

    pub(super) fn right(self) -> Self {
        Self { align: Align::Right, ..self }
    }

    pub(super) fn rotated(self) -> Self {
        Self { rotated: true, ..self }
    }
}

impl Canvas {
    /// Sets the series that subsequent shapes belong to; `None` for no series.
    pub(super) fn set_series(&mut self, series: Option<usize>) {
        self.series = series;
    }

    fn put(&mut self, shape: Shape) {
        self.shapes.push((self.series, shape));
    }

    /// Draws a filled rectangle.
    pub(super) fn block(&mut self, left: f64, top: f64, width: f64, height: f64, paint: Paint) {
        self.put(Shape::Block([left, top, width, height], paint));
    }

    /// Draws a filled polygon.
    pub(super) fn area(&mut self, positions: Vec<Position>, paint: Paint) {
        self.put(Shape::Area(positions, paint));
    }

    /// Draws a straight line.
    pub(super) fn line(&mut self, from: Position, to: Position, thickness: f64, paint: Paint) {
        self.strokes(vec![vec![from, to]], thickness, paint);
    }

    /// Draws polylines.
    pub(super) fn strokes(&mut self, lines: Vec<Vec<Position>>, thickness: f64, paint: Paint) {
        self.put(Shape::Strokes { lines, thickness, dashed: false, paint });
    }

    /// Draws a dashed polyline.
    pub(super) fn dashed(&mut self, line: Vec<Position>, thickness: f64, paint: Paint) {
        self.put(Shape::Strokes { lines: vec![line], thickness, dashed: true, paint });
    }

    /// Hatches a rectangle, which marks a missing or unreliable value.
    pub(super) fn hatch(&mut self, [left, top, width, height]: [f64; 4], paint: Paint) {
        const STEP: f64 = 6.0;
        let mut lines = Vec::new();
        let mut at = STEP;
        while at < width + height {
            // From the left or the bottom edge up to the top or the right edge.
            let from = (left + (at - height).max(0.0), top + at.min(height));
            let to = (left + at.min(width), top + (at - width).max(0.0));
            lines.push(vec![from, to]);
            at += STEP;
        }
        self.strokes(lines, 1.0, paint);
    }

    /// Draws intervals in one colour.
    pub(super) fn whiskers(&mut self, whiskers: &[Whisker], paint: Paint) {
        let mut lines = Vec::new();
        for whisker in whiskers {
            let Whisker { at, from, to, open, cap, horizontal } = *whisker;
            let position =
                |along: f64, across: f64| if horizontal { (along, at + across) } else { (at + across, along) };
            lines.push(vec![position(from, 0.0), position(to, 0.0)]);
            lines.push(vec![position(from, -cap), position(from, cap)]);
            if !open {
                lines.push(vec![position(to, -cap), position(to, cap)]);
            }
        }
        if !lines.is_empty() {
            self.strokes(lines, 1.25, paint);
        }
        for Whisker { at, to, horizontal, .. } in whiskers.iter().filter(|whisker| whisker.open) {
            let position = |along: f64, across: f64| {
                if *horizontal { (to + along, at + across) } else { (at + across, to - along) }
            };
            self.area(vec![position(0.0, -3.5), position(0.0, 3.5), position(5.0, 0.0)], paint);
        }
    }

    /// Draws a marker. Shapes distinguish series independently of their colour.
    pub(super) fn marker(&mut self, (x, y): Position, shape: usize, hollow: bool, paint: Paint) {
        const R: f64 = 4.0;
        let outline: Vec<Position> = match shape % 4 {
            0 => return self.put(Shape::Disc { at: (x, y), radius: R, hollow, paint }),
            1 => vec![(x - R, y - R), (x + R, y - R), (x + R, y + R), (x - R, y + R)],
            2 => vec![(x, y - R - 1.5), (x + R + 1.0, y + R), (x - R - 1.0, y + R)],
            _ => vec![(x, y - R - 1.5), (x + R + 1.5, y), (x, y + R + 1.5), (x - R - 1.5, y)],
        };
        if hollow {
            self.area(outline.clone(), Paint::Paper);
            let mut closed = outline;
            closed.push(closed[0]);
            self.strokes(vec![closed], 1.5, paint);
        } else {
            self.area(outline, paint);
        }
    }

    /// Draws a cross, which marks a point without a measurement.
    pub(super) fn cross(&mut self, (x, y): Position, paint: Paint) {
        const R: f64 = 3.5;
        let lines = vec![vec![(x - R, y - R), (x + R, y + R)], vec![(x - R, y + R), (x + R, y - R)]];
        self.strokes(lines, 1.75, paint);
    }

    /// Draws a line of text, vertically centred on its point.
    pub(super) fn text(&mut self, text: &str, x: f64, y: f64, style: TextStyle) {
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        if !text.is_empty() {
            self.put(Shape::Text { text, at: (x, y), style });
        }
    }

    /// Adds an area with a tooltip.
    pub(super) fn mark(&mut self, area: [f64; 4], tooltip: &str) {
        let tooltip: String = tooltip.chars().filter(|c| !c.is_control()).collect();
        if !tooltip.is_empty() {
            self.marks.push(Mark { area, tooltip, series: self.series });
        }
    }
}
