//! What the registry holds: no item is read and then ignored, and no order in a file decides a rule.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use devmig_engine::explore::report::PropertyVerdict;
use devmig_engine::explore::{Options, Report};
use devmig_model::protocol::definition::SystemList;
use devmig_model::registry::{self, Library};
use devmig_model::spec::builtin_files;

use crate::common::builtin;

const HEAD: &str = "\
[[proposal]]
id = \"one\"
title = \"One\"
about = \"One item of some kind.\"
";

/// A kind of item with one that a proposal can hold, and where it is found afterwards; or the word
/// with which it is refused.
type Kind = (&'static str, &'static str, Result<fn(&Library) -> bool, &'static str>);

fn kinds() -> Vec<Kind> {
    vec![
        (
            "source",
            "id = \"new\"\ntitle = \"New\"\nurl = \"https://example.invalid\"\ndigests = false\n\
             parties = [\"device\"]\n[[source.version]]\nname = \"1\"\ndate = \"2026-01-01\"\n",
            Ok(|l| l.spec.sources().iter().any(|s| s.id == "new")),
        ),
        (
            "clause",
            "id = \"vdpa.new.clause\"\nlevel = \"MUST\"\nparty = \"device\"\ntext = \"New.\"\n\
             source = \"linux-vhost@6.18\"\nplace = [\"VHOST_VDPA_SUSPEND\"]\n\
             digest = \"sha256:aac02ddae6f1f73a6029d572d72027d2dd1ae9eb708ae01557b4ff3cebaef51d\"\n",
            Ok(|l| l.spec.clause("vdpa.new.clause").is_ok()),
        ),
        (
            "choice",
            "id = \"vdpa.new.choice\"\nquestion = \"Q?\"\ndefault = \"a\"\n\
             source = \"linux-vhost@6.18\"\nplace = [\"VHOST_VDPA_SUSPEND\"]\n\
             digest = \"sha256:aac02ddae6f1f73a6029d572d72027d2dd1ae9eb708ae01557b4ff3cebaef51d\"\n\
             [[choice.option]]\nname = \"a\"\ntext = \"A.\"\n\
             [[choice.option]]\nname = \"b\"\ntext = \"B.\"\n",
            Ok(|l| l.spec.choice("vdpa.new.choice").is_ok()),
        ),
        (
            "exception",
            "clause = \"vdpa.*\"\nwhat = [\"test\"]\nreason = \"None.\"\n",
            Err("a proposal has no `[[exception]]`"),
        ),
        ("proposal", "", Ok(|l| l.proposal.is_some())),
        (
            "scheme-expect",
            "scheme = \"A7 opaque string\"\nviolated = [\"rollback\"]\n",
            Ok(|l| l.proposal.as_ref().is_some_and(|p| p.schemes.len() == 1)),
        ),
        (
            "compat-expect",
            "about = \"One.\"\nsource = \"\"\ndestination = \"\"\nanswer = \"invalid\"\n",
            Ok(|l| l.proposal.as_ref().is_some_and(|p| p.descriptions.len() == 1)),
        ),
        (
            "expect",
            "system = \"vdpa/suspend-resume\"\nunder = []\n",
            Ok(|l| l.proposal.as_ref().is_some_and(|p| p.expects.len() == 1)),
        ),
        (
            "decide",
            "system = \"vdpa/suspend-resume\"\nchoices = [\"vdpa.suspend.in-flight\"]\n",
            Ok(|l| l.decisions.len() > builtin().decisions.len()),
        ),
        (
            "feature",
            "name = \"NEW\"\nbit = 44\n",
            Ok(|l| l.vhost_user().table.feature("NEW") == Some(44)),
        ),
        (
            "message",
            "name = \"NEW\"\nid = 90\nrequest = \"none\"\nrow = [{}]\n",
            Ok(|l| l.vhost_user().table.named("NEW").is_some()),
        ),
        (
            "back-end-message",
            "name = \"NEW\"\nid = 90\nrequest = \"none\"\n",
            Ok(|l| l.vhost_user().table.back_end_named("NEW").is_some()),
        ),
        (
            "program",
            "protocol = \"vhost-user\"\nname = \"new\"\nabout = \"New.\"\nsteps = [\"kick\"]\n",
            Ok(|l| l.vhost_user().programs.steps("new", 0).is_ok()),
        ),
        (
            "system",
            "protocol = \"vdpa\"\nname = \"vdpa/new\"\nabout = \"New.\"\nrun = [\"run start\"]\n",
            Ok(|l| l.find("vdpa/new", &[]).is_some()),
        ),
        (
            "bug",
            "protocol = \"vhost-user\"\nid = \"new\"\nseen = \"here\"\nabout = \"New.\"\n\
             system = \"vhost-user/stop-start\"\ncaught = [\"deadlock-free\"]\n",
            Ok(|l| l.bugs().iter().any(|bug| bug.id == "new" && bug.proposed)),
        ),
        (
            "property",
            "protocol = \"vhost-user\"\nname = \"new\"\nsays = \"New.\"\nreachable = \"guest.running\"\n",
            Ok(|l| l.vhost_user().systems.written().iter().any(|own| own.name == "new")),
        ),
        (
            "vfio-feature",
            "name = \"new\"\nbit = 9\n",
            Ok(|l| l.vfio().table.feature("new").is_some()),
        ),
        (
            "vfio-state",
            "name = \"NEW\"\nvalue = 9\nneeds = []\nruns = false\ndma = \"none\"\nsession = \"none\"\n",
            Ok(|l| l.vfio().table.named("NEW").is_some()),
        ),
        (
            "vfio-arc",
            "from = \"RESUMING\"\nto = \"RUNNING\"\n",
            Ok(|l| l.vfio().table.arcs.len() > builtin().vfio().table.arcs.len()),
        ),
        (
            "vfio-pair",
            "from = \"STOP_COPY\"\nto = \"PRE_COPY\"\nhow = \"slow\"\nby = \"text\"\n",
            Err("`slow` is not a value of this key"),
        ),
        ("vfio-expect", "changes = []\n", Err("this proposal changes no feature")),
        (
            "multifd-capability",
            "name = \"new\"\n",
            Ok(|l| l.multifd().capabilities.all.len() > builtin().multifd().capabilities.all.len()),
        ),
        (
            "multifd-exclusion",
            "capability = \"multifd\"\nexcludes = [\"xbzrle\"]\nsays = \"no\"\n",
            Ok(|l| {
                let before = builtin().multifd().capabilities.exclusions.len();
                l.multifd().capabilities.exclusions.len() > before
            }),
        ),
        (
            "multifd-parameter-rule",
            "capability = \"xbzrle\"\nparameters = [\"tls-creds\"]\nrefuses = \"second\"\nsays = \"no\"\n",
            Ok(|l| l.multifd().parameters.len() > builtin().multifd().parameters.len()),
        ),
        (
            "multifd-transport",
            "name = \"new\"\nuri = \"new:1\"\n",
            Ok(|l| l.multifd().transports.all.len() > builtin().multifd().transports.all.len()),
        ),
        (
            "multifd-transport-rule",
            "capability = \"xbzrle\"\nneeds = \"seekable\"\nsays = \"no\"\n",
            Ok(|l| l.multifd().transports.rules.len() > builtin().multifd().transports.rules.len()),
        ),
        (
            "tracking",
            "name = \"new\"\nwhen = [\"viommu\"]\ngives = \"device\"\ntext = \"New.\"\n",
            Ok(|l| l.migration().tracking.rows.iter().any(|row| row.name == "new")),
        ),
        (
            "release",
            "since = \"11.2\"\nchoices = [\"migration.recheck = fail\"]\nplace = [\"here\"]\n",
            Ok(|l| {
                let before = builtin().migration().releases.manners.len();
                l.migration().releases.manners.len() > before
            }),
        ),
        (
            "downtime-range",
            "layer = \"new\"\nleast = 1\nplace = [\"here\"]\ntext = \"New.\"\n",
            Ok(|l| l.migration().releases.ranges.iter().any(|range| range.layer == "new")),
        ),
        ("device-model-release", "name = \"new\"\nabout = \"New.\"\nparameters = []\n", Err("")),
    ]
}

/// Every kind of item is found again after it was read, or refused; a new kind has to be put here.
#[test]
fn no_kind_of_item_is_read_and_ignored() {
    let listed: BTreeSet<&str> = kinds().iter().map(|(kind, ..)| *kind).collect();
    assert_eq!(listed, registry::kinds().into_iter().collect());
    for (kind, text, outcome) in kinds() {
        let text = match kind {
            "proposal" => HEAD.to_owned(),
            _ => format!("{HEAD}\n[[{kind}]]\n{text}"),
        };
        let loaded = Library::with_proposal("one.toml", &text);
        match (outcome, loaded) {
            (Ok(found), Ok(library)) => assert!(found(&library), "{kind}"),
            (Err(word), Err(errors)) => {
                let said = format!("{:?}", miette::Report::new(errors));
                assert!(said.contains(word), "{kind}: {said}");
            }
            (Ok(_), Err(errors)) => panic!("{kind}: {:?}", miette::Report::new(errors)),
            (Err(_), Ok(_)) => panic!("{kind} is taken"),
        }
    }
}

fn said(text: &str) -> String {
    match Library::with_proposal("one.toml", &format!("{HEAD}\n{text}")) {
        Ok(_) => "no error".to_owned(),
        Err(errors) => format!("{:?}", miette::Report::new(errors)),
    }
}

/// A list of options fixes each choice once, whatever item it stands in.
#[test]
fn a_choice_is_fixed_once() {
    let twice = "[\"migration.recheck = no\", \"migration.recheck = fail\"]";
    let system = "protocol = \"vdpa\"\nname = \"vdpa/x\"\nabout = \"X.\"\nrun = [\"run start\"]\n";
    for text in [
        format!("[[system]]\n{system}choices = {twice}\n"),
        format!("[[release]]\nplace = [\"here\"]\nchoices = {twice}\n"),
        format!("[[expect]]\nsystem = \"vdpa/suspend-resume\"\nunder = {twice}\n"),
    ] {
        assert!(
            said(&text).contains("`migration.recheck` is fixed twice"),
            "{text}{}",
            said(&text)
        );
    }
}

/// What an author reads who writes the old form, forgets the protocol, or gets it wrong.
#[test]
fn items_say_whose_they_are() {
    let mut out = String::new();
    for text in [
        "[[vfio-system]]\nname = \"vfio/x\"\n",
        "[[device-model-system]]\nname = \"device-model/x\"\n",
        "[[system]]\nname = \"x\"\n",
        "[[program]]\nname = \"x\"\n",
        "[[system]]\nname = \"vdpa/x\"\n[[system]]\nname = \"vfio/x\"\n[[bug]]\nid = \"x\"\n",
        "[[system]]\nprotocol = \"vpda\"\nname = \"vdpa/x\"\n",
        "[[system]]\nprotocol = \"ring\"\nname = \"ring/x\"\n",
        "[[bug]]\nprotocol = \"vfio\"\nid = \"x\"\n",
        "[[system]]\nprotocol = \"vdpa\"\nname = \"vfio/stop-copy\"\nabout = \"x\"\nrun = []\n",
        "[[system]]\nprotocol = \"vdpa\"\nname = \"vdpa/x\"\nabout = \"x\"\nrun = [\"SUSPED\"]\n",
        "[[vfio-arc]]\nfrom = \"RESUMING\"\nto = \"RUNNING\"\n[[vfio-expect]]\n[[vfio-expect]]\n",
    ] {
        writeln!(out, "{text}{}", said(text)).unwrap();
    }
    insta::assert_snapshot!(out);
}

/// A system's name says whose it is, and the systems of a file say whose its programs are.
#[test]
fn the_protocol_is_that_of_the_name() {
    let text = format!(
        "{HEAD}
[[program]]
name = \"twice\"
about = \"Suspended twice.\"
steps = [\"SUSPEND\", \"RESUME\", \"SUSPEND\", \"RESUME\"]
[[system]]
name = \"vdpa/twice\"
about = \"Suspended twice.\"
run = [\"run twice\"]
"
    );
    let library = Library::with_proposal("one.toml", &text).unwrap();
    let system = library.find("vdpa/twice", &[]).unwrap();
    assert_eq!(system.protocol(), "vdpa");
}

/// A proposal names, changes and adds systems and programs of every protocol that has them as data.
#[test]
fn a_proposal_touches_systems_of_vdpa() {
    let text = format!(
        "{}systems = [\"vdpa/suspend-resume\", \"vdpa/base-without-suspend\"]\n
[[program]]
protocol = \"vdpa\"
name = \"start\"
about = \"The device before its ring.\"
steps = [\"SET_STATUS DRIVER_OK\", \"SET_VRING_BASE read\", \"SET_VRING_ENABLE 1\", \"vcpus run\"]

[[system]]
protocol = \"vdpa\"
name = \"vdpa/twice\"
about = \"Suspended twice.\"
run = [\"run start\", \"SUSPEND\", \"RESUME\", \"SUSPEND\", \"RESUME\"]
holds = [\"nothing-processed-while-suspended\", \"no-request-lost\"]
",
        HEAD
    );
    let library = Library::with_proposal("one.toml", &text).unwrap();
    assert_eq!(library.proposal.as_ref().unwrap().systems.len(), 2);
    let report = library.find("vdpa/twice", &[]).unwrap().check(&Options::default()).unwrap();
    assert!(report.as_expected && report.incomplete.is_none(), "{}", report.text());
    let steps = |library: &Library| {
        library.vdpa().systems.named("vdpa/suspend-resume").unwrap().steps.clone()
    };
    assert_ne!(steps(&library), steps(&builtin()));
}

/// The files with the options of every choice in the opposite order.
fn reversed() -> Vec<(String, String)> {
    let turn = |text: &str| {
        let mut out = String::new();
        // An option begins with its header; what follows up to an empty line and no option ends it.
        let mut options: Vec<String> = Vec::new();
        let flush = |options: &mut Vec<String>, out: &mut String| {
            options.drain(..).rev().for_each(|option| out.push_str(&option));
        };
        for line in text.split_inclusive('\n') {
            let header = line.trim_start().starts_with("[[");
            if line.trim() == "[[choice.option]]" {
                options.push(line.to_owned());
            } else if header || options.is_empty() {
                flush(&mut options, &mut out);
                out.push_str(line);
            } else if let Some(last) = options.last_mut() {
                last.push_str(line);
            }
        }
        if let Some(last) = options.last_mut()
            && !last.ends_with('\n')
        {
            last.push('\n');
        }
        flush(&mut options, &mut out);
        out
    };
    builtin_files().into_iter().map(|(name, text)| (name, turn(&text))).collect()
}

fn verdicts(report: &Report) -> Vec<(String, PropertyVerdict)> {
    let mut all: Vec<_> = report.properties.iter().map(|p| (p.name.clone(), p.verdict)).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// The systems that are small enough to be explored in every run of the tests.
const SMALL: u64 = 20_000;

/// Options are known by their names: whatever their order in the files, every small system has the
/// same states and the same verdicts.
#[test]
fn the_order_of_options_decides_no_rule() {
    let (forwards, backwards) = (builtin(), Library::load(reversed(), None).unwrap());
    let mut turned = 0;
    for (one, other) in forwards.spec.choices().iter().zip(backwards.spec.choices()) {
        let names = |choice: &devmig_model::spec::Choice| -> Vec<String> {
            choice.options.iter().map(|option| option.name.clone()).collect()
        };
        let mut back = names(other);
        back.reverse();
        assert_eq!((&one.id, names(one)), (&other.id, back));
        turned += 1;
    }
    assert!(turned > 40);
    let mut options = Options::default();
    options.limits.max_states = Some(SMALL);
    let mut compared = 0;
    for (one, other) in forwards.catalogue(&[]).iter().zip(&backwards.catalogue(&[])) {
        assert_eq!(one.name(), other.name());
        let (a, b) = (one.check(&options).unwrap(), other.check(&options).unwrap());
        assert_eq!((a.states, verdicts(&a)), (b.states, verdicts(&b)), "{}", one.name());
        compared += usize::from(a.incomplete.is_none());
    }
    assert!(compared > 40, "{compared}");
}

/// The same of the tables of decisions about small systems: each option has its own row, wherever it
/// stands.
#[test]
fn the_order_of_options_decides_no_decision() {
    let (forwards, backwards) = (builtin(), Library::load(reversed(), None).unwrap());
    let rows = |library: &Library, index: usize| -> BTreeSet<String> {
        let question = &library.decisions[index];
        let mut all = BTreeSet::new();
        for id in &question.choices {
            let choice = library.spec.get_choice(*id).unwrap();
            for (at, option) in choice.options.iter().enumerate() {
                let system = library.find(&question.system, &[(*id, at as u8)]).unwrap();
                let mut options = Options::default();
                options.limits.max_states = Some(SMALL);
                let report = system.check(&options).unwrap();
                all.insert(format!("{} {} {:?}", choice.id, option.name, verdicts(&report)));
            }
        }
        all
    };
    for index in 0..forwards.decisions.len() {
        assert_eq!(rows(&forwards, index), rows(&backwards, index));
    }
}
