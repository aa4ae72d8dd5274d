//! Life-cycle actions over the control socket that meet in one conversation: the tests of `pairs.toml`.

use devmig_model::registry::Library;
use devmig_model::spec::{SourceFile, SpecErrors};

use super::suite::Test;
use crate::harness::pairs;

/// All of them.
///
/// # Errors
/// Every problem of the table.
pub fn tests(library: &Library) -> Result<Vec<Test>, SpecErrors> {
    pairs::tests(library, &SourceFile::new("pairs.toml", include_str!("pairs.toml")))
}
