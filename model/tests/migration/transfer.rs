//! The state of devices on its way: a whole migration and multifd do what the abstract transfer does, and wrong
//! programs and threads do not.

use devmig_engine::laws::{self, Wrong};
use devmig_model::protocol::transfer::{self, TRANSFER};

use crate::common::{builtin, refines};

#[test]
fn the_transfer_passes_the_laws() {
    assert_eq!(laws::all(transfer::system()), Wrong::new());
}

/// A whole migration has no channels, and multifd has nothing else: both refine one abstract transfer, so that
/// what is shown of a whole migration holds with channels too.
#[test]
fn who_refines_the_transfer() {
    let library = builtin();
    let mut rows = String::new();
    for def in library.migration().systems.iter().filter(|def| def.more == 0) {
        let system = library.migration().system(def, library.rules(def));
        let says = refines(&library, &system, (TRANSFER, &transfer::system()));
        rows += &format!("{:45} {says}\n", def.common.name);
    }
    for def in library.multifd().systems.iter().filter(|def| !def.buffers.is_empty()) {
        let system = library.multifd().system(def, library.rules(def));
        let says = refines(&library, &system, (TRANSFER, &transfer::system()));
        rows += &format!("{:45} {says}\n", def.common.name);
    }
    let does = |of: &str| {
        let row = rows.lines().find(|row| row.starts_with(&format!("{of} "))).unwrap();
        row.ends_with("refines it")
    };
    for of in ["migration/device", "migration/two-devices", "multifd/device"] {
        assert!(does(of), "{of}");
    }
    let not = rows.lines().filter(|row| !row.ends_with("refines it")).count();
    assert!(not > 1, "{rows}");
    insta::assert_snapshot!(rows);
}
