//! The rows, one file each.

mod b1;
mod b12;
mod b15;
mod b17;
mod b2;
mod b20;
#[cfg(feature = "otlp")]
pub mod b21;
mod b24;
mod b3;
mod b4;
mod b5;
mod b6;
mod b7;
mod b8;
mod bare_queue;
mod five;
mod inline;
mod task;

use crate::Failure;
use crate::clocks;
use crate::rounds::Paired;
use crate::stats;

/// One line of the table.
pub struct Row {
    pub id: &'static str,
    pub what: &'static str,
    pub unit: &'static str,
    pub figures: Paired,
    /// What must be `<=` the bar.
    pub reading: Reading,
    pub bar: f64,
    /// Threads that must run at the same time for the row to mean what it says.
    pub threads: usize,
    pub remarks: Vec<String>,
}

/// How a row's figures are judged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// The upper 95 % bound of the median of the paired ratios ours / rival.
    Ratio,
    /// Every figure of ours; there is no rival.
    OursAlone,
    /// The median of ours; there is no rival.
    Median,
}

impl Reading {
    pub const fn text(self) -> &'static str {
        match self {
            Self::Ratio => "upper 95 % bound of the median of ours[i] / rival[i] <= bar",
            Self::OursAlone => "every figure of ours <= bar",
            Self::Median => "median of ours <= bar",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Holds,
    DoesNotHold,
    NotChecked,
}

impl Verdict {
    pub const fn text(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::DoesNotHold => "does not hold",
            Self::NotChecked => "NOT CHECKED",
        }
    }
}

impl Row {
    /// The figure that is compared with the bar.
    pub fn bound(&self) -> f64 {
        match self.reading {
            Reading::Ratio => {
                stats::upper_bound_of_median(&stats::ratios(&self.figures.ours, &self.figures.rival))
            }
            Reading::Median => stats::median(&self.figures.ours),
            Reading::OursAlone => self.figures.ours.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }

    pub fn verdict(&self) -> Verdict {
        if self.threads > clocks::cores() {
            Verdict::NotChecked
        } else if self.bound() <= self.bar {
            Verdict::Holds
        } else {
            Verdict::DoesNotHold
        }
    }

    /// Why the verdict is NOT CHECKED.
    pub fn unchecked_because(&self) -> Option<String> {
        let cores = clocks::cores();
        (self.threads > cores).then(|| format!("{} threads at once on {cores} core(s)", self.threads))
    }
}

type Measure = fn(usize) -> Result<Row, Failure>;

/// Every row, in the order of the table.
pub const ALL: &[(&str, Measure)] = &[
    ("B1", b1::measure),
    ("B2", b2::measure),
    ("B3", b3::measure),
    ("B4", b4::measure),
    ("B5", b5::measure),
    ("B6", b6::measure),
    ("B7", b7::measure),
    ("B8", b8::measure),
    ("B12", b12::measure),
    ("B15", b15::unused),
    ("B15b", b15::used),
    ("B17", b17::measure),
    ("B20", b20::measure),
    #[cfg(feature = "otlp")]
    ("B21", b21::measure),
    ("B24", b24::counter),
    ("B24b", b24::histogram),
];
