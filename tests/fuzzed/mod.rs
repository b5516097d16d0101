//! Round trips of any bytes, each against an oracle of its own: the bodies of the targets in `fuzz/`, and of quick tests that need no fuzzer.
//!
//! A body panics when something is wrong. It takes whatever stands beside it, the parser and the receiver of the tests, from the
//! root of the program.

pub mod input;
pub mod loopback;
pub mod model;
pub mod protobuf;

pub mod exposition;
pub mod lines;
pub mod names;
pub mod operations;
pub mod otlp;
pub mod remote_write;
pub mod requests;
pub mod settings;
