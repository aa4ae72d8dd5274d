//! Capabilities and parameters of a migration that a monitor refuses together, by version.
//!
//! ```text
//!  multifd/parameters.toml --ParameterRule::read--> rules --refusal(what was set before)--> a message, or none
//! ```
//!
//! **Not here.** Which capabilities a monitor refuses together, whatever the parameters ([`super::capability`]).

use schemars::JsonSchema;
use serde::Deserialize;

use super::capability::{Capabilities, known};
use crate::protocol::input::Input;
use crate::protocol::release::Span;
use crate::spec::{Diagnostics, ItemKind, Spanned};

/// The kind of items that are read here.
pub const TABLE: &str = "multifd-parameter-rule";

/// The same, with its keys.
#[must_use]
pub fn kind() -> ItemKind {
    ItemKind::of::<Raw>(TABLE)
}

/// What is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Refuses {
    /// Whichever of both is set second.
    Second,
    /// Neither, and then every parameter.
    Later,
}

/// What is set while others are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setting {
    /// The capability, while the parameter is set.
    Capability,
    /// The parameter, while the capability is on.
    Parameter,
    /// Any parameter, while both are.
    Another,
}

/// A capability and parameters that do not go together.
#[derive(Clone, Debug)]
pub struct ParameterRule {
    /// The capability.
    pub capability: String,
    /// The parameters.
    pub parameters: Vec<String>,
    /// What is refused.
    pub refuses: Refuses,
    /// The versions that have the rule.
    pub span: Span,
    /// The monitor's message.
    pub says: String,
}

/// Parameters with which QEMU refuses a capability.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Raw {
    /// The capability.
    capability: Spanned<String>,
    /// Any of these, with a value other than its default.
    parameters: Vec<String>,
    /// What is refused.
    refuses: Refuses,
    /// First version of QEMU that has it; default: every version.
    since: Option<Spanned<String>>,
    /// First version of QEMU that no longer has it; default: none.
    until: Option<Spanned<String>>,
    /// The message of the monitor.
    says: Spanned<String>,
}

impl ParameterRule {
    /// Reads the table; a proposal's rules come after those that are built in.
    pub fn read(
        capabilities: &Capabilities,
        input: &mut Input<'_>,
        d: &mut Diagnostics,
    ) -> Vec<Self> {
        let rules = input.items::<Raw>(TABLE, d);
        let rules = rules.base.iter().chain(&rules.proposed).map(|item| {
            let raw = &item.value;
            ParameterRule {
                capability: known(&capabilities.all, item, &raw.capability, d),
                parameters: raw.parameters.clone(),
                refuses: raw.refuses,
                span: Span::of(item, (&raw.since, &raw.until), d),
                says: raw.says.get_ref().clone(),
            }
        });
        rules.collect()
    }

    /// What a monitor says to a setting; nothing, if it accepts.
    #[must_use]
    pub fn refusal(&self, setting: Setting) -> Option<&str> {
        let refuses = match self.refuses {
            Refuses::Second => setting != Setting::Another,
            Refuses::Later => setting == Setting::Another,
        };
        refuses.then_some(&self.says)
    }
}
