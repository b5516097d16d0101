//! F2: requests of OTLP say what was stated, read back by a reader of our own from the description of the protocol.

use crate::fuzzed::input::Input;
use crate::fuzzed::loopback::Loopback;
use crate::fuzzed::model;
use crate::fuzzed::model::Stated;
use crate::fuzzed::model::Value;
use crate::fuzzed::protobuf::Message;
use crate::fuzzed::protobuf::packed;
use mvx_metrics::export::otlp::OtlpExporter;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// A metric's name, and the attributes of a point.
type Key = (String, BTreeMap<String, String>);

/// A point: what its metric is, and what it has, floats by their bits.
#[derive(Debug, PartialEq)]
struct Point {
    unit: String,
    help: String,
    data: Data,
}

#[derive(Debug, PartialEq)]
enum Data {
    Gauge(Number),
    /// Whether it is monotonic.
    Sum(bool, Number),
    /// Counts, sum, bounds, smallest and largest.
    Histogram {
        count: u64,
        sum: u64,
        buckets: Vec<u64>,
        bounds: Vec<u64>,
        least: u64,
        most: u64,
    },
    Summary {
        count: u64,
        sum: u64,
    },
}

#[derive(Debug, PartialEq)]
enum Number {
    Int(i64),
    Bits(u64),
}

const CUMULATIVE: u64 = 2;

pub fn check(data: &[u8]) {
    thread_local! {
        static SENDER: RefCell<Option<(Loopback, OtlpExporter)>> = const { RefCell::new(None) };
    }
    let stated = model::stated(&mut Input::new(data));
    let snapshot = model::snapshot(&stated);
    // One that has failed is not used again.
    let (loopback, mut exporter) = SENDER.take().unwrap_or_else(|| {
        let loopback = Loopback::new();
        let builder = OtlpExporter::builder().endpoint(&loopback.url("/v1/metrics")).vitals(false);
        let exporter = builder.no_proxy().resource("region", "é \u{10ffff}").build().expect("an exporter");
        (loopback, exporter)
    });
    let bodies = loopback.bodies(&mut exporter, &snapshot);
    let mut expected = BTreeMap::new();
    stated.iter().for_each(|stated| expect(stated, &mut expected));
    assert_eq!(bodies.len(), usize::from(!expected.is_empty()), "few points are one request");
    let mut found = BTreeMap::new();
    for body in &bodies {
        read(body, snapshot.taken_at().unix_nanos(), &mut found);
    }
    assert_eq!(found, expected);
    SENDER.set(Some((loopback, exporter)));
}

/// `ExportMetricsServiceRequest`.
fn read(body: &[u8], at: u64, found: &mut BTreeMap<Key, Point>) {
    let request = Message::read(body);
    request.only(&[1]);
    let of_resource = Message::read(request.due(1).bytes());
    of_resource.only(&[1, 2]);
    let resource = attributes(&Message::read(of_resource.due(1).bytes()), 1);
    let due = [("region", "é \u{10ffff}"), ("service.name", model::NAMESPACE)];
    assert_eq!(resource, due.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    let of_scope = Message::read(of_resource.due(2).bytes());
    of_scope.only(&[1, 2]);
    let scope = Message::read(of_scope.due(1).bytes());
    assert_eq!((scope.text(1), scope.text(2).is_empty()), ("mvx-metrics", false));
    for metric in of_scope.all(2) {
        let metric = Message::read(metric.bytes());
        metric.only(&[1, 2, 3, 5, 7, 9, 11]);
        let kinds: Vec<_> = [5, 7, 9, 11].into_iter().filter(|kind| metric.one(*kind).is_some()).collect();
        let [kind] = kinds[..] else { panic!("{} is of {kinds:?}", metric.text(1)) };
        let list = Message::read(metric.due(kind).bytes());
        assert_eq!(list.one(2).is_some(), [7, 9].contains(&kind), "only sums and histograms are since when");
        assert!(list.one(2).is_none_or(|temporality| temporality.varint() == CUMULATIVE));
        let monotonic = list.one(3).is_some_and(|monotonic| monotonic.varint() == 1);
        assert_ne!(list.all(1).count(), 0, "a metric without points");
        for point in list.all(1) {
            let point = Message::read(point.bytes());
            assert_eq!((point.due(2).fixed64(), point.due(3).fixed64()), (0, at));
            let (labels, data) = match kind {
                5 => (7, Data::Gauge(number(&point))),
                7 => (7, Data::Sum(monotonic, number(&point))),
                9 => (9, histogram(&point)),
                _ => {
                    point.only(&[2, 3, 4, 5, 7]);
                    (7, Data::Summary { count: point.due(4).fixed64(), sum: point.due(5).fixed64() })
                }
            };
            let key = (metric.text(1).to_owned(), attributes(&point, labels));
            let point = Point { unit: metric.text(3).into(), help: metric.text(2).into(), data };
            let twice = found.insert(key, point);
            assert_eq!(twice, None, "a point is there twice");
        }
    }
}

fn number(point: &Message<'_>) -> Number {
    point.only(&[2, 3, 4, 6, 7]);
    match (point.one(4), point.one(6)) {
        (Some(real), None) => Number::Bits(real.fixed64()),
        (None, Some(whole)) => Number::Int(whole.fixed64() as i64),
        other => panic!("one of two numbers is due: {other:?}"),
    }
}

fn histogram(point: &Message<'_>) -> Data {
    point.only(&[2, 3, 4, 5, 6, 7, 9, 11, 12]);
    Data::Histogram {
        count: point.due(4).fixed64(),
        sum: point.due(5).fixed64(),
        buckets: packed(point.due(6).bytes()),
        bounds: packed(point.due(7).bytes()),
        least: point.due(11).fixed64(),
        most: point.due(12).fixed64(),
    }
}

/// `KeyValue`s with texts, each key once and no value empty.
fn attributes(message: &Message<'_>, number: u64) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for pair in message.all(number) {
        let pair = Message::read(pair.bytes());
        pair.only(&[1, 2]);
        let any = Message::read(pair.due(2).bytes());
        any.only(&[1]);
        let (key, value) = (pair.due(1).text(), any.due(1).text());
        assert!(!key.is_empty() && !value.is_empty(), "{key:?}: {value:?}");
        assert_eq!(all.insert(key.to_owned(), value.to_owned()), None, "{key} is there twice");
    }
    all
}

/// What the mapping of the module's page makes of it.
fn expect(stated: &Stated, points: &mut BTreeMap<Key, Point>) {
    let unit = match stated.unit {
        Some("seconds") => "s",
        Some(_) => "By",
        None => "",
    };
    for (label, value) in &stated.series {
        let mut state = |suffix: &str, extra: Option<(&str, &str)>, data: Data| {
            let labels = [(model::KEY, label.as_str())].into_iter().chain(extra);
            let labels = labels.filter(|(_, value)| !value.is_empty());
            let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            let point = Point { unit: unit.into(), help: stated.help.clone(), data };
            let twice = points.insert((format!("{}{suffix}", stated.name), labels), point);
            assert_eq!(twice, None, "the series differ");
        };
        let bits = |real: f64| Number::Bits(real.to_bits());
        // OTLP's integers have a sign.
        let whole = |whole: u64| i64::try_from(whole).map_or_else(|_| bits(whole as f64), Number::Int);
        match value {
            Value::Counter(count) => state("", None, Data::Sum(true, whole(*count))),
            Value::FloatCounter(sum) => state("", None, Data::Sum(true, bits(sum.value()))),
            Value::Gauge(real) => state("", None, Data::Gauge(bits(*real))),
            Value::UpDown(level) => state("", None, Data::Sum(false, Number::Int(*level))),
            Value::Average(sum, count) => {
                state("", None, Data::Summary { count: *count, sum: sum.value().to_bits() });
            }
            Value::Histogram(buckets, sum, below) => {
                let data = Data::Histogram {
                    count: buckets.iter().sum(),
                    sum: sum.value().to_bits(),
                    buckets: buckets.to_vec(),
                    bounds: model::BOUNDS.iter().map(|bound| bound.to_bits()).collect(),
                    least: (if *below { -1.0_f64 } else { 0.0 }).to_bits(),
                    most: 1.0_f64.to_bits(),
                };
                state("", None, data);
            }
            Value::Info => state(".info", None, Data::Sum(false, Number::Int(1))),
            Value::States(on) => {
                // The key of a label has no dots.
                let key = stated.name.replace('.', "_");
                for (name, on) in model::STATES.iter().zip(on) {
                    let level = Number::Int(i64::from(*on));
                    state("", Some((&key, name)), Data::Sum(false, level));
                }
            }
            Value::Field(number) => state(".field", None, Data::Gauge(whole(*number))),
        }
    }
}
