//! Over what a migration goes, and which capabilities a monitor refuses there, by version.
//!
//! ```text
//!  multifd/transports.toml --Transports::read--> Transports --answer(version, transport, set)--> accepted, refused
//! ```
//!
//! **Not here.** Which capabilities a monitor refuses together, whatever the transport ([`super::capability`]).

use schemars::JsonSchema;
use serde::Deserialize;

use super::capability::{Capabilities, known};
use crate::protocol::input::Input;
use crate::protocol::release::{Release, Span};
use crate::spec::{Diagnostics, ItemKind, Spanned};

/// The kinds of items that are read here.
pub const TABLES: [&str; 2] = ["multifd-transport", "multifd-transport-rule"];

/// The same, with their keys.
#[must_use]
pub fn kinds() -> Vec<ItemKind> {
    vec![ItemKind::of::<RawTransport>(TABLES[0]), ItemKind::of::<RawRule>(TABLES[1])]
}

/// What a transport can provide.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Provides {
    /// More connections can be made.
    Channels,
    /// It is a file, in which any place can be written.
    Seekable,
}

/// A transport.
#[derive(Clone, Debug)]
pub struct Transport {
    /// How a URI begins.
    pub name: String,
    /// An address to which nobody listens.
    pub uri: String,
    /// What it provides.
    pub provides: Vec<Provides>,
    /// What else must be there: a monitor may refuse without it.
    pub depends_on: Option<String>,
    /// The versions that know it.
    pub span: Span,
}

/// A capability that is refused where something is not provided.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The capability.
    pub capability: String,
    /// What it needs.
    pub needs: Provides,
    /// The capability beside which it does not.
    pub besides: Option<String>,
    /// The versions that have the rule.
    pub span: Span,
    /// The monitor's message.
    pub says: String,
}

/// What a monitor answers to `migrate`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It begins.
    Accepted,
    /// It refuses with this message.
    Refused(String),
    /// It depends on this; whatever it answers is right.
    Depends(String),
}

/// All transports, and what is refused.
#[derive(Clone, Debug)]
pub struct Transports {
    /// The transports.
    pub all: Vec<Transport>,
    /// What is refused, in the order in which the monitor looks for it.
    pub rules: Vec<Rule>,
}

/// What a monitor says to a URI that begins with no transport that it knows.
const UNKNOWN: &str = "Parameter 'uri' expects a valid migration protocol";

/// A transport of a migration. The name of a built-in transport replaces it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawTransport {
    /// Its name, as a URI begins.
    name: Spanned<String>,
    /// An address at which no process listens; `{folder}` stands for an empty folder.
    uri: Spanned<String>,
    /// What it provides.
    #[serde(default)]
    provides: Vec<Provides>,
    /// What else has to be there.
    depends_on: Option<String>,
    /// First version of QEMU that has it; default: every version.
    since: Option<Spanned<String>>,
    /// First version of QEMU that no longer has it; default: none.
    until: Option<Spanned<String>>,
}

/// A capability that QEMU refuses over some transports.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawRule {
    /// The capability that is refused.
    capability: Spanned<String>,
    /// It is refused where the transport does not provide this.
    needs: Provides,
    /// It is accepted together with this capability.
    besides: Option<Spanned<String>>,
    /// First version of QEMU that has it; default: every version.
    since: Option<Spanned<String>>,
    /// First version of QEMU that no longer has it; default: none.
    until: Option<Spanned<String>>,
    /// The message of the monitor.
    says: Spanned<String>,
}

impl Transports {
    /// Reads both tables; a proposal's rules come after those that are built in.
    pub fn read(capabilities: &Capabilities, input: &mut Input<'_>, d: &mut Diagnostics) -> Self {
        let all = input.items::<RawTransport>(TABLES[0], d).overlaid("transport", |t| &t.name, d);
        let all = all.iter().map(|overlaid| {
            let (item, raw) = (&overlaid.item, &overlaid.item.value);
            Transport {
                name: raw.name.get_ref().clone(),
                uri: raw.uri.get_ref().clone(),
                provides: raw.provides.clone(),
                depends_on: raw.depends_on.clone(),
                span: Span::of(item, (&raw.since, &raw.until), d),
            }
        });
        let all = all.collect();
        let rules = input.items::<RawRule>(TABLES[1], d);
        let rules = rules.base.iter().chain(&rules.proposed).map(|item| {
            let raw = &item.value;
            Rule {
                capability: known(&capabilities.all, item, &raw.capability, d),
                needs: raw.needs,
                besides: raw.besides.as_ref().map(|name| known(&capabilities.all, item, name, d)),
                span: Span::of(item, (&raw.since, &raw.until), d),
                says: raw.says.get_ref().clone(),
            }
        });
        Transports { all, rules: rules.collect() }
    }

    /// What a monitor of this version answers to a migration over a transport with these capabilities, which it
    /// does not refuse by themselves.
    #[must_use]
    pub fn answer(&self, release: &Release, over: &Transport, set: &[impl AsRef<str>]) -> Answer {
        let has = |name: &str| set.iter().any(|one| one.as_ref() == name);
        if !over.span.contains(release) {
            return Answer::Refused(UNKNOWN.to_owned());
        }
        let refuses = self.rules.iter().find(|rule| {
            rule.span.contains(release)
                && has(&rule.capability)
                && !rule.besides.as_deref().is_some_and(has)
                && !over.provides.contains(&rule.needs)
        });
        match (refuses, &over.depends_on) {
            (Some(rule), _) => Answer::Refused(rule.says.clone()),
            (None, Some(what)) => Answer::Depends(what.clone()),
            (None, None) => Answer::Accepted,
        }
    }
}
