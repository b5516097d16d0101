//! Names, labels and values as people read them.

use crate::export::rows::Row;
use crate::export::rows::push;
use crate::model::snapshot::Number;
use crate::model::snapshot::SummaryRef;
use crate::model::snapshot::ValueRef;
use crate::model::unit::Unit;
use std::fmt::Write;

/// The labels in braces, or nothing if there are none. `{:?}` of a text escapes whatever is not printable.
pub(super) fn labels(out: &mut String, row: Row<'_>) {
    for (at, (key, value)) in row.labels().enumerate() {
        out.push(if at == 0 { '{' } else { ',' });
        push!(out, "{key}={value:?}");
    }
    if row.labels().next().is_some() {
        out.push('}');
    }
}

/// The value as it is, with its unit. False, and nothing written, if there is nothing for this kind.
pub(super) fn exact(out: &mut String, value: ValueRef<'_>, unit: &Unit) -> bool {
    #[allow(
        unreachable_patterns,
        reason = "a kind that is new is left out and counted until it has a line here"
    )]
    match value {
        ValueRef::Counter(count) => push!(out, "{count}"),
        ValueRef::FloatCounter(value) | ValueRef::Gauge(value) => push!(out, "{value:?}"),
        ValueRef::UpDown(level) => push!(out, "{level}"),
        ValueRef::Histogram(observed) => {
            observations(out, observed.count(), observed.sum(), observed.min().zip(observed.max()));
        }
        ValueRef::Exponential(observed) => {
            observations(out, observed.count(), observed.sum(), observed.min().zip(observed.max()));
        }
        ValueRef::Average { sum, count, mean } => {
            push!(out, "count={count} sum={sum:?}");
            if let Some(mean) = mean {
                push!(out, " mean={mean:?}");
            }
        }
        ValueRef::Summary(observed) => summary(out, observed),
        ValueRef::Info => out.push('1'),
        ValueRef::StateSet(states) => {
            let on: Vec<_> = states.iter().filter(|(_, on)| *on).map(|(state, _)| state).collect();
            out.push_str(&if on.is_empty() { "-".to_owned() } else { on.join("+") });
        }
        ValueRef::Fields(fields) => {
            for (at, (name, number)) in fields.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { " " });
                match *number {
                    Number::U64(value) => push!(out, "{name}={value}"),
                    Number::I64(value) => push!(out, "{name}={value}"),
                    Number::F64(value) => push!(out, "{name}={value:?}"),
                }
            }
        }
        _ => return false,
    }
    if *unit != Unit::None {
        push!(out, " {}", unit.ucum());
    }
    true
}

fn summary(out: &mut String, observed: SummaryRef<'_>) {
    let extremes = observed.min().zip(observed.max());
    observations(out, observed.total_count(), observed.total_sum(), extremes);
    for (quantile, value) in observed.quantiles() {
        push!(out, " p{}={value:?}", quantile * 100.0);
    }
}

fn observations(out: &mut String, count: u64, sum: f64, extremes: Option<(f64, f64)>) {
    push!(out, "count={count} sum={sum:?}");
    if let Some((min, max)) = extremes {
        push!(out, " min={min:?} max={max:?}");
    }
}
