//! The calls that need `unsafe`: VFIO's and iommufd's ioctls, each with the one argument that it takes.
//!
//! Most of VFIO's numbers carry neither size nor direction (`_IO(';', 100 + n)`): the kernel copies
//! as much as *its* structure for the call has, whatever `argsz` says. So every call here has an
//! argument of a known type, or a buffer that is longer than any such structure.
//!
//! **Invariants.** No pointer reaches the kernel but one made here from a borrowed slice. A
//! descriptor that the kernel returns has one owner.
//!
//! **Not here:** what a call means, and what may be asked; see `kernel/mod.rs`.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd};

use iommufd_bindings::iommu_ioas_alloc;
use rustix::io::Result;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, opcode};
use vfio_bindings::bindings::vfio::{
    VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT, VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
    VFIO_DEVICE_FEATURE_MASK, VFIO_DEVICE_FEATURE_PROBE, vfio_device_attach_iommufd_pt,
    vfio_device_bind_iommufd, vfio_device_feature_dma_logging_control,
    vfio_device_feature_dma_logging_range, vfio_device_feature_dma_logging_report,
    vfio_device_info, vfio_group_status, vfio_precopy_info, vfio_region_info,
};

/// The bytes of a feature call's buffer: more than any structure that a kernel copies.
pub(super) const BUFFER: usize = 4096;

/// The bytes before a feature's data: `argsz` and `flags`.
const HEADER: usize = 8;

/// An address that no process has, on any machine that Linux runs on: its last page.
const NOWHERE: u64 = u64::MAX - 0xfff;

const GROUP: u8 = b';';
const BASE: u8 = 100;

const GET_API_VERSION: Opcode = opcode::none(GROUP, BASE);
const SET_IOMMU: Opcode = opcode::none(GROUP, BASE + 2);
const GROUP_GET_STATUS: Opcode = opcode::none(GROUP, BASE + 3);
const GROUP_SET_CONTAINER: Opcode = opcode::none(GROUP, BASE + 4);
const GROUP_GET_DEVICE_FD: Opcode = opcode::none(GROUP, BASE + 6);
const DEVICE_GET_INFO: Opcode = opcode::none(GROUP, BASE + 7);
const DEVICE_GET_REGION_INFO: Opcode = opcode::none(GROUP, BASE + 8);
const DEVICE_SET_IRQS: Opcode = opcode::none(GROUP, BASE + 10);
const DEVICE_RESET: Opcode = opcode::none(GROUP, BASE + 11);
const DEVICE_FEATURE: Opcode = opcode::none(GROUP, BASE + 17);
const DEVICE_BIND_IOMMUFD: Opcode = opcode::none(GROUP, BASE + 18);
const DEVICE_ATTACH_IOMMUFD_PT: Opcode = opcode::none(GROUP, BASE + 19);
const MIG_GET_PRECOPY_INFO: Opcode = opcode::none(GROUP, BASE + 21);
const IOMMU_IOAS_ALLOC: Opcode = opcode::none(GROUP, 0x81);

/// A call: its number, and a pointer (or a number in its place) that is good for as long as the
/// kernel works on it.
struct Call {
    opcode: Opcode,
    argument: *mut c_void,
}

// SAFETY: the call is made as it stands. Whether the argument fits the number is for those who make
// a `Call`, all of them in this file; what comes back is the kernel's number alone.
unsafe impl Ioctl for Call {
    type Output = i32;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.argument
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> Result<i32> {
        Ok(out)
    }
}

/// A call whose argument is a number, or nothing.
fn with_number(fd: BorrowedFd<'_>, opcode: Opcode, number: usize) -> Result<i32> {
    // SAFETY: the numbers that come here are those of calls that take a value, no address.
    unsafe {
        rustix::ioctl::ioctl(
            fd,
            Call { opcode, argument: std::ptr::without_provenance_mut(number) },
        )
    }
}

/// A call whose argument is a structure.
fn with<T>(fd: BorrowedFd<'_>, opcode: Opcode, argument: &mut T) -> Result<i32> {
    let argument = std::ptr::from_mut(argument).cast();
    // SAFETY: each caller pairs a number with the structure that the kernel's header names for it.
    unsafe { rustix::ioctl::ioctl(fd, Call { opcode, argument }) }
}

/// A descriptor that a call has just returned.
fn owned(number: i32) -> OwnedFd {
    // SAFETY: the kernel has made it for this call, so nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(number) }
}

fn size_of<T>() -> u32 {
    u32::try_from(std::mem::size_of::<T>()).unwrap_or_default()
}

/// VFIO_GET_API_VERSION, of a container.
pub(super) fn api_version(container: &File) -> Result<i32> {
    with_number(container.as_fd(), GET_API_VERSION, 0)
}

/// VFIO_SET_IOMMU, of a container.
pub(super) fn set_iommu(container: &File, kind: u32) -> Result<()> {
    with_number(container.as_fd(), SET_IOMMU, kind as usize).map(drop)
}

/// VFIO_GROUP_GET_STATUS: the flags.
pub(super) fn group_status(group: &File) -> Result<u32> {
    let mut status = vfio_group_status { argsz: size_of::<vfio_group_status>(), flags: 0 };
    with(group.as_fd(), GROUP_GET_STATUS, &mut status)?;
    Ok(status.flags)
}

/// VFIO_GROUP_SET_CONTAINER.
pub(super) fn set_container(group: &File, container: &File) -> Result<()> {
    let mut number = container.as_raw_fd();
    with(group.as_fd(), GROUP_SET_CONTAINER, &mut number).map(drop)
}

/// VFIO_GROUP_GET_DEVICE_FD.
pub(super) fn group_device(group: &File, name: &std::ffi::CStr) -> Result<OwnedFd> {
    let argument = name.as_ptr().cast_mut().cast();
    // SAFETY: the kernel reads a string that ends with a zero, and `name` is one.
    let number =
        unsafe { rustix::ioctl::ioctl(group, Call { opcode: GROUP_GET_DEVICE_FD, argument }) }?;
    Ok(owned(number))
}

/// VFIO_DEVICE_BIND_IOMMUFD.
pub(super) fn bind(device: BorrowedFd<'_>, iommufd: &File) -> Result<()> {
    let mut bind = vfio_device_bind_iommufd {
        argsz: size_of::<vfio_device_bind_iommufd>(),
        iommufd: iommufd.as_raw_fd(),
        ..Default::default()
    };
    with(device, DEVICE_BIND_IOMMUFD, &mut bind).map(drop)
}

/// VFIO_DEVICE_ATTACH_IOMMUFD_PT.
pub(super) fn attach(device: BorrowedFd<'_>, table: u32) -> Result<()> {
    let mut attach = vfio_device_attach_iommufd_pt {
        argsz: size_of::<vfio_device_attach_iommufd_pt>(),
        pt_id: table,
        ..Default::default()
    };
    with(device, DEVICE_ATTACH_IOMMUFD_PT, &mut attach).map(drop)
}

/// IOMMU_IOAS_ALLOC: an address space's id.
pub(super) fn new_address_space(iommufd: &File) -> Result<u32> {
    let mut space = iommu_ioas_alloc { size: size_of::<iommu_ioas_alloc>(), ..Default::default() };
    with(iommufd.as_fd(), IOMMU_IOAS_ALLOC, &mut space)?;
    Ok(space.out_ioas_id)
}

/// VFIO_DEVICE_GET_INFO: the flags.
pub(super) fn info(device: BorrowedFd<'_>) -> Result<u32> {
    let mut info = vfio_device_info { argsz: size_of::<vfio_device_info>(), ..Default::default() };
    with(device, DEVICE_GET_INFO, &mut info)?;
    Ok(info.flags)
}

/// VFIO_DEVICE_GET_REGION_INFO.
pub(super) fn region_info(device: BorrowedFd<'_>, index: u32) -> Result<vfio_region_info> {
    let argsz = size_of::<vfio_region_info>();
    let mut info = vfio_region_info { argsz, index, ..Default::default() };
    with(device, DEVICE_GET_REGION_INFO, &mut info)?;
    Ok(info)
}

/// What SET_IRQS takes for one interrupt: the header's structure, whose data is a descriptor or absent.
#[repr(C)]
struct OneIrq {
    argsz: u32,
    flags: u32,
    index: u32,
    start: u32,
    count: u32,
    event: i32,
}

/// VFIO_DEVICE_SET_IRQS, of the first interrupt of the first index.
pub(super) fn set_irqs(
    device: BorrowedFd<'_>,
    flags: u32,
    event: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let argsz = size_of::<OneIrq>() - if event.is_some() { 0 } else { size_of::<i32>() };
    let event = event.map_or(-1, |event| event.as_raw_fd());
    let mut set = OneIrq { argsz, flags, index: 0, start: 0, count: 1, event };
    with(device, DEVICE_SET_IRQS, &mut set).map(drop)
}

/// VFIO_DEVICE_RESET.
pub(super) fn reset(device: BorrowedFd<'_>) -> Result<()> {
    with_number(device, DEVICE_RESET, 0).map(drop)
}

/// VFIO_MIG_GET_PRECOPY_INFO, of a data descriptor.
pub(super) fn precopy_info(data: BorrowedFd<'_>, argsz: u32) -> Result<vfio_precopy_info> {
    let mut info = vfio_precopy_info { argsz, ..Default::default() };
    with(data, MIG_GET_PRECOPY_INFO, &mut info)?;
    Ok(info)
}

/// VFIO_DEVICE_FEATURE for features whose data holds no pointer. What comes back replaces `data`.
///
/// # Errors
/// The kernel's; `EFAULT`, without asking it, for features whose data holds pointers (unless they are
/// only probed, or all of the data is zero), and for more data than [`BUFFER`] takes.
pub(super) fn feature(
    device: BorrowedFd<'_>,
    argsz: u32,
    flags: u32,
    data: &mut [u8],
) -> Result<()> {
    let pointers = [VFIO_DEVICE_FEATURE_DMA_LOGGING_START, VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT];
    let follows = flags & VFIO_DEVICE_FEATURE_PROBE == 0;
    let any = data.iter().any(|byte| *byte != 0);
    if follows && any && pointers.contains(&(flags & VFIO_DEVICE_FEATURE_MASK)) {
        return Err(rustix::io::Errno::FAULT);
    }
    call_feature(device, argsz, flags, data)
}

fn call_feature(device: BorrowedFd<'_>, argsz: u32, flags: u32, data: &mut [u8]) -> Result<()> {
    // Aligned as every structure of the header is.
    let mut buffer = [0u64; BUFFER / 8];
    let bytes: &mut [u8; BUFFER] = zerocopy(&mut buffer);
    let Some(place) = bytes.get_mut(HEADER..HEADER + data.len()) else {
        return Err(rustix::io::Errno::FAULT);
    };
    place.copy_from_slice(data);
    bytes[..4].copy_from_slice(&argsz.to_ne_bytes());
    bytes[4..HEADER].copy_from_slice(&flags.to_ne_bytes());
    // A refused change of state writes its answer too.
    let done = with(device, DEVICE_FEATURE, bytes).map(drop);
    data.copy_from_slice(&bytes[HEADER..HEADER + data.len()]);
    done
}

/// The same memory as bytes.
fn zerocopy(words: &mut [u64; BUFFER / 8]) -> &mut [u8; BUFFER] {
    // SAFETY: as many bytes, less strictly aligned, and any bytes are a word.
    unsafe { &mut *std::ptr::from_mut(words).cast() }
}

/// DMA_LOGGING_START with these ranges; `count` goes into `num_ranges` and may be less than there are.
/// The page size that the device tracks by comes back.
///
/// # Errors
/// The kernel's; `EFAULT`, without asking it, for a `count` beyond the ranges.
pub(super) fn logging_start(
    device: BorrowedFd<'_>,
    flags: u32,
    page_size: u64,
    ranges: &[vfio_device_feature_dma_logging_range],
) -> Result<u64> {
    let mut data = [0; std::mem::size_of::<vfio_device_feature_dma_logging_control>()];
    data[..8].copy_from_slice(&page_size.to_ne_bytes());
    let count = u32::try_from(ranges.len()).map_err(|_| rustix::io::Errno::TOOBIG)?;
    data[8..12].copy_from_slice(&count.to_ne_bytes());
    data[16..24].copy_from_slice(&address(ranges.as_ptr()).to_ne_bytes());
    let flags = flags | VFIO_DEVICE_FEATURE_DMA_LOGGING_START;
    call_feature(device, argsz(data.len()), flags, &mut data)?;
    let mut answer = [0; 8];
    answer.copy_from_slice(&data[..8]);
    Ok(u64::from_ne_bytes(answer))
}

/// DMA_LOGGING_REPORT into a bitmap, a bit a page of `page_size`, in the kernel's order of bits in
/// 64-bit words.
///
/// # Errors
/// The kernel's; `EFAULT` if the bitmap is shorter than what it would fill and it finds nothing else
/// wrong: it is then given an address where there is no memory.
pub(super) fn logging_report(
    device: BorrowedFd<'_>,
    (iova, length): (u64, u64),
    page_size: u64,
    bitmap: &mut [u64],
) -> Result<()> {
    let pages = length.checked_div(page_size).unwrap_or_default();
    let first = iova.checked_div(page_size).unwrap_or_default() % 64;
    let fits = pages.saturating_add(first + 1).div_ceil(64) <= bitmap.len() as u64;
    let place = if fits { address(bitmap.as_mut_ptr()) } else { NOWHERE };
    let mut data = [0; std::mem::size_of::<vfio_device_feature_dma_logging_report>()];
    let fields = [iova, length, page_size, place];
    for (place, field) in data.chunks_exact_mut(8).zip(fields) {
        place.copy_from_slice(&field.to_ne_bytes());
    }
    let flags = vfio_bindings::bindings::vfio::VFIO_DEVICE_FEATURE_GET
        | VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT;
    call_feature(device, argsz(data.len()), flags, &mut data)
}

fn argsz(data: usize) -> u32 {
    u32::try_from(HEADER + data).unwrap_or(u32::MAX)
}

fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}

/// Takes the descriptor that a change of state has returned, if it is one.
pub(super) fn data_descriptor(number: i32) -> Option<OwnedFd> {
    (number >= 0).then(|| owned(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn null() -> File {
        File::options().read(true).write(true).open("/dev/null").unwrap()
    }

    #[test]
    fn what_is_no_device_refuses_every_call_and_nothing_is_lost() {
        let file = null();
        let fd = file.as_fd();
        let none = rustix::io::Errno::NOTTY;
        assert_eq!(api_version(&file).unwrap_err(), none);
        assert_eq!(set_iommu(&file, 3).unwrap_err(), none);
        assert_eq!(group_status(&file).unwrap_err(), none);
        assert_eq!(set_container(&file, &file).unwrap_err(), none);
        assert_eq!(group_device(&file, c"x").unwrap_err(), none);
        assert_eq!(bind(fd, &file).unwrap_err(), none);
        assert_eq!(attach(fd, 1).unwrap_err(), none);
        assert_eq!(new_address_space(&file).unwrap_err(), none);
        assert_eq!(info(fd).unwrap_err(), none);
        assert_eq!(reset(fd).unwrap_err(), none);
        assert_eq!(region_info(fd, 0).unwrap_err(), none);
        assert_eq!(set_irqs(fd, 0x22, Some(fd)).unwrap_err(), none);
        assert_eq!(precopy_info(fd, 24).unwrap_err(), none);
        let mut data = [7; 16];
        assert_eq!(feature(fd, 24, 0, &mut data).unwrap_err(), none);
        assert_eq!(data, [7; 16]);
        assert_eq!(logging_start(fd, 0, 4096, &[]).unwrap_err(), none);
        assert_eq!(logging_report(fd, (0, 4096), 4096, &mut [0]).unwrap_err(), none);
        assert_eq!(data_descriptor(-1).map(drop), None);
    }

    #[test]
    fn pointers_that_are_not_ours_never_reach_the_kernel() {
        let file = null();
        let mut data = [0xff; 32];
        for number in
            [VFIO_DEVICE_FEATURE_DMA_LOGGING_START, VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT]
        {
            let error = feature(file.as_fd(), 40, number | 0x1_0000, &mut data).unwrap_err();
            assert_eq!(error, rustix::io::Errno::FAULT);
            let error = feature(file.as_fd(), 40, number | 0x5_0000, &mut data).unwrap_err();
            assert_eq!(error, rustix::io::Errno::NOTTY, "a probe follows none");
            let error = feature(file.as_fd(), 24, number | 0x1_0000, &mut [0; 16]).unwrap_err();
            assert_eq!(error, rustix::io::Errno::NOTTY, "there is none");
        }
        let error = feature(file.as_fd(), 8, 0, &mut [0; BUFFER]).unwrap_err();
        assert_eq!(error, rustix::io::Errno::FAULT);
    }
}
