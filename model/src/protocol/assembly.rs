//! A system that stands in a file, put together: what its keys say, its properties, and a protocol's machine.

use std::sync::Arc;

use devmig_engine::clause::ClauseId;
use devmig_engine::compose::{Closed, GlobalStateOf};
use devmig_engine::machine::Machine;
use devmig_engine::rules::Rules;
use devmig_engine::system::{Property, System};

use super::definition::Common;
use super::property::{PropertyDefinition, build};

/// A protocol's properties, with the clause behind each, and what their tests need to know of a system.
type Known<'a, C, W, E> = (&'a [PropertyDefinition<C, W, E>], &'a [Option<ClauseId>], &'a C);

/// A system of a protocol that stands in a file: with its properties, those of code before those of files.
pub(crate) fn system<M, C, const Q: usize, const N: usize, const W: usize>(
    common: &Common,
    protocol: &'static str,
    (all, clauses, of): Known<'_, C, GlobalStateOf<M, Q, N>, M::Event>,
    (machine, rules): (M, Rules),
) -> System<M, Q, N, W>
where
    M: Machine + Clone + Send + 'static,
    C: Clone,
{
    let mut properties = build(all, clauses, of, (&common.holds, &common.violated));
    if !common.written.is_empty() {
        let shared = Arc::new(machine.clone());
        for (written, expected) in &common.written {
            let property = written.property::<M, Q, N>(&shared);
            properties.push(Property { expected: *expected, ..property });
        }
    }
    System {
        name: common.name.clone(),
        protocol,
        about: common.about.clone(),
        closed: Closed { machine, rules },
        properties,
        expect: common.expect.clone(),
        refinements: Vec::new(),
        environment: Vec::new(),
        symmetry: None,
    }
}
