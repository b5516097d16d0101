//! The end, for a person: what was stored, every snapshot, and the account of every event.

use crate::figures;
use crate::recorders::Snapshots;
use crate::totals::Totals;
use crate::view::failures;
use mvx_metrics::Accounts;
use mvx_metrics::Family;
use mvx_metrics::HistogramRef;
use mvx_metrics::Snapshot;
use mvx_metrics::Unit;
use mvx_metrics::ValueRef;
use std::io;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// Writes the whole report.
///
/// # Errors
///
/// Those of `out`.
pub fn write(
    out: &mut impl Write,
    snapshots: &Snapshots,
    first_failures: &[(PathBuf, String)],
    took: Duration,
) -> io::Result<()> {
    let totals = Totals::read(snapshots);
    for snapshot in snapshots.iter() {
        write_recorder(out, snapshot)?;
    }
    write_summary(out, snapshots, &totals, first_failures, took)?;
    write_accounts(out, "all recorders", totals.accounts)
}

fn write_summary(
    out: &mut impl Write,
    snapshots: &Snapshots,
    totals: &Totals,
    first_failures: &[(PathBuf, String)],
    took: Duration,
) -> io::Result<()> {
    let number = figures::count;
    let seconds = took.as_secs_f64().max(f64::MIN_POSITIVE);
    writeln!(
        out,
        "stored {} of {} files, {} failed, in {}: {} files/s, {}/s",
        number(totals.files_stored),
        number(totals.files_seen),
        number(totals.files_failed),
        figures::duration(took),
        number((totals.files_seen as f64 / seconds) as u64),
        figures::bytes(totals.bytes_stored as f64 / seconds)
    )?;
    writeln!(
        out,
        "  {} bytes stored; {} of the files held what was stored already, so {} bytes were written",
        number(totals.bytes_stored),
        number(totals.duplicates),
        number(totals.bytes_written)
    )?;
    writeln!(
        out,
        "  {} files found in {} directories; {} directories could not be read, {} links to directories not followed",
        number(totals.files_found),
        number(totals.directories_read),
        number(totals.directories_failed),
        number(totals.links)
    )?;
    if totals.files_failed > 0 {
        writeln!(out, "  failed: {}", failures(&snapshots.storage))?;
    }
    for (path, cause) in first_failures {
        // Quoted and escaped: a name may hold anything, control characters too.
        writeln!(out, "    {path:?}: {cause}")?;
    }
    let shown = first_failures.len() as u64;
    if totals.files_failed > shown {
        writeln!(out, "    and {} more", number(totals.files_failed - shown))?;
    }
    writeln!(out)
}

fn write_recorder(out: &mut impl Write, snapshot: &Snapshot) -> io::Result<()> {
    let (version, sequence) = (snapshot.version(), figures::count(snapshot.sequence()));
    writeln!(out, "{} ({}, version {version}, after {sequence} events)", snapshot.id(), snapshot.state())?;
    for metric in snapshot.metrics() {
        write_family(out, metric.family())?;
        if metric.is_quarantined() {
            writeln!(out, "    has panicked and sees no more events")?;
        }
    }
    write_accounts(out, "events", snapshot.accounts())?;
    writeln!(out)
}

fn write_family(out: &mut impl Write, family: &Family) -> io::Result<()> {
    let descriptor = family.descriptor();
    let unit = descriptor.unit();
    if family.is_empty() {
        return writeln!(out, "  {:<28} nothing yet", family.name().as_str());
    }
    for series in family.series() {
        let labels = if series.labels().is_empty() { String::new() } else { series.labels().to_string() };
        let name = format!("{}{labels}", family.name());
        writeln!(out, "  {name:<44} {}", value(series.value(), unit))?;
        if let Some(histogram) = series.value().histogram() {
            write_buckets(out, histogram, unit)?;
        }
    }
    Ok(())
}

fn value(value: ValueRef<'_>, unit: &Unit) -> String {
    match value {
        ValueRef::Counter(count) if *unit == Unit::None => figures::count(count),
        ValueRef::Counter(count) => format!("{} {unit}", figures::count(count)),
        ValueRef::FloatCounter(sum) => figures::in_unit(sum, unit),
        ValueRef::Gauge(last) => figures::in_unit(last, unit),
        ValueRef::UpDown(level) => level.to_string(),
        ValueRef::Average { count, mean, .. } => {
            let mean = mean.map_or_else(|| "none".to_owned(), |mean| figures::in_unit(mean, unit));
            format!("{mean} over {}", figures::count(count))
        }
        ValueRef::Histogram(histogram) => {
            let show =
                |value: Option<f64>| value.map_or_else(String::new, |value| figures::in_unit(value, unit));
            format!(
                "{} from {} to {}, {} in all",
                figures::count(histogram.count()),
                show(histogram.min()),
                show(histogram.max()),
                show(Some(histogram.sum()))
            )
        }
        other => format!("{other:?}"),
    }
}

/// A bar for each bucket that holds something.
fn write_buckets(out: &mut impl Write, histogram: HistogramRef<'_>, unit: &Unit) -> io::Result<()> {
    const WIDTH: f64 = 30.0;
    let most = histogram.buckets().max().unwrap_or_default().max(1);
    let bounds = histogram.bounds().iter().map(|bound| format!("≤ {}", figures::in_unit(*bound, unit)));
    for (bound, held) in bounds.chain(["more".to_owned()]).zip(histogram.buckets()) {
        if held > 0 {
            let bar = "█".repeat((held as f64 / most as f64 * WIDTH).ceil() as usize);
            writeln!(out, "    {bound:>12} {:>10} {bar}", figures::count(held))?;
        }
    }
    Ok(())
}

/// Where every event ended: both lines of the law, with the reasons where there are any.
fn write_accounts(out: &mut impl Write, whose: &str, accounts: Accounts) -> io::Result<()> {
    let number = figures::count;
    let (rejected, dropped) = (accounts.rejected.by_reason(), accounts.dropped.by_reason());
    writeln!(
        out,
        "  {whose}: {} offered = {} accepted + {} rejected{}",
        number(accounts.offered()),
        number(accounts.accepted),
        number(accounts.rejected.total()),
        reasons(&rejected)
    )?;
    writeln!(
        out,
        "  {:>width$}  {} accepted = {} processed + {} dropped{} + {} pending",
        "",
        number(accounts.accepted),
        number(accounts.processed),
        number(accounts.dropped.total()),
        reasons(&dropped),
        number(accounts.pending()),
        width = whose.len()
    )
}

fn reasons(reasons: &[(&str, u64)]) -> String {
    let present = reasons.iter().filter(|(_, count)| *count > 0);
    let present: Vec<_> =
        present.map(|(reason, count)| format!("{reason} {}", figures::count(*count))).collect();
    if present.is_empty() { String::new() } else { format!(" ({})", present.join(", ")) }
}
