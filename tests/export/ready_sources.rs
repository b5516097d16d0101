//! Sources that are ready made say what the system itself says, under the names that the field gives it.
#![cfg(all(feature = "sources", not(miri)))]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[cfg(target_os = "linux")]
use crate::support::again;
#[cfg(target_os = "linux")]
use crate::support::passed;
use crate::support::until;
use mvx_metrics::ErrorKind;
use mvx_metrics::Fold;
use mvx_metrics::MetricsRuntime;
use mvx_metrics::SeriesRef;
use mvx_metrics::Timestamp;
use mvx_metrics::sources::ProcessSource;
use mvx_metrics::sources::TokioSource;
use std::time::Duration;

/// A runtime with one of them, which is asked at every look.
fn with(source: impl mvx_metrics::Source) -> MetricsRuntime {
    let runtime = MetricsRuntime::builder("ready").build().unwrap();
    runtime.add_source("ready", Duration::ZERO, source).unwrap();
    runtime
}

/// What is shown of a series after another look.
fn look<T>(
    runtime: &MetricsRuntime,
    name: &str,
    labels: &[(&str, &str)],
    read: impl Fn(SeriesRef<'_>) -> Option<T>,
) -> Option<T> {
    assert_eq!(runtime.refresh_sources(), 1);
    let snapshot = runtime.collect();
    let families = snapshot.families(Fold::Recorder);
    let family = families.iter().find(|family| *family.descriptor().name() == *name)?;
    read(family.parts()[0].family().find(labels)?)
}

fn gauge(runtime: &MetricsRuntime, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    look(runtime, name, labels, |series| series.value().gauge())
}

fn seconds(runtime: &MetricsRuntime, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    look(runtime, name, labels, |series| series.value().float_counter())
}

/// Some work, which takes no time to end.
fn worked() {
    let all = (0..1_000_000_u64).fold(0, |all, number| std::hint::black_box(all ^ number));
    assert!(all < u64::MAX);
}

/// User and system time of this process, and the most memory it ever had resident, by another way.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "the system's own answer is the oracle")]
fn usage() -> (f64, f64) {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: it writes one `rusage`, for which there is room, and zeroes are one.
    let usage = unsafe {
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()), 0);
        usage.assume_init()
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    (seconds(usage.ru_utime) + seconds(usage.ru_stime), usage.ru_maxrss as f64 * 1_024.0)
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "the system's own answer is the oracle")]
fn descriptor_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: it writes one `rlimit`.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    limit.rlim_cur
}

/// In a process of its own, where nobody else opens files or makes threads.
#[cfg(target_os = "linux")]
#[test]
fn the_process_is_what_the_system_says_it_is() {
    if std::env::var_os("MVX_ALONE").is_some() {
        return alone();
    }
    let status = again("ready_sources::the_process_is_what_the_system_says_it_is")
        .env("MVX_ALONE", "1")
        .status()
        .unwrap();
    assert!(passed(status), "{status}");
}

#[cfg(target_os = "linux")]
fn alone() {
    let runtime = with(ProcessSource::new().unwrap());
    let shown = |name: &str| gauge(&runtime, name, &[]).unwrap();

    let before = shown("process.open_fds");
    let files: Vec<_> = (0..20).map(|_| std::fs::File::open("/proc/self/status").unwrap()).collect();
    assert_eq!(shown("process.open_fds"), before + 20.0);
    drop(files);
    assert_eq!(shown("process.open_fds"), before);
    assert_eq!(shown("process.max_fds"), descriptor_limit() as f64);

    let before = shown("process.threads");
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    std::thread::scope(|scope| {
        (0..3).for_each(|_| drop(scope.spawn(|| held.lock().unwrap().recv().is_err())));
        assert_eq!(shown("process.threads"), before + 3.0);
        drop(release);
    });

    let (resident, whole) = (shown("process.resident_memory"), shown("process.virtual_memory"));
    let touched = std::hint::black_box(vec![1_u8; 64 << 20]);
    let grown = shown("process.resident_memory") - resident;
    assert!((60e6..80e6).contains(&grown), "{grown}");
    assert!(shown("process.virtual_memory") >= whole + 60e6 && whole >= resident);
    // The kernel keeps this figure up to a few pages for each thread.
    assert!(shown("process.resident_memory") <= usage().1 + 4e6);
    drop(touched);

    let cpu = || seconds(&runtime, "process.cpu", &[]).unwrap();
    let begin = cpu();
    until("it has worked for a while", || {
        worked();
        cpu() > begin + 0.2
    });
    // Two figures of hundredths, each cut.
    let (low, shown_cpu, high) = (usage().0, cpu(), usage().0);
    assert!(low - 0.03 <= shown_cpu && shown_cpu <= high + 0.03, "{low} {shown_cpu} {high}");

    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let started = shown("process.start_time");
    assert!((-2.0..120.0).contains(&(now - started)), "{now} {started}");
    let since = look(&runtime, "process.cpu", &[], |series| Some(series.started().unix_nanos())).unwrap();
    assert!((since as f64 / 1e9 - started).abs() < 1e-3, "{since} {started}");
}

#[cfg(all(target_os = "linux", feature = "prometheus"))]
#[test]
fn prometheus_gets_the_names_that_its_own_clients_give() {
    use mvx_metrics::export::prometheus::Encoder;
    use mvx_metrics::export::prometheus::Format;

    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let runtime = with(ProcessSource::new().unwrap());
    runtime.add_source("tokio", Duration::ZERO, TokioSource::new("main", tokio.handle()).unwrap()).unwrap();
    assert_eq!(runtime.refresh_sources(), 2);
    let mut text = String::new();
    let _ = Encoder::new(Format::Text).vitals(false).encode(&runtime.collect(), &mut text);
    let types: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let expected = [
        "process_cpu_seconds_total counter",
        "process_max_fds gauge",
        "process_open_fds gauge",
        "process_resident_memory_bytes gauge",
        "process_start_time_seconds gauge",
        "process_threads gauge",
        "process_virtual_memory_bytes gauge",
        "tokio_alive_tasks gauge",
        "tokio_global_queue_depth gauge",
        "tokio_worker_busy_seconds_total counter",
        "tokio_worker_parks_total counter",
        "tokio_workers gauge",
    ];
    assert_eq!(types, expected, "{text}");
    assert!(text.contains("\ntokio_workers{runtime=\"main\"} 2"), "{text}");
    accepted(&text);
}

/// Prometheus's own tool accepts it.
#[cfg(all(target_os = "linux", feature = "prometheus"))]
fn accepted(text: &str) {
    use std::io::Write;
    use std::process::Command;
    use std::process::Stdio;

    let path = std::env::var_os("PATH").unwrap_or_default();
    let Some(promtool) =
        std::env::split_paths(&path).map(|dir| dir.join("promtool")).find(|path| path.is_file())
    else {
        let printed = writeln!(
            std::io::stderr(),
            "NOT CHECKED IN PART: promtool reads what sources give; to get it: apt-get install prometheus"
        );
        return assert!(printed.is_ok(), "skipped in silence");
    };
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}\n{text}");
}

#[test]
fn a_tokio_runtime_is_what_tokio_says_it_is() {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let runtime = with(TokioSource::new("main", tokio.handle()).unwrap());
    let main = [("runtime", "main")];
    let shown = |name: &str| gauge(&runtime, name, &main).unwrap();
    assert_eq!((shown("tokio.workers"), shown("tokio.alive_tasks")), (2.0, 0.0));
    let tasks: Vec<_> = (0..5).map(|_| tokio.spawn(std::future::pending::<()>())).collect();
    assert_eq!((shown("tokio.alive_tasks"), shown("tokio.global_queue_depth") <= 5.0), (5.0, true));
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    until("the tasks have ended", || shown("tokio.alive_tasks") == 0.0);

    if !cfg!(target_has_atomic = "64") {
        return;
    }
    let workers = ["0", "1"].map(|worker| [("runtime", "main"), ("worker", worker)]);
    let busy =
        || workers.iter().map(|worker| seconds(&runtime, "tokio.worker.busy", worker).unwrap()).sum::<f64>();
    let parks = || {
        let counts = workers
            .iter()
            .map(|worker| look(&runtime, "tokio.worker.parks", worker, |s| s.value().counter()));
        counts.map(Option::unwrap).sum::<u64>()
    };
    let (busy_before, parks_before) = (busy(), parks());
    let began = std::time::Instant::now();
    until("they have worked, and rested", || {
        let work = tokio.spawn(async { worked() });
        tokio.block_on(work).unwrap();
        busy() > busy_before + 0.05 && parks() > parks_before + 3
    });
    assert!(busy() - busy_before <= 2.0 * began.elapsed().as_secs_f64() + 0.1);
}

#[test]
fn counts_of_a_tokio_runtime_begin_with_the_first_look() {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    until("its worker has rested a few times", || {
        tokio.block_on(tokio.spawn(async {})).unwrap();
        tokio.metrics().worker_park_count(0) > 5
    });
    let runtime = with(TokioSource::new("late", tokio.handle()).unwrap());
    let worker = [("runtime", "late"), ("worker", "0")];
    let parks = look(&runtime, "tokio.worker.parks", &worker, |series| {
        Some((series.value().counter()?, series.started()))
    });
    let (parks, started) = parks.unwrap();
    // It may rest once more while it is looked at.
    assert!(parks <= 2 && started > Timestamp::default(), "{parks} {started:?}");
    let again = look(&runtime, "tokio.worker.parks", &worker, |series| Some(series.started()));
    assert_eq!(again, Some(started));
}

#[test]
fn several_runtimes_are_told_apart_and_a_name_is_needed() {
    let tokio = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (one, other) = (tokio(), tokio());
    let runtime = with(TokioSource::new("one", one.handle()).unwrap());
    runtime.add_source("other", Duration::ZERO, TokioSource::new("other", other.handle()).unwrap()).unwrap();
    let _task = other.spawn(std::future::pending::<()>());
    assert_eq!(runtime.refresh_sources(), 2);
    let snapshot = runtime.collect();
    let families = snapshot.families(Fold::Group);
    let tasks = families.iter().find(|family| *family.descriptor().name() == *"tokio.alive_tasks").unwrap();
    let of = |name| {
        tasks.parts().iter().find_map(|part| part.family().find(&[("runtime", name)])?.value().gauge())
    };
    assert_eq!((of("one"), of("other")), (Some(0.0), Some(1.0)));
    // One that has ended is still read, and shows what it came to.
    drop(other);
    runtime.refresh_sources();
    assert_eq!(TokioSource::new(" ", one.handle()).unwrap_err().kind(), ErrorKind::InvalidId);
}
