//! What the bytes of a fuzzer mean: numbers, choices and awkward texts, read from the front. At the end everything is zero.

/// What texts are made of besides ASCII.
const AWKWARD: [char; 16] = [
    'é',
    'ß',
    '日',
    '😀',
    '\u{85}',
    '\u{a0}',
    '\u{200b}',
    '\u{202e}',
    '\u{2028}',
    '\u{2029}',
    '\u{feff}',
    '\u{fffd}',
    '\u{301}',
    '\u{9b}',
    '\u{e000}',
    '\u{10ffff}',
];

pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `most`, which is at most 256.
    pub fn below(&mut self, most: usize) -> usize {
        usize::from(self.byte()) % most
    }

    pub fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    pub fn word(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    pub fn whole(&mut self) -> u64 {
        match self.below(4) {
            0 => u64::from(self.byte()),
            1 => (1 << 53) + u64::from(self.byte()),
            2 => u64::MAX - u64::from(self.byte()),
            _ => self.word(),
        }
    }

    /// Finite.
    pub fn real(&mut self) -> f64 {
        let special = [0.0, -0.0, 1.0, -1.5, 0.1, 1e21, 1e-7, 5e-324, f64::MAX, f64::MIN];
        match self.below(2 * special.len()) {
            which if which < special.len() => special[which],
            _ => Some(f64::from_bits(self.word())).filter(|real| real.is_finite()).unwrap_or_default(),
        }
    }

    /// At most 23 characters, of which any may be a control character.
    pub fn text(&mut self) -> String {
        let length = self.below(24);
        let character = |byte: u8| match byte {
            0..=127 => char::from(byte),
            _ => AWKWARD[usize::from(byte) % AWKWARD.len()],
        };
        (0..length).map(|_| character(self.byte())).collect()
    }
}
