//! A process that the kernel kills when we are gone, whatever has ended us.
//!
//! **Invariant.** What runs between fork and exec are two system calls: nothing is allocated, and no
//! lock is taken.
//!
//! **Not here:** what the process starts itself. The kernel forgets the request at its fork, so a
//! command that is a shell's script leaves its own children behind after SIGKILL.

#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

/// Has the command killed when the thread that starts it ends, and so when we do.
pub(crate) fn end_with_us(command: &mut Command) {
    let us = getpid();
    let ask = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // We may have ended before it was asked for.
        match getppid() == Some(us) {
            true => Ok(()),
            false => Err(io::ErrorKind::BrokenPipe.into()),
        }
    };
    // SAFETY: `ask` makes two system calls that are async-signal-safe, and neither allocates nor takes a
    // lock: errors are numbers and kinds.
    unsafe {
        command.pre_exec(ask);
    }
}
