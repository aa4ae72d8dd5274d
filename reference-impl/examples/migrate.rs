//! A guest with a NIC moves from host A to host B, and back.
//!
//! Each host serves a NIC over vfio-user and has memory of its own, which it gives to its NIC. The
//! guest's driver sends frames all the time, and the NIC's engine moves them through that memory:
//!
//! ```text
//!   driver --frames--> memory <--DMA--> NIC <--vfio-user--> this program
//!                        |               |
//!                        | pages that     | migration data
//!                        v were written   v
//!                      memory           NIC               of the other host
//! ```
//!
//! **Invariant.** The other host gets migration data and pages that were written, by the driver or by
//! the device, and nothing else. At the end memory is compared, byte for byte, with what it has to be.

use std::error::Error;
use std::os::fd::AsFd as _;
use std::time::Duration;

use devmig_model::protocol::vfio_user::{LoggingStart, Range};
use devmig_reference::migration::Flow;
use devmig_reference::migration::State::{self, *};
use devmig_reference::nic::{Link, NicConfig, Parameters};
use devmig_reference::pci::FunctionOptions;
use devmig_reference::vfio_user::client::{Client, NoMemory};
use devmig_reference::vfio_user::driver::{Driver, GuestMemory, PAGE};
use devmig_reference::vfio_user::settings::P2p;
use devmig_reference::vfio_user::{CoreOptions, Running, ServerOptions, Settings, server};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// No wait is longer.
const LIMIT: Duration = Duration::from_secs(10);
/// How often data and pages are copied in a state in which the device runs; what the guest does then.
const ROUNDS: u16 = 4;
const FRAMES: u16 = 12;
const PAUSE: Duration = Duration::from_millis(2);

struct Host {
    _nic: Running,
    client: Client,
    memory: GuestMemory,
}

impl Host {
    /// A NIC with these migration features, and memory that it may read and write.
    fn start(features: u64) -> Outcome<Self> {
        let config = NicConfig::new(Parameters::default())?;
        let latency = Duration::from_micros(300);
        let function = FunctionOptions { config, link: Link::Loopback, latency };
        // By itself, vfio-user has no states without DMA to peers; here they mean what VFIO says.
        let settings = Settings { p2p: P2p::AsVfio, ..Settings::default() };
        let core = CoreOptions::new(function, features, settings);
        let nic = server::start(ServerOptions { core, once: false })?;
        let mut client = Client::connect(&nic.socket(), Box::new(NoMemory), LIMIT)?;
        let memory = GuestMemory::filled(0)?;
        client.dma_map(0, GuestMemory::LENGTH, 0b11, Some((memory.as_fd(), 0)))?;
        Ok(Host { _nic: nic, client, memory })
    }
}

/// The states that the source goes through, by its features: STOP_COPY 1, P2P 2, PRE_COPY 4.
fn way(features: u64) -> &'static [State] {
    match features {
        1 => &[RUNNING, STOP_COPY],
        3 => &[RUNNING, RUNNING_P2P, STOP_COPY],
        5 => &[RUNNING, PRE_COPY, STOP_COPY],
        _ => &[RUNNING, PRE_COPY, PRE_COPY_P2P, STOP_COPY],
    }
}

/// Hands on migration data until there is no more: at all if the device is stopped, else for now.
fn copy_data(from: &mut Host, to: &mut Host) -> Outcome<()> {
    const PIECE: u32 = 0x1_0000;
    loop {
        let data = from.client.data_read(PIECE)?;
        to.client.data_write(&data)?;
        if data.len() < PIECE as usize {
            return Ok(());
        }
    }
}

/// Copies the pages that were written since this was last done. The log forgets them when it reports
/// them, so a page that is written while it is copied is copied again.
fn copy_pages(from: &mut Host, to: &Host, driver: &mut Driver) -> Outcome<()> {
    let report = from.client.logging_report(0, GuestMemory::LENGTH, PAGE)?;
    let by_device = |page: &u64| report.bitmap[(page / 64) as usize] >> (page % 64) & 1 == 1;
    let mut pages = driver.take_touched();
    pages.extend((0..GuestMemory::PAGES).filter(by_device));
    for page in pages {
        to.memory.write(page * PAGE, &from.memory.page(page)?)?;
    }
    Ok(())
}

/// Moves the guest, and says how many frames came back on the way.
fn migrate(from: &mut Host, to: &mut Host, driver: &mut Driver, features: u64) -> Outcome<u16> {
    let before = driver.look(&from.memory)?;
    // Log first, then copy everything once: nothing is written in between without being seen.
    let ranges = vec![Range { iova: 0, length: GuestMemory::LENGTH }];
    from.client.logging_start(&LoggingStart { page_size: PAGE, reserved: 0, ranges })?;
    for page in 0..GuestMemory::PAGES {
        to.memory.write(page * PAGE, &from.memory.page(page)?)?;
    }
    to.client.set_device_state(RESUMING)?;
    for &state in way(features) {
        from.client.set_device_state(state)?;
        for _ in 0..if state.runs() { ROUNDS } else { 1 } {
            if state.runs() {
                driver.send(&mut from.client, &from.memory, FRAMES)?;
                std::thread::sleep(PAUSE);
            }
            if state.flow() == Flow::Saving {
                copy_data(from, to)?;
            }
            copy_pages(from, to, driver)?;
        }
    }
    let moved = driver.look(&from.memory)? - before;
    from.client.logging_stop()?;
    from.client.set_device_state(STOP)?;
    // RESUMING ends here: what does not fit is refused, and the guest would go on at the source.
    to.client.set_device_state(RUNNING)?;
    Ok(moved)
}

/// A -> B -> A with NICs of these features: a line that says how it went.
pub(crate) fn there_and_back(features: u64) -> Outcome<String> {
    let (mut a, mut b) = (Host::start(features)?, Host::start(features)?);
    let mut driver = Driver::set_up(&mut a.client, &a.memory)?;
    driver.send(&mut a.client, &a.memory, FRAMES)?;
    let there = migrate(&mut a, &mut b, &mut driver, features)?;
    driver.settle(&b.memory, LIMIT)?;
    a.memory.write(0, &vec![0xaa; GuestMemory::LENGTH as usize])?;
    let back = migrate(&mut b, &mut a, &mut driver, features)?;
    driver.settle(&a.memory, LIMIT)?;
    let names: Vec<&str> = way(features).iter().map(|state| state.name()).collect();
    let (way, all) = (names.join(", "), driver.look(&a.memory)?);
    Ok(format!("flags {features}: {way}; {there} and {back} of {all} frames moved on the way"))
}

fn main() -> Outcome<()> {
    for features in [1, 3, 5, 7] {
        println!("{}", there_and_back(features)?);
    }
    Ok(())
}
