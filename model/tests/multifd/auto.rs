//! ON, OFF and AUTO at each end: every combination, and what AUTO promises.

use devmig_model::protocol::multifd::auto::{End, Outcome, Setting, Support, migration, transfer};

/// Every support.
fn supports() -> impl Iterator<Item = Support> {
    (0..16u8).map(|bits| Support {
        multifd: bits & 1 == 1,
        mapped_ram: bits & 2 == 2,
        compression: bits & 4 == 4,
        switchover_start: bits & 8 == 8,
    })
}

fn end(setting: Setting, support: Support) -> End {
    End { setting, support }
}

/// Both ends support it, only the source does, only the destination does, neither does.
#[test]
fn every_combination() {
    let older = Support { switchover_start: false, ..Support::ALL };
    let mut out = String::new();
    for (source, destination) in
        [(Support::ALL, Support::ALL), (Support::ALL, older), (older, Support::ALL), (older, older)]
    {
        let yes = |support: Support| if support == Support::ALL { "supports" } else { "lacks" };
        out += &format!("source {} it, destination {} it\n", yes(source), yes(destination));
        for setting in Setting::ALL {
            for other in Setting::ALL {
                let outcome = migration(&end(setting, source), &end(other, destination));
                out += &format!("  {setting:?} to {other:?}: {outcome:?}\n");
            }
        }
    }
    insta::assert_snapshot!("auto", out);
}

/// AUTO refuses nothing at its own end.
#[test]
fn auto_never_refuses() {
    for support in supports() {
        assert!(transfer(&end(Setting::Auto, support)).is_ok(), "{support:?}");
    }
}

/// Between ends that are alike, AUTO turns no accepted migration into one that fails.
#[test]
fn auto_changes_no_migration_between_equal_ends() {
    for support in supports() {
        let of = |setting| migration(&end(setting, support), &end(setting, support));
        assert!(of(Setting::Off).is_accepted() && of(Setting::Auto).is_accepted(), "{support:?}");
        if of(Setting::On).is_accepted() {
            assert_eq!(of(Setting::Auto), of(Setting::On), "{support:?}");
        }
    }
}

/// Between ends that differ it does, since nothing is negotiated: the smallest counterexample is one
/// property of a machine type.
#[test]
fn auto_fails_between_ends_that_differ() {
    let older = Support { switchover_start: false, ..Support::ALL };
    let of = |setting| migration(&end(setting, Support::ALL), &end(setting, older));
    assert_eq!((of(Setting::Off), of(Setting::Auto)), (Outcome::Main, Outcome::BuffersUnexpected));
    let back = |setting| migration(&end(setting, older), &end(setting, Support::ALL));
    assert_eq!(back(Setting::Auto), Outcome::ConfigUnexpected);
    for (source, destination) in supports().flat_map(|s| supports().map(move |d| (s, d))) {
        let auto = migration(&end(Setting::Auto, source), &end(Setting::Auto, destination));
        let agree = source.lacks().is_empty() == destination.lacks().is_empty();
        assert_eq!(auto.is_accepted(), agree, "{source:?} {destination:?}");
    }
}
