//! The rivals of B3 to B6: the same five instruments, updated by the caller itself.
//!
//! Each is used as its documentation tells: typed labels where it has them, static strings where it has not, and what can be built once for an
//! event is built once.

use crate::bursts::Target;
use crate::event::Saved;
use crate::five::SECONDS;
use crate::five::SIZES;
use crate::five::TENANTS;
use crate::five::Tier;
use crate::five::tenants;
use metrics::Recorder;
use metrics::SharedString;
use metrics_exporter_prometheus::PrometheusBuilder;
use metrics_exporter_prometheus::PrometheusRecorder;
use opentelemetry::KeyValue;
use opentelemetry::StringValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::ManualReader;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Something that the caller updates with one event.
pub trait Update {
    fn update(&self, event: Saved);

    /// What the library does apart from the caller, and is not counted as the caller's.
    fn upkeep(&self) {}
}

/// An update as a target: it counts what it has done, by a plain load and store, since one thread pushes.
pub struct Inline<U> {
    pub update: U,
    done: AtomicU64,
}

impl<U> Inline<U> {
    pub const fn new(update: U) -> Self {
        Self { update, done: AtomicU64::new(0) }
    }
}

impl<U: Update + Sync> Target for Inline<U> {
    #[inline(always)]
    fn push(&self, number: u64) {
        self.update.update(Saved::numbered(number));
        self.done.store(self.done.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    fn refused(&self) -> u64 {
        0
    }

    fn processed(&self) -> u64 {
        self.done.load(Ordering::Acquire)
    }

    fn burst_is_over(&self) {
        self.update.upkeep();
    }
}

fn seconds(event: &Saved) -> f64 {
    Duration::from_nanos(event.elapsed_nanos).as_secs_f64()
}

/// Histograms of prometheus-client, which need bounds when they are made.
type Made<L> = Family<L, Histogram, fn() -> Histogram>;

/// prometheus-client's families, by labels of a type.
pub struct Families<L: Clone + std::hash::Hash + Eq> {
    saves: Family<L, Counter>,
    saved: Family<L, Counter>,
    last: Family<L, Gauge>,
    took: Made<L>,
    sizes: Made<L>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Fixed {
    outcome: &'static str,
    tier: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Tenant {
    outcome: &'static str,
    tenant: Arc<str>,
}

impl<L: Clone + std::hash::Hash + Eq> Families<L> {
    fn new() -> Self {
        Self {
            saves: Family::default(),
            saved: Family::default(),
            last: Family::default(),
            took: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            sizes: Family::new_with_constructor(|| Histogram::new(SIZES)),
        }
    }

    fn observe(&self, labels: &L, event: &Saved) {
        self.saves.get_or_create(labels).inc();
        self.saved.get_or_create(labels).inc_by(event.bytes);
        self.last.get_or_create(labels).set(event.bytes as i64);
        self.took.get_or_create(labels).observe(seconds(event));
        self.sizes.get_or_create(labels).observe(event.bytes as f64);
    }
}

pub struct ClientFamilies(Families<Fixed>);

impl ClientFamilies {
    pub fn new() -> Self {
        Self(Families::new())
    }
}

impl Update for ClientFamilies {
    #[inline(always)]
    fn update(&self, event: Saved) {
        self.0.observe(&Fixed { outcome: event.outcome.name(), tier: Tier::of(event.bytes).name() }, &event);
    }
}

pub struct ClientTenants {
    families: Families<Tenant>,
    tenants: Vec<Arc<str>>,
}

impl ClientTenants {
    pub fn new() -> Self {
        Self { families: Families::new(), tenants: tenants() }
    }
}

impl Update for ClientTenants {
    #[inline(always)]
    fn update(&self, event: Saved) {
        let tenant = Arc::clone(&self.tenants[event.bytes as usize % TENANTS]);
        self.families.observe(&Tenant { outcome: event.outcome.name(), tenant }, &event);
    }
}

/// The macros of `metrics`, over the recorder of metrics-exporter-prometheus.
pub struct Macros {
    recorder: PrometheusRecorder,
    tenants: Option<Vec<Arc<str>>>,
}

impl Macros {
    pub fn new(with_tenants: bool) -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        Self { recorder, tenants: with_tenants.then(tenants) }
    }
}

impl Update for Macros {
    #[inline(always)]
    fn update(&self, event: Saved) {
        let outcome = event.outcome.name();
        let (took, bytes) = (seconds(&event), event.bytes);
        // What the macros do with a global recorder, but for the look at which it is.
        macro_rules! all {
            ($key:literal, $value:expr) => {{
                metrics::with_local_recorder(&self.recorder, || {
                    metrics::counter!("saves", "outcome" => outcome, $key => $value).increment(1);
                    metrics::counter!("saved", "outcome" => outcome, $key => $value).increment(bytes);
                    metrics::gauge!("last", "outcome" => outcome, $key => $value).set(bytes as f64);
                    metrics::histogram!("took", "outcome" => outcome, $key => $value).record(took);
                    metrics::histogram!("sizes", "outcome" => outcome, $key => $value).record(bytes as f64);
                });
            }};
        }
        match &self.tenants {
            None => {
                let tier = Tier::of(event.bytes).name();
                all!("tier", tier);
            }
            Some(tenants) => {
                let tenant = SharedString::from(Arc::clone(&tenants[event.bytes as usize % TENANTS]));
                all!("tenant", tenant.clone());
            }
        }
    }

    /// Its histograms keep every value until somebody asks.
    fn upkeep(&self) {
        self.recorder.handle().run_upkeep();
    }
}

/// OpenTelemetry's SDK, with attributes.
pub struct Sdk {
    saves: opentelemetry::metrics::Counter<u64>,
    saved: opentelemetry::metrics::Counter<u64>,
    last: opentelemetry::metrics::Gauge<u64>,
    took: opentelemetry::metrics::Histogram<f64>,
    sizes: opentelemetry::metrics::Histogram<u64>,
    tenants: Option<Vec<Arc<str>>>,
    _provider: SdkMeterProvider,
}

impl Sdk {
    pub fn new(with_tenants: bool) -> Self {
        let provider = SdkMeterProvider::builder().with_reader(ManualReader::default()).build();
        let meter = provider.meter("rivals");
        Self {
            saves: meter.u64_counter("saves").build(),
            saved: meter.u64_counter("saved").build(),
            last: meter.u64_gauge("last").build(),
            took: meter.f64_histogram("took").with_boundaries(SECONDS.to_vec()).build(),
            sizes: meter.u64_histogram("sizes").with_boundaries(SIZES.to_vec()).build(),
            tenants: with_tenants.then(tenants),
            _provider: provider,
        }
    }
}

impl Update for Sdk {
    #[inline(always)]
    fn update(&self, event: Saved) {
        let outcome = KeyValue::new("outcome", event.outcome.name());
        let second = match &self.tenants {
            None => KeyValue::new("tier", Tier::of(event.bytes).name()),
            Some(tenants) => {
                let tenant = Arc::clone(&tenants[event.bytes as usize % TENANTS]);
                KeyValue::new("tenant", StringValue::from(tenant))
            }
        };
        let attributes = [outcome, second];
        self.saves.add(1, &attributes);
        self.saved.add(event.bytes, &attributes);
        self.last.record(event.bytes, &attributes);
        self.took.record(seconds(&event), &attributes);
        self.sizes.record(event.bytes, &attributes);
    }
}

/// Five handles of prometheus-client, found once.
pub struct ClientHandles {
    saves: Counter,
    saved: Counter,
    last: Gauge,
    took: Histogram,
    sizes: Histogram,
}

impl ClientHandles {
    pub fn new() -> Self {
        Self {
            saves: Counter::default(),
            saved: Counter::default(),
            last: Gauge::default(),
            took: Histogram::new(SECONDS),
            sizes: Histogram::new(SIZES),
        }
    }
}

impl Update for ClientHandles {
    #[inline(always)]
    fn update(&self, event: Saved) {
        self.saves.inc();
        self.saved.inc_by(event.bytes);
        self.last.set(event.bytes as i64);
        self.took.observe(seconds(&event));
        self.sizes.observe(event.bytes as f64);
    }
}

/// Five handles of the crate `prometheus`, found once.
pub struct PrometheusHandles {
    saves: prometheus::IntCounter,
    saved: prometheus::IntCounter,
    last: prometheus::IntGauge,
    took: prometheus::Histogram,
    sizes: prometheus::Histogram,
}

impl PrometheusHandles {
    pub fn new() -> Result<Self, prometheus::Error> {
        let histogram = |name: &str, bounds: &[f64]| {
            prometheus::Histogram::with_opts(
                prometheus::HistogramOpts::new(name, name).buckets(bounds.to_vec()),
            )
        };
        Ok(Self {
            saves: prometheus::IntCounter::new("saves", "saves")?,
            saved: prometheus::IntCounter::new("saved", "saved")?,
            last: prometheus::IntGauge::new("last", "last")?,
            took: histogram("took", &SECONDS)?,
            sizes: histogram("sizes", &SIZES)?,
        })
    }
}

impl Update for PrometheusHandles {
    #[inline(always)]
    fn update(&self, event: Saved) {
        self.saves.inc();
        self.saved.inc_by(event.bytes);
        self.last.set(event.bytes as i64);
        self.took.observe(seconds(&event));
        self.sizes.observe(event.bytes as f64);
    }
}

/// Five handles of `metrics`, found once.
pub struct MacroHandles {
    saves: metrics::Counter,
    saved: metrics::Counter,
    last: metrics::Gauge,
    took: metrics::Histogram,
    sizes: metrics::Histogram,
    recorder: PrometheusRecorder,
}

impl MacroHandles {
    pub fn new() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let metadata = metrics::Metadata::new("rivals", metrics::Level::INFO, None);
        let key = metrics::Key::from_name;
        Self {
            saves: recorder.register_counter(&key("saves"), &metadata),
            saved: recorder.register_counter(&key("saved"), &metadata),
            last: recorder.register_gauge(&key("last"), &metadata),
            took: recorder.register_histogram(&key("took"), &metadata),
            sizes: recorder.register_histogram(&key("sizes"), &metadata),
            recorder,
        }
    }
}

impl Update for MacroHandles {
    #[inline(always)]
    fn update(&self, event: Saved) {
        self.saves.increment(1);
        self.saved.increment(event.bytes);
        self.last.set(event.bytes as f64);
        self.took.record(seconds(&event));
        self.sizes.record(event.bytes as f64);
    }

    fn upkeep(&self) {
        self.recorder.handle().run_upkeep();
    }
}
