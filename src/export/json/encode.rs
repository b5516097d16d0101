//! Snapshots as lines and as a document.

use crate::export::exporter::Exporter;
use crate::export::json::write;
use crate::export::rows::Row;
use crate::export::rows::Selection;
use crate::export::rows::UNKNOWN;
use crate::export::rows::Written;
use crate::export::rows::push;
use crate::export::rows::rows;
use crate::export::stream::Stream;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::runtime::collection::Fold;
use crate::runtime::collection::RuntimeSnapshot;
use crate::runtime::collection::exported::ExportedFamily;
use std::fmt::Write;
use std::io;

/// Writes snapshots as JSON.
///
/// # Examples
///
/// ```
/// use mvx_metrics::export::json::Encoder;
/// use mvx_metrics::prelude::*;
/// use std::time::Duration;
///
/// # struct Saved(u64); impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// let recorder = runtime
///     .recorder::<Saved>("storage")
///     .counter("document.saved", |c| c.unit(Unit::Bytes).value(|Saved(bytes)| Some(*bytes)))
///     .create()?;
/// recorder.register_event(Saved(512));
/// recorder.flush_blocking(Duration::from_secs(5))?;
///
/// let snapshot = runtime.collect();
/// let mut lines = String::new(); // to be kept, cleared and used again: then nothing is allocated for the text
/// let written = Encoder::new().vitals(false).encode(&snapshot, &mut lines);
/// let started = snapshot.families(Default::default())[0].parts()[0].family().series().next().ok_or("no series")?.started();
/// let expected = format!(
///     r#"{{"at":{},"namespace":"docs","name":"document.saved","unit":"By","labels":{{"recorder":"storage"}},"started":{},"kind":"counter","value":512}}"#,
///     snapshot.taken_at().unix_nanos(),
///     started.unix_nanos(),
/// );
/// assert_eq!(lines, expected + "\n");
/// assert_eq!((written.series(), written.omitted().len()), (1, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    selection: Selection,
}

/// How much text waits before a writer gets it.
const CHUNK: usize = 64 * 1024;

impl Encoder {
    /// An encoder that shows each recorder by itself, and what the runtime says of itself.
    pub fn new() -> Self {
        Self::default()
    }

    /// Shows recorders one by one or folded.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::export::json::Encoder;
    /// use mvx_metrics::{Fold, MetricsRuntime};
    ///
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// let mut lines = String::new();
    /// let written = Encoder::new().fold(Fold::Group).vitals(false).encode(&runtime.collect(), &mut lines);
    /// assert_eq!((lines.as_str(), written.series()), ("", 0));
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    #[must_use]
    pub fn fold(mut self, fold: Fold) -> Self {
        self.selection.fold = fold;
        self
    }

    /// Shows what the runtime says of itself, as `mvx.*`, or leaves it out. It is shown unless said otherwise: what was lost should not
    /// go unseen.
    #[must_use]
    pub fn vitals(mut self, shown: bool) -> Self {
        self.selection.vitals = shown;
        self
    }

    /// Appends a line for each series to `out`. Costs time in proportion to the text, and never touches a recorder.
    pub fn encode(&self, snapshot: &RuntimeSnapshot, out: &mut String) -> Written {
        let mut written = Written::default();
        for family in self.selection.families(snapshot, &mut written) {
            for row in rows(&family) {
                line(out, snapshot, row, &mut written);
            }
        }
        written
    }

    /// Writes a line for each series to `writer`, a chunk of lines at a time, and flushes it: for whatever is too much to be held as text.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] with the writer's error as source. A part of the text is out then, and may end within a line.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::export::json::Encoder;
    /// use mvx_metrics::{ErrorKind, MetricsRuntime};
    ///
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// let (mut file, mut text) = (Vec::new(), String::new()); // a file, a pipe, a socket
    /// let snapshot = runtime.collect();
    /// let written = Encoder::new().write(&snapshot, &mut file)?;
    /// assert_eq!(Encoder::new().encode(&snapshot, &mut text), written);
    /// assert_eq!(file, text.as_bytes());
    ///
    /// let full = Encoder::new().write(&snapshot, &mut [0_u8; 10].as_mut_slice()).unwrap_err();
    /// assert_eq!(full.kind(), ErrorKind::Io);
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn write(&self, snapshot: &RuntimeSnapshot, writer: &mut dyn io::Write) -> Result<Written, Error> {
        let failed = |error: io::Error| {
            let message = format!(
                "a snapshot could not be written as JSON: {error}; what is out may end within a line"
            );
            Error::new(ErrorKind::Io, message).with_source(error)
        };
        let mut written = Written::default();
        let mut chunk = String::new();
        for family in self.selection.families(snapshot, &mut written) {
            for row in rows(&family) {
                line(&mut chunk, snapshot, row, &mut written);
                if chunk.len() >= CHUNK {
                    writer.write_all(chunk.as_bytes()).map_err(failed)?;
                    chunk.clear();
                }
            }
        }
        writer.write_all(chunk.as_bytes()).and_then(|()| writer.flush()).map_err(failed)?;
        Ok(written)
    }

    /// An exporter that writes each snapshot to `writer` as [`write`](Self::write) does: for [`MetricsRuntime::add_exporter`].
    ///
    /// It may block as long as the writer does. After a write that failed within a line, the next snapshot begins with a line break, so one
    /// line at most cannot be read.
    ///
    /// [`MetricsRuntime::add_exporter`]: crate::MetricsRuntime::add_exporter
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::MetricsRuntime;
    /// use mvx_metrics::export::Schedule;
    /// use mvx_metrics::export::json::Encoder;
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let directory = tempfile::tempdir()?;
    /// let path = directory.path().join("metrics.jsonl");
    /// let exporter = Encoder::new().into_exporter(std::fs::File::create(&path)?);
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.add_exporter("log", Schedule::every(Duration::from_secs(60)), exporter)?;
    /// runtime.shutdown(Duration::from_secs(5))?; // writes the last state
    /// let lines = std::fs::read_to_string(&path)?;
    /// assert!(lines.lines().any(|line| line.contains(r#""name":"mvx.exports.delivered""#)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_exporter<W: io::Write + Send + 'static>(self, writer: W) -> impl Exporter + use<W> {
        Stream::new(writer, move |snapshot, writer| self.write(snapshot, writer))
    }

    /// Appends the whole snapshot to `out` as one object, with nothing after it: what an HTTP server answers with.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::MetricsRuntime;
    /// use mvx_metrics::export::json::Encoder;
    ///
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// let snapshot = runtime.collect();
    /// let mut json = String::new();
    /// let _ = Encoder::new().vitals(false).document(&snapshot, &mut json);
    /// let (at, started) = (snapshot.taken_at().unix_nanos(), snapshot.started().unix_nanos());
    /// assert_eq!(json, format!(r#"{{"namespace":"docs","at":{at},"started":{started},"families":[]}}"#));
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn document(&self, snapshot: &RuntimeSnapshot, out: &mut String) -> Written {
        let mut written = Written::default();
        out.push_str(r#"{"namespace":"#);
        write::string(out, snapshot.namespace());
        let (at, started) = (snapshot.taken_at().unix_nanos(), snapshot.started().unix_nanos());
        push!(out, r#","at":{at},"started":{started},"families":["#);
        let mut first = true;
        for family in self.selection.families(snapshot, &mut written) {
            comma(out, &mut first);
            document_family(out, &family, &mut written);
        }
        out.push_str("]}");
        written
    }
}

fn document_family(out: &mut String, family: &ExportedFamily<'_>, written: &mut Written) {
    let descriptor = family.descriptor();
    push!(out, r#"{{"name":"{}","unit":"#, descriptor.name());
    write::string(out, descriptor.unit().ucum());
    out.push_str(r#","help":"#);
    write::string(out, descriptor.help());
    push!(out, r#","left_out":{},"series":["#, family.left_out());
    let mut first = true;
    for row in rows(family) {
        let start = out.len();
        let mut still_first = first;
        comma(out, &mut still_first);
        out.push('{');
        if series(out, row) {
            out.push('}');
            first = still_first;
            written.series += 1;
        } else {
            out.truncate(start);
            written.omit(descriptor, UNKNOWN, 1);
        }
    }
    out.push_str("]}");
}

fn line(out: &mut String, snapshot: &RuntimeSnapshot, row: Row<'_>, written: &mut Written) {
    let start = out.len();
    push!(out, r#"{{"at":{},"namespace":"#, snapshot.taken_at().unix_nanos());
    write::string(out, snapshot.namespace());
    push!(out, r#","name":"{}","unit":"#, row.descriptor.name());
    write::string(out, row.descriptor.unit().ucum());
    out.push(',');
    if series(out, row) {
        out.push_str("}\n");
        written.series += 1;
    } else {
        out.truncate(start);
        written.omit(row.descriptor, UNKNOWN, 1);
    }
}

/// The fields that a line and a document have for a series; false if there is nothing for its kind.
fn series(out: &mut String, row: Row<'_>) -> bool {
    out.push_str(r#""labels":"#);
    write::labels(out, row);
    push!(out, r#","started":{},"#, row.series.started().unix_nanos());
    let shown = write::value(out, row.series.value());
    write::exemplars(out, row.series);
    shown
}

fn comma(out: &mut String, first: &mut bool) {
    if !std::mem::take(first) {
        out.push(',');
    }
}
