//! The test kit: everything a test of measured code needs, without sleeping and without globals.
//!
//! | you test | use |
//! |---|---|
//! | that your code states the right events | [`RecorderDouble`]: a sink that keeps them |
//! | that your metrics make the right values of them | [`SteppedRuntime`]: the real thing, driven by hand under a [`ManualClock`] |
//! | a whole program with a running runtime | [`Recorder::flush_and_snapshot`](crate::Recorder::flush_and_snapshot), [`Delta`], [`until`] |

mod clock;
mod delta;
mod double;
mod stepped;
mod wait;

pub use clock::ManualClock;
pub use delta::Delta;
pub use double::RecorderDouble;
pub use stepped::SteppedRuntime;
pub use wait::until;
