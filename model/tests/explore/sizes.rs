//! Law 8: verdicts do not depend on the size, for every built-in system.
//!
//! Each system is explored at its own size and at those that are one step and two steps further: one or two
//! requests more, one ring more, one page more. A run that a bound cuts short proves nothing; which these
//! are stands in [`INCOMPLETE`].

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use devmig_engine::explore::search::Limits;
use devmig_engine::explore::{Options, Report};
use devmig_engine::laws::differs_with_size;
use devmig_model::protocol::size::{Bound, Scale};
use devmig_model::registry::Library;

/// How many states a run at a further size may have.
const STATES: u64 = 200_000;

/// `SYSTEM at SIZE` with more states than that: of these the law is shown for what was explored only.
const INCOMPLETE: &[&str] = &[
    "device-model/anything at devices=2",
    "vhost-user/crash at rings=2",
    "vhost-user/crash-between-used-and-record at requests=4",
    "vhost-user/crash-between-used-and-record at rings=2",
    "vhost-user/dirty-log at rings=2",
    "vhost-user/dirty-log-changed at rings=2",
    "vhost-user/dirty-log-dropped at rings=2",
    "vhost-user/dirty-log-too-late at rings=2",
    "vhost-user/dirty-log-unmarked at rings=2",
    "vhost-user/dirty-log-without-flag at rings=2",
    "vhost-user/move-in-flight at rings=2",
    "vhost-user/move-without-buffer at rings=2",
    "vhost-user/reset-device at rings=2",
    "vhost-user/reset-driver at rings=2",
    "vhost-user/reset-one-ring at requests=3",
    "vhost-user/ring at rings=2",
    "vhost-user/stop-abandons at rings=2",
    "vhost-user/stop-start at rings=2",
    "vhost-user/stop-start-in-flight at rings=2",
    "vhost-user/stop-start-with-status at rings=2",
];

/// What one system says at one further size.
#[derive(Default)]
struct Found {
    wrong: Vec<String>,
    incomplete: BTreeSet<String>,
    compared: usize,
}

/// One and two steps further, as far as the bound goes.
fn further(bound: &Bound) -> impl Iterator<Item = (&'static str, u16)> + use<> {
    let name = bound.name;
    (bound.now + 1..=bound.most.min(bound.now + 2)).map(move |value| (name, value))
}

/// At a further size, parts that may change places are taken as such: the laws hold the verdicts of such a run
/// against those of the whole one, for every system that has some.
fn explored(library: &Library, name: &str, scale: &Scale) -> Report {
    let reduced = *scale != Scale::default();
    let limits = Limits { max_states: Some(STATES), reduced, ..Limits::default() };
    let system = library.find_scaled(name, &[], scale).unwrap().unwrap();
    system.check(&Options { limits, ..Options::default() }).unwrap()
}

fn one(library: &Library, name: &str, found: &mut Found) {
    let (bounds, speaks) = library.size(name).unwrap();
    let own = explored(library, name, &Scale::default());
    for (bound, value) in bounds.iter().flat_map(further) {
        let scale: Scale = format!("{bound}={value}").parse().unwrap();
        let further = explored(library, name, &scale);
        let place = format!("{name} at {scale}");
        let sizes = differs_with_size(&own, &further);
        let here = speaks.at(&scale.resolve(name, &bounds).unwrap());
        if !sizes.unknown.is_empty() {
            found.incomplete.insert(place.clone());
        }
        match (here, sizes.differ.is_empty()) {
            (true, false) => found.wrong.push(format!("{place}: {}", sizes.differ.join("; "))),
            (false, true) => found.wrong.push(format!("{place}: the verdicts are the same")),
            _ => found.compared += 1,
        }
    }
}

#[test]
fn verdicts_do_not_depend_on_the_size() {
    let library = Library::builtin().unwrap();
    let catalogue = library.catalogue(&[]);
    let names: Vec<String> = catalogue.iter().map(|system| system.name().to_owned()).collect();
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Found::default()));
    let work = || {
        while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut found = Found::default();
            one(&library, name, &mut found);
            let mut all = all.lock().unwrap();
            all.wrong.extend(found.wrong);
            all.incomplete.extend(found.incomplete);
            all.compared += found.compared;
        }
    };
    std::thread::scope(|scope| {
        let _second = scope.spawn(work);
        work();
    });
    let mut found = all.into_inner().unwrap();
    found.wrong.sort();
    println!("{} comparisons; incomplete: {:#?}", found.compared, found.incomplete);
    assert!(found.wrong.is_empty(), "{}", found.wrong.join("\n"));
    let known = INCOMPLETE.iter().map(|place| (*place).to_owned()).collect();
    assert_eq!(found.incomplete, known, "what is incomplete is no proof: list it");
}

/// A preset is a size of its system that is not the declared one, and the system says something there. What
/// takes more states than this test allows for is known.
#[test]
fn every_preset_is_a_larger_size() {
    let library = Library::builtin().unwrap();
    let large: Scale = "large".parse().unwrap();
    let names = library.large();
    assert!(names.len() > 15, "{names:?}");
    let mut cut = Vec::new();
    for name in names {
        let limits = Limits { max_states: Some(STATES), ..Limits::default() };
        let options = Options { limits, ..Options::default() };
        let declared =
            library.system(name, &[], &Scale::default()).unwrap().check(&options).unwrap();
        let found = library.system(name, &[], &large).unwrap().check(&options).unwrap();
        assert!(found.states > declared.states, "{name}: {}", found.states);
        match found.incomplete {
            None => assert!(found.as_expected, "{name}"),
            Some(_) => cut.push(name),
        }
    }
    assert_eq!(
        cut,
        ["vhost-user/ring", "vhost-user/stop-start", "migration/device", "migration/two-devices"]
    );
    // The preset that is as declared, and a system without a preset.
    assert_eq!("small".parse::<Scale>().unwrap(), Scale::default());
    let error = library.system("example/copy", &[], &large).err().unwrap();
    assert_eq!(error.to_string(), "example/copy has no preset `large`");
    // Of several, those that have it.
    let of = |pattern: &str| library.systems(&[pattern.to_owned()], &[], &large);
    let names =
        |pattern| of(pattern).unwrap().iter().map(|s| s.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(names("vdpa/*"), ["vdpa/suspend-resume", "vdpa/suspend-restart"]);
    assert!(of("hand-over/*").is_err());
}
