//! The rows, one file each.

mod b1;
mod b10;
mod b11;
mod b12;
mod b13;
mod b14;
mod b15;
mod b16;
mod b17;
mod b18;
mod b19;
mod b2;
mod b20;
#[cfg(feature = "otlp")]
pub mod b21;
mod b22;
pub mod b23;
mod b24;
mod b3;
mod b4;
mod b5;
mod b6;
mod b7;
mod b8;
#[cfg(feature = "metrique")]
mod b9;
mod bare_queue;
mod inline;
mod task;

use crate::Failure;
use crate::clocks;
use crate::rounds::Paired;
use crate::rows::Measure::One;
use crate::rows::Measure::Several;
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
    /// What else keeps this machine from showing the row.
    pub unchecked: Option<String>,
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
        if self.unchecked_because().is_some() {
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
        let threads =
            (self.threads > cores).then(|| format!("{} threads at once on {cores} core(s)", self.threads));
        self.unchecked.clone().or(threads)
    }
}

/// What measures: the wanted number of rounds to a row, or to rows that come of the same rounds.
#[derive(Clone, Copy)]
pub enum Measure {
    One(fn(usize) -> Result<Row, Failure>),
    Several(fn(usize) -> Result<Vec<Row>, Failure>),
}

impl Measure {
    pub fn rows(self, rounds: usize) -> Result<Vec<Row>, Failure> {
        match self {
            Self::One(measure) => Ok(vec![measure(rounds)?]),
            Self::Several(measure) => measure(rounds),
        }
    }
}

/// Every row, in the order of the table.
pub const ALL: &[(&str, Measure)] = &[
    ("B1", One(b1::measure)),
    ("B2", One(b2::measure)),
    ("B3", One(b3::measure)),
    ("B4", One(b4::measure)),
    ("B5", One(b5::measure)),
    ("B6", One(b6::measure)),
    ("B7", One(b7::measure)),
    ("B8", One(b8::measure)),
    #[cfg(feature = "metrique")]
    ("B9", One(b9::measure)),
    ("B10", Several(b10::measure)),
    ("B11", One(b11::measure)),
    ("B12", One(b12::measure)),
    ("B13", Several(b13::measure)),
    ("B14", One(b14::measure)),
    ("B15", One(b15::unused)),
    ("B15b", One(b15::used)),
    ("B16", One(b16::measure)),
    ("B17", One(b17::measure)),
    ("B18", One(b18::measure)),
    ("B19", Several(b19::measure)),
    ("B20", One(b20::measure)),
    #[cfg(feature = "otlp")]
    ("B21", One(b21::measure)),
    ("B22", One(b22::measure)),
    ("B23", One(b23::measure)),
    ("B24", One(b24::counter)),
    ("B24b", One(b24::histogram)),
];
