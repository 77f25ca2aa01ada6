//! Numbers as people read them. What is too uncertain is refused, with the reason.

use crate::stats::percentile::{Percentile, Quality};

/// What stands where there is nothing to say.
pub(crate) const NOTHING: &str = "n/a";

/// Milliseconds with the digits that matter: `1,204`, `83.4`, `0.52`.
pub(crate) fn ms(value: f64) -> String {
    if value >= 99.95 {
        thousands(value, 0)
    } else if value >= 9.995 {
        thousands(value, 1)
    } else {
        thousands(value, 2)
    }
}

/// As [`ms`]; `n/a` where there is nothing.
pub(crate) fn ms_or_nothing(value: Option<f64>) -> String {
    value.map_or_else(|| NOTHING.into(), ms)
}

/// A percentile, or why it is not shown.
pub(crate) fn percentile(percentile: Option<Percentile>, n: usize) -> String {
    let Some(percentile) = percentile else { return NOTHING.into() };
    let value = ms(percentile.value_ms);
    match percentile.quality {
        Quality::Ok => value,
        Quality::OneSided => format!("<= {value}"),
        Quality::TooFew => format!("n/a ({n} samples)"),
        Quality::Censored => format!("> {value}"),
    }
}

/// The ends of an interval in milliseconds: `88.0 to 93.2`.
pub(crate) fn range(low: Option<f64>, high: Option<f64>) -> String {
    let end = |end: Option<f64>| end.map_or_else(|| "open".into(), ms);
    format!("{} to {}", end(low), end(high))
}

/// A rate with the digits that matter.
pub(crate) fn rate(value: Option<f64>) -> String {
    ms_or_nothing(value)
}

/// `2.5 %`; what is not zero is not shown as zero.
pub(crate) fn percent(share: Option<f64>) -> String {
    match share {
        None => NOTHING.into(),
        Some(share) if share > 0.0 && share < 0.000_5 => "< 0.1 %".into(),
        Some(share) => format!("{:.1} %", share * 100.0),
    }
}

/// With the decimals that it has, three at most: `50`, `99.9`.
pub(crate) fn number(value: f64) -> String {
    ((value * 1e3).round() / 1e3).to_string()
}

/// The longest text of a service or a plan in a list for people, in characters.
const LONGEST: usize = 300;

/// A text that a list has room for. The whole text is in the files.
pub(crate) fn clipped(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The line that ends a list of which `left_out` entries are not shown; empty where all are.
pub(crate) fn more(left_out: usize, file: &str) -> String {
    if left_out == 0 { String::new() } else { format!("... and {} more in {file}", thousands(left_out as f64, 0)) }
}

/// Some ids and the number of the others: `a, b, c and 24 more`.
pub(crate) fn some_of(ids: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = ids[..ids.len().min(SHOWN)].join(", ");
    match ids.len().saturating_sub(SHOWN) {
        0 => shown,
        others => format!("{shown} and {} more", thousands(others as f64, 0)),
    }
}

/// `12,345.6` with so many decimals.
pub(crate) fn thousands(value: f64, decimals: usize) -> String {
    let plain = format!("{value:.decimals$}");
    let (whole, fraction) =
        plain.split_once('.').map_or((plain.as_str(), None), |(whole, fraction)| (whole, Some(fraction)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match fraction {
        Some(fraction) => format!("{sign}{grouped}.{fraction}"),
        None => format!("{sign}{grouped}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_matter() {
        assert_eq!(
            [ms(1_234_567.8), ms(204.6), ms(99.96), ms(83.44), ms(0.5)],
            ["1,234,568", "205", "100", "83.4", "0.50"]
        );
        assert_eq!(
            [percent(Some(0.0)), percent(Some(0.000_1)), percent(Some(0.25)), percent(None)],
            ["0.0 %", "< 0.1 %", "25.0 %", "n/a"]
        );
        assert_eq!(thousands(-1_234.5, 1), "-1,234.5");
    }

    #[test]
    fn what_is_too_uncertain_is_refused() {
        let of = |quality| {
            percentile(Some(Percentile { p: 0.95, value_ms: 812.0, low_ms: None, high_ms: None, quality }), 41)
        };
        assert_eq!(
            [of(Quality::Ok), of(Quality::OneSided), of(Quality::TooFew), of(Quality::Censored)],
            ["812", "<= 812", "n/a (41 samples)", "> 812"]
        );
    }
}
