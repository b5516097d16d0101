//! Snapshots for people at a terminal: an aligned table, or one line for each series.
//!
//! Values are shown in a size that fits ([`ValueRef::in_unit`](crate::ValueRef::in_unit)) or [exactly](Encoder::exact). Exactly, a histogram is
//! its `count`, `sum`, `min` and `max`; whoever needs its buckets reads another format.
//!
//! Label values stand in quotes as Rust writes them in its sources: quotes, backslashes and everything that is not printable, such as control
//! characters and marks that turn the direction of text, are escaped. So no label can move the cursor, start a line or imitate a colour. Columns
//! are aligned by characters; a label wider than [`MAX_PADDING`] pushes its own value to the right and leaves the other lines as they are. Nothing is
//! cut.

mod encode;
mod write;

pub use encode::Encoder;
pub use encode::Layout;
pub use encode::MAX_PADDING;
