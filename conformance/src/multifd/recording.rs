//! A recorded migration: a folder with a file for each connection, and an index.
//!
//! ```text
//!   conn<N>.bin       what the source sent on the N-th connection
//!   conn<N>.rev.bin   what came back on it, if anything did
//!   index.csv         seq,t_us,conn,dir,off,len: a row for each piece that passed, in order
//! ```
//!
//! `dir` is `>` for what the source sent and `<` for what came back; `len` is a number of bytes, `OPEN` or
//! `EOF`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use devmig_model::protocol::multifd::wire::MAIN_MAGIC;

use super::stream::Read;
use crate::harness::io::files::{self, FileError};

/// The first line of an index.
pub const HEADER: &str = "seq,t_us,conn,dir,off,len";
/// How a connection with TLS begins: a handshake record, major version 3.
const TLS: [u8; 2] = [0x16, 3];
/// The longest line of an index.
const LINE: u64 = 256;
/// The most connections: the main one, 255 channels, and some to spare.
const CONNECTIONS: usize = 512;

/// Why a folder is not a recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// A file cannot be read.
    #[error("{}: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: FileError,
    },
    /// There is no index.
    #[error("it has no index.csv")]
    NoIndex,
    /// The index is not one.
    #[error("index.csv, line {line}: {why}")]
    Index {
        /// Which line.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// A connection that the index lists has no file.
    #[error("the index lists connection {0}, and there is no conn{0}.bin")]
    NoFile(u32),
    /// A file that the index does not list.
    #[error("there is a {file}, and the index does not list connection {number}")]
    NotListed {
        /// The name of the file.
        file: String,
        /// The connection.
        number: u32,
    },
    /// It is not a folder.
    #[error("it is not a folder")]
    NoFolder,
    /// What was sent cannot be read.
    #[error(
        "connection {0} is encrypted with TLS, so it cannot be judged: record the migration without \
         tls-creds"
    )]
    Tls(u32),
    /// Nothing to judge.
    #[error("no connection begins with QEVM, so there is no main stream")]
    NoMain,
    /// A file that is no migration.
    #[error("it does not begin with QEVM, so it is not a main stream")]
    NotMain,
    /// Pages are in the stream.
    #[error(
        "it was written without the capability mapped-ram: its pages are in the stream, which \
         `devmig replay multifd` judges as conn0.bin of a folder with an index"
    )]
    NotMapped,
    /// Two migrations.
    #[error("connections {0} and {1} both begin with QEVM: there are two main streams")]
    TwoMains(u32, u32),
    /// The memory of the source does not fit the recording.
    #[error("{0}")]
    Memory(String),
}

impl RecordingError {
    /// With the path that was to be read, unless the error names one itself.
    #[must_use]
    pub fn of(&self, path: &Path) -> String {
        match self {
            RecordingError::File { .. } | RecordingError::Memory(_) => self.to_string(),
            _ => format!("{}: {self}", path.display()),
        }
    }
}

/// One direction of a connection, as the index has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Direction {
    /// How many bytes passed.
    pub bytes: u64,
    /// Its end was seen.
    pub ended: bool,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    /// Its number.
    pub number: u32,
    /// What the source sent.
    pub file: File,
    /// The length of that file.
    pub length: u64,
    /// What came back.
    pub reverse: Option<File>,
    /// What the index says of what came back.
    pub returned: Direction,
    /// What the index says of what the source sent.
    pub sent: Direction,
}

impl Connection {
    /// Whether the file has fewer bytes than passed.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.length < self.sent.bytes
    }
}

/// A recorded migration.
#[derive(Debug)]
pub struct Recording {
    /// The main connection.
    pub main: Connection,
    /// The channels, in the order in which they were opened.
    pub channels: Vec<Connection>,
    /// Connections on which nothing was sent.
    pub silent: usize,
    /// One of those has no end.
    pub silent_open: bool,
    /// What is odd about the files.
    pub notes: Vec<String>,
    /// How much of it was read.
    pub read: Read,
}

impl Recording {
    /// Opens a folder.
    ///
    /// # Errors
    /// See [`RecordingError`].
    pub fn open(folder: &Path) -> Result<Self, RecordingError> {
        if !folder.is_dir() {
            return Err(RecordingError::NoFolder);
        }
        let index = index(folder)?;
        listed(folder, &index)?;
        let mut notes = Vec::new();
        let (mut main, mut channels) = (None::<Connection>, Vec::new());
        let mut encrypted = None;
        let (mut silent, mut silent_open) = (0, false);
        for (number, ways) in index {
            let connection = connection(folder, number, ways)?;
            let [sent, returned] = ways;
            if connection.length != sent.bytes {
                let (has, lists) = (connection.length, sent.bytes);
                notes
                    .push(format!("conn{number}.bin has {has} bytes, and the index lists {lists}"));
            }
            let came = connection.reverse.as_ref().map_or(Ok(0), length_of);
            let came = came.map_err(|cause| RecordingError::File {
                path: folder.join(format!("conn{number}.rev.bin")),
                cause: cause.into(),
            })?;
            if came != returned.bytes {
                let lists = returned.bytes;
                notes.push(format!(
                    "conn{number}.rev.bin has {came} bytes, and the index lists {lists}"
                ));
            }
            let mut begin = [0; 4];
            let known = connection.file.read_exact_at(&mut begin, 0).is_ok();
            if known && begin[..2] == TLS {
                encrypted.get_or_insert(number);
            }
            match &main {
                _ if connection.length == 0 => {
                    notes.push(format!("nothing was sent on connection {number}"));
                    silent = usize::saturating_add(silent, 1);
                    silent_open |= !connection.sent.ended || connection.is_cut();
                }
                Some(other) if known && u32::from_be_bytes(begin) == MAIN_MAGIC => {
                    return Err(RecordingError::TwoMains(other.number, number));
                }
                None if known && u32::from_be_bytes(begin) == MAIN_MAGIC => main = Some(connection),
                _ => channels.push(connection),
            }
        }
        let none = encrypted.map_or(RecordingError::NoMain, RecordingError::Tls);
        let main = main.ok_or(none)?;
        let read = Read::default();
        Ok(Recording { main, channels, silent, silent_open, notes, read })
    }

    /// How many bytes are read to judge it: the main stream is read twice.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let channels = self.channels.iter().map(|channel| channel.length);
        let main = self.main.length.saturating_mul(2);
        channels.fold(main, u64::saturating_add)
    }
}

fn length_of(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.len())
}

fn connection(
    folder: &Path,
    number: u32,
    [sent, returned]: [Direction; 2],
) -> Result<Connection, RecordingError> {
    let path = folder.join(format!("conn{number}.bin"));
    let file = files::open(&path).map_err(|cause| match cause.is_missing() {
        true => RecordingError::NoFile(number),
        false => RecordingError::File { path: path.clone(), cause },
    })?;
    let length =
        length_of(&file).map_err(|cause| RecordingError::File { path, cause: cause.into() })?;
    let path = folder.join(format!("conn{number}.rev.bin"));
    let reverse = match files::open(&path) {
        Ok(file) => Some(file),
        Err(cause) if cause.is_missing() => None,
        Err(cause) => return Err(RecordingError::File { path, cause }),
    };
    Ok(Connection { number, file, length, reverse, returned, sent })
}

/// What the index says of each connection: what was sent, and what came back.
type Index = BTreeMap<u32, [Direction; 2]>;

/// Every file of a connection is one that the index lists.
fn listed(folder: &Path, index: &Index) -> Result<(), RecordingError> {
    let wrong =
        |cause: io::Error| RecordingError::File { path: folder.into(), cause: cause.into() };
    for entry in std::fs::read_dir(folder).map_err(wrong)? {
        let name = entry.map_err(wrong)?.file_name();
        let Some(file) = name.to_str() else { continue };
        let number = file.strip_prefix("conn").and_then(|name| name.strip_suffix(".bin"));
        let number = number.map(|name| name.strip_suffix(".rev").unwrap_or(name));
        if let Some(number) = number.and_then(|number| number.parse().ok())
            && !index.contains_key(&number)
        {
            return Err(RecordingError::NotListed { file: file.to_owned(), number });
        }
    }
    Ok(())
}

/// What the index says of each connection.
fn index(folder: &Path) -> Result<Index, RecordingError> {
    let path = folder.join("index.csv");
    let file = files::open(&path).map_err(|cause| match cause.is_missing() {
        true => RecordingError::NoIndex,
        false => RecordingError::File { path: path.clone(), cause },
    })?;
    let mut reader = BufReader::new(file);
    let mut connections = Index::new();
    let mut sequence = None;
    let mut text = Vec::new();
    for line in 1_u64.. {
        text.clear();
        let read = (&mut reader).take(LINE).read_until(b'\n', &mut text);
        let read =
            read.map_err(|cause| RecordingError::File { path: path.clone(), cause: cause.into() });
        if read? == 0 {
            break;
        }
        let row = String::from_utf8_lossy(&text);
        let row = row.trim_end_matches(['\n', '\r']);
        let wrong = |why: String| RecordingError::Index { line, why };
        match line {
            1 if row == HEADER => {}
            1 => return Err(wrong(format!("the first line is not `{HEADER}`"))),
            _ => take(row, &mut sequence, &mut connections).map_err(wrong)?,
        }
    }
    Ok(connections)
}

/// Takes one row.
fn take(row: &str, sequence: &mut Option<u64>, connections: &mut Index) -> Result<(), String> {
    let fields: Vec<&str> = row.split(',').collect();
    let [seq, time, conn, dir, offset, length] = fields[..] else {
        return Err(format!("{} fields, not 6", fields.len()));
    };
    let number = |name: &str, text: &str| {
        text.parse::<u64>()
            .map_err(|_| format!("`{}` is not a number: {name}", text.escape_debug()))
    };
    let seq = number("seq", seq)?;
    number("t_us", time)?;
    let offset = number("off", offset)?;
    let conn = u32::try_from(number("conn", conn)?).map_err(|_| format!("connection {conn}"))?;
    let expected = sequence.map_or(seq, |seq: u64| seq.saturating_add(1));
    if seq != expected {
        return Err(format!("a gap: row {expected} is missing, this is row {seq}"));
    }
    *sequence = Some(seq);
    let returns = match dir {
        ">" => false,
        "<" => true,
        other => return Err(format!("the direction is `{}`, not > or <", other.escape_debug())),
    };
    if connections.len() >= CONNECTIONS && !connections.contains_key(&conn) {
        return Err(format!("more than {CONNECTIONS} connections"));
    }
    let [sent, returned] = connections.entry(conn).or_default();
    let direction = if returns { returned } else { sent };
    match length {
        "OPEN" => {}
        "EOF" => direction.ended = true,
        length => {
            let length = number("len", length)?;
            if offset != direction.bytes {
                let expected = direction.bytes;
                return Err(format!(
                    "a gap in connection {conn}: the piece begins at {offset}, not at {expected}"
                ));
            }
            direction.bytes = direction.bytes.checked_add(length).ok_or("the lengths overflow")?;
        }
    }
    Ok(())
}
