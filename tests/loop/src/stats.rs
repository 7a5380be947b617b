//! What a series says: how far it strays, whether it swings.

/// The mean.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn mean(series: &[f64]) -> f64 {
    series.iter().sum::<f64>() / (series.len().max(1)) as f64
}

/// The part of the time that the series is within `part` of its mean.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn within(series: &[f64], part: f64) -> f64 {
    let mean = mean(series);
    let inside = series.iter().filter(|value| (*value / mean - 1.0).abs() <= part);
    inside.count() as f64 / series.len().max(1) as f64
}

/// How strongly the series repeats itself: the highest autocorrelation behind its first zero, at
/// any lag up to a third of the series. 1 is a perfect swing, noise is near 0. A series that
/// strays less than a hundredth of its mean repeats nothing that matters: 0.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn swing(series: &[f64]) -> f64 {
    let mean = mean(series);
    let off: Vec<f64> = series.iter().map(|value| value - mean).collect();
    let power: f64 = off.iter().map(|value| value * value).sum();
    let deviation = (power / series.len().max(1) as f64).sqrt();
    if deviation < 0.01 * mean {
        return 0.0;
    }
    let at = |lag: usize| {
        let sum: f64 = off.iter().zip(&off[lag..]).map(|(a, b)| a * b).sum();
        sum / power
    };
    let lags: Vec<f64> = (0..series.len() / 3).map(at).collect();
    let zero = lags.iter().position(|value| *value <= 0.0).unwrap_or(lags.len());
    lags[zero..].iter().copied().fold(0.0, f64::max)
}

/// The percentile of sorted values.
#[must_use]
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let index = (sorted.len().saturating_sub(1)) as f64 * percent / 100.0;
    sorted.get(index.round() as usize).copied().unwrap_or(f64::NAN)
}
