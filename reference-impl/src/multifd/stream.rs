//! The connections of a migration: Unix sockets, TCP, or descriptors that were passed.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// One connection.
#[derive(Debug)]
pub enum Stream {
    /// A Unix socket; a descriptor that was passed becomes one by `UnixStream::from`.
    Unix(UnixStream),
    /// TCP.
    Tcp(TcpStream),
}

impl Stream {
    /// The same connection again, for another thread.
    ///
    /// # Errors
    /// If there are no more descriptors.
    pub fn again(&self) -> io::Result<Self> {
        Ok(match self {
            Stream::Unix(stream) => Stream::Unix(stream.try_clone()?),
            Stream::Tcp(stream) => Stream::Tcp(stream.try_clone()?),
        })
    }

    /// How long a piece may take.
    pub(super) fn limit(&self, limit: Duration) -> io::Result<()> {
        match self {
            Stream::Unix(stream) => {
                stream.set_read_timeout(Some(limit))?;
                stream.set_write_timeout(Some(limit))
            }
            Stream::Tcp(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(limit))?;
                stream.set_write_timeout(Some(limit))
            }
        }
    }

    /// Ends it, in one direction or both; whoever waits for it goes on. That it has ended already is no error.
    pub fn end(&self, how: Shutdown) {
        let _ = match self {
            Stream::Unix(stream) => stream.shutdown(how),
            Stream::Tcp(stream) => stream.shutdown(how),
        };
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.read(into),
            Stream::Tcp(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.write(from),
            Stream::Tcp(stream) => stream.write(from),
        }
    }

    fn write_vectored(&mut self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.write_vectored(from),
            Stream::Tcp(stream) => stream.write_vectored(from),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The connections of a migration inside one process, the main one first: those of the source, and those of
/// the destination.
///
/// # Errors
/// If there are no more descriptors.
pub fn pairs(channels: u8) -> io::Result<(Vec<Stream>, Vec<Stream>)> {
    let pairs: io::Result<Vec<_>> = (0..=channels).map(|_| UnixStream::pair()).collect();
    Ok(pairs?.into_iter().map(|(one, other)| (Stream::Unix(one), Stream::Unix(other))).unzip())
}
