//! `devmig test`: a suite against an implementation.
//!
//! One file for each protocol's suite; `shared.rs` is what all of them take and do.

mod device_model;
mod shared;
mod vfio;
mod vfio_kernel;
mod vfio_user;
mod vhost_user;

use clap::{Args as ClapArgs, Subcommand};
use devmig_engine::rules::Rules;
use devmig_model::registry::Library;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Error, Out, Status};

/// Test an implementation with a conformance suite
#[derive(Debug, ClapArgs)]
#[command(after_help = super::help::TEST)]
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

/// Runs it.
pub(super) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    match &args.protocol {
        Protocol::VhostUser(args) => vhost_user::run(args, out),
        Protocol::VfioUser(args) => vfio_user::run(args, out),
        Protocol::DeviceModel(args) => device_model::run(args, out),
        Protocol::VfioKernel(args) => vfio_kernel::run(args, out),
    }
}

/// This program, for suites that start the reference as anybody's program is started.
pub(super) fn this_program() -> Result<String, Error> {
    let path = std::env::current_exe();
    let path = path.map_err(|cause| Error::Read { path: "/proc/self/exe".into(), cause })?;
    Ok(path.to_string_lossy().into_owned())
}

/// What a clause says; empty for an id that is none.
pub(super) fn clause_text(library: &Library, id: &str) -> String {
    let clause = library.spec.clause(id).ok().and_then(|clause| library.spec.get(clause));
    clause.map(|clause| clause.text.clone()).unwrap_or_default()
}

/// Rules by a version of the text of vhost-user, without what cannot be seen from outside.
pub(super) fn judged_by(library: &Library, text: &str) -> Result<Rules, Error> {
    Ok(library.spec.judged_by("vhost-user", text)?)
}
