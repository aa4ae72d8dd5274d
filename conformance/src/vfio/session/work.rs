//! The NIC at work: what is sent comes back, each frame once and as it was sent.
//!
//! ```text
//!   rings and buffers in memory, doorbell --> device: reads descriptors and frames, writes frames and
//!   what became of each --> seen in memory (see memory.rs), compared with what was sent
//! ```
//!
//! The registers are those of the reference's function (see [`devmig_reference::pci`]), which any
//! device may have that says so in its first register.

use std::time::Duration;

use devmig_engine::clause::ClauseId;
use devmig_model::protocol::vfio::event::pages_in_words;
use devmig_reference::pci::config_space::{self, MEMORY_AND_MASTER};
use devmig_reference::pci::engine::made_available;
use devmig_reference::pci::region::{BAR0, CONFIG};
use devmig_reference::pci::registers::{
    CAUSE, COMMAND, COMMAND_HIGH, CONTROL, FILTER, GO, ID, MASK, RUN, cause,
};
use devmig_reference::pci::ring::{DriverRing, STATUS_LENGTH, Status};
use devmig_reference::socket::Deadline;

use super::Session;
use super::memory::{BASE, PAGE, PEER};
use crate::harness::verdict::TestEnd;
use crate::vfio::script::To;

/// Descriptors of a queue.
const SIZE: u16 = 32;
/// Bytes of a frame.
const FRAME: usize = 64;
/// How often to look.
const PAUSE: Duration = Duration::from_millis(1);

/// An address that the filter is told to let through, and one that no filter knows.
const TABLE: [u8; 6] = [0x02, 0, 0, 0, 0, 0x99];
const NOBODY: [u8; 6] = [0x02, 0, 0, 0, 0, 0x66];

/// The driver's side.
#[derive(Clone, Debug)]
pub(super) struct Work {
    /// Where rings and buffers are: pages.
    first: u64,
    /// Pages of the buffers of each ring.
    buffers: u64,
    address: [u8; 6],
    filtering: bool,
    sent: u16,
    room: u16,
    /// What should come back, in order.
    due: Vec<Vec<u8>>,
    came: u16,
}

impl Work {
    fn ring(&self, transmit: bool) -> DriverRing {
        let address = self.page(u64::from(!transmit));
        DriverRing { queue: transmit.into(), address, size: SIZE }
    }

    fn command(&self) -> u64 {
        self.page(2)
    }

    /// Where the page of this number is, from the first on.
    fn page(&self, n: u64) -> u64 {
        BASE.saturating_add(self.first.saturating_add(n).saturating_mul(PAGE))
    }

    fn buffer(&self, transmit: bool, n: u16) -> u64 {
        let n = u64::from(n);
        let lap = n.checked_div(self.buffers).unwrap_or_default().saturating_mul(256);
        let page = n.checked_rem(self.buffers).unwrap_or_default().saturating_add(3);
        match transmit {
            true => self.page(page).saturating_add(lap),
            // What comes in crosses from one page to the next.
            false => self
                .page(page.saturating_add(self.buffers))
                .saturating_add(lap)
                .saturating_add(0xfe0),
        }
    }

    /// Pages that the device only reads, as bits.
    fn read_only(&self) -> u64 {
        let first = self.first.saturating_add(2);
        let end = first.saturating_add(1).saturating_add(self.buffers);
        (first..end).fold(0, |pages, page| pages | 1 << page)
    }
}

impl Session<'_> {
    /// Whether the device is the NIC that the tester knows: PCI says so.
    pub(super) fn is_nic(&mut self) -> Result<bool, TestEnd> {
        let info = self.region_info(CONFIG)?;
        if !info.is_readable || info.size < 12 {
            return Ok(false);
        }
        let class = match self.device.region_read(CONFIG, 0, 12) {
            Ok(said) => said.unwrap_or_default(),
            Err(trouble) => return self.trouble(trouble),
        };
        let ours = config_space::ConfigSpace::default();
        Ok(ours.read(0, 4) == class.get(..4) && class.len() == 12)
    }

    fn registers_at(&mut self, offset: u64, length: u32) -> Result<Vec<u8>, TestEnd> {
        let read = self.region(BAR0, offset, length)?;
        read.ok_or_else(|| TestEnd::Skip("needs a device whose registers can be read here".into()))
    }

    fn set_register(&mut self, offset: u64, value: u32) -> Result<(), TestEnd> {
        match self.write_region(BAR0, offset, &value.to_le_bytes())? {
            true => Ok(()),
            false => {
                Err(TestEnd::Skip("needs a device whose registers can be written here".into()))
            }
        }
    }

    /// Rings are set up, and the device is told to work.
    pub(super) fn set_up(&mut self, peers: bool) -> Result<(), TestEnd> {
        let id = self.registers_at(0, 4)?;
        if id != ID.to_le_bytes() && self.work.is_some() {
            let observed = format!("the first register is {id:x?}, and shows another device");
            return self.undone(&observed);
        }
        if id != ID.to_le_bytes() {
            return Err(TestEnd::Skip("needs a NIC that the tester can drive".into()));
        }
        let address = self.registers_at(0x18, 8)?;
        let address = address.first_chunk().copied().unwrap_or_default();
        let (first, buffers) = if peers { (PEER, 6) } else { (0, 20) };
        let (sent, room, came, filtering) = (0, 0, 0, false);
        let due = Vec::new();
        let work = Work { first, buffers, address, filtering, sent, room, due, came };
        for transmit in [true, false] {
            let ring = work.ring(transmit);
            self.guest.put(ring.address, &vec![0; ring.length()])?;
        }
        self.write_region(CONFIG, config_space::COMMAND as u64, &MEMORY_AND_MASTER)?;
        for transmit in [false, true] {
            for (register, value) in work.ring(transmit).set_up() {
                self.set_register(register, value)?;
            }
        }
        self.set_register(CONTROL as u64, GO)?;
        self.work = Some(work);
        Ok(())
    }

    fn working(&mut self) -> Result<Work, TestEnd> {
        self.work.clone().ok_or_else(|| TestEnd::Skip("needs a NIC that was set up".into()))
    }

    fn describe(
        &mut self,
        ring: DriverRing,
        n: u16,
        buffer: u64,
        length: u32,
    ) -> Result<(), TestEnd> {
        self.guest.put(ring.descriptor(n), &made_available(buffer, length))
    }

    /// Transmits frames.
    pub(super) fn send(&mut self, count: u16, to: To) -> Result<(), TestEnd> {
        let mut work = self.working()?;
        if count > SIZE.saturating_sub(work.sent % SIZE) {
            return Err(TestEnd::Skip("needs a longer ring".into()));
        }
        self.sample()?;
        for _ in 0..count {
            let n = work.sent;
            let address = match to {
                To::Us => work.address,
                To::Table => TABLE,
                To::Nobody => NOBODY,
            };
            let mut frame = [&address[..], &[0x02, 0, 0, 0, 0, 0x01], &[0x88, 0xb5]].concat();
            frame.extend(n.to_le_bytes());
            frame.resize(FRAME, (n as u8).wrapping_mul(31).wrapping_add(7));
            let buffer = work.buffer(true, n);
            self.guest.put(buffer, &frame)?;
            self.describe(work.ring(true), n, buffer, FRAME as u32)?;
            if to != To::Nobody || !work.filtering {
                work.due.push(frame);
            }
            work.sent = work.sent.wrapping_add(1);
        }
        let (doorbell, head) = (work.ring(true).doorbell(), work.sent);
        self.work = Some(work);
        self.set_register(doorbell, head.into())
    }

    /// There is room for frames.
    pub(super) fn room(&mut self, count: u16) -> Result<(), TestEnd> {
        let mut work = self.working()?;
        self.sample()?;
        for _ in 0..count {
            let n = work.room;
            let buffer = work.buffer(false, n);
            self.guest.put(buffer, &[0; 128])?;
            self.describe(work.ring(false), n, buffer, 128)?;
            work.room = work.room.wrapping_add(1);
        }
        let (doorbell, head) = (work.ring(false).doorbell(), work.room);
        self.work = Some(work);
        self.set_register(doorbell, head.into())
    }

    /// The NIC takes what is addressed to it, and to one address more.
    pub(super) fn filter(&mut self) -> Result<(), TestEnd> {
        let mut work = self.working()?;
        let mut table = vec![1, 0, 1, 0, 0, 0];
        table.extend(TABLE);
        table.extend([0; 4]);
        for command in [vec![0, 0, 0], table] {
            let at = work.command();
            self.guest.put(at, &command)?;
            self.set_register(COMMAND as u64, at as u32)?;
            self.set_register(COMMAND_HIGH as u64, (at >> 32) as u32)?;
            self.set_register(RUN as u64, command.len() as u32)?;
            let deadline = Deadline::after(self.limits.work);
            while self.registers_at(RUN as u64, 4)? != [0; 4] {
                if deadline.passed() {
                    self.is_late = true;
                    return self.undone("a command is not executed");
                }
                self.serve(PAUSE)?;
            }
        }
        work.filtering = true;
        self.work = Some(work);
        self.set_register(CONTROL as u64, GO | FILTER)
    }

    /// Interrupts are taken, whatever causes them.
    pub(super) fn listen(&mut self) -> Result<(), TestEnd> {
        use std::os::fd::AsFd as _;
        self.may_interrupt(false)?;
        let event = devmig_reference::socket::event::Event::new()
            .map_err(|errno| TestEnd::Harness(errno.to_string()))?;
        match self.device.trigger(event.as_fd()) {
            Ok(Ok(())) => (self.interrupts, self.interrupted) = (Some(event), 0),
            Ok(Err(number)) if self.interrupts.is_some() => {
                let clause = self.clause("vfio-user.interrupts.signalled")?;
                let observed = format!("another event descriptor is refused: {number}");
                return self.finding_of(clause, observed, vec!["success".into()]);
            }
            Ok(Err(errno)) => {
                return Err(TestEnd::Skip(format!("needs a device with INTx ({errno})")));
            }
            Err(trouble) => return self.trouble(trouble),
        }
        if self.work.is_some() {
            self.set_register(MASK as u64, cause::ALL)?;
        }
        Ok(())
    }

    /// An interrupt comes, and the driver is ready for the next one.
    pub(super) fn interrupted(&mut self) -> Result<(), TestEnd> {
        let deadline = Deadline::after(self.limits.work);
        while self.interrupted == 0 {
            if deadline.passed() {
                self.is_late = true;
                let clause = self.clause("vfio-user.interrupts.signalled")?;
                let observed = "no interrupt arrives, although its cause is set".to_owned();
                let expected = vec!["an interrupt, through the event descriptor".to_owned()];
                return self.finding_of(clause, observed, expected);
            }
            self.serve(PAUSE)?;
        }
        self.set_register(CAUSE as u64, cause::ALL)?;
        self.unmask()
    }

    pub(super) fn unmask(&mut self) -> Result<(), TestEnd> {
        self.may_interrupt(true)?;
        self.sample()?;
        self.interrupted = 0;
        match self.device.unmask() {
            Ok(_) => Ok(()),
            Err(trouble) => self.trouble(trouble),
        }
    }

    fn serve(&mut self, time: Duration) -> Result<(), TestEnd> {
        match self.device.serve(time) {
            Ok(()) => self.sample(),
            Err(trouble) => self.trouble(trouble),
        }
    }

    fn undone(&mut self, observed: &str) -> Result<(), TestEnd> {
        let expected = vec!["the device continues its work as before".to_owned()];
        self.finding_of(ClauseId::NONE, observed.to_owned(), expected)
    }

    fn status(&self, work: &Work, transmit: bool, n: u16) -> Result<Status, TestEnd> {
        let bytes = self.guest.get(work.ring(transmit).status_at(n), STATUS_LENGTH)?;
        Ok(Status::from_bytes(&bytes))
    }

    /// Whether all that was sent is marked as done, and all that there is room for has come.
    pub(super) fn is_done(&mut self) -> Result<bool, TestEnd> {
        let work = self.working()?;
        let expected = work.room.min(work.due.len() as u16);
        let done = |transmit, count: u16| {
            let last = count.checked_sub(1);
            last.map_or(Ok(true), |n| Ok(self.status(&work, transmit, n)? != Status::Waiting))
        };
        Ok(done(true, work.sent)? && done(false, expected)?)
    }

    /// What was sent was sent, and what can come has come, as it was sent.
    pub(super) fn settle(&mut self) -> Result<(), TestEnd> {
        let work = self.working()?;
        let deadline = Deadline::after(self.limits.work);
        let expected = work.room.min(work.due.len() as u16);
        while !self.is_done()? {
            if deadline.passed() {
                self.is_late = true;
                return self.undone("a sent frame is not completed, or is not returned");
            }
            self.serve(PAUSE)?;
        }
        // What comes after it was too much.
        self.serve(PAUSE)?;
        for n in work.came..expected {
            let status = self.status(&work, false, n)?;
            let came = self.guest.get(work.buffer(false, n), FRAME)?;
            if status != Status::Done(FRAME as u32) || work.due.get(usize::from(n)) != Some(&came) {
                let is_failed = status == Status::Failed;
                let failed = if is_failed { ", and is marked as failed" } else { "" };
                return self.undone(&format!("frame {n} is not returned as it was sent{failed}"));
            }
        }
        // One more than should come is one too many.
        if work.room > expected && self.status(&work, false, expected)? != Status::Waiting {
            return self.undone("a frame was delivered that the filter rejects");
        }
        self.work = Some(Work { came: expected, ..work });
        Ok(())
    }

    /// Nothing is expected: whatever comes is judged.
    pub(super) fn quiet(&mut self) -> Result<(), TestEnd> {
        let deadline = Deadline::after(self.limits.quiet);
        while !deadline.passed() {
            self.serve(PAUSE)?;
        }
        Ok(())
    }

    /// Of pages that the device only reads, no report tells.
    pub(super) fn only_writes(&mut self, pages: u64) -> Result<(), TestEnd> {
        let Some(work) = &self.work else { return Ok(()) };
        let wrong = pages & work.read_only();
        if wrong == 0 {
            return Ok(());
        }
        let clause = self.clause("vfio.log.only-writes")?;
        let observed = format!("reports {}, which it only reads", pages_in_words(wrong));
        self.finding_of(clause, observed, vec!["only pages that were written".into()])
    }
}
