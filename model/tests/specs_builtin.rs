//! What is compiled in is valid and complete.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use devmig_model::spec::{BUILTIN, SourceFile, Spec};

fn builtin() -> Spec {
    Spec::builtin().unwrap_or_else(|errors| panic!("{:?}", miette::Report::new(errors)))
}

fn specs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs")
}

#[test]
fn loads() {
    let spec = builtin();
    assert!(spec.clauses().len() > 60);
    assert!(spec.choices().len() >= 9);
}
