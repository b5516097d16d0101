//! The view while the storing goes on: one screen on a terminal, plain lines elsewhere.

use crate::figures;
use crate::recorders::Snapshots;
use crate::totals::Totals;
use crate::totals::sum_of;
use mvx_metrics::Snapshot;
use std::collections::VecDeque;
use std::io;
use std::io::IsTerminal;
use std::io::Write;
use std::time::Duration;
use std::time::Instant;

/// What the view shows, beside the snapshots.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    pub from: &'a str,
    pub into: &'a str,
    pub elapsed: Duration,
    /// Files are still being looked for, so the number found is not final.
    pub searching: bool,
    /// No more files are handed out.
    pub stopping: bool,
}

/// Shows progress on one stream.
pub struct View {
    out: Box<dyn Write>,
    manner: Manner,
    pace: Pace,
    last_line: Option<Instant>,
}

enum Manner {
    Screen { colour: bool },
    Lines,
}

/// Files and bytes done lately, for rates.
#[derive(Debug, Default)]
pub struct Pace(VecDeque<(Duration, u64, u64)>);

/// How often the view is drawn.
pub const REDRAW: Duration = Duration::from_millis(100);

/// How often a plain line is written.
const LINE: Duration = Duration::from_secs(1);

/// The time over which rates are taken.
const WINDOW: Duration = Duration::from_secs(2);

/// Recorders of workers that are listed; a screen has an end.
const LISTED: usize = 12;

/// The screen that leaves the terminal's own lines alone, without a cursor, with long lines cut off.
const OPEN: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const CLOSE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

impl View {
    /// A view on standard output, or on standard error where standard output is for the program's JSON.
    pub fn open(json: bool) -> Self {
        let (out, terminal): (Box<dyn Write>, bool) = if json {
            (Box::new(io::stderr()), io::stderr().is_terminal())
        } else {
            (Box::new(io::stdout()), io::stdout().is_terminal())
        };
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let dumb = set("TERM").is_none_or(|term| term == "dumb");
        let manner = if terminal && !dumb {
            Manner::Screen { colour: set("NO_COLOR").is_none() }
        } else {
            Manner::Lines
        };
        let mut view = Self { out, manner, pace: Pace::default(), last_line: None };
        if matches!(view.manner, Manner::Screen { .. }) {
            view.write(OPEN);
        }
        view
    }

    /// Shows how far it is.
    pub fn show(&mut self, snapshots: &Snapshots, progress: Progress<'_>) {
        let totals = Totals::read(snapshots);
        self.pace.note(progress.elapsed, &totals);
        match self.manner {
            Manner::Screen { colour } => {
                let lines = screen(snapshots, &totals, &self.pace, progress);
                self.write(&placed(&lines, colour));
            }
            Manner::Lines if self.last_line.is_none() => {
                self.last_line = Some(Instant::now());
                self.write(&format!("storing {} into {}\n", progress.from, progress.into));
            }
            Manner::Lines if self.last_line.is_some_and(|last| last.elapsed() >= LINE) => {
                self.last_line = Some(Instant::now());
                self.write(&format!("{}\n", line(&totals, &self.pace, progress)));
            }
            Manner::Lines => {}
        }
    }

    /// Writes in one go, so that the terminal never shows half a screen. A stream that is gone is no reason to stop storing.
    fn write(&mut self, text: &str) {
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }
}

/// Gives the terminal back, however the program ends.
impl Drop for View {
    fn drop(&mut self) {
        if matches!(self.manner, Manner::Screen { .. }) {
            self.write(CLOSE);
        }
    }
}

impl Pace {
    pub fn note(&mut self, at: Duration, totals: &Totals) {
        self.0.push_back((at, totals.files_done(), totals.bytes_stored));
        while self.0.get(1).is_some_and(|(second, ..)| at.saturating_sub(*second) >= WINDOW) {
            self.0.pop_front();
        }
    }

    /// Files and bytes a second.
    pub fn rates(&self) -> (f64, f64) {
        let (Some(first), Some(last)) = (self.0.front(), self.0.back()) else { return (0.0, 0.0) };
        let seconds = last.0.saturating_sub(first.0).as_secs_f64();
        if seconds == 0.0 {
            return (0.0, 0.0);
        }
        ((last.1 - first.1) as f64 / seconds, (last.2 - first.2) as f64 / seconds)
    }
}

/// The whole screen. A line that begins with `!` is a warning, one with `#` a head.
pub fn screen(snapshots: &Snapshots, totals: &Totals, pace: &Pace, progress: Progress<'_>) -> Vec<String> {
    let number = figures::count;
    let (files, bytes) = pace.rates();
    let storage = &snapshots.storage;
    let mean =
        storage.mean("document.average_size", &[]).map(|mean| format!("   {} each", figures::bytes(mean)));
    let mean = mean.unwrap_or_default();
    let mut lines = vec![
        format!("#mvx-metrics: document storage{:>47}", figures::duration(progress.elapsed)),
        format!("from       {}", progress.from),
        format!("into       {}", progress.into),
        String::new(),
        bar(totals, progress),
        format!(
            "files      {} stored ({} duplicates)   {} failed   {} in work",
            number(totals.files_stored),
            number(totals.duplicates),
            number(totals.files_failed),
            totals.in_flight
        ),
        format!(
            "bytes      {} stored   {} written{mean}",
            figures::bytes(totals.bytes_stored as f64),
            figures::bytes(totals.bytes_written as f64)
        ),
        format!("rate       {} files/s   {}/s", number(files as u64), figures::bytes(bytes)),
        format!("durations  {}", durations(storage)),
    ];
    if totals.files_failed > 0 {
        lines.push(format!("!failed     {}", failures(storage)));
    }
    if totals.directories_failed > 0 {
        lines
            .push(format!("!unread     {} directories could not be read", number(totals.directories_failed)));
    }
    lines.push(String::new());
    lines.extend(table(snapshots, progress));
    lines
}

/// One line that says the most.
pub fn line(totals: &Totals, pace: &Pace, progress: Progress<'_>) -> String {
    let number = figures::count;
    let (files, bytes) = pace.rates();
    format!(
        "{:>6.1} s  {} stored, {} failed of {} found{}  {}  {} files/s  {}/s  {} events pending",
        progress.elapsed.as_secs_f64(),
        number(totals.files_stored),
        number(totals.files_failed),
        number(totals.files_found),
        if progress.searching { " so far" } else { "" },
        figures::bytes(totals.bytes_stored as f64),
        number(files as u64),
        figures::bytes(bytes),
        number(totals.accounts.pending())
    )
}

/// What failed, by cause: `empty 12, vanished 1`.
pub fn failures(storage: &Snapshot) -> String {
    let series = storage.metric("document.failures").into_iter().flat_map(|metric| metric.family().series());
    let causes = series.map(|series| {
        let count = series.value().counter().unwrap_or_default();
        format!("{} {}", series.labels().get("reason").unwrap_or_default(), figures::count(count))
    });
    causes.collect::<Vec<_>>().join(", ")
}

/// How long saves that succeeded took.
fn durations(storage: &Snapshot) -> String {
    let histogram = storage.histogram("document.save.duration", &[("outcome", "success")]);
    let Some(histogram) = histogram else { return String::new() };
    let at_most = |quantile| figures::at_most(histogram, quantile).map_or_else(String::new, figures::seconds);
    let max = histogram.max().map_or_else(String::new, figures::seconds);
    format!("half ≤ {}   90 % ≤ {}   99 % ≤ {}   longest {max}", at_most(0.5), at_most(0.9), at_most(0.99))
}

fn bar(totals: &Totals, progress: Progress<'_>) -> String {
    const WIDTH: usize = 30;
    let share = totals.files_done() as f64 / totals.files_found.max(1) as f64;
    let full = ((share * WIDTH as f64) as usize).min(WIDTH);
    let note = match progress {
        Progress { stopping: true, .. } => ", stopping",
        Progress { searching: true, .. } => ", still looking",
        _ => "",
    };
    format!(
        "[{}{}] {:>7}   {} of {} files found{note}",
        "█".repeat(full),
        "·".repeat(WIDTH - full),
        figures::percent(share),
        figures::count(totals.files_done()),
        figures::count(totals.files_found)
    )
}

/// A row for each recorder: its events, and of a worker its work.
fn table(snapshots: &Snapshots, progress: Progress<'_>) -> Vec<String> {
    let mut rows = vec![format!(
        "#{:<16} {:>9} {:>9} {:>7} {:>4} {:>9} {:>9} {:>8}",
        "recorder", "accepted", "processed", "pending", "lost", "files", "bytes", "busy"
    )];
    rows.push(row(&snapshots.storage, ""));
    rows.push(row(&snapshots.walk, ""));
    for worker in snapshots.workers.iter().take(LISTED) {
        let busy = worker.float_counter("worker.busy", &[]).unwrap_or_default();
        let work = format!(
            " {:>9} {:>9} {:>8}",
            figures::count(sum_of(worker, "worker.files")),
            figures::bytes(sum_of(worker, "worker.bytes") as f64),
            figures::percent(busy / progress.elapsed.as_secs_f64().max(f64::MIN_POSITIVE))
        );
        rows.push(row(worker, &work));
    }
    if snapshots.workers.len() > LISTED {
        rows.push(format!("… and {} workers more", snapshots.workers.len() - LISTED));
    }
    rows
}

fn row(snapshot: &Snapshot, work: &str) -> String {
    let accounts = snapshot.accounts();
    let lost = accounts.lost();
    format!(
        "{}{:<16} {:>9} {:>9} {:>7} {:>4}{work}",
        if lost > 0 { "!" } else { "" },
        snapshot.id().as_str(),
        figures::count(accounts.accepted),
        figures::count(accounts.processed),
        figures::count(accounts.pending()),
        figures::count(lost)
    )
}

/// The lines, each at its place: nothing scrolls, and on a screen too short the last line covers those it has no room for.
fn placed(lines: &[String], colour: bool) -> String {
    let mut text = String::new();
    for (at, line) in lines.iter().enumerate() {
        let (paint, line) = match line.split_at_checked(1) {
            Some(("#", rest)) => ("\x1b[1m", rest),
            Some(("!", rest)) => ("\x1b[33m", rest),
            _ => ("", line.as_str()),
        };
        let (paint, end) = if colour && !paint.is_empty() { (paint, "\x1b[0m") } else { ("", "") };
        text.push_str(&format!("\x1b[{};1H{paint}{line}{end}\x1b[K", at + 1));
    }
    text.push_str("\x1b[J");
    text
}
