//! The expansion gives no warning of its own, also where the type is deprecated or hidden.
#![deny(
    warnings,
    deprecated,
    elided_lifetimes_in_paths,
    explicit_outlives_requirements,
    missing_docs,
    non_ascii_idents,
    single_use_lifetimes,
    trivial_bounds,
    trivial_casts,
    unreachable_pub,
    unsafe_code,
    unused_lifetimes,
    unused_qualifications
)]
#![allow(dead_code)]

use mvx_metrics::MetricEvent;

/// A public event.
#[derive(MetricEvent)]
#[non_exhaustive]
pub enum StorageEvent {
    /// One.
    #[deprecated = "use `Saved`"]
    Stored,
    /// Two.
    Saved {
        /// In bytes.
        #[deprecated]
        size: u64,
    },
}

/// An event of the past.
#[deprecated]
#[derive(MetricEvent)]
pub struct OldEvent;

/// A generic event.
#[derive(MetricEvent)]
pub enum ReadEvent<T: Clone, E = std::convert::Infallible>
where
    E: Clone,
{
    /// Done.
    Done(T),
    /// Failed.
    Failed(E),
}

fn main() {
    let event: ReadEvent<u8> = ReadEvent::Done(1);
    assert_eq!(event.event_type(), "read.done");
}
