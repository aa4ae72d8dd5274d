//! What a protocol's implementation reads: the items of the files, and those of a proposal beside them.
//!
//! ```text
//!  specs/**/*.toml --\
//!                     >-- Input --items_of(kind, protocol)--> Read { base, proposed } --overlaid--> by name
//!  proposal.toml ----/
//! ```

use std::any::Any;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::spec::{Diagnostics, Item, Spanned, Tables, unique};

/// What is read: parsed files, and a proposal's if there is one.
#[derive(Debug)]
pub struct Input<'f> {
    base: Vec<Tables<'f>>,
    proposal: Option<Tables<'f>>,
    kept: Vec<Arc<dyn Any + Send + Sync>>,
    protocols: Asked,
}

/// Protocols by name, each with the others whose choices its systems have.
pub type Asked = Vec<(&'static str, &'static [&'static str])>;

/// The items of one kind.
#[derive(Clone, Debug)]
pub struct Read<T> {
    /// What is built in.
    pub base: Vec<Item<T>>,
    /// What a proposal adds.
    pub proposed: Vec<Item<T>>,
}

impl<'f> Input<'f> {
    /// These files.
    #[must_use]
    pub fn new(base: Vec<Tables<'f>>, proposal: Option<Tables<'f>>) -> Self {
        Input { base, proposal, kept: Vec::new(), protocols: Vec::new() }
    }

    /// The same, where these protocols are registered.
    #[must_use]
    pub fn knowing(self, protocols: Asked) -> Self {
        Input { protocols, ..self }
    }

    /// The protocols that are registered.
    #[must_use]
    pub fn protocols(&self) -> Asked {
        self.protocols.clone()
    }

    /// Whether there is a proposal.
    #[must_use]
    pub fn has_proposal(&self) -> bool {
        self.proposal.is_some()
    }

    /// Keeps a table for protocols that are registered later and build on it.
    pub fn keep<T: Any + Send + Sync>(&mut self, table: &Arc<T>) {
        self.kept.push(Arc::clone(table) as _);
    }

    /// The table that an earlier protocol kept; an empty one, if none did.
    #[must_use]
    pub fn kept<T: Any + Send + Sync + Default>(&self) -> Arc<T> {
        let own = self.kept.iter().find_map(|table| Arc::clone(table).downcast().ok());
        own.unwrap_or_default()
    }

    /// Takes all `[[kind]]` items.
    pub fn items<T: DeserializeOwned>(&mut self, kind: &str, d: &mut Diagnostics) -> Read<T> {
        self.read(|tables| tables.items(kind, d))
    }

    /// Takes the `[[kind]]` items of one protocol.
    pub fn items_of<T: DeserializeOwned>(
        &mut self,
        kind: &str,
        protocol: &str,
        d: &mut Diagnostics,
    ) -> Read<T> {
        self.read(|tables| tables.items_of(kind, protocol, d))
    }

    /// Takes the `[[kind]]` items of one protocol, each in two parts: the `common` keys, and the others.
    pub fn items_in_parts_of<C: DeserializeOwned, O: DeserializeOwned>(
        &mut self,
        kind: &str,
        common: &[&str],
        protocol: &str,
        d: &mut Diagnostics,
    ) -> Read<(C, O)> {
        self.read(|tables| tables.items_in_parts_of(kind, common, protocol, d))
    }

    fn read<T>(&mut self, mut take: impl FnMut(&mut Tables<'f>) -> Vec<Item<T>>) -> Read<T> {
        let base = self.base.iter_mut().flat_map(&mut take).collect();
        let proposed = self.proposal.as_mut().map(take).unwrap_or_default();
        Read { base, proposed }
    }
}

/// Complains about each choice of an item (`CHOICE`, or `CHOICE = OPTION`) that belongs to another protocol:
/// no rule of the item's protocol asks for it.
pub fn own_choices<T>(
    known: &Asked,
    protocol: &str,
    item: &Item<T>,
    choices: &[Spanned<String>],
    d: &mut Diagnostics,
) {
    let asks_of = known.iter().find(|(name, _)| *name == protocol).map_or(&[][..], |(_, of)| of);
    for choice in choices {
        let owner = choice.get_ref().split('.').next().unwrap_or_default().trim();
        let is_registered = known.iter().any(|(name, _)| *name == owner);
        if is_registered && owner != protocol && !asks_of.contains(&owner) {
            let message = format!("this is a choice of {owner}, for which {protocol} never asks");
            d.push(item.error(choice.span(), message, "of another protocol"));
        }
    }
}

impl<T> Read<T> {
    /// A proposal's item takes the place of the base's of its name.
    pub fn overlaid(
        self,
        what: &str,
        name: impl Fn(&T) -> &Spanned<String>,
        d: &mut Diagnostics,
    ) -> Vec<Overlaid<T>> {
        unique(what, &self.base, &name, usize::MAX, d);
        unique(what, &self.proposed, &name, usize::MAX, d);
        let of = |proposed| move |item| Overlaid { item, proposed };
        let mut all: Vec<_> = self.base.into_iter().map(of(false)).collect();
        for item in self.proposed {
            let own = name(&item.value).get_ref();
            match all.iter_mut().find(|known| name(&known.item.value).get_ref() == own) {
                Some(replaced) => *replaced = Overlaid { item, proposed: true },
                None => all.push(Overlaid { item, proposed: true }),
            }
        }
        all
    }
}

/// An item, and whether a proposal brings it.
#[derive(Clone, Debug)]
pub struct Overlaid<T> {
    /// The item.
    pub item: Item<T>,
    /// Whether a proposal brings it.
    pub proposed: bool,
}
