//! Student's t and the normal distribution. Knows numbers only.

/// The value that a t with `df` (1 or more) degrees of freedom exceeds with probability `tail`, which
/// is below one half.
pub(crate) fn quantile(df: usize, tail: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while upper_tail(high, df) > tail {
        high *= 2.0;
    }
    // Some 50 halvings leave nothing of a double's digits.
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if upper_tail(middle, df) > tail {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// P(T > t) for any t.
pub(crate) fn exceeds(t: f64, df: usize) -> f64 {
    if t >= 0.0 { upper_tail(t, df) } else { 1.0 - upper_tail(-t, df) }
}

/// The mean of two or more values, and half the width of its interval that misses with `tail` on either side.
pub(crate) fn mean(values: &[f64], tail: f64) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, quantile(values.len() - 1, tail) * (variance / n).sqrt())
}

/// The value that a standard normal exceeds with probability `tail` (below one half), to 4.5e-4:
/// Abramowitz and Stegun, 26.2.23.
pub(crate) fn normal_quantile(tail: f64) -> f64 {
    let t = (-2.0 * tail.ln()).sqrt();
    t - (2.515_517 + t * (0.802_853 + t * 0.010_328)) / (1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308)))
}

/// P(T > t) for t >= 0: the finite series of Abramowitz and Stegun, 26.7.3 and 26.7.4.
fn upper_tail(t: f64, df: usize) -> f64 {
    let theta = (t / (df as f64).sqrt()).atan();
    let (sin, cos) = theta.sin_cos();
    // cos + 2/3 cos^3 + ... for odd, 1 + 1/2 cos^2 + ... for even degrees, up to the power df - 2.
    let odd = df % 2 == 1;
    let (mut power, mut term, mut sum) = if odd { (1, cos, 0.0) } else { (0, 1.0, 0.0) };
    while power + 2 <= df {
        sum += term;
        term *= cos * cos * (power + 1) as f64 / (power + 2) as f64;
        power += 2;
    }
    let within = if odd { (theta + sin * sum) * std::f64::consts::FRAC_2_PI } else { sin * sum };
    (1.0 - within) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_the_printed_tables() {
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
