//! `devmig test`: a suite against an implementation.
//!
//! One file for each protocol's suite; what all of them need stands here.

mod device_model;
mod vfio;
mod vfio_kernel;
mod vfio_user;
mod vhost_user;

use std::path::Path;

use clap::{Args as ClapArgs, Subcommand};
use devmig_model::clause::ClauseId;
use devmig_model::library::Library;
use devmig_model::rules::Rules;
use devmig_model::spec::{self, SourceFile};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Error, Format, Out, Status, progress, select};
use crate::waivers::{self, Waiver};

/// Run a conformance suite against an implementation.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    #[command(subcommand)]
    protocol: Protocol,
}

#[derive(Debug, Subcommand)]
enum Protocol {
    VhostUser(vhost_user::Args),
    VfioUser(vfio_user::Args),
    DeviceModel(device_model::Args),
    #[command(name = "vfio")]
    VfioKernel(vfio_kernel::Args),
}

/// What `--list` writes.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Listed {
    /// The version of this form: 1.
    schema: u32,
    /// The tests, in the order in which they run.
    tests: Vec<ListedTest>,
}

/// A test that there is.
#[derive(Debug, Serialize, JsonSchema)]
struct ListedTest {
    /// Its id.
    test: String,
    /// The clause that it is about.
    clause: String,
    /// What it is for.
    purpose: String,
}

impl ListedTest {
    fn new(library: &Library, id: &str, clause: ClauseId, purpose: &str) -> Self {
        let clause = library.spec.clause_name(clause).to_owned();
        ListedTest { test: id.to_owned(), clause, purpose: purpose.to_owned() }
    }
}

/// Runs it.
pub(super) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    match &args.protocol {
        Protocol::VhostUser(args) => vhost_user::run(args, out),
        Protocol::VfioUser(args) => vfio_user::run(args, out),
        Protocol::DeviceModel(args) => device_model::run(args, out),
        Protocol::VfioKernel(args) => vfio_kernel::run(args, out),
    }
}

/// The waivers of a file, if one is named.
fn waivers(library: &Library, tests: &[&str], file: Option<&Path>) -> Result<Vec<Waiver>, Error> {
    let Some(path) = file else { return Ok(Vec::new()) };
    let file = SourceFile::new(path.to_string_lossy(), select::read(path)?);
    Ok(waivers::load(library, tests, &file)?)
}

pub(super) use device_model::this_program;

/// What a clause says; empty for an id that is none.
pub(super) fn clause_text(library: &Library, id: &str) -> String {
    let clause = library.spec.clause(id).ok().and_then(|clause| library.spec.get(clause));
    clause.map(|clause| clause.text.clone()).unwrap_or_default()
}

/// Rules by a version of the text, without what cannot be seen from outside.
pub(super) fn judged_by(library: &Library, text: &str) -> Result<Rules, Error> {
    Ok(library.spec.judged_by("vhost-user", text)?)
}

/// The tests that match; `help` says where to look for their ids.
fn chosen<'s, T>(
    suite: &'s [T],
    id: impl Fn(&T) -> &str,
    only: &[String],
    help: &str,
) -> Result<Vec<&'s T>, Error> {
    for pattern in only {
        if !suite.iter().any(|test| spec::matches(pattern, id(test))) {
            let help = spec::did_you_mean(pattern, suite.iter().map(&id)).or(Some(help.into()));
            return Err(Error::usage(format!("no test is called `{pattern}`"), help));
        }
    }
    let wanted =
        |test: &&T| only.is_empty() || only.iter().any(|pattern| spec::matches(pattern, id(test)));
    Ok(suite.iter().filter(wanted).collect())
}

/// Says what tests there are.
fn list(tests: Vec<ListedTest>, format: Format, out: &mut Out<'_>) -> Result<Status, Error> {
    match format {
        Format::Text => {
            for test in tests {
                out.text(&format!("{:<36} {}\n", test.test, test.purpose))?;
            }
        }
        Format::Json => out.json(&Listed { schema: 1, tests })?,
    }
    Ok(Status::Good)
}
