//! F1: what is written in the text formats is read back equal by a parser of its own.

use crate::fuzzed::input::Input;
use crate::fuzzed::model;
use crate::fuzzed::model::Stated;
use crate::fuzzed::model::Value;
use crate::parser::parse;
use mvx_metrics::export::prometheus::Encoder;
use mvx_metrics::export::prometheus::Format;
use std::collections::BTreeMap;

/// A sample's name and labels.
pub type Key = (String, BTreeMap<String, String>);

/// How a value is compared: whole numbers by their digits, others by their bits.
#[derive(Debug, PartialEq)]
pub enum Shown {
    Digits(String),
    Bits(u64),
}

pub fn check(data: &[u8]) {
    let stated = model::stated(&mut Input::new(data));
    let snapshot = model::snapshot(&stated);
    for format in [Format::Text, Format::OpenMetrics] {
        let mut text = String::new();
        let encoded = Encoder::new(format).vitals(false).encode(&snapshot, &mut text);
        let parsed = parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let open = format == Format::OpenMetrics;
        assert_eq!(text.ends_with("# EOF\n"), open);
        assert!(!text.contains('\r') || stated.iter().any(has_return), "{text:?}");
        let mut expected = BTreeMap::new();
        stated.iter().for_each(|stated| expect(stated, open, &mut expected));
        assert_eq!(parsed.samples.len() as u64, encoded.samples());
        let found: BTreeMap<Key, Shown> = parsed
            .samples
            .iter()
            .map(|sample| {
                let key = (sample.name.clone(), by_number(sample.labels()));
                let shown = match expected.get(&key) {
                    Some(Shown::Digits(_)) => Shown::Digits(sample.text.clone()),
                    _ => Shown::Bits(sample.value.to_bits()),
                };
                (key, shown)
            })
            .collect();
        assert_eq!(found, expected, "{text}");
        for stated in &stated {
            let suffix = match (stated.kind, open) {
                (mvx_metrics::Kind::Counter | mvx_metrics::Kind::FloatCounter, false) => "_total",
                (mvx_metrics::Kind::Info, false) => "_info",
                (mvx_metrics::Kind::Fields, _) => "_field",
                _ => "",
            };
            let help = parsed.help(&format!("{}{suffix}", family(stated))).unwrap_or_default();
            assert_eq!(help, stated.help, "{text}");
        }
    }
}

fn has_return(stated: &Stated) -> bool {
    stated.help.contains('\r') || stated.series.iter().any(|(label, _)| label.contains('\r'))
}

/// The labels with bounds as numbers, however they are written.
pub fn by_number(mut labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
    if let Some(bound) = labels.get_mut("le") {
        *bound = bound.parse::<f64>().expect("a bound").to_string();
    }
    labels
}

pub fn family(stated: &Stated) -> String {
    let name = stated.name.replace('.', "_");
    stated.unit.map_or_else(|| name.clone(), |unit| format!("{name}_{unit}"))
}

/// What the formats' descriptions make of it.
pub fn expect(stated: &Stated, open: bool, samples: &mut BTreeMap<Key, Shown>) {
    let family = family(stated);
    for (label, value) in &stated.series {
        let mut state = |suffix: &str, extra: Option<(&str, String)>, shown: Shown| {
            let labels = [(model::KEY, label.clone())].into_iter().chain(extra);
            let labels = labels.filter(|(_, value)| !value.is_empty());
            let labels = labels.map(|(key, value)| (key.to_owned(), value)).collect();
            assert!(samples.insert((format!("{family}{suffix}"), labels), shown).is_none());
        };
        let real = |real: f64| Shown::Bits(real.to_bits());
        let digits = |whole: u64| Shown::Digits(whole.to_string());
        let mut starts = false;
        match value {
            Value::Counter(count) => {
                starts = true;
                state("_total", None, digits(*count));
            }
            Value::FloatCounter(sum) => {
                starts = true;
                state("_total", None, real(sum.value()));
            }
            Value::Gauge(value) => state("", None, real(*value)),
            Value::UpDown(level) => state("", None, Shown::Digits(level.to_string())),
            Value::Average(sum, count) => {
                starts = true;
                if !open || sum.value() >= 0.0 {
                    state("_sum", None, real(sum.value()));
                }
                state("_count", None, digits(*count));
            }
            Value::Histogram(buckets, sum, below) => {
                starts = true;
                let mut total = 0;
                for (bound, count) in model::BOUNDS.iter().chain([&f64::INFINITY]).zip(buckets) {
                    total += count;
                    state("_bucket", Some(("le", bound.to_string())), digits(total));
                }
                // OpenMetrics has a sum only of what rises, and a count only beside a sum.
                if !open || !below {
                    state("_sum", None, real(sum.value()));
                    state("_count", None, digits(total));
                }
            }
            Value::Info => state("_info", None, digits(1)),
            Value::States(on) => {
                for (name, on) in model::STATES.iter().zip(on) {
                    state("", Some((&family, (*name).to_owned())), digits(u64::from(*on)));
                }
            }
            Value::Field(number) => state("_field", None, digits(*number)),
        }
        if starts && open {
            state("_created", None, real(0.0));
        }
    }
}
