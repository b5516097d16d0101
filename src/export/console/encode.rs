//! Snapshots as a table and as lines.

use crate::export::console::write;
use crate::export::exporter::Exporter;
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
use std::ffi::OsStr;
use std::fmt::Write;
use std::io;
use std::io::IsTerminal;

/// The widest that a column is made for the sake of alignment, in characters.
pub const MAX_PADDING: usize = 60;

/// How series are laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layout {
    /// A line for the snapshot, a head, and columns of metric, labels and value.
    #[default]
    Table,
    /// Metric, labels and value, with a space between, and nothing else: for `grep`.
    Lines,
}

/// Writes snapshots for people.
///
/// # Examples
///
/// ```
/// use mvx_metrics::export::console::{Encoder, Layout};
/// use mvx_metrics::prelude::*;
/// use std::time::Duration;
///
/// # struct Saved(u64); impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), mvx_metrics::Error> {
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// let recorder = runtime
///     .recorder::<Saved>("storage")
///     .counter("document.saved", |c| c.unit(Unit::Bytes).value(|Saved(bytes)| Some(*bytes)))
///     .create()?;
/// recorder.register_event(Saved(8_330));
/// recorder.flush_blocking(Duration::from_secs(5))?;
///
/// let lines = Encoder::new().layout(Layout::Lines).vitals(false);
/// let (mut text, mut exact) = (String::new(), String::new());
/// let written = lines.encode(&runtime.collect(), &mut text);
/// assert_eq!(text, "document.saved{recorder=\"storage\"} 8.13 KiB\n");
/// assert_eq!(written.series(), 1);
/// let _ = lines.exact(true).encode(&runtime.collect(), &mut exact);
/// assert_eq!(exact, "document.saved{recorder=\"storage\"} 8330 By\n");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    selection: Selection,
    layout: Layout,
    colours: bool,
    exact: bool,
}

/// ANSI sequences, empty without colours.
struct Paint {
    head: &'static str,
    name: &'static str,
    labels: &'static str,
    end: &'static str,
}

const PLAIN: Paint = Paint { head: "", name: "", labels: "", end: "" };
const COLOURED: Paint = Paint { head: "\x1b[1m", name: "\x1b[36m", labels: "\x1b[2m", end: "\x1b[0m" };

/// The texts of one series.
struct Cells {
    name: String,
    labels: String,
    value: String,
}

impl Encoder {
    /// A table without colours, with values in sizes that fit, each recorder by itself, and what the runtime says of itself.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with colours if `stream` is a terminal and the variable `NO_COLOR` is absent or empty, as <https://no-color.org> has it.
    /// Both are looked at here, once.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::MetricsRuntime;
    /// use mvx_metrics::export::console::Encoder;
    ///
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// let mut text = String::new();
    /// let file = std::fs::File::open("Cargo.toml")?; // no terminal
    /// let _ = Encoder::for_stream(&file).encode(&runtime.collect(), &mut text);
    /// assert!(!text.contains('\x1b'));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn for_stream(stream: &impl IsTerminal) -> Self {
        let colours = wants_colours(stream.is_terminal(), std::env::var_os("NO_COLOR").as_deref());
        Self { colours, ..Self::default() }
    }

    /// A table or lines.
    #[must_use]
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// With colours or without, whatever was found.
    #[must_use]
    pub fn colours(mut self, colours: bool) -> Self {
        self.colours = colours;
        self
    }

    /// Every number as it is, with the unit's code; otherwise rounded, in a size that fits.
    #[must_use]
    pub fn exact(mut self, exact: bool) -> Self {
        self.exact = exact;
        self
    }

    /// Shows recorders one by one or folded.
    #[must_use]
    pub fn fold(mut self, fold: Fold) -> Self {
        self.selection.fold = fold;
        self
    }

    /// Shows what the runtime says of itself, as `mvx.*`, or leaves it out. It is shown unless said otherwise.
    #[must_use]
    pub fn vitals(mut self, shown: bool) -> Self {
        self.selection.vitals = shown;
        self
    }

    /// Appends the snapshot to `out`. Costs time in proportion to the text, for a table also memory, and never touches a recorder.
    pub fn encode(&self, snapshot: &RuntimeSnapshot, out: &mut String) -> Written {
        let mut written = Written::default();
        let mut cells = Vec::new();
        for family in self.selection.families(snapshot, &mut written) {
            for row in rows(&family) {
                match self.cells(row) {
                    Some(texts) => cells.push(texts),
                    None => written.omit(row.descriptor, UNKNOWN, 1),
                }
            }
        }
        written.series = cells.len() as u64;
        let paint = if self.colours { COLOURED } else { PLAIN };
        match self.layout {
            Layout::Table => table(out, snapshot, &cells, &paint),
            Layout::Lines => cells.iter().for_each(|texts| {
                let Cells { name, labels, value } = texts;
                let (of_name, of_labels) =
                    (painted(name, paint.name, &paint), painted(labels, paint.labels, &paint));
                push!(out, "{of_name}{of_labels} {value}\n");
            }),
        }
        written
    }

    /// Writes the snapshot to `writer`, at once, and flushes it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] with the writer's error as source; a part of the text may be out then.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::MetricsRuntime;
    /// use mvx_metrics::export::console::Encoder;
    ///
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// let mut shown = Vec::new(); // mostly `std::io::stderr()`
    /// let written = Encoder::new().vitals(false).write(&runtime.collect(), &mut shown)?;
    /// assert!(shown.starts_with(b"docs at ") && written.series() == 0);
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn write(&self, snapshot: &RuntimeSnapshot, writer: &mut dyn io::Write) -> Result<Written, Error> {
        let mut text = String::new();
        let written = self.encode(snapshot, &mut text);
        let done = writer.write_all(text.as_bytes()).and_then(|()| writer.flush());
        done.map(|()| written).map_err(|error| {
            let message = format!("a snapshot could not be shown: {error}; a part of it may be out");
            Error::new(ErrorKind::Io, message).with_source(error)
        })
    }

    /// An exporter that writes each snapshot to `writer` as [`write`](Self::write) does: for [`MetricsRuntime::add_exporter`]. It may block
    /// as long as the writer does.
    ///
    /// [`MetricsRuntime::add_exporter`]: crate::MetricsRuntime::add_exporter
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::MetricsRuntime;
    /// use mvx_metrics::export::Schedule;
    /// use mvx_metrics::export::console::Encoder;
    /// use std::time::Duration;
    ///
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// let shown = Encoder::for_stream(&std::io::stderr()).into_exporter(std::io::stderr());
    /// runtime.add_exporter("console", Schedule::every(Duration::from_secs(10)), shown)?;
    /// runtime.shutdown(Duration::from_secs(5))?; // shows the last state
    /// assert_eq!(runtime.exporters()[0].delivered, 1);
    /// # Ok::<(), mvx_metrics::Error>(())
    /// ```
    pub fn into_exporter<W: io::Write + Send + 'static>(self, writer: W) -> impl Exporter + use<W> {
        Stream::new(writer, move |snapshot, writer| self.write(snapshot, writer))
    }

    fn cells(&self, row: Row<'_>) -> Option<Cells> {
        let (mut labels, mut value) = (String::new(), String::new());
        write::labels(&mut labels, row);
        let unit = row.descriptor.unit();
        if !self.exact {
            push!(value, "{}", row.series.value().in_unit(unit));
        } else if !write::exact(&mut value, row.series.value(), unit) {
            return None;
        }
        Some(Cells { name: row.descriptor.name().to_string(), labels, value })
    }
}

fn table(out: &mut String, snapshot: &RuntimeSnapshot, cells: &[Cells], paint: &Paint) {
    let width = |head: &str, of: fn(&Cells) -> &str| {
        let widths = cells.iter().map(|texts| of(texts).chars().count());
        widths.filter(|width| *width <= MAX_PADDING).max().unwrap_or(0).max(head.len())
    };
    let (names, labels) = (width("METRIC", |texts| &texts.name), width("LABELS", |texts| &texts.labels));
    let nanos = snapshot.taken_at().unix_nanos();
    let Paint { head, end, .. } = paint;
    let (seconds, millis) = (nanos / 1_000_000_000, nanos / 1_000_000 % 1_000);
    push!(out, "{head}{} at {seconds}.{millis:03}{end}\n", snapshot.namespace().escape_debug());
    push!(out, "{head}{:names$}  {:labels$}  VALUE{end}\n", "METRIC", "LABELS");
    for texts in cells {
        column(out, &texts.name, names, paint.name, paint);
        column(out, &texts.labels, labels, paint.labels, paint);
        push!(out, "{}\n", texts.value);
    }
}

/// A text, painted, and spaces up to the next column.
fn column(out: &mut String, text: &str, width: usize, start: &str, paint: &Paint) {
    out.push_str(&painted(text, start, paint));
    let spaces = width.saturating_sub(text.chars().count()) + 2;
    push!(out, "{:spaces$}", "");
}

fn painted(text: &str, start: &str, paint: &Paint) -> String {
    if text.is_empty() { String::new() } else { format!("{start}{text}{}", paint.end) }
}

fn wants_colours(terminal: bool, no_color: Option<&OsStr>) -> bool {
    terminal && no_color.is_none_or(OsStr::is_empty)
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_and_for_those_who_have_not_refused_them() {
        for (terminal, no_color, expected) in [
            (true, None, true),
            (true, Some(""), true),
            (true, Some("0"), false),
            (true, Some("1"), false),
            (false, None, false),
            (false, Some(""), false),
        ] {
            assert_eq!(
                wants_colours(terminal, no_color.map(OsStr::new)),
                expected,
                "{terminal} {no_color:?}"
            );
        }
    }
}
