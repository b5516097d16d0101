//! Snapshots to StatsD and DogStatsD, by datagrams over UDP or unix sockets.
//!
//! | metric | lines, with `document.save` as its name |
//! |---|---|
//! | counter | `document.save:3\|c`: what has been counted since the last delivery; nothing if that is nothing |
//! | gauge | `document.save:0.5\|g` |
//! | up-down counter | a gauge: `document.save:7\|g` |
//! | histogram, average | `document.save.count:3\|c` and `document.save.sum:0.25\|c`; with [`buckets`](ExporterBuilder::buckets), `document.save.bucket:2\|c` for each bucket of explicit bounds |
//! | custom fields | a gauge for each: `document.save.free:9\|g` |
//!
//! **Tags.** [`Dialect::DogStatsD`] writes labels as tags, `document.save:3|c|#ok:true,recorder:storage`. [`Dialect::Plain`] has no tags, and folds each
//! label into the name, key and value, in the order of the keys: `document.save.ok.true.recorder.storage:3|c`.
//!
//! **Texts.** What has a meaning in a line (`:`, `|`, `#`, `,`, `@`, white space, control characters) becomes `_` in a tag; in a plain name,
//! everything but ASCII letters, digits, `-` and `_` does. So no label can add a line, a tag or a metric. Of series that are told apart no longer,
//! the one that was there first is written, and the others are left out and counted, as is a line that does not fit into a datagram: see [`Sent::last`].
//!
//! **Below zero.** A sign before a gauge's value means "by so much" in plain StatsD, so `-2` is written as two lines of one datagram,
//! `document.save:0|g` and `document.save:-2|g`. DogStatsD sets what is written.
//!
//! **Quantiles.** None are written: those of everything since the start say little, and no two processes' can be added. Counts and sums give
//! the mean of any interval and any number of processes; buckets, where they are asked for, are counts as well, so they add up exactly, too. Their
//! tags `lower_bound` and `upper_bound` are those that Datadog's own exporters write. An exponential histogram has no buckets here: its bounds
//! change with what it sees, and a count under a new bound could not be told from one that was sent under the old.
//!
//! **Deltas.** A delta is counted as sent when the operating system has taken its datagram; until then it is sent again, with what came on top.
//! A series that is new, or began anew, starts from its whole value. An exporter that is added later begins with everything counted so far.
//! One that is gone is forgotten after a few deliveries. The sum of all deltas is the counter's value, with two exceptions: a recorder that is shown by
//! itself takes along what it counted after the last delivery, which is why [`Fold::Group`](crate::Fold::Group) is the default; and
//! past the runtime's exported cardinality, series that move into the overflow series or out of it can be counted twice or not at all.
//!
//! **UDP loses.** What the operating system has taken may still be dropped, by the network or by a receiver that is too slow, and nobody learns of it.
//! The one loss that is told is a port of the same machine on which nobody listens: that fails the delivery, and its deltas are kept. A unix socket
//! loses nothing: a receiver that is too slow is waited for until the schedule's time-out.

mod exporter;
mod ledger;
mod lines;
mod link;
mod sent;

pub use exporter::Exporter;
pub use exporter::ExporterBuilder;
pub use lines::Dialect;
pub use sent::Sent;
