//! What an exporter has sent, for whoever wants to see it.

use crate::export::rows::Written;
use crate::sync::Mutex;
use std::fmt;
use std::sync::Arc;

/// What a StatsD exporter has sent. `Clone` gives another handle to the same; by [`Exporter::sent`](super::Exporter::sent).
///
/// # Examples
///
/// See [`Exporter`](super::Exporter).
#[derive(Clone, Default)]
pub struct Sent(Arc<Mutex<State>>);

#[derive(Clone, Default)]
struct State {
    datagrams: u64,
    lines: u64,
    remembered: usize,
    last: Written,
}

impl Sent {
    /// Datagrams that the operating system has taken.
    pub fn datagrams(&self) -> u64 {
        self.0.lock().datagrams
    }

    /// Lines in them.
    pub fn lines(&self) -> u64 {
        self.0.lock().lines
    }

    /// Counters that are remembered for their next delta.
    pub fn remembered(&self) -> usize {
        self.0.lock().remembered
    }

    /// The last complete delivery: how many series were in it, those included that had nothing new to say, and which were left out and why.
    pub fn last(&self) -> Written {
        self.0.lock().last.clone()
    }

    pub(super) fn add_datagram(&self, lines: u64) {
        let mut state = self.0.lock();
        state.datagrams += 1;
        state.lines += lines;
    }

    pub(super) fn complete(&self, last: Written, remembered: usize) {
        let mut state = self.0.lock();
        state.last = last;
        state.remembered = remembered;
    }
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let State { datagrams, lines, remembered, last } = self.0.lock().clone();
        f.debug_struct("Sent")
            .field("datagrams", &datagrams)
            .field("lines", &lines)
            .field("remembered", &remembered)
            .field("last", &last)
            .finish()
    }
}
