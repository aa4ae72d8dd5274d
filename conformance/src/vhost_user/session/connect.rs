//! Who connects: the first conversation, with guest memory, rings and a workload for the device.

use super::*;
use crate::harness::io::memory::Arena;
use crate::harness::io::virtio::{Blk, BlkOptions, Console, Fs, Net, Nothing, Rng, Wire};

/// A guest that has just booted: memory, rings, and work for the device.
pub(super) struct Guest {
    pub(super) memory: GuestMemory,
    pub(super) workload: Box<dyn Workload>,
    pub(super) lines: Vec<Line>,
    /// Where the rings begin, and the buffers end.
    pub(super) split: u64,
    pub(super) untouched: [(u64, u64); 2],
}

impl Guest {
    pub(super) fn new(device: Device, scratch: bool) -> Result<Self, TestEnd> {
        let memory = GuestMemory::new(&[(0, MEMORY)]).map_err(harness)?;
        let mut arena = Arena::new(PAGE, MEMORY - PAGE);
        let workload: Box<dyn Workload> = match device {
            Device::Blk => {
                let options = BlkOptions { scratch, ..BlkOptions::default() };
                Box::new(Blk::new(&memory, &mut arena, options).map_err(harness)?)
            }
            Device::Fs => Box::new(Fs::new(&memory, &mut arena).map_err(harness)?),
            Device::Net => Box::new(Net::new(&memory, &mut arena).map_err(harness)?),
            Device::NetLoopback => Box::new(Wire::new(&memory, &mut arena).map_err(harness)?),
            Device::Rng => Box::new(Rng::new(&memory, &mut arena).map_err(harness)?),
            Device::Console => Box::new(Console::new(&memory, &mut arena).map_err(harness)?),
            Device::None => Box::new(Nothing),
        };
        // Rings are apart from buffers, so that they can be given as two regions.
        let split = arena.take(0, PAGE).map_err(harness)?;
        let line = |_| {
            let ring = Ring::new(&memory, &mut arena, workload.ring_size()).map_err(harness)?;
            Ok(Line {
                ring,
                requests: HashMap::new(),
                buffers: HashMap::new(),
                kicked: false,
                announced: 0,
                broken: false,
                error: event::Event::new().map_err(harness)?,
            })
        };
        let lines = (0..workload.rings()).map(line).collect::<Result<Vec<_>, TestEnd>>()?;
        let untouched = [(0, PAGE), arena.rest()];
        Ok(Guest { memory, workload, lines, split, untouched })
    }
}

impl<'m> Session<'m> {
    /// Connects. `first` is false if the implementation was talked to before.
    ///
    /// # Errors
    /// [`TestEnd::Harness`].
    pub fn start(setting: Setting<'m>, first: bool) -> Result<Self, TestEnd> {
        let Setting { machine, subject, rules, acknowledged, declined } = setting;
        let Subject { target, device, scratch, limits, seed, outside } = subject;
        let deadline = Deadline::after(limits.connect);
        let (connection, live) = target.connect(first, deadline).map_err(harness)?;
        let Guest { memory, workload, lines, split, untouched } = Guest::new(device, scratch)?;
        Ok(Session {
            machine,
            target,
            limits,
            device,
            scratch,
            possible: StateEstimate::new(machine, rules),
            log: Vec::new(),
            records: Vec::new(),
            rules,
            connection: Some(connection),
            live,
            memory,
            lines,
            workload,
            sent: 0,
            numbers: HashMap::new(),
            offered: 0,
            features: 0,
            protocol_offered: 0,
            protocol: 0,
            declined,
            bases: [0; RINGS],
            acknowledged,
            outside,
            asked: false,
            own: back_end_channel::Own::default(),
            held: None,
            channel: None,
            state: Vec::new(),
            state_ended: false,
            transfer_answered: false,
            answer: None,
            seed,
            first,
            unread: false,
            untouched,
            pieces: 0,
            whole: [false; 2],
            keeps: Keeps::default(),
            tracking: tracking::Tracking::default(),
            completed: 0,
            events: false,
            stray: stray_descriptor::Stray::default(),
            split,
        })
    }
}
