//! Children of a test's process, which report by their exit codes.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use crate::support::PATIENCE;
use mvx_metrics::Error;
use mvx_metrics::ErrorKind;
use mvx_metrics::Operation;
use std::time::Duration;
use std::time::Instant;

/// Forks, and runs the checks in the child, which reports by its exit code: 0, or the number of the first check that failed.
#[track_caller]
pub fn in_child(checks: impl FnOnce(&mut Checks)) {
    let status = Child::new(checks).end();
    assert!(libc::WIFEXITED(status), "the child was killed: {status}");
    assert_eq!(libc::WEXITSTATUS(status), 0, "the number of the check that failed");
}

/// A child that runs checks; killed if it is not over when patience ends.
pub struct Child(libc::pid_t);

impl Child {
    pub fn new(checks: impl FnOnce(&mut Checks)) -> Self {
        // SAFETY: the child runs the checks alone and leaves by `_exit`: no destructor or exit handler of the harness runs there.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "fork failed");
        if child == 0 {
            let mut made = Checks { number: 0 };
            let checked = std::panic::AssertUnwindSafe(|| checks(&mut made));
            let panicked = std::panic::catch_unwind(checked).is_err();
            // SAFETY: ends the child.
            unsafe { libc::_exit(if panicked { 255 } else { 0 }) };
        }
        Self(child)
    }

    /// Its number among the processes.
    pub fn id(&self) -> libc::pid_t {
        self.0
    }

    pub fn signal(&self, signal: libc::c_int) {
        // SAFETY: it is not reaped yet, so the number is its own.
        assert_eq!(unsafe { libc::kill(self.0, signal) }, 0);
    }

    /// Its status, when it is over.
    #[track_caller]
    pub fn end(self) -> libc::c_int {
        let (mut status, end) = (0, Instant::now() + PATIENCE);
        // SAFETY: the child is this process's own, and waited for once.
        while unsafe { libc::waitpid(self.0, &raw mut status, libc::WNOHANG) } == 0 {
            if Instant::now() > end {
                self.signal(libc::SIGKILL);
                panic!("the child hangs");
            }
            std::thread::park_timeout(Duration::from_micros(200));
        }
        status
    }
}

/// Checks in a child, which must neither print nor unwind into the harness.
pub struct Checks {
    number: i32,
}

impl Checks {
    pub fn that(&mut self, holds: bool) {
        self.number += 1;
        if !holds {
            // SAFETY: ends the child.
            unsafe { libc::_exit(self.number) };
        }
    }

    pub fn forked<T>(&mut self, result: Result<T, Error>) {
        self.that(result.is_err_and(|error| error.kind() == ErrorKind::Forked));
    }

    pub fn forked_at_once(&mut self, operation: Operation) {
        let result = operation.result();
        self.that(result.is_some_and(|r| r.is_err_and(|error| error.kind() == ErrorKind::Forked)));
    }
}
