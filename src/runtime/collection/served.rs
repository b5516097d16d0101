//! What servers have done, as metrics named `mvx.http.*` by where they listen.

use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::label::LabelSet;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::ExactSum;
use crate::model::snapshot::Family;
use crate::model::snapshot::FamilyWriter;
use crate::model::snapshot::Kind;
use crate::model::unit::Unit;
use crate::runtime::collection::servers::CUT;
use crate::runtime::collection::servers::REFUSED;
use crate::runtime::collection::servers::Served;

/// The families; those that cannot be made are errors, of which a test finds none.
pub(super) fn families(servers: &[Served]) -> Vec<Result<Family, Error>> {
    let count = |name, thing, help, count: fn(&Served) -> u64| {
        Unit::count_of(thing).and_then(|unit| {
            family((name, Kind::Counter, unit, help), &[], servers, |writer, labels, served| {
                writer.counter(labels, count(served));
            })
        })
    };
    let level = |name, unit, help, level: fn(&Served) -> u64| {
        family((name, Kind::UpDown, unit, help), &[], servers, |writer, labels, served| {
            writer.up_down(labels, i64::try_from(level(served)).unwrap_or(i64::MAX));
        })
    };
    vec![
        count("mvx.http.connections", "connection", "Connections accepted.", |one| one.connections),
        level("mvx.http.open", Unit::None, "Connections open now.", |one| one.open),
        count("mvx.http.accept_errors", "error", "Connections that could not be accepted.", |one| {
            one.accept_errors
        }),
        count("mvx.http.requests", "request", "Requests whose head was read.", |one| one.requests),
        by_reason("mvx.http.refused", "Requests not answered as they ask.", &REFUSED, servers, |one| {
            &one.refused
        }),
        by_reason("mvx.http.cut", "Connections cut or closed by the server.", &CUT, servers, |one| &one.cut),
        count("mvx.http.scrapes", "request", "Requests that got a rendering.", |one| one.scrapes),
        count(
            "mvx.http.renderings",
            "rendering",
            "Renderings made, each shared by those that overlap.",
            |one| one.renderings,
        ),
        rendering_time(servers),
        longest_rendering(servers),
        level("mvx.http.held_renderings", Unit::None, "Renderings in memory now.", |one| one.held_renderings),
        level("mvx.http.held", Unit::Bytes, "Bytes of the renderings in memory now.", |one| one.held_bytes),
        count("mvx.http.late_sources", "rendering", "Renderings that went on without a source.", |one| {
            one.late_sources
        }),
    ]
}

fn rendering_time(servers: &[Served]) -> Result<Family, Error> {
    let help = "The time of all renderings together.";
    let shape = ("mvx.http.rendering_time", Kind::FloatCounter, Unit::Seconds, help);
    family(shape, &[], servers, |writer, labels, served| {
        let mut sum = ExactSum::default();
        sum.add_duration(served.rendering_time);
        writer.float_counter(labels, &sum);
    })
}

fn longest_rendering(servers: &[Served]) -> Result<Family, Error> {
    let shape = ("mvx.http.longest_rendering", Kind::Gauge, Unit::Seconds, "The longest rendering.");
    family(shape, &[], servers, |writer, labels, served| {
        writer.gauge(labels, served.longest_rendering.as_secs_f64());
    })
}

fn by_reason(
    name: &str,
    help: &str,
    reasons: &[&'static str],
    servers: &[Served],
    counts: fn(&Served) -> &[u64],
) -> Result<Family, Error> {
    let shape = (name, Kind::Counter, Unit::None, help);
    family(shape, reasons, servers, |writer, labels, served| {
        let reason =
            labels.get("reason").and_then(|reason| reasons.iter().position(|known| *known == reason));
        let count = reason.and_then(|at| counts(served).get(at));
        writer.counter(labels, count.copied().unwrap_or_default());
    })
}

/// A family with a series for each server, or for each server and reason.
fn family(
    (name, kind, unit, help): (&str, Kind, Unit, &str),
    reasons: &[&'static str],
    servers: &[Served],
    state: impl Fn(&mut FamilyWriter<'_>, &LabelSet, &Served),
) -> Result<Family, Error> {
    let mut builder = Descriptor::builder(name, kind).unit(unit).help(help).label("listener");
    if !reasons.is_empty() {
        builder = builder.label("reason");
    }
    let mut family = Family::new(builder.build()?);
    let mut writer = FamilyWriter::whole(&mut family);
    for served in servers {
        writer.started(Timestamp::from_unix_nanos(served.since));
        let listener = ("listener", served.listener.as_str());
        let plain = reasons.is_empty().then(|| LabelSet::new([listener]));
        let with = reasons.iter().map(|reason| LabelSet::new([listener, ("reason", *reason)]));
        for labels in plain.into_iter().chain(with) {
            state(&mut writer, &labels?, served);
        }
    }
    drop(writer);
    Ok(family)
}
