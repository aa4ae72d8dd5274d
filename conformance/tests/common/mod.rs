//! What several tests begin with.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use devmig_conformance::vhost_user::mutants::MutationRun;
use devmig_conformance::vhost_user::suite;
use devmig_engine::rules::Rules;
use devmig_model::registry::Library;

/// The suite of vhost-user against the reference, judged by the specification of QEMU 10.2.
pub(crate) fn with_back_end(work: impl FnOnce(MutationRun<'_>)) {
    let library = Library::builtin().unwrap();
    let suite = suite::builtin(&library).unwrap();
    let mut rules = Rules { off: library.spec.unobservable(), ..Rules::default() };
    rules.off.extend(&library.spec.not_in_force("vhost-user", "10.2").unwrap());
    work(MutationRun::new(&library, &suite, rules, "10.2").unwrap());
}
