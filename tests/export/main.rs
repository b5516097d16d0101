//! Exporters, formats and servers that the tests play themselves: one program, so that it is linked once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod asked_sources;
mod axum08;
#[path = "../http/client.rs"]
mod client;
mod conformance;
mod console;
mod doubled;
mod escaping;
mod exemplars;
mod exporters;
#[path = "fuzzed.rs"]
mod fuzz_bodies;
#[cfg(all(
    feature = "http",
    feature = "json",
    feature = "console",
    feature = "statsd",
    feature = "otlp",
    feature = "remote-write",
    feature = "pushgateway",
    feature = "testing",
    unix,
    not(miri)
))]
#[path = "../fuzzed/mod.rs"]
mod fuzzed;
#[cfg(all(feature = "otlp-grpc", not(miri)))]
#[path = "../push/grpc.rs"]
mod grpc;
mod http;
mod json;
mod opentelemetry033;
mod otlp;
mod otlp_delta;
mod otlp_grpc;
#[path = "../prometheus/parser.rs"]
mod parser;
mod prometheus;
mod prometheus_client026;
mod protobuf;
#[path = "../push/proxy.rs"]
mod proxy;
mod push_routes;
mod pushgateway;
mod ready_sources;
#[path = "../statsd/receiver.rs"]
mod receiver;
mod registry_source;
mod remote_write;
#[path = "../push/server.rs"]
mod server;
mod statsd;
#[path = "../support/mod.rs"]
mod support;
#[path = "../push/tls.rs"]
mod tls;
#[cfg(all(feature = "remote-write", not(miri)))]
#[path = "../push/written.rs"]
mod written;
