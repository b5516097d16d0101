//! From the label values of an event to the series they name, without an owned key.
//!
//! Two steps, the cheaper first. The memo remembers label values by identity (the address of a text, the value of an
//! integer) and needs no hash of the text; a text that is not `'static` is still compared, because another text may stand at its
//! address by now. The table finds the rest by a seeded hash over the rendered values, so that `7` and `"7"` are one series.

use crate::model::label::Digits;
use crate::model::label::Label;
use crate::model::snapshot::SeriesKeys;
use hashbrown::DefaultHashBuilder;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::hash::Hasher;

/// Slots of a full-grown memo: as many as enum-like labels fill, small beside the series they stand for.
const MAX_SLOTS: usize = 64;

/// A slot that remembers nothing.
const EMPTY: u32 = u32::MAX;

/// Finds series by borrowed label values.
#[derive(Debug)]
pub(super) struct Index {
    width: usize,
    /// `width` identities per slot.
    identities: Vec<Identity>,
    rows: Vec<u32>,
    table: HashTable<u32>,
    seed: DefaultHashBuilder,
}

/// A label value by what can be compared without looking at text: payload and tagged length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Identity {
    payload: u64,
    tag: u64,
}

/// Tags stand above every length a text can have.
const TEXT: u64 = 1 << 60;
const STATIC: u64 = 2 << 60;
const UNSIGNED: u64 = 3 << 60;
const SIGNED: u64 = 4 << 60;
const BOOL: u64 = 5 << 60;

impl Index {
    /// An index for series of `width` labels.
    pub(super) fn new(width: usize) -> Self {
        let (identities, rows, table) = (Vec::new(), Vec::new(), HashTable::new());
        Self { width, identities, rows, table, seed: DefaultHashBuilder::default() }
    }

    /// The series of these labels, if the memo still knows it.
    #[inline]
    pub(super) fn recall(&self, labels: &[Label<'_>], keys: &SeriesKeys) -> Option<usize> {
        let slot = self.slot(labels);
        let row = *self.rows.get(slot)?;
        let known = self.identities.get(slot * self.width..(slot + 1) * self.width)?;
        if row == EMPTY || !labels.iter().zip(known).all(|(label, known)| Identity::of(label) == *known) {
            return None;
        }
        let row = row as usize;
        let borrowed = |label: &Label<'_>| matches!(label, Label::Str(_));
        if labels.iter().any(borrowed) && !names(labels, keys, row) {
            return None;
        }
        Some(row)
    }

    /// The series of these labels, if there is one; the memo knows it from now on. Otherwise the hash to insert it with.
    pub(super) fn find(&mut self, labels: &[Label<'_>], keys: &SeriesKeys) -> Result<usize, u64> {
        let mut hasher = self.seed.build_hasher();
        for label in labels {
            hash_value(&mut hasher, label.render(&mut Digits::default()));
        }
        let hash = hasher.finish();
        match self.table.find(hash, |row| names(labels, keys, *row as usize)) {
            Some(&row) => {
                self.remember(labels, row);
                Ok(row as usize)
            }
            None => Err(hash),
        }
    }

    /// Adds the series `row` that was just appended to `keys` for these labels.
    #[cold]
    pub(super) fn insert(&mut self, hash: u64, labels: &[Label<'_>], row: usize, keys: &SeriesKeys) {
        let (seed, width) = (&self.seed, self.width);
        let rehash = |row: &u32| {
            let mut hasher = seed.build_hasher();
            let values = keys.values(*row as usize);
            (0..width).for_each(|position| hash_value(&mut hasher, values.at(position).as_bytes()));
            hasher.finish()
        };
        self.table.insert_unique(hash, row as u32, rehash);
        let slots = (2 * self.table.len()).next_power_of_two().min(MAX_SLOTS);
        if slots > self.rows.len() {
            self.rows = vec![EMPTY; slots];
            self.identities = vec![Identity::default(); slots * self.width];
        }
        self.remember(labels, row as u32);
    }

    fn remember(&mut self, labels: &[Label<'_>], row: u32) {
        let slot = self.slot(labels);
        let (Some(known), Some(at)) =
            (self.identities.get_mut(slot * self.width..(slot + 1) * self.width), self.rows.get_mut(slot))
        else {
            return;
        };
        for (known, label) in known.iter_mut().zip(labels) {
            *known = Identity::of(label);
        }
        *at = row;
    }

    /// Direct-mapped: one place to look, chosen by the top bits of a product (Knuth's multiplicative hashing).
    #[inline]
    fn slot(&self, labels: &[Label<'_>]) -> usize {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut mixed = 0_u64;
        for label in labels {
            let identity = Identity::of(label);
            mixed = (mixed.rotate_left(23) ^ identity.payload ^ identity.tag).wrapping_mul(GOLDEN);
        }
        (mixed >> 40) as usize & self.rows.len().wrapping_sub(1)
    }
}

impl Identity {
    #[inline]
    fn of(label: &Label<'_>) -> Self {
        let text = |text: &str, tag: u64| Self {
            payload: text.as_ptr().addr() as u64,
            tag: tag | text.len() as u64,
        };
        match *label {
            Label::Str(value) => text(value, TEXT),
            Label::Static(value) => text(value, STATIC),
            Label::U64(value) => Self { payload: value, tag: UNSIGNED },
            Label::I64(value) => Self { payload: value as u64, tag: SIGNED },
            Label::Bool(value) => Self { payload: u64::from(value), tag: BOOL },
            Label::Absent => Self::default(),
        }
    }
}

/// Whether these labels render as the values of series `row`.
fn names(labels: &[Label<'_>], keys: &SeriesKeys, row: usize) -> bool {
    let values = keys.values(row);
    let same = |(position, label): (usize, &Label<'_>)| {
        label.render(&mut Digits::default()) == values.at(position).as_bytes()
    };
    labels.iter().enumerate().all(same)
}

/// A value and its end, so that `"ab", ""` and `"a", "b"` differ.
#[inline]
fn hash_value(hasher: &mut impl Hasher, value: &[u8]) {
    hasher.write(value);
    hasher.write_usize(value.len());
}
