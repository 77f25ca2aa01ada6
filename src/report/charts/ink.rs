//! A drawing as a list of shapes in CSS pixels, and areas with tooltips. `svg` and `png` render the shapes.

use super::style::Paint;

/// Primitive shape of a drawing.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    /// Filled rectangle: left, top, width, height.
    Block([f64; 4], Paint),
    /// Filled polygon.
    Area(Vec<Spot>, Paint),
    /// Polylines.
    Strokes { lines: Vec<Vec<Spot>>, thickness: f64, dashed: bool, paint: Paint },
    /// Disc, or a ring if hollow.
    Disc { at: Spot, radius: f64, hollow: bool, paint: Paint },
    /// Line of text, vertically centred.
    Text { text: String, at: Spot, set: Type },
}

/// Point in CSS pixels: x from the left, y from the top.
pub(super) type Spot = (f64, f64);

/// Area with a tooltip.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mark {
    /// Left, top, width, height.
    pub(super) area: [f64; 4],
    /// Tooltip text.
    pub(super) words: String,
    /// Index of the series it belongs to.
    pub(super) series: Option<usize>,
}

/// Canvas: shapes in drawing order, and areas with tooltips.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Ink {
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
    pub(super) lying: bool,
}

/// Style of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Type {
    pub(super) size: f64,
    pub(super) bold: bool,
    pub(super) paint: Paint,
    pub(super) align: Align,
    /// Whether the text is rotated by 90 degrees counter-clockwise.
    pub(super) upright: bool,
}

impl Type {
    pub(super) fn new(size: f64, paint: Paint) -> Self {
        Self { size, bold: false, paint, align: Align::Left, upright: false }
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

    pub(super) fn upright(self) -> Self {
        Self { upright: true, ..self }
    }
}

impl Ink {
    /// Sets the series that subsequent shapes belong to; `None` for no series.
    pub(super) fn of(&mut self, series: Option<usize>) {
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
    pub(super) fn area(&mut self, spots: Vec<Spot>, paint: Paint) {
        self.put(Shape::Area(spots, paint));
    }

    /// Draws a straight line.
    pub(super) fn line(&mut self, from: Spot, to: Spot, thickness: f64, paint: Paint) {
        self.strokes(vec![vec![from, to]], thickness, paint);
    }

    /// Draws polylines.
    pub(super) fn strokes(&mut self, lines: Vec<Vec<Spot>>, thickness: f64, paint: Paint) {
        self.put(Shape::Strokes { lines, thickness, dashed: false, paint });
    }

    /// Draws a dashed polyline.
    pub(super) fn dashed(&mut self, line: Vec<Spot>, thickness: f64, paint: Paint) {
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
            let Whisker { at, from, to, open, cap, lying } = *whisker;
            let spot = |along: f64, across: f64| if lying { (along, at + across) } else { (at + across, along) };
            lines.push(vec![spot(from, 0.0), spot(to, 0.0)]);
            lines.push(vec![spot(from, -cap), spot(from, cap)]);
            if !open {
                lines.push(vec![spot(to, -cap), spot(to, cap)]);
            }
        }
        if !lines.is_empty() {
            self.strokes(lines, 1.25, paint);
        }
        for Whisker { at, to, lying, .. } in whiskers.iter().filter(|whisker| whisker.open) {
            let spot =
                |along: f64, across: f64| if *lying { (to + along, at + across) } else { (at + across, to - along) };
            self.area(vec![spot(0.0, -3.5), spot(0.0, 3.5), spot(5.0, 0.0)], paint);
        }
    }

    /// Draws a marker. Shapes distinguish series independently of their colour.
    pub(super) fn marker(&mut self, (x, y): Spot, shape: usize, hollow: bool, paint: Paint) {
        const R: f64 = 4.0;
        let outline: Vec<Spot> = match shape % 4 {
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
    pub(super) fn cross(&mut self, (x, y): Spot, paint: Paint) {
        const R: f64 = 3.5;
        let lines = vec![vec![(x - R, y - R), (x + R, y + R)], vec![(x - R, y + R), (x + R, y - R)]];
        self.strokes(lines, 1.75, paint);
    }

    /// Draws a line of text, vertically centred on its point.
    pub(super) fn text(&mut self, text: &str, x: f64, y: f64, set: Type) {
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        if !text.is_empty() {
            self.put(Shape::Text { text, at: (x, y), set });
        }
    }

    /// Adds an area with a tooltip.
    pub(super) fn mark(&mut self, area: [f64; 4], words: &str) {
        let words: String = words.chars().filter(|c| !c.is_control()).collect();
        if !words.is_empty() {
            self.marks.push(Mark { area, words, series: self.series });
        }
    }
}
