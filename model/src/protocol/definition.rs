//! A `[[system]]`, as far as every protocol's are alike: read, resolved, found by name and size.
//!
//! ```text
//!  [[system]] of a protocol = common keys (KEYS) + its own
//!        |                        |                |
//!        |                     Common::resolve   compile (of the protocol)
//!        v                        v                v
//!  Systems::read  ----------> Systems<D: Definition>  --at(name, scale)--> D, to be built
//! ```
//!
//! **Invariant.** A system's expectation stands beside it in the file; nothing is expected in code.
//!
//! **Not here:** programs, and what a protocol's participants are: those are its own keys.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::input::{Input, own_choices};
use super::property::{self, PropertyDefinition};
use super::size::{self, BadScale, Bound, Scale, Size, Speaks};
use super::written::{self, Written};
use crate::spec::{Diagnostics, Item, ItemKind, Spanned, Spec};
use devmig_engine::clause::{ChoiceId, ClauseId};
use devmig_engine::system::{Expect, Expected};

/// The keys that every `[[system]]` may have, beside `protocol`.
const KEYS: &[&str] = &[
    "name", "about", "choices", "without", "holds", "violated", "breaks", "stuck", "starves",
    "sizes", "why", "large",
];

/// A system: parties with programs, composed and explored exhaustively.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawCommon {
    /// Its name, `PROTOCOL/NAME`.
    name: Spanned<String>,
    /// What it shows, in one sentence.
    about: Spanned<String>,
    /// Choices that it fixes, each as `CHOICE = OPTION`; default: the defaults, and what the
    /// proposal fixes.
    #[serde(default)]
    choices: Vec<Spanned<String>>,
    /// Ids of clauses that it switches off, so that one sees what they prevent.
    #[serde(default)]
    without: Vec<Spanned<String>>,
    /// Properties that are to hold.
    #[serde(default)]
    holds: Vec<Spanned<String>>,
    /// Properties that are to be violated: the counterexample is the point.
    #[serde(default)]
    violated: Vec<Spanned<String>>,
    /// Ids of clauses that a program of the system is to break.
    #[serde(default)]
    breaks: Vec<Spanned<String>>,
    /// The system is to have a deadlock.
    #[serde(default)]
    stuck: bool,
    /// An obligation of the system is to remain unfulfilled without end.
    #[serde(default)]
    starves: bool,
    /// The sizes at which its verdicts are as declared, such as `rings=1`; default: every size.
    #[serde(default)]
    sizes: Vec<Spanned<String>>,
    /// Why the verdicts depend on the size; required with `sizes`.
    why: Option<Spanned<String>>,
    /// What `--scale large` means, such as `pages=4`.
    large: Option<Spanned<String>>,
}

/// The keys that every `[[system]]` has.
#[must_use]
pub fn common_kind() -> ItemKind {
    ItemKind::of::<RawCommon>("system")
}

/// The kind `[[system]]` of a protocol whose own keys are these.
#[must_use]
pub fn kind<O: JsonSchema>() -> ItemKind {
    ItemKind::in_parts::<RawCommon, O>("system")
}

/// An item's common keys, and its protocol's own.
pub type RawSystem<O> = (RawCommon, O);

/// What every system says of itself.
#[derive(Clone, Default, Debug)]
pub struct Common {
    /// `PROTOCOL/NAME`.
    pub name: String,
    /// One sentence.
    pub about: String,
    /// Choices that the system fixes otherwise than by default.
    pub choices: Vec<(ChoiceId, u8)>,
    /// Clauses that the system switches off: what they prevent can be seen.
    pub without: Vec<ClauseId>,
    /// Properties that hold, by their index in the protocol's list.
    pub holds: Vec<usize>,
    /// Properties whose counterexample is the point.
    pub violated: Vec<usize>,
    /// Those that a file states, with what is expected of each.
    pub written: Vec<(Arc<Written>, Expected)>,
    /// Expectations of the properties that every system has.
    pub expect: Expect,
    /// At which sizes it speaks.
    pub speaks: Speaks,
    /// What `--scale large` is.
    pub large: Option<Scale>,
}

impl Common {
    /// A system that is made in code and says nothing but its name.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Common { name: name.into(), ..Common::default() }
    }

    fn resolve<O>(
        spec: &Spec,
        (known, written): (&[&str], &[Arc<Written>]),
        item: &Item<RawSystem<O>>,
        d: &mut Diagnostics,
    ) -> Self {
        let raw = &item.value.0;
        let in_code = known.len() - written.len();
        let find = |names: &[Spanned<String>], d: &mut Diagnostics| -> Vec<usize> {
            names.iter().filter_map(|name| property::find_at(known, item, name, d)).collect()
        };
        let (holds, violated) = (find(&raw.holds, d), find(&raw.violated, d));
        let expected = [(&holds, Expected::Holds), (&violated, Expected::Violated)];
        let stated = expected.iter().flat_map(|(all, expected)| {
            let stated = all.iter().filter_map(|index| written.get(index.checked_sub(in_code)?));
            stated.map(|written| (Arc::clone(written), *expected))
        });
        let stated = stated.collect();
        let of_code = |all: Vec<usize>| all.into_iter().filter(|index| *index < in_code).collect();
        let named: Vec<_> = raw.holds.iter().chain(&raw.violated).collect();
        for (at, name) in named.iter().enumerate() {
            if named.iter().take(at).any(|other| other.get_ref() == name.get_ref()) {
                let message = format!("`{}` is expected twice", name.get_ref());
                d.push(item.error(name.span(), message, "again here"));
            }
        }
        let clauses = |ids: &[Spanned<String>], d: &mut Diagnostics| {
            ids.iter().filter_map(|id| spec.clause_at(item, id, d)).collect()
        };
        Common {
            name: raw.name.get_ref().clone(),
            about: raw.about.get_ref().clone(),
            without: clauses(&raw.without, d),
            choices: spec.pins_at(item, &raw.choices, d),
            written: stated,
            holds: of_code(holds),
            violated: of_code(violated),
            expect: Expect {
                breaks: clauses(&raw.breaks, d),
                stuck: raw.stuck,
                starves: raw.starves,
            },
            speaks: size::speaks(item, (&raw.sizes, raw.why.as_ref()), d),
            large: size::large(item, raw.large.as_ref(), d),
        }
    }
}

/// Complains about a name that is not `PROTOCOL/NAME`, by which nobody could call the system.
fn named_by_protocol<O>(protocol: &str, item: &Item<RawSystem<O>>, d: &mut Diagnostics) {
    let name = &item.value.0.name;
    let tail = name.get_ref().strip_prefix(protocol).and_then(|tail| tail.strip_prefix('/'));
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !tail.is_some_and(|tail| !tail.is_empty() && tail.chars().all(plain)) {
        let message = format!("a system of this protocol is called `{protocol}/NAME`");
        d.push(item.error(name.span(), message, "lower case letters, digits and `-` in NAME"));
    }
}

/// A system, resolved.
pub trait Definition: fmt::Debug {
    /// What every system says.
    fn common(&self) -> &Common;

    /// What bounds it.
    fn bounds(&self) -> Vec<Bound>;

    /// The same system at another size: a value for each of its bounds.
    #[must_use]
    fn scaled(&self, size: &Size) -> Self
    where
        Self: Sized;

    /// Its name on the command line, `PROTOCOL/NAME`.
    fn name(&self) -> &str {
        &self.common().name
    }
}

/// The systems of a protocol, in the order of the files.
#[derive(Clone, Debug)]
pub struct Systems<D> {
    all: Vec<D>,
    proposed: Vec<String>,
    gone: Vec<String>,
    written: Vec<Arc<Written>>,
}

impl<D> Deref for Systems<D> {
    type Target = [D];

    fn deref(&self) -> &[D] {
        &self.all
    }
}

impl<'s, D> IntoIterator for &'s Systems<D> {
    type Item = &'s D;
    type IntoIter = std::slice::Iter<'s, D>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.iter()
    }
}

impl<D> FromIterator<D> for Systems<D> {
    fn from_iter<I: IntoIterator<Item = D>>(all: I) -> Self {
        let all = all.into_iter().collect();
        Systems { all, proposed: Vec::new(), gone: Vec::new(), written: Vec::new() }
    }
}

impl<D: Definition> Systems<D> {
    /// Takes the items of a protocol; `compile` resolves an item's own keys, and yields nothing if they
    /// make no system at all. If a proposal `takes_away` what systems name, the built-in ones that cannot
    /// be resolved any more are gone with it.
    pub fn read<C, W, E, O: DeserializeOwned>(
        (spec, protocol, takes_away): (&Spec, &str, bool),
        properties: &[PropertyDefinition<C, W, E>],
        input: &mut Input<'_>,
        d: &mut Diagnostics,
        mut compile: impl FnMut(Common, &Item<RawSystem<O>>, &mut Diagnostics) -> Option<D>,
    ) -> Self {
        let mut known = property::names(properties);
        let written = written::read(spec, (&mut *input, protocol), &known, d);
        known.extend(written.iter().map(|written| written.name.as_str()));
        let items = input.items_in_parts_of::<RawCommon, O>("system", KEYS, protocol, d);
        let items = items.overlaid("system", |raw| &raw.0.name, d);
        let proposed = items.iter().filter(|overlaid| overlaid.proposed);
        let proposed = proposed.map(|overlaid| overlaid.item.value.0.name.get_ref().clone());
        let proposed = proposed.collect();
        let (mut all, mut gone) = (Vec::new(), Vec::new());
        let registered = input.protocols();
        for overlaid in &items {
            let (item, mut own) = (&overlaid.item, Diagnostics::default());
            let common = Common::resolve(spec, (&known, &written), item, &mut own);
            named_by_protocol(protocol, item, &mut own);
            own_choices(&registered, protocol, item, &item.value.0.choices, &mut own);
            let def = compile(common, item, &mut own);
            if let Some(def) = &def {
                let raw = &item.value.0;
                size::known(item, raw.sizes.iter().chain(&raw.large), &def.bounds(), &mut own);
            }
            if takes_away && !overlaid.proposed && !own.is_empty() {
                gone.push(item.value.0.name.get_ref().clone());
            } else {
                d.append(own);
                all.extend(def);
            }
        }
        Systems { all, proposed, gone, written }
    }

    /// The system of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&D> {
        self.all.iter().find(|def| def.name() == name)
    }

    /// The system of this name at this size.
    ///
    /// # Errors
    /// If the system has no such size: lists its bounds.
    pub fn at(&self, name: &str, scale: &Scale) -> Result<Option<D>, BadScale> {
        let Some(def) = self.named(name) else { return Ok(None) };
        Ok(Some(def.scaled(&scale.resolve(name, &def.bounds())?)))
    }
}

/// The systems of any protocol, as the registry lists them.
pub trait SystemList {
    /// All, in the order of the files.
    fn definitions(&self) -> Vec<&dyn Definition>;

    /// Those that a proposal adds, or puts in the place of built-in ones, by name.
    fn proposed(&self) -> &[String];

    /// The built-in ones that are about what a proposal takes away, by name.
    fn gone(&self) -> &[String];

    /// The properties that files state.
    fn written(&self) -> &[Arc<Written>];
}

impl<D: Definition> SystemList for Systems<D> {
    fn definitions(&self) -> Vec<&dyn Definition> {
        self.all.iter().map(|def| def as &dyn Definition).collect()
    }

    fn proposed(&self) -> &[String] {
        &self.proposed
    }

    fn gone(&self) -> &[String] {
        &self.gone
    }

    fn written(&self) -> &[Arc<Written>] {
        &self.written
    }
}

/// A system that is made in code: its name, and what bounds it.
#[derive(Clone, Debug)]
pub struct InCode {
    common: Common,
    bounds: Vec<Bound>,
}

impl InCode {
    /// A system of this name.
    #[must_use]
    pub fn new(name: impl Into<String>, bounds: &[Bound]) -> Self {
        InCode { common: Common::named(name), bounds: bounds.to_vec() }
    }

    /// The value of one of its bounds.
    #[must_use]
    pub fn bound(&self, name: &str) -> u16 {
        self.bounds.iter().find(|bound| bound.name == name).map_or(0, |bound| bound.now)
    }
}

impl Definition for InCode {
    fn common(&self) -> &Common {
        &self.common
    }

    fn bounds(&self) -> Vec<Bound> {
        self.bounds.clone()
    }

    fn scaled(&self, size: &Size) -> Self {
        let at = |bound: &Bound| Bound { now: size.of(bound.name), ..*bound };
        InCode { bounds: self.bounds.iter().map(at).collect(), ..self.clone() }
    }
}
