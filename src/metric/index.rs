//! From the label values of an event to the series they name, without an owned key.
//!
//! Two steps, the cheaper first. The memo remembers label values by identity (the address of a text, the value of an
//! integer) and needs no hash of the text; a text that is not `'static` is still compared, because another text may stand at its
//! address by now. The table finds the rest by a seeded hash over the rendered values, so that `7` and `"7"` are one series.

use crate::model::heap;
use crate::model::label::Digits;
use crate::model::label::Label;
use crate::model::snapshot::SeriesKeys;
use crate::sync::fetch;
use hashbrown::DefaultHashBuilder;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::hash::Hasher;

/// Identities that a memo keeps at most. It grows with the series, so that all of a family of ordinary size are found
/// by identity; past that, a longer memo would cost more than the series it stands for.
const MAX_IDENTITIES: usize = 4_096;

/// The identity of no label, in slots that remember nothing.
const NOBODY: Identity = Identity { payload: 0, tag: u64::MAX };

/// Slots up to which a memo is kept free of conflicts: a second look costs an event of a small family more than all the rest,
/// because nobody can foresee which events need it.
const FEW_SLOTS: usize = 64;

/// How often a memo of one size may look for a better salt, so that texts that move about do not keep it busy.
const PATIENCE: u8 = 8;

/// Salts tried each time.
const SALTS: u64 = 16;

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Finds series by borrowed label values.
#[derive(Debug)]
pub(super) struct Index {
    width: usize,
    /// `width` identities per slot; no label has those of a slot that remembers nothing.
    identities: Vec<Identity>,
    rows: Vec<u32>,
    /// What the places of identities are mixed from, changed while it helps to keep a small memo free of conflicts.
    salt: u64,
    /// How many conflicts may still be answered by another salt.
    patience: u8,
    table: HashTable<u32>,
    seed: DefaultHashBuilder,
}

/// A label value by what can be compared without looking at text: payload and tagged length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    payload: u64,
    tag: u64,
}

/// What the memo knows of some labels.
pub(super) enum Recalled {
    /// Their series.
    Surely(usize),
    /// Their series, provided that the borrowed texts among them are the same.
    Perhaps(usize),
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
        Self {
            width,
            identities: Vec::new(),
            rows: Vec::new(),
            salt: 0,
            patience: PATIENCE,
            table: HashTable::new(),
            seed: DefaultHashBuilder::default(),
        }
    }

    /// An index of all these series, whose labels are met by their texts first.
    pub(super) fn of(keys: &SeriesKeys) -> Self {
        let mut index = Self::new(keys.width());
        for row in (0..keys.len()).filter(|row| keys.overflow() != Some(*row)) {
            index.enter(hash_of(&index.seed, index.width, keys, row), row, keys);
        }
        index.make_slots();
        index
    }

    /// What it takes on the heap, boxed as it is.
    pub(super) fn heap_bytes(&self) -> usize {
        let memo = heap::vec(&self.identities) + heap::vec(&self.rows);
        size_of::<Self>() + memo + self.table.allocation_size()
    }

    /// Asks for the memory that most events are told their series from.
    pub(super) fn fetch(&self) {
        fetch(self.identities.as_ptr());
        fetch(self.rows.as_ptr());
    }

    /// The series of these labels, if the memo still knows them.
    ///
    /// Always inlined, and with it what it calls: only where the number of labels is known are the loops unrolled and
    /// the identities kept in registers, which halves the cost of two labels.
    #[inline(always)]
    pub(super) fn recall(&self, wanted: &[Identity]) -> Option<Recalled> {
        let first = self.slot(wanted)?;
        // Two places to look, side by side: with one, label sets that share it would forget each other over and over.
        let slot = if self.remembers(first, wanted) { first } else { first ^ 1 };
        if slot != first && !self.remembers(slot, wanted) {
            return None;
        }
        let row = *self.rows.get(slot)? as usize;
        let borrowed = wanted.iter().any(|identity| identity.is_borrowed());
        Some(if borrowed { Recalled::Perhaps(row) } else { Recalled::Surely(row) })
    }

    #[inline(always)]
    fn remembers(&self, slot: usize, wanted: &[Identity]) -> bool {
        let known = self.identities.get(slot * wanted.len()..(slot + 1) * wanted.len());
        known.is_some_and(|known| known == wanted)
    }

    /// The series of these labels, if there is one; the memo knows it from now on. Otherwise the hash to insert it with.
    pub(super) fn find(
        &mut self,
        labels: &[&Label<'_>],
        wanted: &[Identity],
        keys: &SeriesKeys,
    ) -> Result<usize, u64> {
        let mut hasher = self.seed.build_hasher();
        for label in labels {
            hash_value(&mut hasher, label.render(&mut Digits::default()));
        }
        let hash = hasher.finish();
        match self.table.find(hash, |row| names(labels, keys, *row as usize)) {
            Some(&row) => {
                self.remember(wanted, row);
                Ok(row as usize)
            }
            None => Err(hash),
        }
    }

    /// Adds the series `row` that was just appended to `keys` for these labels.
    #[cold]
    pub(super) fn insert(&mut self, hash: u64, wanted: &[Identity], row: usize, keys: &SeriesKeys) {
        self.enter(hash, row, keys);
        self.make_slots();
        self.remember(wanted, row as u32);
    }

    fn enter(&mut self, hash: u64, row: usize, keys: &SeriesKeys) {
        let (seed, width) = (&self.seed, self.width);
        self.table.insert_unique(hash, row as u32, |row| hash_of(seed, width, keys, *row as usize));
    }

    /// Makes a longer memo, which knows nobody, if there are too many series for the one that there is.
    fn make_slots(&mut self) {
        let slots = slots_for(self.table.len(), self.width);
        if slots > self.rows.len() && !self.table.is_empty() {
            self.rows = vec![0; slots];
            self.identities = vec![NOBODY; slots * self.width];
            self.patience = PATIENCE;
        }
    }

    /// Takes the first place; what is there moves to the second.
    fn remember(&mut self, wanted: &[Identity], row: u32) {
        let (Some(mut first), width) = (self.slot(wanted), self.width) else { return };
        if self.is_taken(first, wanted) && self.patience > 0 && self.rows.len() <= FEW_SLOTS {
            self.patience -= 1;
            self.spread(wanted);
            first = self.slot(wanted).unwrap_or(first);
        }
        if self.is_taken(first, wanted) {
            let second = first ^ 1;
            self.rows[second] = self.rows[first];
            self.identities.copy_within(first * width..(first + 1) * width, second * width);
        }
        self.rows[first] = row;
        self.identities[first * width..(first + 1) * width].copy_from_slice(wanted);
    }

    /// Whether somebody else is remembered there.
    fn is_taken(&self, slot: usize, wanted: &[Identity]) -> bool {
        let known = self.identities.get(slot * self.width..(slot + 1) * self.width);
        known.is_some_and(|known| known != wanted && known.first() != Some(&NOBODY))
    }

    /// Looks for a salt by which everybody remembered, and `wanted`, has a first place to himself, and moves them there.
    #[cold]
    fn spread(&mut self, wanted: &[Identity]) {
        let (width, old_salt) = (self.width, self.salt);
        let slots = self.rows.iter().copied().zip(self.identities.chunks_exact(width));
        let known: Vec<(u32, Vec<Identity>)> = slots
            .filter(|(_, known)| *known != wanted && known.first() != Some(&NOBODY))
            .map(|(row, known)| (row, known.to_vec()))
            .collect();
        for salt in 1..=SALTS {
            self.salt = old_salt.wrapping_add(salt.wrapping_mul(GOLDEN));
            let (mut taken, mut conflicts) = (0_u64, 0);
            for identities in known.iter().map(|(_, known)| known.as_slice()).chain([wanted]) {
                let place = 1 << self.slot(identities).unwrap_or_default();
                conflicts += u32::from(taken & place != 0);
                taken |= place;
            }
            if conflicts == 0 {
                self.identities.fill(NOBODY);
                known.iter().for_each(|(row, known)| self.remember(known, *row));
                return;
            }
        }
        self.salt = old_salt;
    }

    /// The first place of these labels, chosen by the top bits of a product (Knuth's multiplicative hashing).
    #[inline(always)]
    fn slot(&self, wanted: &[Identity]) -> Option<usize> {
        let mix = |mixed: u64, part: &Identity| {
            (mixed.rotate_left(23) ^ part.payload ^ part.tag).wrapping_mul(GOLDEN)
        };
        let mixed = wanted.iter().fold(self.salt, mix);
        // The number of slots is zero or a power of two above one.
        let mask = self.rows.len().checked_sub(1)?;
        Some((mixed >> 32) as usize & mask)
    }
}

/// Four slots a series for a few series, where a conflict would be felt by each event; less than three for many.
fn slots_for(series: usize, width: usize) -> usize {
    let most = (MAX_IDENTITIES / width.max(1)).next_power_of_two();
    let roomy = (4 * series).min(64);
    roomy.max(series + series / 2).next_power_of_two().min(most)
}

impl Identity {
    /// Whether another text may stand at this address by now.
    #[inline]
    fn is_borrowed(self) -> bool {
        self.tag & !(TEXT - 1) == TEXT
    }

    #[inline]
    pub(super) fn of(label: &Label<'_>) -> Self {
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

/// Whether the borrowed texts among these labels are those of series `row`.
#[inline(never)]
pub(super) fn same_texts(labels: &[&Label<'_>], keys: &SeriesKeys, row: usize) -> bool {
    let same = |(position, label): (usize, &&Label<'_>)| match label {
        Label::Str(_) => label.render(&mut Digits::default()) == keys.value(row, position),
        _ => true,
    };
    labels.iter().enumerate().all(same)
}

/// Whether these labels render as the values of series `row`.
fn names(labels: &[&Label<'_>], keys: &SeriesKeys, row: usize) -> bool {
    let same = |(position, label): (usize, &&Label<'_>)| {
        label.render(&mut Digits::default()) == keys.value(row, position)
    };
    labels.iter().enumerate().all(same)
}

/// The hash of the labels of a series.
fn hash_of(seed: &DefaultHashBuilder, width: usize, keys: &SeriesKeys, row: usize) -> u64 {
    let mut hasher = seed.build_hasher();
    (0..width).for_each(|position| hash_value(&mut hasher, keys.value(row, position)));
    hasher.finish()
}

/// A value and its end, so that `"ab", ""` and `"a", "b"` differ.
#[inline]
fn hash_value(hasher: &mut impl Hasher, value: &[u8]) {
    hasher.write(value);
    hasher.write_usize(value.len());
}
