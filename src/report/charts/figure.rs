//! Chart content as plain data: every number that is drawn, and every text.

/// Chart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure {
    /// Title of the chart.
    pub(crate) title: String,
    /// Name and start of the run.
    pub(crate) subtitle: String,
    /// Prominent label, such as SIMULATED.
    pub(crate) banner: Option<String>,
    /// Explanations of the chart.
    pub(crate) notes: Vec<String>,
    /// Notes about the run, such as invalid cells and the calibration. Shown if the chart is a file of its own.
    pub(crate) marks: Vec<String>,
    /// Legend entries.
    pub(crate) series: Vec<Series>,
    /// Panels of the chart.
    pub(crate) body: Body,
}

/// Legend entry: a name with its appearance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Series {
    pub(crate) name: String,
    /// Number of its colour; see `style`.
    pub(crate) hue: usize,
    /// Whether it is drawn in a lighter tone.
    pub(crate) pale: bool,
    /// Number of its marker shape.
    pub(crate) shape: usize,
}

impl Series {
    /// Creates a series in full tone with round markers.
    pub(crate) fn new(name: impl Into<String>, hue: usize) -> Self {
        Self { name: name.into(), hue, pale: false, shape: 0 }
    }
}

/// Kind of chart with its data.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body {
    Bars(BarFigure),
    Heat(HeatFigure),
    Lines(LineFigure),
    /// Ratios with their intervals, one row each.
    Forest(ForestFigure),
    /// Rates, time shares and client lag over the run.
    Timeline(Box<TimelineFigure>),
}

/// Panels of grouped bars on one scale.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BarFigure {
    /// Unit of the bars, for the axis label.
    pub(crate) unit: String,
    /// Panels in reading order.
    pub(crate) panels: Vec<BarPanel>,
}

/// Panel of grouped bars.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BarPanel {
    /// May be empty.
    pub(crate) title: String,
    /// Groups from left to right.
    pub(crate) groups: Vec<Group>,
}

/// Bars drawn side by side.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Group {
    /// Label below the bars.
    pub(crate) label: String,
    /// Colour of the group's bars; `None` selects the colour of their series.
    pub(crate) hue: Option<usize>,
    /// Bars, each with the index of its series.
    pub(crate) bars: Vec<(usize, Bar)>,
}

/// Bar, or square of a heat map.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Bar {
    /// `None` if the value must not be shown; the label then gives the reason.
    pub(crate) value: Option<f64>,
    /// Text drawn at the bar.
    pub(crate) label: String,
    /// Whether the value is shown but unreliable.
    pub(crate) is_unreliable: bool,
    /// Tooltip with all details.
    pub(crate) tooltip: String,
}

/// Panels of coloured squares on one scale.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HeatFigure {
    /// Unit of the values.
    pub(crate) unit: String,
    /// Panels in reading order.
    pub(crate) panels: Vec<HeatPanel>,
}

/// Panel of a heat map.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct HeatPanel {
    /// May be empty.
    pub(crate) title: String,
    /// Row labels from top to bottom.
    pub(crate) rows: Vec<String>,
    /// Column labels from left to right.
    pub(crate) columns: Vec<String>,
    /// Squares, each with its row and column index.
    pub(crate) squares: Vec<(usize, usize, Bar)>,
}

/// Panels of points and lines on shared axes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LineFigure {
    /// Horizontal axis, from left to right.
    pub(crate) x: Axis,
    /// Vertical axis, upwards from zero.
    pub(crate) y: Axis,
    /// Panels in reading order.
    pub(crate) panels: Vec<LinePanel>,
}

/// Axis of a chart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Axis {
    /// Label with the unit.
    pub(crate) label: String,
    pub(crate) scale: Scale,
}

/// Mapping of values to positions on an axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Linear from zero.
    Linear,
    /// Named positions: the value of a point is the index of its name.
    Names(Vec<String>),
    /// Logarithmic percentile axis, 0 to 1: each additional nine has the same width.
    Nines,
}

/// Panel of points and lines.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct LinePanel {
    /// May be empty.
    pub(crate) title: String,
    /// Caption lines, such as the highest load that passes.
    pub(crate) captions: Vec<String>,
    /// Lines of the panel.
    pub(crate) lines: Vec<Line>,
    /// Thresholds drawn in the panel.
    pub(crate) limits: Vec<Limit>,
}

/// Points of one series that may be joined.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    /// Index of the series.
    pub(crate) series: usize,
    /// How the points are joined.
    pub(crate) join: Join,
    /// Points from left to right.
    pub(crate) points: Vec<Point>,
}

/// How the points of a line are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Join {
    /// Not joined.
    Apart,
    /// Straight lines with a marker at each point.
    Marked,
    /// Straight lines without markers.
    Plain,
    /// Dashed line without markers, for lines that are not measurements.
    Dashed,
}

/// Point of a line.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Point {
    /// Position on the x axis.
    pub(crate) x: f64,
    /// Position on the y axis. `None` if the value must not be shown; a cross at the bottom then marks the point.
    pub(crate) y: Option<f64>,
    /// Interval of y; its upper end is `None` if open.
    pub(crate) interval: Option<(f64, Option<f64>)>,
    /// Interval of x; its upper end is `None` if open.
    pub(crate) across: Option<(f64, Option<f64>)>,
    /// Whether the value is shown but unreliable.
    pub(crate) hollow: bool,
    /// Tooltip with all details; empty if the point has no tooltip.
    pub(crate) tooltip: String,
}

/// Threshold drawn as a horizontal line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Limit {
    /// Position on the y axis.
    pub(crate) y: f64,
    /// Index of the series that it applies to; `None` for all.
    pub(crate) series: Option<usize>,
    /// Tooltip.
    pub(crate) tooltip: String,
}

/// Ratios with their intervals.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ForestFigure {
    /// Words for a ratio above 1, such as `slower`, and below 1, such as `faster`.
    pub(crate) sides: (String, String),
    /// Panels in reading order.
    pub(crate) panels: Vec<ForestPanel>,
}

/// Panel of ratios.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ForestPanel {
    /// May be empty.
    pub(crate) title: String,
    /// Rows from top to bottom.
    pub(crate) rows: Vec<ForestRow>,
}

/// One ratio.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ForestRow {
    /// Index of the series.
    pub(crate) series: usize,
    /// Label of the row.
    pub(crate) label: String,
    /// Lower end, value and upper end; `None` if nothing is compared.
    pub(crate) ratio: Option<(f64, f64, f64)>,
    /// Text on the right: the numbers, or the reason why there are none.
    pub(crate) shown: String,
    /// Tooltip with all details.
    pub(crate) tooltip: String,
}

/// Time line of a run in consecutive buckets of time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TimelineFigure {
    /// Length of a bucket, seconds.
    pub(crate) bucket_s: f64,
    /// Buckets in order; the time between two cells is omitted.
    pub(crate) buckets: Vec<Bucket>,
    /// Cell runs, each with its buckets.
    pub(crate) spans: Vec<Span>,
    /// Client lag above which a bucket is marked as unreliable, milliseconds.
    pub(crate) lag_limit_ms: f64,
}

/// Bucket of time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Bucket {
    /// Requests that ended per second, by series.
    pub(crate) rates: Vec<f64>,
    /// Server time and client overhead of a median request, milliseconds.
    pub(crate) shares: Option<(f64, f64)>,
    /// Largest lag of this machine, milliseconds.
    pub(crate) lag_ms: Option<f64>,
    /// Tooltip with all details.
    pub(crate) tooltip: String,
}

/// Cell run in a time line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Span {
    /// Start and end, counted in buckets.
    pub(crate) buckets: (f64, f64),
    /// Cell id.
    pub(crate) name: String,
    /// Colour of the cell's tier.
    pub(crate) hue: usize,
}
