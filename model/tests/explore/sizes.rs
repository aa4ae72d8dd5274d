//! Law 8: verdicts do not depend on the size, for every built-in system.
//!
//! Each system is explored at its own size and at each that is one step further: one request more, one
//! ring more, one page more. A run that a bound cuts short proves nothing; which these are stands in
//! [`INCOMPLETE`].

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use devmig_engine::explore::search::Limits;
use devmig_engine::explore::{Options, Report};
use devmig_engine::laws::differs_with_size;
use devmig_model::protocol::size::Scale;
use devmig_model::registry::Library;

/// How many states a run at a further size may have.
const STATES: u64 = 20_000;

/// Systems that are too large at a further size: `SYSTEM at SIZE`, and why.
const INCOMPLETE: &[(&str, &str)] = &[];

/// What one system says at one further size.
#[derive(Default)]
struct Found {
    wrong: Vec<String>,
    incomplete: BTreeSet<String>,
    compared: usize,
}

fn explored(library: &Library, name: &str, scale: &Scale) -> Report {
    let limits = Limits { max_states: Some(STATES), ..Limits::default() };
    let system = library.find_scaled(name, &[], scale).unwrap().unwrap();
    system.check(&Options { limits, ..Options::default() }).unwrap()
}

fn one(library: &Library, name: &str, found: &mut Found) {
    let (bounds, speaks) = library.size(name).unwrap();
    let own = explored(library, name, &Scale::default());
    for bound in bounds.iter().filter(|bound| bound.now < bound.most) {
        let scale: Scale = format!("{}={}", bound.name, bound.now + 1).parse().unwrap();
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
    let known = INCOMPLETE.iter().map(|(place, _)| (*place).to_owned()).collect();
    assert_eq!(found.incomplete, known, "what is incomplete is no proof: say which, and why");
}
