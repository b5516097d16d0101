//! `#[derive(MetricEvent)]`: parse, then check, then expand.

use crate::attrs::Place;
use crate::attrs::Settings;
use crate::metrics;
use crate::metrics::Measured;
use crate::mistakes::Mistakes;
use crate::name;
use crate::name::Flaw;
use proc_macro2::Literal;
use proc_macro2::TokenStream;
use quote::ToTokens;
use quote::quote;
use std::collections::HashMap;
use syn::Data;
use syn::DeriveInput;
use syn::Fields;
use syn::GenericParam;
use syn::Generics;
use syn::Ident;
use syn::ext::IdentExt;

/// How many characters of a wrong name a message repeats.
const MAX_SHOWN: usize = 40;

/// The impl for `input`, or every mistake in it.
pub(crate) fn derive(input: &DeriveInput) -> syn::Result<TokenStream> {
    let mut mistakes = Mistakes::default();
    let declared = parse(input, &mut mistakes);
    let names = check(&declared, &mut mistakes);
    metrics::check(&measured(&declared, &names), &mut mistakes);
    mistakes.none_in(names).map(|names| expand(&declared, &names))
}

/// The type as written, its attributes read and not yet judged.
struct Declared<'a> {
    ident: &'a Ident,
    generics: &'a Generics,
    settings: Settings,
    kind: Kind<'a>,
}

enum Kind<'a> {
    Struct(Measured<'a>),
    Enum(Vec<Variant<'a>>),
}

struct Variant<'a> {
    ident: &'a Ident,
    settings: Settings,
    measured: Measured<'a>,
}

/// Event types, and what is measured of each.
fn measured<'a>(declared: &'a Declared<'_>, names: &'a [String]) -> Vec<(&'a String, &'a Measured<'a>)> {
    match &declared.kind {
        Kind::Struct(measured) => names.iter().map(|name| (name, measured)).collect(),
        Kind::Enum(variants) => names.iter().zip(variants.iter().map(|variant| &variant.measured)).collect(),
    }
}

fn parse<'a>(input: &'a DeriveInput, mistakes: &mut Mistakes) -> Declared<'a> {
    let settings = Settings::read(&input.attrs, Place::Type, mistakes);
    for parameter in &input.generics.params {
        let attributes = match parameter {
            GenericParam::Lifetime(lifetime) => &lifetime.attrs,
            GenericParam::Type(parameter) => &parameter.attrs,
            GenericParam::Const(parameter) => &parameter.attrs,
        };
        Settings::read(attributes, Place::Parameter, mistakes);
    }
    let kind = match &input.data {
        Data::Struct(data) => {
            parse_fields(&data.fields, mistakes);
            Kind::Struct(metrics::read(&input.attrs, &data.fields, false, mistakes))
        }
        Data::Enum(data) => Kind::Enum(data.variants.iter().map(|v| parse_variant(v, mistakes)).collect()),
        Data::Union(data) => {
            let remedy =
                "a union cannot tell what happened: make it an `enum` with a variant for each kind of event";
            mistakes.at(&data.union_token, remedy);
            Kind::Struct(metrics::read(&[], &Fields::Unit, false, mistakes))
        }
    };
    Declared { ident: &input.ident, generics: &input.generics, settings, kind }
}

fn parse_variant<'a>(variant: &'a syn::Variant, mistakes: &mut Mistakes) -> Variant<'a> {
    let settings = Settings::read(&variant.attrs, Place::Variant, mistakes);
    parse_fields(&variant.fields, mistakes);
    let measured = metrics::read(&variant.attrs, &variant.fields, true, mistakes);
    Variant { ident: &variant.ident, settings, measured }
}

fn parse_fields(fields: &Fields, mistakes: &mut Mistakes) {
    for field in fields {
        Settings::read(&field.attrs, Place::Field, mistakes);
    }
}

/// The event types, in the order of the variants.
///
/// An enum without variants is fine: it states nothing, by hand it can be written, and it is what remains of an enum whose
/// variants are all behind a `#[cfg]`.
fn check(declared: &Declared<'_>, mistakes: &mut Mistakes) -> Vec<String> {
    for lifetime in declared.generics.lifetimes() {
        let remedy = "an event outlives the call that states it, so it cannot borrow: \
                      own the data (numbers, `String`, `Arc<str>`, `&'static str`) and remove this lifetime";
        mistakes.at(&lifetime.lifetime, remedy);
    }
    let type_name = declared.ident.unraw().to_string();
    let prefix = part(declared.ident, &declared.settings, name::prefix(&type_name), name::check, mistakes);
    match &declared.kind {
        Kind::Struct(_) => vec![prefix],
        Kind::Enum(variants) => check_variants(&prefix, variants, mistakes),
    }
}

fn check_variants(prefix: &str, variants: &[Variant<'_>], mistakes: &mut Mistakes) -> Vec<String> {
    let mut owners: HashMap<String, &Ident> = HashMap::with_capacity(variants.len());
    let mut names = Vec::with_capacity(variants.len());
    for variant in variants {
        let Variant { ident, settings, .. } = variant;
        let default = name::snake_case(&ident.unraw().to_string());
        let part = part(ident, settings, default, name::check_part, mistakes);
        let full = format!("{prefix}.{part}");
        if let (Ok(()), Err(flaw)) = (name::check_len(&part), name::check_len(&full)) {
            refuse(ident, settings, &full, &flaw, mistakes);
        }
        if let Some(owner) = owners.get(&full) {
            let remedy = format!(
                "`{full}` is the name of `{owner}` already, and one name is one kind of event: \
                 give this variant its own `#[event(name = \"...\")]`"
            );
            mistakes.add(at_name(ident, settings, &remedy));
        } else {
            owners.insert(full.clone(), ident);
        }
        names.push(full);
    }
    names
}

/// A part of the name: the one given, else the default.
fn part(
    ident: &Ident,
    settings: &Settings,
    default: String,
    rule: fn(&str) -> Result<(), Flaw>,
    mistakes: &mut Mistakes,
) -> String {
    let part = settings.name.as_ref().map_or(default, syn::LitStr::value);
    if let Err(flaw) = rule(&part) {
        refuse(ident, settings, &part, &flaw, mistakes);
    }
    part
}

fn refuse(ident: &Ident, settings: &Settings, name: &str, flaw: &Flaw, mistakes: &mut Mistakes) {
    let remedy = match (flaw, &settings.name) {
        (Flaw::TooLong(_), _) => "shorten this part of it, or the other, by `#[event(name = \"...\")]`",
        (_, Some(_)) => "write words of ASCII letters, digits and `_`, a letter first, joined by single dots",
        (_, None) => "give it one of ASCII letters, digits and `_` by `#[event(name = \"...\")]`",
    };
    let shown: String = name.chars().take(MAX_SHOWN).collect();
    let dots = if shown.len() < name.len() { "..." } else { "" };
    let message = format!("{shown:?}{dots} is not an event name, because {flaw}: {remedy}");
    mistakes.add(at_name(ident, settings, &message));
}

/// Where a name comes from: the literal if there is one, else the identifier.
fn at_name(ident: &Ident, settings: &Settings, message: &str) -> syn::Error {
    match &settings.name {
        Some(given) => syn::Error::new_spanned(given, message),
        None => syn::Error::new_spanned(ident, message),
    }
}

/// The impl. `deprecated` is allowed in it, because whoever keeps a deprecated event does not use it by deriving for it.
fn expand(declared: &Declared<'_>, names: &[String]) -> TokenStream {
    let Declared { ident, generics, .. } = declared;
    let private = private(&declared.settings);
    let (impl_generics, ty_generics, _) = generics.split_for_impl();
    let measured = measured(declared, names);
    let derived_where = metrics::bounds(measured.iter().map(|(_, measured)| *measured), &private);
    let derived_where = where_clause(generics, &private, &derived_where);
    let where_clause = where_clause(generics, &private, &[]);
    let paths: Vec<TokenStream> = match &declared.kind {
        Kind::Struct(_) => vec![quote!(Self)],
        Kind::Enum(variants) => variants.iter().map(|Variant { ident, .. }| quote!(Self::#ident)).collect(),
    };
    let kinds: Vec<_> = measured.into_iter().zip(paths).map(|((name, of), path)| (name, of, path)).collect();
    let definitions = metrics::expand(&kinds, &private);
    let event_type = by_variant(&declared.kind, names);
    let indices: Vec<Literal> = (0..names.len()).map(Literal::usize_unsuffixed).collect();
    let variant_index = by_variant(&declared.kind, &indices);
    quote! {
        #[automatically_derived]
        #[allow(deprecated)]
        impl #impl_generics #private::MetricEvent for #ident #ty_generics #where_clause {
            const EVENT_TYPES: &'static [&'static #private::str] = &[#(#names),*];

            #[inline]
            fn event_type(&self) -> &'static #private::str {
                #event_type
            }

            #[inline]
            fn variant_index(&self) -> #private::usize {
                #variant_index
            }
        }

        #private::if_runtime! {
            #[automatically_derived]
            #[allow(deprecated, unreachable_patterns)]
            impl #impl_generics #private::DerivedMetrics for #ident #ty_generics #derived_where {
                fn define<__D: #private::DefineMetrics<Self>>(metrics: __D) -> __D {
                    #definitions
                    metrics
                }
            }
        }
    }
}

/// Everything the impl names is reached through here, so nothing in the user's scope can stand in its way.
fn private(settings: &Settings) -> TokenStream {
    match &settings.krate {
        Some(path) => quote!(#path::__private),
        None => quote!(::mvx_metrics::__private),
    }
}

/// A generic event is an event whenever it can be sent and borrows nothing. Said of `Self`, this is exact; a bound on each
/// parameter would ask too little for `Arc<T>` and too much for `PhantomData<fn() -> T>`.
///
/// `of_fields` is what is asked of the fields' types beside.
fn where_clause(generics: &Generics, private: &TokenStream, of_fields: &[TokenStream]) -> TokenStream {
    let written = generics.where_clause.iter().flat_map(|clause| &clause.predicates);
    let sendable = generics.type_params().next().map(|_| quote!(Self: #private::Send + 'static));
    let of_fields = of_fields.iter().filter(|_| generics.type_params().next().is_some()).cloned();
    let written = written.map(ToTokens::to_token_stream);
    let predicates: Vec<TokenStream> = written.chain(sendable).chain(of_fields).collect();
    if predicates.is_empty() { TokenStream::new() } else { quote!(where #(#predicates),*) }
}

/// One value for each variant. A `match` over literals instead of an index into `EVENT_TYPES`: it has no panic to compile.
fn by_variant(kind: &Kind<'_>, values: &[impl ToTokens]) -> TokenStream {
    match kind {
        Kind::Struct(_) => quote!(#(#values)*),
        Kind::Enum(variants) if variants.is_empty() => quote!(match *self {}),
        Kind::Enum(variants) => {
            let idents = variants.iter().map(|variant| variant.ident);
            quote!(match self { #(Self::#idents { .. } => #values,)* })
        }
    }
}
