//! Life-cycle actions that meet in one conversation: the tests of `pairs.toml`, of a NIC, and of
//! `pairs-plain.toml`, of any device.

use devmig_model::registry::Library;
use devmig_model::spec::{SourceFile, SpecErrors};

use super::suite::Test;
use crate::harness::pairs;

/// The tables, by the names of their files.
const TABLES: [(&str, &str); 2] = [
    ("pairs.toml", include_str!("pairs.toml")),
    ("pairs-plain.toml", include_str!("pairs-plain.toml")),
];

/// All of them.
///
/// # Errors
/// Every problem of the tables.
pub fn tests(library: &Library) -> Result<Vec<Test>, SpecErrors> {
    let tables = TABLES.map(|(name, text)| pairs::tests(library, &SourceFile::new(name, text)));
    Ok(tables.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
}
