//! What `devmig decide migration` says: by the rule of today and by that of QEMU 11.0.

use devmig_engine::explore::search::Limits;
use devmig_model::analysis::migrating::{Migrations, Needs};
use devmig_model::analysis::{Error, Explorer};

use crate::common::builtin;

fn asked(pins: &[&str], limits: Limits<'_>) -> Result<Migrations, Error> {
    let library = builtin();
    let pins: Vec<String> = pins.iter().map(|pin| (*pin).to_owned()).collect();
    let pins = library.spec.pins(&pins).unwrap();
    Migrations::of(&Explorer::new(limits, &|_| {}), &library, &pins)
}

fn table(pins: &[&str]) -> Migrations {
    asked(pins, Limits::default()).unwrap()
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
    let error = asked(&["migration.untracked=skip"], Limits::default()).unwrap_err();
    let Error::Spec(error) = error else { panic!("{error:?}") };
    let said = format!("{error:?}");
    assert!(said.contains("`migration.untracked` is both fixed and tried"), "{said}");
}

/// A run that a bound cuts short decides nothing: neither that something holds nor that a VM can migrate.
#[test]
fn a_run_that_is_cut_short_decides_nothing() {
    let cut = asked(&[], Limits { max_states: Some(8), ..Limits::default() }).unwrap();
    assert!(cut.is_cut() && !table(&[]).is_cut());
    let mut open = 0;
    for policy in &cut.policies {
        for cell in &policy.cells {
            let answers = [cell.safe, cell.within_limit, cell.ends, cell.completes];
            open += answers.iter().filter(|answer| answer.is_none()).count();
        }
        let unsure = |cells: &Needs| cells.can_migrate == Some(true) || cells.reason == "nothing";
        assert!(!policy.needs.iter().any(unsure), "{}", policy.policy);
    }
    assert!(open > 100, "{open}");
    assert!(cut.text(true).contains("not decided"));
}
