//! A server of a runtime's metrics, for programs that have no HTTP server of their own.
//!
//! | path | what it shows |
//! |---|---|
//! | `/metrics` | every metric, in Prometheus's text format or OpenMetrics by the request's `Accept` |
//! | `/snapshot` | the same as one JSON document, with the feature `json` |
//! | `/livez` | 200 if the runtime's worker lives and gets on, 503 if it does not, with a line that says why |
//! | `/` | links to these |
//!
//! It has a thread of its own with one loop for all connections, and no more than a few threads for what takes time: renderings, and
//! [sources](crate::Source). Nothing it does touches the runtime's worker or a recorder.
//!
//! What clients can make it hold is bounded, and each bound has a setting: connections, those that never send a request apart from those that are
//! answered; the time for a request's head, for an answer, and between two requests; the bytes of a head; renderings in memory, which do
//! not depend on how many clients ask. See [`HttpServerBuilder`].

mod access;
mod builder;
mod connection;
mod serve;
mod server;
mod stats;
mod table;
#[cfg(feature = "rustls")]
mod tls;

pub use builder::HttpServerBuilder;
pub use server::HttpServer;
pub use stats::HttpStats;
