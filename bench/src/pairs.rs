//! What pairs of measurements say.

use serde::Serialize;

/// A middle, and how far what it is the middle of reaches.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

/// One quantity of both sides, measured in pairs.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Pairs {
    /// The median of the first side.
    pub(crate) a: f64,
    /// The median of the second side.
    pub(crate) b: f64,
    /// The first side's as a part of the second's, of each pair.
    pub(crate) ratio: Spread,
    /// All that was measured, in the order of the pairs.
    pub(crate) measured: Vec<(f64, f64)>,
}

impl Pairs {
    /// # Panics
    /// If there are none.
    pub(crate) fn new(measured: Vec<(f64, f64)>) -> Self {
        let ratios: Vec<f64> = measured.iter().map(|(a, b)| a / b).collect();
        let side = |side: fn(&(f64, f64)) -> f64| spread(measured.iter().map(side).collect()).median;
        Pairs { a: side(|pair| pair.0), b: side(|pair| pair.1), ratio: spread(ratios), measured }
    }
}

fn spread(mut values: Vec<f64>) -> Spread {
    values.sort_by(f64::total_cmp);
    let (middle, last) = (values.len() / 2, values.len() - 1);
    let median = if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
    Spread { median, least: values[0], most: values[last] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_the_median_of_the_ratios_of_pairs() {
        // The machine became twice as slow on the way, which the ratios do not see; that of the medians (3.2) does.
        let pairs = Pairs::new(vec![(300.0, 100.0), (310.0, 100.0), (100.0, 50.0), (150.0, 50.0), (160.0, 50.0)]);
        assert_eq!(pairs.ratio, Spread { median: 3.0, least: 2.0, most: 3.2 }, "{pairs:?}");
        assert_eq!((pairs.a, pairs.b), (160.0, 50.0));
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!(spread(vec![4.0, 1.0, 2.0, 8.0]), Spread { median: 3.0, least: 1.0, most: 8.0 });
        assert_eq!(spread(vec![7.0]), Spread { median: 7.0, least: 7.0, most: 7.0 });
    }
}
