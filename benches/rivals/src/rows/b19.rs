//! B19: a scrape of 10,000 series as text, each of them changed since the last.

use crate::Failure;
use crate::clocks;
use crate::rounds::Round;
use crate::rounds::interleave;
use crate::rows::Reading;
use crate::rows::Row;
use metrics_exporter_prometheus::PrometheusBuilder;
use metrics_exporter_prometheus::PrometheusRecorder;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::Recorder;
use mvx_metrics::export::prometheus::Encoder;
use mvx_metrics::export::prometheus::Format;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

/// Counters, and as many histograms.
const METRICS: usize = 5;

/// Of each.
const SERIES: u64 = 1_000;

/// Fourteen buckets.
const BOUNDS: [f64; 13] = [0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 25.0, 50.0, 75.0];

/// Samples of a text: a counter's one, a histogram's buckets, sum and count.
const SAMPLES: usize = METRICS * SERIES as usize * (1 + BOUNDS.len() + 3);

const PATIENCE: Duration = Duration::from_secs(60);

struct Stated(u64);

impl Stated {
    fn took(&self) -> f64 {
        self.0 as f64 / 10.0
    }
}

impl MetricEvent for Stated {
    fn event_type(&self) -> &'static str {
        "stated"
    }
}

pub(super) fn measure(rounds: usize) -> Result<Vec<Row>, Failure> {
    let ours = Ours::start()?;
    let (client, exporter) = (Client::new(), Exporter::new()?);
    let beside_client = interleave(rounds, || ours.scrape(), || client.scrape())?;
    let beside_exporter = interleave(rounds, || ours.scrape(), || exporter.scrape())?;
    let remarks = [client.bytes()?, exporter.bytes()].map(|theirs| {
        ours.bytes().map(|own| vec![format!("bytes of a scrape: {own} ours, {theirs} the rival's")])
    });
    let [of_client, of_exporter] = remarks;
    let (mut of_client, of_exporter) = (of_client?, of_exporter?);
    of_client.push(format!("of ours, the collection: {:.2} ms", ours.collection()));
    if !ours.runtime.shutdown(PATIENCE)?.is_complete() {
        return Err("the runtime did not end".into());
    }
    let row = |id, what, figures, bar, remarks| Row {
        id,
        what,
        unit: "ms scraper CPU",
        figures,
        reading: Reading::Ratio,
        bar,
        threads: 1,
        unchecked: None,
        remarks,
    };
    Ok(vec![
        row(
            "B19",
            "10 families x 1,000 changed series as text, from collecting; a Collector of prometheus-client",
            beside_client,
            0.5,
            of_client,
        ),
        row("B19b", "the same; metrics-exporter-prometheus", beside_exporter, 0.1, of_exporter),
    ])
}

/// What the calling thread takes for a text; all sides begin with an empty string each time.
fn timed(text: impl FnOnce() -> Result<String, Failure>) -> Result<Round, Failure> {
    let before = clocks::thread_cpu();
    let text = black_box(text()?);
    let spent = clocks::thread_cpu() - before;
    let samples = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count();
    if samples != SAMPLES {
        return Err(format!("{samples} samples instead of {SAMPLES}").into());
    }
    Ok(Round::Figure(spent as f64 / 1e6))
}

struct Ours {
    runtime: MetricsRuntime,
    recorder: Recorder<Stated>,
}

impl Ours {
    fn start() -> Result<Self, Failure> {
        let runtime = MetricsRuntime::builder("scrape").build()?;
        runtime.start()?;
        let mut builder = runtime.recorder::<Stated>("subject");
        for metric in 0..METRICS {
            builder = builder
                .counter(&format!("count.{metric}"), |c| c.label("n", |e| e.0.into()))
                .histogram(&format!("took.{metric}"), |h| {
                    h.bounds(&BOUNDS).label("n", |e| e.0.into()).value(|e| Some(e.took()))
                });
        }
        Ok(Self { recorder: builder.create()?, runtime })
    }

    fn scrape(&self) -> Result<Round, Failure> {
        (0..SERIES).for_each(|n| self.recorder.register_event(Stated(n)));
        self.runtime.flush_blocking(PATIENCE)?;
        timed(|| self.text())
    }

    fn text(&self) -> Result<String, Failure> {
        let mut text = String::new();
        let encoded = Encoder::new(Format::Text).vitals(false).encode(&self.runtime.collect(), &mut text);
        if !encoded.skipped().is_empty() {
            return Err(format!("something was left out: {:?}", encoded.skipped()).into());
        }
        Ok(text)
    }

    fn bytes(&self) -> Result<usize, Failure> {
        Ok(self.text()?.len())
    }

    /// Milliseconds of the part before the text.
    fn collection(&self) -> f64 {
        let before = clocks::thread_cpu();
        drop(black_box(self.runtime.collect()));
        (clocks::thread_cpu() - before) as f64 / 1e6
    }
}

/// The least that a program does that shows its own figures by prometheus-client: a collector that has them side by side.
struct Client {
    registry: Registry,
    figures: Arc<Mutex<Figures>>,
}

/// Values of each series; all metrics have the same.
#[derive(Clone, Copy, Debug, Default)]
struct One {
    count: u64,
    sum: f64,
    buckets: [(f64, u64); BOUNDS.len() + 1],
}

struct Figures {
    labels: Vec<[(&'static str, String); 2]>,
    names: Vec<[String; 2]>,
    series: Vec<One>,
}

/// Of exemplars, which there are none of.
type NoLabels = [(&'static str, &'static str); 0];

#[derive(Clone)]
struct Shown(Arc<Mutex<Figures>>);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let figures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for [count, took] in &figures.names {
            let mut family = encoder.encode_descriptor(count, "", None, MetricType::Counter)?;
            for (labels, one) in figures.labels.iter().zip(&figures.series) {
                family.encode_family(labels)?.encode_counter::<NoLabels, _, u64>(&one.count, None)?;
            }
            let mut family = encoder.encode_descriptor(took, "", None, MetricType::Histogram)?;
            for (labels, one) in figures.labels.iter().zip(&figures.series) {
                family.encode_family(labels)?.encode_histogram::<NoLabels>(
                    one.sum,
                    one.count,
                    &one.buckets,
                    None,
                )?;
            }
        }
        Ok(())
    }
}

impl Client {
    fn new() -> Self {
        let mut one = One::default();
        let bounds = BOUNDS.iter().copied().chain([f64::MAX]);
        one.buckets.iter_mut().zip(bounds).for_each(|(bucket, bound)| bucket.0 = bound);
        let figures = Arc::new(Mutex::new(Figures {
            labels: (0..SERIES).map(|n| [("recorder", "subject".to_owned()), ("n", n.to_string())]).collect(),
            names: (0..METRICS).map(|at| [format!("count_{at}"), format!("took_{at}")]).collect(),
            series: vec![one; SERIES as usize],
        }));
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Shown(Arc::clone(&figures))));
        Self { registry, figures }
    }

    fn scrape(&self) -> Result<Round, Failure> {
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        for (n, one) in figures.series.iter_mut().enumerate() {
            let took = Stated(n as u64).took();
            one.count += 1;
            one.sum += took;
            let bucket = one.buckets.iter_mut().find(|(bound, _)| took <= *bound);
            bucket.ok_or("a value is beyond every bucket")?.1 += 1;
        }
        drop(figures);
        timed(|| self.text())
    }

    fn text(&self) -> Result<String, Failure> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    fn bytes(&self) -> Result<usize, Failure> {
        Ok(self.text()?.len())
    }
}

/// The recorder behind the macros of `metrics`, with handles that are kept.
struct Exporter {
    recorder: PrometheusRecorder,
    series: Vec<Series>,
}

struct Series {
    counts: Vec<metrics::Counter>,
    tooks: Vec<metrics::Histogram>,
}

impl Exporter {
    fn new() -> Result<Self, Failure> {
        let recorder = PrometheusBuilder::new().set_buckets(&BOUNDS)?.build_recorder();
        let series = metrics::with_local_recorder(&recorder, || {
            let series = |n: u64| {
                Series {
                counts: (0..METRICS)
                    .map(|at| metrics::counter!(format!("count_{at}"), "recorder" => "subject", "n" => n.to_string()))
                    .collect(),
                tooks: (0..METRICS)
                    .map(|at| metrics::histogram!(format!("took_{at}"), "recorder" => "subject", "n" => n.to_string()))
                    .collect(),
            }
            };
            (0..SERIES).map(series).collect()
        });
        Ok(Self { recorder, series })
    }

    fn scrape(&self) -> Result<Round, Failure> {
        for (n, series) in self.series.iter().enumerate() {
            series.counts.iter().for_each(|count| count.increment(1));
            series.tooks.iter().for_each(|took| took.record(Stated(n as u64).took()));
        }
        // Its histograms are emptied before the clock runs, which is in its favour.
        self.recorder.handle().run_upkeep();
        timed(|| Ok(self.recorder.handle().render()))
    }

    fn bytes(&self) -> usize {
        self.recorder.handle().render().len()
    }
}
