//! The exporter: from a snapshot to datagrams.

use crate::export::exporter::ExportError;
use crate::export::exporter::Exporter as Exports;
use crate::export::rows::Row;
use crate::export::rows::Selection;
use crate::export::rows::UNKNOWN;
use crate::export::rows::Written;
use crate::export::rows::rows;
use crate::export::statsd::ledger::Entry;
use crate::export::statsd::ledger::Ledger;
use crate::export::statsd::ledger::Life;
use crate::export::statsd::ledger::Step;
use crate::export::statsd::ledger::Total;
use crate::export::statsd::lines::Dialect;
use crate::export::statsd::lines::Line;
use crate::export::statsd::lines::LineWriter;
use crate::export::statsd::lines::Value;
use crate::export::statsd::lines::each;
use crate::export::statsd::link::Address;
use crate::export::statsd::link::Link;
use crate::export::statsd::sent::Sent;
use crate::model::error::Error;
use crate::model::error::ErrorKind;
use crate::model::limits;
use crate::model::name::MetricName;
use crate::model::snapshot::Number;
use crate::runtime::collection::Fold;
use crate::runtime::collection::RuntimeSnapshot;
use crate::runtime::collection::scope::Scope;
use std::collections::VecDeque;
#[cfg(unix)]
use std::path::PathBuf;
use std::time::Duration;

/// Sends snapshots to a StatsD or DogStatsD receiver: for [`MetricsRuntime::add_exporter`](crate::MetricsRuntime::add_exporter).
///
/// The [page of the module](super) says what is written for each kind of metric, and what can be lost. A delivery costs time in proportion to
/// the series, and memory for each counter: its name, its tags and what was sent of it.
///
/// # Examples
///
/// ```
/// use mvx_metrics::export::{Schedule, statsd};
/// use mvx_metrics::prelude::*;
/// use std::net::UdpSocket;
/// use std::time::Duration;
///
/// # struct Saved; impl MetricEvent for Saved { fn event_type(&self) -> &'static str { "saved" } }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let receiver = UdpSocket::bind("127.0.0.1:0")?; // an agent, which listens on port 8125
/// let exporter = statsd::Exporter::udp(&receiver.local_addr()?.to_string()).vitals(false).build()?;
/// let sent = exporter.sent();
///
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.start()?;
/// runtime.add_exporter("statsd", Schedule::every(Duration::from_secs(10)), exporter)?;
/// let storage = runtime.recorder::<Saved>("storage").counter("document.saves", |c| c.label("ok", |_| true.into())).create()?;
/// let mut datagram = [0; 2_048];
/// for expected in ["document.saves:2|c|#ok:true", "document.saves:1|c|#ok:true"] {
///     for _ in 0..if expected.contains('2') { 2 } else { 1 } {
///         storage.register_event(Saved);
///     }
///     runtime.force_flush(Duration::from_secs(5))?;
///     let bytes = receiver.recv(&mut datagram)?;
///     assert_eq!(std::str::from_utf8(&datagram[..bytes])?, expected); // what is new
/// }
/// assert_eq!((sent.datagrams(), sent.last().omitted().len()), (2, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Exporter {
    link: Link,
    writer: LineWriter,
    selection: Selection,
    buckets: bool,
    most_bytes: usize,
    ledger: Ledger,
    sent: Sent,
}

/// Collects the options of an [`Exporter`]; mistakes are told by [`build`](Self::build).
#[derive(Clone, Debug)]
#[must_use = "an exporter is made by `build`"]
pub struct ExporterBuilder {
    address: Address,
    dialect: Dialect,
    prefix: String,
    selection: Selection,
    buckets: bool,
    most_bytes: usize,
    most_counters: usize,
}

const TOO_LONG: &str = "its line is longer than a datagram";
const CLASH: &str =
    "another series is written by this name and these tags; rename a metric, or change a label";
const FULL: &str = "more counters are remembered than the exporter may";
const NOT_FINITE: &str = "its value is not finite";

/// Datagrams that are sent in one go before others of the loop have their turn, and the delivery can be cut.
const IN_ONE_GO: u64 = 64;

impl Exporter {
    /// An exporter that sends to a UDP port, by `host:port`: an address, or a name, which is looked up when it is needed and now and then.
    pub fn udp(address: &str) -> ExporterBuilder {
        ExporterBuilder::new(Address::Udp(address.trim().to_owned()), limits::STATSD_UDP_BYTES)
    }

    /// An exporter that sends to a unix datagram socket, which need not be there yet.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::export::{Schedule, statsd};
    /// use mvx_metrics::MetricsRuntime;
    /// use std::os::unix::net::UnixDatagram;
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let directory = tempfile::tempdir()?;
    /// let path = directory.path().join("statsd.sock");
    /// let receiver = UnixDatagram::bind(&path)?;
    /// let runtime = MetricsRuntime::builder("docs").build()?;
    /// runtime.add_exporter("statsd", Schedule::on_demand(), statsd::Exporter::unix(&path).build()?)?;
    /// runtime.shutdown(Duration::from_secs(5))?; // sends the last state
    /// let mut datagram = [0; 8_192];
    /// let bytes = receiver.recv(&mut datagram)?;
    /// assert!(std::str::from_utf8(&datagram[..bytes])?.contains("mvx.publication.interval:0.0001|g"));
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(unix)]
    pub fn unix(path: impl Into<PathBuf>) -> ExporterBuilder {
        ExporterBuilder::new(Address::Unix(path.into()), limits::STATSD_UNIX_BYTES)
    }

    /// What it has sent, also when it has become a runtime's.
    pub fn sent(&self) -> Sent {
        self.sent.clone()
    }
}

impl ExporterBuilder {
    fn new(address: Address, most_bytes: usize) -> Self {
        Self {
            address,
            dialect: Dialect::default(),
            prefix: String::new(),
            selection: Selection { fold: Fold::Group, ..Selection::of_numbers() },
            buckets: false,
            most_bytes,
            most_counters: limits::STATSD_COUNTERS,
        }
    }

    /// Speaks this dialect; [`Dialect::DogStatsD`] unless said.
    ///
    /// # Examples
    ///
    /// ```
    /// use mvx_metrics::ErrorKind;
    /// use mvx_metrics::export::statsd::{Dialect, Exporter};
    ///
    /// let exporter = Exporter::udp("127.0.0.1:8125").dialect(Dialect::Plain).prefix("shop").build();
    /// assert!(exporter.is_ok());
    /// let error = Exporter::udp("127.0.0.1").build().unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidAddress);
    /// ```
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// Begins every name with these dotted words: `document.saves` becomes `shop.document.saves`.
    pub fn prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// Shows recorders one by one, or folded, which is the default: then nothing is lost with a recorder that is removed between two deliveries.
    pub fn fold(mut self, fold: Fold) -> Self {
        self.selection.fold = fold;
        self
    }

    /// Sends what the runtime says of itself, as `mvx.*`, or leaves it out. It is sent unless said otherwise: what was lost should not go unseen.
    pub fn vitals(mut self, sent: bool) -> Self {
        self.selection.vitals = sent;
        self
    }

    /// Sends a counter for each bucket of explicit bounds, with its bounds in the tags `lower_bound` and `upper_bound`. Not unless said: it is
    /// a line for each.
    pub fn buckets(mut self, sent: bool) -> Self {
        self.buckets = sent;
        self
    }

    /// Sends datagrams of so many bytes at most, [`STATSD_UDP_BYTES`](limits::STATSD_UDP_BYTES) or [`STATSD_UNIX_BYTES`](limits::STATSD_UNIX_BYTES) unless
    /// said: what one packet of the network takes, and what Datadog's agent reads.
    pub fn datagram_bytes(mut self, most: usize) -> Self {
        self.most_bytes = most;
        self
    }

    /// Remembers so many counters at most for their deltas, [`STATSD_COUNTERS`](limits::STATSD_COUNTERS) unless said. Others are left out and
    /// counted.
    pub fn counters(mut self, most: usize) -> Self {
        self.most_counters = most;
        self
    }

    /// The exporter. Nothing is looked up or connected before its first delivery.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidAddress`] for what is no `host:port`, [`ErrorKind::InvalidName`] for a prefix that is no dotted words, and
    /// [`ErrorKind::InvalidLimit`] for datagrams beyond [`MAX_DATAGRAM_BYTES`](limits::MAX_DATAGRAM_BYTES) or below
    /// [`MIN_DATAGRAM_BYTES`](limits::MIN_DATAGRAM_BYTES).
    pub fn build(self) -> Result<Exporter, Error> {
        self.address.check()?;
        if !self.prefix.is_empty() {
            MetricName::new(&self.prefix)?;
        }
        let (least, most) = (limits::MIN_DATAGRAM_BYTES, limits::MAX_DATAGRAM_BYTES);
        if !(least..=most).contains(&self.most_bytes) {
            let message =
                format!("a datagram of StatsD has {least} to {most} bytes; choose a limit of those");
            return Err(Error::new(ErrorKind::InvalidLimit, message));
        }
        Ok(Exporter {
            link: Link::new(self.address),
            writer: LineWriter::new(self.dialect, &self.prefix),
            selection: self.selection,
            buckets: self.buckets,
            most_bytes: self.most_bytes,
            ledger: Ledger::new(self.most_counters),
            sent: Sent::default(),
        })
    }
}

impl Exports for Exporter {
    /// A delivery that is cut or fails has sent a part; the next one sends the rest.
    async fn export(&mut self, snapshot: &RuntimeSnapshot, _within: Duration) -> Result<(), ExportError> {
        let mut written = Written::default();
        let mut batch = Batch::new(self.most_bytes);
        self.ledger.begin();
        for family in self.selection.families(snapshot, &mut written) {
            for row in rows(&family) {
                self.write(&row, &mut batch, &mut written);
                while let Some(datagram) = batch.full.pop_front() {
                    self.send(datagram).await?;
                }
            }
        }
        if let Some(datagram) = batch.rest() {
            self.send(datagram).await?;
        }
        self.ledger.end();
        self.sent.complete(written, self.ledger.len());
        Ok(())
    }

    async fn shutdown(&mut self, _within: Duration) -> Result<(), ExportError> {
        self.link.close();
        Ok(())
    }
}

impl Exporter {
    /// Writes what is new of a series.
    fn write(&mut self, row: &Row<'_>, batch: &mut Batch, written: &mut Written) {
        let Self { writer, ledger, buckets, .. } = self;
        let life = life_of(row);
        let mut left_out = None;
        writer.begin(row);
        let is_known = each(row.series.value(), *buckets, |line| {
            if let Err(reason) = write_line(writer, ledger, batch, life, &line) {
                left_out = Some(reason);
            }
        });
        let left_out = if is_known { left_out } else { Some(UNKNOWN) };
        match left_out {
            Some(reason) => written.omit(row.descriptor, reason, 1),
            None => written.series += 1,
        }
    }

    async fn send(&mut self, datagram: Datagram) -> Result<(), ExportError> {
        self.link.send(datagram.text.as_bytes()).await?;
        // From here to the next `await` nothing cuts.
        self.ledger.enter(datagram.entries);
        self.sent.add_datagram(datagram.lines);
        if self.sent.datagrams() % IN_ONE_GO == 0 {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

fn life_of(row: &Row<'_>) -> Life {
    let incarnation = match row.part.scope() {
        Scope::Recorder { epoch, .. } => epoch.incarnation,
        _ => 0,
    };
    Life { incarnation, started: row.series.started() }
}

fn write_line(
    writer: &mut LineWriter,
    ledger: &mut Ledger,
    batch: &mut Batch,
    life: Life,
    line: &Line<'_>,
) -> Result<(), &'static str> {
    let key = writer.key(line);
    if !ledger.is_first(key) {
        return Err(CLASH);
    }
    let step = match line.value {
        Value::Count(count) => ledger.step(key, life, Total::Count(count), true),
        Value::Sum { sum, rises } => ledger.step(key, life, Total::Sum(sum), rises),
        Value::Level(Number::F64(level)) if !level.is_finite() => Step::NotFinite,
        Value::Level(level) => {
            let (text, lines) = writer.line(level, "g");
            return if batch.add(text, lines, None) { Ok(()) } else { Err(TOO_LONG) };
        }
    };
    let (new, entry) = match step {
        Step::Nothing => return Ok(()),
        Step::Send(Total::Count(new), entry) => (Number::U64(new), entry),
        Step::Send(Total::Sum(new), entry) => (Number::F64(new), entry),
        Step::NotFinite => return Err(NOT_FINITE),
        Step::Full => return Err(FULL),
    };
    let (text, lines) = writer.line(new, "c");
    if batch.add(text, lines, Some(entry)) { Ok(()) } else { Err(TOO_LONG) }
}

/// Lines on their way into datagrams.
struct Batch {
    most_bytes: usize,
    open: Datagram,
    full: VecDeque<Datagram>,
}

/// Lines that are sent together, and what is entered when they are.
#[derive(Default)]
struct Datagram {
    text: String,
    lines: u64,
    entries: Vec<Entry>,
}

impl Batch {
    fn new(most_bytes: usize) -> Self {
        Self { most_bytes, open: Datagram::default(), full: VecDeque::new() }
    }

    /// Adds lines that belong into one datagram; false if none is long enough.
    fn add(&mut self, text: &str, lines: u64, entry: Option<Entry>) -> bool {
        if text.len() > self.most_bytes {
            return false;
        }
        let with_break = self.open.text.len().saturating_add(1).saturating_add(text.len());
        if with_break > self.most_bytes && !self.open.text.is_empty() {
            self.full.push_back(std::mem::take(&mut self.open));
        }
        let open = &mut self.open;
        if !open.text.is_empty() {
            open.text.push('\n');
        }
        open.text.push_str(text);
        open.lines += lines;
        open.entries.extend(entry);
        true
    }

    fn rest(&mut self) -> Option<Datagram> {
        let open = std::mem::take(&mut self.open);
        (!open.text.is_empty()).then_some(open)
    }
}
