//! What a chart shows, as plain data.

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
    /// The drawing itself.
    pub(crate) body: Body,
}

/// The kinds of drawing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body {
    /// Panels of grouped bars.
    Bars(BarFigure),
    /// Panels of coloured squares.
    Heat(HeatFigure),
}

/// Panels of grouped bars on one scale.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BarFigure {
    /// What the bars measure.
    pub(crate) unit: String,
    /// The names of the colours.
    pub(crate) series: Vec<String>,
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
    /// The index of the series, and its bar.
    pub(crate) bars: Vec<(usize, Bar)>,
}

/// One bar.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Bar {
    /// Nothing where it must not be shown; then the label says why.
    pub(crate) value: Option<f64>,
    /// An interval; its upper end may be open.
    pub(crate) interval: Option<(f64, Option<f64>)>,
    /// What is written at it.
    pub(crate) label: String,
}

impl Bar {
    /// Without an interval.
    pub(crate) fn plain(value: Option<f64>, label: String) -> Self {
        Self { value, interval: None, label }
    }
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
