//! Mistakes that were made in earnest: each is noticed by what is said to notice it, and by nothing else.
//!
//! A snapshot here is the shortest way to the damage: read it before you accept it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use devmig_engine::explore::names::NON_VACUOUS;
use devmig_engine::explore::{Options, trace};
use devmig_model::registry::Library;
use devmig_model::spec::builtin_files;

use crate::common::{Story, builtin, stories, violated};

#[test]
fn every_mistake_is_noticed() {
    let library = builtin();
    let name = |id| library.spec.clause_name(id).to_owned();
    let options = Options { clause: &name, ..Options::default() };
    assert!(!library.bugs().is_empty());
    for bug in &library.bugs() {
        let without = library.find(bug.system, &[]).unwrap().check(&options).unwrap();
        assert!(without.as_expected, "{}", bug.system);
        let report = library.check_bug(bug).unwrap().check(&options).unwrap();
        assert!(report.incomplete.is_none(), "{}", report.text());
        let own = violated(&report).filter(|property| !property.name.ends_with(NON_VACUOUS));
        let own: Vec<_> = own.collect();
        let found: BTreeSet<&str> = own.iter().map(|property| property.name.as_str()).collect();
        for Story { name, text } in stories(own) {
            let text = format!("{}\n{text}", trace::wrapped(bug.about, 0));
            insta::assert_snapshot!(format!("{}--{name}", bug.id), text);
        }
        assert_eq!(found, bug.caught.iter().map(String::as_str).collect(), "{}", bug.id);
    }
}

#[test]
fn what_is_wrong_with_a_mistake_is_underlined() {
    let bad = r#"
[[bug]]
protocol = "vhost-user"
id = "one"
seen = "nowhere"
about = "Nothing is right here."
system = "vhost-user/stop-strat"
caught = []

[[bug]]
protocol = "vhost-user"
id = "two"
seen = "nowhere"
about = "Neither here."
system = "vhost-user/stop-start"
without = ["vhost-user.ring.no-such-clause"]
choices = ["vhost-user.ring.start = tomorrow"]
run = ["run conect"]
patch = [{ message = "GET_VRING_BSE", row = [{ receive = ["stopp"] }] }]
caught = ["base-is-nxt"]

[[bug]]
protocol = "vhost-user"
id = "two"
seen = "nowhere"
about = "And this one is there already."
system = "vhost-user/stop-start"
caught = []
"#;
    let mut files = builtin_files();
    files.push(("bugs.toml".to_owned(), bad.to_owned()));
    let errors = Library::load(files, None).unwrap_err();
    insta::assert_snapshot!(format!("{:?}", miette::Report::new(errors)));
}
