//! Observations by explicit buckets.

use crate::metric::Batch;
use crate::metric::Interests;
use crate::metric::Metric;
use crate::metric::at_rest::AtRest;
use crate::metric::batch::InPieces;
use crate::metric::batch::PIECE;
use crate::metric::batch::Piece;
use crate::metric::batch::one_by_one;
use crate::metric::builder::InstrumentBuilder;
use crate::metric::builder::Intake;
use crate::metric::edges::Edges;
use crate::metric::measure::Amount;
use crate::metric::scratch::Room;
use crate::metric::selector::FLOAT;
use crate::metric::selector::NANOS;
use crate::metric::selector::UNSIGNED;
use crate::metric::selector::Values;
use crate::metric::series::Series;
use crate::model::error::Error;
use crate::model::heap;
use crate::model::snapshot::Descriptor;
use crate::model::snapshot::ExactSum;
use crate::model::snapshot::Extent;
use crate::model::snapshot::Family;
use crate::model::snapshot::FamilyWriter;
use crate::model::snapshot::Histograms;
use crate::model::snapshot::Kind;
use crate::model::snapshot::Observed;
use crate::model::unit::Unit;
use crate::model::verdict::Context;
use crate::model::verdict::Refusal;
use crate::model::verdict::Verdict;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Bounds for durations of requests, in seconds, as OpenTelemetry's conventions advise them.
pub const SECONDS_BOUNDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Bounds for sizes, in bytes: powers of four from 64 bytes to 4 GiB.
pub const BYTES_BOUNDS: [f64; 14] = [
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
    4_294_967_296.0,
];

/// Up to this many bounds, comparing with every one beats a binary search, whose branches cannot be foreseen.
const FEW_BOUNDS: usize = 32;

/// Counts observations by bucket and keeps their exact sum and extremes.
///
/// A bound belongs to the bucket below it. NaN and infinities are refused. Integers and durations are summed before they are
/// rounded; bucket and extremes of a duration are those of its seconds as `f64`. Without [`bounds`](HistogramBuilder::bounds),
/// [`Unit::Seconds`] takes [`SECONDS_BOUNDS`] and [`Unit::Bytes`]
/// [`BYTES_BOUNDS`].
///
/// # Examples
///
/// ```
/// use mvx_metrics::{Context, Family, FamilyWriter, Histogram, Metric, Timestamp, Unit};
/// use std::time::Duration;
///
/// let mut took = Histogram::<Duration>::builder("request.duration").unit(Unit::Seconds).value(|e| Some(*e)).build()?;
/// let context = Context::new(Timestamp::default(), 1);
/// for millis in [5, 6, 90_000] {
///     let _ = took.handle_event(&Duration::from_millis(millis), &context);
/// }
/// let mut family = Family::new(took.descriptor().clone());
/// took.snapshot(&mut FamilyWriter::whole(&mut family));
/// let histogram = family.find(&[]).and_then(|series| series.value().histogram()).unwrap();
/// assert_eq!((histogram.count(), histogram.sum(), histogram.max()), (3, 90.011, Some(90.0)));
/// assert_eq!(histogram.cumulative().take(2).collect::<Vec<_>>(), [1, 2]);
/// # Ok::<(), mvx_metrics::Error>(())
/// ```
pub struct Histogram<E> {
    intake: Intake<E>,
    series: Series<E, Histograms>,
    batched: Option<Box<Batched>>,
}

/// What only batches need, made by the first of them.
struct Batched {
    edges: Edges,
    /// The smallest and the largest integer of each series, as far as batches have shown them: one that is between needs no other look.
    extents: Vec<Extent>,
}

/// Collects what a [`Histogram`] is.
pub type HistogramBuilder<E> = InstrumentBuilder<E, Histogram<E>>;

impl<E: 'static> Histogram<E> {
    /// Starts a histogram of this name; it needs a value selector, and bounds or a unit that has a preset.
    pub fn builder(name: &str) -> HistogramBuilder<E> {
        InstrumentBuilder::new(name, Kind::Histogram)
    }
}

impl<E: 'static> HistogramBuilder<E> {
    /// The upper bounds of the buckets, inclusive; the bucket above all of them is added by itself.
    pub fn bounds(mut self, bounds: &[f64]) -> Self {
        self.descriptor = self.descriptor.bounds(bounds);
        self
    }

    /// Checks everything and makes the histogram.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidState`](crate::ErrorKind::InvalidState) without a value selector; else the first mistake, as
    /// [`DescriptorBuilder::build`](crate::DescriptorBuilder::build) tells it.
    pub fn build(mut self) -> Result<Histogram<E>, Error> {
        self.need_value("a histogram")?;
        if !self.descriptor.has_bounds() {
            self.descriptor = match self.descriptor.known_unit() {
                Unit::Seconds => self.descriptor.preset(&SECONDS_BOUNDS),
                Unit::Bytes => self.descriptor.preset(&BYTES_BOUNDS),
                _ => self.descriptor,
            };
        }
        let (intake, series) = self.into_parts()?.into_series();
        Ok(Histogram { intake, series, batched: None })
    }
}

impl<E: 'static> Metric<E> for Histogram<E> {
    fn descriptor(&self) -> &Arc<Descriptor> {
        &self.intake.descriptor
    }

    fn interests(&self) -> Interests {
        self.intake.interests()
    }

    #[inline]
    fn handle_event(&mut self, event: &E, context: &Context) -> Verdict {
        let Some(amount) = self.intake.take(event, Amount::Unsigned(1)) else { return Verdict::Ignored };
        let value = match amount.summand() {
            Ok(value) => value,
            Err(refusal) => return Verdict::Refused(refusal),
        };
        let row = self.series.row(event, context);
        let bucket = bucket_of(self.intake.descriptor.bounds(), value);
        if self.series.has_exemplars() {
            let observe = |series: &mut Series<E, Histograms>| observe(series, row, (bucket, value), amount);
            return self.series.take_told(row, (amount, event), context, observe);
        }
        observe(&mut self.series, row, (bucket, value), amount)
    }

    fn handle_batch(&mut self, batch: &mut Batch<'_, E>, context: &Context) {
        if self.series.has_exemplars() {
            return one_by_one(self, batch, context);
        }
        self.handle_in_pieces(batch, context);
    }

    fn reshape(&mut self, descriptor: &Arc<Descriptor>) -> bool {
        self.series.reshape(descriptor, &mut self.intake.descriptor)
    }

    fn fetch(&self, step: usize) {
        self.series.fetch(step);
    }

    fn heap_bytes(&self) -> usize {
        self.intake.heap_bytes() + self.series.heap_bytes() + batched_bytes(&self.batched)
    }

    fn expiry(&self) -> Option<Duration> {
        self.series.expiry()
    }

    fn expire(&mut self, context: &Context) -> Option<Family> {
        let expired = self.series.expire(context);
        if let (Some(_), Some(batched)) = (&expired, &mut self.batched) {
            // Those that stay have other rows now.
            batched.extents.clear();
        }
        expired
    }

    fn at_rest(&mut self) -> Option<&mut dyn AtRest> {
        Some(self)
    }

    fn snapshot(&self, writer: &mut FamilyWriter<'_>) {
        self.series.snapshot(writer);
    }
}

impl<E: 'static> AtRest for Histogram<E> {
    fn spared(&self) -> usize {
        let series = self.series.spared();
        series + if series == 0 { 0 } else { batched_bytes(&self.batched) }
    }

    fn rest(&mut self, shown: &Family) -> bool {
        let rests = self.series.rest(shown);
        if rests {
            self.batched = None;
        }
        rests
    }

    fn wake(&mut self, shown: &Family, cut: u64) {
        self.series.wake(shown, cut);
    }
}

impl<E: 'static> InPieces<E> for Histogram<E> {
    fn handle_piece(&mut self, piece: &mut Piece<'_, E>, room: &mut Room, context: &Context) {
        let values = &mut room.values;
        self.intake.keep(piece);
        self.intake.read(piece, values);
        if values.only(NANOS).or(values.only(UNSIGNED)).is_none() {
            values.refuse(piece, |amount| amount.summand().is_ok());
        }
        if values.len() == 0 {
            return;
        }
        let Some(row) = self.series.only_row(context) else {
            return self.handle_labelled(piece, room, context);
        };
        if !self.observe_all(row, values) {
            let rows = std::iter::repeat(row);
            self.observe_each(piece, values, rows);
        }
    }
}

impl<E: 'static> Histogram<E> {
    fn handle_labelled(&mut self, piece: &mut Piece<'_, E>, room: &mut Room, context: &Context) {
        let Room { values, labels, buckets } = room;
        let rows = self.series.rows(piece, labels, context);
        values.truncate(piece.count());
        if !self.observe_integers(piece, values, rows, buckets) {
            self.observe_each(piece, values, rows.iter().map(|row| *row as usize));
        }
    }

    /// Observes integers of several series; `false`, and nothing has changed, if the values are none.
    fn observe_integers(
        &mut self,
        piece: &mut Piece<'_, E>,
        values: &Values,
        rows: &[u32],
        buckets: &mut [u16; PIECE],
    ) -> bool {
        let kind = values.kind();
        let (Some(integers), true) = (values.only(kind), kind == NANOS || kind == UNSIGNED) else {
            return false;
        };
        let Some(Batched { edges, extents }) = batched_for(&mut self.batched, &self.intake.descriptor, kind)
        else {
            return false;
        };
        edges.buckets(integers, buckets);
        let column = self.series.column_mut();
        let observed = Observed { rows, buckets, integers };
        let refused = if kind == NANOS {
            column.observe_integers(
                observed,
                extents,
                seconds,
                (ExactSum::takes_nanos, ExactSum::add_some_nanos),
            )
        } else {
            column.observe_integers(
                observed,
                extents,
                |integer| integer as f64,
                (ExactSum::takes_unsigned, ExactSum::add_unsigned),
            )
        };
        if refused != 0 {
            let places = (0..PIECE).filter(|place| refused >> place & 1 == 1);
            places.enumerate().for_each(|(before, place)| piece.refuse(place - before));
        }
        true
    }

    /// Observes what belongs to one series all together; `false`, and nothing has changed, if this is not possible.
    fn observe_all(&mut self, row: usize, values: &Values) -> bool {
        let kind = values.kind();
        let (Some(bits), Some(Batched { edges, .. })) =
            (values.only(kind), batched_for(&mut self.batched, &self.intake.descriptor, kind))
        else {
            return false;
        };
        let column = self.series.column_mut();
        if kind == FLOAT {
            let numbers = bits.iter().map(|bits| f64::from_bits(*bits));
            let min = numbers.clone().fold(f64::INFINITY, f64::min);
            let max = numbers.clone().fold(f64::NEG_INFINITY, f64::max);
            let bounds = self.intake.descriptor.bounds();
            let buckets = numbers.clone().map(|number| bucket_of_number(edges, bounds, number));
            return column.observe_all(row, buckets, (min, max), |sum| sum.add_all(numbers));
        }
        let (mut min, mut max, mut sum) = (u64::MAX, 0, 0_i128);
        for integer in bits {
            min = min.min(*integer);
            max = max.max(*integer);
            sum += i128::from(*integer);
        }
        let number = |integer| if kind == NANOS { Amount::Nanos(integer) } else { Amount::Unsigned(integer) };
        let extremes = (number(min).as_f64(), number(max).as_f64());
        let add =
            |total: &mut ExactSum| if kind == NANOS { total.add_nanos(sum) } else { total.add_whole(sum) };
        if edges.are_sparse() {
            column.observe_all(row, bits.iter().map(|integer| edges.bucket_of_two(*integer)), extremes, add)
        } else {
            column.observe_all(row, bits.iter().map(|integer| edges.bucket(*integer)), extremes, add)
        }
    }

    fn observe_each(&mut self, piece: &mut Piece<'_, E>, values: &Values, rows: impl Iterator<Item = usize>) {
        let batched = batched_for(&mut self.batched, &self.intake.descriptor, values.kind());
        let edges = batched.map(|batched| &batched.edges);
        let bounds = self.intake.descriptor.bounds();
        let column = self.series.column_mut();
        match (edges, values.only(FLOAT)) {
            (Some(edges), Some(bits)) => {
                let numbers = bits.iter().map(|bits| f64::from_bits(*bits));
                let found =
                    numbers.map(|number| (Amount::Float(number), bucket_of_number(edges, bounds, number)));
                observe_found(column, piece, found.zip(rows));
            }
            _ => {
                let found = values.iter().map(|amount| (amount, bucket_of_any(edges, bounds, amount)));
                observe_found(column, piece, found.zip(rows));
            }
        }
    }
}

impl<E> fmt::Debug for Histogram<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("intake", &self.intake)
            .field("series", &self.series)
            .finish_non_exhaustive()
    }
}

#[inline(always)]
fn observe<E>(
    series: &mut Series<E, Histograms>,
    row: usize,
    (bucket, value): (usize, f64),
    amount: Amount,
) -> Verdict {
    if series.column_mut().observe(row, bucket, value, || value, |sum| amount.add_to(sum)) {
        Verdict::Accepted
    } else {
        Verdict::Refused(Refusal::OutOfRange)
    }
}

/// Observes values whose bucket and row are found; refuses the event of each whose sum is then out of range.
#[inline(always)]
fn observe_found<E>(
    column: &mut Histograms,
    piece: &mut Piece<'_, E>,
    found: impl Iterator<Item = ((Amount, usize), usize)>,
) {
    let mut refused = 0;
    for (place, ((amount, bucket), row)) in found.enumerate() {
        if !column.observe(row, bucket, amount.roughly(), || amount.as_f64(), |sum| amount.add_to(sum)) {
            piece.refuse(place - refused);
            refused += 1;
        }
    }
}

/// Out of line, because its division takes registers that the loop around it needs, and is rarely asked for.
#[inline(never)]
fn seconds(nanos: u64) -> f64 {
    Amount::Nanos(nanos).as_f64()
}

/// What batches of values of this kind need, made by the first of them; a measure has only one kind, or there is nothing for it.
fn batched_for<'b>(
    batched: &'b mut Option<Box<Batched>>,
    of: &Descriptor,
    kind: u8,
) -> Option<&'b mut Batched> {
    if kind != NANOS && kind != UNSIGNED && kind != FLOAT {
        return None;
    }
    let make = || Box::new(Batched { edges: Edges::new(of.bounds(), kind), extents: Vec::new() });
    let batched = batched.get_or_insert_with(make);
    (batched.edges.kind() == kind).then_some(&mut **batched)
}

fn batched_bytes(batched: &Option<Box<Batched>>) -> usize {
    batched.as_ref().map_or(0, |batched| {
        size_of_val(&**batched) + batched.edges.heap_bytes() + heap::vec(&batched.extents)
    })
}

fn bucket_of_any(edges: Option<&Edges>, bounds: &[f64], amount: Amount) -> usize {
    match (edges, amount) {
        (Some(edges), Amount::Unsigned(integer) | Amount::Nanos(integer)) => edges.bucket(integer),
        _ => bucket_of(bounds, amount.as_f64()),
    }
}

#[inline(always)]
fn bucket_of_number(edges: &Edges, bounds: &[f64], number: f64) -> usize {
    if number > 0.0 { edges.bucket_of_number(number) } else { bucket_of(bounds, number) }
}

/// The first bucket whose bound is not below the value.
#[inline]
fn bucket_of(bounds: &[f64], value: f64) -> usize {
    if bounds.len() <= FEW_BOUNDS {
        bounds.iter().map(|bound| usize::from(*bound < value)).sum()
    } else {
        bounds.partition_point(|bound| *bound < value)
    }
}
