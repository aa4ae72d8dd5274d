//! What a protocol registers: one trait, and what its implementation reads from the files.
//!
//! ```text
//!  specs/**/*.toml --\
//!                     >-- Input --Protocol::load--> the protocol's tables, programs, systems
//!  proposal.toml ----/                                  |
//!                                                      build(name, rules) --> Box<dyn Check>
//! ```
//!
//! Three kinds of items belong to every protocol that wants them, and say whose they are with
//! `protocol = "NAME"`: `[[system]]`, `[[program]]` and `[[bug]]`. Every other kind belongs to one
//! protocol.

use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::definition::Definition;
use super::size::{BadScale, Scale};
use crate::spec::{Diagnostics, Item, Spanned, Spec, SpecErrors, Tables, unique};
use devmig_engine::explore::Check;
use devmig_engine::rules::Rules;

/// The kinds of items that say whose they are.
pub const SHARED: [&str; 3] = ["system", "program", "bug"];

/// A section of the vocabulary: its title, and its words with what they mean.
pub type Section = (&'static str, Vec<(&'static str, &'static str)>);

/// A protocol, loaded.
pub trait Protocol: fmt::Debug + Send + Sync {
    /// Its name, by which an item of a shared kind says whose it is.
    fn name() -> &'static str
    where
        Self: Sized;

    /// The kinds of items that it reads, of [`SHARED`] and of its own.
    fn tables() -> &'static [&'static str]
    where
        Self: Sized;

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
    fn systems(&self) -> Vec<&dyn Definition>;

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

    /// The built-in systems that are about what a proposal takes away, by name.
    fn gone(&self) -> &[String] {
        &[]
    }

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

/// What is read: parsed files, and a proposal's if there is one.
#[derive(Debug)]
pub struct Input<'f> {
    base: Vec<Tables<'f>>,
    proposal: Option<Tables<'f>>,
}

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
        Input { base, proposal }
    }

    /// Whether there is a proposal.
    #[must_use]
    pub fn has_proposal(&self) -> bool {
        self.proposal.is_some()
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

/// One `[[program]]`: steps by name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawProgram {
    /// Its name.
    pub name: Spanned<String>,
    /// What it is, and where it was seen.
    pub about: Spanned<String>,
    /// Its steps.
    pub steps: Vec<Spanned<String>>,
}

/// The programs of a protocol: `run NAME` stands for all steps of another program.
#[derive(Clone, Debug, Default)]
pub struct Programs(Vec<Item<RawProgram>>);

/// `run` within `run`, no deeper than this.
const DEPTH: usize = 8;
/// Steps that one line may stand for.
const MOST: usize = 1000;

impl Programs {
    /// The programs of a protocol, a proposal's before those of the base.
    pub fn read(input: &mut Input<'_>, protocol: &str, d: &mut Diagnostics) -> Self {
        let read = input.items_of::<RawProgram>("program", protocol, d);
        let all = read.overlaid("program", |raw| &raw.name, d);
        Programs(all.into_iter().map(|program| program.item).collect())
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.iter().map(|program| program.value.name.get_ref().as_str())
    }

    /// Each program's name, with its steps as they are written.
    pub fn all(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        self.0.iter().map(|program| {
            let steps = program.value.steps.iter().map(|step| step.get_ref().as_str());
            (program.value.name.get_ref().as_str(), steps.collect())
        })
    }

    /// The steps of a program that another one runs, `depth` deep.
    ///
    /// # Errors
    /// If there is none of this name, or programs run each other too deep.
    pub fn steps(&self, name: &str, depth: usize) -> Result<Vec<&str>, StepError> {
        let Some(program) = self.0.iter().find(|p| p.value.name.get_ref() == name) else {
            let help = crate::spec::did_you_mean(name, self.names());
            return Err((format!("no program is called `{name}`"), help));
        };
        if depth == DEPTH {
            return Err((format!("programs run each other more than {DEPTH} deep"), None));
        }
        Ok(program.value.steps.iter().map(|step| step.get_ref().as_str()).collect())
    }

    /// A list of steps with `run NAME` replaced by the steps of that program, where there is one.
    /// Each step keeps the place of the line that brings it in.
    pub fn flat<T>(
        &self,
        item: &Item<T>,
        lines: &[Spanned<String>],
        d: &mut Diagnostics,
    ) -> Vec<Spanned<String>> {
        let mut all = Vec::new();
        for line in lines {
            let mut steps = Vec::new();
            match self.expand(line.get_ref(), 0, &mut steps) {
                Ok(()) => {
                    all.extend(steps.into_iter().map(|step| Spanned::new(line.span(), step)));
                }
                Err((message, help)) => {
                    let error = item.error(line.span(), message, "this step");
                    d.push(crate::spec::with_help(error, help));
                }
            }
        }
        all
    }

    fn expand(&self, text: &str, depth: usize, steps: &mut Vec<String>) -> Result<(), StepError> {
        let program = text.strip_prefix("run ").filter(|name| self.names().any(|n| n == *name));
        match program {
            Some(name) => {
                let inner = self.steps(name, depth)?;
                inner.into_iter().try_for_each(|step| self.expand(step, depth + 1, steps))
            }
            None if steps.len() == MOST => Err((format!("more than {MOST} steps"), None)),
            None => {
                steps.push(text.to_owned());
                Ok(())
            }
        }
    }
}

/// What is wrong with a step, and what to do about it.
pub type StepError = (String, Option<String>);
