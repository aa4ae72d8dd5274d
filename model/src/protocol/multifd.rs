//! multifd: the RAM and the device state of a migration, sent over several connections.
//!
//! ```text
//!   source   ==main==================================> destination   sections, FLUSH or EOS
//!            --channel 0--RAM-packets--SYNC--RAM-----> (a thread each)
//!            --channel 1--RAM--device-state--SYNC----> (a thread each)
//!            <=return path============================ acknowledgements
//! ```
//!
//! A SYNC packet on every channel, and then a mark on the main stream, end an *epoch*: no page is sent twice
//! in an epoch, so the order of its packets does not matter.
//!
//! | file | holds |
//! |---|---|
//! | `wire.rs`, `wire/` | the encoding: channels, the main stream, the return path |
//! | `form.rs` | what is wrong with one packet |
//! | `event.rs`, `machine.rs` | epochs, and the order of a device's buffers |
//! | `threads.rs`, `threads/` | both ends as their threads, to be explored |
//! | `properties.rs`, `systems.rs` | what is expected of them, and the systems as data |
//! | `auto.rs` | whether a device's state goes over channels: ON, OFF and AUTO at each end |
//! | `capability.rs` | the capabilities of a migration, and which a monitor refuses together |
//! | `parameter.rs` | the parameters with which a monitor refuses a capability |
//! | `transport.rs` | over what a migration goes, and which capabilities a monitor refuses there |

pub mod auto;
pub mod capability;
pub mod event;
pub mod form;
pub mod machine;
pub mod parameter;
pub mod properties;
pub mod systems;
pub mod threads;
pub mod transport;
pub mod wire;

use std::sync::Arc;

use self::capability::Capabilities;
use self::machine::ClauseIds;
use self::parameter::ParameterRule;
use self::systems::SystemDef;
use self::threads::judged::OrderIds;
use self::threads::{destination, source};
use self::transport::Transports;
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

/// All of multifd that is loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the machine judges.
    pub laws: ClauseIds,
    /// What no recording shows.
    pub order: OrderIds,
    /// The capabilities of a migration.
    pub capabilities: Capabilities,
    /// The parameters with which a capability is refused.
    pub parameters: Vec<ParameterRule>,
    /// Over what a migration goes.
    pub transports: Transports,
    /// The clause behind each property of [`properties::ALL`].
    pub clauses: Vec<Option<ClauseId>>,
    /// The systems.
    pub systems: Systems<SystemDef>,
}

/// The words of a list of switches.
pub(super) fn switches<M>(all: &[source::Switch<M>]) -> Vec<(&'static str, &'static str)> {
    all.iter().map(|(name, says, _)| (*name, *says)).collect()
}

impl Protocol for Loaded {
    fn name() -> &'static str {
        "multifd"
    }

    fn tables() -> Vec<ItemKind> {
        let own = [capability::kinds(), vec![parameter::kind()], transport::kinds()].concat();
        [vec![Programs::kind(), written::item_kind(), definition::kind::<systems::Keys>()], own]
            .concat()
    }

    fn words() -> Vec<Section> {
        vec![
            (
                "multifd: steps of the source's main thread, `run`, `steps`",
                source::STEPS.iter().map(|(name, says, _)| (*name, *says)).collect(),
            ),
            ("multifd: how a source differs, `source`", switches(source::MANNERS)),
            ("multifd: how a destination differs, `destination`", switches(destination::MANNERS)),
            ("multifd: properties, `holds`, `violated`", property::words(properties::ALL)),
        ]
    }

    fn load(spec: &Spec, input: &mut Input<'_>, d: &mut Diagnostics) -> Result<Self, SpecErrors> {
        let capabilities = Capabilities::read(input, d);
        input.keep(&Arc::new(capabilities.clone()));
        let parameters = ParameterRule::read(&capabilities, input, d);
        let transports = Transports::read(&capabilities, input, d);
        let programs = Programs::read(input, Self::name(), d);
        let of = (spec, Self::name(), false);
        let systems = Systems::read(of, properties::ALL, input, d, |common, item, d| {
            Some(systems::compile(&programs, common, item, d))
        });
        Ok(Loaded {
            laws: ClauseIds::resolve(spec)?,
            order: OrderIds::resolve(spec)?,
            capabilities,
            parameters,
            transports,
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
