//! The names by which Prometheus and OpenMetrics know a metric, and which of them exclude each other.
//!
//! Rules of the OpenTelemetry specification, "Prometheus and OpenMetrics compatibility": dots become `_`, the unit's word goes to the end
//! of the name unless it stands there, a ratio's only for gauges, and `_total` is left to the format.

use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Kind;

/// The name of a family: that of OpenMetrics, without the suffixes of its samples.
pub(crate) fn family_name(descriptor: &Descriptor) -> String {
    dotted_name(descriptor).replace('.', "_")
}

/// The same for who reads dots: names that are one here are one without dots, too.
pub(crate) fn dotted_name(descriptor: &Descriptor) -> String {
    let mut name = descriptor.name().as_str().to_owned();
    let counts = matches!(descriptor.kind(), Kind::Counter | Kind::FloatCounter);
    if counts && name.len() > TOTAL.len() && ends_with_word(&name, "total") {
        name.truncate(name.len() - TOTAL.len());
    }
    if let Some(word) = unit_word(descriptor) {
        if !ends_with_word(&name, &word) {
            name.push('_');
            name.push_str(&word);
        }
    }
    name
}

/// The word for the unit that the family's name ends with.
pub(crate) fn unit_word(descriptor: &Descriptor) -> Option<String> {
    let gauge = matches!(descriptor.kind(), Kind::Gauge | Kind::UpDown | Kind::Rate | Kind::Heartbeat);
    let word = descriptor.unit().prometheus_suffix()?;
    (word != "ratio" || gauge).then(|| word.into_owned())
}

/// The unit that is told of a family of this name: only where the name ends in `_` and its word, since Prometheus refuses a whole scrape over another.
#[cfg(feature = "prometheus")]
pub(crate) fn told_unit(name: &str, descriptor: &Descriptor) -> Option<String> {
    unit_word(descriptor)
        .filter(|word| name.strip_suffix(word.as_str()).is_some_and(|rest| rest.ends_with('_')))
}

/// What the samples of a family of this kind may be called, as suffixes of its name; in one exposition no two families share a name.
pub(crate) fn suffixes(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Counter | Kind::FloatCounter => &["", TOTAL, "_created"],
        Kind::Histogram | Kind::Exponential => &["", "_bucket", "_count", "_sum", "_created"],
        Kind::Average | Kind::Summary | Kind::WindowedSummary => &["", "_count", "_sum", "_created"],
        Kind::Info => &["", "_info"],
        Kind::Gauge | Kind::UpDown | Kind::Rate | Kind::Heartbeat | Kind::StateSet | Kind::Fields => &[""],
    }
}

const TOTAL: &str = "_total";

fn ends_with_word(name: &str, word: &str) -> bool {
    name.strip_suffix(word).is_some_and(|rest| rest.is_empty() || rest.ends_with(['_', '.']))
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use crate::model::unit::Unit;

    fn named(name: &str, kind: Kind, unit: Unit) -> String {
        let builder = Descriptor::builder(name, kind).unit(unit);
        let builder = if kind == Kind::Histogram { builder.bounds(&[1.0]) } else { builder };
        family_name(&builder.build().unwrap())
    }

    #[test]
    fn names_follow_the_compatibility_rules() {
        let custom = |code: &str| Unit::custom(code).unwrap();
        for (name, kind, unit, expected) in [
            ("document.save.duration", Kind::Histogram, Unit::Seconds, "document_save_duration_seconds"),
            ("document.seconds", Kind::Gauge, Unit::Seconds, "document_seconds"),
            ("kiloseconds", Kind::Gauge, Unit::Seconds, "kiloseconds_seconds"),
            ("document.saves", Kind::Counter, Unit::None, "document_saves"),
            ("document.saves.total", Kind::Counter, Unit::None, "document_saves"),
            ("document.bytes.total", Kind::Counter, Unit::Bytes, "document_bytes"),
            ("total", Kind::Counter, Unit::None, "total"),
            ("saves.total", Kind::Gauge, Unit::None, "saves_total"),
            ("cache.hits", Kind::Gauge, Unit::Ratio, "cache_hits_ratio"),
            ("cache.hits", Kind::FloatCounter, Unit::Ratio, "cache_hits"),
            ("requests", Kind::UpDown, Unit::count_of("request").unwrap(), "requests"),
            ("speed", Kind::Average, custom("m/s"), "speed_meters_per_second"),
        ] {
            assert_eq!(named(name, kind, unit), expected, "{name}");
        }
    }
}
