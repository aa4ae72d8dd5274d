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
use crate::protocol::property;
use crate::protocol::registration::{Definition, Programs};
use crate::protocol::ring::{RING, Ring};
use crate::protocol::size::{self, BadScale, Bound, Scale, Speaks};
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
    /// The sizes at which the system speaks, if not at all of them, each `BOUND=VALUE`.
    #[serde(default)]
    sizes: Vec<Spanned<String>>,
    /// Why its verdicts depend on them.
    why: Option<Spanned<String>>,
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
    /// At which sizes it speaks.
    pub speaks: Speaks,
}

/// The most requests.
const REQUESTS: u16 = 4;

impl SystemDef {
    /// The same system at another size.
    ///
    /// # Errors
    /// If it has no such size.
    pub fn scaled(&self, scale: &Scale) -> Result<Self, BadScale> {
        let size = scale.resolve(&self.name, &self.bounds())?;
        Ok(SystemDef { requests: size.of("requests"), ..self.clone() })
    }
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

    fn bounds(&self) -> Vec<Bound> {
        vec![Bound::new("requests", self.requests, (1, REQUESTS))]
    }

    fn speaks(&self) -> Speaks {
        self.speaks.clone()
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
    if !(1..=REQUESTS).contains(raw.requests.get_ref()) {
        d.push(item.error(raw.requests.span(), "a system has one to four requests", "here"));
    }
    let lines = programs.flat(item, &raw.run, d);
    if let Some(line) = lines.get(MAX_STEPS) {
        let message = format!("a program has at most {MAX_STEPS} steps");
        d.push(item.error(line.span(), message, "one too many"));
    }
    let named = |names: &[Spanned<String>], d: &mut Diagnostics| {
        names.iter().filter_map(|name| property::find_at(properties::ALL, item, name, d)).collect()
    };
    let mut def = SystemDef {
        name: raw.name.get_ref().clone(),
        about: raw.about.get_ref().clone(),
        requests: *raw.requests.get_ref(),
        steps: lines.iter().filter_map(|line| Step::compile(item, line, d)).collect(),
        choices: raw.choices.iter().filter_map(|c| spec.pin_at(item, c, d)).collect(),
        without: raw.without.iter().filter_map(|c| spec.clause_at(item, c, d)).collect(),
        holds: named(&raw.holds, d),
        violated: named(&raw.violated, d),
        expect: Expect { breaks: Vec::new(), stuck: raw.stuck, starves: raw.starves },
        speaks: Speaks::default(),
    };
    def.speaks = size::speaks(item, (&raw.sizes, raw.why.as_ref()), &def.bounds(), d);
    def
}

impl Loaded {
    /// The system under these rules; its properties are in the order of [`properties::ALL`].
    #[must_use]
    pub fn system(&self, def: &SystemDef, rules: Rules) -> Vdpa {
        let requests = def.requests;
        let device = Device { laws: self.laws, readings: self.readings, requests };
        let vmm = Vmm { steps: def.steps.clone(), requests };
        let (all, named) = (properties::ALL, (&def.holds[..], &def.violated[..]));
        let mut properties = property::build(all, &self.clauses, &(), named);
        properties.sort_by_key(|own| all.iter().position(|known| known.name == own.name));
        System {
            name: def.name.clone(),
            protocol: "vdpa",
            about: def.about.clone(),
            refinements: vec![Refinement::new::<Ring>(RING, device)],
            closed: Closed { machine: (device, Guest { requests }, vmm), rules },
            properties,
            expect: def.expect.clone(),
            environment: vec![GUEST],
        }
    }
}
