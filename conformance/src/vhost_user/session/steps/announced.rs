//! What the back-end has announced is used: as many queues, and as many memory regions.
//!
//! **Invariants.** The machine has fewer rings and regions than a back-end may announce, so these messages
//! are sent without it, and nothing of the device is looked at afterwards. How many are sent is bounded.

use std::os::fd::AsFd;

use devmig_engine::clause::ClauseId;
use devmig_model::protocol::vhost_user::event::Value;
use devmig_model::protocol::vhost_user::wire::{
    Flags, Header, MemoryRegion, Payload, Region, VringState,
};

use crate::harness::io::memory::{PAGE, user_address};
use crate::harness::verdict::TestEnd;
use crate::vhost_user::Deadline;
use crate::vhost_user::session::Session;
use crate::vhost_user::transport::ReceiveError;

/// The most memory regions that are added: the most that implementations are known to announce, doubled.
const MOST_REGIONS: u64 = 1024;
/// Where the first of them is: beyond all of guest memory.
const FIRST: u64 = 1 << 40;

/// The last queue that was announced has a size.
pub(super) fn last_queue(s: &mut Session<'_>) -> Result<(), TestEnd> {
    let Some(last) = announced(s).and_then(|count| count.checked_sub(1)) else { return Ok(()) };
    let observed = |why: &str| {
        format!(
            "{} queues are announced, and SET_VRING_NUM for ring {last}: {why}",
            last.wrapping_add(1)
        )
    };
    let Ok(index) = u32::try_from(last) else {
        return s.conversation.finding(
            ClauseId::NONE,
            &observed("no message can name it"),
            Vec::new(),
        );
    };
    let size = VringState { index, num: s.driver.ring_size().into() };
    match accepted(s, "SET_VRING_NUM", &Payload::VringState(size), false)? {
        Ok(()) => Ok(()),
        Err(why) => s.conversation.finding(ClauseId::NONE, &observed(&why), success()),
    }
}

/// As many regions as were announced are added.
pub(super) fn every_slot(s: &mut Session<'_>) -> Result<(), TestEnd> {
    let Some(slots) = announced(s) else { return Ok(()) };
    let mut first = FIRST;
    for count in 1..=slots.min(MOST_REGIONS) {
        let region = Region {
            guest_address: first,
            size: PAGE,
            user_address: user_address(first),
            mmap_offset: s.driver.memory.file_offset(),
        };
        // Apart from each other, so that no two are one.
        first = first.saturating_add(PAGE.saturating_mul(2));
        let region = Payload::MemoryRegion(MemoryRegion { padding: 0, region });
        if let Err(why) = accepted(s, "ADD_MEM_REG", &region, true)? {
            let observed = format!(
                "{slots} memory slots are announced, and ADD_MEM_REG number {count}: {why}"
            );
            return s.conversation.finding(ClauseId::NONE, &observed, success());
        }
    }
    Ok(())
}

fn success() -> Vec<String> {
    vec!["success".to_owned()]
}

/// The number in the last reply.
fn announced(s: &Session<'_>) -> Option<u64> {
    s.negotiation.answer.map(|(_, Value(number))| number)
}

/// Sends a message, with guest memory if it `brings` a descriptor, and waits for its acknowledgement or, if
/// there is none, for the next reply. Else why it was not accepted.
fn accepted(
    s: &mut Session<'_>,
    name: &str,
    payload: &Payload,
    brings: bool,
) -> Result<Result<(), String>, TestEnd> {
    let table = &s.machine().table;
    let id = |name: &str| {
        let id = table.named(name).map(|id| s.machine().message(id).id);
        id.ok_or_else(|| TestEnd::Harness(format!("the table has no {name}")))
    };
    let (request, question) = (id(name)?, id("GET_FEATURES")?);
    s.read_all()?;
    let acknowledges = s.negotiation.acknowledges(table);
    let bytes = payload.encode();
    let flags = Flags::request();
    let flags = if acknowledges { flags.with_need_reply() } else { flags };
    let header = Header { request, flags, size: bytes.len() as u32 };
    s.conversation.note(format!("-> {name} {payload:?}"));
    let memory = s.driver.memory.descriptor();
    let fds = [memory.as_fd()];
    let sent = [&header.encode()[..], &bytes].concat();
    s.link.send_raw(&sent, if brings { &fds } else { &[] }, s.limits.owed)?;
    if !acknowledges {
        let header = Header { request: question, flags: Flags::request(), size: 0 };
        s.link.send_raw(&header.encode(), &[], s.limits.owed)?;
    }
    let deadline = Deadline::after(s.limits.owed);
    match s.link.receive(deadline) {
        Some(Ok(received)) if acknowledges && received.header.request == request => {
            let value = received.payload.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes));
            Ok(match value {
                Some(0) => Ok(()),
                _ => Err(format!("it is acknowledged with {:?}", received.payload)),
            })
        }
        Some(Ok(received)) if !acknowledges && received.header.request == question => Ok(Ok(())),
        Some(Ok(received)) => Ok(Err(format!("a reply to message {}", received.header.request))),
        Some(Err(ReceiveError::Timeout { .. })) => {
            Ok(Err(format!("no reply within {:?}", s.limits.owed)))
        }
        None | Some(Err(_)) => {
            s.link.lose();
            s.link.must_not_close();
            Ok(Err("the connection is closed".to_owned()))
        }
    }
}
