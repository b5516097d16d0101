//! Nothing in scope can stand in the way of the expansion.
#![deny(warnings)]
#![no_implicit_prelude]
#![allow(non_camel_case_types, dead_code)]

extern crate mvx_metrics as renamed_too;

mod std {}
mod core {}
mod alloc {}
mod mvx_metrics {}

struct str;
struct usize;
struct Option;
struct Send;
struct Sized;
struct MetricEvent;

#[derive(::mvx_metrics::MetricEvent)]
enum PlainEvent {
    u8,
    Some { str: str, usize: usize },
    None(Option, Send, Sized, MetricEvent),
}

#[derive(::mvx_metrics::MetricEvent)]
enum Generic<str, usize, Send> {
    A(str),
    B(usize, Send),
}

#[derive(::mvx_metrics::MetricEvent)]
enum Empty {}

#[derive(::mvx_metrics::MetricEvent)]
#[event(crate = "renamed_too")]
struct Single;

#[derive(::mvx_metrics::LabelValue)]
enum Shade {
    Option,
    usize,
}

#[derive(::mvx_metrics::Labels)]
struct Shades {
    shade: Shade,
    flag: bool,
}

#[derive(::mvx_metrics::MetricEvent)]
struct Measured {
    #[label]
    shade: Shade,
    #[value(unit = "By")]
    bytes: u64,
}

fn main() {
    let _ = ::renamed_too::MetricEvent::event_type(&PlainEvent::u8);
    let _ = <Generic<u8, u8, u8> as ::renamed_too::MetricEvent>::EVENT_TYPES;
    let _ = ::renamed_too::MetricEvent::variant_index(&Single);
}
