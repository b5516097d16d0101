//! What `/proc` says of this process (proc(5)).

use crate::edge::ready::process::Reading;
use std::fs;
use std::time::Duration;

/// A tick of the times in `/proc`: the kernel gives them to every program in hundredths of a second (`USER_HZ`), whatever its own are.
const TICK: Duration = Duration::from_millis(10);

pub(super) fn read() -> Reading {
    let text = |path| fs::read_to_string(path).unwrap_or_default();
    let (stat, status) = (text("/proc/self/stat"), text("/proc/self/status"));
    let times = Times::of(&stat);
    let boot = boot_time(&text("/proc/stat"));
    Reading {
        cpu: times.as_ref().map(|times| ticks(times.user.saturating_add(times.system))),
        open_fds: open_fds(),
        max_fds: max_fds(&text("/proc/self/limits")),
        virtual_bytes: kibibytes(&status, "VmSize:"),
        resident_bytes: kibibytes(&status, "VmRSS:"),
        started: times.zip(boot).map(|(times, boot)| boot.saturating_add(ticks(times.start))),
        threads: field(&status, "Threads:").and_then(|count| count.parse().ok()),
    }
}

/// The times in `/proc/self/stat`, in ticks.
struct Times {
    user: u64,
    system: u64,
    /// Since the machine was started.
    start: u64,
}

impl Times {
    fn of(stat: &str) -> Option<Self> {
        // The second field is the program's name in parentheses, which may have spaces and parentheses of its own.
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        // From here on the first is the third of the page's numbers: the state.
        let user = fields.nth(14 - 3)?.parse().ok()?;
        let system = fields.next()?.parse().ok()?;
        let start = fields.nth(22 - 16)?.parse().ok()?;
        Some(Self { user, system, start })
    }
}

fn ticks(count: u64) -> Duration {
    let nanos = u128::from(count) * TICK.as_nanos();
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// When the machine was started, since the Unix epoch.
fn boot_time(stat: &str) -> Option<Duration> {
    field(stat, "btime").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs)
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    field(status, name)?.parse::<u64>().ok()?.checked_mul(1_024)
}

/// The first word after the name at the beginning of a line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line =
        text.lines().find_map(|line| line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '\t'])))?;
    line.split_ascii_whitespace().next()
}

/// The soft limit; none if it is `unlimited`.
fn max_fds(limits: &str) -> Option<u64> {
    field(limits, "Max open files")?.parse().ok()
}

/// Kernels since 6.2 give their number as the directory's size; others give 0, and the directory is counted.
fn open_fds() -> Option<u64> {
    const DIRECTORY: &str = "/proc/self/fd";
    let counted = fs::metadata(DIRECTORY).ok()?.len();
    if counted > 0 {
        return Some(counted);
    }
    let listed = fs::read_dir(DIRECTORY).ok()?.count() as u64;
    // One of them was that of the directory itself.
    Some(listed.saturating_sub(1))
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_whatever_the_program_is_called() {
        for name in ["cat", "a b", ") R 1 (", "(", "ü)"] {
            let stat = format!(
                "42 ({name}) R 1 2 3 4 5 6 7 8 9 10 150 50 13 14 20 0 3 0 1234 20480 99 18446744073709551615"
            );
            let times = Times::of(&stat).unwrap();
            assert_eq!((times.user, times.system, times.start), (150, 50, 1_234), "{name}");
        }
        for cut in
            ["", "42", "42 (cat)", "42 (cat) R 1 2 3 4 5 6 7 8 9 10 150", "1 (x) R 1 2 3 4 5 6 7 8 9 10 x y"]
        {
            assert!(Times::of(cut).is_none(), "{cut}");
        }
        assert_eq!(
            (ticks(150), ticks(u64::MAX)),
            (Duration::from_millis(1_500), Duration::from_nanos(u64::MAX))
        );
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let status = "Name:\tx\nVmSizes:\t1 kB\nVmSize:\t    2048 kB\nVmRSS:\t12 kB\nThreads:\t7\n";
        assert_eq!(kibibytes(status, "VmSize:"), Some(2_048 * 1_024));
        assert_eq!(kibibytes(status, "VmRSS:"), Some(12 * 1_024));
        assert_eq!((field(status, "Threads:"), field(status, "Nothing:")), (Some("7"), None));
        assert_eq!(kibibytes("VmRSS:\t18446744073709551615 kB\n", "VmRSS:"), None);
        assert_eq!(boot_time("cpu 1 2\nbtime 1700000000\n"), Some(Duration::from_secs(1_700_000_000)));
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
             Max open files            1024                 4096                 files     \n";
        assert_eq!(max_fds(limits), Some(1_024));
        assert_eq!(max_fds(&limits.replace("1024", "unlimited")), None);
    }
}
