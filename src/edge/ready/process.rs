//! This process, as the operating system sees it.

#[cfg(target_os = "linux")]
use crate::edge::ready::linux;
use crate::model::clock::Timestamp;
use crate::model::error::Error;
use crate::model::label::LabelSet;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::ExactSum;
use crate::model::snapshot::Kind;
use crate::model::unit::Unit;
use crate::runtime::collection::source::Source;
use crate::runtime::collection::source::SourceWriter;
use std::sync::Arc;
use std::time::Duration;

/// What the operating system says of this process. Its names in Prometheus are those that Prometheus's own client libraries give.
///
/// | metric | in Prometheus |
/// |---|---|
/// | `process.cpu` | `process_cpu_seconds_total`: user and system time of all threads, in hundredths of a second |
/// | `process.open_fds` | `process_open_fds` |
/// | `process.max_fds` | `process_max_fds`: the soft limit; left out where there is none |
/// | `process.virtual_memory` | `process_virtual_memory_bytes` |
/// | `process.resident_memory` | `process_resident_memory_bytes` |
/// | `process.start_time` | `process_start_time_seconds`: since the Unix epoch |
/// | `process.threads` | `process_threads` |
///
/// It reads `/proc`, on Linux. Elsewhere the standard library has none of this, and the source declares no metric, so a program adds it
/// everywhere and shows what there is: [`is_supported`](Self::is_supported) tells. A look costs the reading of a few small files;
/// kernels before 6.2 also list every open file descriptor.
///
/// # Examples
///
/// ```
/// use mvx_metrics::MetricsRuntime;
/// use mvx_metrics::sources::ProcessSource;
/// use std::time::Duration;
///
/// let runtime = MetricsRuntime::builder("docs").build()?;
/// runtime.add_source("process", Duration::from_secs(5), ProcessSource::new()?)?;
/// runtime.refresh_sources(); // exporters and servers do it by themselves
/// let names: Vec<_> = runtime.catalogue().iter().map(|entry| entry.descriptor.name().to_string()).collect();
/// assert_eq!(names.contains(&"process.resident_memory".to_owned()), ProcessSource::is_supported());
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
#[derive(Debug)]
pub struct ProcessSource {
    cpu: Arc<Descriptor>,
    open_fds: Arc<Descriptor>,
    max_fds: Arc<Descriptor>,
    virtual_memory: Arc<Descriptor>,
    resident_memory: Arc<Descriptor>,
    start_time: Arc<Descriptor>,
    threads: Arc<Descriptor>,
    /// Read once: a process starts once, and the machine's own answer moves with its clock.
    started: Option<Duration>,
}

/// What one look has found; nothing for what could not be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reading {
    pub(super) cpu: Option<Duration>,
    pub(super) open_fds: Option<u64>,
    pub(super) max_fds: Option<u64>,
    pub(super) virtual_bytes: Option<u64>,
    pub(super) resident_bytes: Option<u64>,
    /// Since the Unix epoch.
    pub(super) started: Option<Duration>,
    pub(super) threads: Option<u64>,
}

impl ProcessSource {
    /// A source of this process.
    ///
    /// # Errors
    ///
    /// None today; they are there for what a later version reads.
    pub fn new() -> Result<Self, Error> {
        let gauge = |name, unit, help| Descriptor::builder(name, Kind::Gauge).unit(unit).help(help).build();
        let cpu = Descriptor::builder("process.cpu", Kind::FloatCounter).unit(Unit::Seconds);
        Ok(Self {
            cpu: cpu.help("Total user and system CPU time spent.").build()?,
            open_fds: gauge("process.open_fds", Unit::None, "Number of open file descriptors.")?,
            max_fds: gauge("process.max_fds", Unit::None, "Maximum number of open file descriptors.")?,
            virtual_memory: gauge("process.virtual_memory", Unit::Bytes, "Virtual memory size.")?,
            resident_memory: gauge("process.resident_memory", Unit::Bytes, "Resident memory size.")?,
            start_time: gauge(
                "process.start_time",
                Unit::Seconds,
                "Start time of the process since the Unix epoch.",
            )?,
            threads: gauge("process.threads", Unit::None, "Number of threads.")?,
            started: None,
        })
    }

    /// Whether this system tells anything; where it does not, the source declares no metric.
    pub const fn is_supported() -> bool {
        cfg!(target_os = "linux")
    }
}

impl Source for ProcessSource {
    fn descriptors(&self) -> Vec<Arc<Descriptor>> {
        if !Self::is_supported() {
            return Vec::new();
        }
        let Self { cpu, open_fds, max_fds, virtual_memory, resident_memory, start_time, threads, .. } = self;
        [cpu, open_fds, max_fds, virtual_memory, resident_memory, start_time, threads]
            .map(Arc::clone)
            .to_vec()
    }

    fn collect(&mut self, writer: &mut SourceWriter<'_>) {
        let reading = read();
        self.started = self.started.or(reading.started);
        let labels = LabelSet::empty();
        if let (Some(mut family), Some(cpu)) = (writer.family(&self.cpu), reading.cpu) {
            let mut sum = ExactSum::default();
            sum.add_duration(cpu);
            let epoch = Timestamp::default();
            family
                .started(epoch.saturating_add(self.started.unwrap_or_default()))
                .float_counter(&labels, &sum);
        }
        let counted = |count: Option<u64>| count.map(|count| count as f64);
        for (gauge, value) in [
            (&self.open_fds, counted(reading.open_fds)),
            (&self.max_fds, counted(reading.max_fds)),
            (&self.virtual_memory, counted(reading.virtual_bytes)),
            (&self.resident_memory, counted(reading.resident_bytes)),
            (&self.start_time, self.started.map(|started| started.as_secs_f64())),
            (&self.threads, counted(reading.threads)),
        ] {
            if let (Some(mut family), Some(value)) = (writer.family(gauge), value) {
                family.gauge(&labels, value);
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn read() -> Reading {
    linux::read()
}

#[cfg(not(target_os = "linux"))]
fn read() -> Reading {
    Reading::default()
}
