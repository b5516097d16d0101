//! Reads `#[label(...)]`, `#[value(...)]` and `#[skip]`: lists of keys, each with a value or without.

use crate::attrs::Entry;
use crate::attrs::Value;
use crate::mistakes::Mistakes;
use proc_macro2::Span;
use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::Attribute;
use syn::Ident;
use syn::Lit;
use syn::LitStr;
use syn::Meta;
use syn::Path;
use syn::Token;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;

/// A key of one of our attributes, and how it is written.
pub(crate) struct MarkKey {
    pub(crate) word: &'static str,
    pub(crate) example: &'static str,
}

pub(crate) const NAME: MarkKey = MarkKey { word: "name", example: "name = \"...\"" };
pub(crate) const SKIP: MarkKey = MarkKey { word: "skip", example: "skip" };
pub(crate) const UNIT: MarkKey = MarkKey { word: "unit", example: "unit = \"s\"" };
pub(crate) const KIND: MarkKey = MarkKey { word: "kind", example: "kind = \"gauge\"" };
pub(crate) const BOUNDS: MarkKey = MarkKey { word: "bounds", example: "bounds = [1.0, 10.0]" };
pub(crate) const CRATE: MarkKey = MarkKey { word: "crate", example: "crate = \"path::to::mvx_metrics\"" };

/// What the attributes of one name said in one place.
#[derive(Default)]
pub(crate) struct Mark {
    /// Where the first stands, if there is one.
    pub(crate) span: Option<Span>,
    pub(crate) name: Option<LitStr>,
    pub(crate) unit: Option<LitStr>,
    pub(crate) kind: Option<LitStr>,
    pub(crate) bounds: Option<TokenStream>,
    pub(crate) krate: Option<Path>,
    pub(crate) skip: bool,
}

impl Mark {
    /// Reads all attributes `word` of one place, where `keys` are possible.
    pub(crate) fn read(
        attributes: &[Attribute],
        word: &str,
        keys: &[&MarkKey],
        mistakes: &mut Mistakes,
    ) -> Self {
        let mut mark = Self::default();
        let mut seen: Vec<&'static str> = Vec::new();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident(word)) {
            mark.span.get_or_insert(attribute.span());
            let entries = match &attribute.meta {
                Meta::Path(_) => continue,
                Meta::List(list) => list.parse_args_with(Punctuated::<Entry, Token![,]>::parse_terminated),
                Meta::NameValue(pair) => {
                    let example = keys.first().map_or("", |key| key.example);
                    let message = format!("keys stand in parentheses: write `#[{word}({example})]`");
                    Err(syn::Error::new_spanned(pair, message))
                }
            };
            match entries {
                Ok(entries) => {
                    entries.into_iter().for_each(|entry| mark.take(entry, word, keys, &mut seen, mistakes));
                }
                Err(mistake) => mistakes.add(mistake),
            }
        }
        mark
    }

    fn take(
        &mut self,
        entry: Entry,
        word: &str,
        keys: &[&MarkKey],
        seen: &mut Vec<&'static str>,
        mistakes: &mut Mistakes,
    ) {
        let Some(key) = keys.iter().find(|key| entry.key == key.word) else {
            let known: Vec<String> = keys.iter().map(|key| format!("`{}`", key.example)).collect();
            let known = if known.is_empty() { "nothing".into() } else { known.join(" and ") };
            let message = format!("`{}` is not a key of `#[{word}(...)]` here; possible: {known}", entry.key);
            return mistakes.at(&entry.key, message);
        };
        if seen.contains(&key.word) {
            return mistakes.at(&entry.key, format!("`{}` is given twice here: keep one of them", key.word));
        }
        seen.push(key.word);
        match key.word {
            "skip" => match entry.value {
                Value::Missing => self.skip = true,
                _ => mistakes.at(&entry.key, "`skip` has no value: write `skip` alone"),
            },
            "bounds" => match entry.value {
                Value::Other(tokens) => self.bounds = Some(tokens),
                _ => mistakes.at(&entry.key, format!("`bounds` takes numbers: write `{}`", key.example)),
            },
            "crate" => match text(entry, key) {
                Ok(text) => match text.parse_with(Path::parse_mod_style) {
                    Ok(path) => self.krate = Some(path),
                    Err(_) => mistakes.at(&text, format!("this is no path: write `{}`", key.example)),
                },
                Err(mistake) => mistakes.add(mistake),
            },
            other => match text(entry, key) {
                Ok(text) => match other {
                    "unit" => self.unit = Some(text),
                    "kind" => self.kind = Some(text),
                    _ => self.name = Some(text),
                },
                Err(mistake) => mistakes.add(mistake),
            },
        }
    }
}

/// The value of an entry, which must be a plain string.
fn text(entry: Entry, key: &MarkKey) -> syn::Result<LitStr> {
    let mistake = match entry.value {
        Value::Literal(Lit::Str(text)) if text.suffix().is_empty() => return Ok(text),
        Value::Missing => {
            let message = format!("`{}` has no value: write `{}`", key.word, key.example);
            return Err(syn::Error::new_spanned(entry.key, message));
        }
        Value::Literal(other) => other.into_token_stream(),
        Value::Other(tokens) => tokens,
    };
    let message = format!("`{}` takes a string literal: write `{}`", key.word, key.example);
    Err(syn::Error::new_spanned(mistake, message))
}

/// The key of a label: the one given, else the field's name.
///
/// The rule is that of `LabelKey`, checked here so that the mistake is shown at the field.
pub(crate) fn label_key(
    ident: Option<&Ident>,
    at: &dyn ToTokens,
    mark: &Mark,
    mistakes: &mut Mistakes,
) -> String {
    let key = match (&mark.name, ident) {
        (Some(name), _) => name.value(),
        (None, Some(ident)) => syn::ext::IdentExt::unraw(ident).to_string(),
        (None, None) => {
            mistakes.at(at, "this field has no name for the label: write `#[label(name = \"...\")]`");
            return String::new();
        }
    };
    let remedy = if !is_key(&key) {
        "a label key is ASCII letters, digits and `_`, a letter or one `_` first"
    } else if ["le", "quantile", "recorder", "entity", "group"].contains(&key.as_str()) {
        "this key is reserved"
    } else {
        return key;
    };
    let message =
        format!("`{key}` is no label key, because {remedy}: write another by `#[label(name = \"...\")]`");
    match &mark.name {
        Some(name) => mistakes.at(name, message),
        None => mistakes.at(at, message),
    }
    key
}

fn is_key(key: &str) -> bool {
    let first = key.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    first
        && !key.starts_with("__")
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && key.len() <= 255
}
