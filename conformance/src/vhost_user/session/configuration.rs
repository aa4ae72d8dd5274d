//! The configuration space, as far as it was read.
//!
//! **Invariant.** What a device keeps there may change at any time: a part is compared with what was read
//! as a whole only if that was the same before the part was read and afterwards.

/// What was read.
#[derive(Default)]
pub(super) struct Configuration {
    /// Where the next part that is read begins.
    pub(super) offset: u32,
    /// What was read last from the beginning on, and what before that.
    last: Option<Vec<u8>>,
    before: Option<Vec<u8>>,
    /// A part that was read since, and where it begins.
    part: Option<(usize, Vec<u8>)>,
}

impl Configuration {
    /// So much was read, from the offset on.
    ///
    /// # Errors
    /// What is wrong with an earlier part, for a reader.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), String> {
        let offset = self.offset as usize;
        if offset > 0 {
            self.part = Some((offset, bytes.to_vec()));
            return Ok(());
        }
        self.before = self.last.replace(bytes.to_vec());
        let Some((at, part)) = self.part.take().filter(|_| self.before == self.last) else {
            return Ok(());
        };
        let whole = at.checked_add(part.len()).and_then(|end| bytes.get(at..end));
        match whole {
            Some(whole) if whole != part => Err(format!(
                "the {} bytes from byte {at} on are {part:x?} if read alone, and {whole:x?} in the \
                 whole, before and afterwards",
                part.len()
            )),
            _ => Ok(()),
        }
    }

    /// Whether what was read last from the beginning on is not what was read before; if both are there.
    pub(super) fn differs(&self) -> Option<bool> {
        let (last, before) = (self.last.as_ref()?, self.before.as_ref()?);
        Some(last != before)
    }
}

#[cfg(test)]
mod tests {
    use super::Configuration;

    fn read(configuration: &mut Configuration, offset: u32, bytes: &[u8]) -> Result<(), String> {
        configuration.offset = offset;
        configuration.read(bytes)
    }

    #[test]
    fn a_part_is_compared_with_a_whole_that_stayed_the_same() {
        let mut c = Configuration::default();
        assert_eq!(read(&mut c, 0, &[1, 2, 3, 4]), Ok(()));
        assert_eq!(read(&mut c, 2, &[3, 4]), Ok(()));
        assert_eq!(read(&mut c, 0, &[1, 2, 3, 4]), Ok(()));
        assert_eq!(c.differs(), Some(false));
        assert_eq!(read(&mut c, 2, &[1, 2]), Ok(()));
        assert!(read(&mut c, 0, &[1, 2, 3, 4]).unwrap_err().contains("from byte 2 on"));
        // It changed meanwhile, or the part is beyond what was read.
        assert_eq!(read(&mut c, 2, &[1, 2]), Ok(()));
        assert_eq!(read(&mut c, 0, &[1, 2, 1, 2]), Ok(()));
        assert_eq!(c.differs(), Some(true));
        assert_eq!(read(&mut c, u32::MAX, &[1, 2]), Ok(()));
        assert_eq!(read(&mut c, 0, &[1, 2, 1, 2]), Ok(()));
        assert_eq!(Configuration::default().differs(), None);
    }
}
