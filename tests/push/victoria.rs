//! VictoriaMetrics takes remote writes: it dies as the others do, and gives every value back.

use super::*;
use crate::written::Key;
use crate::written::everything;
use crate::written::expected;
use crate::written::pushing;

struct Victoria;

impl Receiver for Victoria {
    const PROGRAM: &'static str = "victoria-metrics";
    /// A series that is new is found after a second or so.
    const LATER: bool = true;

    fn is_ready(port: u16) -> bool {
        get(port, "/health").is_some_and(|answer| answer.contains(" 200 "))
    }

    fn command(_: &Path, port: u16) -> Command {
        let mut command = Command::new(Self::PROGRAM);
        command.args(["-storageDataPath=data", "-retentionPeriod=100y", "-memory.allowedBytes=64MB"]);
        // What has come is shown at once, and for as long as Prometheus shows it.
        command.args(["-search.latencyOffset=0s", "-search.disableCache", "-search.maxLookback=5m"]);
        command.arg(format!("-httpListenAddr=127.0.0.1:{port}"));
        command
    }

    fn held(port: u16) -> Option<BTreeMap<String, f64>> {
        counts(&shown(port, "count_total")?)
    }

    fn history(port: u16) -> Vec<Vec<f64>> {
        let history = exported(port, "count_total").into_values();
        history.map(|samples| samples.into_iter().filter_map(|(value, _)| value).collect()).collect()
    }
}

/// The answer to a query, over everything that was taken. It rounds down to seconds what time it is, unless that is said.
fn shown(port: u16, expression: &str) -> Option<serde_json::Value> {
    get(port, "/internal/force_flush")?;
    query(port, &format!("{expression}&time={}", now()))
}

fn now() -> f64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64()
}

fn number(value: &serde_json::Value) -> f64 {
    value.as_f64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

/// The selector of what is pushed under the job `all`.
const EVERY: &str = "%7Bjob%3D%22all%22%7D";

/// Each sample as it is stored, with its time, by series; an end has no value.
fn exported(port: u16, selector: &str) -> BTreeMap<Key, Vec<(Option<f64>, i64)>> {
    get(port, "/internal/force_flush").unwrap();
    let path = format!("/api/v1/export?start=0&end={}&match%5B%5D={selector}", now());
    let answer = get(port, &path).unwrap();
    let lines = answer.split_once("\r\n\r\n").unwrap().1.lines();
    let one = |line: &str| {
        let series: serde_json::Value = serde_json::from_str(line).unwrap();
        let labels: Key = serde_json::from_value(series["metric"].clone()).unwrap();
        let values = series["values"].as_array().unwrap().iter();
        let values = values.map(|value| Some(value).filter(|value| !value.is_null()).map(number));
        let times = series["timestamps"].as_array().unwrap().iter().map(|time| time.as_i64().unwrap());
        (labels, values.zip(times).collect())
    };
    lines.filter(|line| !line.is_empty()).map(one).collect()
}

/// What it shows of a job at this moment.
fn held(port: u16, job: &str) -> BTreeMap<Key, f64> {
    let answer = shown(port, &format!("%7Bjob%3D%22{job}%22%7D")).unwrap();
    let one = |series: &serde_json::Value| {
        let labels: Key = serde_json::from_value(series["metric"].clone()).unwrap();
        (labels, number(&series["value"][1]))
    };
    answer["data"]["result"].as_array().unwrap().iter().map(one).collect()
}

#[test]
fn victoria_metrics_dies_in_every_way_and_has_every_value_in_the_end() {
    dies::<Victoria>(|runtime, url, schedule| {
        let exporter = RemoteWriteExporter::builder(&format!("{url}/api/v1/write")).vitals(false).build();
        runtime.add_exporter("receiver", schedule, exporter.unwrap()).unwrap();
    });
}

/// Whether it is the value, as far as that is kept there: integers exactly, others to some twelve digits.
fn is_kept(held: f64, value: f64) -> bool {
    held == value || (value.fract() != 0.0 && (held - value).abs() <= value.abs() * 1e-12)
}

/// Whether what it holds is what was pushed, and nothing else.
fn are_kept<V>(held: &BTreeMap<Key, V>, pushed: &BTreeMap<Key, f64>, value: impl Fn(&V) -> f64) -> bool {
    let pairs = held.iter().zip(pushed);
    held.len() == pushed.len() && pairs.into_iter().all(|(h, p)| h.0 == p.0 && is_kept(value(h.1), *p.1))
}

#[test]
fn victoria_metrics_gives_every_value_back_and_loses_a_removed_series() {
    let _alone = alone();
    if !Victoria::is_there() {
        return;
    }
    let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
    let _server = Running::start::<Victoria>(dir.path(), port);
    let runtime = running("pushed");
    let exporter = RemoteWriteExporter::builder(&format!("http://127.0.0.1:{port}/api/v1/write"));
    let kept = pushing(&runtime, exporter.label("job", "all").vitals(false).build().unwrap());
    everything(&runtime);
    let going = runtime.recorder::<Number>("going").counter("going", |c| c).create().unwrap();
    going.register_event(Number(1));
    going.flush_blocking(PATIENCE).unwrap();
    let large = |c: mvx_metrics::CounterBuilder<Number>| c.value(|n| Some(n.0));
    let large = runtime.recorder::<Number>("large").counter("large", large).create().unwrap();
    large.register_event(Number((1 << 53) - 1));
    large.flush_blocking(PATIENCE).unwrap();
    runtime.force_flush(PATIENCE).unwrap();
    let pushed = || {
        let snapshot = kept.latest().unwrap();
        let at = i64::try_from(snapshot.taken_at().unix_nanos() / 1_000_000).unwrap();
        let mut all = expected(&snapshot, "all");
        all.retain(|labels, _| labels["job"] == "all");
        (all, at)
    };
    let (all, first) = pushed();
    assert!(all.len() > 100 && all.values().any(|value| *value == ((1_u64 << 53) - 1) as f64));
    until("every series is shown", || are_kept(&held(port, "all"), &all, |value| *value));
    let every = exported(port, EVERY);
    assert!(are_kept(&every, &all, |samples| samples[0].0.unwrap()), "{every:?}");
    assert!(every.values().all(|samples| samples.len() == 1 && samples[0].1 == first), "{every:?}");

    runtime.stop_and_remove("going", PATIENCE).unwrap();
    runtime.force_flush(PATIENCE).unwrap();
    let (rest, second) = pushed();
    assert_eq!(rest.len() + 1, all.len(), "{rest:?}");
    // It looks a second back before the end; without it, the series would be shown for minutes.
    until("what was removed is gone", || are_kept(&held(port, "all"), &rest, |value| *value));
    for (labels, samples) in exported(port, EVERY) {
        let gone = !rest.contains_key(&labels);
        assert_eq!(samples.iter().map(|(_, time)| *time).collect::<Vec<_>>(), [first, second], "{labels:?}");
        assert_eq!(samples[1].0.is_none(), gone, "{labels:?}: {samples:?}");
    }
}

#[test]
fn victoria_metrics_takes_the_rest_beside_native_histograms() {
    let _alone = alone();
    if !Victoria::is_there() {
        return;
    }
    let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
    let _server = Running::start::<Victoria>(dir.path(), port);
    let runtime = running("native");
    let exporter = RemoteWriteExporter::builder(&format!("http://127.0.0.1:{port}/api/v1/write"));
    let exporter = exporter.label("job", "all").vitals(false).native_histograms(true);
    let kept = pushing(&runtime, exporter.build().unwrap());
    everything(&runtime);
    let count = runtime.recorder::<Number>("count").counter("count", |c| c).create().unwrap();
    for round in 0..3 {
        count.register_event(Number(round));
        count.flush_blocking(PATIENCE).unwrap();
        runtime.force_flush(PATIENCE).unwrap();
        // This one drops them; a later one may show them under names of its own.
        let others = |mut all: BTreeMap<Key, f64>| {
            all.retain(|labels, _| labels["job"] == "all" && !labels["__name__"].starts_with("sizes"));
            all
        };
        let pushed = others(expected(&kept.latest().unwrap(), "all"));
        assert!(pushed.len() > 50 && pushed.values().any(|value| *value == (round + 1) as f64), "{pushed:?}");
        until("everything else is shown", || are_kept(&others(held(port, "all")), &pushed, |value| *value));
    }
}
