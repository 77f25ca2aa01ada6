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

/// How far an interval without an upper end is drawn beyond its value.
pub(super) const OPEN: f64 = 16.0;

/// An interval: a line with a cap at each end; where its upper end is open, an arrow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whisker {
    /// Its place across.
    pub(super) at: f64,
    /// Where its lower end is, along,
    pub(super) from: f64,
    /// and its upper one.
    pub(super) to: f64,
    /// Nobody knows the upper end.
    pub(super) open: bool,
    /// Half of a cap's length.
    pub(super) cap: f64,
    /// From left to right, else upwards.
    pub(super) lying: bool,
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

    /// Intervals in one colour.
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
