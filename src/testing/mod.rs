//! The test kit: everything a test of measured code needs, without sleeping and without globals.
//!
//! | you test | use |
//! |---|---|
//! | that your code states the right events | [`RecorderDouble`]: a sink that keeps them |
//! | that your metrics make the right values of them | [`SteppedRuntime`]: the real thing, driven by hand under a [`ManualClock`] |
//! | a whole program with a running runtime | [`Recorder::flush_and_snapshot`](crate::Recorder::flush_and_snapshot), [`Delta`], [`until_snapshot`], [`until`] |
//! | metrics against events of real life | an event log of JSON lines, with the feature `serde`: `EventLogWriter`, `EventLogReader` |
//! | an exporter of your own | [`export::conformance`](crate::export), with the feature `export` |
//!
//! The guide's chapter on testing shows them one after the other.

mod clock;
mod delta;
mod double;
#[cfg(feature = "serde")]
mod event_log;
mod expectations;
mod stepped;
mod wait;

pub use clock::ManualClock;
pub use delta::Delta;
pub use double::RecorderDouble;
#[cfg(feature = "serde")]
pub use event_log::EventLogReader;
#[cfg(feature = "serde")]
pub use event_log::EventLogWriter;
#[cfg(feature = "serde")]
pub use event_log::LoggedEvent;
pub use expectations::DeltaMismatch;
pub use expectations::Expectations;
pub use stepped::SteppedRuntime;
pub use wait::NotInTime;
pub use wait::until;
pub use wait::until_snapshot;
