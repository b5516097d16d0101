//! How numbers are written for people.

use mvx_metrics::HistogramRef;
use mvx_metrics::Unit;
use std::time::Duration;

/// A whole number in groups of three: `12,345`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A size: `8.1 KiB`.
pub fn bytes(size: f64) -> String {
    let mut size = size;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1024.0 {
            return scaled(size, unit);
        }
        size /= 1024.0;
    }
    scaled(size, "TiB")
}

/// A length of time given in seconds: `250 µs`.
pub fn seconds(length: f64) -> String {
    match length {
        _ if length <= 0.0 => "0 s".to_owned(),
        _ if length < 0.000_999_5 => scaled(length * 1e6, "µs"),
        _ if length < 0.999_5 => scaled(length * 1e3, "ms"),
        _ => scaled(length, "s"),
    }
}

pub fn duration(length: Duration) -> String {
    seconds(length.as_secs_f64())
}

/// A value of a metric of this unit.
pub fn in_unit(value: f64, unit: &Unit) -> String {
    match unit {
        Unit::Seconds => seconds(value),
        Unit::Bytes => bytes(value),
        Unit::None => value.to_string(),
        other => format!("{value} {other}"),
    }
}

/// A share of 1 in percent.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A value that at most the share `quantile` of the observations exceeds: the bound of the bucket where that is reached,
/// or the largest observation if that is less.
pub fn at_most(histogram: HistogramRef<'_>, quantile: f64) -> Option<f64> {
    let largest = histogram.max()?;
    let wanted = (histogram.count() as f64 * quantile).ceil() as u64;
    let reached = histogram.bounds().iter().zip(histogram.cumulative()).find(|(_, below)| *below >= wanted);
    Some(reached.map_or(largest, |(bound, _)| bound.min(largest)))
}

/// Three digits where there is a fraction, and no fraction where it says nothing.
fn scaled(number: f64, unit: &str) -> String {
    let decimals = if number >= 100.0 || (number - number.round()).abs() < 0.005 { 0 } else { 1 };
    format!("{number:.decimals$} {unit}")
}
