//! Values as readers see them: plain data in columns, read through views.
//!
//! A [`Family`] is one metric in one snapshot: a [`Descriptor`] and its series. Values lie in columns, so that a counter
//! series costs tens of bytes; [`SeriesRef`] and [`ValueRef`] show them one by one. [`FamilyWriter`] is the way in.

mod columns;
mod descriptor;
mod digest;
mod exact_sum;
mod exemplars;
mod exponential;
mod exponential_ref;
mod exponential_scale;
mod family;
mod fold;
mod histograms;
mod in_unit;
mod keys;
mod quantile;
mod reshaped;
mod states;
mod timed;
mod value;
mod window;
#[cfg(feature = "serde")]
mod wire;
mod writer;

pub(crate) use self::columns::Column;
pub(crate) use self::columns::Live;
pub(crate) use self::columns::Mean;
pub use self::descriptor::Descriptor;
pub use self::descriptor::DescriptorBuilder;
pub use self::descriptor::GaugeFold;
pub use self::descriptor::Kind;
pub(crate) use self::digest::Counting;
pub(crate) use self::digest::Digest;
pub(crate) use self::digest::Digests;
pub use self::digest::SummaryRef;
pub use self::exact_sum::ExactSum;
pub use self::exemplars::Exemplar;
pub use self::exemplars::ExemplarLabels;
pub(crate) use self::exemplars::Exemplars;
#[cfg(feature = "otlp")]
pub(crate) use self::exemplars::SPAN_ID;
pub(crate) use self::exemplars::Slot;
#[cfg(feature = "otlp")]
pub(crate) use self::exemplars::TRACE_ID;
pub(crate) use self::exponential::Exponentials;
pub use self::exponential_ref::ExponentialBuckets;
pub use self::exponential_ref::ExponentialRef;
pub use self::family::Family;
pub use self::family::SeriesRef;
pub(crate) use self::fold::Folded;
pub(crate) use self::histograms::Extent;
pub(crate) use self::histograms::Histograms;
pub(crate) use self::histograms::Observed;
pub use self::in_unit::InUnit;
pub(crate) use self::keys::SeriesKeys;
pub(crate) use self::states::States;
pub use self::states::StatesRef;
pub(crate) use self::timed::Beat;
pub(crate) use self::timed::Flow;
pub use self::timed::Rate;
pub use self::timed::TimedRef;
pub use self::value::HistogramRef;
pub use self::value::Number;
pub use self::value::ValueRef;
pub(crate) use self::window::WindowShape;
pub use self::writer::FamilyWriter;
