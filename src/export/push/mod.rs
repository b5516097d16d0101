//! What every exporter that pushes over HTTP shares: where to, one connection, and an answer of bounded size.

pub(super) mod base64;
mod client;
mod proxy;
mod route;
mod target;
#[cfg(feature = "push-tls")]
mod tls;

#[cfg(any(feature = "otlp", all(test, feature = "remote-write")))]
pub(super) use client::Answer;
pub(super) use client::Client;
pub(super) use client::Message;
#[cfg(feature = "otlp")]
pub(super) use client::said;
pub(super) use route::Route;
pub(super) use target::Target;
#[cfg(feature = "otlp")]
pub(super) use target::percent_decoded;
