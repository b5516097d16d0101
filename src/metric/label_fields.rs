//! Label sets with a type: what `#[derive(Labels)]` and `#[derive(LabelValue)]` implement.

use crate::model::label::Label;
use std::borrow::Cow;
use std::sync::Arc;

/// A type whose values are values of one label, such as an enum of outcomes or a `bool`.
///
/// `#[derive(LabelValue)]` implements it for an enum of variants without fields: the label values are their names in snake case, and
/// the index counts them in the order written. Integers, `bool`, texts and `Option` of these are label values already.
///
/// # Examples
///
/// Written by hand:
///
/// ```
/// use mvx_metrics::{Label, LabelValue};
///
/// enum Tier { Hot, Cold }
///
/// impl LabelValue for Tier {
///     const CARDINALITY: Option<usize> = Some(2);
///     fn label(&self) -> Label<'_> {
///         Label::fixed(match self { Self::Hot => "hot", Self::Cold => "cold" })
///     }
///     fn index(&self) -> usize {
///         match self { Self::Hot => 0, Self::Cold => 1 }
///     }
/// }
///
/// assert_eq!(Tier::Cold.label(), Label::from("cold"));
/// assert_eq!((Some(Tier::Cold).index(), None::<Tier>.index()), (2, 0));
/// assert_eq!(Option::<Tier>::CARDINALITY, Some(3));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no label value",
    note = "label values are enums with `#[derive(LabelValue)]`, `bool`, integers, texts, and references to and `Option` of these"
)]
pub trait LabelValue {
    /// How many values there are, if each has an [`index`](Self::index); `None` for an open set, such as texts.
    const CARDINALITY: Option<usize> = None;

    /// The value as a label. Allocates nothing.
    fn label(&self) -> Label<'_>;

    /// The place of this value, below [`CARDINALITY`](Self::CARDINALITY). Values that share a place share a series.
    fn index(&self) -> usize {
        0
    }
}

/// A struct whose fields are labels: the whole label set of an instrument.
///
/// `#[derive(Labels)]` implements it. Where every field has a cardinality and their product is at most
/// [`MAX_DENSE_LABELS`](crate::limits::MAX_DENSE_LABELS), the series of an event is found by an index, without hashing; otherwise as
/// for closures given to [`label`](crate::InstrumentBuilder::label).
///
/// # Examples
///
/// Written by hand:
///
/// ```
/// use mvx_metrics::{Label, LabelFields};
///
/// struct SaveLabels<'e> { ok: bool, backend: &'e str }
///
/// impl LabelFields for SaveLabels<'_> {
///     const KEYS: &'static [&'static str] = &["ok", "backend"];
///     type At<'e> = SaveLabels<'e>;
///     fn label(&self, position: usize) -> Label<'_> {
///         match position { 0 => self.ok.into(), 1 => self.backend.into(), _ => Label::Absent }
///     }
/// }
///
/// let labels = SaveLabels { ok: true, backend: "s3" };
/// assert_eq!(labels.label(1), Label::from("s3"));
/// assert_eq!(SaveLabels::CARDINALITY, None); // `backend` may be anything
/// ```
pub trait LabelFields {
    /// The keys, in the order of the fields.
    const KEYS: &'static [&'static str];

    /// The product of the fields' cardinalities, if all have one.
    const CARDINALITY: Option<usize> = None;

    /// Whether some events have no such labels. Such events are ignored, as [`is_present`](Self::is_present) tells.
    const OPTIONAL: bool = false;

    /// The same labels, borrowed from an event of this lifetime; the type itself if it borrows nothing.
    type At<'e>: LabelFields;

    /// The label at a position of [`KEYS`](Self::KEYS).
    fn label(&self, position: usize) -> Label<'_>;

    /// The place of this label set, below [`CARDINALITY`](Self::CARDINALITY). Sets that share a place share a series.
    fn index(&self) -> usize {
        0
    }

    /// Whether there are labels at all.
    fn is_present(&self) -> bool {
        true
    }
}

/// `None` for an event that is none of the instrument's business.
impl<L: LabelFields> LabelFields for Option<L> {
    const KEYS: &'static [&'static str] = L::KEYS;
    const CARDINALITY: Option<usize> = L::CARDINALITY;
    const OPTIONAL: bool = true;
    type At<'e> = Option<L::At<'e>>;

    #[inline]
    fn label(&self, position: usize) -> Label<'_> {
        self.as_ref().map_or(Label::Absent, |labels| labels.label(position))
    }

    #[inline]
    fn index(&self) -> usize {
        // No place at all for what is absent: it is not looked up.
        self.as_ref().map_or(usize::MAX, L::index)
    }

    #[inline]
    fn is_present(&self) -> bool {
        self.as_ref().is_some_and(L::is_present)
    }
}

macro_rules! open_values {
    ($($source:ty),*) => {$(
        impl LabelValue for $source {
            #[inline]
            fn label(&self) -> Label<'_> {
                Label::from(*self)
            }
        }
    )*};
}

open_values!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize);

impl LabelValue for bool {
    const CARDINALITY: Option<usize> = Some(2);

    #[inline]
    fn label(&self) -> Label<'_> {
        Label::Bool(*self)
    }

    #[inline]
    fn index(&self) -> usize {
        usize::from(*self)
    }
}

impl LabelValue for str {
    #[inline]
    fn label(&self) -> Label<'_> {
        Label::Str(self)
    }
}

macro_rules! text_values {
    ($($source:ty),*) => {$(
        impl LabelValue for $source {
            #[inline]
            fn label(&self) -> Label<'_> {
                Label::Str(self)
            }
        }
    )*};
}

text_values!(String, Box<str>, Arc<str>, Cow<'_, str>);

impl<V: LabelValue + ?Sized> LabelValue for &V {
    const CARDINALITY: Option<usize> = V::CARDINALITY;

    #[inline]
    fn label(&self) -> Label<'_> {
        V::label(self)
    }

    #[inline]
    fn index(&self) -> usize {
        V::index(self)
    }
}

/// `None` is an absent label.
impl<V: LabelValue> LabelValue for Option<V> {
    const CARDINALITY: Option<usize> = match V::CARDINALITY {
        Some(values) => values.checked_add(1),
        None => None,
    };

    #[inline]
    fn label(&self) -> Label<'_> {
        self.as_ref().map_or(Label::Absent, V::label)
    }

    #[inline]
    fn index(&self) -> usize {
        self.as_ref().map_or(0, |value| value.index().saturating_add(1))
    }
}

/// The product of some cardinalities; `None` if one is open or the product does not fit.
///
/// # Examples
///
/// ```
/// use mvx_metrics::{LabelValue, label_product};
///
/// assert_eq!(label_product(&[bool::CARDINALITY, Option::<bool>::CARDINALITY]), Some(6));
/// assert_eq!(label_product(&[bool::CARDINALITY, String::CARDINALITY]), None);
/// ```
pub const fn label_product(cardinalities: &[Option<usize>]) -> Option<usize> {
    let (mut product, mut at) = (1_usize, 0);
    while at < cardinalities.len() {
        product = match cardinalities[at] {
            Some(values) => match product.checked_mul(values) {
                Some(product) => product,
                None => return None,
            },
            None => return None,
        };
        at += 1;
    }
    Some(product)
}
