//! Snapshots as JSON: one object a line for each series, or one document.
//!
//! A line, which is broken here:
//!
//! ```json
//! {"at":1700000000000000000,"namespace":"docs","name":"document.save.duration","unit":"s",
//!  "labels":{"recorder":"storage","ok":"true"},"started":1699999990000000000,
//!  "kind":"histogram","value":{"count":1,"sum":0.025,"min":0.025,"max":0.025,"bounds":[0.01,0.1],"buckets":[0,1,0]}}
//! ```
//!
//! | field | what it is |
//! |---|---|
//! | `at`, `started` | when the snapshot was taken, and when the series was first observed: nanoseconds since the Unix epoch |
//! | `unit` | the UCUM code, empty where none was stated |
//! | `labels` | those of the recorder or group, then the metric's own; the overflow series has `otel.metric.overflow` |
//! | `kind` | `counter`, `float_counter`, `gauge`, `up_down`, `histogram`, `exponential_histogram`, `average` or `fields` |
//! | `value` | a number, or for the last four an object |
//!
//! `buckets` counts by bucket and not cumulatively, the one above every bound last, so it has one number more than `bounds`. What there is
//! nothing of before the first observation (`min`, `max`, `mean`) is `null`. `fields` have the names that the metric gave them.
//!
//! An `exponential_histogram` has `count`, `sum`, `min`, `max`, `scale`, `zero_threshold`, `zero_count`, and `positive` and `negative`, each with `offset`,
//! the index of its first bucket, and `buckets` from there on: the terms of OpenTelemetry's data model.
//!
//! **Numbers.** Integers are printed in full, also beyond 2^53: a reader that takes every number for a double (JavaScript's) rounds them, one that
//! has integers (Python's, serde's) reads them as they are. Floats have the fewest digits that read back equal, and always a point or an exponent.
//! JSON has no number that is not finite; one would be the string `"NaN"`, `"Infinity"` or `"-Infinity"`, as in the JSON of protobuf. No instrument
//! takes such a value; it can only come of a division or a sum.
//!
//! **Texts.** Whatever ends a line for any reader is escaped, so a line of text is an object whatever stands in its labels.
//!
//! A document has the families once, with their help, and their series in them: `{"namespace","at","started","families":[{"name","unit","help",
//! "left_out","series":[{"labels","started","kind","value"}]}]}`.

mod encode;
mod write;

pub use encode::Encoder;
