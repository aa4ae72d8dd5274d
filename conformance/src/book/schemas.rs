//! The form of each JSON document that outside scripts read or write, as JSON Schema.
//!
//! **Invariant.** A schema is derived from the very types that are written; the committed copies
//! (`docs/src/reference/schema/`) are generated, and real output is validated against them.

use devmig_engine::explore::Report;
use devmig_model::analysis::change::Examined;
use devmig_model::analysis::corpus::Corpus;
use devmig_model::analysis::decide::{Decided, Decisions};
use devmig_model::analysis::hand_over::Table;
use devmig_model::analysis::listing::{List, Reports};
use devmig_model::analysis::migrating::Migrations;
use devmig_model::analysis::vm::answer::Answer;
use devmig_model::device_model::read::Verdict;
use devmig_model::device_model::{form, rfc};
use devmig_model::registry;
use schemars::{Schema, schema_for};

use crate::compat::fleet::Matrix;
use crate::compat::{Baselines, Findings};
use crate::harness::listed::Listed;
use crate::harness::report::SuiteReport;
use crate::implementations::matrix;
use crate::verify::Verification;

/// A document: its name, the command that writes it, its schema.
pub type Document = (&'static str, &'static str, fn() -> Schema);

/// All that have a schema.
pub const ALL: &[Document] = &[
    ("check", "devmig check SYSTEM --format json", || schema_for!(Report)),
    ("check-several", "devmig check [GLOB…] --format json", || schema_for!(Reports<'static>)),
    ("check-list", "devmig check --list --format json", || schema_for!(List<'static>)),
    ("check-proposal", "devmig check --proposal FILE --format json", || schema_for!(Examined)),
    ("check-proposals", "devmig check --proposals --format json", || schema_for!(Corpus)),
    ("decide", "devmig decide SYSTEM --choices … --format json", || schema_for!(Decided)),
    ("decide-all", "devmig decide --format json", || schema_for!(Decisions<'static>)),
    ("decide-migration", "devmig decide migration --format json", || schema_for!(Migrations)),
    ("decide-vm", "devmig decide migration --vm FILE --format json", || schema_for!(Answer)),
    ("decide-hand-over", "devmig decide hand-over --format json", || schema_for!(Table)),
    ("verify", "devmig verify --format json", || schema_for!(Verification)),
    ("test", "devmig test … --format json", || schema_for!(SuiteReport)),
    ("test-list", "devmig test … --list --format json", || schema_for!(Listed)),
    ("implementations", "devmig implementations --format json", || schema_for!(matrix::Document)),
    ("proposal", "devmig proposal lint FILE", registry::schema::proposal),
    ("specification", "a file of specs/", registry::schema::specification),
    ("instance", "devmig compat --source INSTANCE …", || schema_for!(form::InstanceForm)),
    ("implementation", "devmig compat … --destination IMPLEMENTATION", || {
        schema_for!(form::ImplementationForm)
    }),
    ("migration-info", "devmig compat info", || schema_for!(rfc::InfoForm)),
    ("compat", "devmig compat … --format json", || schema_for!(Verdict)),
    ("compat-baseline", "devmig compat baseline … --format json", || schema_for!(Baselines)),
    ("compat-lint", "devmig compat lint … --format json", || schema_for!(Findings)),
    ("compat-fleet", "devmig compat fleet … --format json", || schema_for!(Matrix)),
];

/// A schema as it is printed.
#[must_use]
pub fn text(schema: fn() -> Schema) -> String {
    let value = schema().to_value();
    format!("{value:#}\n")
}
