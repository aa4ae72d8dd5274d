//! `#[packed]`: a plain struct or enum, packed into bits whose number the compiler knows.
//!
//! The macro of [`devmig_engine`](../devmig_engine/index.html), which re-exports it; see its module
//! `pack` for what the traits mean.
//!
//! ```text
//! #[packed]                          #[packed]
//! pub struct Ring {                  pub enum Event {
//!     #[bits(3)]                         Tick,                        tag 0
//!     pub base: u16,       3 bits        Put(#[bits(3)] u8),          tag 1, 3 bits
//!     pub started: bool,   1 bit     }                                1 bit of tag, 4 in all
//! }
//! ```
//!
//! **Invariants.** Every value of a type takes the same number of bits; what a variant does not use is
//! zero, so that equal values are equal bit for bit. A value that does not fit is an `Overflow`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::spanned::Spanned as _;
use syn::{
    Attribute, Error, Expr, Field, Fields, Ident, Item, ItemEnum, ItemStruct, Meta, Result, Token,
    Variant, parse_macro_input, parse_quote,
};

/// Packs a struct or an enum, and derives what every state and event needs.
///
/// Derived: `Clone`, `Copy`, `PartialEq`, `Eq`, `Hash`, `Debug`, serde's `Serialize`, and the
/// engine's `Pack`. A field takes as many bits as its type, or as `#[bits(N)]` says.
///
/// For an event, `#[packed(queued(A, B))]` says that only these variants ever wait in a queue, and
/// `#[packed(unqueued)]` that none does: other variants take no bits, and packing one is an overflow.
#[proc_macro_attribute]
pub fn packed(
    arguments: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    let item = parse_macro_input!(item as Item);
    let tokens = match item {
        Item::Struct(item) => Queued::parse(arguments.into()).and_then(|q| of_struct(&q, item)),
        Item::Enum(item) => Queued::parse(arguments.into()).and_then(|q| of_enum(&q, item)),
        other => Err(Error::new(other.span(), "only a struct or an enum can be packed")),
    };
    tokens.unwrap_or_else(Error::into_compile_error).into()
}

/// Which variants have a packed form.
enum Queued {
    All,
    Only(Vec<Ident>),
}

impl Queued {
    fn parse(arguments: TokenStream) -> Result<Self> {
        if arguments.is_empty() {
            return Ok(Queued::All);
        }
        match syn::parse2(arguments)? {
            Meta::Path(path) if path.is_ident("unqueued") => Ok(Queued::Only(Vec::new())),
            Meta::List(list) if list.path.is_ident("queued") => {
                type Names = syn::punctuated::Punctuated<Ident, Token![,]>;
                Ok(Queued::Only(
                    list.parse_args_with(Names::parse_terminated)?.into_iter().collect(),
                ))
            }
            other => Err(Error::new(other.span(), "expected `unqueued` or `queued(VARIANT, ...)`")),
        }
    }

    fn holds(&self, variant: &Variant) -> bool {
        match self {
            Queued::All => true,
            Queued::Only(names) => names.contains(&variant.ident),
        }
    }
}

/// What every packed type derives.
fn derives() -> Vec<Attribute> {
    vec![
        parse_quote!(#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]),
        parse_quote!(#[derive(::devmig_engine::serde::Serialize)]),
        parse_quote!(#[serde(crate = "::devmig_engine::serde")]),
    ]
}

/// How one field is packed.
struct Part {
    /// Its name in the pattern that takes the value apart.
    bound: Ident,
    /// How many bits it takes.
    bits: TokenStream,
    /// Writes it.
    pack: TokenStream,
    /// Reads it.
    unpack: TokenStream,
}

/// Takes `#[bits(N)]` away from the fields, and says how each is packed.
fn parts(of: &Ident, fields: &mut Fields) -> Result<Vec<Part>> {
    fields.iter_mut().enumerate().map(|(n, field)| part(of, n, field)).collect()
}

/// A field without a name goes by that of its struct or variant, should it overflow.
fn part(of: &Ident, n: usize, field: &mut Field) -> Result<Part> {
    let name = field.ident.as_ref().unwrap_or(of).to_string();
    let bound = format_ident!("field_{}", n);
    let ty = &field.ty;
    let mut width: Option<Expr> = None;
    for attribute in field.attrs.iter().filter(|a| a.path().is_ident("bits")) {
        width = Some(attribute.parse_args()?);
    }
    field.attrs.retain(|attribute| !attribute.path().is_ident("bits"));
    Ok(match width {
        Some(width) => Part {
            bits: quote!((#width)),
            pack: quote!(into.put(::devmig_engine::pack::PackAs::to_bits(*#bound), #width, #name)?;),
            unpack: quote!(<#ty as ::devmig_engine::pack::PackAs>::from_bits(from.get(#width))),
            bound,
        },
        None => Part {
            bits: quote!(<#ty as ::devmig_engine::pack::Pack>::BITS),
            pack: quote!(::devmig_engine::pack::Pack::pack(#bound, into)?;),
            unpack: quote!(<#ty as ::devmig_engine::pack::Pack>::unpack(from)),
            bound,
        },
    })
}

/// A pattern that binds each field of `path` to its part.
fn pattern(path: &TokenStream, fields: &Fields, parts: &[Part]) -> TokenStream {
    let bound: Vec<_> = parts.iter().map(|part| &part.bound).collect();
    match fields {
        Fields::Named(named) => {
            let names = named.named.iter().map(|field| &field.ident);
            quote!(#path { #(#names: #bound),* })
        }
        Fields::Unnamed(_) => quote!(#path(#(#bound),*)),
        Fields::Unit => quote!(#path),
    }
}

/// An expression that reads each field of `path`, in order.
fn reading(path: &TokenStream, fields: &Fields, parts: &[Part]) -> TokenStream {
    let reads = parts.iter().map(|part| &part.unpack);
    match fields {
        Fields::Named(named) => {
            let names = named.named.iter().map(|field| &field.ident);
            quote!(#path { #(#names: #reads),* })
        }
        Fields::Unnamed(_) => quote!(#path(#(#reads),*)),
        Fields::Unit => quote!(#path),
    }
}

/// The implementation of `Pack`.
fn implementation(
    name: &Ident,
    generics: &syn::Generics,
    bits: &TokenStream,
    pack: &TokenStream,
    unpack: &TokenStream,
) -> TokenStream {
    let mut generics = generics.clone();
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(parse_quote!(::devmig_engine::pack::Pack));
    }
    let (of, types, bounds) = generics.split_for_impl();
    quote! {
        impl #of ::devmig_engine::pack::Pack for #name #types #bounds {
            const BITS: u32 = #bits;

            #[inline(always)]
            fn pack<const PACK_W: usize>(
                &self,
                into: &mut ::devmig_engine::pack::Writer<PACK_W>,
            ) -> ::core::result::Result<(), ::devmig_engine::pack::Overflow> {
                #pack
            }

            #[inline(always)]
            fn unpack<const PACK_W: usize>(
                from: &mut ::devmig_engine::pack::Reader<PACK_W>,
            ) -> Self {
                #unpack
            }
        }
    }
}

/// What packing an event without a packed form comes to.
fn overflow() -> TokenStream {
    quote!(Err(::devmig_engine::pack::Overflow { field: "an event that is never queued" }))
}

fn of_struct(queued: &Queued, mut item: ItemStruct) -> Result<TokenStream> {
    let parts = parts(&item.ident, &mut item.fields)?;
    let this = quote!(Self);
    let (pattern, reading) =
        (pattern(&this, &item.fields, &parts), reading(&this, &item.fields, &parts));
    let (bits, packs) = (parts.iter().map(|p| &p.bits), parts.iter().map(|p| &p.pack));
    let (bits, pack, unpack) = match queued {
        Queued::All => {
            (quote!(0 #(+ #bits)*), quote!(let #pattern = self; #(#packs)* Ok(())), reading)
        }
        Queued::Only(names) if names.is_empty() => {
            (quote!(0), overflow(), quote!(::core::default::Default::default()))
        }
        Queued::Only(names) => return Err(Error::new(names[0].span(), "a struct has no variants")),
    };
    let implementation = implementation(&item.ident, &item.generics, &bits, &pack, &unpack);
    item.attrs.splice(0..0, derives());
    Ok(quote!(#item #implementation))
}

fn of_enum(queued: &Queued, mut item: ItemEnum) -> Result<TokenStream> {
    let variants: Vec<_> = item
        .variants
        .iter_mut()
        .map(|v| Ok((parts(&v.ident.clone(), &mut v.fields)?, &*v)))
        .collect::<Result<_>>()?;
    let (kept, left): (Vec<_>, Vec<_>) =
        variants.iter().partition::<Vec<_>, _>(|(_, variant)| queued.holds(variant));
    if let Queued::Only(names) = queued {
        let known = |name: &&Ident| !kept.iter().any(|(_, variant)| variant.ident == **name);
        if let Some(unknown) = names.iter().find(known) {
            return Err(Error::new(unknown.span(), "there is no such variant"));
        }
    }
    let tag = kept.len().next_power_of_two().trailing_zeros();
    let sizes: Vec<_> = kept
        .iter()
        .map(|(parts, _)| {
            let bits = parts.iter().map(|part| &part.bits);
            quote!((0 #(+ #bits)*))
        })
        .collect();
    let bits = quote!({
        let sizes: &[u32] = &[#(#sizes),*];
        let (mut most, mut n) = (0, 0);
        while n < sizes.len() {
            if sizes[n] > most {
                most = sizes[n];
            }
            n += 1;
        }
        #tag + most
    });
    let mut packs = Vec::new();
    let mut unpacks = Vec::new();
    for (n, ((parts, variant), size)) in kept.iter().zip(&sizes).enumerate() {
        let name = &variant.ident;
        let path = quote!(Self::#name);
        let n = n as u64;
        let (pattern, reading) =
            (pattern(&path, &variant.fields, parts), reading(&path, &variant.fields, parts));
        let writes = parts.iter().map(|part| &part.pack);
        packs.push(quote!(#pattern => {
            into.put(#n, #tag, "variant")?;
            #(#writes)*
            into.skip(<Self as ::devmig_engine::pack::Pack>::BITS - #tag - #size);
            Ok(())
        }));
        let read = quote!({
            let value = #reading;
            from.skip(<Self as ::devmig_engine::pack::Pack>::BITS - #tag - #size);
            value
        });
        // No other number is ever written: the last variant takes what is left.
        let last = n + 1 == kept.len() as u64;
        unpacks.push(if last { quote!(_ => #read) } else { quote!(#n => #read) });
    }
    for (_, variant) in &left {
        let name = &variant.ident;
        let overflow = overflow();
        packs.push(quote!(Self::#name { .. } => #overflow));
    }
    if kept.is_empty() {
        unpacks.push(quote!(_ => ::core::default::Default::default()));
    }
    let implementation = implementation(
        &item.ident,
        &item.generics,
        &bits,
        &quote!(match self { #(#packs),* }),
        &quote!(match from.get(#tag) { #(#unpacks),* }),
    );
    item.attrs.splice(0..0, derives());
    Ok(quote!(#item #implementation))
}
