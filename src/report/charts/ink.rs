//! A drawing as a list of shapes, in CSS pixels, and the marks that a pointer finds in it. What the
//! shapes look like in the end is the business of `svg` and `png`.

use super::style::Paint;

/// What is drawn.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    /// A filled rectangle: left, top, width, height.
    Block([f64; 4], Paint),
    /// A filled outline.
    Area(Vec<Spot>, Paint),
    /// Lines, each through its spots.
    Strokes { lines: Vec<Vec<Spot>>, thickness: f64, dashed: bool, paint: Paint },
    /// A disc; a ring if it is hollow.
    Disc { at: Spot, radius: f64, hollow: bool, paint: Paint },
    /// A line of text, vertically centred.
    Text { text: String, at: Spot, set: Type },
}

/// Left to right, top to bottom.
pub(super) type Spot = (f64, f64);

/// Something that can be pointed at.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mark {
    /// Left, top, width, height.
    pub(super) area: [f64; 4],
    /// What is there.
    pub(super) words: String,
    /// It goes with this series.
    pub(super) series: Option<usize>,
}

/// Shapes in the order in which they cover each other, and marks.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Ink {
    /// Each with the series that it goes with.
    pub(super) shapes: Vec<(Option<usize>, Shape)>,
    pub(super) marks: Vec<Mark>,
    series: Option<usize>,
}

/// Where a text begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    /// At its spot.
    Left,
    /// With its middle there.
    Centre,
    /// It ends there.
    Right,
}

/// How a text is set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Type {
    pub(super) size: f64,
    pub(super) bold: bool,
    pub(super) paint: Paint,
    pub(super) align: Align,
    /// A quarter turn to the left.
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
    /// What is drawn from now on goes with a series, or with none.
    pub(super) fn of(&mut self, series: Option<usize>) {
        self.series = series;
    }

    fn put(&mut self, shape: Shape) {
        self.shapes.push((self.series, shape));
    }

    /// A filled rectangle.
    pub(super) fn block(&mut self, left: f64, top: f64, width: f64, height: f64, paint: Paint) {
        self.put(Shape::Block([left, top, width, height], paint));
    }

    /// A filled outline.
    pub(super) fn area(&mut self, spots: Vec<Spot>, paint: Paint) {
        self.put(Shape::Area(spots, paint));
    }

    /// A straight line.
    pub(super) fn line(&mut self, from: Spot, to: Spot, thickness: f64, paint: Paint) {
        self.strokes(vec![vec![from, to]], thickness, paint);
    }

    /// Lines, each through its spots.
    pub(super) fn strokes(&mut self, lines: Vec<Vec<Spot>>, thickness: f64, paint: Paint) {
        self.put(Shape::Strokes { lines, thickness, dashed: false, paint });
    }

    /// As above, dashed.
    pub(super) fn dashed(&mut self, line: Vec<Spot>, thickness: f64, paint: Paint) {
        self.put(Shape::Strokes { lines: vec![line], thickness, dashed: true, paint });
    }

    /// Slanted lines over a rectangle: what is not there, or not to be trusted.
    pub(super) fn hatch(&mut self, [left, top, width, height]: [f64; 4], paint: Paint) {
        const STEP: f64 = 6.0;
        let mut lines = Vec::new();
        let mut at = STEP;
        while at < width + height {
            // From the left or the bottom edge up to the top or the right one.
            let from = (left + (at - height).max(0.0), top + at.min(height));
            let to = (left + at.min(width), top + (at - width).max(0.0));
            lines.push(vec![from, to]);
            at += STEP;
        }
        self.strokes(lines, 1.0, paint);
    }

    /// An interval's line with a cap at each end; where the upper end is open, an arrow.
    pub(super) fn whisker(&mut self, x: f64, lower: f64, upper: f64, open: bool, cap: f64, paint: Paint) {
        let mut lines = vec![vec![(x, lower), (x, upper)], vec![(x - cap, lower), (x + cap, lower)]];
        if !open {
            lines.push(vec![(x - cap, upper), (x + cap, upper)]);
        }
        self.strokes(lines, 1.25, paint);
        if open {
            self.area(vec![(x - 3.5, upper), (x + 3.5, upper), (x, upper - 5.0)], paint);
        }
    }

    /// As [`Self::whisker`], from left to right.
    pub(super) fn lying(&mut self, y: f64, left: f64, right: f64, open: bool, cap: f64, paint: Paint) {
        let mut lines = vec![vec![(left, y), (right, y)], vec![(left, y - cap), (left, y + cap)]];
        if !open {
            lines.push(vec![(right, y - cap), (right, y + cap)]);
        }
        self.strokes(lines, 1.25, paint);
        if open {
            self.area(vec![(right, y - 3.5), (right, y + 3.5), (right + 5.0, y)], paint);
        }
    }

    /// A marker. Shapes tell what colours cannot.
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

    /// A cross: nothing was measured here.
    pub(super) fn cross(&mut self, (x, y): Spot, paint: Paint) {
        const R: f64 = 3.5;
        let lines = vec![vec![(x - R, y - R), (x + R, y + R)], vec![(x - R, y + R), (x + R, y - R)]];
        self.strokes(lines, 1.75, paint);
    }

    /// A line of text, vertically centred on its spot.
    pub(super) fn text(&mut self, text: &str, x: f64, y: f64, set: Type) {
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        if !text.is_empty() {
            self.put(Shape::Text { text, at: (x, y), set });
        }
    }

    /// Something that can be pointed at.
    pub(super) fn mark(&mut self, area: [f64; 4], words: &str) {
        let words: String = words.chars().filter(|c| !c.is_control()).collect();
        if !words.is_empty() {
            self.marks.push(Mark { area, words, series: self.series });
        }
    }
}
