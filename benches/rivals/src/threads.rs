//! What the kernel keeps of single threads: how often they went to sleep, and their CPU.

use crate::Failure;
use crate::clocks;
use std::collections::BTreeSet;
use std::fs;

/// Threads of this process that something has started.
pub struct Threads {
    ids: Vec<i32>,
}

impl Threads {
    /// Runs `start`; the threads that are there afterwards and were not before.
    pub fn started_by<R>(start: impl FnOnce() -> Result<R, Failure>) -> Result<(R, Self), Failure> {
        let before = all()?;
        let started = start()?;
        let ids: Vec<i32> = all()?.difference(&before).copied().collect();
        if ids.is_empty() {
            return Err("it has started no thread".into());
        }
        Ok((started, Self { ids }))
    }

    /// How often they have gone to sleep of their own accord, which is as often as they were woken.
    pub fn waits(&self) -> Result<u64, Failure> {
        self.ids.iter().map(|id| waits(*id)).sum()
    }

    /// Nanoseconds of CPU that they have used.
    pub fn cpu(&self) -> Result<u64, Failure> {
        self.ids.iter().map(|id| clocks::cpu_of(*id)).sum()
    }
}

fn all() -> Result<BTreeSet<i32>, Failure> {
    fs::read_dir("/proc/self/task")?.map(|entry| Ok(entry?.file_name().to_string_lossy().parse()?)).collect()
}

fn waits(id: i32) -> Result<u64, Failure> {
    let status = fs::read_to_string(format!("/proc/self/task/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    Ok(line.ok_or("the kernel does not count context switches")?.trim().parse()?)
}
