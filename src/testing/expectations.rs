//! What a test expects of a delta, compared in one go, with a message that explains itself.

use crate::model::accounts::Accounts;
use crate::model::snapshot::Family;
use crate::model::snapshot::Kind;
use crate::model::snapshot::SeriesRef;
use crate::model::snapshot::ValueRef;
use crate::recorder::view::Snapshot;
use crate::testing::Delta;
use std::fmt;
use std::fmt::Write;

/// How many other series of a metric a message names.
const OTHERS: usize = 8;

/// What is expected of a [`Delta`]: a list whose every line is compared by [`verify`](Self::verify).
///
/// A series that is not there has changed by zero. A *metric* that is not there, or is of another kind, is a mismatch even if zero is
/// expected: otherwise a misspelt name would pass for ever.
///
/// # Examples
///
/// ```
/// use mvx_metrics::prelude::*;
/// use mvx_metrics::testing::Delta;
/// use mvx_metrics::testing::SteppedRuntime;
///
/// # struct Saved(bool); impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut stepped = SteppedRuntime::new("docs")?;
/// let recorder = stepped
///     .recorder::<Saved>("storage")
///     .counter("document.saves", |c| c.label("ok", |Saved(ok)| (*ok).into()))
///     .create()?;
/// let before = recorder.snapshot();
/// recorder.register_event(Saved(true));
/// recorder.register_event(Saved(false));
/// stepped.settle();
/// let delta = Delta::between(&before, &recorder.snapshot());
///
/// delta.expect().counter("document.saves", &[("ok", "true")], 1).processed(2).lost(0).verify()?;
///
/// let mismatch = delta.expect().counter("document.saves", &[("ok", "yes")], 1).verify().unwrap_err();
/// assert_eq!(
///     mismatch.to_string(),
///     r#"recorder storage has not changed as expected:
///   counter document.saves{ok="yes"}: expected a change by 1, was 0 (no such series before, no such series after)
///     changed there: {ok="true"} to 1, {ok="false"} to 1
///   accounts before: accepted 0, rejected 0, processed 0, dropped 0, pending 0
///   accounts after: accepted 2, rejected 0, processed 2, dropped 0, pending 0"#
/// );
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is compared before `verify`"]
#[derive(Debug)]
pub struct Expectations<'d> {
    delta: &'d Delta,
    wrong: String,
}

/// What was not as expected; prints the same for `{}` and `{:?}`, so that a failing test shows it in plain lines.
pub struct DeltaMismatch(String);

impl<'d> Expectations<'d> {
    pub(super) fn of(delta: &'d Delta) -> Self {
        Self { delta, wrong: String::new() }
    }

    /// A counter's series has risen by `by`.
    pub fn counter(self, name: &str, labels: &[(&str, &str)], by: u64) -> Self {
        let actual = self.delta.counter(name, labels);
        self.series(&[Kind::Counter], name, labels, by == actual, &change(by, actual))
    }

    /// A counter has risen by `by` over all its label sets.
    pub fn total(self, name: &str, by: u64) -> Self {
        let actual = self.delta.total(name);
        self.whole(&[Kind::Counter], name, by == actual, &change(by, actual))
    }

    /// The series of a counter of fractions has risen by `by`, up to the rounding of its sums before and after.
    pub fn float_counter(self, name: &str, labels: &[(&str, &str)], by: f64) -> Self {
        let actual = self.delta.float_counter(name, labels);
        let largest = self.delta.after().float_counter(name, labels).unwrap_or(0.0).abs().max(by.abs());
        let equal = (by - actual).abs() <= largest * 4.0 * f64::EPSILON;
        self.series(&[Kind::FloatCounter], name, labels, equal, &change(by, actual))
    }

    /// An up-down counter's series has risen by `by`; fallen, if that is negative.
    pub fn up_down(self, name: &str, labels: &[(&str, &str)], by: i64) -> Self {
        let actual = self.delta.up_down(name, labels);
        self.series(&[Kind::UpDown], name, labels, by == actual, &change(by, actual))
    }

    /// A gauge's series has come to `value`, wherever it was before.
    pub fn gauge(self, name: &str, labels: &[(&str, &str)], value: f64) -> Self {
        let equal = self.delta.after().gauge(name, labels) == Some(value);
        self.series(&[Kind::Gauge], name, labels, equal, &format!("expected to be {value}"))
    }

    /// A histogram's or an average's series has gained `by` observations.
    pub fn observations(self, name: &str, labels: &[(&str, &str)], by: u64) -> Self {
        let actual = self.delta.observations(name, labels);
        let what = format!("expected {by} observations more, were {actual}");
        let kinds = [Kind::Histogram, Kind::Exponential, Kind::Average, Kind::Summary];
        self.series(&kinds, name, labels, by == actual, &what)
    }

    /// No series of a metric has changed, and none has been added.
    pub fn unchanged(self, name: &str) -> Self {
        let after = self.delta.after().metric(name);
        let changed =
            after.is_some_and(|after| changed(self.delta.before(), after.family()).next().is_some());
        self.whole(&[], name, !changed, "expected no change")
    }

    /// So many events were processed.
    pub fn processed(self, by: u64) -> Self {
        let actual = self.delta.processed();
        self.note(by == actual, |out| write!(out, "\n  processed events: {}", change(by, actual)))
    }

    /// So many events were rejected or dropped.
    pub fn lost(self, by: u64) -> Self {
        let actual = self.delta.lost();
        self.note(by == actual, |out| write!(out, "\n  lost events: {}", change(by, actual)))
    }

    /// Compares.
    ///
    /// # Errors
    ///
    /// Everything that was not as expected: what was expected, what there was, which other series of the metric have changed, and
    /// the recorder's accounts.
    pub fn verify(self) -> Result<(), DeltaMismatch> {
        if self.wrong.is_empty() {
            return Ok(());
        }
        let (before, after) = (self.delta.before(), self.delta.after());
        let mut text = format!("recorder {} has not changed as expected:{}", after.id(), self.wrong);
        if before.id() != after.id() {
            text.push_str(&format!("\n  the snapshot before is one of recorder {}", before.id()));
        }
        text.push_str(&format!("\n  accounts before: {}", Told(before.accounts())));
        text.push_str(&format!("\n  accounts after: {}", Told(after.accounts())));
        Err(DeltaMismatch(text))
    }

    fn series(self, kinds: &[Kind], name: &str, labels: &[(&str, &str)], equal: bool, what: &str) -> Self {
        let delta = self.delta;
        self.metric(kinds, name, equal, |out, after| {
            write!(out, "\n  {} {name}{}: {what}", after.descriptor().kind(), Pairs(labels))?;
            let told = |of: &Snapshot| {
                of.value(name, labels).map_or_else(|| "no such series".to_owned(), |value| value.to_string())
            };
            write!(out, " ({} before, {} after)", told(delta.before()), told(delta.after()))?;
            others(out, delta, after, |series| !series.labels().matches(labels))
        })
    }

    fn whole(self, kinds: &[Kind], name: &str, equal: bool, what: &str) -> Self {
        let delta = self.delta;
        self.metric(kinds, name, equal, |out, after| {
            write!(out, "\n  {} {name}, all series: {what}", after.descriptor().kind())?;
            others(out, delta, after, |_| true)
        })
    }

    /// Checks that there is such a metric at all, then what is expected of it.
    fn metric(
        self,
        kinds: &[Kind],
        name: &str,
        equal: bool,
        tell: impl FnOnce(&mut String, &Family) -> fmt::Result,
    ) -> Self {
        let after = self.delta.after();
        match after.metric(name).map(|metric| metric.family()) {
            None => {
                let names = after.metrics().map(|metric| metric.family().name().as_str());
                let names: Vec<_> = names.collect();
                self.note(false, |out| {
                    write!(out, "\n  there is no metric {name}; there are: {}", names.join(", "))
                })
            }
            Some(family) if !kinds.is_empty() && !kinds.contains(&family.descriptor().kind()) => {
                let kind = family.descriptor().kind();
                let wanted: Vec<_> = kinds.iter().map(Kind::to_string).collect();
                self.note(false, |out| write!(out, "\n  {name} is a {kind}, not a {}", wanted.join(" or ")))
            }
            Some(family) => self.note(equal, |out| tell(out, family)),
        }
    }

    fn note(mut self, equal: bool, tell: impl FnOnce(&mut String) -> fmt::Result) -> Self {
        if !equal {
            // Writing to a string does not fail.
            let _written = tell(&mut self.wrong);
        }
        self
    }
}

/// The series that have changed, or are new.
fn changed<'a>(before: &'a Snapshot, after: &'a Family) -> impl Iterator<Item = SeriesRef<'a>> {
    after.series().filter(move |series| value_before(before, after, series) != Some(series.value()))
}

fn value_before<'a>(before: &'a Snapshot, after: &Family, series: &SeriesRef<'_>) -> Option<ValueRef<'a>> {
    let labels: Vec<_> = series.labels().iter().collect();
    before.value(after.name().as_str(), &labels)
}

/// Names what has changed in a metric beside what was asked for: mostly, that is where the change went.
fn others(
    out: &mut String,
    delta: &Delta,
    after: &Family,
    which: impl Fn(&SeriesRef<'_>) -> bool,
) -> fmt::Result {
    let mut changed = changed(delta.before(), after).filter(|series| which(series)).peekable();
    if changed.peek().is_none() {
        return Ok(());
    }
    out.push_str("\n    changed there:");
    for (at, series) in changed.by_ref().take(OTHERS).enumerate() {
        write!(out, "{} {}", if at > 0 { "," } else { "" }, series.labels())?;
        if let Some(before) = value_before(delta.before(), after, &series) {
            write!(out, " from {before}")?;
        }
        write!(out, " to {}", series.value())?;
    }
    match changed.count() {
        0 => Ok(()),
        more => write!(out, " and {more} more"),
    }
}

fn change(expected: impl fmt::Display, actual: impl fmt::Display) -> String {
    format!("expected a change by {expected}, was {actual}")
}

/// Labels as they are asked for.
struct Pairs<'a>(&'a [(&'a str, &'a str)]);

impl fmt::Display for Pairs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let pairs: Vec<_> = self.0.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
        write!(f, "{{{}}}", pairs.join(","))
    }
}

/// Accounts in one line, with the reasons where there are any.
pub(super) struct Told(pub(super) Accounts);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let accounts = self.0;
        write!(f, "accepted {}", accounts.accepted)?;
        reasons(f, "rejected", accounts.rejected.total(), &accounts.rejected.by_reason())?;
        write!(f, ", processed {}", accounts.processed)?;
        reasons(f, "dropped", accounts.dropped.total(), &accounts.dropped.by_reason())?;
        write!(f, ", pending {}", accounts.pending())
    }
}

fn reasons(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    total: u64,
    by_reason: &[(&'static str, u64)],
) -> fmt::Result {
    write!(f, ", {name} {total}")?;
    let present = by_reason.iter().filter(|(_, count)| *count > 0);
    let present: Vec<_> = present.map(|(reason, count)| format!("{reason} {count}")).collect();
    if present.is_empty() { Ok(()) } else { write!(f, " ({})", present.join(", ")) }
}

impl fmt::Display for DeltaMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DeltaMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DeltaMismatch {}
