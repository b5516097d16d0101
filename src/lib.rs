#![cfg_attr(all(feature = "runtime", feature = "derive"), doc = include_str!("../README.md"))]
#![cfg_attr(
    not(all(feature = "runtime", feature = "derive")),
    doc = "Events and sinks of mvx-metrics; the features `runtime` and `derive` add the rest and its documentation."
)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(feature = "axum08", feature = "opentelemetry033", feature = "prometheus-client026"))]
pub mod bridge;
#[cfg(any(feature = "export", feature = "sources"))]
mod edge;
#[cfg(feature = "export")]
pub mod export;
#[cfg(feature = "runtime")]
mod facade;
#[cfg(feature = "http")]
pub mod http;
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

#[cfg(feature = "sources")]
pub use crate::edge::ready as sources;
#[cfg(feature = "runtime")]
pub use crate::facade::*;
pub use crate::model::event::DynEvent;
pub use crate::model::event::EventSink;
pub use crate::model::event::MetricEvent;
pub use crate::model::event::NoopSink;
#[cfg(feature = "derive")]
pub use mvx_metrics_macros::LabelValue;
#[cfg(feature = "derive")]
pub use mvx_metrics_macros::Labels;
#[cfg(feature = "derive")]
pub use mvx_metrics_macros::MetricEvent;

/// What most programs that use recorders, or write a metric of their own, need: `use mvx_metrics::prelude::*`.
///
/// A name that the program declares or imports by itself, such as its own `Error`, goes before the prelude's.
///
/// # Examples
///
/// ```
/// use mvx_metrics::prelude::*;
/// use std::error::Error; // this one is meant from here on
///
/// fn shown(error: &dyn Error) -> String { error.to_string() }
/// assert!(shown(&MetricsRuntime::builder(" ").build().unwrap_err()).contains("blank"));
/// ```
pub mod prelude {
    pub use crate::EventSink;
    #[cfg(feature = "derive")]
    pub use crate::LabelValue;
    #[cfg(feature = "derive")]
    pub use crate::Labels;
    pub use crate::MetricEvent;
    pub use crate::NoopSink;
    #[cfg(feature = "runtime")]
    pub use crate::facade::Accounts;
    #[cfg(feature = "runtime")]
    pub use crate::facade::Change;
    #[cfg(feature = "runtime")]
    pub use crate::facade::Context;
    #[cfg(feature = "runtime")]
    pub use crate::facade::Descriptor;
    #[cfg(feature = "runtime")]
    pub use crate::facade::Error;
    #[cfg(feature = "runtime")]
    pub use crate::facade::ErrorKind;
    #[cfg(feature = "runtime")]
    pub use crate::facade::Family;
    #[cfg(feature = "runtime")]
    pub use crate::facade::FamilyWriter;
    #[cfg(feature = "runtime")]
    pub use crate::facade::FieldName;
    #[cfg(feature = "runtime")]
    pub use crate::facade::Interests;
    #[cfg(feature = "runtime")]
    pub use crate::facade::Kind;
    #[cfg(feature = "runtime")]
    pub use crate::facade::Label;
    #[cfg(feature = "runtime")]
    pub use crate::facade::LabelSet;
    #[cfg(feature = "runtime")]
    pub use crate::facade::Metric;
    #[cfg(feature = "runtime")]
    pub use crate::facade::MetricsRuntime;
    #[cfg(feature = "runtime")]
    pub use crate::facade::Number;
    #[cfg(feature = "runtime")]
    pub use crate::facade::Operation;
    #[cfg(feature = "runtime")]
    pub use crate::facade::OverflowPolicy;
    #[cfg(feature = "runtime")]
    pub use crate::facade::Recorder;
    #[cfg(feature = "runtime")]
    pub use crate::facade::RecorderBuilder;
    #[cfg(feature = "runtime")]
    pub use crate::facade::RecorderState;
    #[cfg(feature = "runtime")]
    pub use crate::facade::RegisterError;
    #[cfg(feature = "runtime")]
    pub use crate::facade::ShutdownReport;
    #[cfg(feature = "runtime")]
    pub use crate::facade::Snapshot;
    #[cfg(feature = "runtime")]
    pub use crate::facade::Timestamp;
    #[cfg(feature = "runtime")]
    pub use crate::facade::Unit;
    #[cfg(feature = "runtime")]
    pub use crate::facade::ValueRef;
    #[cfg(feature = "runtime")]
    pub use crate::facade::Verdict;
}

/// What derived code names. Not public API: it may change in any release, together with the macros.
#[doc(hidden)]
pub mod __private {
    pub use crate::__mvx_metrics_if_runtime as if_runtime;
    #[cfg(feature = "runtime")]
    pub use crate::metric::DefineMetrics;
    #[cfg(feature = "runtime")]
    pub use crate::metric::DerivedMetrics;
    #[cfg(feature = "runtime")]
    pub use crate::metric::LabelFields;
    #[cfg(feature = "runtime")]
    pub use crate::metric::LabelValue;
    #[cfg(feature = "runtime")]
    pub use crate::metric::Measure;
    #[cfg(feature = "runtime")]
    pub use crate::metric::label_product;
    pub use crate::model::event::MetricEvent;
    #[cfg(feature = "runtime")]
    pub use crate::model::label::Label;
    pub use core::clone::Clone;
    pub use core::marker::Send;
    pub use core::option::Option;
    pub use core::primitive::str;
    pub use core::primitive::usize;
}

/// Derived code about metrics, which there is only with the feature `runtime` of this crate.
#[cfg(feature = "runtime")]
#[doc(hidden)]
#[macro_export]
macro_rules! __mvx_metrics_if_runtime {
    ($($code:tt)*) => { $($code)* };
}

/// Derived code about metrics, which there is only with the feature `runtime` of this crate.
#[cfg(not(feature = "runtime"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __mvx_metrics_if_runtime {
    ($($code:tt)*) => {};
}

/// The guide, chapter by chapter.
pub mod _guide {
    /// How fast it is, and how that is measured.
    pub mod performance {
        #![doc = include_str!("docs/performance.md")]
    }

    /// Where what may be called.
    #[cfg(feature = "runtime")]
    pub mod contexts {
        #![doc = include_str!("docs/contexts.md")]
    }

    /// Serving what is measured to Prometheus.
    #[cfg(feature = "prometheus")]
    pub mod prometheus {
        #![doc = include_str!("docs/prometheus.md")]
    }

    /// A server of what is measured, for programs that have none.
    #[cfg(feature = "http")]
    pub mod serving {
        #![doc = include_str!("docs/exporters_http.md")]
    }

    /// Exporters, their schedules, and other formats than Prometheus's: JSON, the console, OTLP, StatsD.
    #[cfg(feature = "export")]
    pub mod exporters {
        #![doc = include_str!("docs/exporters.md")]
        #![cfg_attr(feature = "json", doc = include_str!("docs/exporters_json.md"))]
        #![cfg_attr(feature = "console", doc = include_str!("docs/exporters_console.md"))]
        #![cfg_attr(feature = "statsd", doc = include_str!("docs/exporters_statsd.md"))]
        #![cfg_attr(feature = "otlp", doc = include_str!("docs/exporters_otlp.md"))]
        #![cfg_attr(feature = "opentelemetry033", doc = include_str!("docs/exporters_opentelemetry.md"))]
        #![cfg_attr(feature = "remote-write", doc = include_str!("docs/exporters_remote_write.md"))]
        #![cfg_attr(feature = "pushgateway", doc = include_str!("docs/exporters_pushgateway.md"))]
    }

    /// Errors, losses and logging.
    #[cfg(feature = "log")]
    pub mod logging {
        #![doc = include_str!("docs/logging.md")]
    }

    /// How long recorders live, how events get in, and who is told of changes.
    #[cfg(feature = "runtime")]
    pub mod recorders {
        #![doc = include_str!("docs/recorders.md")]
    }

    /// Recorders exported as one, limits of series, sources, and the runtime's own accounts.
    #[cfg(feature = "runtime")]
    pub mod groups {
        #![doc = include_str!("docs/groups.md")]
        #![cfg_attr(feature = "sources", doc = include_str!("docs/sources.md"))]
    }

    /// Which instrument for what, with an example of each.
    #[cfg(feature = "runtime")]
    pub mod instruments {
        #![doc = include_str!("docs/instruments.md")]
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

    /// Testing measured code, metrics, and programs.
    #[cfg(all(feature = "testing", feature = "derive"))]
    pub mod testing {
        #![doc = include_str!("docs/testing.md")]
        #![cfg_attr(feature = "serde", doc = include_str!("docs/event_log.md"))]
    }
}

#[cfg(all(test, mvx_loom))]
#[path = "../loom-tests/mod.rs"]
mod loom_tests;
