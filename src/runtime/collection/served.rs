//! What servers have done, as metrics named `mvx.http.*` by where they listen, or by what a router is called.

use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::label::LabelSet;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::ExactSum;
use crate::model::snapshot::Family;
use crate::model::snapshot::FamilyWriter;
use crate::model::snapshot::Kind;
use crate::model::unit::Unit;
use crate::runtime::collection::servers::Connections;
use crate::runtime::collection::servers::Served;
use std::time::Duration;

/// The families; those that cannot be made are errors, of which a test finds none.
pub(super) fn families(servers: &[Served]) -> Vec<Result<Family, Error>> {
    let of = Families(servers);
    vec![
        of.connections("mvx.http.connections", "connection", "Connections accepted.", |its| its.accepted),
        of.level("mvx.http.open", Unit::None, "Connections open now.", |one| Some(one.connections?.open)),
        of.connections("mvx.http.accept_errors", "error", "Connections that could not be accepted.", |its| {
            its.accept_errors
        }),
        of.count("mvx.http.requests", "request", "Requests whose head was read.", |one| one.requests),
        of.by_reason("mvx.http.refused", "Requests not answered as they ask.", refused),
        of.by_reason("mvx.http.cut", "Connections cut or closed by the server.", cut),
        of.count("mvx.http.scrapes", "request", "Requests that got a rendering.", |one| one.scrapes),
        of.count(
            "mvx.http.renderings",
            "rendering",
            "Renderings made, each shared by those that overlap.",
            |one| one.renderings,
        ),
        of.rendering_time(),
        of.longest_rendering(),
        of.level("mvx.http.held_renderings", Unit::None, "Renderings in memory now.", |one| {
            Some(one.held_renderings)
        }),
        of.level("mvx.http.held", Unit::Bytes, "Bytes of the renderings in memory now.", |one| {
            Some(one.held_bytes)
        }),
        of.count("mvx.http.late_sources", "rendering", "Renderings that went on without a source.", |one| {
            one.late_sources
        }),
    ]
}

/// Counts by reason.
type Reasons = Vec<(&'static str, u64)>;

/// Why requests were not answered as they ask. Who asks a router the service has let in, and what is no request it has turned away.
fn refused(one: &Served) -> Reasons {
    let of_connections =
        |its: Connections| [("unauthorized", its.unauthorized), ("malformed", its.malformed)];
    let plain = [("refused", one.refused), ("unavailable", one.unavailable)];
    plain.into_iter().chain(one.connections.into_iter().flat_map(of_connections)).collect()
}

/// Why connections were cut.
fn cut(one: &Served) -> Reasons {
    let reasons = |its: Connections| {
        [
            ("half_sent", its.cut_half_sent),
            ("slow", its.cut_slow),
            ("for_room", its.cut_for_room),
            ("idle", its.cut_idle),
        ]
    };
    one.connections.into_iter().flat_map(reasons).collect()
}

/// Makes families of what these have done. One that has no such figure has no series.
struct Families<'a>(&'a [Served]);

/// What one family says of them.
#[derive(Clone, Copy)]
enum Figure {
    Count(u64),
    Level(u64),
    Sum(Duration),
    Now(Duration),
}

impl Families<'_> {
    fn count(
        &self,
        name: &str,
        thing: &str,
        help: &str,
        count: impl Fn(&Served) -> u64,
    ) -> Result<Family, Error> {
        let unit = Unit::count_of(thing)?;
        self.plain((name, Kind::Counter, unit, help), |one| Some(Figure::Count(count(one))))
    }

    fn connections(
        &self,
        name: &str,
        thing: &str,
        help: &str,
        count: impl Fn(Connections) -> u64,
    ) -> Result<Family, Error> {
        let unit = Unit::count_of(thing)?;
        self.plain((name, Kind::Counter, unit, help), |one| Some(Figure::Count(count(one.connections?))))
    }

    fn level(
        &self,
        name: &str,
        unit: Unit,
        help: &str,
        level: impl Fn(&Served) -> Option<u64>,
    ) -> Result<Family, Error> {
        self.plain((name, Kind::UpDown, unit, help), |one| level(one).map(Figure::Level))
    }

    fn rendering_time(&self) -> Result<Family, Error> {
        let help = "The time of all renderings together.";
        let shape = ("mvx.http.rendering_time", Kind::FloatCounter, Unit::Seconds, help);
        self.plain(shape, |one| Some(Figure::Sum(one.rendering_time)))
    }

    fn longest_rendering(&self) -> Result<Family, Error> {
        let shape = ("mvx.http.longest_rendering", Kind::Gauge, Unit::Seconds, "The longest rendering.");
        self.plain(shape, |one| Some(Figure::Now(one.longest_rendering)))
    }

    fn plain(
        &self,
        shape: (&str, Kind, Unit, &str),
        figure: impl Fn(&Served) -> Option<Figure>,
    ) -> Result<Family, Error> {
        self.family(shape, false, |one| figure(one).map(|figure| (None, figure)).into_iter().collect())
    }

    fn by_reason(&self, name: &str, help: &str, reasons: fn(&Served) -> Reasons) -> Result<Family, Error> {
        self.family((name, Kind::Counter, Unit::None, help), true, |one| {
            reasons(one).into_iter().map(|(reason, count)| (Some(reason), Figure::Count(count))).collect()
        })
    }

    fn family(
        &self,
        (name, kind, unit, help): (&str, Kind, Unit, &str),
        has_reasons: bool,
        rows: impl Fn(&Served) -> Vec<(Option<&'static str>, Figure)>,
    ) -> Result<Family, Error> {
        let builder = Descriptor::builder(name, kind).unit(unit).help(help).label("listener");
        let builder = if has_reasons { builder.label("reason") } else { builder };
        let mut family = Family::new(builder.build()?);
        let mut writer = FamilyWriter::whole(&mut family);
        for one in self.0 {
            writer.started(Timestamp::from_unix_nanos(one.since));
            for (reason, figure) in rows(one) {
                let listener = [("listener", one.listener.as_str())];
                let labels = LabelSet::new(listener.into_iter().chain(reason.map(|why| ("reason", why))))?;
                state(&mut writer, &labels, figure);
            }
        }
        drop(writer);
        Ok(family)
    }
}

fn state(writer: &mut FamilyWriter<'_>, labels: &LabelSet, figure: Figure) {
    match figure {
        Figure::Count(count) => writer.counter(labels, count),
        Figure::Level(level) => writer.up_down(labels, i64::try_from(level).unwrap_or(i64::MAX)),
        Figure::Sum(time) => {
            let mut sum = ExactSum::default();
            sum.add_duration(time);
            writer.float_counter(labels, &sum);
        }
        Figure::Now(time) => writer.gauge(labels, time.as_secs_f64()),
    }
}
