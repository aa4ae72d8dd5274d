//! Stands between a source and a destination, passes everything on, and records it.
//!
//! ```text
//!   source ==connection N==> relay ==connection N==> destination
//!                              '--> conn<N>.bin, conn<N>.rev.bin, index.csv
//! ```
//!
//! Each direction of each connection has a thread, which reads a piece, records it, and writes it. So a side that
//! does not read stops nothing but that direction, and no two directions wait for each other.
//!
//! **Invariants.** What is held for a side is one piece. The bytes of a piece are in its file before its row is in
//! the index, so a recording that is cut off is one. A connection that the relay ends has no EOF in the index. What
//! cannot be recorded is not passed on: the relay then ends all connections.

// A peer's bytes come here: what overflows or is outside is an answer, never a panic.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use devmig_reference::multifd::Stream;
use devmig_reference::temporary::{self, Temporary};

use super::recording::HEADER;

/// How much is passed on at once.
const PIECE: usize = 256 << 10;
/// How often it is looked whether to stop, while nobody connects.
const LOOK: Duration = Duration::from_millis(20);
/// The most connections.
const CONNECTIONS: u32 = 512;

/// Where a side listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// A host and a port.
    Tcp(String),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "{}", path.display()),
            Address::Tcp(address) => f.write_str(address),
        }
    }
}

/// A listening socket of either kind.
#[derive(Debug)]
pub enum Listener {
    /// A Unix socket.
    Unix(UnixListener),
    /// TCP.
    Tcp(TcpListener),
}

impl std::str::FromStr for Address {
    type Err = String;

    /// A path has a slash or no colon.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.rsplit_once(':') {
            _ if text.is_empty() => Err("an address is a path, or HOST:PORT".to_owned()),
            Some((_, port)) if !text.contains('/') => match port.parse::<u16>() {
                Ok(_) => Ok(Address::Tcp(text.to_owned())),
                Err(_) => Err(format!("`{port}` is not a port")),
            },
            _ => Ok(Address::Unix(text.into())),
        }
    }
}

impl Address {
    /// Connects to it.
    ///
    /// # Errors
    /// The system's.
    pub fn connect(&self) -> io::Result<Stream> {
        Ok(match self {
            Address::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
            Address::Tcp(address) => Stream::Tcp(TcpStream::connect(address)?),
        })
    }

    /// Listens there; a Unix socket is removed when what comes with it is dropped.
    ///
    /// # Errors
    /// The system's: a socket is there already, say.
    pub fn listen(&self) -> io::Result<(Listener, Option<Temporary>)> {
        Ok(match self {
            Address::Unix(path) => {
                let (listener, socket) = temporary::listen(path)?;
                (Listener::Unix(listener), Some(socket))
            }
            Address::Tcp(address) => (Listener::Tcp(TcpListener::bind(address)?), None),
        })
    }
}

/// The index, as it grows.
#[derive(Debug)]
struct Index {
    file: BufWriter<File>,
    rows: u64,
    begun: Instant,
}

impl Index {
    fn row(&mut self, conn: u32, dir: char, offset: u64, length: &str) -> io::Result<()> {
        let (seq, time) = (self.rows, self.begun.elapsed().as_micros());
        self.rows = self.rows.saturating_add(1);
        writeln!(self.file, "{seq},{time},{conn},{dir},{offset},{length}")
    }
}

/// A recording that grows.
#[derive(Clone, Debug)]
pub struct Growing {
    index: Arc<Mutex<Index>>,
    bytes: Arc<AtomicU64>,
}

impl Growing {
    /// How many bytes have passed.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Writes every row of the index so far, so that the folder is a recording.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn flush(&self) -> io::Result<()> {
        lock(&self.index).file.flush()
    }
}

/// Relays connections, and records them in a folder.
#[derive(Debug)]
pub struct Relay {
    folder: PathBuf,
    index: Arc<Mutex<Index>>,
    bytes: Arc<AtomicU64>,
    /// What ends from now on is ended by the relay.
    ending: Arc<AtomicBool>,
    /// Something could not be recorded.
    failed: Arc<AtomicBool>,
    sockets: Vec<[Stream; 2]>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Relay {
    /// Records in a folder, which is made.
    ///
    /// # Errors
    /// If the index cannot be made: there is a recording already, or no place for one.
    pub fn new(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut file = BufWriter::new(File::create_new(folder.join("index.csv"))?);
        writeln!(file, "{HEADER}")?;
        let index = Index { file, rows: 0, begun: Instant::now() };
        Ok(Relay {
            folder: folder.to_owned(),
            index: Arc::new(Mutex::new(index)),
            bytes: Arc::default(),
            ending: Arc::default(),
            failed: Arc::default(),
            sockets: Vec::new(),
            threads: Vec::new(),
        })
    }

    /// The recording, to be looked at while it grows.
    #[must_use]
    pub fn growing(&self) -> Growing {
        Growing { index: Arc::clone(&self.index), bytes: Arc::clone(&self.bytes) }
    }

    /// Relays until every connection that was made has ended, or until it is to stop, which is asked every few
    /// milliseconds. How many connections there were; if there were none, nothing remains of the recording.
    ///
    /// # Errors
    /// If a connection cannot be accepted, passed on or recorded.
    pub fn run(
        mut self,
        listener: &Listener,
        to: &Address,
        stop: &mut dyn FnMut() -> bool,
    ) -> io::Result<u32> {
        match listener {
            Listener::Unix(listener) => listener.set_nonblocking(true)?,
            Listener::Tcp(listener) => listener.set_nonblocking(true)?,
        }
        let mut count = 0_u32;
        let ended = loop {
            if stop() || self.failed.load(Ordering::SeqCst) {
                break Ok(());
            }
            let accepted = match listener {
                Listener::Unix(listener) => listener.accept().map(|(s, _)| Stream::Unix(s)),
                Listener::Tcp(listener) => listener.accept().map(|(s, _)| Stream::Tcp(s)),
            };
            match accepted {
                Ok(source) if count < CONNECTIONS => {
                    if let Err(error) = self.open(count, source, to) {
                        break Err(error);
                    }
                    count = count.saturating_add(1);
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if count > 0 && self.threads.iter().all(JoinHandle::is_finished) {
                        break Ok(());
                    }
                    std::thread::sleep(LOOK);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        let finished = self.finish();
        if count == 0 {
            // It may be gone already.
            let _ = fs::remove_file(self.folder.join("index.csv"));
        }
        ended.and(finished).map(|()| count)
    }

    fn open(&mut self, conn: u32, source: Stream, to: &Address) -> io::Result<()> {
        match &source {
            Stream::Unix(socket) => socket.set_nonblocking(false)?,
            Stream::Tcp(socket) => {
                socket.set_nonblocking(false)?;
                socket.set_nodelay(true)?;
            }
        }
        let destination = to.connect().map_err(|error| {
            io::Error::new(error.kind(), format!("no connection to {to}: {error}"))
        })?;
        if let Stream::Tcp(socket) = &destination {
            socket.set_nodelay(true)?;
        }
        lock(&self.index).row(conn, '>', 0, "OPEN")?;
        let ways = [
            ('>', "", source.again()?, destination.again()?),
            ('<', ".rev", destination.again()?, source.again()?),
        ];
        for (dir, suffix, from, into) in ways {
            let path = self.folder.join(format!("conn{conn}{suffix}.bin"));
            let file = File::create_new(&path)?;
            let (index, ending) = (Arc::clone(&self.index), Arc::clone(&self.ending));
            let (failed, bytes) = (Arc::clone(&self.failed), Arc::clone(&self.bytes));
            let way = Way { conn, dir, from, into, path, file, index, bytes, ending, failed };
            self.threads.push(std::thread::spawn(move || way.run()));
        }
        self.sockets.push([source, destination]);
        Ok(())
    }

    /// Ends all connections, and writes what there is of the index.
    fn finish(&mut self) -> io::Result<()> {
        self.ending.store(true, Ordering::SeqCst);
        for socket in self.sockets.iter().flatten() {
            socket.end(Shutdown::Both);
        }
        let mut result = Ok(());
        for thread in self.threads.drain(..) {
            let ended = thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread failed")));
            result = result.and(ended);
        }
        result.and(lock(&self.index).file.flush())
    }
}

fn lock(index: &Mutex<Index>) -> std::sync::MutexGuard<'_, Index> {
    index.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One direction of one connection.
struct Way {
    conn: u32,
    dir: char,
    from: Stream,
    into: Stream,
    path: PathBuf,
    file: File,
    index: Arc<Mutex<Index>>,
    bytes: Arc<AtomicU64>,
    ending: Arc<AtomicBool>,
    failed: Arc<AtomicBool>,
}

impl Way {
    fn run(mut self) -> io::Result<()> {
        let passed = self.pass();
        if passed.is_err() {
            self.failed.store(true, Ordering::SeqCst);
        }
        let of = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
        };
        passed.map_err(of)
    }

    fn pass(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; PIECE];
        let mut offset = 0_u64;
        loop {
            let read = match self.from.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // A connection that is broken has ended.
                other => other.unwrap_or(0),
            };
            let piece = buffer.get(..read).unwrap_or_default();
            if piece.is_empty() {
                break;
            }
            self.file.write_all(piece)?;
            lock(&self.index).row(self.conn, self.dir, offset, &read.to_string())?;
            offset = offset.saturating_add(read as u64);
            self.bytes.fetch_add(read as u64, Ordering::Relaxed);
            if self.into.write_all(piece).is_err() {
                // Nobody reads any more: the sender is to notice.
                self.from.end(Shutdown::Read);
                break;
            }
        }
        if !self.ending.load(Ordering::SeqCst) {
            lock(&self.index).row(self.conn, self.dir, offset, "EOF")?;
        }
        self.into.end(Shutdown::Write);
        Ok(())
    }
}
