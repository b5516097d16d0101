//! Which series a family has: label values and start times, appended only, shared by the metric and all its cuts.

use crate::model::clock::Timestamp;
use crate::model::heap;
use crate::model::label::LabelSet;
use crate::model::label::Labels;
use crate::model::name::LabelKey;
use crate::sync::fetch;
use crate::sync::fetch_all;
use std::sync::Arc;

/// Series per chunk: the grain in which label values are shared and changes are noted.
pub(crate) const CHUNK: usize = 64;

/// The label values of the series of one metric. `Clone` shares every chunk.
#[derive(Clone, Debug)]
pub(crate) struct SeriesKeys {
    labels: Arc<[LabelKey]>,
    chunks: Vec<Arc<Chunk>>,
    len: usize,
    /// The series that takes what is past the limit, once there is one.
    overflow: Option<Arc<Overflow>>,
}

/// What is past the limit.
#[derive(Clone, Debug)]
struct Overflow {
    /// Which series takes it.
    at: usize,
    /// The labels of that, which are no labels of the metric.
    labels: LabelSet,
    /// Some label sets that found no room.
    examples: Vec<LabelSet>,
    /// How often it was looked whether one is another example.
    looks: u32,
}

/// Label sets past the limit that are remembered.
const EXAMPLES: usize = 5;

/// Observations past the limit that are looked at for examples: the same label set may come for ever.
const LOOKS: u32 = 1_000;

/// Up to [`CHUNK`] series. All values lie in one string: an allocation per series would double its cost.
#[derive(Clone, Debug, Default, PartialEq)]
struct Chunk {
    text: String,
    ends: Vec<u32>,
    started: Vec<Timestamp>,
}

impl SeriesKeys {
    pub(crate) fn new(labels: Arc<[LabelKey]>) -> Self {
        Self { labels, chunks: Vec::new(), len: 0, overflow: None }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// What the series take on the heap, without their values. Chunks are shared with cuts: `all` counts them, otherwise only those that
    /// nobody else has count.
    pub(super) fn heap_bytes(&self, all: bool) -> usize {
        let counts = |chunk: &&Arc<Chunk>| all || Arc::strong_count(chunk) == 1;
        let chunks = self.chunks.iter().filter(counts).map(|chunk| {
            let text = chunk.text.capacity() + heap::vec(&chunk.ends);
            heap::arc(&**chunk) + text + heap::vec(&chunk.started)
        });
        let overflow = self.overflow.as_ref().filter(|overflow| all || Arc::strong_count(overflow) == 1);
        let overflow = overflow.map_or(0, |overflow| {
            let examples = overflow.examples.iter().map(LabelSet::heap_bytes);
            heap::arc(&**overflow) + heap::vec(&overflow.examples) + examples.sum::<usize>()
        });
        heap::vec(&self.chunks) + chunks.sum::<usize>() + overflow
    }

    /// What the values of each label take, in the order of the keys: their texts, and where each ends.
    pub(super) fn label_bytes(&self) -> impl Iterator<Item = (&LabelKey, usize)> {
        let of = |position: usize| {
            let texts = (0..self.len).map(|series| self.value(series, position).len());
            texts.sum::<usize>() + self.len * size_of::<u32>()
        };
        self.labels.iter().enumerate().map(move |(position, key)| (key, of(position)))
    }

    /// How many labels each series has.
    pub(crate) fn width(&self) -> usize {
        self.labels.len()
    }

    /// Notes that a series was observed from `started` on, if that is earlier than what is known.
    pub(super) fn begin_earlier(&mut self, series: usize, started: Timestamp) {
        if self.started(series) <= started {
            return;
        }
        if let Some(chunk) = self.chunks.get_mut(series / CHUNK) {
            if let Some(known) = Arc::make_mut(chunk).started.get_mut(series % CHUNK) {
                *known = started;
            }
        }
    }

    /// Appends a series with one value per label, in their order.
    ///
    /// While a reader's cut shares the last chunk, that chunk is copied first: at most once per cut.
    pub(crate) fn push<'v>(&mut self, values: impl Iterator<Item = &'v str>, started: Timestamp) -> usize {
        if self.len == self.chunks.len() * CHUNK {
            // Most families have one chunk, and very many have one series.
            self.chunks.reserve_exact(usize::from(self.chunks.is_empty()));
            self.chunks.push(Arc::default());
        }
        let at = self.len;
        if let Some(last) = self.chunks.last_mut() {
            let chunk = Arc::make_mut(last);
            for value in values.take(self.labels.len()) {
                chunk.text.push_str(value);
                // At most 64 series of 16 values of 1 KiB: far below 4 GiB.
                chunk.ends.push(chunk.text.len() as u32);
            }
            chunk.started.reserve_exact(usize::from(chunk.started.is_empty()));
            chunk.started.push(started);
            if chunk.started.len() == CHUNK {
                chunk.text.shrink_to_fit();
                chunk.ends.shrink_to_fit();
            }
            self.len += 1;
        }
        at
    }

    /// The series that takes what is past the limit; made when it is first asked for.
    pub(crate) fn push_overflow(&mut self, started: Timestamp) -> usize {
        if let Some(overflow) = &self.overflow {
            return overflow.at;
        }
        let blanks = self.labels.len();
        let at = self.push(std::iter::repeat_n("", blanks), started);
        let labels = LabelSet::overflow();
        self.overflow = Some(Arc::new(Overflow { at, labels, examples: Vec::new(), looks: 0 }));
        at
    }

    /// Takes note of a label set that goes to the overflow series, while few are known.
    pub(crate) fn note_overflow<'v>(&mut self, values: impl Iterator<Item = &'v str>) {
        let Some(overflow) = &mut self.overflow else { return };
        if overflow.examples.len() >= EXAMPLES || overflow.looks >= LOOKS {
            return;
        }
        let overflow = Arc::make_mut(overflow);
        overflow.looks += 1;
        let example = LabelSet::of_values(&self.labels, values);
        if !overflow.examples.contains(&example) {
            overflow.examples.push(example);
        }
    }

    /// Whether another label set that goes to the overflow series would be taken note of.
    pub(crate) fn wants_examples(&self) -> bool {
        self.overflow.as_ref().is_none_or(|known| known.examples.len() < EXAMPLES && known.looks < LOOKS)
    }

    pub(super) fn overflow_examples(&self) -> &[LabelSet] {
        self.overflow.as_ref().map_or(&[], |overflow| &overflow.examples)
    }

    pub(crate) fn overflow(&self) -> Option<usize> {
        self.overflow.as_ref().map(|overflow| overflow.at)
    }

    /// The labels of a series as readers see them.
    pub(crate) fn labels(&self, series: usize) -> Labels<'_> {
        match &self.overflow {
            Some(overflow) if overflow.at == series => overflow.labels.as_labels(),
            _ => self.values(series),
        }
    }

    fn values(&self, series: usize) -> Labels<'_> {
        let Some(chunk) = self.chunks.get(series / CHUNK) else { return Labels::new(&[], "", 0, &[]) };
        let width = self.labels.len();
        let first = series % CHUNK * width;
        let start = if first == 0 { 0 } else { chunk.ends.get(first - 1).copied().unwrap_or_default() };
        Labels::new(
            &self.labels,
            &chunk.text,
            start,
            chunk.ends.get(first..first + width).unwrap_or_default(),
        )
    }

    /// One label value as bytes, by the position of its key; blank for the overflow series.
    #[inline]
    pub(crate) fn value(&self, series: usize, position: usize) -> &[u8] {
        let Some(chunk) = self.chunks.get(series / CHUNK) else { return &[] };
        let at = series % CHUNK * self.labels.len() + position;
        let start = if at == 0 { 0 } else { chunk.ends.get(at - 1).copied().unwrap_or_default() };
        let end = chunk.ends.get(at).copied().unwrap_or_default();
        chunk.text.as_bytes().get(start as usize..end as usize).unwrap_or_default()
    }

    /// The label values of a series, in the order of their keys; blank for the overflow series.
    pub(crate) fn texts(&self, series: usize) -> impl Iterator<Item = &str> {
        // Labels are text wherever they come from.
        (0..self.width())
            .map(move |position| std::str::from_utf8(self.value(series, position)).unwrap_or_default())
    }

    pub(crate) fn started(&self, series: usize) -> Timestamp {
        let chunk = self.chunks.get(series / CHUNK);
        chunk.and_then(|chunk| chunk.started.get(series % CHUNK)).copied().unwrap_or_default()
    }

    /// The series that stay and those that go, each in their order; the overflow series stays.
    pub(super) fn split(&self, is_gone: &dyn Fn(usize) -> bool) -> (Self, Self) {
        let (mut stay, mut leave) =
            (Self::new(Arc::clone(&self.labels)), Self::new(Arc::clone(&self.labels)));
        for series in 0..self.len {
            let goes = is_gone(series);
            let into = if goes { &mut leave } else { &mut stay };
            let at = into.push(self.texts(series), self.started(series));
            if let Some(overflow) = self.overflow.as_ref().filter(|overflow| overflow.at == series && !goes) {
                stay.overflow = Some(Arc::new(Overflow { at, ..Overflow::clone(overflow) }));
            }
        }
        (stay, leave)
    }

    /// See [`Family::fetch`](crate::model::snapshot::Family::fetch).
    pub(super) fn fetch(&self, step: usize) {
        let first = self.chunks.first();
        match (step, first) {
            (0, _) => fetch(self.chunks.as_ptr()),
            (1, Some(chunk)) => fetch_all(&**chunk),
            (_, Some(chunk)) => {
                fetch(chunk.text.as_ptr());
                fetch(chunk.ends.as_ptr());
                fetch(chunk.started.as_ptr());
            }
            (_, None) => {}
        }
    }

    pub(crate) fn clear(&mut self) {
        self.chunks.clear();
        self.len = 0;
        self.overflow = None;
    }

    /// Whether these are a copy of `live` as it is now.
    pub(super) fn are_of(&self, live: &Self) -> bool {
        let chunks = self.chunks.iter().zip(&live.chunks);
        self.len == live.len
            && self.has_overflow_of(live)
            && chunks.into_iter().all(|(a, b)| Arc::ptr_eq(a, b))
    }

    fn has_overflow_of(&self, live: &Self) -> bool {
        match (&self.overflow, &live.overflow) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        }
    }

    /// Takes over what `live` gained since `self` was a copy of it; shares chunks, copies none.
    pub(crate) fn catch_up(&mut self, live: &Self) {
        if !self.has_overflow_of(live) {
            self.overflow.clone_from(&live.overflow);
        }
        if self.len == live.len {
            return;
        }
        let unchanged = self.len / CHUNK;
        self.chunks.truncate(unchanged);
        self.chunks.extend(live.chunks.iter().skip(unchanged).cloned());
        self.len = live.len;
    }
}

/// Equal series in equal order; how they are spread over memory does not matter.
impl PartialEq for SeriesKeys {
    fn eq(&self, other: &Self) -> bool {
        let same_labels = self.labels == other.labels && self.overflow() == other.overflow();
        same_labels
            && self.len == other.len
            && self.chunks == other.chunks
            && self.overflow_examples() == other.overflow_examples()
    }
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;

    fn keys_with(count: usize) -> SeriesKeys {
        let labels = ["a", "b"].map(|key| LabelKey::new(key).unwrap());
        let mut keys = SeriesKeys::new(labels.into());
        for n in 0..count {
            let (a, b) = (n.to_string(), (n % 3).to_string());
            assert_eq!(
                keys.push([a.as_str(), b.as_str()].into_iter(), Timestamp::from_unix_nanos(n as u64)),
                n
            );
        }
        keys
    }

    #[test]
    fn values_are_found_across_chunks() {
        let keys = keys_with(3 * CHUNK + 1);
        for n in [0, 1, CHUNK - 1, CHUNK, 2 * CHUNK, 3 * CHUNK] {
            assert_eq!(keys.labels(n).get("a"), Some(n.to_string().as_str()));
            assert_eq!(keys.labels(n).get("b"), Some((n % 3).to_string().as_str()));
            assert_eq!(keys.started(n).unix_nanos(), n as u64);
        }
        assert!(keys.labels(3 * CHUNK + 1).is_empty());
    }

    #[test]
    fn a_copy_catches_up_by_sharing_chunks() {
        let mut live = keys_with(CHUNK + 5);
        let mut copy = SeriesKeys::new(live.labels.clone());
        copy.catch_up(&live);
        assert!(Arc::ptr_eq(&copy.chunks[0], &live.chunks[0]));
        live.push(["x", "y"].into_iter(), Timestamp::default());
        live.push_overflow(Timestamp::default());
        assert_eq!((copy.len(), copy.labels(CHUNK + 4).get("a")), (CHUNK + 5, Some("68")));
        copy.catch_up(&live);
        assert_eq!(copy, live);
        assert_eq!(copy.labels(CHUNK + 6).get("otel.metric.overflow"), Some("true"));
    }
}
