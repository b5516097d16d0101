//! F8: operations on a runtime in any order, against a sequential model.
#![no_main]

#[path = "../../tests/fuzzed/mod.rs"]
#[allow(dead_code, reason = "the other targets use the rest")]
mod fuzzed;
#[path = "../../tests/prometheus/parser.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod parser;
#[path = "../../tests/statsd/receiver.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod receiver;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzed::operations::check(data));
