//! Student's t and the normal distribution, by the upper tails that the intervals use. Knows numbers only.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// Returns the value that a t with `df` (1 or more) degrees of freedom exceeds with probability `tail`, which
/// is below one half.
pub(crate) fn quantile(df: usize, tail: f64) -> f64 {
    // By symmetry: a small probability keeps its digits, one close to 1 does not.
    -student(df).inverse_cdf(tail)
}

/// Returns P(T > t) for any t.
pub(crate) fn exceeds(t: f64, df: usize) -> f64 {
    student(df).sf(t)
}

/// Returns the mean of two or more values, and half the width of its interval that misses with `tail` on either side.
pub(crate) fn mean(values: &[f64], tail: f64) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, quantile(values.len() - 1, tail) * (variance / n).sqrt())
}

/// Returns the value that a standard normal exceeds with probability `tail` (below one half).
pub(crate) fn normal_quantile(tail: f64) -> f64 {
    -Normal::standard().inverse_cdf(tail)
}

fn student(df: usize) -> StudentsT {
    StudentsT::new(0.0, 1.0, df as f64).expect("one degree of freedom or more")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_match_printed_tables() {
        // Two-sided 95 % and 99 %, and one-sided 95 %.
        for (df, tail, printed) in [
            (1, 0.025, 12.706),
            (2, 0.025, 4.303),
            (3, 0.025, 3.182),
            (4, 0.025, 2.776),
            (9, 0.025, 2.262),
            (19, 0.025, 2.093),
            (120, 0.025, 1.980),
            (2, 0.005, 9.925),
            (4, 0.005, 4.604),
            (10, 0.005, 3.169),
            (5, 0.05, 2.015),
        ] {
            let found = quantile(df, tail);
            assert!((found - printed).abs() < 6e-4, "t of {df} at {tail}: {found}, not {printed}");
            assert!((exceeds(printed, df) - tail).abs() < 1e-4 && (exceeds(-printed, df) - 1.0 + tail).abs() < 1e-4);
        }
        for (tail, printed) in [(0.2, 0.8416), (0.05, 1.6449), (0.025, 1.9600), (0.000_926, 3.1130)] {
            let found = normal_quantile(tail);
            assert!((found - printed).abs() < 6e-4, "z at {tail}: {found}, not {printed}");
        }
    }
}
