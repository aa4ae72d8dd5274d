//! `devmig test vfio`: the VFIO suite against a device that a kernel's driver serves.

use std::path::PathBuf;

use clap::{ArgGroup, Args as ClapArgs};

use super::shared::Again;
use super::vfio::{self, At, Common};
use super::{Error, Out, Status};
use crate::vfio::device::Place;
use crate::vfio::kernel::{Address, KernelDevice};

/// Test a VFIO device that is served by a driver of the kernel
///
/// The tester gives the device no memory, and no other program may use the device at the same time.
/// A kernel may never return from some calls (tests that are known to hang run last), so run this
/// in a guest: see `conformance/implementations/linux-mtty.toml` for an example.
#[derive(Debug, ClapArgs)]
#[command(after_help = super::super::help::TEST_VFIO)]
#[command(group = ArgGroup::new("where").required(true).args(["cdev", "group", "list"]))]
pub(super) struct Args {
    /// Character device, e.g. `/dev/vfio/devices/vfio0`; requires iommufd
    #[arg(long, value_name = "PATH", help_heading = "Target")]
    cdev: Option<PathBuf>,
    /// Group of the device, e.g. `/dev/vfio/7`
    #[arg(long, value_name = "PATH", requires = "device", help_heading = "Target")]
    group: Option<PathBuf>,
    /// Name of the device in its group: a PCI address, or the UUID of a mediated device
    #[arg(
        long,
        value_name = "NAME",
        requires = "group",
        conflicts_with = "cdev",
        help_heading = "Target"
    )]
    device: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Runs it.
pub(super) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let address = match (&args.cdev, &args.group, &args.device) {
        (Some(path), _, _) => Some(Address::Cdev(path.clone())),
        (None, Some(path), Some(name)) => Some(Address::Group(path.clone(), name.clone())),
        _ => None,
    };
    // A device that cannot be had is no finding of a test.
    if let Some(address) = address.as_ref().filter(|_| !args.common.shared.list) {
        KernelDevice::open(address).map_err(|error| Error::usage(error.to_string(), None))?;
    }
    let again = Again::new("devmig test vfio")
        .path("--cdev", args.cdev.as_ref())
        .path("--group", args.group.as_ref())
        .value("--device", args.device.as_ref());
    let place = address.as_ref().map(|address| address as &dyn Place);
    // Two tests of one device are in each other's way.
    let at = At { place, p2p: true, jobs: 1 };
    vfio::run(&args.common, at, "vfio", again, out)
}
