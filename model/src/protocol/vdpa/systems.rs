//! vDPA systems: a device, its guest, and a VMM with a program, as data.
//!
//! ```text
//!  vdpa/systems.toml: run = [...], holds = [...], violated = [...]
//!        |  Systems::read, compile (every name resolved, every problem reported)
//!        v
//!  SystemDef --system(rules)--> System<(Device, Guest, Vmm)> --> explore
//! ```

use schemars::JsonSchema;
use serde::Deserialize;

use super::Loaded;
use super::event::GUEST;
use super::machine::Device;
use super::properties::{self, Parts};
use super::vmm::{Guest, MAX_STEPS, Step, Vmm};
use crate::protocol::assembly;
use crate::protocol::definition::{Common, Definition, RawSystem};
use crate::protocol::program::Programs;
use crate::protocol::registration::Protocol;
use crate::protocol::ring::{RING, Ring};
use crate::protocol::size::{Bound, Size};
use crate::spec::{Diagnostics, Item, Spanned};
use devmig_engine::rules::Rules;
use devmig_engine::system;
use devmig_engine::system::{Refinement, System};

/// A system of vDPA: no queue, every state in one word.
pub type Vdpa = system!(Parts);

/// A vDPA device, a guest, and a VMM with a program.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// Requests that the guest makes available, 1 to 4.
    #[serde(default = "two")]
    requests: Spanned<u16>,
    /// Steps of the VMM.
    run: Vec<Spanned<String>>,
}

fn two() -> Spanned<u16> {
    Spanned::new(0..0, 2)
}

/// A system, resolved.
#[derive(Clone, Debug)]
pub struct SystemDef {
    /// What every system says.
    pub common: Common,
    /// How many requests the guest makes available.
    pub requests: u16,
    /// The VMM's program.
    pub steps: Vec<Step>,
}

/// The most requests.
const REQUESTS: u16 = 4;

impl Definition for SystemDef {
    fn common(&self) -> &Common {
        &self.common
    }

    fn bounds(&self) -> Vec<Bound> {
        vec![Bound::new("requests", self.requests, (1, REQUESTS))]
    }

    fn scaled(&self, size: &Size) -> Self {
        SystemDef { requests: size.of("requests"), ..self.clone() }
    }
}

/// Resolves the keys of one item.
pub fn compile(
    programs: &Programs,
    common: Common,
    item: &Item<RawSystem<Keys>>,
    d: &mut Diagnostics,
) -> SystemDef {
    let raw = &item.value.1;
    if !(1..=REQUESTS).contains(raw.requests.get_ref()) {
        d.push(item.error(raw.requests.span(), "a system has one to four requests", "here"));
    }
    let lines = programs.flat(item, &raw.run, d);
    if let Some(line) = lines.get(MAX_STEPS) {
        let message = format!("a program has at most {MAX_STEPS} steps");
        d.push(item.error(line.span(), message, "one too many"));
    }
    SystemDef {
        common,
        requests: *raw.requests.get_ref(),
        steps: lines.iter().filter_map(|line| Step::compile(item, line, d)).collect(),
    }
}

impl Loaded {
    /// The system under these rules; its properties are in the order of [`properties::ALL`].
    #[must_use]
    pub fn system(&self, def: &SystemDef, rules: Rules) -> Vdpa {
        let requests = def.requests;
        let device = Device { laws: self.laws, readings: self.readings, requests };
        let vmm = Vmm { steps: def.steps.clone(), requests };
        let (all, machine) = (properties::ALL, (device, Guest { requests }, vmm));
        let known = (all, &self.clauses[..], &());
        let mut system = assembly::system(&def.common, Self::name(), known, (machine, rules));
        system.properties.sort_by_key(|own| all.iter().position(|known| known.name == own.name));
        System {
            refinements: vec![Refinement::new::<Ring>(RING, device)],
            environment: vec![GUEST],
            ..system
        }
    }
}
