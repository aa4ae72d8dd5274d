//! What is expected of the hunt where a test finds no fault (`mutants.toml`).
//!
//! **Invariant.** Every entry that it names exists, and has its reason. Whether it still holds is for
//! the hunt to say.

use devmig_model::spec::{
    Diagnostics, Item, SourceFile, Spanned, SpecErrors, did_you_mean, with_help,
};
use serde::Deserialize;

use crate::vfio::suite::Test;

/// One `[[idle]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawIdle {
    test: Spanned<String>,
    reason: Spanned<String>,
}

/// The entries of the suite that find no fault.
pub(super) fn builtin(suite: &[Test]) -> Result<Vec<String>, SpecErrors> {
    load(suite, &SourceFile::new("mutants.toml", include_str!("../mutants.toml")))
}

fn load(suite: &[Test], file: &SourceFile) -> Result<Vec<String>, SpecErrors> {
    let mut d = Diagnostics::default();
    let mut tables = file.parse(&mut d);
    let items: Vec<Item<RawIdle>> = tables.items("idle", &mut d);
    tables.finish(&["idle"], &mut d);
    for item in &items {
        let RawIdle { test, reason } = &item.value;
        if !suite.iter().any(|known| known.entry == *test.get_ref()) {
            let message = format!("no test is called `{}`", test.get_ref());
            let names = suite.iter().map(|known| known.entry.as_str());
            let error = item.error(test.span(), message, "unknown test");
            d.push(with_help(error, did_you_mean(test.get_ref(), names)));
        }
        if reason.get_ref().trim().is_empty() {
            d.push(item.error(reason.span(), "a reason is missing", "here"));
        }
    }
    d.finish(items.iter().map(|item| item.value.test.get_ref().clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use devmig_model::library::Library;

    #[test]
    fn an_unknown_test_and_an_empty_reason_are_errors() {
        let library = Library::builtin().unwrap();
        let suite = crate::vfio::suite::builtin(&library).unwrap();
        builtin(&suite).unwrap();
        let of = |text: &str| {
            let errors = load(&suite, &SourceFile::new("x.toml", text)).unwrap_err();
            format!("{:?}", miette::Report::new(errors))
        };
        let unknown = of("[[idle]]\ntest = \"flags.legall\"\nreason = \"x\"\n");
        assert!(unknown.contains("flags.legall"), "{unknown}");
        let empty = of("[[idle]]\ntest = \"flags.legal\"\nreason = \" \"\n");
        assert!(empty.contains("a reason is missing"), "{empty}");
    }
}
