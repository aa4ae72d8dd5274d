//! Synchronisation as a barrier: which systems refine the abstract one, and how the others differ.

use devmig_engine::clause::ClauseId;
use devmig_engine::explore::behaviour::Seen;
use devmig_engine::laws::{self, Wrong};
use devmig_model::protocol::barrier::{self, BARRIER};
use devmig_model::protocol::size::Scale;

use crate::common::{builtin, refines};

#[test]
fn the_barrier_passes_the_laws() {
    assert_eq!(laws::all(barrier::system()), Wrong::new());
}

/// QEMU's destination passes a barrier at a mark, cloud-hypervisor's source at a gate. A counterexample ends
/// with the event that no barrier allows.
#[test]
fn who_refines_the_barrier() {
    let library = builtin();
    let mut rows = String::new();
    // A destination that has taken over throws away what it reads: that is no barrier any more.
    let all = library.multifd().systems.iter();
    for def in all.filter(|def| def.buffers.is_empty() && !def.destination.colo) {
        let system = library.multifd().system(def, library.rules(def));
        let name = &def.common.name;
        let says = refines(&library, &system, (BARRIER, &barrier::system()));
        rows += &format!("{name:44} {says}\n");
    }
    for of in ["multifd/sync ", "multifd/sync-per-section", "multifd/acknowledged "] {
        let row = rows.lines().find(|row| row.starts_with(of)).unwrap();
        assert!(row.ends_with("refines it"), "{row}");
    }
    insta::assert_snapshot!(rows);
}

/// A system that is mapped to another abstract machine, or to none, says so.
#[test]
fn a_system_that_refines_something_else_says_what() {
    let library = builtin();
    let clause = |id: ClauseId| library.spec.clause_name(id).to_owned();
    let seen =
        Seen { refinement: Some(BARRIER), reads: false, hidden: &|_| false, clause: &clause };
    let says = |name: &str| {
        let system = library.find_scaled(name, &[], &Scale::default()).unwrap().unwrap();
        system.behaviour(seen).err().unwrap().to_string()
    };
    let not = "the system is not mapped to that abstract machine";
    assert_eq!(says("vdpa/suspend-resume"), format!("{not}, but to `ring`"));
    assert_eq!(says("mapped-ram/two-rounds"), format!("{not}, nor to any other"));
}
