//! What a file of vhost-user can say: any feature bit and number, and an error for what cannot be explored.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

use devmig_engine::explore::Options;
use devmig_engine::explore::report::{PropertyVerdict, Report};
use devmig_model::registry::Library;
use miette::{GraphicalReportHandler, GraphicalTheme};

use crate::common::proposal;

const HEAD: &str = "[[proposal]]\nid = \"x\"\ntitle = \"x\"\nabout = \"x\"\n";

fn run(library: &Library, name: &str) -> Report {
    library.find(name, &[]).unwrap().check(&Options::default()).unwrap()
}

/// The states of a front-end that acknowledges what was not offered, where a proposal takes this bit.
fn states_with_bit(bit: u8) -> u64 {
    let text = format!(
        "{HEAD}
[[feature]]
name = \"NEXT\"
bit = {bit}
[[message]]
name = \"NEXT_MSG\"
id = 66
request = \"none\"
gate = \"NEXT\"
row = [{{}}]
[[system]]
name = \"vhost-user/next\"
about = \"x\"
requests = 1
features = [\"STATUS\", \"NEXT\"]
run = [\"GET_FEATURES\", \"GET_PROTOCOL_FEATURES\"]
then = [\"SET_FEATURES\", \"SET_PROTOCOL_FEATURES\", \"GET_STATUS\", \"NEXT_MSG\"]
holds = [\"only-offered-features\", \"only-negotiated-messages\"]
"
    );
    let report = run(&Library::with_proposal("next.toml", &text).unwrap(), "vhost-user/next");
    assert!(report.as_expected && report.incomplete.is_none(), "bit {bit}: {}", report.text());
    report.states
}

/// Whichever bit a proposal takes, its system has the same states: no bit is too high, and none is the
/// one that the front-end acknowledges although it was not offered.
#[test]
fn a_proposal_may_take_any_bit() {
    let states = states_with_bit(25);
    for bit in 24..64 {
        assert_eq!(states_with_bit(bit), states, "bit {bit}");
    }
}

/// Every protocol feature that is built in can be offered, and every virtio feature.
#[test]
fn every_feature_can_be_offered() {
    let base = Library::builtin().unwrap();
    for feature in &base.vhost_user().table.features {
        let text = format!(
            "{HEAD}[[system]]\nname = \"vhost-user/one\"\nabout = \"x\"\nrequests = 1\n\
             features = [\"{}\"]\nvirtio = [{}]\nrun = [\"run connect\", \"run qemu-start\"]\n",
            feature.name,
            63 - feature.bit
        );
        let library = Library::with_proposal("one.toml", &text).unwrap();
        let report = run(&library, "vhost-user/one");
        assert!(report.incomplete.is_none(), "{}", report.text());
    }
}

/// A failed load that is reported as a success is noticed.
#[test]
fn a_failed_load_must_be_reported() {
    let library = proposal("state-again");
    let clause = library.spec.clause("vhost-user.device-state.check-reports").unwrap();
    let name = "vhost-user/load-again";
    let def = library.vhost_user().systems.named(name).unwrap().clone();
    let rules = library.rules(&def).without(clause);
    let report = library.vhost_user().check(&def, rules).check(&Options::default()).unwrap();
    let found = report.property("failed-load-is-reported").unwrap();
    assert_eq!(found.verdict, PropertyVerdict::Violated);
}

/// What cannot be explored is an error of the file, never a run that ends early.
#[test]
fn what_cannot_be_explored_is_an_error() {
    let system =
        |keys: &str| format!("[[system]]\nname = \"vhost-user/x\"\nabout = \"x\"\n{keys}\n");
    let message = |rows: &str| {
        format!("[[message]]\nname = \"X\"\nid = 70\nrequest = \"none\"\nrow = [{rows}]\n")
    };
    let mut out = String::new();
    for text in [
        system("run = [\"SET_VRING_NUM 4\"]"),
        system("run = [\"SET_STATUS 0x80\"]"),
        system("run = [\"SET_MEM_TABLE 9\"]"),
        system("run = [\"SET_LOG_BASE 3\"]"),
        system("run = []\nthen = [\"SET_VRING_BASE 8\"]"),
        system("run = []\nthen = [\"SET_VRING_BSE 1\"]"),
        system("endless = true\nrun = [\"SET_VRING_BASE 0\"]"),
        system("virtio = [64]\nrun = []"),
        system("run = []\ninterpretations.guest = []"),
        system("run = [\"SET_DEVICE_STATE_FD keep phase 1\"]"),
        message("{ receive = [\"stop-and-drain-all\"] }"),
        format!("[[message]]\nname = \"GET_FEATURES\"\nrow = [{}]\n", "{},".repeat(16)),
    ] {
        let error = Library::with_proposal("x.toml", &format!("{HEAD}{text}")).unwrap_err();
        writeln!(out, "{text}").unwrap();
        let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor());
        handler.with_width(80).render_report(&mut out, &error).unwrap();
        out.push('\n');
    }
    insta::assert_snapshot!(out);
}
