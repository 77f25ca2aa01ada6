//! Colours, sizes and text fitting. Lengths are CSS pixels.

use ab_glyph::{Font, FontRef, ScaleFont};
use std::sync::LazyLock;

/// Red, green, blue.
pub(super) type Colour = (u8, u8, u8);

pub(super) const INK: Colour = (0x1c, 0x24, 0x30);
pub(super) const SOFT: Colour = (0x5a, 0x66, 0x75);
pub(super) const GRID: Colour = (0xe3, 0xe7, 0xec);
pub(super) const PAPER: Colour = (0xff, 0xff, 0xff);
pub(super) const WARN: Colour = (0x8a, 0x4b, 0x00);
pub(super) const WARN_PAPER: Colour = (0xff, 0xf0, 0xd6);

/// The size of a panel's title, and its room above the panel.
pub(super) const PANEL_TITLE: f64 = 13.0;
pub(super) const PANEL_TITLE_ROOM: f64 = 26.0;
/// The size of axis and group labels.
pub(super) const LABEL: f64 = 11.0;

/// Okabe and Ito's palette, which colour-blind readers can tell apart; the darker ones first.
const SERIES: [Colour; 8] = [
    (0x00, 0x72, 0xb2),
    (0xe6, 0x9f, 0x00),
    (0x00, 0x9e, 0x73),
    (0xcc, 0x79, 0xa7),
    (0x56, 0xb4, 0xe9),
    (0xd5, 0x5e, 0x00),
    (0x8c, 0x8c, 0x8c),
    (0x6a, 0x51, 0xa3),
];

/// The colour of a series. More than eight repeat.
pub(super) fn series(index: usize) -> Colour {
    SERIES[index % SERIES.len()]
}

/// A light-to-dark scale for 0 to 1, perceived as even.
pub(super) fn heat(share: f64) -> Colour {
    const STOPS: [Colour; 5] =
        [(0xf2, 0xf7, 0xfb), (0xb5, 0xd4, 0xe9), (0x66, 0xa9, 0xcf), (0x23, 0x71, 0xab), (0x0b, 0x3c, 0x6e)];
    let at = share.clamp(0.0, 1.0) * (STOPS.len() - 1) as f64;
    let index = (at as usize).min(STOPS.len() - 2);
    let part = at - index as f64;
    let mix = |from: u8, to: u8| (f64::from(from) + (f64::from(to) - f64::from(from)) * part).round() as u8;
    let (from, to) = (STOPS[index], STOPS[index + 1]);
    (mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}

/// Black or white, whichever is readable on a colour.
pub(super) fn readable_on(colour: Colour) -> Colour {
    let light = 0.299 * f64::from(colour.0) + 0.587 * f64::from(colour.1) + 0.114 * f64::from(colour.2);
    if light > 140.0 { INK } else { PAPER }
}

static REGULAR: LazyLock<FontRef<'static>> = LazyLock::new(|| font(notosans::REGULAR_TTF));
static BOLD: LazyLock<FontRef<'static>> = LazyLock::new(|| font(notosans::BOLD_TTF));

fn font(bytes: &'static [u8]) -> FontRef<'static> {
    FontRef::try_from_slice(bytes).unwrap_or_else(|_| unreachable!("the fonts are part of this program"))
}

/// The face of a text.
pub(super) fn face(bold: bool) -> &'static FontRef<'static> {
    if bold { &BOLD } else { &REGULAR }
}

/// The scale that gives an em of `size` pixels.
pub(super) fn scale(bold: bool, size: f64) -> f32 {
    let face = face(bold);
    let units = face.units_per_em().unwrap_or(1_000.0);
    size as f32 * face.height_unscaled() / units
}

/// The width of a text.
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

/// The text, or as much of it as fits, with an ellipsis.
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

/// Round steps for an axis from 0 that reaches `highest`, some five of them.
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

/// A tick as text, with as many decimals as its step needs.
pub(super) fn tick_text(value: f64, step: f64) -> String {
    let decimals = if step >= 1.0 && (step - step.round()).abs() < 1e-9 {
        0
    } else {
        (1.0 - step.log10()).ceil().max(0.0) as usize
    };
    crate::report::view::text::thousands(value, decimals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_the_top() {
        assert_eq!(ticks(430.0), [0.0, 100.0, 200.0, 300.0, 400.0, 500.0]);
        assert_eq!(ticks(0.0), [0.0, 1.0]);
        assert_eq!(tick_text(0.25, 0.05), "0.250");
        assert_eq!(tick_text(12_000.0, 2_000.0), "12,000");
    }

    #[test]
    fn a_text_is_cut_to_its_room() {
        assert_eq!(fit("short", 12.0, false, 100.0), "short");
        let cut = fit("a very long name of a model that nobody can read", 12.0, false, 100.0);
        assert!(cut.ends_with('…') && width(&cut, 12.0, false) <= 100.0);
        assert_eq!(fit("tab\there", 12.0, false, 100.0), "tabhere");
    }
}
