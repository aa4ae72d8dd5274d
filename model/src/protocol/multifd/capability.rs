//! The capabilities of a migration, and the combinations that a monitor refuses, by version.
//!
//! ```text
//!  multifd/capabilities.toml --Capabilities::read--> Capabilities --refusals(version, set)--> reasons
//! ```
//!
//! A monitor reports one reason: the first. Here all are listed, in the order in which the monitor looks for
//! them. Whether a reason applies can depend on the host, the build or the parameters; it then has a
//! condition, and a monitor may refuse or accept.
//!
//! ```
//! # use devmig_model::registry::Library;
//! # use devmig_model::protocol::release::Release;
//! # let library = Library::builtin().unwrap();
//! let capabilities = &library.multifd().capabilities;
//! let release: Release = "10.0.2".parse().unwrap();
//! let refusals = capabilities.refusals(&release, &["multifd", "postcopy-ram"]);
//! assert_eq!(refusals[0].message, "Postcopy is not yet compatible with multifd");
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::protocol::input::Input;
use crate::protocol::release::{Release, Span};
use crate::spec::{Diagnostics, Item, ItemKind, Spanned, did_you_mean, with_help};

/// The kinds of items that are read here.
pub const TABLES: [&str; 2] = ["multifd-capability", "multifd-exclusion"];

/// The same, with their keys.
#[must_use]
pub fn kinds() -> Vec<ItemKind> {
    vec![ItemKind::of::<RawCapability>(TABLES[0]), ItemKind::of::<RawExclusion>(TABLES[1])]
}

/// A capability, by its name in QMP.
#[derive(Clone, Debug)]
pub struct Capability {
    /// Its name.
    pub name: String,
    /// The versions that know it.
    pub span: Span,
}

/// Why a capability is refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "why", content = "what")]
pub enum Reason {
    /// The version does not know it.
    Unknown,
    /// Together with this one.
    Excludes(String),
    /// Without this one.
    Needs(String),
    /// Unless this condition is met, which is not a matter of capabilities.
    Unless(String),
}

/// A rule, resolved: a capability of the table by its name, and what is refused.
#[derive(Clone, Debug)]
pub struct Exclusion {
    /// The capability.
    pub capability: String,
    /// Why it is refused: one reason for each excluded capability.
    pub reasons: Vec<Reason>,
    /// The versions that have the rule.
    pub span: Span,
    /// The monitor's message, with `%s` for the excluded capability.
    pub says: String,
}

/// One reason for which a monitor refuses a set of capabilities.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Refusal {
    /// The capability that is refused.
    pub capability: String,
    /// Why.
    pub reason: Reason,
    /// What the monitor says.
    pub message: String,
}

impl Refusal {
    /// The condition under which a monitor accepts after all; none, if it always refuses.
    #[must_use]
    pub fn condition(&self) -> Option<&str> {
        match &self.reason {
            Reason::Unless(condition) => Some(condition),
            _ => None,
        }
    }
}

/// All capabilities, and what is refused.
#[derive(Clone, Default, Debug)]
pub struct Capabilities {
    /// The capabilities, in the monitor's order.
    pub all: Vec<Capability>,
    /// What is refused, in the order in which the monitor looks for it.
    pub exclusions: Vec<Exclusion>,
}

/// A capability of a migration. The name of a built-in capability replaces it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawCapability {
    /// Its name in QMP.
    name: Spanned<String>,
    /// First version of QEMU that has it; default: every version.
    since: Option<Spanned<String>>,
    /// First version of QEMU that no longer has it; default: none.
    until: Option<Spanned<String>>,
}

/// A combination of capabilities that QEMU refuses.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawExclusion {
    /// The capability that is refused.
    capability: Spanned<String>,
    /// It is refused together with any of these.
    #[serde(default)]
    excludes: Vec<Spanned<String>>,
    /// It is refused without this one.
    needs: Option<Spanned<String>>,
    /// A condition on the host, the build or a parameter under which it is accepted.
    unless: Option<Spanned<String>>,
    /// First version of QEMU that has it; default: every version.
    since: Option<Spanned<String>>,
    /// First version of QEMU that no longer has it; default: none.
    until: Option<Spanned<String>>,
    /// The message of the monitor; `%s` stands for the excluded capability.
    says: Spanned<String>,
}

impl Capabilities {
    /// Reads both tables; a proposal's rules come after those that are built in.
    pub fn read(input: &mut Input<'_>, d: &mut Diagnostics) -> Self {
        let all = input.items::<RawCapability>(TABLES[0], d).overlaid("capability", |c| &c.name, d);
        let all: Vec<Capability> = all
            .iter()
            .map(|overlaid| {
                let (item, raw) = (&overlaid.item, &overlaid.item.value);
                let span = Span::of(item, (&raw.since, &raw.until), d);
                Capability { name: raw.name.get_ref().clone(), span }
            })
            .collect();
        let rules = input.items::<RawExclusion>(TABLES[1], d);
        let rules = rules.base.iter().chain(&rules.proposed);
        let exclusions = rules.map(|item| exclusion(&all, item, d)).collect();
        Capabilities { all, exclusions }
    }

    /// The capabilities of this version.
    pub fn of<'a>(&'a self, release: &'a Release) -> impl Iterator<Item = &'a str> {
        let known = self.all.iter().filter(|capability| capability.span.contains(release));
        known.map(|capability| capability.name.as_str())
    }

    /// Why a monitor of this version refuses this set of capabilities: every reason, in the order in which
    /// the monitor looks for them; empty, if it accepts. It reports the first one whose condition, if it
    /// has one, is not met.
    #[must_use]
    pub fn refusals(&self, release: &Release, set: &[impl AsRef<str>]) -> Vec<Refusal> {
        let has = |name: &str| set.iter().any(|one| one.as_ref() == name);
        let unknown = set.iter().map(AsRef::as_ref);
        let unknown = unknown.filter(|name| !self.of(release).any(|known| known == *name));
        let mut all: Vec<Refusal> = unknown
            .map(|name| Refusal {
                capability: name.to_owned(),
                reason: Reason::Unknown,
                message: format!("Parameter 'capability' does not accept value '{name}'"),
            })
            .collect();
        let rules = self.exclusions.iter();
        for rule in rules.filter(|r| r.span.contains(release) && has(&r.capability)) {
            let applies = rule.reasons.iter().filter(|reason| match reason {
                Reason::Unknown => false,
                Reason::Excludes(other) => has(other),
                Reason::Needs(other) => !has(other),
                Reason::Unless(_) => true,
            });
            all.extend(applies.map(|reason| Refusal {
                capability: rule.capability.clone(),
                reason: reason.clone(),
                message: match reason {
                    Reason::Excludes(other) => rule.says.replace("%s", other),
                    _ => rule.says.clone(),
                },
            }));
        }
        all
    }
}

/// The name of a capability of the table, as it is written.
pub(super) fn known<T>(
    all: &[Capability],
    item: &Item<T>,
    name: &Spanned<String>,
    d: &mut Diagnostics,
) -> String {
    if !all.iter().any(|capability| capability.name == *name.get_ref()) {
        let message = format!("no capability is called `{}`", name.get_ref());
        let error = item.error(name.span(), message, "unknown capability");
        let names = all.iter().map(|capability| capability.name.as_str());
        d.push(with_help(error, did_you_mean(name.get_ref(), names)));
    }
    name.get_ref().clone()
}

/// One rule: of the three kinds of reasons it has exactly one.
fn exclusion(all: &[Capability], item: &Item<RawExclusion>, d: &mut Diagnostics) -> Exclusion {
    let raw = &item.value;
    let mut known = |name: &Spanned<String>| known(all, item, name, d);
    let capability = known(&raw.capability);
    let mut reasons: Vec<_> = raw.excludes.iter().map(|o| Reason::Excludes(known(o))).collect();
    reasons.extend(raw.needs.iter().map(|other| Reason::Needs(known(other))));
    reasons.extend(raw.unless.iter().map(|text| Reason::Unless(text.get_ref().clone())));
    let kinds = [!raw.excludes.is_empty(), raw.needs.is_some(), raw.unless.is_some()];
    if kinds.into_iter().filter(|given| *given).count() != 1 {
        let message = "a rule has one of `excludes`, `needs` and `unless`";
        d.push(item.error(item.span.clone(), message, "in this rule"));
    }
    let span = Span::of(item, (&raw.since, &raw.until), d);
    Exclusion { capability, reasons, span, says: raw.says.get_ref().clone() }
}
