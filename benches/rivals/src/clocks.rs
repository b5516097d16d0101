//! CPU clocks, and pinning.

use crate::Failure;
use std::sync::OnceLock;

/// Nanoseconds of CPU that the calling thread has used.
pub fn thread_cpu() -> u64 {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Nanoseconds of CPU that all threads of the process have used.
pub fn process_cpu() -> u64 {
    read(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Nanoseconds of CPU that another thread of this process has used.
pub fn cpu_of(thread: i32) -> Result<u64, Failure> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // The kernel's name for the clock of a thread: its id, inverted, above three bits that say whose time and of what kind.
    let clock = (!thread << 3) | 0b110;
    // SAFETY: `time` is a valid place for the answer; a clock that there is none of is refused.
    let result = unsafe { libc::clock_gettime(clock, &mut time) };
    if result != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer, and both clocks exist on every Linux.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// How many cores the process might run on when it was first asked.
pub fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| allowed().len().max(1))
}

/// Keeps the calling thread, and the threads and programs it starts from now on, on the first core it may use.
pub fn pin_to_one_core() -> Result<(), Failure> {
    keep_on(&allowed()[..1])
}

/// Where the threads of a row run. Without it the scheduler decides, round by round, whether producers and consumer share a core
/// and its caches, and the figures have two modes.
pub struct Places {
    all: Vec<usize>,
}

impl Places {
    pub fn new() -> Self {
        Self { all: allowed() }
    }

    /// Starts something whose threads are to stay away from the first core, where there is another.
    pub fn off_the_first<R>(&self, start: impl FnOnce() -> R) -> Result<R, Failure> {
        keep_on(if self.all.len() > 1 { &self.all[1..] } else { &self.all })?;
        let started = start();
        keep_on(&self.all)?;
        Ok(started)
    }

    /// Keeps the calling thread on the core of this number, where there are as many.
    pub fn take(&self, number: usize) -> Result<(), Failure> {
        keep_on(self.all.get(number).map_or(&self.all[..], std::slice::from_ref))
    }
}

impl Default for Places {
    fn default() -> Self {
        Self::new()
    }
}

/// However a row ends, the next one starts free.
impl Drop for Places {
    fn drop(&mut self) {
        let _ = keep_on(&self.all);
    }
}

/// The cores that the calling thread may use.
fn allowed() -> Vec<usize> {
    // SAFETY: a `cpu_set_t` is a plain array of bits, for which zero is a value; the call writes this one only.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set);
        set
    };
    // SAFETY: every number is below the size of the set.
    (0..libc::CPU_SETSIZE as usize).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) }).collect()
}

fn keep_on(cores: &[usize]) -> Result<(), Failure> {
    // SAFETY: as in `allowed`; numbers that are not below the size of the set cannot come from there.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        cores.iter().for_each(|cpu| libc::CPU_SET(*cpu, &mut set));
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().into()) }
}
