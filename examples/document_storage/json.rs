//! The end, for a program: one object on one line.

use crate::recorders::Snapshots;
use crate::totals::Totals;
use mvx_metrics::HistogramRef;
use mvx_metrics::Number;
use mvx_metrics::SeriesRef;
use mvx_metrics::Snapshot;
use mvx_metrics::ValueRef;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

/// The totals, and every recorder with its accounts and metrics.
pub fn object(snapshots: &Snapshots) -> Value {
    let totals = Totals::read(snapshots);
    json!({
        "files_seen": totals.files_seen,
        "files_stored": totals.files_stored,
        "files_failed": totals.files_failed,
        "bytes_stored": totals.bytes_stored,
        "recorders": snapshots.iter().map(recorder).collect::<Vec<_>>(),
    })
}

fn recorder(snapshot: &Snapshot) -> Value {
    let accounts = snapshot.accounts();
    let metrics = snapshot.metrics().map(|metric| {
        let (family, descriptor, tally) = (metric.family(), metric.family().descriptor(), metric.tally());
        let shown = json!({
            "kind": descriptor.kind().to_string(),
            "unit": descriptor.unit().ucum(),
            "help": descriptor.help(),
            "series": family.series().map(series).collect::<Vec<_>>(),
            "events": {
                "accepted": tally.accepted,
                "ignored": tally.ignored,
                "refused": tally.refused,
                "panicked": tally.panicked,
                "quarantined": tally.quarantined,
            },
        });
        (family.name().to_string(), shown)
    });
    json!({
        "id": snapshot.id().as_str(),
        "offered": accounts.offered(),
        "accepted": accounts.accepted,
        "rejected": by_reason(&accounts.rejected.by_reason()),
        "dropped": by_reason(&accounts.dropped.by_reason()),
        "processed": accounts.processed,
        "pending": accounts.pending(),
        "metrics": metrics.collect::<Map<_, _>>(),
    })
}

fn by_reason(reasons: &[(&str, u64)]) -> Map<String, Value> {
    reasons.iter().map(|(reason, count)| ((*reason).to_owned(), json!(count))).collect()
}

fn series(series: SeriesRef<'_>) -> Value {
    let labels = series.labels();
    let labels: Map<_, _> = labels.iter().map(|(key, value)| (key.to_owned(), json!(value))).collect();
    json!({ "labels": labels, "value": value(series.value()) })
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Counter(count) => json!(count),
        ValueRef::FloatCounter(sum) => json!(sum),
        ValueRef::Gauge(last) => json!(last),
        ValueRef::UpDown(level) => json!(level),
        ValueRef::Average { sum, count, mean } => json!({ "sum": sum, "count": count, "mean": mean }),
        ValueRef::Histogram(histogram) => histogram_value(histogram),
        ValueRef::Fields(fields) => {
            Value::Object(fields.iter().map(|(name, field)| (name.to_string(), number(*field))).collect())
        }
        other => json!(format!("{other:?}")),
    }
}

/// Buckets are cumulative, as their key `le` says elsewhere, too.
fn histogram_value(histogram: HistogramRef<'_>) -> Value {
    let bounds = histogram.bounds().iter().map(|bound| json!(bound)).chain([json!("+Inf")]);
    let buckets = bounds.zip(histogram.cumulative()).map(|(le, count)| json!({ "le": le, "count": count }));
    json!({
        "count": histogram.count(),
        "sum": histogram.sum(),
        "min": histogram.min(),
        "max": histogram.max(),
        "buckets": buckets.collect::<Vec<_>>(),
    })
}

fn number(number: Number) -> Value {
    match number {
        Number::U64(number) => json!(number),
        Number::I64(number) => json!(number),
        other => json!(other.as_f64()),
    }
}
