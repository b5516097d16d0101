//! F6: lines of StatsD, of the console and of JSON say what was stated, and no text adds one, or a tag, or moves a cursor.

use crate::fuzzed::input::Input;
use crate::fuzzed::model;
use crate::fuzzed::model::Stated;
use crate::fuzzed::model::Value;
use crate::receiver::Receiver;
use crate::receiver::deliver;
use crate::receiver::parse;
use mvx_metrics::Kind;
use mvx_metrics::RuntimeSnapshot;
use mvx_metrics::export::console;
use mvx_metrics::export::json;
use mvx_metrics::export::statsd::Dialect;
use mvx_metrics::export::statsd::Exporter;
use std::collections::BTreeMap;

pub fn check(data: &[u8]) {
    let stated = model::stated(&mut Input::new(data));
    let snapshot = model::snapshot(&stated);
    let all = stated.iter().map(|stated| stated.series.len()).sum::<usize>();
    for layout in [console::Layout::Lines, console::Layout::Table] {
        shown(&snapshot, layout, &stated, all);
    }
    documents(&snapshot, &stated, all);
    for dialect in [Dialect::DogStatsD, Dialect::Plain] {
        sent(&snapshot, dialect, &stated);
    }
}

fn shown(snapshot: &RuntimeSnapshot, layout: console::Layout, stated: &[Stated], all: usize) {
    let mut text = String::new();
    let encoder = console::Encoder::new().vitals(false).exact(true).layout(layout);
    let written = encoder.encode(snapshot, &mut text);
    assert_eq!((written.series(), written.omitted().len()), (all as u64, 0), "{text}");
    let head = if layout == console::Layout::Table { 2 } else { 0 };
    assert_eq!(text.lines().count(), all + head, "{text}");
    let moves =
        |c: char| c != '\n' && c.is_control() || "\u{200b}\u{202e}\u{2028}\u{2029}\u{feff}".contains(c);
    assert!(!text.contains(moves), "{text:?}");
    for stated in stated {
        let lines = text.lines().filter(|line| line.starts_with(&stated.name)).count();
        assert_eq!(lines, stated.series.len(), "{text}");
    }
}

fn documents(snapshot: &RuntimeSnapshot, stated: &[Stated], all: usize) {
    let mut text = String::new();
    let written = json::Encoder::new().vitals(false).encode(snapshot, &mut text);
    assert_eq!((written.series(), written.omitted().len()), (all as u64, 0), "{text}");
    let lines: Vec<(serde_json::Value, &str)> =
        text.lines().map(|line| (serde_json::from_str(line).expect(line), line)).collect();
    let mut found = BTreeMap::new();
    for (line, text) in &lines {
        let label = line["labels"][model::KEY].as_str().unwrap_or_default();
        let name = line["name"].as_str().expect("a name");
        assert!(found.insert((name, label), (line, *text)).is_none(), "{text}");
    }
    for stated in stated {
        for (label, value) in &stated.series {
            let (line, text) = found[&(stated.name.as_str(), label.as_str())];
            match value {
                Value::Counter(count) => assert_eq!(line["value"].as_u64(), Some(*count), "{line}"),
                Value::UpDown(level) => assert_eq!(line["value"].as_i64(), Some(*level), "{line}"),
                Value::Gauge(real) => {
                    // Without a feature of its own serde_json reads some numbers one bit off; the value is the last of a line.
                    let value = text.rsplit("\"value\":").next().and_then(|rest| rest.strip_suffix('}'));
                    let value = value.and_then(|value| value.parse::<f64>().ok());
                    assert_eq!(value.map(f64::to_bits), Some(real.to_bits()), "{text}");
                }
                _ => {}
            }
        }
    }
    assert_eq!(found.len(), all);
}

fn sent(snapshot: &RuntimeSnapshot, dialect: Dialect, stated: &[Stated]) {
    thread_local! { static RECEIVER: Receiver = Receiver::new(); }
    let (datagrams, omitted) = RECEIVER.with(|receiver| {
        let exporter = Exporter::unix(&receiver.path).vitals(false).dialect(dialect);
        let mut exporter = exporter.build().expect("an exporter");
        deliver(&mut exporter, snapshot).expect("it is sent");
        (receiver.datagrams(), exporter.sent().last().omitted().len())
    });
    let lines = datagrams.iter().flat_map(|datagram| parse(datagram).unwrap_or_else(|line| panic!("{line}")));
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines {
        let tags: Vec<_> = line.tags.iter().map(|(key, value)| format!("{key}:{value}")).collect();
        // What is left out is left out whole; and whatever comes is of a metric that was stated.
        assert!(stated.iter().any(|stated| line.name.starts_with(&stated.name)), "{line:?}");
        found.entry(format!("{}|{}|#{}", line.name, line.kind, tags.join(","))).or_default().push(line.value);
    }
    let meets = |stated: &Stated| {
        let mut cleaned: Vec<_> = stated.series.iter().map(|(label, _)| clean(label, dialect)).collect();
        cleaned.sort();
        cleaned.windows(2).any(|pair| pair[0] == pair[1])
    };
    if stated.iter().any(meets) {
        // Series that would be one line are left out, all but one; which is not this oracle's to say.
        assert!(omitted > 0 || dialect == Dialect::DogStatsD || stated.iter().all(is_silent), "{found:?}");
        return;
    }
    assert_eq!(omitted, 0, "{found:?}");
    for stated in stated {
        for (label, value) in &stated.series {
            let key = |suffix: &str, kind: &str| {
                let (cleaned, name) = (clean(label, dialect), format!("{}{suffix}", stated.name));
                match (dialect, cleaned.is_empty()) {
                    (_, true) => format!("{name}|{kind}|#"),
                    (Dialect::Plain, false) => format!("{name}.{}.{cleaned}|{kind}|#", model::KEY),
                    (_, false) => format!("{name}|{kind}|#{}:{cleaned}", model::KEY),
                }
            };
            let said = |key: &str| found.get(key).and_then(|values| values.last());
            match value {
                // Of nothing new nothing is said.
                Value::Counter(0) => {}
                Value::Counter(count) => {
                    assert_eq!(said(&key("", "c")), Some(&count.to_string()), "{found:?}");
                }
                Value::UpDown(level) => {
                    assert_eq!(said(&key("", "g")), Some(&level.to_string()), "{found:?}");
                }
                Value::Gauge(real) => {
                    let value = said(&key("", "g")).and_then(|value| value.parse::<f64>().ok());
                    assert_eq!(value, Some(*real), "{found:?}");
                }
                Value::Average(_, 0) => {}
                Value::Average(_, count) => {
                    assert_eq!(said(&key(".count", "c")), Some(&count.to_string()), "{found:?}");
                }
                _ => {}
            }
        }
    }
}

/// Whether it may be that nothing is sent of it.
fn is_silent(stated: &Stated) -> bool {
    !matches!(stated.kind, Kind::Gauge | Kind::UpDown)
}

/// What stands for a text, by the protocols: `_` for whatever has a meaning.
fn clean(text: &str, dialect: Dialect) -> String {
    let stays = |c: char| match dialect {
        Dialect::Plain => c.is_ascii_alphanumeric() || "_-".contains(c),
        _ => !c.is_control() && !c.is_whitespace() && !":|#,@".contains(c),
    };
    text.chars().map(|c| if stays(c) { c } else { '_' }).collect()
}
