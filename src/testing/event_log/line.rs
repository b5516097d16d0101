//! One line: how an event becomes one, and how it is read back.

use super::LoggedEvent;
use super::exact;
use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::event::MetricEvent;
use serde::Deserialize;
use serde::Serialize;
use serde::de;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use std::fmt;
use std::marker::PhantomData;

/// The members of a line.
const MEMBERS: [&str; 3] = ["at", "event_type", "event"];

/// What a line says after its time: the rest of the object, and the line's end.
pub(super) fn encode<E: MetricEvent + Serialize>(event: &E) -> Result<Vec<u8>, Error> {
    let event_type = event.event_type();
    let refuse = |cause: &dyn fmt::Display| {
        let message = format!(
            "an event `{event_type}` has not been written: {cause}; the log would not give it back as it was"
        );
        Error::new(ErrorKind::InvalidRecord, message)
    };
    exact::check(event).map_err(|inexact| refuse(&inexact).with_source(inexact))?;
    let mut text = b",\"event_type\":".to_vec();
    let written =
        serde_json::to_writer(&mut text, event_type).map(|()| text.extend_from_slice(b",\"event\":"));
    written
        .and_then(|()| serde_json::to_writer(&mut text, event))
        .map_err(|error| refuse(&error).with_source(error))?;
    text.extend_from_slice(b"}\n");
    Ok(text)
}

/// The start of a line.
pub(super) fn head(at: Timestamp) -> String {
    format!("{{\"at\":{}", at.unix_nanos())
}

/// Reads a line; `cut_off` if it is the last one and has no end.
pub(super) fn decode<E: MetricEvent + DeserializeOwned>(
    text: &[u8],
    number: u64,
    cut_off: bool,
) -> Result<LoggedEvent<E>, Error> {
    let line: Line<E> = serde_json::from_slice(text).map_err(|error| misread(error, number, cut_off))?;
    let Line { at, event_type, event } = line;
    if event_type != event.event_type() {
        let message = format!(
            "line {number} of the event log was written as `{event_type}` and reads as `{}`; read it with the event type that wrote \
             it, or keep the old name with `#[event(name = \"..\")]`",
            event.event_type()
        );
        return Err(Error::new(ErrorKind::UnknownEvent, message).with_line(number));
    }
    Ok(LoggedEvent { at, event })
}

/// What was wrong with a line, in words that say where and what to do.
fn misread(error: serde_json::Error, number: u64, cut_off: bool) -> Error {
    let (kind, remedy) = match error.classify() {
        Category::Eof | Category::Syntax if cut_off => (
            ErrorKind::CutOffRecord,
            "the log ends in the middle of it: its writer was not finished; remove the line, every one before it is whole",
        ),
        Category::Data => (
            ErrorKind::UnknownEvent,
            "read it with the event type that wrote it, or let that type read old lines, as by `#[serde(alias, default)]`",
        ),
        _ => (ErrorKind::InvalidRecord, "write one JSON object on each line, or remove the line"),
    };
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let cause = text.strip_suffix(&place).unwrap_or(&text);
    let message = format!("line {number}, column {} of the event log: {cause}; {remedy}", error.column());
    Error::new(kind, message).with_line(number).with_source(error)
}

/// A line as it stands in the log.
struct Line<E> {
    at: Timestamp,
    event_type: String,
    event: E,
}

/// Written out rather than derived, so that the feature needs no proc-macro; and the event is read where it stands, without
/// a copy in between, which could not hold integers above 64 bits.
impl<'de, E: Deserialize<'de>> Deserialize<'de> for Line<E> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(LineVisitor(PhantomData))
    }
}

struct LineVisitor<E>(PhantomData<E>);

impl<'de, E: Deserialize<'de>> de::Visitor<'de> for LineVisitor<E> {
    type Value = Line<E>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `at`, `event_type` and `event`")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Line<E>, A::Error> {
        let (mut at, mut event_type, mut event) = (None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            let twice = match key.as_str() {
                "at" => at.replace(map.next_value::<u64>()?).is_some(),
                "event_type" => event_type.replace(map.next_value()?).is_some(),
                "event" => event.replace(map.next_value()?).is_some(),
                _ => map.next_value::<de::IgnoredAny>().map(|_| false)?,
            };
            if twice {
                return Err(de::Error::custom(format_args!("`{key}` stands there twice")));
            }
        }
        match (at, event_type, event) {
            (Some(at), Some(event_type), Some(event)) => {
                Ok(Line { at: Timestamp::from_unix_nanos(at), event_type, event })
            }
            (at, event_type, _) => {
                let missing = [at.is_none(), event_type.is_none(), true].iter().position(|missing| *missing);
                Err(de::Error::missing_field(MEMBERS[missing.unwrap_or_default()]))
            }
        }
    }
}
