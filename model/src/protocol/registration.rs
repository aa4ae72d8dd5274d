//! What a protocol registers: one trait.
//!
//! ```text
//!  specs/**/*.toml --\
//!                     >-- Input --Protocol::load--> the protocol's tables, programs, systems
//!  proposal.toml ----/                                  |
//!                                                      build(name, rules) --> Box<dyn Check>
//! ```
//!
//! Four kinds of items belong to every protocol that wants them, and say whose they are with
//! `protocol = "NAME"`: `[[system]]`, `[[program]]`, `[[property]]` and `[[bug]]`. Every other kind belongs to one
//! protocol.

use std::fmt;

use super::definition::{Definition, SystemList};
use super::input::Input;
use super::size::{BadScale, Scale};
use crate::spec::{Diagnostics, ItemKind, Spec, SpecErrors};
use devmig_engine::explore::Check;
use devmig_engine::rules::Rules;

/// The kinds of items that say whose they are.
pub const SHARED: [&str; 4] = ["system", "program", "bug", "property"];

/// A section of the vocabulary: its title, and its words with what they mean.
pub type Section = (&'static str, Vec<(&'static str, &'static str)>);

/// A protocol, loaded.
pub trait Protocol: fmt::Debug + Send + Sync {
    /// Its name, by which an item of a shared kind says whose it is.
    fn name() -> &'static str
    where
        Self: Sized;

    /// The kinds of items that it reads, of [`SHARED`] and of its own, each with the schema of its keys.
    fn tables() -> Vec<ItemKind>
    where
        Self: Sized;

    /// Other protocols whose choices its systems have, because they are composed of their machines.
    fn asks_of() -> &'static [&'static str]
    where
        Self: Sized,
    {
        &[]
    }

    /// Its words, as `devmig proposal words` shows them.
    fn words() -> Vec<Section>
    where
        Self: Sized,
    {
        Vec::new()
    }

    /// Reads its items, lays those of a proposal over the others, and resolves every name in them.
    ///
    /// # Errors
    /// What the specification lacks of what is named in code. Problems of the items go to `d`.
    fn load(spec: &Spec, input: &mut Input<'_>, d: &mut Diagnostics) -> Result<Self, SpecErrors>
    where
        Self: Sized;

    /// What its proposal adds to its own tables and takes from them, in lines with a heading each.
    fn additions(&self, base: &Self) -> Vec<(&'static str, Vec<String>)>
    where
        Self: Sized,
    {
        let _ = base;
        Vec::new()
    }

    /// The same, judged by one version of a document, both by index; `None` if that changes nothing.
    #[must_use]
    fn by_text(&self, spec: &Spec, source: usize, version: usize) -> Option<Self>
    where
        Self: Sized,
    {
        let _ = (spec, source, version);
        None
    }

    /// Its systems, in the order of the files.
    fn systems(&self) -> &dyn SystemList;

    /// The system of this name at this size under these rules, if it has one.
    ///
    /// # Errors
    /// If the system has no such size: lists its bounds.
    fn build(
        &self,
        name: &str,
        scale: &Scale,
        rules: Rules,
    ) -> Result<Option<Box<dyn Check>>, BadScale>;

    /// The names of its properties.
    fn properties(&self) -> Vec<&'static str>;

    /// Mistakes that were made in earnest, in the order of the files.
    fn bugs(&self) -> Vec<Bug<'_>> {
        Vec::new()
    }

    /// The system of the bug of this id, with it, under these rules.
    fn build_bug(&self, id: &str, rules: Rules) -> Option<Box<dyn Check>> {
        let _ = (id, rules);
        None
    }
}

/// A mistake, put into a system.
#[derive(Clone, Copy, Debug)]
pub struct Bug<'a> {
    /// Its short name.
    pub id: &'a str,
    /// Where it was reported.
    pub seen: &'a str,
    /// What went wrong.
    pub about: &'a str,
    /// The system without it.
    pub system: &'a str,
    /// The properties that notice: these and no others.
    pub caught: &'a [String],
    /// Whether a proposal brings it.
    pub proposed: bool,
    /// The system with it.
    pub definition: &'a dyn Definition,
}
