//! Labels: a borrowed value on its way into a metric, and owned or borrowed sets on their way out.

mod set;

pub use self::set::LabelSet;
pub use self::set::Labels;
use std::fmt;
use std::sync::Arc;

/// Bytes of a label value; a longer one is cut at the last character that fits.
pub const MAX_LABEL_VALUE_BYTES: usize = 1_024;

/// One label value as an event hands it over: borrowed, typed and free of allocation.
///
/// Two values are equal when they render equally: `U64(7)` and `Str("7")` are one label value, and an empty one equals
/// an absent one.
///
/// # Examples
///
/// ```
/// use mvx_metrics::Label;
///
/// let owned = String::from("success");
/// assert_eq!(Label::from(&owned), Label::fixed("success"));
/// assert_eq!(Label::from(7_u64), Label::from("7"));
/// assert_eq!(Label::from(None::<&str>), Label::from(""));
/// assert_eq!(Label::from(Some(true)).to_string(), "true");
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub enum Label<'a> {
    /// Text that lives as long as the event.
    Str(&'a str),
    /// Text that lives for ever, so that a series is found by its address alone.
    Static(&'static str),
    /// An unsigned integer.
    U64(u64),
    /// A signed integer.
    I64(i64),
    /// `true` or `false`.
    Bool(bool),
    /// No value; the same as an empty one.
    #[default]
    Absent,
}

/// Room for the digits of any 64-bit integer.
pub(crate) type Digits = [u8; 20];

impl<'a> Label<'a> {
    /// A label value known at compile time: the cheapest kind, found by its address.
    pub const fn fixed(value: &'static str) -> Self {
        Self::Static(value)
    }

    /// The value as text bytes; integers are written into `digits`. Never longer than [`MAX_LABEL_VALUE_BYTES`].
    #[inline]
    pub(crate) fn render<'b>(&self, digits: &'b mut Digits) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            Self::Str(text) | Self::Static(text) => clip(text).as_bytes(),
            Self::U64(value) => write_digits(value, false, digits),
            Self::I64(value) => write_digits(value.unsigned_abs(), value < 0, digits),
            Self::Bool(true) => b"true",
            Self::Bool(false) => b"false",
            Self::Absent => b"",
        }
    }
}

impl<'a> From<&'a str> for Label<'a> {
    fn from(value: &'a str) -> Self {
        Self::Str(value)
    }
}

impl<'a> From<&'a String> for Label<'a> {
    fn from(value: &'a String) -> Self {
        Self::Str(value)
    }
}

impl<'a> From<&'a Arc<str>> for Label<'a> {
    fn from(value: &'a Arc<str>) -> Self {
        Self::Str(value)
    }
}

macro_rules! label_from_integer {
    ($($source:ty => $variant:ident as $target:ty),*) => {$(
        impl From<$source> for Label<'_> {
            fn from(value: $source) -> Self {
                Self::$variant(value as $target)
            }
        }
    )*};
}

label_from_integer!(
    u8 => U64 as u64, u16 => U64 as u64, u32 => U64 as u64, u64 => U64 as u64, usize => U64 as u64,
    i8 => I64 as i64, i16 => I64 as i64, i32 => I64 as i64, i64 => I64 as i64, isize => I64 as i64
);

impl From<bool> for Label<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl<'a, T: Into<Label<'a>>> From<Option<T>> for Label<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Into::into)
    }
}

impl PartialEq for Label<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.render(&mut Digits::default()) == other.render(&mut Digits::default())
    }
}

impl Eq for Label<'_> {}

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Str(text) | Self::Static(text) => f.pad(clip(text)),
            Self::U64(value) => fmt::Display::fmt(value, f),
            Self::I64(value) => fmt::Display::fmt(value, f),
            Self::Bool(value) => fmt::Display::fmt(value, f),
            Self::Absent => f.pad(""),
        }
    }
}

/// The text, cut after [`MAX_LABEL_VALUE_BYTES`].
#[inline]
pub(crate) fn clip(text: &str) -> &str {
    if text.len() <= MAX_LABEL_VALUE_BYTES { text } else { clip_long(text) }
}

#[cold]
fn clip_long(text: &str) -> &str {
    let fits = (0..=MAX_LABEL_VALUE_BYTES).rev().find(|&end| text.is_char_boundary(end));
    &text[..fits.unwrap_or_default()]
}

/// Decimal digits from the back; `fmt` would cost several times as much on the worker's path.
fn write_digits(mut value: u64, negative: bool, digits: &mut Digits) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    if negative {
        at -= 1;
        digits[at] = b'-';
    }
    &digits[at..]
}

#[cfg(test)]
#[cfg(not(mvx_loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_that_render_equally_are_equal() {
        assert_eq!(Label::U64(7), Label::Str("7"));
        assert_eq!(Label::I64(-7), Label::Static("-7"));
        assert_eq!(Label::Bool(false), Label::Str("false"));
        assert_eq!(Label::Absent, Label::Static(""));
        assert_ne!(Label::Absent, Label::U64(0));
    }

    #[test]
    fn a_long_value_is_cut_at_a_character() {
        let long = "é".repeat(MAX_LABEL_VALUE_BYTES);
        let cut = Label::from(&long).to_string();
        assert_eq!(cut.len(), MAX_LABEL_VALUE_BYTES);
        assert!(long.starts_with(&cut));
        let odd = format!("x{long}");
        assert_eq!(Label::from(&odd).to_string().len(), MAX_LABEL_VALUE_BYTES - 1);
    }

    proptest! {
        #[test]
        fn integers_render_as_they_print(unsigned: u64, signed: i64) {
            let rendered = |label: Label<'_>| label.render(&mut Digits::default()).to_vec();
            prop_assert_eq!(rendered(Label::U64(unsigned)), unsigned.to_string().into_bytes());
            prop_assert_eq!(rendered(Label::I64(signed)), signed.to_string().into_bytes());
        }
    }
}
