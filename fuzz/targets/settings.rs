//! F5: addresses, headers and other settings of any text; secrets in them are not shown.
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

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzed::settings::check(data));
