//! The table of VFIO's migration states: what follows from it for each device, held against what was
//! written down independently, and what a proposal may do to it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use devmig_model::protocol::vfio::event::pages_in_words;
use devmig_model::protocol::vfio::lint::{Lint, lint, spelled};
use devmig_model::protocol::vfio::path::{NoPath, Reading};
use devmig_model::protocol::vfio::table::Table;
use devmig_model::registry::Library;

use crate::common::builtin;

fn patched(text: &str) -> Library {
    let head = "[[proposal]]\nid = \"test\"\ntitle = \"a test\"\nabout = \"a test\"\n";
    Library::with_proposal("test.toml", &format!("{head}{text}"))
        .unwrap_or_else(|errors| panic!("{:?}", miette::Report::new(errors)))
}

fn refused(text: &str) -> String {
    let head = "[[proposal]]\nid = \"test\"\ntitle = \"a test\"\nabout = \"a test\"\n";
    let errors = Library::with_proposal("test.toml", &format!("{head}{text}")).unwrap_err();
    errors.errors().iter().map(|error| error.message()).collect::<Vec<_>>().join("; ")
}

fn value(table: &Table, name: &str) -> u8 {
    table.named(name).unwrap().value
}

fn arcs(table: &Table, flags: u64, reading: Reading) -> BTreeSet<String> {
    let arcs = table.projected(flags, reading).into_iter();
    arcs.map(|(from, to)| format!("{} {}", table.name(from), table.name(to))).collect()
}

fn both(pairs: &[(&str, &str)]) -> BTreeSet<String> {
    pairs.iter().flat_map(|(a, b)| [format!("{a} {b}"), format!("{b} {a}")]).collect()
}

/// The arcs of the four devices, as the research on the header and the kernel lists them.
#[test]
fn the_arcs_of_each_device_are_the_known_ones() {
    let library = builtin();
    let set_1 = both(&[("RUNNING", "STOP"), ("STOP", "STOP_COPY"), ("STOP", "RESUMING")]);
    let mut set_3 = set_1.clone();
    set_3.retain(|arc| arc != "RUNNING STOP" && arc != "STOP RUNNING");
    set_3.extend(both(&[("RUNNING", "RUNNING_P2P"), ("RUNNING_P2P", "STOP")]));
    let mut set_5 = set_1.clone();
    set_5.extend(both(&[("RUNNING", "PRE_COPY")]));
    set_5.insert("PRE_COPY STOP_COPY".into());
    let mut set_7 = set_3.clone();
    set_7.extend(both(&[
        ("RUNNING", "PRE_COPY"),
        ("PRE_COPY", "PRE_COPY_P2P"),
        ("RUNNING_P2P", "PRE_COPY_P2P"),
    ]));
    set_7.insert("PRE_COPY_P2P STOP_COPY".into());
    assert_eq!(library.vfio().table.legal(), [1, 3, 5, 7]);
    for (flags, wanted) in [(1, set_1), (3, set_3), (5, set_5), (7, set_7)] {
        for reading in [Reading::Kernel, Reading::Session] {
            assert_eq!(arcs(&library.vfio().table, flags, reading), wanted, "{flags} {reading}");
        }
    }
}

/// Where the core of a 6.12 kernel goes first in a device with everything: rows from, columns to.
const KERNEL: [(&str, [&str; 7]); 7] = [
    //         STOP  RUN   COPY  RES   RP2P  PRE   PP2P
    ("STOP", ["S", "RP", "SC", "RE", "RP", "RP", "RP"]),
    ("RUNNING", ["RP", "R", "RP", "RP", "RP", "PC", "RP"]),
    ("STOP_COPY", ["S", "S", "SC", "S", "S", "-", "-"]),
    ("RESUMING", ["S", "S", "S", "RE", "S", "S", "S"]),
    ("RUNNING_P2P", ["S", "R", "S", "S", "RP", "R", "PP"]),
    ("PRE_COPY", ["R", "R", "PP", "R", "R", "PC", "PP"]),
    ("PRE_COPY_P2P", ["RP", "RP", "SC", "RP", "RP", "PC", "PP"]),
];
const COLUMNS: [(&str, &str); 7] = [
    ("STOP", "S"),
    ("RUNNING", "R"),
    ("STOP_COPY", "SC"),
    ("RESUMING", "RE"),
    ("RUNNING_P2P", "RP"),
    ("PRE_COPY", "PC"),
    ("PRE_COPY_P2P", "PP"),
];

#[test]
fn a_full_device_goes_where_the_kernel_goes() {
    let library = builtin();
    let table = &library.vfio().table;
    for reading in [Reading::Kernel, Reading::Session] {
        for (from, row) in KERNEL {
            for ((to, _), step) in COLUMNS.into_iter().zip(row) {
                let ours = table.first_step(7, reading, value(table, from), value(table, to));
                let short = ours.map_or("-", |step| {
                    COLUMNS.into_iter().find(|(name, _)| *name == table.name(step)).unwrap().1
                });
                assert_eq!(short, step, "{reading}: {from} -> {to}");
            }
        }
    }
}

/// The kernel's core walks the row of its full table until it is at a state that the device has.
#[test]
fn a_device_that_lacks_states_skips_them_as_the_kernel_does() {
    let library = builtin();
    let table = &library.vfio().table;
    let long = |short: &str| COLUMNS.into_iter().find(|(_, s)| *s == short).map(|(name, _)| name);
    let next = |from: &str, to: usize| {
        KERNEL.into_iter().find(|(name, _)| *name == from).and_then(|(_, row)| long(row[to]))
    };
    for flags in [1, 3, 5, 7] {
        for (from, _) in KERNEL {
            for (column, (to, _)) in COLUMNS.into_iter().enumerate() {
                let (a, b) = (value(table, from), value(table, to));
                let ours = table.first_step(flags, Reading::Kernel, a, b).ok();
                let wanted = if table.supports(flags, a) && table.supports(flags, b) {
                    let mut step = next(from, column);
                    while let Some(name) = step
                        && !table.supports(flags, value(table, name))
                    {
                        step = next(name, column);
                    }
                    step.map(|name| value(table, name))
                } else {
                    None
                };
                assert_eq!(ours, wanted, "{flags}: {from} -> {to}");
            }
        }
    }
}

#[test]
fn error_is_reached_and_left_by_no_set() {
    let library = builtin();
    let table = &library.vfio().table;
    for flags in table.legal() {
        for other in 0..=u8::MAX {
            assert!(table.path(flags, Reading::Kernel, 0, other).is_err());
            assert!(table.path(flags, Reading::Kernel, other, 0).is_err());
        }
    }
    assert_eq!(table.path(7, Reading::Kernel, 0, 0), Err(NoPath::Final));
    assert_eq!(table.path(7, Reading::Kernel, 1, 8), Err(NoPath::Unsupported));
}

fn differences(table: &Table, one: Reading, other: Reading) -> Vec<String> {
    let mut found = Vec::new();
    for flags in table.legal() {
        for from in 0..8 {
            for to in 0..8 {
                let way = |reading| match table.path(flags, reading, from, to) {
                    Ok(path) => spelled(table, &path),
                    Err(_) => "error".to_owned(),
                };
                if way(one) != way(other) {
                    found.push(format!("{flags}: {} not {}", way(one), way(other)));
                }
            }
        }
    }
    found
}

/// The words of the rule forbid one path that the kernel takes, in both devices that have it.
#[test]
fn the_literal_rule_differs_in_one_pair() {
    let library = builtin();
    assert_eq!(
        differences(&library.vfio().table, Reading::Literal, Reading::Kernel),
        [
            "5: PRE_COPY, RUNNING, STOP, STOP_COPY not PRE_COPY, STOP_COPY",
            "7: PRE_COPY, RUNNING, RUNNING_P2P, STOP, STOP_COPY not PRE_COPY, PRE_COPY_P2P, \
             STOP_COPY",
        ]
    );
}

/// The rule of sessions needs neither the exception nor the list: it gives both.
#[test]
fn the_rule_of_sessions_gives_the_exception_and_the_blocked_pairs() {
    let library = builtin();
    assert_eq!(differences(&library.vfio().table, Reading::Session, Reading::Kernel), [""; 0]);
    let mut bare = (*library.vfio().table).clone();
    bare.pairs.clear();
    for flags in bare.legal() {
        for from in 0..8 {
            for to in 0..8 {
                let way = |table: &Table| table.path(flags, Reading::Session, from, to);
                assert_eq!(way(&bare), way(&library.vfio().table));
            }
        }
    }
    // Without the list the kernel's rule would lead out of the session and into a new one.
    let [copy, pre] = ["STOP_COPY", "PRE_COPY"].map(|name| value(&bare, name));
    let path = bare.path(7, Reading::Kernel, copy, pre).unwrap();
    assert_eq!(spelled(&bare, &path), "STOP_COPY, STOP, RUNNING_P2P, RUNNING, PRE_COPY");
    assert_eq!(bare.path(7, Reading::Session, copy, pre), Err(NoPath::Unreachable));
}

#[test]
fn every_path_is_unique_by_every_reading() {
    let library = builtin();
    for reading in Reading::ALL {
        let found = lint(&library.vfio().table, &library.vfio().table, reading);
        assert_eq!(found, Lint::default(), "{reading}");
    }
}

#[test]
fn the_effects_of_every_arc() {
    let library = builtin();
    let table = &library.vfio().table;
    let mut out = String::new();
    for flags in table.legal() {
        out += &format!("{}\n", table.flag_names(flags));
        for (from, to) in table.projected(flags, Reading::Kernel) {
            let arc = format!("{} -> {}", table.name(from), table.name(to));
            out += format!("  {arc:28} {}", table.effects(from, to).words()).trim_end();
            out.push('\n');
        }
    }
    insta::assert_snapshot!(out);
}

/// A state, an arc and an attribute are added, changed and taken away.
#[test]
fn a_proposal_changes_anything() {
    let base = builtin();
    let run = |text: &str| lint(&base.vfio().table, &patched(text).vfio().table, Reading::Session);
    // Taken away: whatever led to or through it.
    let gone = run("[[vfio-state]]\nname = \"RUNNING_P2P\"\nremove = true\n");
    assert!(!gone.is_sound());
    assert!(Lint::pairs(&gone.disturbs).contains(&"RUNNING -> STOP"), "{gone:?}");
    // An attribute.
    let noisy = run("[[vfio-state]]\nname = \"STOP\"\ndma = \"any\"\n");
    assert_eq!(Lint::pairs(&noisy.disturbs), ["STOP"]);
    // An arc, which is one pair's path for every device that has both states.
    let short = run("[[vfio-arc]]\nfrom = \"RESUMING\"\nto = \"RUNNING\"\n");
    assert!(Lint::pairs(&short.disturbs).contains(&"RESUMING -> RUNNING"), "{short:?}");
    // ... and a second way from STOP, which nobody meant.
    assert!(Lint::pairs(&short.ambiguous).contains(&"STOP -> RUNNING"), "{short:?}");
    // The same for devices with a new feature alone.
    let gated = "[[vfio-feature]]\nname = \"back\"\nbit = 3\n[[vfio-arc]]\nfrom = \"STOP_COPY\"\n\
                 to = \"PRE_COPY_P2P\"\nneeds = [\"back\"]\n";
    let gated = run(gated);
    assert!(gated.is_sound() && !gated.changes.is_empty(), "{gated:?}");
    assert!(gated.changes.iter().all(|finding| finding.flags & 8 == 8));
    // A feature goes, and what needs it.
    let less = run("[[vfio-feature]]\nname = \"p2p\"\nremove = true\n");
    assert!(Lint::pairs(&less.disturbs).contains(&"features 3"), "{less:?}");
    // Two ways are none.
    let two = "[[vfio-state]]\nname = \"HALF\"\nvalue = 8\nruns = true\ndma = \"no-peer\"\n\
               session = \"none\"\n[[vfio-arc]]\nfrom = \"RUNNING\"\nto = \"HALF\"\n[[vfio-arc]]\n\
               from = \"HALF\"\nto = \"STOP\"\n";
    assert!(Lint::pairs(&run(two).ambiguous).contains(&"RUNNING -> STOP"));
}

#[test]
fn what_makes_no_table_is_refused() {
    let state = |rest: &str| refused(&format!("[[vfio-state]]\nname = \"X\"\n{rest}"));
    assert_eq!(state("runs = true\n"), "the new state `X` lacks attributes");
    let whole = "runs = true\ndma = \"any\"\nsession = \"none\"\n";
    assert_eq!(state(&format!("value = 3\n{whole}")), "`STOP_COPY` has this value");
    assert_eq!(state(&format!("value = 15\n{whole}")), "values are below 15");
    assert_eq!(state("remove = true\n"), "no state is called `X`");
    assert_eq!(state("value = 9\ndma = \"some\"\n"), "`some` is not a value of this key");
    let lower = refused(&format!("[[vfio-state]]\nname = \"x\"\nvalue = 9\n{whole}"));
    assert_eq!(lower, "`x` is not a state's name");
    let kept = refused("[[vfio-state]]\nname = \"STOP\"\nvalue = 9\n");
    assert_eq!(kept, "a state keeps its value");
    let end = refused("[[vfio-state]]\nname = \"STOP\"\nfinal = true\n");
    assert_eq!(end, "arcs lead to or from `STOP`, which is final");
    let arc = |from: &str, to: &str, rest: &str| {
        refused(&format!("[[vfio-arc]]\nfrom = \"{from}\"\nto = \"{to}\"\n{rest}"))
    };
    assert_eq!(arc("STOP", "STOPP", ""), "no state is called `STOPP`");
    assert_eq!(arc("STOP", "STOP", ""), "it leads from a state to itself");
    assert_eq!(arc("STOP", "ERROR", ""), "no arc touches `ERROR`, which is final");
    assert_eq!(arc("STOP", "PRE_COPY", "remove = true"), "no arc leads from STOP to PRE_COPY");
    assert_eq!(arc("STOP", "PRE_COPY", "needs = [\"p3p\"]"), "no feature is called `p3p`");
    let feature = |rest: &str| refused(&format!("[[vfio-feature]]\n{rest}"));
    assert_eq!(feature("name = \"x\"\nbit = 1\n"), "this bit is taken");
    assert_eq!(feature("name = \"x\"\nbit = 64\n"), "there are 64 bits");
    assert_eq!(feature("name = \"x\"\n"), "a feature needs its bit");
    assert_eq!(feature("name = \"p2p\"\nbit = 4\n"), "the feature `p2p` is defined twice");
    let many: String =
        (3..20).map(|n| format!("[[vfio-feature]]\nname = \"f{n}\"\nbit = {n}\n")).collect();
    assert!(refused(&many).starts_with("there are at most 8 features"));
    let pair =
        "[[vfio-pair]]\nfrom = \"STOP\"\nto = \"RUNNING\"\nhow = \"blocked\"\nby = \"text\"\n";
    assert_eq!(refused(&format!("{pair}remove = true\n")), "this pair is not listed");
}

/// Any table gives paths that follow its arcs, or none: no text makes it panic or run on.
#[test]
fn a_dense_table_is_looked_through_in_time() {
    let mut text = String::new();
    for n in 8..15 {
        let attributes = "runs = true\ndma = \"any\"\nsession = \"none\"\n";
        text += &format!("[[vfio-state]]\nname = \"S{n}\"\nvalue = {n}\n{attributes}");
    }
    for a in 8..15 {
        for b in (8..15).filter(|b| *b != a) {
            text += &format!("[[vfio-arc]]\nfrom = \"S{a}\"\nto = \"S{b}\"\n");
        }
        text += &format!("[[vfio-arc]]\nfrom = \"STOP\"\nto = \"S{a}\"\n");
        text += &format!("[[vfio-arc]]\nfrom = \"S{a}\"\nto = \"RUNNING\"\n");
    }
    let library = patched(&text);
    let found = lint(&builtin().vfio().table, &library.vfio().table, Reading::Kernel);
    assert!(Lint::pairs(&found.ambiguous).contains(&"STOP -> RUNNING"));
    let NoPath::Ambiguous(paths) = library.vfio().table.path(7, Reading::Kernel, 1, 2).unwrap_err()
    else {
        panic!()
    };
    assert_eq!(paths.len(), 8);
}

#[test]
fn pages_are_named_by_number() {
    assert_eq!(pages_in_words(0), "no page");
    assert_eq!(pages_in_words(1 << 63), "page 63");
    assert_eq!(pages_in_words(0b1110_0011), "pages 0 to 1, 5 to 7");
    assert_eq!(pages_in_words(u64::MAX), "pages 0 to 63");
}
