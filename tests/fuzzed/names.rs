//! F7: names, keys, units, help and states of any text are refused, or come out as valid in every format.

use crate::fuzzed::input::Input;
use crate::fuzzed::model;
use crate::parser::parse;
use mvx_metrics::Descriptor;
use mvx_metrics::Family;
use mvx_metrics::FamilyWriter;
use mvx_metrics::Kind;
use mvx_metrics::LabelSet;
use mvx_metrics::Unit;
use mvx_metrics::export::prometheus::Encoder;
use mvx_metrics::export::prometheus::Format;
use std::sync::Arc;

struct Named {
    descriptor: Arc<Descriptor>,
    labels: LabelSet,
    key: String,
    value: String,
    help: String,
}

pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let named: Vec<Named> = (0..3).filter_map(|_| named(&mut input)).collect();
    let families: Vec<Family> = named.iter().map(family).collect();
    // Families of one shape may be parts of one metric; others conflict, and that is said.
    let Ok(snapshot) = model::with(families) else { return };
    for format in [Format::Text, Format::OpenMetrics] {
        let mut text = String::new();
        let encoded = Encoder::new(format).vitals(false).encode(&snapshot, &mut text);
        // The parser refuses what is no name, a second TYPE or HELP, a unit that is not the end of a name, and a series told twice.
        let parsed = parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        if !encoded.skipped().is_empty() {
            continue;
        }
        for named in &named {
            let value =
                |sample: &&crate::parser::Sample| sample.label(&named.key).unwrap_or_default() == named.value;
            assert!(parsed.samples.iter().any(|sample| value(&sample)), "{:?} in {text}", named.value);
        }
        if let [only] = &named[..] {
            let helps: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# HELP ")).collect();
            let name = helps.first().and_then(|line| line.split(' ').next());
            assert_eq!(name.and_then(|name| parsed.help(name)).unwrap_or_default(), only.help, "{text}");
        }
    }
}

fn named(input: &mut Input<'_>) -> Option<Named> {
    let kind = input.pick(&[Kind::Counter, Kind::Gauge, Kind::UpDown, Kind::Info, Kind::StateSet]);
    let name = wordy(input);
    let (key, value, help) = (wordy(input), input.text(), input.text());
    let mut builder = Descriptor::builder(&name, kind).help(&help).label(&key);
    if input.byte() & 1 == 1 {
        let code = if input.byte() & 1 == 1 { input.text() } else { input.pick(&UNITS).to_owned() };
        builder = builder.unit(Unit::custom(&code).ok()?);
    }
    let states = [input.text(), input.text()];
    if kind == Kind::StateSet {
        builder = builder.states(&[&states[0], &states[1]]);
    }
    let descriptor = builder.build().ok()?;
    // What was taken is what was said, to the letter.
    assert_eq!((descriptor.name().as_str(), descriptor.help()), (name.as_str(), help.as_str()));
    let labels = LabelSet::new([(key.as_str(), value.as_str())]).ok()?;
    Some(Named { descriptor, labels, key, value, help })
}

const UNITS: [&str; 12] =
    ["s", "By", "m/s", "1", "{request}", "%", "KiBy/s", "Cel", "By/{request}", "ms", "W.h", "{a b}/s"];

/// A text that is a name more often than not.
fn wordy(input: &mut Input<'_>) -> String {
    let words =
        ["a", "b", "total", "seconds", "bytes", "info", "created", "count", "sum", "le", "user", "_x"];
    let mut name = String::new();
    for part in 0..=input.below(3) {
        if part > 0 {
            name.push_str(input.pick(&[".", "_", ".", "", ".."]));
        }
        match input.below(8) {
            0 => name.push_str(&input.text()),
            _ => name.push_str(input.pick(&words)),
        }
    }
    name
}

fn family(named: &Named) -> Family {
    let mut family = Family::new(Arc::clone(&named.descriptor));
    let mut writer = FamilyWriter::whole(&mut family);
    match named.descriptor.kind() {
        Kind::Counter => writer.counter(&named.labels, 1),
        Kind::Gauge => writer.gauge(&named.labels, 1.0),
        Kind::UpDown => writer.up_down(&named.labels, 1),
        Kind::Info => writer.info(&named.labels),
        _ => writer.state_set(&named.labels, &[]),
    }
    drop(writer);
    family
}
