//! Names of at most 255 bytes, as they stand in the streams.

/// The name of a section, of a block of RAM, of a machine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name {
    length: u8,
    bytes: [u8; 255],
}

impl Name {
    /// The name without bytes.
    pub const EMPTY: Name = Name { length: 0, bytes: [0; 255] };

    /// The first 255 bytes of this.
    #[must_use]
    pub fn new(from: &[u8]) -> Self {
        let mut name = Name::EMPTY;
        for (to, byte) in name.bytes.iter_mut().zip(from) {
            *to = *byte;
        }
        name.length = u8::try_from(from.len()).unwrap_or(u8::MAX);
        name
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

impl Default for Name {
    fn default() -> Self {
        Name::EMPTY
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// The bytes before the first NUL.
pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Puts a name into a field of 256 bytes, which ends with at least one NUL.
pub(super) fn put_field(name: &[u8], out: &mut Vec<u8>) {
    let name = name.get(..255).unwrap_or(name);
    out.extend_from_slice(name);
    out.resize(out.len().saturating_add(256_usize.saturating_sub(name.len())), 0);
}
