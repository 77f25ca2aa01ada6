//! What a chart shows, as plain data. Every number that is drawn is here, and every word that is said
//! about it.

/// A chart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure {
    /// What it shows.
    pub(crate) title: String,
    /// Of which run.
    pub(crate) subtitle: String,
    /// What must not be overlooked, such as SIMULATED.
    pub(crate) banner: Option<String>,
    /// What to know about it.
    pub(crate) notes: Vec<String>,
    /// What to know about the run, where it stands alone: invalid cells, the calibration.
    pub(crate) marks: Vec<String>,
    /// What the colours mean.
    pub(crate) series: Vec<Series>,
    /// The drawing itself.
    pub(crate) body: Body,
}

/// A name in the legend and how it looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Series {
    /// For people.
    pub(crate) name: String,
    /// The number of its colour, see `style`.
    pub(crate) hue: usize,
    /// In a lighter tone.
    pub(crate) pale: bool,
    /// The number of its marker's shape.
    pub(crate) shape: usize,
}

impl Series {
    /// In full tone, with round markers.
    pub(crate) fn new(name: impl Into<String>, hue: usize) -> Self {
        Self { name: name.into(), hue, pale: false, shape: 0 }
    }
}

/// The kinds of drawing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body {
    /// Panels of grouped bars.
    Bars(BarFigure),
    /// Panels of coloured squares.
    Heat(HeatFigure),
    /// Panels of points and lines.
    Lines(LineFigure),
    /// Ratios with their intervals, a row each.
    Forest(ForestFigure),
    /// What happened when.
    Timeline(Box<TimelineFigure>),
}

/// Panels of grouped bars on one scale.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BarFigure {
    /// What the bars measure.
    pub(crate) unit: String,
    /// In reading order.
    pub(crate) panels: Vec<BarPanel>,
}

/// One panel.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BarPanel {
    /// May be empty.
    pub(crate) title: String,
    /// From left to right.
    pub(crate) groups: Vec<Group>,
}

/// Bars side by side.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Group {
    /// Below the bars.
    pub(crate) label: String,
    /// The colour of its bars; that of their series if not said.
    pub(crate) hue: Option<usize>,
    /// The index of the series, and its bar.
    pub(crate) bars: Vec<(usize, Bar)>,
}

/// One bar, or one square.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Bar {
    /// Nothing where it must not be shown; then the label says why.
    pub(crate) value: Option<f64>,
    /// An interval; its upper end may be open.
    pub(crate) interval: Option<(f64, Option<f64>)>,
    /// What is written at it.
    pub(crate) label: String,
    /// It is shown, and not to be trusted.
    pub(crate) unfit: bool,
    /// All that is known of it.
    pub(crate) words: String,
}

/// Panels of coloured squares on one scale.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HeatFigure {
    /// What the colours measure.
    pub(crate) unit: String,
    /// In reading order.
    pub(crate) panels: Vec<HeatPanel>,
}

/// One panel.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct HeatPanel {
    /// May be empty.
    pub(crate) title: String,
    /// From top to bottom.
    pub(crate) rows: Vec<String>,
    /// From left to right.
    pub(crate) columns: Vec<String>,
    /// Row, column, and what is there.
    pub(crate) squares: Vec<(usize, usize, Bar)>,
}

/// Panels of points and lines on the same axes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LineFigure {
    /// From left to right.
    pub(crate) x: Axis,
    /// Upwards, from zero.
    pub(crate) y: Axis,
    /// In reading order.
    pub(crate) panels: Vec<LinePanel>,
}

/// What is measured along an axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Axis {
    /// With its unit.
    pub(crate) label: String,
    /// How values are spread over it.
    pub(crate) scale: Scale,
}

/// How values are spread over an axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scale {
    /// From zero, evenly.
    Linear,
    /// Places with a name each: a point's value is the index of its name.
    Names(Vec<String>),
    /// Percentiles, 0 to 1, the further right the wider: every nine has the same room.
    Nines,
}

/// One panel.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct LinePanel {
    /// May be empty.
    pub(crate) title: String,
    /// What it says in a line, such as the highest load that holds.
    pub(crate) says: Vec<String>,
    /// What belongs together.
    pub(crate) lines: Vec<Line>,
    /// Thresholds.
    pub(crate) limits: Vec<Limit>,
}

/// Points that belong together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    /// The index of the series.
    pub(crate) series: usize,
    /// How they are joined.
    pub(crate) join: Join,
    /// From left to right.
    pub(crate) points: Vec<Point>,
}

/// How points are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Join {
    /// Not at all.
    Apart,
    /// By straight lines, with a marker each.
    Marked,
    /// By straight lines alone.
    Plain,
    /// By a dashed line alone: what is drawn is no measurement.
    Dashed,
}

/// A point.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Point {
    /// Along the x axis.
    pub(crate) x: f64,
    /// Along the y axis; nothing where it must not be shown: then a cross stands at the bottom.
    pub(crate) y: Option<f64>,
    /// The interval of y; its upper end may be open.
    pub(crate) interval: Option<(f64, Option<f64>)>,
    /// The interval of x; its upper end may be open.
    pub(crate) across: Option<(f64, Option<f64>)>,
    /// It is shown, and not to be trusted.
    pub(crate) hollow: bool,
    /// All that is known of it; empty where nothing is to be said.
    pub(crate) words: String,
}

/// A threshold.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Limit {
    /// Along the y axis.
    pub(crate) y: f64,
    /// The index of the series that it holds for; all if not said.
    pub(crate) series: Option<usize>,
    /// What it is.
    pub(crate) words: String,
}

/// Ratios with their intervals.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ForestFigure {
    /// What a ratio above 1 means: `slower`, and below: `faster`.
    pub(crate) sides: (String, String),
    /// In reading order.
    pub(crate) panels: Vec<ForestPanel>,
}

/// One panel.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ForestPanel {
    /// May be empty.
    pub(crate) title: String,
    /// From top to bottom.
    pub(crate) rows: Vec<ForestRow>,
}

/// One ratio.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ForestRow {
    /// The index of the series.
    pub(crate) series: usize,
    /// What it is of.
    pub(crate) label: String,
    /// Low, value, high; nothing where nothing is compared.
    pub(crate) ratio: Option<(f64, f64, f64)>,
    /// At the right: the numbers, or why there are none.
    pub(crate) shown: String,
    /// All that is known of it.
    pub(crate) words: String,
}

/// What happened when, in buckets of time that follow each other.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TimelineFigure {
    /// How much a bucket holds, seconds.
    pub(crate) bucket_s: f64,
    /// In order; what lies between two cells is left out.
    pub(crate) buckets: Vec<Bucket>,
    /// What ran where.
    pub(crate) spans: Vec<Span>,
    /// A bucket whose client lag is above this is spoiled, milliseconds.
    pub(crate) lag_limit_ms: f64,
}

/// A bucket of time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Bucket {
    /// What ended per second, by series.
    pub(crate) rates: Vec<f64>,
    /// Of a median request: the service's own time and what came on top, milliseconds.
    pub(crate) shares: Option<(f64, f64)>,
    /// How late this machine was at worst, milliseconds.
    pub(crate) lag_ms: Option<f64>,
    /// All that is known of it.
    pub(crate) words: String,
}

/// A turn of a cell in a time line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Span {
    /// Where it begins and ends, counted in buckets.
    pub(crate) buckets: (f64, f64),
    /// The cell.
    pub(crate) name: String,
    /// The colour of its tier.
    pub(crate) hue: usize,
}
