//! F3: requests of remote write say what was stated, in the order that the protocol asks for, and end each series once when it is gone.

use crate::fuzzed::exposition;
use crate::fuzzed::exposition::Shown;
use crate::fuzzed::input::Input;
use crate::fuzzed::loopback::Loopback;
use crate::fuzzed::model;
use crate::fuzzed::model::Stated;
use crate::fuzzed::protobuf::Message;
use mvx_metrics::Kind;
use mvx_metrics::export::remote_write::RemoteWriteExporter;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// A series by its labels, of which `__name__` is one.
type Key = BTreeMap<String, String>;

/// Prometheus's stale marker.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// Series of one request, for the exporter that needs several.
const FEW: usize = 5;

struct Sender {
    loopback: Loopback,
    exporters: [RemoteWriteExporter; 2],
    /// The time of the last samples of each.
    last: [i64; 2],
}

impl Sender {
    fn new() -> Self {
        let loopback = Loopback::new();
        let builder = RemoteWriteExporter::builder(&loopback.url("/api/v1/write")).vitals(false).no_proxy();
        let exporters = [builder.clone(), builder.max_series(FEW).label("instance", "\u{10ffff}\n\"")];
        let exporters = exporters.map(|builder| builder.build().expect("an exporter"));
        Self { loopback, exporters, last: [i64::MIN; 2] }
    }
}

pub fn check(data: &[u8]) {
    thread_local! { static SENDER: RefCell<Option<Sender>> = const { RefCell::new(None) }; }
    let mut input = Input::new(data);
    let which = usize::from(input.byte() & 1);
    let stated = model::stated(&mut input);
    let snapshot = model::snapshot(&stated);
    let mut expected = BTreeMap::new();
    stated.iter().for_each(|stated| exposition::expect(stated, false, &mut expected));
    let expected: BTreeMap<Key, u64> = expected
        .into_iter()
        .map(|((name, mut labels), shown)| {
            let own =
                [("__name__", name.as_str()), ("job", model::NAMESPACE), ("instance", "\u{10ffff}\n\"")];
            labels.extend(own[..2 + which].iter().map(|(key, value)| ((*key).into(), (*value).into())));
            (labels, bits(&shown))
        })
        .collect();
    // One that has failed is not used again.
    let mut sender = SENDER.take().unwrap_or_else(Sender::new);
    let last = sender.last[which];
    let bodies = sender.loopback.bodies(&mut sender.exporters[which], &snapshot);
    let most = if which == 1 { FEW } else { usize::MAX };
    let (samples, at) = read(&bodies, most, Some(&stated));
    assert_eq!(samples, expected);
    assert!(at.is_none_or(|at| at > last), "{at:?} is not after {last}");
    // Everything is gone, and ends.
    let bodies = sender.loopback.bodies(&mut sender.exporters[which], &model::empty());
    let (ends, end) = read(&bodies, most, None);
    assert_eq!(ends, expected.into_keys().map(|key| (key, STALE)).collect());
    assert!(end >= at && (end.is_none() || end > at), "{end:?} is not after {at:?}");
    sender.last[which] = end.unwrap_or(last);
    SENDER.set(Some(sender));
}

/// The samples of all requests, and their time; what is said of metrics, if they are stated.
fn read(bodies: &[Vec<u8>], most: usize, stated: Option<&[Stated]>) -> (BTreeMap<Key, u64>, Option<i64>) {
    let (mut samples, mut time) = (BTreeMap::new(), None);
    let mut told: Vec<(String, u64, String, String)> = Vec::new();
    for body in bodies {
        let plain = snap::raw::Decoder::new().decompress_vec(body).expect("snappy");
        // `prometheus.WriteRequest`.
        let request = Message::read(&plain);
        request.only(&[1, 3]);
        assert!((1..=most).contains(&request.all(1).count()), "{} series", request.all(1).count());
        for series in request.all(1) {
            let series = Message::read(series.bytes());
            series.only(&[1, 2]);
            let labels: Vec<(&str, &str)> = series.all(1).map(|pair| label(pair.bytes())).collect();
            assert!(labels.is_sorted() && labels.iter().all(|(k, v)| !k.is_empty() && !v.is_empty()));
            let key: Key = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
            assert_eq!(key.len(), labels.len(), "a key twice: {labels:?}");
            let key = exposition::by_number(key);
            let sample = Message::read(series.due(2).bytes());
            sample.only(&[1, 2]);
            let at = sample.due(2).varint() as i64;
            assert_eq!(*time.get_or_insert(at), at, "one state has one time");
            let twice = samples.insert(key, sample.due(1).fixed64());
            assert_eq!(twice, None, "a series is there twice: {labels:?}");
        }
        told.extend(request.all(3).map(|metadata| {
            let metadata = Message::read(metadata.bytes());
            metadata.only(&[1, 2, 4, 5]);
            let [name, help, unit] = [2, 4, 5].map(|field| metadata.text(field).to_owned());
            (name, metadata.due(1).varint(), help, unit)
        }));
    }
    let due = stated.unwrap_or_default().iter().map(|stated| {
        let (suffix, kind) = match stated.kind {
            Kind::Counter | Kind::FloatCounter => ("_total", 1),
            Kind::Histogram => ("", 3),
            Kind::Average => ("", 5),
            Kind::Info => ("_info", 2),
            Kind::Fields => ("_field", 2),
            _ => ("", 2),
        };
        let name = format!("{}{suffix}", exposition::family(stated));
        (name, kind, stated.help.clone(), stated.unit.unwrap_or_default().to_owned())
    });
    assert_eq!(told, due.collect::<Vec<_>>());
    (samples, time)
}

/// `prometheus.Label`.
fn label(pair: &[u8]) -> (&str, &str) {
    let pair = Message::read(pair);
    pair.only(&[1, 2]);
    (pair.due(1).text(), pair.due(2).text())
}

fn bits(shown: &Shown) -> u64 {
    match shown {
        Shown::Digits(digits) => digits.parse::<f64>().expect("digits").to_bits(),
        Shown::Bits(bits) => *bits,
    }
}
