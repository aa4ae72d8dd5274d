//! What `devmig decide migration` says: by the rule of today and by that of QEMU 11.0.

use devmig_engine::explore::search::Limits;
use devmig_model::analysis::Explorer;
use devmig_model::analysis::migrating::Migrations;

use crate::common::builtin;

fn table(pins: &[&str]) -> Migrations {
    let library = builtin();
    let pins: Vec<String> = pins.iter().map(|pin| (*pin).to_owned()).collect();
    let pins = library.spec.pins(&pins).unwrap();
    Migrations::of(&Explorer::new(Limits::default(), &|_| {}), &library, &pins).unwrap()
}

/// Every policy at every limit and size, and the smallest instance of whatever does not hold.
#[test]
fn every_policy_is_decided() {
    insta::assert_snapshot!("policies", table(&[]).text(false));
}

/// With the rule of QEMU 11.0, what is left can be the threshold and not below it: then the logs are not read
/// before the VMM switches over. A limit of 0 is always of this kind.
#[test]
fn the_rule_of_qemu_11_0_can_exceed_the_limit() {
    insta::assert_snapshot!("policies-11.0", table(&["migration.threshold.sync=below"]).text(true));
}

/// A policy that is made by a choice cannot be asked with that choice fixed.
#[test]
fn a_choice_that_makes_a_policy_is_not_fixed() {
    let library = builtin();
    let pins = library.spec.pins(&["migration.untracked=skip".to_owned()]).unwrap();
    let asked = Migrations::of(&Explorer::new(Limits::default(), &|_| {}), &library, &pins);
    assert!(asked.unwrap_err().to_string().contains("error"));
}
