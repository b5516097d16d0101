#![cfg_attr(all(feature = "runtime", feature = "derive"), doc = include_str!("../README.md"))]
#![cfg_attr(
    not(all(feature = "runtime", feature = "derive")),
    doc = "Events and sinks of mvx-metrics; the features `runtime` and `derive` add the rest and its documentation."
)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "runtime")]
mod facade;
#[cfg(feature = "runtime")]
mod metric;
mod model;
#[cfg(feature = "runtime")]
mod queue;
#[cfg(feature = "runtime")]
mod recorder;
#[cfg(feature = "runtime")]
mod runtime;
#[cfg(feature = "runtime")]
mod sync;
#[cfg(feature = "testing")]
pub mod testing;

#[cfg(feature = "runtime")]
pub use crate::facade::*;
pub use crate::model::event::DynEvent;
pub use crate::model::event::EventSink;
pub use crate::model::event::MetricEvent;
pub use crate::model::event::NoopSink;
#[cfg(feature = "derive")]
pub use mvx_metrics_macros::MetricEvent;

/// What most programs that use recorders need: `use mvx_metrics::prelude::*`.
pub mod prelude {
    pub use crate::EventSink;
    pub use crate::MetricEvent;
    pub use crate::NoopSink;
    #[cfg(feature = "runtime")]
    pub use crate::facade::Label;
    #[cfg(feature = "runtime")]
    pub use crate::facade::MetricsRuntime;
    #[cfg(feature = "runtime")]
    pub use crate::facade::Recorder;
    #[cfg(feature = "runtime")]
    pub use crate::facade::Snapshot;
    #[cfg(feature = "runtime")]
    pub use crate::facade::Unit;
}

/// What derived code names. Not public API: it may change in any release, together with the macros.
#[doc(hidden)]
pub mod __private {
    pub use crate::model::event::MetricEvent;
    pub use core::marker::Send;
    pub use core::primitive::str;
    pub use core::primitive::usize;
}

/// The guide, chapter by chapter.
pub mod _guide {
    /// How fast it is, and how that is measured.
    pub mod performance {
        #![doc = include_str!("docs/performance.md")]
    }

    /// From start to shutdown: states, operations, stuck code, forks.
    #[cfg(feature = "runtime")]
    pub mod lifecycle {
        #![doc = include_str!("docs/lifecycle.md")]
    }

    /// Stating events.
    #[cfg(feature = "derive")]
    pub mod events {
        #![doc = include_str!("docs/events.md")]
    }
}

#[cfg(all(test, mvx_loom))]
#[path = "../loom-tests/mod.rs"]
mod loom_tests;
