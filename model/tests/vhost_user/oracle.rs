//! The encoding of vhost-user against one that others wrote: the crate `vhost` of rust-vmm.
//!
//! ```text
//!  its Frontend          --bytes--> our decoder     the fields that were put in
//!                        <--bytes-- our encoder     the value that was put in
//!  its BackendReqHandler <--bytes-- our encoder     the fields that were put in
//!                        --bytes--> our decoder     the value that its back-end returned
//! ```
//!
//! Which payload a message and its reply have comes from the message table, so that the table's
//! numbers and kinds are compared too.
//!
//! What the crate does, for who reads a failure here:
//! - INFLIGHT payloads have 24 bytes: four more than the text has, by C's alignment, and what is in them
//!   is whatever the sender's memory held (they are not compared);
//! - it answers SET_LOG_BASE with the request's own payload;
//! - it refuses values that its validators call wrong (a region of 0 bytes, a misaligned ring), so that
//!   only valid ones are generated here.

#![allow(clippy::unwrap_used)] // a test says by panicking what is wrong

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use devmig_model::protocol::vhost_user::wire::{
    Config, Flags, Header, Inflight, Log, LogTaken, MAX_CONFIG, MAX_SHMEM, Memory, MemoryRegion,
    Payload, PayloadKind, Region, SharedObject, ShmemConfig, Transfer, TransferReply, VringAddr,
    VringFd, VringState,
};
use devmig_model::registry::Library;
use devmig_testing::Premises;
use quickcheck::{Arbitrary, Gen, QuickCheck};
use vhost::vhost_user::message::{
    VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags, VhostUserInflight,
    VhostUserLog, VhostUserMemoryRegion, VhostUserProtocolFeatures, VhostUserShMemConfig,
    VhostUserSharedMsg, VhostUserSingleMemoryRegion, VhostUserVringAddrFlags, VhostUserVringState,
};
use vhost::vhost_user::{
    BackendReqHandler, Error, Frontend, GpuBackend, Result, VhostUserBackendReqHandlerMut,
    VhostUserFrontend,
};
use vhost::{
    VhostBackend, VhostUserDirtyLogRegion, VhostUserMemoryRegionBase, VhostUserMemoryRegionInfo,
    VringConfigData,
};
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::sock_ctrl_msg::ScmSocket;

use crate::common::builtin;

const LIMIT: Duration = Duration::from_secs(20);
/// VHOST_USER_F_PROTOCOL_FEATURES.
const PROTOCOL_FEATURES: u64 = 1 << 30;
const RINGS: u64 = 8;

/// The numbers of one conversation, all of them valid.
#[derive(Clone, Debug)]
struct Numbers {
    features: u64,
    ring: u8,
    num: u16,
    addr: VringAddr,
    regions: Vec<Region>,
    config: Config,
    inflight: Inflight,
    log: Log,
    object: [u8; 16],
    sizes: Vec<u64>,
    loads: bool,
    answer: u64,
}

fn region(g: &mut Gen) -> Region {
    // No sum with the size overflows.
    let mut below = || u64::arbitrary(g) >> 1;
    let (guest_address, user_address, mmap_offset) = (below(), below(), below());
    Region { guest_address, size: below().max(1), user_address, mmap_offset }
}

impl Arbitrary for Numbers {
    fn arbitrary(g: &mut Gen) -> Self {
        let ring = u8::arbitrary(g) % RINGS as u8;
        let length = 1 + usize::arbitrary(g) % MAX_CONFIG;
        let offset = usize::arbitrary(g) % (MAX_CONFIG + 1 - length);
        let bytes = (0..length).map(|_| u8::arbitrary(g)).collect();
        let object: [u8; 16] = std::array::from_fn(|_| u8::arbitrary(g));
        Numbers {
            features: u64::arbitrary(g) | PROTOCOL_FEATURES,
            ring,
            num: u16::arbitrary(g),
            addr: VringAddr {
                index: ring.into(),
                flags: u32::from(bool::arbitrary(g)),
                descriptor: u64::arbitrary(g) & !0xf,
                used: u64::arbitrary(g) & !0x3,
                available: u64::arbitrary(g) & !0x1,
                log: u64::arbitrary(g),
            },
            regions: (0..1 + usize::arbitrary(g) % 8).map(|_| region(g)).collect(),
            config: Config::new(offset as u32, u32::arbitrary(g) % 4, bytes).unwrap(),
            inflight: Inflight {
                mmap_size: u64::arbitrary(g).max(1),
                mmap_offset: u64::arbitrary(g),
                num_queues: u16::arbitrary(g).max(1),
                queue_size: u16::arbitrary(g).max(1),
                alignment: Some([0; 4]),
            },
            log: Log { size: (u64::arbitrary(g) >> 1).max(1), offset: u64::arbitrary(g) >> 1 },
            object: if object == [0; 16] || object == [255; 16] { [7; 16] } else { object },
            sizes: (0..MAX_SHMEM).map(|_| u64::arbitrary(g)).collect(),
            loads: bool::arbitrary(g),
            answer: u64::arbitrary(g),
        }
    }
}

impl Numbers {
    fn state(&self, num: u32) -> Payload {
        Payload::VringState(VringState { index: self.ring.into(), num })
    }

    fn memory(&self) -> Payload {
        Payload::Memory(Memory::new(self.regions.clone()).unwrap())
    }

    fn one_region(&self) -> Payload {
        Payload::MemoryRegion(MemoryRegion { padding: 0, region: self.regions[0] })
    }

    fn transfer(&self) -> Payload {
        Payload::Transfer(Transfer { direction: self.loads.into(), phase: 0 })
    }

    fn shmem(&self) -> Payload {
        let mut config = ShmemConfig::new(self.sizes.clone()).unwrap();
        config.num_regions = self.answer as u32 % (MAX_SHMEM as u32 + 1);
        Payload::ShmemConfig(config)
    }

    fn direction(&self) -> VhostTransferStateDirection {
        match self.loads {
            true => VhostTransferStateDirection::LOAD,
            false => VhostTransferStateDirection::SAVE,
        }
    }
}

fn ring_fd(ring: u8) -> Payload {
    Payload::VringFd(VringFd::new(ring, false))
}

fn pair() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    for end in [&ours, &theirs] {
        end.set_read_timeout(Some(LIMIT)).unwrap();
        end.set_write_timeout(Some(LIMIT)).unwrap();
    }
    (ours, theirs)
}

fn null() -> File {
    File::open("/dev/null").unwrap()
}

/// Reads a message: its name in the table, its header, and what it carries.
fn hear(library: &Library, from: &mut UnixStream) -> (String, Header, Payload) {
    let mut bytes = [0; Header::LEN];
    from.read_exact(&mut bytes).unwrap();
    let header = Header::decode(bytes);
    let mut bytes = vec![0; header.size as usize];
    from.read_exact(&mut bytes).unwrap();
    let known = library.vhost_user().table.messages.iter().find(|known| known.id == header.request);
    let known = known.unwrap_or_else(|| panic!("message {} is unknown", header.request));
    let kind = match header.flags.is_reply() {
        true => known.reply.unwrap_or(PayloadKind::U64),
        false => known.request,
    };
    (known.name.clone(), header, without_alignment(Payload::decode(kind, &bytes).unwrap()))
}

/// A payload with zeros where it only fills C's alignment.
fn without_alignment(payload: Payload) -> Payload {
    match payload {
        Payload::Inflight(inflight) => Payload::Inflight(Inflight {
            alignment: inflight.alignment.map(|_| [0; 4]),
            ..inflight
        }),
        other => other,
    }
}

fn say(to: &UnixStream, id: u32, flags: Flags, payload: &Payload, descriptors: usize) {
    let bytes = payload.encode();
    let header = Header { request: id, flags, size: bytes.len() as u32 };
    let files: Vec<File> = (0..descriptors).map(|_| null()).collect();
    let fds: Vec<_> = files.iter().map(AsRawFd::as_raw_fd).collect();
    let bytes = [&header.encode()[..], &bytes].concat();
    assert_eq!(to.send_with_fds(&[&bytes[..]], &fds).unwrap(), bytes.len());
}

/// One end in our hands, the other with a front-end of rust-vmm.
struct Heard<'a> {
    library: &'a Library,
    socket: UnixStream,
    front_end: Frontend,
    premises: &'static Premises,
}

impl Heard<'_> {
    /// Lets the front-end send a message, compares what comes with what is expected, and answers.
    fn call<T: Send>(
        &mut self,
        name: &str,
        expected: &Payload,
        reply: Option<(Payload, usize)>,
        call: impl FnOnce(&mut Frontend) -> vhost::Result<T> + Send,
    ) -> T {
        let (library, socket, front_end) = (self.library, &mut self.socket, &mut self.front_end);
        let value = std::thread::scope(|scope| {
            let calling = scope.spawn(|| call(front_end));
            let (heard, header, payload) = hear(library, socket);
            assert_eq!((heard.as_str(), &payload), (name, expected));
            assert_eq!((header.flags.version(), header.flags.is_reply()), (1, false), "{name}");
            if let Some((reply, descriptors)) = reply {
                say(socket, header.request, Flags::reply(), &reply, descriptors);
            }
            calling.join().unwrap()
        });
        self.premises.met(name.to_owned());
        value.unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

/// The messages that both halves of the crate know.
const BOTH: [&str; 27] = [
    "GET_FEATURES",
    "SET_FEATURES",
    "GET_PROTOCOL_FEATURES",
    "SET_PROTOCOL_FEATURES",
    "SET_OWNER",
    "RESET_OWNER",
    "SET_MEM_TABLE",
    "SET_LOG_BASE",
    "SET_VRING_NUM",
    "SET_VRING_ADDR",
    "SET_VRING_BASE",
    "GET_VRING_BASE",
    "SET_VRING_KICK",
    "SET_VRING_CALL",
    "SET_VRING_ERR",
    "GET_QUEUE_NUM",
    "SET_VRING_ENABLE",
    "GET_CONFIG",
    "SET_CONFIG",
    "RESET_DEVICE",
    "GET_INFLIGHT_FD",
    "SET_INFLIGHT_FD",
    "GET_MAX_MEM_SLOTS",
    "ADD_MEM_REG",
    "REM_MEM_REG",
    "SET_DEVICE_STATE_FD",
    "CHECK_DEVICE_STATE",
];

fn front_end_says_what_we_hear(numbers: &Numbers, premises: &'static Premises) {
    let library = builtin();
    let (socket, theirs) = pair();
    let front_end = Frontend::from_stream(theirs, RINGS);
    let n = numbers;
    let mut talk = Heard { library: &library, socket, front_end, premises };
    let (none, ring, num) = (Payload::None, usize::from(n.ring), n.num);
    let number = |number: u64| Some((Payload::U64(number), 0));

    let features = talk.call("GET_FEATURES", &none, number(n.features), |f| f.get_features());
    assert_eq!(features, n.features);
    talk.call("SET_FEATURES", &Payload::U64(n.features), None, |f| f.set_features(n.features));
    let all = VhostUserProtocolFeatures::all();
    let offered =
        talk.call("GET_PROTOCOL_FEATURES", &none, number(u64::MAX), |f| f.get_protocol_features());
    assert_eq!(offered, all);
    // Without REPLY_ACK, and without what changes payloads.
    let taken = all - VhostUserProtocolFeatures::REPLY_ACK - VhostUserProtocolFeatures::XEN_MMAP;
    let mask = Payload::U64(taken.bits());
    talk.call("SET_PROTOCOL_FEATURES", &mask, None, |f| f.set_protocol_features(taken));
    talk.call("SET_OWNER", &none, None, |f| f.set_owner());

    let file = null();
    let info = |r: &Region| VhostUserMemoryRegionInfo {
        guest_phys_addr: r.guest_address,
        memory_size: r.size,
        userspace_addr: r.user_address,
        mmap_offset: r.mmap_offset,
        mmap_handle: file.as_raw_fd(),
    };
    let regions: Vec<_> = n.regions.iter().map(info).collect();
    talk.call("SET_MEM_TABLE", &n.memory(), None, |f| f.set_mem_table(&regions).map(drop));
    talk.call("ADD_MEM_REG", &n.one_region(), None, |f| f.add_mem_region(&regions[0]).map(drop));
    talk.call("REM_MEM_REG", &n.one_region(), None, |f| f.remove_mem_region(&regions[0]));
    let slots = talk.call("GET_MAX_MEM_SLOTS", &none, number(n.answer), |f| f.get_max_mem_slots());
    assert_eq!(slots, n.answer);

    let log = VhostUserDirtyLogRegion {
        mmap_size: n.log.size,
        mmap_offset: n.log.offset,
        mmap_handle: file.as_raw_fd(),
    };
    let taken = Some((Payload::LogTaken(LogTaken::Request(n.log)), 0));
    talk.call("SET_LOG_BASE", &Payload::Log(n.log), taken, |f| f.set_log_base(0, Some(log)));
    talk.call("SET_LOG_FD", &none, None, |f| f.set_log_fd(file.as_raw_fd()));

    talk.call("SET_VRING_NUM", &n.state(num.into()), None, |f| f.set_vring_num(ring, num));
    let data = VringConfigData {
        queue_max_size: num,
        queue_size: num,
        flags: n.addr.flags,
        desc_table_addr: n.addr.descriptor,
        used_ring_addr: n.addr.used,
        avail_ring_addr: n.addr.available,
        log_addr: Some(n.addr.log),
    };
    let addr = Payload::VringAddr(n.addr);
    talk.call("SET_VRING_ADDR", &addr, None, |f| f.set_vring_addr(ring, &data));
    talk.call("SET_VRING_BASE", &n.state(num.into()), None, |f| f.set_vring_base(ring, num));
    let event = EventFd::new(0).unwrap();
    talk.call("SET_VRING_KICK", &ring_fd(n.ring), None, |f| f.set_vring_kick(ring, &event));
    talk.call("SET_VRING_CALL", &ring_fd(n.ring), None, |f| f.set_vring_call(ring, &event));
    talk.call("SET_VRING_ERR", &ring_fd(n.ring), None, |f| f.set_vring_err(ring, &event));
    let on = n.loads;
    talk.call("SET_VRING_ENABLE", &n.state(on.into()), None, |f| f.set_vring_enable(ring, on));
    let base = Some((n.state(n.answer as u32), 0));
    let base = talk.call("GET_VRING_BASE", &n.state(0), base, |f| f.get_vring_base(ring));
    assert_eq!(base, n.answer as u32);

    let (config, bytes) = (Payload::Config(n.config.clone()), n.config.bytes());
    let flags = VhostUserConfigFlags::from_bits_truncate(n.config.flags);
    let (offset, size) = (n.config.offset, n.config.size);
    talk.call("SET_CONFIG", &config, None, |f| f.set_config(offset, flags, bytes));
    let reply = Some((config.clone(), 0));
    let (_, found) =
        talk.call("GET_CONFIG", &config, reply, |f| f.get_config(offset, size, flags, bytes));
    assert_eq!(found, bytes);

    let Inflight { mmap_size, mmap_offset, num_queues, queue_size, .. } = n.inflight;
    let inflight = VhostUserInflight::new(mmap_size, mmap_offset, num_queues, queue_size);
    let ours = Payload::Inflight(n.inflight);
    talk.call("SET_INFLIGHT_FD", &ours, None, |f| f.set_inflight_fd(&inflight, file.as_raw_fd()));
    let reply = Some((ours.clone(), 1));
    let (found, _) = talk.call("GET_INFLIGHT_FD", &ours, reply, |f| f.get_inflight_fd(&inflight));
    assert_eq!((found.mmap_size, found.mmap_offset), (mmap_size, mmap_offset));
    assert_eq!((found.num_queues, found.queue_size), (num_queues, queue_size));

    let direction = n.direction();
    let reply = Some((Payload::TransferReply(TransferReply(0x100)), 0));
    let channel = OwnedFd::from(null());
    let file = talk.call("SET_DEVICE_STATE_FD", &n.transfer(), reply, |f| {
        f.set_device_state_fd(direction, VhostTransferStatePhase::STOPPED, channel)
    });
    assert!(file.is_none());
    talk.call("CHECK_DEVICE_STATE", &none, number(0), |f| f.check_device_state());
    talk.call("RESET_DEVICE", &none, None, |f| f.reset_device());
    talk.call("RESET_OWNER", &none, None, |f| f.reset_owner());
    let rings = n.answer % 256;
    let found = talk.call("GET_QUEUE_NUM", &none, number(rings), |f| f.get_queue_num());
    assert_eq!(found, rings);
}

#[test]
fn what_the_front_end_of_rust_vmm_says_is_what_we_hear() {
    static PREMISES: Premises = Premises::new();
    fn law(numbers: Numbers) -> bool {
        front_end_says_what_we_hear(&numbers, &PREMISES);
        true
    }
    QuickCheck::new().tests(10).quickcheck(law as fn(Numbers) -> bool);
    PREMISES.each(BOTH.into_iter().chain(["SET_LOG_FD"]), 10);
}

/// A back-end that notes what it hears, as we say it, and answers with these numbers.
struct Noting {
    numbers: Numbers,
    heard: Vec<Payload>,
}

impl Noting {
    fn note(&mut self, payload: Payload) -> Result<()> {
        self.heard.push(payload);
        Ok(())
    }

    fn state(&mut self, index: u32, num: u32) -> Result<()> {
        self.note(Payload::VringState(VringState { index, num }))
    }

    fn ring(&mut self, index: u8, fd: Option<File>) -> Result<()> {
        self.note(Payload::VringFd(VringFd::new(index, fd.is_none())))
    }

    fn inflight(&mut self, found: &VhostUserInflight) -> Result<()> {
        let VhostUserInflight { mmap_size, mmap_offset, num_queues, queue_size } = *found;
        let alignment = Some([0; 4]);
        self.note(Payload::Inflight(Inflight {
            mmap_size,
            mmap_offset,
            num_queues,
            queue_size,
            alignment,
        }))
    }

    fn config(&mut self, offset: u32, bytes: Vec<u8>, flags: VhostUserConfigFlags) -> Result<()> {
        self.note(Payload::Config(Config::new(offset, flags.bits(), bytes).unwrap()))
    }

    fn region(&mut self, region: &VhostUserSingleMemoryRegion) -> Result<()> {
        self.note(Payload::MemoryRegion(MemoryRegion { padding: 0, region: ours(region) }))
    }
}

fn ours(region: &VhostUserMemoryRegion) -> Region {
    Region {
        guest_address: region.guest_phys_addr,
        size: region.memory_size,
        user_address: region.user_addr,
        mmap_offset: region.mmap_offset,
    }
}

impl VhostUserBackendReqHandlerMut for Noting {
    fn set_owner(&mut self) -> Result<()> {
        self.note(Payload::None)
    }
    fn reset_owner(&mut self) -> Result<()> {
        self.note(Payload::None)
    }
    fn reset_device(&mut self) -> Result<()> {
        self.note(Payload::None)
    }
    fn get_features(&mut self) -> Result<u64> {
        self.note(Payload::None)?;
        Ok(self.numbers.features)
    }
    fn set_features(&mut self, features: u64) -> Result<()> {
        self.note(Payload::U64(features))
    }
    fn set_mem_table(
        &mut self,
        regions: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _: Option<bool>,
    ) -> Result<Option<Vec<VhostUserMemoryRegionBase>>> {
        assert_eq!(files.len(), regions.len());
        let memory = Memory::new(regions.iter().map(ours).collect()).unwrap();
        self.note(Payload::Memory(memory))?;
        Ok(None)
    }
    fn set_vring_num(&mut self, index: u32, num: u32) -> Result<()> {
        self.state(index, num)
    }
    fn set_vring_addr(
        &mut self,
        index: u32,
        flags: VhostUserVringAddrFlags,
        descriptor: u64,
        used: u64,
        available: u64,
        log: u64,
    ) -> Result<()> {
        let flags = flags.bits();
        self.note(Payload::VringAddr(VringAddr { index, flags, descriptor, used, available, log }))
    }
    fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        self.state(index, base)
    }
    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        self.state(index, 0)?;
        Ok(VhostUserVringState::new(index, self.numbers.answer as u32))
    }
    fn set_vring_kick(&mut self, index: u8, fd: Option<File>) -> Result<()> {
        self.ring(index, fd)
    }
    fn set_vring_call(&mut self, index: u8, fd: Option<File>) -> Result<()> {
        self.ring(index, fd)
    }
    fn set_vring_err(&mut self, index: u8, fd: Option<File>) -> Result<()> {
        self.ring(index, fd)
    }
    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        self.note(Payload::None)?;
        Ok(VhostUserProtocolFeatures::all())
    }
    fn set_protocol_features(&mut self, features: u64) -> Result<()> {
        self.note(Payload::U64(features))
    }
    fn get_queue_num(&mut self) -> Result<u64> {
        self.note(Payload::None)?;
        Ok(self.numbers.answer)
    }
    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        self.state(index, enable.into())
    }
    fn get_config(
        &mut self,
        offset: u32,
        size: u32,
        flags: VhostUserConfigFlags,
    ) -> Result<Vec<u8>> {
        let bytes = self.numbers.config.bytes().to_vec();
        assert_eq!(bytes.len(), size as usize);
        self.config(offset, bytes.clone(), flags)?;
        Ok(bytes)
    }
    fn set_config(&mut self, offset: u32, buf: &[u8], flags: VhostUserConfigFlags) -> Result<()> {
        self.config(offset, buf.to_vec(), flags)
    }
    fn set_gpu_socket(&mut self, _: GpuBackend) -> Result<()> {
        Err(Error::InvalidMessage)
    }
    fn get_shared_object(&mut self, uuid: VhostUserSharedMsg) -> Result<File> {
        self.note(Payload::SharedObject(SharedObject(*uuid.uuid.as_bytes())))?;
        Ok(null())
    }
    fn get_inflight_fd(
        &mut self,
        inflight: &VhostUserInflight,
    ) -> Result<(VhostUserInflight, File)> {
        self.inflight(inflight)?;
        Ok((*inflight, null()))
    }
    fn set_inflight_fd(&mut self, inflight: &VhostUserInflight, _: File) -> Result<()> {
        self.inflight(inflight)
    }
    fn get_max_mem_slots(&mut self) -> Result<u64> {
        self.note(Payload::None)?;
        Ok(self.numbers.answer)
    }
    fn add_mem_region(
        &mut self,
        region: &VhostUserSingleMemoryRegion,
        _: File,
        _: Option<bool>,
    ) -> Result<Option<VhostUserMemoryRegionBase>> {
        self.region(region)?;
        Ok(None)
    }
    fn remove_mem_region(&mut self, region: &VhostUserSingleMemoryRegion) -> Result<()> {
        self.region(region)
    }
    fn set_device_state_fd(
        &mut self,
        direction: VhostTransferStateDirection,
        phase: VhostTransferStatePhase,
        _: File,
    ) -> Result<Option<File>> {
        let (direction, phase) = (direction as u32, phase as u32);
        self.note(Payload::Transfer(Transfer { direction, phase }))?;
        Ok(None)
    }
    fn check_device_state(&mut self) -> Result<()> {
        self.note(Payload::None)
    }
    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        self.note(Payload::None)?;
        let regions = self.numbers.answer as u32 % (MAX_SHMEM as u32 + 1);
        Ok(VhostUserShMemConfig::new(regions, &self.numbers.sizes))
    }
    fn set_log_base(&mut self, log: &VhostUserLog, _: File) -> Result<()> {
        self.note(Payload::Log(Log { size: log.mmap_size, offset: log.mmap_offset }))
    }
}

fn back_end_hears_what_we_say(numbers: &Numbers, premises: &'static Premises) {
    let library = builtin();
    let (mut socket, theirs) = pair();
    let noting = Noting { numbers: numbers.clone(), heard: Vec::new() };
    let noting = Arc::new(Mutex::new(noting));
    let mut handler = BackendReqHandler::from_stream(theirs, Arc::clone(&noting));
    let n = numbers;
    let mut ask = |name: &str, payload: Payload, descriptors, reply: Option<Payload>| {
        let known = library.vhost_user().table.messages.iter().find(|known| known.name == name);
        let known = known.unwrap_or_else(|| panic!("{name} is not in the table"));
        assert_eq!(known.request, payload.kind(), "{name}");
        // Acknowledged, where nothing else comes back: so nothing is left to hear.
        let flags = match reply {
            Some(_) => Flags::request(),
            None => Flags::request().with_need_reply(),
        };
        say(&socket, known.id, flags, &payload, descriptors);
        handler.handle_request().unwrap_or_else(|error| panic!("{name}: {error}"));
        let heard = noting.lock().unwrap().heard.pop();
        assert_eq!(heard, Some(payload), "{name}");
        if let Some(reply) = reply {
            let (from, header, payload) = hear(&library, &mut socket);
            assert_eq!((from.as_str(), payload), (name, reply));
            assert_eq!((header.flags.version(), header.flags.is_reply()), (1, true), "{name}");
        }
        premises.met(name.to_owned());
    };
    let (none, num) = (Payload::None, n.num.into());
    let number = |number: u64| Some(Payload::U64(number));
    let all = VhostUserProtocolFeatures::all();
    ask("GET_FEATURES", none.clone(), 0, number(n.features));
    ask("SET_FEATURES", Payload::U64(n.features), 0, None);
    ask("GET_PROTOCOL_FEATURES", none.clone(), 0, number(all.bits()));
    // Without REPLY_ACK, so that need_reply is not answered.
    let taken = all - VhostUserProtocolFeatures::REPLY_ACK;
    ask("SET_PROTOCOL_FEATURES", Payload::U64(taken.bits()), 0, None);
    ask("SET_OWNER", none.clone(), 0, None);
    ask("SET_MEM_TABLE", n.memory(), n.regions.len(), None);
    ask("ADD_MEM_REG", n.one_region(), 1, None);
    ask("REM_MEM_REG", n.one_region(), 0, None);
    ask("GET_MAX_MEM_SLOTS", none.clone(), 0, number(n.answer));
    let log = Payload::LogTaken(LogTaken::Request(n.log));
    ask("SET_LOG_BASE", Payload::Log(n.log), 1, Some(log));
    ask("SET_VRING_NUM", n.state(num), 0, None);
    ask("SET_VRING_ADDR", Payload::VringAddr(n.addr), 0, None);
    ask("SET_VRING_BASE", n.state(num), 0, None);
    ask("SET_VRING_KICK", ring_fd(n.ring), 1, None);
    ask("SET_VRING_CALL", ring_fd(n.ring), 1, None);
    ask("SET_VRING_ERR", Payload::VringFd(VringFd::new(n.ring, true)), 0, None);
    ask("SET_VRING_ENABLE", n.state(n.loads.into()), 0, None);
    ask("GET_VRING_BASE", n.state(0), 0, Some(n.state(n.answer as u32)));
    let config = Payload::Config(n.config.clone());
    ask("SET_CONFIG", config.clone(), 0, None);
    ask("GET_CONFIG", config.clone(), 0, Some(config));
    let inflight = Payload::Inflight(n.inflight);
    ask("SET_INFLIGHT_FD", inflight.clone(), 1, None);
    ask("GET_INFLIGHT_FD", inflight.clone(), 0, Some(inflight));
    let reply = Payload::TransferReply(TransferReply(0x100));
    ask("SET_DEVICE_STATE_FD", n.transfer(), 1, Some(reply));
    ask("CHECK_DEVICE_STATE", none.clone(), 0, number(0));
    ask("GET_SHARED_OBJECT", Payload::SharedObject(SharedObject(n.object)), 0, Some(none.clone()));
    ask("GET_SHMEM_CONFIG", none.clone(), 0, Some(n.shmem()));
    ask("GET_QUEUE_NUM", none.clone(), 0, number(n.answer));
    ask("RESET_DEVICE", none.clone(), 0, None);
    ask("RESET_OWNER", none, 0, None);
}

#[test]
fn what_we_say_is_what_the_back_end_of_rust_vmm_hears() {
    static PREMISES: Premises = Premises::new();
    fn law(numbers: Numbers) -> bool {
        back_end_hears_what_we_say(&numbers, &PREMISES);
        true
    }
    QuickCheck::new().tests(10).quickcheck(law as fn(Numbers) -> bool);
    PREMISES.each(BOTH.into_iter().chain(["GET_SHARED_OBJECT", "GET_SHMEM_CONFIG"]), 10);
}
