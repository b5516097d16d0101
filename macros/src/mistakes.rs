//! All mistakes of one derive, collected, so that a user repairs them in one round.

use quote::ToTokens;
use std::fmt::Display;

/// What was wrong so far. Later stages go on with what they can still read.
#[derive(Default)]
pub(crate) struct Mistakes(Option<syn::Error>);

impl Mistakes {
    /// Notes a mistake at `place`; the message says what to write instead.
    pub(crate) fn at(&mut self, place: impl ToTokens, message: impl Display) {
        self.add(syn::Error::new_spanned(place, message));
    }

    /// Notes a mistake that already knows its place.
    pub(crate) fn add(&mut self, mistake: syn::Error) {
        match &mut self.0 {
            Some(first) => first.combine(mistake),
            None => self.0 = Some(mistake),
        }
    }

    /// `value`, if nothing was wrong.
    pub(crate) fn none_in<T>(self, value: T) -> syn::Result<T> {
        self.0.map_or(Ok(value), Err)
    }
}
