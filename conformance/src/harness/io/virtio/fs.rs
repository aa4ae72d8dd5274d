//! Requests for a file system: FUSE_INIT first, then the attributes of the root folder.
//!
//! ```text
//!   slot   | in: header 40, body | out: header 16, body |
//!   ring 0 is for urgent requests (FORGET), ring 1 carries these
//! ```
//!
//! Layouts are those of Linux's `fuse.h`; numbers are little-endian on every machine that we and
//! a back-end for a device of the current version run on together.

use super::{SLOTS, UNTOUCHED, Workload};
use crate::harness::io::memory::{Arena, GuestMemory, MemoryError};
use crate::harness::io::ring::Buffer;

const OPCODE_GETATTR: u32 = 3;
const OPCODE_INIT: u32 = 26;
const ROOT: u64 = 1;

/// The version spoken: 7.31 knows every field used here.
const MAJOR: u32 = 7;
const MINOR: u32 = 31;

const IN_HEADER: u32 = 40;
const IN_BODY: u32 = 16;
const OUT_HEADER: u32 = 16;
const INIT_OUT: u32 = 64;
const ATTR_OUT: u32 = 104;

/// Where the mode is in the body of an answer to GETATTR.
const MODE: u64 = 16 + 60;
const TYPE_MASK: u32 = 0o170_000;
const FOLDER: u32 = 0o040_000;

const IN: u64 = 64;
const SLOT: u64 = 256;

/// A file system.
#[derive(Debug)]
pub struct Fs {
    memory: GuestMemory,
    slots: u64,
}

impl Fs {
    /// A workload with its slots in memory from the arena.
    ///
    /// # Errors
    /// When the arena is used up.
    pub fn new(memory: &GuestMemory, arena: &mut Arena) -> Result<Self, MemoryError> {
        let slots = arena.take(SLOT * SLOTS, SLOT)?;
        Ok(Fs { memory: memory.clone(), slots })
    }

    fn slot(&self, n: u64) -> u64 {
        self.slots + SLOT * (n % SLOTS)
    }

    fn body(n: u64) -> u32 {
        if n == 0 { INIT_OUT } else { ATTR_OUT }
    }

    fn u32(&self, at: u64) -> Result<u32, String> {
        let mut bytes = [0; 4];
        self.memory.read(at, &mut bytes).map_err(|error| error.to_string())?;
        Ok(u32::from_le_bytes(bytes))
    }
}

impl Workload for Fs {
    fn name(&self) -> &'static str {
        "fs"
    }

    fn rings(&self) -> u32 {
        2
    }

    fn request_ring(&self) -> Option<u32> {
        Some(1)
    }

    /// The one after FUSE_INIT: no other request may be sent before its answer.
    fn waits(&self, n: u64) -> bool {
        n == 1
    }

    fn request(&mut self, n: u64) -> Result<Vec<Buffer>, MemoryError> {
        let slot = self.slot(n);
        self.memory.fill(slot, SLOT as u32, UNTOUCHED)?;
        let (opcode, node, body) = match n {
            0 => (OPCODE_INIT, 0, [MAJOR, MINOR, 0x10_0000, 0]), // version, readahead, flags
            _ => (OPCODE_GETATTR, ROOT, [0; 4]),                 // flags, padding, no open file
        };
        let mut bytes = Vec::with_capacity((IN_HEADER + IN_BODY) as usize);
        bytes.extend((IN_HEADER + IN_BODY).to_le_bytes());
        bytes.extend(opcode.to_le_bytes());
        bytes.extend((n + 1).to_le_bytes()); // unique; 0 would be a notification's
        bytes.extend(node.to_le_bytes());
        bytes.extend([0; 16]); // user, group, process: root's; padding
        bytes.extend(body.iter().flat_map(|n| n.to_le_bytes()));
        self.memory.write(slot, &bytes)?;
        let out = slot + IN;
        Ok(vec![
            Buffer { addr: slot, len: IN_HEADER, writable: false },
            Buffer { addr: slot + u64::from(IN_HEADER), len: IN_BODY, writable: false },
            Buffer { addr: out, len: OUT_HEADER, writable: true },
            Buffer { addr: out + u64::from(OUT_HEADER), len: Fs::body(n), writable: true },
        ])
    }

    fn check(&self, n: u64, used: u32) -> Result<(), String> {
        let out = self.slot(n) + IN;
        let len = self.u32(out)?;
        let error = self.u32(out + 4)?.cast_signed();
        let unique = u64::from(self.u32(out + 8)?) | u64::from(self.u32(out + 12)?) << 32;
        let wanted = OUT_HEADER + Fs::body(n);
        if len == u32::from_le_bytes([UNTOUCHED; 4]) {
            return Err("the request is used, but its reply was not written".into());
        }
        if unique != n + 1 {
            return Err(format!("the reply is to request {unique}, not {}", n + 1));
        }
        if error != 0 {
            return Err(format!("the reply is error {error}"));
        }
        if (len, used) != (wanted, wanted) {
            return Err(format!(
                "the reply has length {len} and the used entry {used}, expected {wanted}"
            ));
        }
        let body = out + u64::from(OUT_HEADER);
        match n {
            0 => match self.u32(body)? {
                MAJOR => Ok(()),
                major => Err(format!("the device speaks version {major}, not {MAJOR}")),
            },
            _ => match self.u32(body + MODE)? & TYPE_MASK {
                FOLDER => Ok(()),
                kind => Err(format!("the root has type {kind:o}, which is not a folder")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::io::memory::PAGE;

    fn fs() -> Fs {
        let memory = GuestMemory::new(&[(0, PAGE)]).unwrap();
        Fs::new(&memory, &mut Arena::new(0, PAGE)).unwrap()
    }

    #[test]
    fn only_a_right_answer_is_right() {
        let mut fs = fs();
        let mut answer = |n: u64, len: u32, error: i32, unique: u64, at: u64, word: u32| {
            let chain = fs.request(n).unwrap();
            assert_eq!(chain[2].addr + 16, chain[3].addr);
            let head = [&len.to_le_bytes()[..], &error.to_le_bytes(), &unique.to_le_bytes()];
            fs.memory.write(chain[2].addr, &head.concat()).unwrap();
            fs.memory.write(chain[3].addr + at, &word.to_le_bytes()).unwrap();
            fs.check(n, 16 + chain[3].len)
        };
        assert_eq!(answer(0, 80, 0, 1, 0, 7), Ok(()));
        assert_eq!(answer(5, 120, 0, 6, MODE, 0o040_755), Ok(()));
        assert!(answer(0, 80, 0, 1, 0, 8).is_err(), "another version");
        assert!(answer(0, 80, 0, 2, 0, 7).is_err(), "another request's");
        assert!(answer(0, 80, -71, 1, 0, 7).is_err(), "an error");
        assert!(answer(0, 79, 0, 1, 0, 7).is_err(), "another length");
        assert!(answer(5, 120, 0, 6, MODE, 0o100_755).is_err(), "a file");
        fs.request(0).unwrap();
        assert!(fs.check(0, 80).unwrap_err().contains("not written"));
    }

    #[test]
    fn a_request_fits_its_slot() {
        let mut fs = fs();
        for n in [0, 1, SLOTS - 1, SLOTS] {
            let chain = fs.request(n).unwrap();
            let end = chain.iter().map(|b| b.addr + u64::from(b.len)).max().unwrap();
            assert!(end <= fs.slot(n) + SLOT);
            assert_eq!(chain[0].addr + 40, chain[1].addr);
        }
    }
}
