//! Medians, and the bound of a median ratio.

/// The median; the mean of the two in the middle for an even number. NaN of nothing.
pub fn median(figures: &[f64]) -> f64 {
    let sorted = sorted(figures);
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[len / 2],
        len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
    }
}

/// The nearest rank of figures that are sorted here. NaN of nothing.
pub fn quantile(figures: &[f64], q: f64) -> f64 {
    let rank = (figures.len() as f64 * q).ceil() as usize;
    sorted(figures).get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Ratios of the rounds, paired by index.
pub fn ratios(ours: &[f64], rival: &[f64]) -> Vec<f64> {
    ours.iter().zip(rival).map(|(ours, rival)| ours / rival).collect()
}

/// The upper end of the two-sided 95 % confidence interval of the median, by order statistics: the smallest figure of
/// rank k with P(Binomial(n, 1/2) <= k - 1) >= 0.975. It assumes nothing of the distribution but that rounds are
/// independent. Infinite when there are too few rounds for any rank to do.
pub fn upper_bound_of_median(figures: &[f64]) -> f64 {
    let sorted = sorted(figures);
    let n = sorted.len();
    let mut probability = 0.5_f64.powi(n as i32);
    let mut cumulated = 0.0;
    for (k, figure) in sorted.iter().enumerate() {
        // `probability` is that of exactly k figures below the median.
        cumulated += probability;
        if cumulated >= 0.975 {
            return *figure;
        }
        probability *= (n - k) as f64 / (k + 1) as f64;
    }
    f64::INFINITY
}

fn sorted(figures: &[f64]) -> Vec<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_has_the_rank_that_tables_give() {
        // Ranks of the two-sided 95 % interval: n = 6 -> 6, n = 10 -> 9, n = 25 -> 18, n = 31 -> 22.
        for (n, rank) in [(6, 6.0), (10, 9.0), (25, 18.0), (31, 22.0)] {
            let figures: Vec<f64> = (1..=n).rev().map(f64::from).collect();
            assert_eq!(upper_bound_of_median(&figures), rank, "of {n}");
        }
        assert_eq!(upper_bound_of_median(&[1.0; 5]), f64::INFINITY);
    }

    #[test]
    fn a_quantile_is_a_figure_of_the_nearest_rank() {
        let figures: Vec<f64> = (1..=1_000).rev().map(f64::from).collect();
        assert_eq!([0.5, 0.99, 0.999, 1.0].map(|q| quantile(&figures, q)), [500.0, 990.0, 999.0, 1_000.0]);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
