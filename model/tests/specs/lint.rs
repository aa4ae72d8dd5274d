//! What a proposal says to no effect is a warning with its place; and every mistake of a file is reported at
//! once.

#![allow(clippy::unwrap_used)]

use devmig_model::registry::Library;
use devmig_model::spec::{SpecError, builtin_proposals};

use crate::common::{builtin, errors};

const HEAD: &str = "\
[[proposal]]
id = \"p\"
title = \"P\"
about = \"P.\"
";
const SYSTEMS: &str = "systems = [\"vhost-user/ring\"]\n";

fn warnings_of(text: &str) -> Vec<SpecError> {
    match Library::with_proposal("p.toml", text) {
        Ok(library) => library.warnings,
        Err(found) => panic!("{}", errors(&found)),
    }
}

/// Every warning, drawn; each of them is one, and its place is in the file.
fn drawn(text: &str) -> String {
    let warnings = warnings_of(text);
    assert!(!warnings.is_empty(), "{text}");
    for warning in &warnings {
        assert!(warning.is_warning() && warning.file() == Some("p.toml"), "{warning:?}");
    }
    warnings.iter().map(|warning| errors(warning)).collect::<Vec<_>>().join("\n\n")
}

/// A text with a choice of this id, between two options, at its line `CHOICE`.
fn with_choice(text: &str, id: &str) -> String {
    let choice = r#"[[choice]]
id = "ID"
question = "One or two?"
default = "one"
source = "founding-threads@2023-05"
place = ["P"]

[[choice.option]]
name = "one"
text = "One."

[[choice.option]]
name = "two"
text = "Two."
"#;
    text.replace("CHOICE\n", &choice.replace("ID", id))
}

#[test]
fn no_shipped_file_has_warnings() {
    assert!(builtin().warnings.is_empty());
    for (name, text) in builtin_proposals() {
        let library = Library::with_proposal(&name, &text).unwrap();
        let drawn: Vec<_> = library.warnings.iter().map(|warning| errors(warning)).collect();
        assert!(drawn.is_empty(), "{}", drawn.join("\n"));
    }
}

#[test]
fn rows_that_never_apply() {
    let rows = r#"
[[clause]]
id = "vhost-user.p.rule"
level = "MUST"
party = "front-end"
source = "founding-threads@2023-05"
place = ["P"]
text = "P."

CHOICE

[[message]]
name = "SET_OWNER"
row = [
    { when = ["owned", "zero"], receive = ["own"] },
    { when = ["owned", "not owned"], receive = ["own"] },
    { when = ["born"], breaks = "vhost-user.p.rule" },
    { when = ["born", "mapped"], receive = ["own"] },
    { when = ["zero", "mtu"], receive = ["own"] },
    { when = ["zero", "owned", "halted"], receive = ["own"] },
    { receive = ["own"] },
    { when = ["owned"], receive = ["own"] },
]

[[message]]
name = "RESET_OWNER"
row = [
    { choice = "vhost-user.p.two = one", receive = ["own"] },
    { when = ["owned"], choice = "vhost-user.p.two = one", receive = ["own"] },
    { when = ["owned"], choice = "vhost-user.p.two = two", receive = ["own"] },
    { choice = "vhost-user.p.two = two", receive = ["own"] },
    { when = ["zero"], receive = ["own"] },
]
"#;
    let rows = with_choice(rows, "vhost-user.p.two");
    insta::assert_snapshot!(drawn(&format!("{HEAD}{SYSTEMS}{rows}")));
}

#[test]
fn what_nothing_uses() {
    let unused = r#"
[[clause]]
id = "vhost-user.p.unused"
level = "MUST"
party = "back-end"
source = "founding-threads@2023-05"
place = ["P"]
text = "P."

[[clause]]
id = "vhost-user.p.used"
level = "MUST"
party = "front-end"
source = "founding-threads@2023-05"
place = ["P"]
text = "P."

CHOICE

[[program]]
protocol = "vhost-user"
name = "unused"
about = "P."
steps = ["kick"]

[[program]]
protocol = "vhost-user"
name = "used"
about = "P."
steps = ["kick"]

[[property]]
protocol = "vhost-user"
name = "unused-property"
says = "P."
never = "guest.running"

[[property]]
protocol = "vhost-user"
name = "used-property"
says = "P."
reachable = "guest.running"

[[message]]
name = "SET_OWNER"
row = [{ when = ["owned"], breaks = "vhost-user.p.used" }]

[[system]]
protocol = "vhost-user"
name = "vhost-user/p"
about = "P."
choices = ["vhost-user.p.fixed-only = two"]
run = ["run connect", "run qemu-start", "run used"]
holds = ["used-property"]
"#;
    let unused = with_choice(unused, "vhost-user.p.fixed-only");
    insta::assert_snapshot!(drawn(&format!("{HEAD}{SYSTEMS}{unused}")));
}

#[test]
fn a_row_of_tracking_that_never_applies() {
    let row = "\n[[tracking]]\nname = \"p\"\nwhen = [\"viommu\", \"not viommu\"]\ngives = \"device\"\n\
               text = \"P.\"\n";
    insta::assert_snapshot!(drawn(&format!("{HEAD}{SYSTEMS}{row}")));
}

#[test]
fn a_proposal_without_a_system() {
    insta::assert_snapshot!(drawn(HEAD));
    assert!(warnings_of(&format!("{HEAD}{SYSTEMS}")).is_empty());
}

#[test]
fn an_expectation_that_no_system_checks() {
    let expect = |violated: &str| {
        format!(
            "{HEAD}{SYSTEMS}\n[[expect]]\nsystem = \"vhost-user/ring\"\nunder = []\n\
             violated = [\"{violated}\"]\n"
        )
    };
    insta::assert_snapshot!(drawn(&expect("saved-state-is-whole")));
    for checked in ["base-is-next", "base-is-next: non-vacuous", "rules-kept"] {
        assert!(warnings_of(&expect(checked)).is_empty(), "{checked}");
    }
}

#[test]
fn a_system_in_the_place_of_a_built_in_one() {
    let system = "\n[[system]]\nprotocol = \"vdpa\"\nname = \"vdpa/suspend-resume\"\nabout = \"P.\"\n\
                  run = [\"run start\"]\n";
    insta::assert_snapshot!(drawn(&format!("{HEAD}{SYSTEMS}{system}")));
    let meant = "systems = [\"vdpa/suspend-resume\"]\n";
    assert!(warnings_of(&format!("{HEAD}{meant}{system}")).is_empty());
}

#[test]
fn a_choice_of_another_protocol_is_an_error() {
    let foreign = r#"
[[system]]
protocol = "vdpa"
name = "vdpa/p"
about = "P."
choices = ["vhost-user.ring.start = kick"]
run = ["run start"]

[[system]]
protocol = "migration"
name = "migration/p"
about = "A migration has VFIO devices, so it has their choices too."
devices = []
pages = 1
limit = 1
choices = ["vfio.stop.answers = all", "vdpa.suspend.in-flight = drain"]
run = ["check", "complete"]

[[expect]]
system = "vhost-user/ring"
under = ["vdpa.suspend.in-flight = hold"]

[[decide]]
system = "vhost-user/ring"
choices = ["vdpa.suspend.in-flight"]
"#;
    let found = Library::with_proposal("p.toml", &format!("{HEAD}{SYSTEMS}{foreign}"));
    insta::assert_snapshot!(errors(&found.unwrap_err()));
}

/// Wrong types, missing keys, unknown keys, words, names and warnings: one answer has all of them, and no
/// complaint about what only an unreadable item would have brought.
#[test]
fn every_stage_reports_at_once() {
    let wrong = r#"
[[feature]]
name = 7
bit = "many"
opt-inn = true

[[message]]
name = "NEW"
request = "none"
id = "x"
row = [{ when = 1, receive = ["own"] }]

[[message]]
row = []
gate = "NO_SUCH"

[[system]]
protocol = "vhost-user"
name = "vhost-user/lost"
requests = "two"
holds = "all"

[[program]]
protocol = "vhost-user"
name = "p"
about = "P."
steps = ["NEW", "NOT_A_STEP"]

[[system]]
protocol = "vhost-user"
name = "vhost-user/p"
about = "P."
run = ["run p", "NEW", "NO_SUCH_STEP"]
holds = ["no-such-property"]

[[expect]]
system = "vhost-user/lost"
under = ["no.such = choice"]

[[message]]
name = "SET_OWNER"
row = [{ receive = ["no-such-word"] }, { receive = ["own"] }]
"#;
    let found = Library::with_proposal("p.toml", &format!("{HEAD}{SYSTEMS}{wrong}"));
    insta::assert_snapshot!(errors(&found.unwrap_err()));
}

/// Traces print numbers in hexadecimal, so a program may be made of them.
#[test]
fn numbers_may_be_hexadecimal() {
    let system = |name: &str, number: &str| {
        format!(
            "\n[[system]]\nprotocol = \"vhost-user\"\nname = \"vhost-user/{name}\"\nabout = \"P.\"\n\
             sizes = [\"rings={number}\"]\nwhy = \"P.\"\n\
             run = [\"run connect\", \"SET_MEM_TABLE {number}\", \"GET_FEATURES until {number}\"]\n"
        )
    };
    let text = format!("{HEAD}{}{}", system("decimal", "1"), system("hexadecimal", "0x1"));
    let library = Library::with_proposal("p.toml", &text).unwrap();
    let systems = &library.vhost_user().systems;
    let [one, other] = ["decimal", "hexadecimal"]
        .map(|name| systems.named(&format!("vhost-user/{name}")).unwrap());
    assert_eq!(one.steps, other.steps);
    assert_eq!(one.common.speaks, other.common.speaks);
    for wrong in ["0x", "0xg", "0x+1", "x1"] {
        let text = format!("{HEAD}{}", system("wrong", wrong));
        assert!(Library::with_proposal("p.toml", &text).is_err(), "{wrong}");
    }
}
