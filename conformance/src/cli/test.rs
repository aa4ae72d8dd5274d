//! `devmig test`: a suite against an implementation.
//!
//! One file for each protocol's suite; `shared.rs` is what all of them take and do.

mod device_model;
mod migration_capabilities;
mod multifd_destination;
mod multifd_source;
mod shared;
mod vfio;
mod vfio_kernel;
mod vfio_user;
mod vhost_user;

use clap::{Args as ClapArgs, Subcommand};

use super::{Error, Format, Out, Status};

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
    MultifdDestination(multifd_destination::Args),
    MigrationCapabilities(migration_capabilities::Args),
    MultifdSource(multifd_source::Args),
    #[command(name = "vfio")]
    VfioKernel(vfio_kernel::Args),
}

/// Runs it.
pub(super) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    match &args.protocol {
        Protocol::VhostUser(args) => vhost_user::run(args, out),
        Protocol::VfioUser(args) => vfio_user::run(args, out),
        Protocol::DeviceModel(args) => device_model::run(args, out),
        Protocol::MultifdDestination(args) => multifd_destination::run(args, out),
        Protocol::MigrationCapabilities(args) => migration_capabilities::run(args, out),
        Protocol::MultifdSource(args) => multifd_source::run(args, out),
        Protocol::VfioKernel(args) => vfio_kernel::run(args, out),
    }
}
