//! A client that others wrote, the published crate `vfio_user` 0.1.7, drives our server by the commands
//! that it knows: those up to DEVICE_RESET, without migration.
//!
//! What the crate does, for who reads a failure here:
//! - it reads no error from a reply: a command that is refused looks as if it had been carried out;
//! - to a REGION_READ that is refused it waits for data that never come, so none is tried here;
//! - `resettable()` says the opposite of what the server said;
//! - in DEVICE_GET_INFO and SET_IRQS its `argsz` counts the message's header too, which is taken for
//!   room that is not needed.

#![allow(clippy::unwrap_used)] // a test says by panicking what is wrong

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::mpsc::channel;
use std::time::Duration;

use devmig_reference::nic::{Link, NicConfig, Parameters};
use devmig_reference::pci::{FunctionOptions, region, registers};
use devmig_reference::socket::Deadline;
use devmig_reference::socket::event::Event;
use devmig_reference::vfio_user::driver::{
    BoxedError, Driver, DriverError, GuestMemory, Registers,
};
use devmig_reference::vfio_user::{CoreOptions, Running, ServerOptions, server};
use vfio_user::Client;

/// The client has no limits of its own.
const LIMIT: Duration = Duration::from_secs(20);

const MASK: u64 = 0x14;
const TRIGGER_BY_DESCRIPTOR: u32 = 1 << 2 | 1 << 5;
const UNMASK: u32 = 1 | 1 << 4;

struct Stranger(Client);

impl Registers for Stranger {
    fn write(&mut self, region: u32, offset: u64, bytes: &[u8]) -> Result<(), BoxedError> {
        Ok(self.0.region_write(region, offset, bytes)?)
    }
}

impl Stranger {
    fn read(&mut self, region: u32, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.region_read(region, offset, &mut bytes).unwrap();
        bytes
    }
}

fn serve() -> Running {
    let config = NicConfig::new(Parameters::default()).unwrap();
    let function = FunctionOptions { config, link: Link::Loopback, latency: Duration::ZERO };
    let core = CoreOptions::new(function, 5, Default::default());
    server::start(ServerOptions { core, once: false }).unwrap()
}

/// Runs this against a server of its own, within the limit.
fn with_stranger(work: impl FnOnce(&mut Stranger) + Send + 'static) {
    let server = serve();
    let socket = server.socket();
    let (done, is_done) = channel();
    let client = std::thread::spawn(move || {
        work(&mut Stranger(Client::new(&socket).unwrap()));
        done.send(()).unwrap();
    });
    let in_time = is_done.recv_timeout(LIMIT);
    // Whoever still waits for an answer finds the connection closed.
    server.stop(LIMIT).unwrap();
    client.join().unwrap();
    in_time.unwrap();
}

#[test]
fn it_finds_a_pci_device_with_its_regions_and_its_interrupt() {
    with_stranger(|stranger| {
        let sizes: Vec<u64> =
            (0..region::COUNT).map(|index| stranger.0.region(index).unwrap().size).collect();
        assert_eq!(sizes, [0x1000, 0, 0, 0, 0, 0, 0, 256, 0]);
        for (index, count) in [(0, 1), (1, 0), (2, 0), (3, 0), (4, 0)] {
            let info = stranger.0.get_irq_info(index).unwrap();
            assert_eq!((info.index, info.count), (index, count));
        }
        // The device says that it can be reset: see above.
        assert!(!stranger.0.resettable());
    });
}

#[test]
fn it_reads_and_writes_registers_and_resets_the_device() {
    with_stranger(|stranger| {
        assert_eq!(stranger.read(region::CONFIG, 0, 4), [0x34, 0x12, 0x71, 0xde]);
        assert_eq!(stranger.read(region::BAR0, 0, 4), *b"dNIC");
        let all = registers::cause::ALL.to_le_bytes();
        stranger.write(region::BAR0, MASK, &all).unwrap();
        assert_eq!(stranger.read(region::BAR0, MASK, 4), all);
        stranger.0.reset().unwrap();
        assert_eq!(stranger.read(region::BAR0, MASK, 4), [0; 4]);
    });
}

#[test]
fn it_gives_memory_takes_interrupts_and_takes_the_memory_back() {
    with_stranger(|stranger| {
        let memory = GuestMemory::filled(0).unwrap();
        let file = memory.as_fd().as_raw_fd();
        stranger.0.dma_map(0, 0, GuestMemory::LENGTH, file).unwrap();
        let event = Event::new().unwrap();
        let fds = [event.as_fd().as_raw_fd()];
        stranger.0.set_irqs(0, TRIGGER_BY_DESCRIPTOR, 0, 1, &fds).unwrap();
        stranger.write(region::BAR0, MASK, &registers::cause::ALL.to_le_bytes()).unwrap();

        let mut driver = Driver::set_up(stranger, &memory).unwrap();
        assert_eq!(driver.send(stranger, &memory, 8).unwrap(), 8);
        driver.settle(&memory, LIMIT).unwrap();
        assert!(event.wait(Deadline::after(LIMIT)).unwrap());
        assert_eq!(event.take().unwrap(), 1, "the line masks itself");
        stranger.0.set_irqs(0, UNMASK, 0, 1, &[]).unwrap();
        assert!(event.wait(Deadline::after(LIMIT)).unwrap(), "its cause is still there");

        stranger.0.dma_unmap(0, GuestMemory::LENGTH).unwrap();
        driver.send(stranger, &memory, 1).unwrap();
        let more = driver.settle(&memory, Duration::from_millis(50)).unwrap_err();
        assert!(matches!(more, DriverError::Slow { done: 8, sent: 9, .. }), "{more}");

        // What found no memory is done once there is some again.
        stranger.0.dma_map(0, 0, GuestMemory::LENGTH, file).unwrap();
        driver.settle(&memory, LIMIT).unwrap();
    });
}
