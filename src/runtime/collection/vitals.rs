//! What the runtime says of itself: the accounts of its recorders by group, as metrics named `mvx.*`.

use crate::model::accounts::Accounts;
use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::label::LabelSet;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::Family;
use crate::model::snapshot::FamilyWriter;
use crate::model::snapshot::Kind;
use crate::model::unit::Unit;
use crate::runtime::collection::RuntimeSnapshot;
use crate::runtime::collection::exported::ExportedFamily;
use crate::runtime::collection::exported::enter;
use crate::runtime::collection::scope::Scope;
use crate::runtime::collection::served;
use crate::runtime::collection::source::SourceStatus;
use crate::runtime::followers::ExporterStatus;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

/// The keys of the labels that these metrics have.
pub(in crate::runtime) const OWN_KEYS: [&str; 4] = ["exporter", "listener", "reason", "source"];

/// What a group has come to.
#[derive(Default)]
struct Group {
    accounts: Accounts,
    recorders: i64,
    removed: u64,
    quarantined: i64,
}

/// The families, in the order of their names.
pub(super) fn families(snapshot: &RuntimeSnapshot) -> Vec<ExportedFamily<'_>> {
    let RuntimeSnapshot { recorders, retired, started, exporters, sources, servers, .. } = snapshot;
    let started = *started;
    let mut groups: BTreeMap<Option<&str>, Group> = BTreeMap::new();
    for (name, gone) in &retired.accounts {
        let group = groups.entry(name.as_deref()).or_default();
        group.accounts = group.accounts.plus(gone.accounts);
        group.removed += gone.recorders;
    }
    for recorder in recorders {
        let group = groups.entry(recorder.cut.identity.group().map(|group| &**group)).or_default();
        group.accounts = group.accounts.plus(recorder.accounts());
        group.recorders += 1;
        let metrics = recorder.cut.metrics.iter().filter(|metric| metric.quarantined).count() as i64;
        group.quarantined += metrics + recorder.quarantined_observers() as i64;
    }
    let mut families = Vec::new();
    for (name, group) in groups {
        // The names are right, so nothing is left out; a test reads every one of them.
        for family in of_group(&group, started).into_iter().flatten() {
            enter(&mut families, Scope::Group { name }, Cow::Owned(family));
        }
    }
    let of_exporters = if exporters.is_empty() { Vec::new() } else { of_exporters(exporters, started) };
    let of_sources = if sources.is_empty() { Vec::new() } else { of_sources(sources, started) };
    let publication = publication(snapshot.publication_interval);
    let wakes = snapshot.wakes.map(|wakes| wakes_of(wakes, started));
    let refused = snapshot.refused.map(|count| refused_of(count, started));
    let of_servers = if servers.is_empty() { Vec::new() } else { served::families(servers) };
    let of_runtime =
        std::iter::once(publication).chain(wakes).chain(refused).chain(of_exporters).chain(of_sources);
    for family in of_runtime.chain(of_servers).flatten() {
        enter(&mut families, Scope::Runtime, Cow::Owned(family));
    }
    families
}

fn of_group(group: &Group, started: Timestamp) -> [Result<Family, Error>; 8] {
    let accounts = &group.accounts;
    let (rejected, dropped) = (accounts.rejected.by_reason(), accounts.dropped.by_reason());
    let counter = |name, thing, help, count| counter(name, (thing, help), "", &[("", count)], started);
    [
        counter("mvx.events.accepted", "event", "Events taken over by recorders.", accounts.accepted),
        counter("mvx.events.processed", "event", "Events that every metric has seen.", accounts.processed),
        by_reason("mvx.events.rejected", "Events refused at the door.", &rejected, started),
        by_reason("mvx.events.dropped", "Accepted events that were given up.", &dropped, started),
        level(
            "mvx.events.pending",
            "event",
            "Accepted events whose fate is open.",
            accounts.pending() as i64,
        ),
        level("mvx.recorders", "recorder", "Registered recorders.", group.recorders),
        counter("mvx.recorders.removed", "recorder", "Recorders that were removed.", group.removed),
        level(
            "mvx.quarantined",
            "item",
            "Metrics and observers that panicked, and are left out.",
            group.quarantined,
        ),
    ]
}

fn by_reason(name: &str, help: &str, counts: &[(&str, u64)], started: Timestamp) -> Result<Family, Error> {
    counter(name, ("event", help), "reason", counts, started)
}

/// What came of every exporter's deliveries.
fn of_exporters(exporters: &[ExporterStatus], started: Timestamp) -> Vec<Result<Family, Error>> {
    let counter = |name, help, count: fn(&ExporterStatus) -> u64| {
        let counts: Vec<_> = exporters.iter().map(|one| (one.name.as_str(), count(one))).collect();
        counter(name, ("export", help), "exporter", &counts, started)
    };
    vec![
        counter("mvx.exports.delivered", "Times the state was delivered.", |one| one.delivered),
        counter("mvx.exports.failed", "Times it could not be, after every attempt.", |one| one.failed),
        counter("mvx.exports.missed", "Times that passed without an attempt.", |one| one.missed),
        last_deliveries(exporters),
    ]
}

/// How every source has done.
fn of_sources(sources: &[SourceStatus], started: Timestamp) -> Vec<Result<Family, Error>> {
    let counter = |name, thing, help, count: fn(&SourceStatus) -> u64| {
        let counts: Vec<_> = sources.iter().map(|one| (one.name.as_str(), count(one))).collect();
        counter(name, (thing, help), "source", &counts, started)
    };
    vec![
        counter("mvx.sources.runs", "run", "Times a source gave its metrics.", |one| one.runs),
        counter(
            "mvx.sources.abandoned",
            "call",
            "Calls of a source that took too long to be waited for.",
            |one| one.abandoned,
        ),
        counter(
            "mvx.sources.faults",
            "fault",
            "Series and other things that a source could not show.",
            |one| one.faults,
        ),
    ]
}

fn last_deliveries(exporters: &[ExporterStatus]) -> Result<Family, Error> {
    let help = "When the state was last delivered, since the Unix epoch.";
    let builder = Descriptor::builder("mvx.exports.last_delivery", Kind::Gauge);
    let mut family = Family::new(builder.unit(Unit::Seconds).help(help).label("exporter").build()?);
    let mut writer = FamilyWriter::whole(&mut family);
    for exporter in exporters {
        if let Some(at) = exporter.last_delivery {
            let seconds = Duration::from_nanos(at.unix_nanos()).as_secs_f64();
            writer.gauge(&LabelSet::new([("exporter", exporter.name.as_str())])?, seconds);
        }
    }
    drop(writer);
    Ok(family)
}

/// A counter with a series for each value of a label, or without labels where the label is blank.
fn counter(
    name: &str,
    (thing, help): (&str, &str),
    label: &str,
    counts: &[(&str, u64)],
    started: Timestamp,
) -> Result<Family, Error> {
    let mut builder = Descriptor::builder(name, Kind::Counter).unit(Unit::count_of(thing)?).help(help);
    if !label.is_empty() {
        builder = builder.label(label);
    }
    let mut family = Family::new(builder.build()?);
    let mut writer = FamilyWriter::whole(&mut family);
    writer.started(started);
    for (value, count) in counts {
        let labels = if label.is_empty() { LabelSet::empty() } else { LabelSet::new([(label, *value)])? };
        writer.counter(&labels, *count);
    }
    drop(writer);
    Ok(family)
}

fn level(name: &str, thing: &str, help: &str, level: i64) -> Result<Family, Error> {
    let builder = Descriptor::builder(name, Kind::UpDown).unit(Unit::count_of(thing)?).help(help);
    let mut family = Family::new(builder.build()?);
    FamilyWriter::whole(&mut family).up_down(&LabelSet::empty(), level);
    Ok(family)
}

fn wakes_of(count: u64, started: Timestamp) -> Result<Family, Error> {
    let help = "Times a caller found the worker asleep, and paid for waking it.";
    counter("mvx.worker.wakes", ("wake", help), "", &[("", count)], started)
}

fn refused_of(count: u64, started: Timestamp) -> Result<Family, Error> {
    let help = "Recorders that the runtime had no room for.";
    counter("mvx.recorders.refused", ("recorder", help), "", &[("", count)], started)
}

fn publication(interval: Duration) -> Result<Family, Error> {
    let help = "Time from one publication pass to the next while something changes.";
    let builder = Descriptor::builder("mvx.publication.interval", Kind::Gauge).unit(Unit::Seconds).help(help);
    let mut family = Family::new(builder.build()?);
    FamilyWriter::whole(&mut family).gauge(&LabelSet::empty(), interval.as_secs_f64());
    Ok(family)
}
