//! Ethernet addresses.

use std::fmt;
use std::str::FromStr;

/// An address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mac(pub [u8; 6]);

/// This is no address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no MAC address: write six pairs of digits, such as 52:54:00:12:34:56")]
pub struct MacError(String);

impl Mac {
    /// Everybody.
    pub const BROADCAST: Mac = Mac([0xff; 6]);

    /// Whether it names a group; the broadcast address is one.
    #[must_use]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// Whether it names everybody.
    #[must_use]
    pub fn is_broadcast(self) -> bool {
        self == Self::BROADCAST
    }
}

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let error = || MacError(text.into());
        let mut mac = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut mac {
            let part = parts.next().filter(|part| part.len() == 2 && !part.starts_with('+'));
            *byte = u8::from_str_radix(part.ok_or_else(error)?, 16).map_err(|_| error())?;
        }
        parts.next().is_none().then_some(Mac(mac)).ok_or_else(error)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        let mac: Mac = "52:54:00:AB:34:56".parse().unwrap();
        assert_eq!(mac.to_string(), "52:54:00:ab:34:56");
        assert!(!mac.is_group() && Mac([1, 0, 0x5e, 0, 0, 1]).is_group());
        for wrong in ["", "52:54:00:12:34", "52:54:00:12:34:56:78", "5:54:00:12:34:56", "+5:54"] {
            assert!(wrong.parse::<Mac>().is_err(), "{wrong}");
        }
        assert!("52:54:00:12:34:zz".parse::<Mac>().is_err());
    }
}
