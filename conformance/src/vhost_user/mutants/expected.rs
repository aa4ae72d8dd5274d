//! What is expected of the hunt where it is not simply that a fault is found (`mutants.toml`).
//!
//! **Invariant.** Every mutant, test, clause and setting that it names exists, and every entry has its
//! reason. Whether an entry still holds is for the hunt to say.

use std::time::Duration;

use devmig_model::registry::Library;
use devmig_model::spec::{
    Diagnostics, Item, SourceFile, Spanned, SpecErrors, did_you_mean, with_help,
};
use devmig_reference::vhost_user::{Mutant, Settings};
use serde::Deserialize;

use crate::harness::suite_files::{self, TestEntry};
use crate::vhost_user::suite::Test;

/// What is not simply found, and why.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    pub(super) found_as: Vec<(Mutant, String, String)>,
    pub(super) idle: Vec<String>,
    pub(super) skipped: Vec<String>,
    pub(super) may_fail: Vec<(String, String, String)>,
    pub(super) slow: Vec<(Mutant, Slow)>,
}

/// How the reference takes its time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slow {
    pub(super) latency: Duration,
    pub(super) out_of_order: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFoundAs {
    mutant: Spanned<String>,
    clause: Spanned<String>,
    reason: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMayFail {
    setting: Spanned<String>,
    test: Spanned<String>,
    reason: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSlow {
    mutant: Spanned<String>,
    latency: u64,
    #[serde(default, rename = "out-of-order")]
    out_of_order: bool,
    reason: Spanned<String>,
}

impl Expected {
    /// What is built in.
    ///
    /// # Errors
    /// Every problem of its file.
    pub fn builtin(library: &Library, suite: &[Test]) -> Result<Self, SpecErrors> {
        Self::load(
            library,
            suite,
            &SourceFile::new("mutants.toml", include_str!("../mutants.toml")),
        )
    }

    /// The expectations of a file.
    ///
    /// # Errors
    /// Every problem of it: a mutant, test, clause or setting that does not exist, a reason that is
    /// missing.
    pub fn load(library: &Library, suite: &[Test], file: &SourceFile) -> Result<Self, SpecErrors> {
        let mut d = Diagnostics::default();
        let mut tables = file.parse(&mut d);
        let found_as: Vec<Item<RawFoundAs>> = tables.items("found-as", &mut d);
        let idle: Vec<Item<TestEntry>> = tables.items("idle", &mut d);
        let skipped: Vec<Item<TestEntry>> = tables.items("skipped", &mut d);
        let may_fail: Vec<Item<RawMayFail>> = tables.items("may-fail", &mut d);
        let slow: Vec<Item<RawSlow>> = tables.items("slow", &mut d);
        let kinds = ["found-as", "idle", "skipped", "may-fail", "slow"];
        tables.finish(&kinds, &mut d);

        let ids: Vec<&str> = suite.iter().map(|test| test.id.as_str()).collect();
        let mut all = Expected::default();
        for item in &found_as {
            let because = suite_files::reason(item, &item.value.reason, &mut d);
            let clause = library.spec.clause_at(item, &item.value.clause, &mut d);
            if let (Some(mutant), Some(clause)) = (mutant(item, &item.value.mutant, &mut d), clause)
            {
                let clause = library.spec.clause_name(clause).to_owned();
                all.found_as.push((mutant, clause, because));
            }
        }
        for (items, into) in [(&idle, &mut all.idle), (&skipped, &mut all.skipped)] {
            into.extend(suite_files::tests(items, &ids, &mut d));
        }
        for item in &may_fail {
            let because = suite_files::reason(item, &item.value.reason, &mut d);
            let setting = item.value.setting.get_ref();
            if let Err(error) = setting.parse::<Settings>() {
                d.push(item.error(item.value.setting.span(), error.to_string(), "this setting"));
            }
            if let Some(test) = suite_files::test(item, &item.value.test, &ids, &mut d) {
                all.may_fail.push((setting.clone(), test, because));
            }
        }
        for item in &slow {
            suite_files::reason(item, &item.value.reason, &mut d);
            if let Some(mutant) = mutant(item, &item.value.mutant, &mut d) {
                let RawSlow { latency, out_of_order, .. } = item.value;
                let latency = Duration::from_millis(latency);
                all.slow.push((mutant, Slow { latency, out_of_order }));
            }
        }
        d.finish(all)
    }

    /// Whether the reference cannot run this test.
    #[must_use]
    pub fn skips(&self, test: &str) -> bool {
        self.skipped.iter().any(|known| known == test)
    }
}

fn mutant<T>(item: &Item<T>, name: &Spanned<String>, d: &mut Diagnostics) -> Option<Mutant> {
    let found = name.get_ref().parse().ok();
    if found.is_none() {
        let message = format!("no mutant is called `{}`", name.get_ref());
        let names = Mutant::ALL.iter().map(|mutant| mutant.name());
        let error = item.error(name.span(), message, "unknown mutant");
        d.push(with_help(error, did_you_mean(name.get_ref(), names)));
    }
    found
}
