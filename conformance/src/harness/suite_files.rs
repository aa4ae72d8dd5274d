//! Entries of the files of suites: tests, their names, and reasons.
//!
//! **Invariant.** A name that no test has, one that two have, and a reason that is missing, are errors
//! with their place.

use devmig_model::spec::{
    Diagnostics, Item, SourceFile, Spanned, SpecErrors, did_you_mean, with_help,
};
use serde::Deserialize;

/// A test, and why it is listed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestEntry {
    pub(crate) test: Spanned<String>,
    pub(crate) reason: Spanned<String>,
}

/// The `[[idle]]` of a file, and nothing else: tests of these names that find no fault.
pub(crate) fn idle(names: &[&str], file: &SourceFile) -> Result<Vec<String>, SpecErrors> {
    let mut d = Diagnostics::default();
    let mut tables = file.parse(&mut d);
    let items: Vec<Item<TestEntry>> = tables.items("idle", &mut d);
    tables.finish(&["idle"], &mut d);
    let idle = tests(&items, names, &mut d);
    d.finish(idle)
}

/// The tests of entries that hold.
pub(crate) fn tests(items: &[Item<TestEntry>], names: &[&str], d: &mut Diagnostics) -> Vec<String> {
    let mut found = Vec::new();
    for item in items {
        reason(item, &item.value.reason, d);
        found.extend(test(item, &item.value.test, names, d));
    }
    found
}

/// A name that no test before has.
pub(crate) fn new<'n, T>(
    item: &Item<T>,
    place: &Spanned<String>,
    name: &str,
    mut before: impl Iterator<Item = &'n str>,
    d: &mut Diagnostics,
) {
    if before.any(|other| other == name) {
        let message = format!("the test `{name}` is defined twice");
        d.push(item.error(place.span(), message, "again here"));
    }
}

/// A test of one of these names.
pub(crate) fn test<T>(
    item: &Item<T>,
    id: &Spanned<String>,
    names: &[&str],
    d: &mut Diagnostics,
) -> Option<String> {
    let found = names.contains(&id.get_ref().as_str());
    if !found {
        let message = format!("no test is called `{}`", id.get_ref());
        let error = item.error(id.span(), message, "unknown test");
        d.push(with_help(error, did_you_mean(id.get_ref(), names.iter().copied())));
    }
    found.then(|| id.get_ref().clone())
}

/// A reason that is given.
pub(crate) fn reason<T>(item: &Item<T>, text: &Spanned<String>, d: &mut Diagnostics) -> String {
    if text.get_ref().trim().is_empty() {
        d.push(item.error(text.span(), "a reason is missing", "here"));
    }
    text.get_ref().clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_test_and_an_empty_reason_are_errors() {
        let of = |text: &str| {
            let errors = idle(&["flags.legal"], &SourceFile::new("x.toml", text)).unwrap_err();
            format!("{:?}", miette::Report::new(errors))
        };
        let unknown = of("[[idle]]\ntest = \"flags.legall\"\nreason = \"x\"\n");
        assert!(unknown.contains("flags.legall"), "{unknown}");
        let empty = of("[[idle]]\ntest = \"flags.legal\"\nreason = \" \"\n");
        assert!(empty.contains("a reason is missing"), "{empty}");
    }
}
