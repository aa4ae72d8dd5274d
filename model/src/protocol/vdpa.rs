//! vDPA: a virtio device that the kernel offers as `/dev/vhost-vdpa`, and the VMM that drives it by
//! ioctls.
//!
//! ```text
//!  VMM    --SET_STATUS, SET_VRING_BASE, SET_VRING_ENABLE, RESUME-->  device    done when it returns
//!  VMM    --GET_VRING_BASE ... the base------------------------------ device   reads, stops nothing
//!  VMM    --SUSPEND-->  ...requests are completed...  --returns-->   VMM
//!  guest  --available, kick-->  device  --used-->  guest
//! ```
//!
//! Its rings are the second lower machine of the abstract one ([`crate::protocol::ring`]), beside those of
//! vhost-user: there GET_VRING_BASE stops a ring, here SUSPEND stops all of them.
//!
//! **Not here.** More than one ring, IOTLB and address spaces, configuration space, the control
//! queue, features: what the rings do is all that the comparison needs.

pub mod event;
pub mod machine;
pub mod properties;
pub mod systems;
pub mod vmm;

use self::machine::{ChoiceIds, ClauseIds};
use self::systems::SystemDef;
use super::definition::{self, SystemList, Systems};
use super::input::Input;
use super::program::Programs;
use super::property;
use super::registration::{Protocol, Section};
use super::size::{BadScale, Scale};
use super::written;
use crate::spec::{Diagnostics, ItemKind, Spec, SpecErrors};
use devmig_engine::clause::ClauseId;
use devmig_engine::explore::Check;
use devmig_engine::rules::Rules;

/// All of vDPA that is loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the machine judges.
    pub laws: ClauseIds,
    /// What it asks.
    pub readings: ChoiceIds,
    /// The clause behind each property of [`properties::ALL`].
    pub clauses: Vec<Option<ClauseId>>,
    /// The systems.
    pub systems: Systems<SystemDef>,
}

impl Protocol for Loaded {
    fn name() -> &'static str {
        "vdpa"
    }

    fn tables() -> Vec<ItemKind> {
        vec![Programs::kind(), written::item_kind(), definition::kind::<systems::Keys>()]
    }

    fn words() -> Vec<Section> {
        vec![
            ("vDPA: steps, `run`, `steps`", vmm::STEPS.to_vec()),
            ("vDPA: properties, `holds`, `violated`", property::words(properties::ALL)),
        ]
    }

    fn load(spec: &Spec, input: &mut Input<'_>, d: &mut Diagnostics) -> Result<Self, SpecErrors> {
        let programs = Programs::read(input, Self::name(), d);
        let of = (spec, Self::name(), false);
        let systems = Systems::read(of, properties::ALL, input, d, |common, item, d| {
            Some(systems::compile(&programs, common, item, d))
        });
        Ok(Loaded {
            laws: ClauseIds::resolve(spec)?,
            readings: ChoiceIds::resolve(spec)?,
            clauses: property::clauses(spec, properties::ALL)?,
            systems,
        })
    }

    fn systems(&self) -> &dyn SystemList {
        &self.systems
    }

    fn build(
        &self,
        name: &str,
        scale: &Scale,
        rules: Rules,
    ) -> Result<Option<Box<dyn Check>>, BadScale> {
        let def = self.systems.at(name, scale)?;
        Ok(def.map(|def| Box::new(self.system(&def, rules)) as _))
    }

    fn properties(&self) -> Vec<&'static str> {
        property::names(properties::ALL)
    }
}
