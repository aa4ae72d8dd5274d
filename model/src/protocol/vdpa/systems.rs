//! vDPA systems: a device, its guest, and a VMM with a program, as data.
//!
//! ```text
//!  vdpa/systems.toml: run = [...], holds = [...], violated = [...]
//!        |  compile (every name resolved, every problem reported)
//!        v
//!  SystemDef --system(rules)--> System<(Device, Guest, Vmm)> --> explore
//! ```
//!
//! **Invariant.** A system's expectation stands beside it in the file; nothing is expected in code.

use serde::Deserialize;

use super::Loaded;
use super::event::GUEST;
use super::machine::Device;
use super::properties::{self, Parts};
use super::vmm::{Guest, MAX_STEPS, Step, Vmm};
use crate::protocol::registration::{Definition, Programs, property};
use crate::protocol::ring::{RING, Ring};
use crate::spec::{Diagnostics, Item, Spanned, Spec};
use devmig_engine::clause::{ChoiceId, ClauseId};
use devmig_engine::compose::Closed;
use devmig_engine::rules::Rules;
use devmig_engine::system;
use devmig_engine::system::{Expect, Refinement, System};

/// A system of vDPA: no queue, every state in one word.
pub type Vdpa = system!(Parts);

/// One `[[system]]` of vDPA.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSystem {
    /// `vdpa/NAME`.
    pub name: Spanned<String>,
    about: Spanned<String>,
    #[serde(default = "two")]
    requests: Spanned<u16>,
    run: Vec<Spanned<String>>,
    #[serde(default)]
    choices: Vec<Spanned<String>>,
    /// Clauses that are switched off: what they prevent can be seen.
    #[serde(default)]
    without: Vec<Spanned<String>>,
    #[serde(default)]
    holds: Vec<Spanned<String>>,
    #[serde(default)]
    violated: Vec<Spanned<String>>,
    #[serde(default)]
    stuck: bool,
    #[serde(default)]
    starves: bool,
}

fn two() -> Spanned<u16> {
    Spanned::new(0..0, 2)
}

/// A system, resolved.
#[derive(Clone, Debug)]
pub struct SystemDef {
    /// `vdpa/NAME`.
    pub name: String,
    /// One sentence.
    pub about: String,
    /// How many requests the guest makes available.
    pub requests: u16,
    /// The VMM's program.
    pub steps: Vec<Step>,
    /// Choices that the system fixes otherwise than by default.
    pub choices: Vec<(ChoiceId, u8)>,
    /// Clauses that the system switches off.
    pub without: Vec<ClauseId>,
    /// Properties that hold, by their index in [`properties::ALL`].
    pub holds: Vec<usize>,
    /// Properties whose counterexample is the point.
    pub violated: Vec<usize>,
    /// Expectations of the built-in properties.
    pub expect: Expect,
}

impl Definition for SystemDef {
    fn name(&self) -> &str {
        &self.name
    }

    fn choices(&self) -> &[(ChoiceId, u8)] {
        &self.choices
    }

    fn without(&self) -> &[ClauseId] {
        &self.without
    }
}

/// Resolves one item.
pub fn compile(
    spec: &Spec,
    programs: &Programs,
    item: &Item<RawSystem>,
    d: &mut Diagnostics,
) -> SystemDef {
    let raw = &item.value;
    if !(1..=3).contains(raw.requests.get_ref()) {
        d.push(item.error(raw.requests.span(), "a system has one to three requests", "here"));
    }
    let lines = programs.flat(item, &raw.run, d);
    if let Some(line) = lines.get(MAX_STEPS) {
        let message = format!("a program has at most {MAX_STEPS} steps");
        d.push(item.error(line.span(), message, "one too many"));
    }
    let property =
        |name: &Spanned<String>, d: &mut Diagnostics| property(properties::ALL, item, name, d);
    SystemDef {
        name: raw.name.get_ref().clone(),
        about: raw.about.get_ref().clone(),
        requests: *raw.requests.get_ref(),
        steps: lines.iter().filter_map(|line| Step::compile(item, line, d)).collect(),
        choices: raw.choices.iter().filter_map(|c| spec.pin_at(item, c, d)).collect(),
        without: raw.without.iter().filter_map(|c| spec.clause_at(item, c, d)).collect(),
        holds: raw.holds.iter().filter_map(|name| property(name, d)).collect(),
        violated: raw.violated.iter().filter_map(|name| property(name, d)).collect(),
        expect: Expect { breaks: Vec::new(), stuck: raw.stuck, starves: raw.starves },
    }
}

impl Loaded {
    /// The system under these rules; its properties are in the order of [`properties::ALL`].
    #[must_use]
    pub fn system(&self, def: &SystemDef, rules: Rules) -> Vdpa {
        let requests = def.requests;
        let device = Device { laws: self.laws, readings: self.readings, requests };
        let vmm = Vmm { steps: def.steps.clone(), requests };
        let property = |(index, (name, ..)): (usize, &(&'static str, &str, &str))| {
            let violated = def.violated.contains(&index);
            if !violated && !def.holds.contains(&index) {
                return None;
            }
            let property = properties::named(name)?;
            let property = if violated { property.violated() } else { property };
            Some(match self.clauses[index] {
                Some(clause) => property.by(clause),
                None => property,
            })
        };
        System {
            name: def.name.clone(),
            protocol: "vdpa",
            about: def.about.clone(),
            refinements: vec![Refinement::new::<Ring>(RING, device)],
            closed: Closed { machine: (device, Guest { requests }, vmm), rules },
            properties: properties::ALL.iter().enumerate().filter_map(property).collect(),
            expect: def.expect.clone(),
            environment: vec![GUEST],
        }
    }
}
