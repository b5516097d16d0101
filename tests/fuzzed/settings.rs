//! F5: whatever is written in a setting, it is taken or refused, and a secret in it is shown by nothing.

use crate::fuzzed::input::Input;
use crate::fuzzed::model;
use mvx_metrics::MetricEvent;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::View;
use mvx_metrics::export::Exporter;
use mvx_metrics::export::Schedule;
use mvx_metrics::export::otlp::OtlpExporter;
use mvx_metrics::export::pushgateway::PushgatewayExporter;
use mvx_metrics::export::remote_write::RemoteWriteExporter;
use mvx_metrics::export::statsd;
use mvx_metrics::http::HttpServer;
use std::error::Error;
use std::fmt::Debug;
use std::sync::LazyLock;
use std::time::Duration;

/// What nobody may see, wherever it stands.
const SECRET: &str = "s3cr3t-c4n4ry";

pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(8) {
        0 => shown(&otlp(&mut input)),
        1 => shown(&remote_write(&mut input)),
        2 => shown(&pushgateway(&mut input)),
        3 => statsd(&mut input),
        4 => server(&mut input),
        5 => view(&mut input),
        6 => runtime(&mut input),
        _ => recorder(&mut input),
    }
}

/// What `Debug` writes.
fn hidden(told: &impl Debug) {
    let text = format!("{told:?} {told:#?}");
    assert!(!text.contains(SECRET), "{text}");
}

/// An error and its causes, in every form.
fn refused(error: &(dyn Error + 'static)) {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let text = format!("{error} {error:?}");
        assert!(!text.contains(SECRET), "{text}");
        cause = error.source();
    }
}

fn shown<T: Debug, E: Error + 'static>(made: &Result<T, E>) {
    match made {
        Ok(made) => hidden(made),
        Err(error) => refused(error),
    }
}

fn otlp(input: &mut Input<'_>) -> Result<OtlpExporter, mvx_metrics::Error> {
    let mut builder = OtlpExporter::builder().endpoint(&address(input));
    for _ in 0..input.below(3) {
        builder = builder.header(&word(input), &secret(input));
    }
    builder = if input.byte() & 1 == 1 { builder.proxy(&address(input)) } else { builder.no_proxy() };
    builder = builder.resource(&word(input), &input.text());
    if input.byte() & 1 == 1 {
        builder = builder.max_request_bytes(input.word() as usize);
    }
    hidden(&builder);
    let mut exporter = builder.build()?;
    attempt(input, &mut exporter);
    Ok(exporter)
}

fn remote_write(input: &mut Input<'_>) -> Result<RemoteWriteExporter, mvx_metrics::Error> {
    let mut builder = RemoteWriteExporter::builder(&address(input));
    for _ in 0..input.below(3) {
        builder = builder.header(&word(input), &secret(input));
    }
    builder = if input.byte() & 1 == 1 { builder.proxy(&address(input)) } else { builder.no_proxy() };
    for _ in 0..input.below(3) {
        builder = builder.label(&word(input), &input.text());
    }
    if input.byte() & 1 == 1 {
        builder = builder.max_series(input.below(3));
    }
    hidden(&builder);
    let mut exporter = builder.build()?;
    attempt(input, &mut exporter);
    Ok(exporter)
}

fn pushgateway(input: &mut Input<'_>) -> Result<PushgatewayExporter, mvx_metrics::Error> {
    let mut builder = PushgatewayExporter::builder(&address(input), &word(input));
    for _ in 0..input.below(3) {
        builder = builder.label(&word(input), &input.text()).header(&word(input), &secret(input));
    }
    builder = if input.byte() & 1 == 1 { builder.proxy(&address(input)) } else { builder.no_proxy() };
    hidden(&builder);
    let mut exporter = builder.build()?;
    attempt(input, &mut exporter);
    Ok(exporter)
}

/// One attempt where nobody listens; elsewhere none is made. Its failure does not tell either.
fn attempt(input: &mut Input<'_>, exporter: &mut (impl Exporter + Debug)) {
    thread_local! {
        static TOKIO: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a loop");
    }
    let told = format!("{exporter:?}");
    // An address in figures, so nobody is asked for it; and what goes through a proxy may go elsewhere.
    if input.byte() & 7 != 7 || !told.contains("\"127.0.0.1\", port: 1,") || !told.contains("proxy: None") {
        return;
    }
    let within = Duration::from_secs(1);
    let failed = TOKIO.with(|tokio| tokio.block_on(exporter.export(&model::empty(), within)));
    if let Err(error) = failed {
        refused(&error);
    }
    hidden(exporter);
}

fn statsd(input: &mut Input<'_>) {
    let mut builder = statsd::Exporter::udp(&secret(input)).prefix(&word(input));
    if input.byte() & 1 == 1 {
        builder = builder.datagram_bytes(input.word() as usize);
    }
    // One that is an address shows its host.
    if let Err(error) = builder.build() {
        refused(&error);
    }
}

fn server(input: &mut Input<'_>) {
    static RUNTIME: LazyLock<MetricsRuntime> =
        LazyLock::new(|| MetricsRuntime::builder(model::NAMESPACE).build().expect("a runtime"));
    let mut builder = HttpServer::builder(RUNTIME.reader());
    for _ in 0..input.below(3) {
        builder = match input.below(2) {
            0 => builder.bearer(secret(input)),
            _ => builder.basic(input.text(), secret(input)),
        };
    }
    hidden(&builder);
}

fn view(input: &mut Input<'_>) {
    let mut builder = View::builder();
    for _ in 0..input.below(4) {
        let (metric, other, value) = (word(input), word(input), input.text());
        builder = match input.below(7) {
            0 => builder.rename(&metric, &other),
            1 => builder.exclude(&metric),
            2 => builder.include(&metric),
            3 => builder.drop_label(&metric, &other),
            4 => builder.rename_label(&metric, &other, &value),
            5 => builder.bounds(&metric, &[input.real(), input.real()]),
            _ => builder.label(&other, value.as_str()),
        };
    }
    let Ok(view) = builder.build() else { return };
    let stated = model::stated(input);
    let snapshot = model::snapshot(&stated).with_view(&view);
    for fold in [mvx_metrics::Fold::Recorder, mvx_metrics::Fold::Group] {
        let families = snapshot.families(fold);
        assert!(families.windows(2).all(|pair| pair[0].descriptor().name() != pair[1].descriptor().name()));
    }
}

fn runtime(input: &mut Input<'_>) {
    let mut builder = MetricsRuntime::builder(&word(input));
    for _ in 0..input.below(4) {
        builder = match input.below(3) {
            0 => builder.default_capacity(input.whole() as u32),
            1 => builder.exported_cardinality(input.whole() as u32),
            _ => builder.constant_label(&word(input), &input.text()),
        };
    }
    let Ok(runtime) = builder.build() else { return };
    let schedule = Schedule::every(Duration::from_nanos(input.whole()))
        .timeout(Duration::from_nanos(input.whole()))
        .retry_pause(Duration::from_secs(input.whole()));
    hidden(&schedule);
    let made = runtime.recorder::<Read>(&word(input)).entity(&input.text()).group(&word(input)).create();
    // Whatever was taken can be shown.
    assert_eq!(runtime.collect().recorders().len(), usize::from(made.is_ok()));
}

struct Read(f64);

impl MetricEvent for Read {
    fn event_type(&self) -> &'static str {
        "read"
    }
}

/// Metrics of any shape: what is taken works, with little memory.
fn recorder(input: &mut Input<'_>) {
    let runtime = MetricsRuntime::builder(model::NAMESPACE).build().expect("a runtime");
    let mut builder = runtime.recorder::<Read>("shapes").capacity(input.whole() as u32);
    for _ in 0..=input.below(3) {
        let name = word(input);
        let limit = input.whole() as u32;
        let span = Duration::from_nanos(input.whole());
        let numbers: Vec<f64> = (0..input.below(4)).map(|_| f64::from_bits(input.word())).collect();
        builder = match input.below(7) {
            0 => builder.counter(&name, |c| c.cardinality(limit)),
            1 => builder.histogram(&name, |h| h.bounds(&numbers).value(|e| Some(e.0))),
            2 => builder.exponential_histogram(&name, |h| h.max_buckets(limit).value(|e| Some(e.0))),
            3 => builder.summary(&name, |s| s.digits(limit as u8).quantiles(&numbers).value(|e| Some(e.0))),
            4 => builder.windowed_summary(&name, |s| {
                s.window(span).slots(limit).quantiles(&numbers).value(|e| Some(e.0))
            }),
            5 => builder.rate(&name, |r| r.window(span)),
            _ => builder.state_set(&name, &["a", &input.text()], |s| s.state(|_| Some("a"))),
        };
    }
    let Ok(recorder) = builder.create() else { return };
    numbers_are_taken(&recorder);
    assert!(runtime.memory().total() < 1 << 20, "{:?}", runtime.memory());
}

fn numbers_are_taken(recorder: &mvx_metrics::Recorder<Read>) {
    assert!(recorder.try_register_event(Read(1.5)).is_ok());
    assert_eq!(recorder.accounts().pending(), 1);
}

/// An address more often than not, with secrets where an address may have them.
fn address(input: &mut Input<'_>) -> String {
    let scheme = input.pick(&["http://", "http://", "https://", "HTTP://", "ftp://", "", "http:/"]);
    let user = match input.below(6) {
        0 | 1 => String::new(),
        2 => format!("{SECRET}@"),
        3 => format!("user:{SECRET}@"),
        4 => format!("%zz:{SECRET}%2@"),
        _ => format!("{}{SECRET}@", input.text()),
    };
    let host = match input.below(8) {
        0..=3 => "127.0.0.1".to_owned(),
        4 => "[::1]".to_owned(),
        5 => "host.example".to_owned(),
        6 => String::new(),
        _ => input.text(),
    };
    let port = match input.below(8) {
        0..=3 => ":1".to_owned(),
        4 => String::new(),
        5 => ":65536".to_owned(),
        6 => ":-1".to_owned(),
        _ => input.text(),
    };
    let path = match input.below(8) {
        0 | 1 => String::new(),
        2 => "/".to_owned(),
        3 => format!("/v1/{SECRET}"),
        4 => format!("?token={SECRET}"),
        5 => format!("/x?token={SECRET}#{SECRET}"),
        6 => "/v1/metrics".to_owned(),
        _ => format!("/{}{SECRET}", input.text()),
    };
    format!("{scheme}{user}{host}{port}{path}")
}

fn secret(input: &mut Input<'_>) -> String {
    match input.below(4) {
        0 => SECRET.to_owned(),
        1 => format!("Bearer {SECRET}"),
        _ => format!("{}{SECRET}{}", input.text(), input.text()),
    }
}

/// A name more often than not.
fn word(input: &mut Input<'_>) -> String {
    let words =
        ["a", "b.c", "x-token", "job", "le", "authorization", "host", "content-length", "__name__", "*"];
    match input.below(2 * words.len()) {
        which if which < words.len() => words[which].to_owned(),
        _ => input.text(),
    }
}
