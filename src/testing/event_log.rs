//! Recorded events: written to JSON lines, and replayed into whatever takes them.

mod exact;
mod line;
mod reader;
mod writer;

pub use reader::EventLogReader;
pub use writer::EventLogWriter;

use crate::model::clock::Timestamp;

/// One line of an event log: an event, and when it was stated.
///
/// On disk it is an object with three members, in any order; others are passed over:
///
/// ```text
/// {"at":946684800000000000,"event_type":"storage.saved","event":{"Saved":{"bytes":512}}}
/// ```
///
/// | member | what it is |
/// |---|---|
/// | `at` | nanoseconds since the Unix epoch, a whole number |
/// | `event_type` | [`MetricEvent::event_type`](crate::MetricEvent::event_type); checked against the event when it is read |
/// | `event` | the event, as its own `Serialize` writes it |
///
/// Times and other large integers are exact here and rounded by tools that read every number as a double.
///
/// # Examples
///
/// ```
/// use mvx_metrics::prelude::*;
/// use mvx_metrics::testing::EventLogReader;
///
/// #[derive(Debug, PartialEq, MetricEvent, serde::Serialize, serde::Deserialize)]
/// enum StorageEvent {
///     Saved { bytes: u64 },
/// }
///
/// let log = r#"{"at":7,"event_type":"storage.saved","event":{"Saved":{"bytes":512}}}"#;
/// let logged = EventLogReader::<StorageEvent, _>::new(log.as_bytes()).next().unwrap()?;
/// assert_eq!((logged.at.unix_nanos(), logged.event), (7, StorageEvent::Saved { bytes: 512 }));
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedEvent<E> {
    /// When the event was stated.
    pub at: Timestamp,
    /// The event.
    pub event: E,
}
