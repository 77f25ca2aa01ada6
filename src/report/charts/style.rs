//! Colours, sizes and text fitting. Lengths are CSS pixels.

use ab_glyph::{Font, FontRef, ScaleFont};
use std::sync::LazyLock;

/// RGB colour: red, green, blue.
pub(super) type Colour = (u8, u8, u8);

/// Colour by role. PNG uses the light variant. In SVG it is a CSS class, so that a style sheet can define a dark
/// variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    /// Text and whiskers.
    Ink,
    /// Secondary text.
    Soft,
    /// Grid lines behind the data.
    Grid,
    /// Background.
    Paper,
    /// Text of a prominent label.
    Warn,
    /// Background of a prominent label.
    WarnPaper,
    /// Threshold.
    Limit,
    /// Colour from the palette, by index.
    Hue(usize),
    /// Lighter tone of a colour from the palette.
    Pale(usize),
    /// Outcome of requests; see [`OUTCOMES`].
    Outcome(usize),
    /// Step of a colour scale from low to high, 0 to [`HEAT_STEPS`].
    Heat(usize),
}

/// Highest step of a colour scale.
pub(super) const HEAT_STEPS: usize = 10;

/// Palette of Okabe and Ito, which colour-blind readers can distinguish, darkened where it would lack contrast on
/// white.
const HUES: [Colour; 8] = [
    (0x00, 0x72, 0xb2),
    (0xc7, 0x7f, 0x00),
    (0x00, 0x9e, 0x73),
    (0xbb, 0x5f, 0x94),
    (0x3a, 0x9a, 0xd6),
    (0xd5, 0x5e, 0x00),
    (0x7c, 0x86, 0x91),
    (0x6a, 0x51, 0xa3),
];

const PALES: [Colour; 8] = [
    (0x8c, 0xbf, 0xdd),
    (0xea, 0xc6, 0x86),
    (0x8a, 0xd3, 0xbe),
    (0xe0, 0xb4, 0xcd),
    (0xa6, 0xd2, 0xee),
    (0xee, 0xb2, 0x8a),
    (0xc3, 0xc9, 0xd0),
    (0xb9, 0xad, 0xd5),
];

/// Index of blocked replies in [`OUTCOMES`].
pub(crate) const BLOCKED: usize = 7;

/// Colours of outcomes: succeeded, 429, 503, failed otherwise, censored. Colours of time: server time, client overhead.
/// Then blocked.
const OUTCOMES: [Colour; 8] = [
    (0xa9, 0xc4, 0xd8),
    (0xe6, 0x9f, 0x00),
    (0xd5, 0x3e, 0x00),
    (0x5b, 0x2a, 0x86),
    (0x8a, 0x93, 0x9e),
    (0x8f, 0xae, 0xc4),
    (0x1c, 0x24, 0x30),
    (0x00, 0x7a, 0x6a),
];

/// Perceptually uniform scale from light to dark.
const HEAT: [Colour; 5] =
    [(0xf2, 0xf7, 0xfb), (0xb5, 0xd4, 0xe9), (0x66, 0xa9, 0xcf), (0x23, 0x71, 0xab), (0x0b, 0x3c, 0x6e)];

impl Paint {
    /// Returns the RGB colour on a white background.
    pub(super) fn light(self) -> Colour {
        match self {
            Self::Ink => (0x1c, 0x24, 0x30),
            Self::Soft => (0x5a, 0x66, 0x75),
            Self::Grid => (0xe3, 0xe7, 0xec),
            Self::Paper => (0xff, 0xff, 0xff),
            Self::Warn => (0x8a, 0x4b, 0x00),
            Self::WarnPaper => (0xff, 0xf0, 0xd6),
            Self::Limit => (0xa3, 0x21, 0x0f),
            Self::Hue(index) => HUES[index % HUES.len()],
            Self::Pale(index) => PALES[index % PALES.len()],
            Self::Outcome(index) => OUTCOMES[index % OUTCOMES.len()],
            Self::Heat(step) => {
                let at = step.min(HEAT_STEPS) as f64 / HEAT_STEPS as f64 * (HEAT.len() - 1) as f64;
                let index = (at as usize).min(HEAT.len() - 2);
                let part = at - index as f64;
                let mix = |from: u8, to: u8| (f64::from(from) + (f64::from(to) - f64::from(from)) * part).round() as u8;
                let (from, to) = (HEAT[index], HEAT[index + 1]);
                (mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
            }
        }
    }

    /// Returns the CSS class in `templates/chart.css`, without the part that selects fill or stroke.
    pub(super) fn class(self) -> String {
        match self {
            Self::Ink => "i".into(),
            Self::Soft => "s".into(),
            Self::Grid => "g".into(),
            Self::Paper => "p".into(),
            Self::Warn => "w".into(),
            Self::WarnPaper => "x".into(),
            Self::Limit => "l".into(),
            Self::Hue(index) => format!("h{}", index % HUES.len()),
            Self::Pale(index) => format!("q{}", index % PALES.len()),
            Self::Outcome(index) => format!("o{}", index % OUTCOMES.len()),
            Self::Heat(step) => format!("t{}", step.min(HEAT_STEPS)),
        }
    }

    /// Returns a text colour with contrast on this colour: `Ink` on the lower steps of a scale and `Paper` on the
    /// higher ones, in the light and the dark variant.
    pub(super) fn readable_on(self) -> Self {
        match self {
            Self::Heat(step) if step > 5 => Self::Paper,
            _ => Self::Ink,
        }
    }
}

/// Font size of a panel's title, and the height reserved for it above the panel.
pub(super) const PANEL_TITLE: f64 = 13.0;
pub(super) const PANEL_TITLE_ROOM: f64 = 26.0;
/// Font size of axis and group labels.
pub(super) const LABEL: f64 = 11.0;

static REGULAR: LazyLock<FontRef<'static>> = LazyLock::new(|| font(notosans::REGULAR_TTF));
static BOLD: LazyLock<FontRef<'static>> = LazyLock::new(|| font(notosans::BOLD_TTF));

fn font(bytes: &'static [u8]) -> FontRef<'static> {
    FontRef::try_from_slice(bytes).unwrap_or_else(|_| unreachable!("the fonts are part of this program"))
}

/// Returns the font of a text.
pub(super) fn face(bold: bool) -> &'static FontRef<'static> {
    if bold { &BOLD } else { &REGULAR }
}

/// Returns the scale that gives an em of `size` pixels.
pub(super) fn scale(bold: bool, size: f64) -> f32 {
    let face = face(bold);
    let units = face.units_per_em().unwrap_or(1_000.0);
    size as f32 * face.height_unscaled() / units
}

/// Returns the width of a text.
pub(super) fn width(text: &str, size: f64, bold: bool) -> f64 {
    let scaled = face(bold).as_scaled(scale(bold, size));
    let mut width = 0.0;
    let mut last = None;
    for c in text.chars() {
        let glyph = scaled.glyph_id(c);
        if let Some(last) = last {
            width += scaled.kern(last, glyph);
        }
        width += scaled.h_advance(glyph);
        last = Some(glyph);
    }
    f64::from(width)
}

/// Returns the text, truncated with an ellipsis if it is wider than `room`.
pub(super) fn fit(text: &str, size: f64, bold: bool, room: f64) -> String {
    let clean: String = text.chars().filter(|c| !c.is_control()).collect();
    if width(&clean, size, bold) <= room {
        return clean;
    }
    let mut short: Vec<char> = clean.chars().collect();
    while short.pop().is_some() {
        let candidate: String = short.iter().chain(&['…']).collect();
        if width(&candidate, size, bold) <= room {
            return candidate;
        }
    }
    String::new()
}

/// Returns about five round tick values for an axis from 0 up to at least `highest`.
pub(super) fn ticks(highest: f64) -> Vec<f64> {
    if !(highest > 0.0 && highest.is_finite()) {
        return vec![0.0, 1.0];
    }
    let rough = highest / 5.0;
    let magnitude = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|factor| factor * magnitude).find(|step| *step >= rough);
    let step = step.unwrap_or(10.0 * magnitude);
    let count = (highest / step).ceil() as usize;
    (0..=count).map(|index| index as f64 * step).collect()
}

/// Formats a tick value with as many decimals as its step needs.
pub(super) fn tick_text(value: f64, step: f64) -> String {
    let even = |decimals: &usize| {
        let scaled = step * 10_f64.powi(*decimals as i32);
        (scaled - scaled.round()).abs() < 1e-6
    };
    let decimals = (0..9).find(even).unwrap_or(9);
    crate::report::view::text::thousands(value, decimals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_the_top() {
        assert_eq!(ticks(430.0), [0.0, 100.0, 200.0, 300.0, 400.0, 500.0]);
        assert_eq!(ticks(0.0), [0.0, 1.0]);
        assert_eq!(tick_text(0.25, 0.05), "0.25");
        assert_eq!((tick_text(2.5, 2.5), tick_text(0.5, 0.1)), ("2.5".into(), "0.5".into()));
        assert_eq!(tick_text(12_000.0, 2_000.0), "12,000");
    }

    #[test]
    fn text_is_cut_to_its_width() {
        assert_eq!(fit("short", 12.0, false, 100.0), "short");
        let cut = fit("a very long name of a model that is too long to show", 12.0, false, 100.0);
        assert!(cut.ends_with('…') && width(&cut, 12.0, false) <= 100.0);
        assert_eq!(fit("tab\there", 12.0, false, 100.0), "tabhere");
    }
}
