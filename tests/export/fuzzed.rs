//! The bodies of the fuzz targets by random bytes and by the seeds that are kept, on any compiler.
#![cfg(all(
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

use crate::fuzzed;
use crate::support::scaled;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// Runs a body with the seeds of its target, and with so many random inputs.
fn run(target: &str, cases: u64, body: fn(&[u8])) {
    let seeds = format!("{}/fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut found = 0;
    for seed in std::fs::read_dir(&seeds).unwrap() {
        body(&std::fs::read(seed.unwrap().path()).unwrap());
        found += 1;
    }
    assert_ne!(found, 0, "{seeds} has seeds");
    let config = ProptestConfig {
        cases: scaled(cases).min(100_000) as u32,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let runner = TestRunner::new(config).run(&proptest::collection::vec(any::<u8>(), 0..600), |bytes| {
        body(&bytes);
        Ok(())
    });
    runner.unwrap();
}

#[test]
fn texts_for_prometheus_read_back_equal() {
    run("exposition", 400, fuzzed::exposition::check);
}

#[test]
fn requests_get_the_answer_that_is_due() {
    run("requests", 200, fuzzed::requests::check);
}

#[test]
fn lines_say_what_was_stated() {
    run("lines", 200, fuzzed::lines::check);
}

#[test]
fn names_of_any_text_are_refused_or_valid() {
    run("names", 1_000, fuzzed::names::check);
}

#[test]
fn requests_of_otlp_read_back_equal() {
    run("otlp", 400, fuzzed::otlp::check);
}

#[test]
fn requests_of_remote_write_read_back_equal_and_series_end_once() {
    run("remote_write", 400, fuzzed::remote_write::check);
}

#[test]
fn settings_of_any_text_are_taken_or_refused_and_show_no_secret() {
    run("settings", 1_000, fuzzed::settings::check);
}

#[test]
fn operations_in_any_order_come_to_what_a_sequential_model_says() {
    run("operations", 400, fuzzed::operations::check);
}
