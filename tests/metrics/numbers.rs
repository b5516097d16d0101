//! Numbers of every kind in every instrument (R30): what is not finite is refused and counted, integers stop at their ends and say so, sums stay finite,
//! and what is shown is what was taken, to the last digit.
#![cfg(all(feature = "testing", feature = "prometheus"))]

use crate::support::scaled;
use mvx_metrics::ExactSum;
use mvx_metrics::MetricEvent;
use mvx_metrics::Snapshot;
use mvx_metrics::export::prometheus::Encoder;
use mvx_metrics::export::prometheus::Format;
use mvx_metrics::testing::SteppedRuntime;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
struct Seen {
    real: f64,
    whole: u64,
    step: i64,
}

impl MetricEvent for Seen {
    fn event_type(&self) -> &'static str {
        "seen"
    }
}

/// Any bits, and those that are most likely to be mistaken.
fn real() -> impl Strategy<Value = f64> {
    let special = [
        0.0,
        -0.0,
        f64::NAN,
        -f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        f64::MIN,
        ExactSum::MAX,
        -ExactSum::MAX,
        f64::MIN_POSITIVE,
        5e-324,
        -5e-324,
        2.225_073_858_507_201e-308,
        9_007_199_254_740_993.0,
    ];
    prop_oneof![
        2 => prop::sample::select(special.to_vec()),
        1 => any::<u64>().prop_map(f64::from_bits),
        // Subnormal.
        1 => any::<u64>().prop_map(|bits| f64::from_bits(bits & !(0x7ff << 52))),
        2 => (-1_000_000_i64..1_000_000).prop_map(|whole| whole as f64),
    ]
}

fn seen() -> impl Strategy<Value = Seen> {
    let ends = [0, 1, (1 << 53) + 1, u64::MAX / 2, u64::MAX - 1, u64::MAX];
    let whole = prop_oneof![prop::sample::select(ends.to_vec()), 0..100_u64, any::<u64>()];
    let ends = [0, -1, i64::MIN, i64::MIN + 1, i64::MAX, (1 << 53) + 1];
    let step = prop_oneof![prop::sample::select(ends.to_vec()), -100..100_i64, any::<i64>()];
    (real(), whole, step).prop_map(|(real, whole, step)| Seen { real, whole, step })
}

/// The value of a sample with the recorder's labels alone.
fn line<'a>(page: &'a str, name: &str) -> Option<&'a str> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.rsplit(' ').next())
}

fn tally(snapshot: &Snapshot, name: &str) -> (u64, u64) {
    let tally = snapshot.metric(name).unwrap().tally();
    (tally.accepted, tally.refused)
}

/// The sum of whole numbers, if all are and it is small enough to be exact in both.
fn exact(values: &[f64]) -> Option<f64> {
    let small = |value: &&f64| value.fract() == 0.0 && value.abs() < 1e12;
    let whole: Vec<i64> = values.iter().filter(small).map(|value| *value as i64).collect();
    (whole.len() == values.len()).then(|| whole.iter().sum::<i64>() as f64)
}

/// A thousand; with `MVX_SCALE=20`, as in `just stress`, a hundred thousand.
fn cases() -> u32 {
    match scaled(1) {
        1 => 1_000,
        scale => u32::try_from(5_000 * scale).unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]
    #[test]
    fn what_is_not_finite_is_refused_and_counted_and_what_is_taken_is_shown_to_the_last_digit(
        all in prop::collection::vec(seen(), 0..8),
    ) {
        let mut runtime = SteppedRuntime::new("numbers").unwrap();
        let recorder = runtime
            .recorder::<Seen>("one")
            .counter("rising", |c| c.value(|e| Some(e.real)))
            .counter("wholes", |c| c.value(|e| Some(e.whole)))
            .up_down("steps", |u| u.value(|e| Some(e.step)))
            .gauge("level", |g| g.value(|e| Some(e.real)))
            .min("least", |m| m.value(|e| Some(e.real)))
            .histogram("spread", |h| h.bounds(&[-1.0, 0.0, 1.0]).value(|e| Some(e.real)))
            .exponential_histogram("wide", |h| h.value(|e| Some(e.real)))
            .average("mean", |a| a.value(|e| Some(e.real)))
            .summary("wait", |s| s.value(|e| Some(e.real)))
            .create()
            .unwrap();
        for event in &all {
            prop_assert!(recorder.try_register_event(*event).is_ok());
        }
        runtime.settle();
        let snapshot = recorder.snapshot();
        let count = all.len() as u64;

        let finite: Vec<f64> = all.iter().map(|e| e.real).filter(|real| real.is_finite()).collect();
        let taken = (finite.len() as u64, count - finite.len() as u64);
        for name in ["level", "least"] {
            prop_assert_eq!(tally(&snapshot, name), taken, "{}", name);
        }
        let bits = |value: Option<f64>| value.map(f64::to_bits);
        prop_assert_eq!(bits(snapshot.gauge("level", &[])), bits(finite.last().copied()));
        prop_assert_eq!(snapshot.gauge("least", &[]), finite.iter().copied().reduce(f64::min));

        // What could end a sum is out of its range; and one at the end of the range takes no more in that direction.
        let mut sum = ExactSum::default();
        let summed: Vec<f64> = finite.iter().copied().filter(|real| sum.add(*real)).collect();
        let mut sum = ExactSum::default();
        let rising: Vec<f64> = finite.iter().copied().filter(|real| *real >= 0.0 && sum.add(*real)).collect();
        let shown = [
            ("rising", snapshot.float_counter("rising", &[]), &rising),
            ("spread", snapshot.histogram("spread", &[]).map(|h| h.sum()), &summed),
            ("wide", snapshot.exponential("wide", &[]).map(|e| e.sum()), &summed),
            ("mean", snapshot.mean("mean", &[]).map(|mean| mean * summed.len() as f64), &summed),
            ("wait", snapshot.summary("wait", &[]).map(|s| s.total_sum()), &summed),
        ];
        for (name, value, values) in shown {
            let told = (values.len() as u64, count - values.len() as u64);
            prop_assert_eq!(tally(&snapshot, name), told, "{}", name);
            prop_assert!(value.is_none_or(f64::is_finite), "{}: {:?}", name, value);
            if let Some(exact) = exact(values).filter(|_| !values.is_empty()) {
                let near = value.is_some_and(|value| (value - exact).abs() <= exact.abs() * 1e-12);
                prop_assert!(near && (name == "mean" || value == Some(exact)), "{}: {:?} and {}", name, value, exact);
            }
        }
        if let Some(histogram) = snapshot.histogram("spread", &[]) {
            let within = |low: f64, high: f64| {
                summed.iter().filter(|value| **value > low && **value <= high).count() as u64
            };
            let inf = f64::INFINITY;
            let due = [within(-inf, -1.0), within(-1.0, 0.0), within(0.0, 1.0), within(1.0, inf)];
            prop_assert_eq!(histogram.buckets().collect::<Vec<_>>(), due);
        }

        // Integers stay at their ends, and each that did not fit is counted.
        let (mut whole, mut level, mut past) = (0_u64, 0_i64, [0; 2]);
        for Seen { whole: amount, step, .. } in &all {
            past[0] += u64::from(whole.checked_add(*amount).is_none());
            past[1] += u64::from(level.checked_add(*step).is_none());
            (whole, level) = (whole.saturating_add(*amount), level.saturating_add(*step));
        }
        for (name, past) in ["wholes", "steps"].iter().zip(past) {
            prop_assert_eq!(tally(&snapshot, name), (count, 0));
            prop_assert_eq!(snapshot.metric(name).unwrap().family().saturated(), past, "{}", name);
        }

        let mut page = String::new();
        let encoded = Encoder::new(Format::Text).vitals(false).encode(&runtime.runtime().collect(), &mut page);
        prop_assert!(encoded.skipped().is_empty());
        if count > 0 {
            prop_assert_eq!(snapshot.counter("wholes", &[]), Some(whole));
            prop_assert_eq!(snapshot.up_down("steps", &[]), Some(level));
            prop_assert_eq!(line(&page, "wholes_total").map(str::to_owned), Some(whole.to_string()));
            prop_assert_eq!(line(&page, "steps").map(str::to_owned), Some(level.to_string()));
        }
        for (name, value) in [
            ("level", snapshot.gauge("level", &[])),
            ("least", snapshot.gauge("least", &[])),
            ("rising_total", snapshot.float_counter("rising", &[])),
            ("spread_sum", snapshot.histogram("spread", &[]).map(|h| h.sum())),
        ] {
            let told = line(&page, name).map(|text| text.parse::<f64>().unwrap());
            prop_assert_eq!(bits(told), bits(value), "{} in {}", name, page);
        }
    }
}
