//! The table of migration states and arcs, as it is written, and as a proposal changes it.
//!
//! ```text
//!  vfio/states.toml: [[vfio-feature]] [[vfio-state]] [[vfio-arc]] [[vfio-pair]]
//!        |  add(base), add(proposal): what has the same name is changed, or taken away (`remove`)
//!        v
//!  Table --(super::path)--> for each device, each pair of states: the arcs that a SET takes
//! ```
//!
//! **Invariants.** Values, names and bits are unique; an arc and a pair lead from a state to another
//! that there is; no arc touches a final state. The table says nothing of a device that lacks a feature:
//! that follows from it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::{Diagnostics, Item, Spanned, did_you_mean, with_help};

/// A state is known by its value in `enum vfio_device_mig_state`, which is below this.
pub const MAX_STATES: usize = 15;
/// More features would make more devices than can be looked at.
const MAX_FEATURES: usize = 8;

/// What a device may start by itself in some state.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Default,
    Deserialize,
    Serialize,
    JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Dma {
    /// No DMA at all.
    #[default]
    None,
    /// To guest memory, not to other devices.
    NoPeer,
    /// Any.
    Any,
}

/// The stream of migration data that is open in some state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Session {
    /// None.
    #[default]
    None,
    /// The device's state is read.
    Saving,
    /// A device's state is written.
    Resuming,
}

/// What is said of a pair of states beside the rules.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It is an error.
    Blocked,
    /// Saving states may be passed on the way.
    Through,
}

/// Who says it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// The header.
    Text,
    /// What the kernel does.
    Kernel,
}

/// A feature that a device has or lacks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Feature {
    /// As on the command line.
    pub name: String,
    /// Its bit of VFIO_DEVICE_FEATURE_MIGRATION.
    pub bit: u8,
    /// Whether every device has it.
    pub mandatory: bool,
    /// Whether a proposal brings it.
    #[serde(skip)]
    pub proposed: bool,
}

/// A state and its attributes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct State {
    /// As in the header, without `VFIO_DEVICE_STATE_`.
    pub name: String,
    /// Its value there.
    pub value: u8,
    /// The features that it needs, as bits.
    #[serde(skip)]
    pub needs: u64,
    /// Whether the device does the guest's work.
    pub runs: bool,
    /// What DMA it may start.
    pub dma: Dma,
    /// The stream that is open.
    pub session: Session,
    /// Whether no SET leads to it or away.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// Whether a proposal brings or changes it.
    #[serde(skip)]
    pub proposed: bool,
}

impl State {
    /// Its attributes in words.
    #[must_use]
    pub fn attributes(&self) -> String {
        let runs = if self.runs { "runs" } else { "stands" };
        let dma = match self.dma {
            Dma::None => "no DMA",
            Dma::NoPeer => "no peer DMA",
            Dma::Any => "any DMA",
        };
        match self.session {
            Session::None => format!("{runs}, {dma}"),
            Session::Saving => format!("{runs}, {dma}, saving"),
            Session::Resuming => format!("{runs}, {dma}, resuming"),
        }
    }
}

/// An arc between two states, by their values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arc {
    /// From this one.
    pub from: u8,
    /// To this one.
    pub to: u8,
    /// The features that it needs beside those of its states, as bits.
    pub needs: u64,
    /// Whether a proposal brings or changes it.
    pub proposed: bool,
}

/// A pair of states of which something is said beside the rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pair {
    /// From this one.
    pub from: u8,
    /// To this one.
    pub to: u8,
    /// What is said.
    pub how: How,
    /// By whom.
    pub by: By,
    /// Not of devices with all of these features, as bits; 0: of all devices.
    pub unless: u64,
}

/// The whole table.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Table {
    /// The features, in order of the files.
    pub features: Vec<Feature>,
    /// The states, in order of the files.
    pub states: Vec<State>,
    /// The arcs, in order of the files.
    pub arcs: Vec<Arc>,
    /// What is said of pairs.
    pub pairs: Vec<Pair>,
}

/// A feature of VFIO migration. The name of a built-in feature changes that feature.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawFeature {
    /// Its name, as `--flags` takes it.
    name: Spanned<String>,
    /// Its bit of VFIO_DEVICE_FEATURE_MIGRATION; required for a new feature.
    bit: Option<Spanned<u8>>,
    /// Every device has it.
    #[serde(default)]
    mandatory: bool,
    /// Remove the built-in feature of this name.
    #[serde(default)]
    remove: bool,
}

/// A migration state. The name of a built-in state changes what is given here of that state.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawState {
    /// Its name, without `VFIO_DEVICE_STATE_`.
    name: Spanned<String>,
    /// Its value in enum vfio_device_mig_state; required for a new state.
    value: Option<Spanned<u8>>,
    /// The features that a device needs to have it.
    needs: Option<Vec<Spanned<String>>>,
    /// Whether the device does the work of the guest.
    runs: Option<bool>,
    /// The DMA that the device may start; default: `none`.
    dma: Option<Dma>,
    /// The stream that is open; default: `none`.
    session: Option<Session>,
    /// No SET leads to this state or away from it.
    #[serde(rename = "final")]
    is_final: Option<bool>,
    /// Remove the built-in state of this name.
    #[serde(default)]
    remove: bool,
}

/// An arc between two migration states. The ends of a built-in arc change that arc.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawArc {
    /// The state where it begins.
    from: Spanned<String>,
    /// The state where it ends.
    to: Spanned<String>,
    /// The features that it needs beside those of its states.
    #[serde(default)]
    needs: Vec<Spanned<String>>,
    /// Remove the built-in arc between these states.
    #[serde(default)]
    remove: bool,
}

/// A statement about a pair of migration states, beside the rules for paths.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPair {
    /// The state where a SET begins.
    from: Spanned<String>,
    /// The state that it asks for.
    to: Spanned<String>,
    /// What is said.
    how: How,
    /// What says it.
    by: By,
    /// It does not apply to devices with all of these features.
    #[serde(default)]
    unless: Vec<Spanned<String>>,
    /// Remove the built-in statement about these states.
    #[serde(default)]
    remove: bool,
}

/// Items of this table: features, states, arcs and pairs.
pub type Rows<'a> =
    (&'a [Item<RawFeature>], &'a [Item<RawState>], &'a [Item<RawArc>], &'a [Item<RawPair>]);

impl Table {
    /// Adds items: what is known already is changed or taken away, if they are a proposal's.
    pub fn add(
        &mut self,
        (features, states, arcs, pairs): Rows<'_>,
        proposed: bool,
        d: &mut Diagnostics,
    ) {
        for item in features {
            self.add_feature(item, proposed, d);
        }
        for item in states {
            self.add_state(item, proposed, d);
        }
        for item in arcs {
            self.add_arc(item, proposed, d);
        }
        for item in pairs {
            self.add_pair(item, proposed, d);
        }
    }

    fn add_feature(&mut self, item: &Item<RawFeature>, proposed: bool, d: &mut Diagnostics) {
        let raw = &item.value;
        let name = raw.name.get_ref();
        let known = self.features.iter().position(|f| f.name == *name);
        match (known, raw.remove) {
            (Some(at), true) if proposed => {
                let bits = 1 << self.features.remove(at).bit;
                self.states.retain(|state| state.needs & bits == 0);
                self.forget();
                self.arcs.retain(|arc| arc.needs & bits == 0);
            }
            (Some(_), _) => twice(item, &raw.name, "feature", d),
            (None, true) => self.unknown_feature(item, &raw.name, d),
            (None, false) => {
                let Some(bit) = &raw.bit else {
                    d.push(item.error(raw.name.span(), "a feature needs its bit", "has no `bit`"));
                    return;
                };
                if *bit.get_ref() > 63 {
                    d.push(item.error(bit.span(), "there are 64 bits", "no such bit"));
                    return;
                }
                if self.features.iter().any(|f| f.bit == *bit.get_ref()) {
                    d.push(item.error(bit.span(), "this bit is taken", "another feature's"));
                    return;
                }
                if self.features.len() == MAX_FEATURES {
                    let message = format!("there are at most {MAX_FEATURES} features");
                    d.push(item.error(raw.name.span(), message, "one too many"));
                    return;
                }
                let (bit, mandatory) = (*bit.get_ref(), raw.mandatory);
                self.features.push(Feature { name: name.clone(), bit, mandatory, proposed });
            }
        }
    }

    fn add_state(&mut self, item: &Item<RawState>, proposed: bool, d: &mut Diagnostics) {
        let raw = &item.value;
        let name = raw.name.get_ref();
        let needs = raw.needs.as_ref().map(|needs| self.bits(item, needs, d));
        let known = self.states.iter().position(|state| state.name == *name);
        match (known, raw.remove) {
            (Some(at), true) if proposed => {
                self.states.remove(at);
                self.forget();
            }
            (Some(at), false) if proposed => {
                if let Some(value) = &raw.value
                    && *value.get_ref() != self.states[at].value
                {
                    d.push(item.error(value.span(), "a state keeps its value", "another one"));
                }
                let state = &mut self.states[at];
                state.needs = needs.unwrap_or(state.needs);
                state.runs = raw.runs.unwrap_or(state.runs);
                state.dma = raw.dma.unwrap_or(state.dma);
                state.session = raw.session.unwrap_or(state.session);
                state.is_final = raw.is_final.unwrap_or(state.is_final);
                state.proposed = true;
                if state.is_final {
                    let value = state.value;
                    if self.arcs.iter().any(|arc| arc.from == value || arc.to == value) {
                        let message = format!("arcs lead to or from `{name}`, which is final");
                        d.push(item.error(raw.name.span(), message, "remove them first"));
                    }
                }
            }
            (Some(_), _) => twice(item, &raw.name, "state", d),
            (None, true) => self.unknown_state(item, &raw.name, d),
            (None, false) => {
                let attributes = (&raw.value, raw.runs, raw.dma, raw.session);
                let (Some(value), Some(runs), Some(dma), Some(session)) = attributes else {
                    let message = format!("the new state `{name}` lacks attributes");
                    d.push(
                        item.error(raw.name.span(), message, "new here")
                            .help("a new state has `value`, `runs`, `dma` and `session`"),
                    );
                    return;
                };
                let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
                if name.is_empty() || !name.chars().all(is_name) {
                    let message = format!("`{name}` is not a state's name");
                    let help = "capital letters, digits and `_`, as in the header";
                    d.push(item.error(raw.name.span(), message, "malformed").help(help));
                    return;
                }
                if usize::from(*value.get_ref()) >= MAX_STATES {
                    let message = format!("values are below {MAX_STATES}");
                    d.push(item.error(value.span(), message, "too large"));
                    return;
                }
                let (value, span) = (*value.get_ref(), value.span());
                if let Some(other) = self.state(value) {
                    let message = format!("`{}` has this value", other.name);
                    d.push(item.error(span, message, "taken"));
                    return;
                }
                self.states.push(State {
                    name: name.clone(),
                    value,
                    needs: needs.unwrap_or(0),
                    runs,
                    dma,
                    session,
                    is_final: raw.is_final.unwrap_or(false),
                    proposed,
                });
            }
        }
    }

    fn add_arc(&mut self, item: &Item<RawArc>, proposed: bool, d: &mut Diagnostics) {
        let raw = &item.value;
        let needs = self.bits(item, &raw.needs, d);
        let Some((from, to)) = self.ends(item, &raw.from, &raw.to, d) else { return };
        for (end, name) in [(from, &raw.from), (to, &raw.to)] {
            if self.state(end).is_some_and(|state| state.is_final) {
                let message = format!("no arc touches `{}`, which is final", name.get_ref());
                d.push(item.error(name.span(), message, "final"));
                return;
            }
        }
        let known = self.arcs.iter().position(|arc| (arc.from, arc.to) == (from, to));
        match (known, raw.remove) {
            (Some(at), true) if proposed => drop(self.arcs.remove(at)),
            (Some(at), false) if proposed => {
                self.arcs[at] = Arc { from, to, needs, proposed };
            }
            (Some(_), _) => twice(item, &raw.from, "arc from", d),
            (None, true) => {
                let message =
                    format!("no arc leads from {} to {}", raw.from.get_ref(), raw.to.get_ref());
                d.push(item.error(raw.from.span(), message, "unknown arc"));
            }
            (None, false) => self.arcs.push(Arc { from, to, needs, proposed }),
        }
    }

    fn add_pair(&mut self, item: &Item<RawPair>, proposed: bool, d: &mut Diagnostics) {
        let raw = &item.value;
        let unless = self.bits(item, &raw.unless, d);
        let Some((from, to)) = self.ends(item, &raw.from, &raw.to, d) else { return };
        let known = self.pairs.iter().position(|pair| (pair.from, pair.to) == (from, to));
        let pair = Pair { from, to, how: raw.how, by: raw.by, unless };
        match (known, raw.remove) {
            (Some(at), true) if proposed => drop(self.pairs.remove(at)),
            (Some(at), false) if proposed => self.pairs[at] = pair,
            (Some(_), _) => twice(item, &raw.from, "pair from", d),
            (None, true) => {
                d.push(item.error(raw.from.span(), "this pair is not listed", "unknown pair"));
            }
            (None, false) => self.pairs.push(pair),
        }
    }

    /// Arcs and pairs of states that are gone go with them.
    fn forget(&mut self) {
        let known: Vec<u8> = self.states.iter().map(|state| state.value).collect();
        let both = |from, to| known.contains(&from) && known.contains(&to);
        self.arcs.retain(|arc| both(arc.from, arc.to));
        self.pairs.retain(|pair| both(pair.from, pair.to));
    }

    fn ends<T>(
        &self,
        item: &Item<T>,
        from: &Spanned<String>,
        to: &Spanned<String>,
        d: &mut Diagnostics,
    ) -> Option<(u8, u8)> {
        let mut find = |name: &Spanned<String>| {
            let found = self.named(name.get_ref()).map(|state| state.value);
            if found.is_none() {
                self.unknown_state(item, name, d);
            }
            found
        };
        let (from_value, to_value) = (find(from)?, find(to)?);
        if from_value == to_value {
            d.push(item.error(to.span(), "it leads from a state to itself", "the same"));
            return None;
        }
        Some((from_value, to_value))
    }

    fn unknown_state<T>(&self, item: &Item<T>, name: &Spanned<String>, d: &mut Diagnostics) {
        let message = format!("no state is called `{}`", name.get_ref());
        let error = item.error(name.span(), message, "unknown state");
        let names = self.states.iter().map(|state| state.name.as_str());
        d.push(with_help(error, did_you_mean(name.get_ref(), names)));
    }

    fn unknown_feature<T>(&self, item: &Item<T>, name: &Spanned<String>, d: &mut Diagnostics) {
        let message = format!("no feature is called `{}`", name.get_ref());
        let error = item.error(name.span(), message, "unknown feature");
        let names = self.features.iter().map(|feature| feature.name.as_str());
        d.push(with_help(error, did_you_mean(name.get_ref(), names)));
    }

    fn bits<T>(&self, item: &Item<T>, names: &[Spanned<String>], d: &mut Diagnostics) -> u64 {
        names.iter().fold(0, |bits, name| match self.feature(name.get_ref()) {
            Some(feature) => bits | 1 << feature.bit,
            None => {
                self.unknown_feature(item, name, d);
                bits
            }
        })
    }

    /// The state with this value.
    #[must_use]
    pub fn state(&self, value: u8) -> Option<&State> {
        self.states.iter().find(|state| state.value == value)
    }

    /// The state of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&State> {
        self.states.iter().find(|state| state.name == name)
    }

    /// The name of a state; of a value that is none, the number.
    #[must_use]
    pub fn name(&self, value: u8) -> String {
        self.state(value).map_or_else(|| value.to_string(), |state| state.name.clone())
    }

    /// The feature of this name.
    #[must_use]
    pub fn feature(&self, name: &str) -> Option<&Feature> {
        self.features.iter().find(|feature| feature.name == name)
    }

    /// Whether a device with these features has this state.
    #[must_use]
    pub fn supports(&self, flags: u64, value: u8) -> bool {
        self.state(value).is_some_and(|state| state.needs & !flags == 0)
    }

    /// The features that every device has.
    #[must_use]
    pub fn mandatory(&self) -> u64 {
        self.features.iter().filter(|f| f.mandatory).fold(0, |bits, f| bits | 1 << f.bit)
    }

    /// The features that a proposal brings.
    #[must_use]
    pub fn proposed(&self) -> u64 {
        self.features.iter().filter(|f| f.proposed).fold(0, |bits, f| bits | 1 << f.bit)
    }

    /// Every legal set of features, ascending.
    #[must_use]
    pub fn legal(&self) -> Vec<u64> {
        let mut all = vec![self.mandatory()];
        for feature in self.features.iter().filter(|feature| !feature.mandatory) {
            let with: Vec<u64> = all.iter().map(|flags| flags | 1 << feature.bit).collect();
            all.extend(with);
        }
        all.sort_unstable();
        all
    }

    /// A set of features by their names.
    ///
    /// # Errors
    /// What is wrong with it, and a hint: a name that is unknown, or a set that is not legal.
    pub fn flags<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<u64, (String, Option<String>)> {
        let mut flags = 0;
        let list = || self.features.iter().map(|f| f.name.as_str()).collect::<Vec<_>>().join(", ");
        for name in names {
            match self.feature(name) {
                Some(feature) => flags |= 1 << feature.bit,
                None => {
                    let near = did_you_mean(name, self.features.iter().map(|f| f.name.as_str()));
                    let help = near.unwrap_or_else(|| format!("the features are: {}", list()));
                    return Err((format!("no feature is called `{name}`"), Some(help)));
                }
            }
        }
        let lacking = self.features.iter().find(|f| f.mandatory && flags >> f.bit & 1 == 0);
        if let Some(lacking) = lacking {
            let message = format!("every device has `{}`, and this one has not", lacking.name);
            return Err((message, Some(format!("add it; the features are: {}", list()))));
        }
        Ok(flags)
    }

    /// The names of a set of features, joined by commas.
    #[must_use]
    pub fn flag_names(&self, flags: u64) -> String {
        let has = |feature: &&Feature| flags >> feature.bit & 1 == 1;
        let names = self.features.iter().filter(has).map(|feature| feature.name.as_str());
        names.collect::<Vec<_>>().join(",")
    }
}

fn twice<T>(item: &Item<T>, name: &Spanned<String>, what: &str, d: &mut Diagnostics) {
    let message = format!("the {what} `{}` is defined twice", name.get_ref());
    d.push(item.error(name.span(), message, "again here"));
}
