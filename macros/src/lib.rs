//! Derive macros of [`mvx-metrics`](https://docs.rs/mvx-metrics), which re-exports them: depend on that crate, not on this
//! one.
//!
//! Whatever a macro here expands to can be written by hand with the public API.
#![allow(
    clippy::needless_borrows_for_generic_args,
    reason = "whether tokens can be copied hangs on the features that other crates of a build give to syn"
)]

mod attrs;
mod event;
mod labels;
mod marks;
mod metrics;
mod mistakes;
mod name;

use proc_macro::TokenStream;
use syn::DeriveInput;
use syn::parse_macro_input;

/// Implements `MetricEvent`: gives each variant of an enum, or a struct, its stable event type.
///
/// # Names
///
/// An event type is `prefix.part`. The prefix is the type's name in snake case without a last word `Event`, the part is
/// the variant's name in snake case. A struct is one kind of event, and its name is the prefix alone.
///
/// ```
/// use mvx_metrics::MetricEvent;
///
/// #[derive(MetricEvent)]
/// enum StorageEvent {
///     Saved { bytes: u64 },
///     SaveFailed(std::io::ErrorKind),
///     Closed,
/// }
///
/// assert_eq!(StorageEvent::EVENT_TYPES, ["storage.saved", "storage.save_failed", "storage.closed"]);
/// assert_eq!(StorageEvent::Saved { bytes: 512 }.event_type(), "storage.saved");
/// assert_eq!(StorageEvent::Closed.variant_index(), 2);
///
/// #[derive(MetricEvent)]
/// struct CacheMiss;
///
/// assert_eq!(CacheMiss.event_type(), "cache_miss");
/// ```
///
/// Runs of capitals are one word and digits belong to the word before them: `HTTPRequest2` is `http_request2`. Whoever
/// wants another spelling (`IPv4Lost` is `i_pv4_lost`) says so:
///
/// | attribute | on | effect |
/// |---|---|---|
/// | `#[event(name = "...")]` | type | replaces the prefix |
/// | `#[event(name = "...")]` | variant | replaces the variant's part |
/// | `#[event(crate = "...")]` | type | the path of `mvx_metrics`, if it was renamed or is re-exported |
///
/// ```
/// use mvx_metrics::MetricEvent;
///
/// #[derive(MetricEvent)]
/// #[event(name = "document.storage")]
/// enum StorageEvent {
///     Saved,
///     #[event(name = "save.failed")]
///     CouldNotSave,
/// }
///
/// assert_eq!(StorageEvent::EVENT_TYPES, ["document.storage.saved", "document.storage.save.failed"]);
/// ```
///
/// Metrics are routed by these names and dashboards may show them, so keep a name when the Rust name changes: write the old
/// one into the attribute. There is no way to leave the prefix out for one variant: one prefix for each type lets a reader
/// find the type of an event by its name. The few types that need more are written by hand.
///
/// # Metrics
///
/// Fields can say how they are commonly measured. `.derived_metrics()` on a recorder's builder then adds a counter for each variant,
/// named as its event type, and a metric for each value, named `event_type.field`; all have the variant's labels. What a doc
/// comment says first is their help.
///
/// | attribute | on | effect |
/// |---|---|---|
/// | `#[label]` | field | a label of the variant's metrics, of a type that is a `LabelValue` |
/// | `#[label(name = "...")]` | field | the same under another key |
/// | `#[value]` | field | a histogram of a `Duration`, in seconds |
/// | `#[value(unit = "By")]` | field | the unit as a UCUM code; `s` and `By` bring the bounds of a histogram |
/// | `#[value(bounds = [1.0, 10.0])]` | field | the bounds of a histogram |
/// | `#[value(kind = "gauge")]` | field | another metric: `gauge`, `counter` (the sum), `up_down`, `average` |
/// | `#[value(name = "...")]` | field | replaces the field's part of the metric's name |
/// | `#[skip]` | variant | no metrics of this variant |
///
/// A value is what a `Measure` is, or an `Option` of one, whose `None` is ignored.
///
/// ```
/// use mvx_metrics::MetricEvent;
/// use std::time::Duration;
///
/// #[derive(MetricEvent)]
/// enum StorageEvent {
///     /// Documents saved.
///     Saved {
///         #[label]
///         ok: bool,
///         #[value(unit = "By")]
///         bytes: u64,
///         #[value(name = "duration")]
///         elapsed: Duration,
///     },
///     #[skip]
///     Closed,
/// }
///
/// let event = StorageEvent::Saved { ok: true, bytes: 1, elapsed: Duration::ZERO };
/// assert_eq!(event.event_type(), "storage.saved"); // metrics: this, storage.saved.bytes, storage.saved.duration
/// ```
///
/// Without the feature `runtime` there are no metrics, and the attributes are only checked.
///
/// # Generics
///
/// Type and const parameters and `where` clauses work; the impl holds whenever the type is `Send + 'static`. Lifetimes are
/// refused, because an event outlives the call that states it.
///
/// ```
/// use mvx_metrics::MetricEvent;
/// use std::sync::Arc;
///
/// #[derive(MetricEvent)]
/// enum PoolEvent<K> where K: Ord {
///     Opened(Arc<K>),
///     Closed,
/// }
///
/// assert_eq!(PoolEvent::Opened(Arc::new(7)).event_type(), "pool.opened");
/// assert_eq!(PoolEvent::<u8>::Closed.event_type(), "pool.closed");
/// ```
///
/// # Errors
///
/// All mistakes are compile errors at the place where they are, reported together, and say what to write instead:
///
/// - a name that is no metric name: words of ASCII letters, digits and `_`, joined by single dots, the first character a
///   letter, at most 255 bytes;
/// - two variants of one name;
/// - unknown, repeated or misplaced keys, values that are no string literals, attributes that say nothing;
/// - unions and lifetime parameters.
///
/// An enum without variants is accepted: it has no events, for example because each is behind a `#[cfg]` that is off.
///
/// # Expansion
///
/// The first example expands to this, with every path written through a hidden module so that nothing in scope can shadow
/// it. The indices count the variants from 0 in the order written, whatever their discriminants.
///
/// ```
/// use mvx_metrics::MetricEvent;
///
/// enum StorageEvent {
///     Saved { bytes: u64 },
///     SaveFailed(std::io::ErrorKind),
///     Closed,
/// }
///
/// #[automatically_derived]
/// #[allow(deprecated)]
/// impl MetricEvent for StorageEvent {
///     const EVENT_TYPES: &'static [&'static str] = &["storage.saved", "storage.save_failed", "storage.closed"];
///
///     #[inline]
///     fn event_type(&self) -> &'static str {
///         match self {
///             Self::Saved { .. } => "storage.saved",
///             Self::SaveFailed { .. } => "storage.save_failed",
///             Self::Closed { .. } => "storage.closed",
///         }
///     }
///
///     #[inline]
///     fn variant_index(&self) -> usize {
///         match self {
///             Self::Saved { .. } => 0,
///             Self::SaveFailed { .. } => 1,
///             Self::Closed { .. } => 2,
///         }
///     }
/// }
///
/// assert_eq!(StorageEvent::Saved { bytes: 1 }.event_type(), "storage.saved");
/// assert_eq!(StorageEvent::SaveFailed(std::io::ErrorKind::NotFound).variant_index(), 1);
/// assert_eq!(StorageEvent::EVENT_TYPES[StorageEvent::Closed.variant_index()], "storage.closed");
/// ```
///
/// Cost: `event_type` and `variant_index` read the discriminant; nothing is allocated or formatted.
#[proc_macro_derive(MetricEvent, attributes(event, label, value, skip))]
pub fn derive_metric_event(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    event::derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Implements `LabelFields` for a struct whose fields are labels, to be given to an instrument's `.labels::<..>(..)`.
///
/// ```
/// use mvx_metrics::{LabelValue, Labels};
///
/// #[derive(LabelValue)]
/// enum Outcome { Success, Failure }
///
/// #[derive(Labels)]
/// struct SaveLabels<'e> {
///     outcome: Outcome,
///     #[label(name = "storage")]
///     backend: &'e str,
///     #[label(skip)]
///     attempts: u32,
/// }
///
/// assert_eq!(<SaveLabels as mvx_metrics::LabelFields>::KEYS, ["outcome", "storage"]);
/// ```
///
/// | attribute | on | effect |
/// |---|---|---|
/// | `#[label(name = "...")]` | field | the label's key, instead of the field's name |
/// | `#[label(skip)]` | field | no label |
/// | `#[label(crate = "...")]` | type | the path of `mvx_metrics`, if it was renamed or is re-exported |
///
/// Each field's type is a `LabelValue`: an enum that derives it, `bool`, integers, texts, references to and `Option` of these.
/// Lifetimes are those of the event from which the labels are made. Type parameters must be `LabelValue + 'static`.
///
/// # Errors
///
/// Compile errors at their place: a key that is no label key or is reserved, two fields of one key, a tuple struct's field without a
/// name, an enum or a union, unknown or repeated keys.
///
/// Without the feature `runtime` there are no labels, and the derive expands to nothing.
#[proc_macro_derive(Labels, attributes(label))]
pub fn derive_labels(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    labels::derive_labels(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Implements `LabelValue` for an enum: each variant is a label value, its name in snake case.
///
/// `#[label(name = "...")]` on a variant gives it another value, and is needed where the variant has fields, because these do not
/// show in the label. `#[label(crate = "...")]` on the type is the path of `mvx_metrics`.
///
/// # Errors
///
/// Compile errors at their place: structs and unions, two variants of one value, values of more than 1,024 bytes, unknown or repeated
/// keys.
///
/// Without the feature `runtime` there are no labels, and the derive expands to nothing.
#[proc_macro_derive(LabelValue, attributes(label))]
pub fn derive_label_value(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    labels::derive_value(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
