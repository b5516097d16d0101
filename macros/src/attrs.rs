//! Reads `#[event(...)]` attributes into [`Settings`]; the first of the three stages.
//!
//! Every attribute of ours is a list of `key = literal`. A new key is a row in [`KEYS`] and a field in [`Settings`]; a new
//! attribute reuses [`entries`].

use crate::mistakes::Mistakes;
use proc_macro2::TokenStream;
use proc_macro2::TokenTree;
use quote::ToTokens;
use syn::Attribute;
use syn::Ident;
use syn::Lit;
use syn::LitStr;
use syn::Meta;
use syn::Path;
use syn::Token;
use syn::ext::IdentExt;
use syn::parse::Parse;
use syn::parse::ParseStream;
use syn::punctuated::Punctuated;

/// What an attribute was found on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Type,
    Variant,
    Field,
    Parameter,
}

/// What `#[event(...)]` said about a type or a variant.
#[derive(Default)]
pub(crate) struct Settings {
    /// Replaces the prefix of a type, or a variant's part of the name. Not checked yet.
    pub(crate) name: Option<LitStr>,
    /// Where `mvx_metrics` is, if not at `::mvx_metrics`.
    pub(crate) krate: Option<Path>,
}

/// A key of `#[event(...)]`: where it may stand, and how it is written.
struct Key {
    word: &'static str,
    places: &'static [Place],
    example: &'static str,
}

const KEYS: &[Key] = &[
    Key { word: "name", places: &[Place::Type, Place::Variant], example: "name = \"...\"" },
    Key { word: "crate", places: &[Place::Type], example: "crate = \"path::to::mvx_metrics\"" },
];

impl Settings {
    /// Reads all `#[event(...)]` attributes of one place; keys may be spread over several of them.
    pub(crate) fn read(attributes: &[Attribute], place: Place, mistakes: &mut Mistakes) -> Self {
        let mut settings = Self::default();
        let mut seen: Vec<&'static str> = Vec::new();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("event")) {
            if let Some(remedy) = place.refusal() {
                mistakes.at(attribute, remedy);
                continue;
            }
            match entries(attribute) {
                Ok(entries) => entries.into_iter().for_each(|entry| {
                    settings.take(entry, place, &mut seen, mistakes);
                }),
                Err(mistake) => mistakes.add(mistake),
            }
        }
        settings
    }

    fn take(&mut self, entry: Entry, place: Place, seen: &mut Vec<&'static str>, mistakes: &mut Mistakes) {
        let Some(key) = KEYS.iter().find(|key| entry.key == key.word) else {
            return mistakes.at(&entry.key, unknown_key(&entry.key, place));
        };
        let word = key.word;
        if !key.places.contains(&place) {
            let message =
                format!("`{word}` belongs to the whole type: write `#[event({})]` above it", key.example);
            return mistakes.at(&entry.key, message);
        }
        if seen.contains(&word) {
            return mistakes.at(&entry.key, format!("`{word}` is given twice here: keep one of them"));
        }
        seen.push(word);
        match (entry.text(key), word) {
            (Ok(text), "crate") => match text.parse_with(Path::parse_mod_style) {
                Ok(path) => self.krate = Some(path),
                Err(_) => mistakes.at(&text, format!("this is no path: write `{}`", key.example)),
            },
            (Ok(text), _) => self.name = Some(text),
            (Err(mistake), _) => mistakes.add(mistake),
        }
    }
}

impl Place {
    /// Why no `#[event(...)]` can stand here, and what to do instead.
    fn refusal(self) -> Option<&'static str> {
        match self {
            Self::Type | Self::Variant => None,
            Self::Field => Some(
                "a field has no event name: move `#[event(...)]` to the type or to one of its variants, or remove it",
            ),
            Self::Parameter => {
                Some("a generic parameter has no event name: move `#[event(...)]` to the type, or remove it")
            }
        }
    }
}

fn unknown_key(key: &Ident, place: Place) -> String {
    let known = KEYS.iter().filter(|key| key.places.contains(&place));
    let known: Vec<String> = known.map(|key| format!("`{}`", key.example)).collect();
    format!("`{key}` is not a key of `#[event(...)]`; possible here: {}", known.join(" and "))
}

/// One `key = value` as written.
pub(crate) struct Entry {
    pub(crate) key: Ident,
    pub(crate) value: Value,
}

pub(crate) enum Value {
    Missing,
    Literal(Lit),
    /// Anything else, kept for its span only.
    Other(TokenStream),
}

impl Entry {
    /// The value, which must be a plain string.
    fn text(self, key: &Key) -> syn::Result<LitStr> {
        let mistake = match self.value {
            Value::Literal(Lit::Str(text)) if text.suffix().is_empty() => return Ok(text),
            Value::Missing => {
                let message = format!("`{}` has no value: write `{}`", key.word, key.example);
                return Err(syn::Error::new_spanned(self.key, message));
            }
            Value::Literal(other) => other.into_token_stream(),
            Value::Other(tokens) => tokens,
        };
        let message = format!("`{}` takes a string literal: write `{}`", key.word, key.example);
        Err(syn::Error::new_spanned(mistake, message))
    }
}

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        // `parse_any`, because `crate` is a keyword.
        let key = input.call(Ident::parse_any).map_err(|e| {
            syn::Error::new(e.span(), "expected a key with its value, as in `name = \"...\"`")
        })?;
        if input.is_empty() || input.peek(Token![,]) {
            return Ok(Self { key, value: Value::Missing });
        }
        if input.parse::<Token![=]>().is_err() {
            return Err(input.error(format!("expected `=` after `{key}`, as in `{key} = \"...\"`")));
        }
        // Not `syn::Expr`: without syn's `full` feature it would tell our user to enable a feature of syn.
        let value =
            if input.peek(Lit) { Value::Literal(input.parse()?) } else { Value::Other(up_to_comma(input)?) };
        Ok(Self { key, value })
    }
}

fn up_to_comma(input: ParseStream<'_>) -> syn::Result<TokenStream> {
    let mut tokens = TokenStream::new();
    while !input.is_empty() && !input.peek(Token![,]) {
        tokens.extend([input.parse::<TokenTree>()?]);
    }
    if tokens.is_empty() {
        return Err(input.error("expected a string literal after `=`"));
    }
    Ok(tokens)
}

/// The `key = value` list of an attribute, which must not be empty.
fn entries(attribute: &Attribute) -> syn::Result<Punctuated<Entry, Token![,]>> {
    let nothing_said = || {
        let message = "this attribute says nothing: write `#[event(name = \"...\")]`, or remove it to keep the default name";
        syn::Error::new_spanned(attribute, message)
    };
    match &attribute.meta {
        Meta::List(list) if list.tokens.is_empty() => Err(nothing_said()),
        Meta::List(list) => list.parse_args_with(Punctuated::parse_terminated),
        Meta::NameValue(pair) => Err(syn::Error::new_spanned(
            pair,
            "the name stands in parentheses: write `#[event(name = \"...\")]`",
        )),
        Meta::Path(_) => Err(nothing_said()),
    }
}
