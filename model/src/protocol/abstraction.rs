//! An abstract machine, registered: one system made in code, with which systems of other protocols are compared.
//!
//! **Invariant.** It has no item, no clause and no choice, so that no rules concern it.

use std::fmt::Debug;
use std::marker::PhantomData;

use super::definition::{InCode, SystemList, Systems};
use super::input::Input;
use super::registration::Protocol;
use super::size::{BadScale, Bound, Scale};
use crate::spec::{Diagnostics, ItemKind, Spec, SpecErrors};
use devmig_engine::explore::Check;
use devmig_engine::rules::Rules;

/// A machine that others refine.
pub trait Abstraction: Clone + Debug + Send + Sync + 'static {
    /// The name under which systems are compared as it, e.g. `ring`.
    const NAME: &'static str;
    /// The name of its system, e.g. `ring/abstract`.
    const SYSTEM: &'static str;
    /// What bounds it.
    const BOUNDS: &'static [Bound];

    /// Its system at this size.
    fn check(def: &InCode) -> Box<dyn Check>;

    /// The names of its properties.
    fn properties() -> Vec<&'static str>;
}

/// What is registered of it.
#[derive(Clone, Debug)]
pub struct Loaded<A> {
    systems: Systems<InCode>,
    of: PhantomData<A>,
}

impl<A: Abstraction> Protocol for Loaded<A> {
    fn name() -> &'static str {
        A::NAME
    }

    fn tables() -> Vec<ItemKind> {
        Vec::new()
    }

    fn load(_: &Spec, _: &mut Input<'_>, _: &mut Diagnostics) -> Result<Self, SpecErrors> {
        let systems = [InCode::new(A::SYSTEM, A::BOUNDS)].into_iter().collect();
        Ok(Loaded { systems, of: PhantomData })
    }

    fn systems(&self) -> &dyn SystemList {
        &self.systems
    }

    fn build(
        &self,
        name: &str,
        scale: &Scale,
        _: Rules,
    ) -> Result<Option<Box<dyn Check>>, BadScale> {
        Ok(self.systems.at(name, scale)?.map(|def| A::check(&def)))
    }

    fn properties(&self) -> Vec<&'static str> {
        A::properties()
    }
}
