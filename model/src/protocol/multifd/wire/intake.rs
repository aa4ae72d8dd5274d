//! Bytes of an item that came in pieces.

/// What there is of an item that is not whole yet. An item that is whole in the input is not copied.
#[derive(Clone, Debug, Default)]
pub(super) struct Intake {
    kept: Vec<u8>,
    /// The item was handed out: the next one begins.
    done: bool,
}

/// Where an item is, and how much of the input belongs to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Item {
    /// More bytes are needed; all of the input was kept.
    Partial,
    /// It is the beginning of the input.
    Input(usize),
    /// It was kept, and ends after so much of the input.
    Kept(usize),
}

impl Intake {
    /// How many bytes of an unfinished item are kept.
    pub(super) fn len(&self) -> usize {
        if self.done { 0 } else { self.kept.len() }
    }

    /// The first `N` bytes of the item, if there are so many.
    pub(super) fn peek<const N: usize>(&self, input: &[u8]) -> Option<[u8; N]> {
        let kept = self.kept.get(..self.len()).unwrap_or_default();
        let mut bytes = [0; N];
        let mut from = kept.iter().chain(input);
        for byte in &mut bytes {
            *byte = *from.next()?;
        }
        Some(bytes)
    }

    /// Takes an item of `need` bytes, or all of the input.
    pub(super) fn take(&mut self, need: usize, input: &[u8]) -> Item {
        if self.done {
            self.kept.clear();
            self.done = false;
        }
        if self.kept.is_empty() && input.len() >= need {
            return Item::Input(need);
        }
        let missing = need.saturating_sub(self.kept.len());
        match input.get(..missing) {
            Some(rest) => {
                self.kept.extend_from_slice(rest);
                self.done = true;
                Item::Kept(missing)
            }
            None => {
                self.kept.extend_from_slice(input);
                Item::Partial
            }
        }
    }

    /// The bytes of an item that is whole.
    pub(super) fn bytes<'a>(&'a self, item: Item, input: &'a [u8]) -> &'a [u8] {
        match item {
            Item::Partial => &[],
            Item::Input(need) => input.get(..need).unwrap_or_default(),
            Item::Kept(_) => &self.kept,
        }
    }
}

/// How much of a number of bytes fits into the memory of this machine.
pub(super) fn clamp(left: u64) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX)
}

/// The length of a slice.
pub(super) fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Integers of a structure, one after the other. Past its end they are 0.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => [0; N],
        }
    }

    pub(super) fn u8(&mut self) -> u8 {
        u8::from_be_bytes(self.array())
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.array())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }

    pub(super) fn take(&mut self, length: usize) -> &'a [u8] {
        let (first, rest) = self.0.split_at_checked(length).unwrap_or((self.0, &[]));
        self.0 = rest;
        first
    }
}
