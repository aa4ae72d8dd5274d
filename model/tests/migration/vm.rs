//! `devmig decide migration --vm`: VMs, their answers, and what is wrong with a description.

use devmig_engine::explore::search::Limits;
use devmig_model::analysis::Explorer;
use devmig_model::analysis::vm::Vm;
use devmig_model::analysis::vm::answer::Answer;
use devmig_model::registry::Library;
use miette::{GraphicalReportHandler, GraphicalTheme};

use crate::common::builtin;

const VM: &str = "[[vm]]\nversion = \"11.1\"\nmemory = 4096\nbandwidth = 1200\nlimit = 300\n";
const DEVICE: &str = "[[device]]\nfeatures = [\"stop-copy\", \"p2p\"]\nstate = 64\n";

fn answer(library: &Library, text: &str) -> Answer {
    let vm = Vm::read(library, "vm.toml", text).unwrap_or_else(|errors| panic!("{errors:?}"));
    let explorer = Explorer::new(Limits::default(), &|_| {});
    Answer::of(&explorer, library, &vm).unwrap_or_else(|error| panic!("{error:?}"))
}

/// Each VM, and whether it can migrate: what management can be told.
#[test]
fn vms() {
    let library = builtin();
    let vm = |old: &str, new: &str| VM.replacen(old, new, 1);
    let with = |keys: &str| format!("{VM}{DEVICE}{keys}");
    let two = |keys: &str| format!("{}{DEVICE}{keys}", with(keys));
    let on = format!("{VM}enable-migration = \"on\"\n");
    let asked: [(&str, String, bool); 26] = [
        ("memory alone", VM.to_owned(), true),
        ("a limit of 0", vm("300", "0"), true),
        ("a limit of 0, with the rule of 11.0", vm("300", "0").replace("11.1", "11.0"), false),
        ("a limit of 0 by libvirt", vm("300", "0") + "layer = \"libvirt\"\n", false),
        ("any downtime, which QEMU has no word for", vm("300", "\"unlimited\""), false),
        ("a limit that QEMU does not take", vm("300", "2000001"), false),
        ("no bandwidth and no limit", vm("300", "\"unlimited\"").replace("1200", "0"), false),
        (
            "a capability that lacks another",
            format!("{VM}capabilities = [\"switchover-ack\"]\n"),
            false,
        ),
        ("many devices", with("log = true\ncount = 8\n"), false),
        (
            "8.0, where VFIO migration is off by default",
            with("log = true\n").replace("11.1", "8.0"),
            false,
        ),
        (
            "one device logs its writes, of the other the IOMMU does",
            {
                let second = DEVICE.to_owned() + "iommu-log = true\n";
                with("log = true\n") + &second
            },
            false,
        ),
        (
            "more memory than a bitmap of type 1 covers",
            {
                format!("{on}{DEVICE}")
                    .replace("4096", "16777216")
                    .replace("= 1200", "= 1048576")
                    .replace("300", "100000")
            },
            false,
        ),
        ("no bandwidth", vm("1200", "0"), false),
        ("postcopy and no device", format!("{VM}capabilities = [\"postcopy-ram\"]\n"), true),
        ("a device that logs its writes", with("log = true\n"), true),
        ("a device behind an IOMMU with a log", with("iommu-log = true\n"), true),
        (
            "the same in a version without iommufd's log",
            { with("iommu-log = true\n").replace("11.1", "9.0") },
            false,
        ),
        ("a device that is not asked", with("log = true\nasked = false\n"), false),
        ("nothing tracks its writes", with(""), false),
        ("nothing tracks its writes, and it is to migrate", format!("{on}{DEVICE}"), false),
        (
            "the same with a limit for all of memory",
            { format!("{on}{DEVICE}").replace("300", "3467") },
            true,
        ),
        (
            "a vIOMMU, up to 10.2",
            { format!("{VM}viommu = true\n{DEVICE}iommu-log = true\n").replace("11.1", "10.2") },
            false,
        ),
        (
            "a vIOMMU and a device that logs its writes",
            { format!("{VM}viommu = true\n{DEVICE}log = true\niommu-log = true\n") },
            false,
        ),
        ("two devices", two("log = true\n"), true),
        (
            "two devices, one without P2P",
            {
                format!(
                    "{}[[device]]\nfeatures = [\"stop-copy\"]\nlog = true\nstate = 0\n",
                    with("log = true\n")
                )
            },
            false,
        ),
        (
            "a device with more state than the limit allows",
            { with("log = true\n").replace("state = 64", "state = 2000") },
            false,
        ),
    ];
    let mut told = String::new();
    for (name, text, can) in asked {
        let answer = answer(&library, &text);
        assert_eq!(answer.can_migrate, Some(can), "{name}: {}", answer.text(true));
        assert_eq!(answer.reasons.is_empty(), can, "{name}");
        told += &format!("{name}\n{}\n", answer.text(true));
    }
    insta::assert_snapshot!(told);
}

/// What is violated is shown with the trace of the model.
#[test]
fn a_violated_property_has_its_trace() {
    let library = builtin();
    let on = format!("{VM}enable-migration = \"on\"\n{DEVICE}");
    insta::assert_snapshot!(answer(&library, &on).text(false));
}

/// A run that a bound cuts short gives no answer, and asks for no change.
#[test]
fn a_run_that_is_cut_short_gives_no_answer() {
    let library = builtin();
    let vm = Vm::read(&library, "vm.toml", VM).unwrap();
    let limits = Limits { max_states: Some(5), ..Limits::default() };
    let answer = Answer::of(&Explorer::new(limits, &|_| {}), &library, &vm).unwrap();
    assert_eq!(answer.can_migrate, None);
    assert!(answer.changes.is_empty() && answer.reasons.is_empty());
    // A refusal needs no exploration, and what would help does.
    let refused = format!("{VM}{DEVICE}");
    let vm = Vm::read(&library, "vm.toml", &refused).unwrap();
    let answer = Answer::of(&Explorer::new(limits, &|_| {}), &library, &vm).unwrap();
    assert_eq!(answer.can_migrate, Some(false));
    assert!(answer.changes.is_empty() && answer.changes_cut, "{}", answer.text(true));
}

/// None of the sets of changes contains another, and the longest has three.
#[test]
fn sets_of_changes_are_minimal() {
    let library = builtin();
    let text =
        VM.replace("11.1", "9.0") + "capabilities = [\"multifd\", \"postcopy-ram\"]\n" + DEVICE;
    let answer = answer(&library, &text);
    assert!(answer.changes.len() > 3, "{}", answer.text(true));
    for one in &answer.changes {
        assert!(one.len() <= 3);
        let contains =
            |other: &&Vec<_>| *other != one && other.iter().all(|change| one.contains(change));
        assert!(!answer.changes.iter().any(|other| contains(&other)), "{one:?}");
    }
}

#[test]
fn what_can_be_wrong_with_a_description() {
    let library = builtin();
    let wrong = [
        "",
        "[[vm]]\n",
        "this is no TOML",
        "[[vm]]\nversion = \"eleven\"\nmemory = 0\nbandwidth = 1\nlimit = \"any\"\n\
         layer = \"libvrt\"\ncapabilities = [\"multifdd\"]\nviomu = true\n\
         [[device]]\nfeatures = [\"p2p\"]\nstate = 18446744073709551615\n\
         [[device]]\nfeatures = [\"stop-kopy\"]\nstate = 1.5\n[[device]]\nfeatures = [\"stop-copy\"]\nstate = 0\ncount = 0\n\
         [[system]]\nname = \"other\"\n",
        &format!("{VM}{VM}"),
    ];
    let mut told = String::new();
    for text in wrong {
        let errors = Vm::read(&library, "vm.toml", text).unwrap_err();
        GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
            .with_width(100)
            .render_report(&mut told, &errors)
            .unwrap();
        told += "\n----\n";
    }
    insta::assert_snapshot!(told.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"));
}

/// Every combination of facts has an answer in every version, and the capabilities that rows name exist.
#[test]
fn the_matrix_is_total() {
    use devmig_model::protocol::migration::tracking::{FACTS, Facts, Gives};
    let library = builtin();
    let tracking = &library.migration().tracking;
    let mut given = std::collections::BTreeSet::new();
    for version in ["7.2", "8.0", "8.1", "8.2", "9.0", "9.1", "10.0", "11.0", "11.1"] {
        let release = version.parse().unwrap();
        for bits in 0_u32..1 << FACTS.len() {
            let facts = FACTS.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
            let facts: Facts = facts.map(|(_, (word, _))| (*word).to_owned()).collect();
            let tracker = tracking.tracker(&release, &facts).unwrap();
            assert_ne!(tracker.gives, Gives::Refused);
            given.insert(tracker.name.clone());
            given.extend(tracking.refusals(&release, &facts).map(|row| row.name.clone()));
        }
    }
    for row in &tracking.rows {
        let capability = row.when.iter().find_map(|(word, _)| word.strip_prefix("capability "));
        match capability {
            None => assert!(given.contains(&row.name), "{} never applies", row.name),
            Some(name) => {
                let all = &library.multifd().capabilities.all;
                assert!(all.iter().any(|known| known.name == name), "{name}");
            }
        }
    }
}
