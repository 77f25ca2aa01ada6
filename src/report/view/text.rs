//! Formatting of numbers for people. A number that is too uncertain is replaced by the reason.

use crate::result::{Percentile, Quality, Quantity, Relation, ThresholdResult, Times};
use crate::units::rounded;

/// Text for a value that is not available.
pub(crate) const NOTHING: &str = "n/a";

/// Formats milliseconds with the significant digits: `1,204`, `83.4`, `0.52`.
pub(crate) fn ms(value: f64) -> String {
    if value >= 99.95 {
        thousands(value, 0)
    } else if value >= 9.995 {
        thousands(value, 1)
    } else {
        thousands(value, 2)
    }
}

/// Formats milliseconds as [`ms`] does; returns `n/a` for `None`.
pub(crate) fn ms_or_nothing(value: Option<f64>) -> String {
    value.map_or_else(|| NOTHING.into(), ms)
}

/// Formats a percentile, or returns the reason why it is not shown; see [`sample_size`].
pub(crate) fn percentile(percentile: Option<Percentile>, n: usize) -> String {
    let Some(percentile) = percentile else { return NOTHING.into() };
    let value = ms(percentile.value_ms);
    match percentile.quality {
        Quality::Ok => value,
        Quality::OneSided => format!("<= {value}"),
        Quality::TooFew => format!("n/a ({})", sample_size(&percentile, n)),
        Quality::Censored => format!("> {value}"),
    }
}

/// Formats the number of samples, or of the independent ones that they are worth (`n_eff`) if that is smaller.
pub(crate) fn sample_size(percentile: &Percentile, n: usize) -> String {
    let n_eff = percentile.n_eff.floor();
    if n_eff < n as f64 { format!("n_eff {n_eff}") } else { format!("{n} samples") }
}

/// Formats a percentile of a population as [`percentile`] does. `level` is 0 to 1.
pub(crate) fn percentile_of_times(times: &Times, level: f64) -> String {
    percentile(times.percentile(level).copied(), times.samples)
}

/// Formats the ends of an interval in milliseconds: `88.0 to 93.2`.
pub(crate) fn range(low: Option<f64>, high: Option<f64>) -> String {
    let end = |end: Option<f64>| end.map_or_else(|| "open".into(), ms);
    format!("{} to {}", end(low), end(high))
}

/// Formats a rate with the significant digits.
pub(crate) fn rate(value: Option<f64>) -> String {
    ms_or_nothing(value)
}

/// Formats a share as `2.5 %`. A nonzero share is never shown as zero.
pub(crate) fn percent(share: Option<f64>) -> String {
    match share {
        None => NOTHING.into(),
        Some(share) if share > 0.0 && share < 0.000_5 => "< 0.1 %".into(),
        Some(share) => format!("{:.1} %", share * 100.0),
    }
}

/// Formats a number with the decimals it has, at most three: `50`, `99.9`.
pub(crate) fn number(value: f64) -> String {
    rounded(value, 3).to_string()
}

/// Maximum length of a text from a service or a plan in a list for people, in characters.
const LONGEST: usize = 300;

/// Truncates a text for a list. The files contain the whole text.
pub(crate) fn clipped(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Returns the last line of a list that omits `left_out` entries, or an empty string if it omits none.
pub(crate) fn more(left_out: usize, file: &str) -> String {
    if left_out == 0 { String::new() } else { format!("... and {} more in {file}", thousands(left_out as f64, 0)) }
}

/// Returns the first ids and the number of the others: `a, b, c and 24 more`.
pub(crate) fn some_of(ids: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = ids[..ids.len().min(SHOWN)].join(", ");
    match ids.len().saturating_sub(SHOWN) {
        0 => shown,
        others => format!("{shown} and {} more", thousands(others as f64, 0)),
    }
}

/// Formats a number with thousands separators and the given number of decimals: `12,345.6`.
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

/// Formats a number with its unit: `1,234 ms`, `0.42 %`, `12.0 /s`, `0.0123 USD`.
pub(crate) fn quantity(quantity: Quantity) -> String {
    match quantity {
        Quantity::Ms(value) => format!("{} ms", ms(value)),
        // Bounds of shares are small.
        Quantity::Share(share) if share > 0.0 && share < 0.000_05 => "< 0.01 %".into(),
        Quantity::Share(share) => format!("{:.2} %", share * 100.0),
        Quantity::PerSec(value) => format!("{} /s", ms(value)),
        Quantity::UsdPer1kRequests(usd) => format!("{usd:.4} USD"),
    }
}

/// Formats the bound of a threshold: `<= 2,500 ms`, `>= 12.0 /s (ttft 800ms)`.
pub(crate) fn bound(row: &ThresholdResult) -> String {
    bound_of(row.relation, row.bound, row.limits.as_deref())
}

pub(super) fn bound_of(relation: Relation, limit: Quantity, limits: Option<&str>) -> String {
    let limits = limits.map_or_else(String::new, |limits| format!(" ({limits})"));
    format!("{} {}{limits}", relation.key(), quantity(limit))
}

/// Formats the measured value of a threshold.
pub(crate) fn measured(row: &ThresholdResult) -> String {
    row.measured.map_or_else(|| NOTHING.into(), quantity)
}

/// Formats the interval of the measured value, with its confidence level unless it is 95 %, or returns an empty string if
/// nothing was measured.
pub(crate) fn interval(row: &ThresholdResult) -> String {
    let end = |end: Option<Quantity>| end.map_or_else(|| "open".into(), quantity);
    let level = if (row.confidence_percent - 95.0).abs() < 1e-6 {
        String::new()
    } else {
        format!(" ({} %)", number(row.confidence_percent))
    };
    if row.measured.is_none() { String::new() } else { format!("{} to {}{level}", end(row.low), end(row.high)) }
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
    fn too_uncertain_numbers_are_refused() {
        let of = |quality| {
            percentile(
                Some(Percentile { p: 0.95, value_ms: 812.0, low_ms: None, high_ms: None, n_eff: 41.0, quality }),
                41,
            )
        };
        assert_eq!(
            [of(Quality::Ok), of(Quality::OneSided), of(Quality::TooFew), of(Quality::Censored)],
            ["812", "<= 812", "n/a (41 samples)", "> 812"]
        );
        let uneven =
            Percentile { p: 0.95, value_ms: 812.0, low_ms: None, high_ms: None, n_eff: 41.7, quality: Quality::TooFew };
        assert_eq!(percentile(Some(uneven), 300), "n/a (n_eff 41)");
    }
}
