//! Splits panels that are too large to read into several of a bounded size.

use super::figure::{BarFigure, BarPanel, Body, ForestFigure, ForestPanel, HeatFigure, HeatPanel};

/// Maximum number of groups in a panel of bars.
const GROUPS: usize = 24;

/// Maximum number of bars in a panel; a single group may have more.
const BARS: usize = 96;

/// Maximum number of columns of a heat map.
const COLUMNS: usize = 16;

/// Maximum number of rows of a heat map.
const ROWS: usize = 24;

/// Maximum number of ratios in a panel.
const RATIOS: usize = 48;

/// Splits panels that are too large. Each part has the title of the panel with the number of the part.
pub(crate) fn split(body: Body) -> Body {
    match body {
        Body::Bars(figure) => {
            Body::Bars(BarFigure { panels: figure.panels.into_iter().flat_map(bars).collect(), ..figure })
        }
        Body::Heat(figure) => {
            Body::Heat(HeatFigure { panels: figure.panels.into_iter().flat_map(heat).collect(), ..figure })
        }
        Body::Forest(figure) => {
            Body::Forest(ForestFigure { panels: figure.panels.into_iter().flat_map(forest).collect(), ..figure })
        }
        body @ (Body::Lines(_) | Body::Timeline(_)) => body,
    }
}

/// Returns the title of a part, such as `prompt small (2 of 3)`, or the plain title if there is only one part.
fn part_title(title: &str, index: usize, count: usize) -> String {
    match count {
        0 | 1 => title.to_owned(),
        _ if title.is_empty() => format!("{} of {count}", index + 1),
        _ => format!("{title} ({} of {count})", index + 1),
    }
}

fn bars(panel: BarPanel) -> Vec<BarPanel> {
    let mut parts: Vec<BarPanel> = Vec::new();
    let mut in_part = 0;
    for group in panel.groups {
        let is_full =
            |part: &BarPanel| part.groups.len() == GROUPS || (in_part > 0 && in_part + group.bars.len() > BARS);
        if parts.last().is_none_or(is_full) {
            parts.push(BarPanel { title: panel.title.clone(), groups: Vec::new() });
            in_part = 0;
        }
        in_part += group.bars.len();
        if let Some(part) = parts.last_mut() {
            part.groups.push(group);
        }
    }
    let count = parts.len();
    for (index, part) in parts.iter_mut().enumerate() {
        part.title = part_title(&panel.title, index, count);
    }
    parts
}

fn heat(panel: HeatPanel) -> Vec<HeatPanel> {
    let (across, down) = (panel.columns.len().div_ceil(COLUMNS), panel.rows.len().div_ceil(ROWS));
    if across * down <= 1 {
        return vec![panel];
    }
    let names = |names: &[String], part: usize, size: usize| {
        names.iter().skip(part * size).take(size).cloned().collect::<Vec<String>>()
    };
    let mut parts: Vec<HeatPanel> = (0..across * down)
        .map(|part| HeatPanel {
            title: String::new(),
            rows: names(&panel.rows, part / across, ROWS),
            columns: names(&panel.columns, part % across, COLUMNS),
            squares: Vec::new(),
        })
        .collect();
    for (row, column, square) in panel.squares {
        parts[row / ROWS * across + column / COLUMNS].squares.push((row % ROWS, column % COLUMNS, square));
    }
    parts.retain(|part| !part.squares.is_empty());
    let count = parts.len();
    for (index, part) in parts.iter_mut().enumerate() {
        part.title = part_title(&panel.title, index, count);
    }
    parts
}

fn forest(panel: ForestPanel) -> Vec<ForestPanel> {
    let count = panel.rows.len().div_ceil(RATIOS);
    if count <= 1 {
        return vec![panel];
    }
    let mut rows = panel.rows.into_iter();
    let part = |index| ForestPanel {
        title: part_title(&panel.title, index, count),
        rows: rows.by_ref().take(RATIOS).collect(),
    };
    (0..count).map(part).collect()
}
