//! `#[derive(Labels)]` and `#[derive(LabelValue)]`.

use crate::marks;
use crate::marks::Mark;
use crate::mistakes::Mistakes;
use crate::name;
use proc_macro2::Literal;
use proc_macro2::TokenStream;
use quote::ToTokens;
use quote::quote;
use quote::quote_spanned;
use syn::Data;
use syn::DeriveInput;
use syn::GenericParam;
use syn::Generics;
use syn::Ident;
use syn::Member;
use syn::Type;
use syn::ext::IdentExt;
use syn::spanned::Spanned;

/// The most bytes that a label value keeps.
const MAX_VALUE_BYTES: usize = 1_024;

struct Field<'a> {
    member: Member,
    ty: &'a Type,
    key: String,
}

/// The impl of `LabelFields`, or every mistake in the input.
pub(crate) fn derive_labels(input: &DeriveInput) -> syn::Result<TokenStream> {
    let mut mistakes = Mistakes::default();
    let of_type = Mark::read(&input.attrs, "label", &[&marks::CRATE], &mut mistakes);
    let fields = match &input.data {
        Data::Struct(data) => fields(&data.fields, &mut mistakes),
        Data::Enum(data) => {
            let remedy = "labels are the fields of a `struct`; for an enum whose variants are the values of one label, \
                          write `#[derive(LabelValue)]`";
            mistakes.at(&data.enum_token, remedy);
            Vec::new()
        }
        Data::Union(data) => {
            mistakes.at(&data.union_token, "labels are the fields of a `struct`: make this one");
            Vec::new()
        }
    };
    let fields = mistakes.none_in(fields)?;
    let private = private(&of_type);
    let ident = &input.ident;
    let (impl_generics, ty_generics, _) = input.generics.split_for_impl();
    let where_clause = where_clause(&input.generics, &private);
    let at = at_lifetime(ident, &input.generics);
    let keys = fields.iter().map(|field| &field.key);
    let cardinalities = fields
        .iter()
        .map(|Field { ty, .. }| quote_spanned!(ty.span()=> <#ty as #private::LabelValue>::CARDINALITY));
    let labels = fields.iter().enumerate().map(|(position, Field { member, ty, .. })| {
        let position = Literal::usize_unsuffixed(position);
        quote_spanned!(ty.span()=> #position => #private::LabelValue::label(&self.#member),)
    });
    let places = fields.iter().map(|Field { member, ty, .. }| {
        quote_spanned! {ty.span()=>
            let index = index
                .wrapping_mul(<#ty as #private::LabelValue>::CARDINALITY.unwrap_or(1))
                .wrapping_add(#private::LabelValue::index(&self.#member));
        }
    });
    Ok(quote! {
        #private::if_runtime! {
            #[automatically_derived]
            #[allow(deprecated)]
            impl #impl_generics #private::LabelFields for #ident #ty_generics #where_clause {
                const KEYS: &'static [&'static #private::str] = &[#(#keys),*];
                const CARDINALITY: #private::Option<#private::usize> = #private::label_product(&[#(#cardinalities),*]);
                type At<'__e> = #at;

                #[inline]
                fn label(&self, position: #private::usize) -> #private::Label<'_> {
                    match position {
                        #(#labels)*
                        _ => #private::Label::Absent,
                    }
                }

                #[inline]
                fn index(&self) -> #private::usize {
                    let index: #private::usize = 0;
                    #(#places)*
                    index
                }
            }
        }
    })
}

fn fields<'a>(all: &'a syn::Fields, mistakes: &mut Mistakes) -> Vec<Field<'a>> {
    let mut fields: Vec<Field<'a>> = Vec::new();
    for (field, member) in all.iter().zip(all.members()) {
        let mark = Mark::read(&field.attrs, "label", &[&marks::NAME, &marks::SKIP], mistakes);
        if mark.skip {
            if let Some(name) = &mark.name {
                mistakes.at(name, "a field that is skipped has no name: remove one of the two");
            }
            continue;
        }
        let at: &dyn ToTokens = field.ident.as_ref().map_or(&field.ty as _, |ident| ident as _);
        let key = marks::label_key(field.ident.as_ref(), at, &mark, mistakes);
        if fields.iter().any(|known| known.key == key) && !key.is_empty() {
            let message = format!(
                "`{key}` is the key of two fields: give one of them another by `#[label(name = \"...\")]`"
            );
            mistakes.at(at, message);
        }
        fields.push(Field { member, ty: &field.ty, key });
    }
    fields
}

/// The impl of `LabelValue`, or every mistake in the input.
pub(crate) fn derive_value(input: &DeriveInput) -> syn::Result<TokenStream> {
    let mut mistakes = Mistakes::default();
    let of_type = Mark::read(&input.attrs, "label", &[&marks::CRATE], &mut mistakes);
    let values = match &input.data {
        Data::Enum(data) => values(data, &mut mistakes),
        Data::Struct(data) => {
            let remedy = "a label value is one of the variants of an `enum`; for a struct whose fields are labels, \
                          write `#[derive(Labels)]`";
            mistakes.at(&data.struct_token, remedy);
            Vec::new()
        }
        Data::Union(data) => {
            mistakes
                .at(&data.union_token, "a label value is one of the variants of an `enum`: make this one");
            Vec::new()
        }
    };
    let values = mistakes.none_in(values)?;
    let private = private(&of_type);
    let ident = &input.ident;
    let (impl_generics, ty_generics, where_clause) = input.generics.split_for_impl();
    let count = Literal::usize_unsuffixed(values.len());
    let (label, index) = if values.is_empty() {
        (quote!(match *self {}), quote!(match *self {}))
    } else {
        let (variants, texts): (Vec<_>, Vec<_>) = values.iter().map(|(ident, text)| (*ident, text)).unzip();
        let places = (0..values.len()).map(Literal::usize_unsuffixed);
        let label = quote!(#private::Label::fixed(match self { #(Self::#variants { .. } => #texts,)* }));
        (label, quote!(match self { #(Self::#variants { .. } => #places,)* }))
    };
    Ok(quote! {
        #private::if_runtime! {
            #[automatically_derived]
            #[allow(deprecated)]
            impl #impl_generics #private::LabelValue for #ident #ty_generics #where_clause {
                const CARDINALITY: #private::Option<#private::usize> = #private::Option::Some(#count);

                #[inline]
                fn label(&self) -> #private::Label<'_> {
                    #label
                }

                #[inline]
                fn index(&self) -> #private::usize {
                    #index
                }
            }
        }
    })
}

fn values<'a>(data: &'a syn::DataEnum, mistakes: &mut Mistakes) -> Vec<(&'a Ident, String)> {
    let mut values: Vec<(&'a Ident, String)> = Vec::new();
    for variant in &data.variants {
        let mark = Mark::read(&variant.attrs, "label", &[&marks::NAME], mistakes);
        for field in &variant.fields {
            let inner = Mark::read(&field.attrs, "label", &[], mistakes);
            if inner.span.is_some() {
                mistakes.at(
                    field,
                    "a field of a label value is no label: move `#[label(...)]` to the variant, or remove it",
                );
            }
        }
        if !variant.fields.is_empty() && mark.name.is_none() {
            let message = "the fields of this variant do not show in the label: say so by naming it, \
                           `#[label(name = \"...\")]`, or remove them";
            mistakes.at(&variant.ident, message);
        }
        let text = match &mark.name {
            Some(name) => name.value(),
            None => name::snake_case(&variant.ident.unraw().to_string()),
        };
        let at: &dyn ToTokens = mark.name.as_ref().map_or(&variant.ident as _, |name| name as _);
        if text.len() > MAX_VALUE_BYTES {
            mistakes.at(
                at,
                format!("this label value has {} bytes: shorten it to at most {MAX_VALUE_BYTES}", text.len()),
            );
        }
        if values.iter().any(|(_, known)| *known == text) {
            let message = format!(
                "`{text}` is the value of two variants: give this one another by `#[label(name = \"...\")]`"
            );
            mistakes.at(at, message);
        }
        values.push((&variant.ident, text));
    }
    values
}

/// The type with the lifetime of an event in the place of each of its own.
fn at_lifetime(ident: &Ident, generics: &Generics) -> TokenStream {
    if generics.params.is_empty() {
        return quote!(#ident);
    }
    let arguments = generics.params.iter().map(|parameter| match parameter {
        GenericParam::Lifetime(_) => quote!('__e),
        GenericParam::Type(parameter) => parameter.ident.to_token_stream(),
        GenericParam::Const(parameter) => parameter.ident.to_token_stream(),
    });
    quote!(#ident<#(#arguments),*>)
}

fn where_clause(generics: &Generics, private: &TokenStream) -> TokenStream {
    let written = generics.where_clause.iter().flat_map(|clause| &clause.predicates);
    let values = generics.type_params().map(|parameter| {
        let ident = &parameter.ident;
        quote!(#ident: #private::LabelValue + 'static)
    });
    let predicates: Vec<TokenStream> = written.map(ToTokens::to_token_stream).chain(values).collect();
    if predicates.is_empty() { TokenStream::new() } else { quote!(where #(#predicates),*) }
}

fn private(of_type: &Mark) -> TokenStream {
    match &of_type.krate {
        Some(path) => quote!(#path::__private),
        None => quote!(::mvx_metrics::__private),
    }
}
