//! A process that the kernel kills when we are gone, whatever has ended us.
//!
//! **Invariants.** What runs between fork and exec are two system calls: nothing is allocated, and no
//! lock is taken. The kernel follows the thread that starts a process, not us: one thread starts all of
//! them, and lives as long as we do.
//!
//! **Not here:** what the process starts itself. The kernel forgets the request at its fork, so a
//! command that is a shell's script leaves its own children behind after SIGKILL.

#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::sync::LazyLock;
use std::sync::mpsc::{Sender, channel};

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

/// A command, and where its process goes.
type Order = (Command, Sender<io::Result<Child>>);

/// The thread that starts all processes.
static STARTER: LazyLock<Sender<Order>> = LazyLock::new(|| {
    let (orders, taken) = channel::<Order>();
    std::thread::spawn(move || {
        for (mut command, reply) in taken {
            end_with_us(&mut command);
            let started = command.spawn();
            // What the command holds is ours no more, even while the process starts.
            drop(command);
            // Whoever asked waits for it.
            let _ = reply.send(started);
        }
    });
    orders
});

/// Starts a process that is killed when we are gone.
///
/// # Errors
/// What the kernel says.
pub(crate) fn start(command: Command) -> io::Result<Child> {
    let (reply, started) = channel();
    let gone = || io::Error::other("the thread that starts processes is gone");
    STARTER.send((command, reply)).map_err(|_| gone())?;
    started.recv().map_err(|_| gone())?
}

/// Has the command killed when the thread that starts it ends.
fn end_with_us(command: &mut Command) {
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
