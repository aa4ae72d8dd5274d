//! `devmig schema`: the form of each JSON document that outside scripts read or write, as JSON Schema.
//!
//! **Invariant.** A schema is derived from the very types that are written; the committed copies
//! (`docs/src/reference/schema/`) are generated, and real output is validated against them.

use devmig_engine::explore::Report;
use devmig_model::device_model::read::Verdict;
use devmig_model::device_model::{form, rfc};
use schemars::{Schema, schema_for};

use super::{Error, Out, Status, change, check, compat, decide, peers, test, verify};
use crate::compat::fleet;
use crate::harness::report::SuiteReport;

/// Print the JSON schema of a document that devmig reads or writes
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the document [default: list the names]
    #[arg(value_name = "DOCUMENT")]
    document: Option<String>,
}

/// A document: its name, the command that writes it, its schema.
pub(super) type Document = (&'static str, &'static str, fn() -> Schema);

/// All that have a schema.
pub(super) const ALL: &[Document] = &[
    ("check", "devmig check SYSTEM --format json", || schema_for!(Report)),
    ("check-several", "devmig check [GLOB…] --format json", || {
        schema_for!(check::Reports<'static>)
    }),
    ("check-list", "devmig check --list --format json", || schema_for!(check::List<'static>)),
    ("check-proposal", "devmig check --proposal FILE --format json", || {
        schema_for!(change::Examined)
    }),
    ("decide", "devmig decide SYSTEM --choices … --format json", || schema_for!(decide::Decided)),
    ("decide-all", "devmig decide --format json", || schema_for!(decide::All<'static>)),
    ("verify", "devmig verify --format json", || schema_for!(verify::Document<'static>)),
    ("test", "devmig test … --format json", || schema_for!(SuiteReport)),
    ("test-list", "devmig test … --list --format json", || schema_for!(test::Listed)),
    ("implementations", "devmig implementations --format json", || schema_for!(peers::Document)),
    ("instance", "devmig compat --source INSTANCE …", || schema_for!(form::InstanceForm)),
    ("implementation", "devmig compat … --destination IMPLEMENTATION", || {
        schema_for!(form::ImplementationForm)
    }),
    ("migration-info", "devmig compat info", || schema_for!(rfc::InfoForm)),
    ("compat", "devmig compat … --format json", || schema_for!(Verdict)),
    ("compat-baseline", "devmig compat baseline … --format json", || {
        schema_for!(compat::Baselines)
    }),
    ("compat-lint", "devmig compat lint … --format json", || schema_for!(compat::Findings)),
    ("compat-fleet", "devmig compat fleet … --format json", || schema_for!(fleet::Matrix)),
];

/// A schema as it is printed.
pub(super) fn text(schema: fn() -> Schema) -> String {
    let value = schema().to_value();
    format!("{value:#}\n")
}

/// Runs it.
pub(crate) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let Some(wanted) = &args.document else {
        for (name, command, _) in ALL {
            out.text(&format!("{name:<17} {command}\n"))?;
        }
        return Ok(Status::Good);
    };
    // The name of the document before the command was renamed.
    let wanted = if wanted == "peers" { "implementations" } else { wanted };
    let Some((_, _, schema)) = ALL.iter().find(|(name, ..)| *name == wanted) else {
        let names: Vec<&str> = ALL.iter().map(|(name, ..)| *name).collect();
        let help = format!("the documents are {}", names.join(", "));
        return Err(Error::usage(format!("no document is called `{wanted}`"), Some(help)));
    };
    out.text(&text(*schema))?;
    Ok(Status::Good)
}
