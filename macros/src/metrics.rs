//! The metrics that `#[derive(MetricEvent)]` makes of `#[label]`, `#[value]` and `#[skip]`.

use crate::marks;
use crate::marks::Mark;
use crate::mistakes::Mistakes;
use crate::name;
use proc_macro2::Ident;
use proc_macro2::Span;
use proc_macro2::TokenStream;
use quote::ToTokens;
use quote::quote;
use quote::quote_spanned;
use std::collections::HashSet;
use syn::Attribute;
use syn::Expr;
use syn::ExprLit;
use syn::Lit;
use syn::Member;
use syn::Meta;
use syn::Type;
use syn::ext::IdentExt;
use syn::spanned::Spanned;

/// Kinds of metrics that a value can have, each the name of a method of `DefineMetrics`.
const KINDS: [&str; 5] = ["histogram", "gauge", "counter", "up_down", "average"];

/// What is measured of one kind of event.
pub(crate) struct Measured<'a> {
    skip: bool,
    help: String,
    labels: Vec<LabelField<'a>>,
    values: Vec<ValueField<'a>>,
}

struct LabelField<'a> {
    member: Member,
    ty: &'a Type,
    key: String,
}

struct ValueField<'a> {
    member: Member,
    ty: &'a Type,
    part: String,
    at: TokenStream,
    kind: String,
    unit: Option<String>,
    bounds: Option<TokenStream>,
    help: String,
}

/// Reads what attributes say of a variant, or of a struct, and its fields.
pub(crate) fn read<'a>(
    attributes: &[Attribute],
    fields: &'a syn::Fields,
    is_variant: bool,
    mistakes: &mut Mistakes,
) -> Measured<'a> {
    let skip = Mark::read(attributes, "skip", &[], mistakes);
    if let (Some(span), false) = (skip.span, is_variant) {
        let remedy = "only a variant is skipped: remove `#[skip]`, and leave out `.derived_metrics()` to have no metrics";
        mistakes.add(syn::Error::new(span, remedy));
    }
    // `#[label(..)]` with keys is left to the derives of `Labels` and `LabelValue`, which the same type may have.
    let is_bare = |attribute: &Attribute| matches!(attribute.meta, Meta::Path(_));
    for attribute in attributes {
        if attribute.path().is_ident("value") || (attribute.path().is_ident("label") && is_bare(attribute)) {
            mistakes.at(attribute, "`#[label]` and `#[value]` belong to a field: move this to one");
        }
    }
    let mut measured = Measured {
        skip: skip.span.is_some(),
        help: help(attributes),
        labels: Vec::new(),
        values: Vec::new(),
    };
    for (field, member) in fields.iter().zip(fields.members()) {
        read_field(field, member, &mut measured, mistakes);
    }
    measured
}

fn read_field<'a>(field: &'a syn::Field, member: Member, into: &mut Measured<'a>, mistakes: &mut Mistakes) {
    let keys = [&marks::UNIT, &marks::NAME, &marks::KIND, &marks::BOUNDS];
    let label = Mark::read(&field.attrs, "label", &[&marks::NAME, &marks::SKIP], mistakes);
    let value = Mark::read(&field.attrs, "value", &keys, mistakes);
    if let Some(span) = Mark::read(&field.attrs, "skip", &[], mistakes).span {
        let remedy = "a field without `#[label]` and `#[value]` is not measured: remove `#[skip]`";
        mistakes.add(syn::Error::new(span, remedy));
    }
    let at: &dyn ToTokens = field.ident.as_ref().map_or(&field.ty as _, |ident| ident as _);
    if label.span.is_some() && !label.skip {
        let key = marks::label_key(field.ident.as_ref(), at, &label, mistakes);
        if into.labels.iter().any(|known| known.key == key) && !key.is_empty() {
            let message = format!(
                "`{key}` is the key of two labels: give one of them another by `#[label(name = \"...\")]`"
            );
            mistakes.at(at, message);
        }
        into.labels.push(LabelField { member: same(&member), ty: &field.ty, key });
    }
    if value.span.is_some() {
        if let Some(value) = value_field(field, member, at, value, mistakes) {
            into.values.push(value);
        }
    }
}

fn value_field<'a>(
    field: &'a syn::Field,
    member: Member,
    at: &dyn ToTokens,
    mark: Mark,
    mistakes: &mut Mistakes,
) -> Option<ValueField<'a>> {
    let part = match (&mark.name, &field.ident) {
        (Some(name), _) => name.value(),
        (None, Some(ident)) => ident.unraw().to_string(),
        (None, None) => {
            mistakes.at(at, "this field has no name for the metric: write `#[value(name = \"...\")]`");
            return None;
        }
    };
    let at_name = mark.name.as_ref().map_or(at.to_token_stream(), ToTokens::to_token_stream);
    if let Err(flaw) = name::check_part(&part) {
        let message = format!(
            "{part:?} is no part of a metric name, because {flaw}: write another by `#[value(name = \"...\")]`"
        );
        mistakes.at(&at_name, message);
    }
    let kind = mark.kind.as_ref().map_or("histogram".into(), syn::LitStr::value);
    if !KINDS.contains(&kind.as_str()) {
        let message = format!("`{kind}` is no kind of a value's metric: write one of {}", KINDS.join(", "));
        mistakes.at(&mark.kind, message);
        return None;
    }
    let unit = unit(&field.ty, &mark, mistakes);
    let is_preset = unit.as_deref().is_some_and(|unit| ["s", "By"].contains(&unit));
    if kind == "histogram" && mark.bounds.is_none() && !is_preset {
        let message = "a histogram of this value has no bounds: write `#[value(unit = \"s\")]` or `unit = \"By\"`, which bring theirs, \
                       or `bounds = [1.0, 10.0]`, or another `kind = \"gauge\"`";
        mistakes.at(at, message);
    }
    if let (Some(bounds), true) = (&mark.bounds, kind != "histogram") {
        mistakes.at(bounds, format!("a metric of kind `{kind}` has no buckets: remove `bounds`"));
    }
    let help = help(&field.attrs);
    Some(ValueField { member, ty: &field.ty, part, at: at_name, kind, unit, bounds: mark.bounds, help })
}

/// `Member` is `Clone` with more features of syn only.
fn same(member: &Member) -> Member {
    match member {
        Member::Named(ident) => Member::Named(ident.clone()),
        Member::Unnamed(index) => Member::Unnamed(syn::Index { index: index.index, span: index.span }),
    }
}

/// The unit as a UCUM code; a `Duration` is told in seconds.
fn unit(ty: &Type, mark: &Mark, mistakes: &mut Mistakes) -> Option<String> {
    let is_duration = last_word(inner_of_option(ty).unwrap_or(ty)).is_some_and(|word| word == "Duration");
    let Some(given) = &mark.unit else { return is_duration.then(|| "s".into()) };
    let unit = given.value();
    let instead = match unit.as_str() {
        "seconds" | "second" | "sec" => Some("s"),
        "milliseconds" | "millis" => Some("ms"),
        "bytes" | "byte" | "B" | "b" => Some("By"),
        "percent" => Some("%"),
        "ratio" => Some("1"),
        _ => None,
    };
    if let Some(instead) = instead {
        mistakes.at(given, format!("units are UCUM codes: write `unit = \"{instead}\"`"));
    } else if is_duration && unit != "s" {
        mistakes.at(given, "a `Duration` is told in seconds: write `unit = \"s\"`, or leave the unit out");
    } else if unit.is_empty() || unit.len() > 63 || !unit.bytes().all(|byte| byte.is_ascii_graphic()) {
        mistakes.at(given, "this is no UCUM code: write one such as `s`, `By`, `By/s` or `{request}`");
    } else {
        return Some(unit);
    }
    // Stands for a good one, so that the mistake is told once.
    Some("s".into())
}

/// The first paragraph of a doc comment, on one line.
fn help(attributes: &[Attribute]) -> String {
    let mut words = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("doc")) {
        let Meta::NameValue(pair) = &attribute.meta else { continue };
        let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &pair.value else { continue };
        let text = text.value();
        if text.trim().is_empty() && !words.is_empty() {
            break;
        }
        words.extend(text.split_whitespace().map(str::to_owned));
    }
    words.join(" ")
}

fn last_word(ty: &Type) -> Option<&Ident> {
    match ty {
        Type::Path(path) => path.path.segments.last().map(|segment| &segment.ident),
        _ => None,
    }
}

fn inner_of_option(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|segment| segment.ident == "Option")?;
    let syn::PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first() {
        Some(syn::GenericArgument::Type(inner)) => Some(inner),
        _ => None,
    }
}

/// Refuses metrics whose names are too long or are taken by another kind of event.
pub(crate) fn check(kinds: &[(&String, &Measured<'_>)], mistakes: &mut Mistakes) {
    let mut taken: HashSet<String> = kinds.iter().map(|(name, _)| (*name).clone()).collect();
    for (name, measured) in kinds.iter().filter(|(_, measured)| !measured.skip) {
        for value in &measured.values {
            let full = format!("{name}.{}", value.part);
            if let Err(flaw) = name::check_len(&full) {
                let message =
                    format!("the name of this value's metric does not fit, because {flaw}: shorten it");
                mistakes.at(&value.at, message);
            } else if taken.contains(&full) {
                let message = format!(
                    "`{full}` is the name of another metric already: give this one another by `#[value(name = \"...\")]`"
                );
                mistakes.at(&value.at, message);
            }
            taken.insert(full);
        }
    }
}

/// What each kind of event adds to `metrics`, given the pattern's path of each.
pub(crate) fn expand(kinds: &[(&String, &Measured<'_>, TokenStream)], private: &TokenStream) -> TokenStream {
    let kinds = kinds.iter().filter(|(_, measured, _)| !measured.skip);
    let definitions = kinds.flat_map(|(name, measured, path)| {
        let labels: TokenStream = measured.labels.iter().map(|label| label.expand(path, private)).collect();
        let help = help_call(&measured.help);
        let counter = quote! {
            let metrics = #private::DefineMetrics::counter(metrics, #name, |metric| {
                metric.on(&[#name]) #help #labels
            });
        };
        let values = measured.values.iter().map(|value| value.expand(name, path, &labels, private));
        std::iter::once(counter).chain(values).collect::<Vec<_>>()
    });
    quote!(#(#definitions)*)
}

/// Bounds on the fields' types, needed where these depend on parameters.
pub(crate) fn bounds<'a>(
    kinds: impl Iterator<Item = &'a Measured<'a>>,
    private: &TokenStream,
) -> Vec<TokenStream> {
    let of_kind = |measured: &'a Measured<'a>| {
        let labels = measured.labels.iter().map(|LabelField { ty, .. }| quote!(#ty: #private::LabelValue));
        let values = measured.values.iter().map(|ValueField { ty, .. }| {
            let ty = inner_of_option(ty).unwrap_or(ty);
            quote!(#ty: #private::Measure + #private::Clone)
        });
        labels.chain(values).collect::<Vec<_>>()
    };
    kinds.filter(|measured| !measured.skip).flat_map(of_kind).collect()
}

fn help_call(help: &str) -> TokenStream {
    if help.is_empty() { TokenStream::new() } else { quote!(.help(#help)) }
}

impl LabelField<'_> {
    fn expand(&self, path: &TokenStream, private: &TokenStream) -> TokenStream {
        let Self { member, ty, key } = self;
        let field = Ident::new("__field", Span::mixed_site());
        let label = quote_spanned!(ty.span()=> <#ty as #private::LabelValue>::label(#field));
        quote! {
            .label(#key, |event| match event {
                #path { #member: #field, .. } => #label,
                _ => #private::Label::Absent,
            })
        }
    }
}

impl ValueField<'_> {
    fn expand(
        &self,
        event: &str,
        path: &TokenStream,
        labels: &TokenStream,
        private: &TokenStream,
    ) -> TokenStream {
        let Self { member, ty, .. } = self;
        let name = format!("{event}.{}", self.part);
        let method = Ident::new(&self.kind, Span::call_site());
        let field = Ident::new("__field", Span::mixed_site());
        let read = match inner_of_option(ty) {
            Some(_) => quote_spanned!(ty.span()=> #private::Clone::clone(#field)),
            None => quote_spanned!(ty.span()=> #private::Option::Some(#private::Clone::clone(#field))),
        };
        let help = help_call(&self.help);
        let unit = self.unit.as_ref().map(|unit| quote!(.ucum(#unit)));
        let bounds = self.bounds.as_ref().map(|bounds| quote!(.bounds(&#bounds)));
        quote! {
            let metrics = #private::DefineMetrics::#method(metrics, #name, |metric| {
                metric.on(&[#event]) #help #unit #bounds #labels .value(|event| match event {
                    #path { #member: #field, .. } => #read,
                    _ => #private::Option::None,
                })
            });
        }
    }
}
