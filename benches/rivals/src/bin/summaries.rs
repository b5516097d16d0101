//! What a summary costs, in bytes and in time, against HdrHistogram at the same number of digits: the reason why the library counts in its own buckets.
//!
//! Both see the same durations, log-normal around a millisecond, as a service has them; memory by a counting allocator, time as CPU of the thread.

use mvx_metrics::Context;
use mvx_metrics::Family;
use mvx_metrics::FamilyWriter;
use mvx_metrics::Metric;
use mvx_metrics::Summary;
use mvx_metrics::Timestamp;
use mvx_metrics::Verdict;
use rivals::Failure;
use rivals::clocks;
use rivals::output::aligned;
use std::alloc::GlobalAlloc;
use std::alloc::Layout;
use std::alloc::System;
use std::io::Write;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came; counting changes nothing about it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as for this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as for this function.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const OBSERVATIONS: usize = 200_000;
const ROUNDS: usize = 9;

fn main() -> Result<(), Failure> {
    let nanos = durations();
    let mut sorted = nanos.clone();
    sorted.sort_unstable();
    let mut table = vec![[
        "digits".to_owned(),
        "ours, bytes".to_owned(),
        "HdrHistogram, bytes".to_owned(),
        "ours, ns".to_owned(),
        "HdrHistogram, ns".to_owned(),
        "ours, p99 off by".to_owned(),
        "HdrHistogram, p99 off by".to_owned(),
    ]];
    for digits in [1, 2, 3, 4] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(observe_ours(digits, &nanos)?);
            theirs.push(observe_theirs(digits, &nanos)?);
        }
        let truth = sorted[(OBSERVATIONS * 99).div_ceil(100) - 1] as f64;
        let off = |told: f64| format!("{:.4} %", (told / truth - 1.0).abs() * 100.0);
        let ours = median(ours);
        let theirs = median(theirs);
        table.push([
            digits.to_string(),
            ours.bytes.to_string(),
            theirs.bytes.to_string(),
            format!("{:.1}", ours.nanos),
            format!("{:.1}", theirs.nanos),
            off(ours.p99),
            off(theirs.p99),
        ]);
    }
    Ok(std::io::stdout().lock().write_all(aligned(&table, 1..7).as_bytes())?)
}

#[derive(Clone, Copy)]
struct Round {
    bytes: usize,
    nanos: f64,
    p99: f64,
}

fn median(mut rounds: Vec<Round>) -> Round {
    rounds.sort_by(|one, other| one.nanos.total_cmp(&other.nanos));
    rounds[rounds.len() / 2]
}

fn observe_ours(digits: u8, nanos: &[u64]) -> Result<Round, Failure> {
    let context = Context::new(Timestamp::default(), 1);
    let mut summary = Summary::<u64>::builder("wait").digits(digits).value(|nanos| Some(*nanos)).build()?;
    let before = LIVE.load(Ordering::Relaxed);
    let started = clocks::thread_cpu();
    for value in nanos {
        if summary.handle_event(value, &context) != Verdict::Accepted {
            return Err("a value was not taken".into());
        }
    }
    let took = clocks::thread_cpu() - started;
    let bytes = LIVE.load(Ordering::Relaxed) - before;
    let mut family = Family::new(summary.descriptor().clone());
    summary.snapshot(&mut FamilyWriter::whole(&mut family));
    let shown = family.find(&[]).and_then(|series| series.value().summary()?.quantile(0.99));
    let p99 = shown.ok_or("no quantile")?;
    Ok(Round { bytes, nanos: took as f64 / nanos.len() as f64, p99 })
}

fn observe_theirs(digits: u8, nanos: &[u64]) -> Result<Round, Failure> {
    let before = LIVE.load(Ordering::Relaxed);
    let mut histogram = hdrhistogram::Histogram::<u64>::new(digits)?;
    let started = clocks::thread_cpu();
    for value in nanos {
        histogram.record(*value)?;
    }
    let took = clocks::thread_cpu() - started;
    let bytes = LIVE.load(Ordering::Relaxed) - before;
    let p99 = histogram.value_at_quantile(0.99) as f64;
    Ok(Round { bytes, nanos: took as f64 / nanos.len() as f64, p99 })
}

/// Nanoseconds, the same at every run: a sum of twelve uniform numbers is near to a normal one.
fn durations() -> Vec<u64> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut normal = || (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
    (0..OBSERVATIONS).map(|_| (1e6 * (normal() * 0.8).exp()) as u64).collect()
}
