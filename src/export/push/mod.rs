//! What every exporter that pushes over HTTP shares: where to, one connection, and an answer of bounded size.

pub(super) mod base64;
mod client;
#[cfg(feature = "otlp-grpc")]
mod http2;
mod proxy;
mod route;
mod target;
#[cfg(feature = "push-tls")]
mod tls;
mod way;

#[cfg(any(feature = "otlp", all(test, feature = "remote-write")))]
pub(super) use client::Answer;
pub(super) use client::Client;
pub(super) use client::Message;
#[cfg(feature = "otlp")]
pub(super) use client::said;
#[cfg(feature = "otlp-grpc")]
pub(super) use client::too_long;
#[cfg(feature = "otlp-grpc")]
pub(super) use http2::Http2;
#[cfg(feature = "otlp-grpc")]
pub(super) use http2::Reply;
pub(super) use route::Route;
pub(super) use target::Target;
#[cfg(feature = "otlp")]
pub(super) use target::percent_decoded;
