//! What is fixed when a NIC is made: its model, and the configuration of that model.
//!
//! **Invariant.** A [`NicConfig`] is valid and never changes: its fields are private, and nothing
//! takes it by `&mut`. What can change is state, and has types of its own (`state.rs`).

use std::fmt;
use std::str::FromStr;

use super::mac::Mac;

/// The most addresses that a filter table holds.
pub const MAX_FILTER: u16 = 1024;

/// The most queue pairs.
pub const MAX_PAIRS: u16 = 16;

/// The smallest and the largest MTU.
pub const MTU: std::ops::RangeInclusive<u16> = 68..=9216;

/// The longest model URI, in bytes.
pub const MAX_URI: usize = 256;

/// Why there is no such NIC.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not of the form of a URI.
    #[error(
        "`{0}` names no model: write a URI of at most {MAX_URI} printable characters without \
         blanks, such as https://devmig.example/nic"
    )]
    Model(String),
    /// More entries than a table can have.
    #[error("rx-filter-size {0} is too large: {MAX_FILTER} is the most")]
    Filter(u16),
    /// No such number of queue pairs.
    #[error("{0} queue pairs cannot be had: 1 to {MAX_PAIRS} can")]
    Pairs(u16),
    /// An MTU that no link has.
    #[error("an MTU of {0} cannot be had: {start} to {end} can", start = MTU.start(), end = MTU.end())]
    Mtu(u16),
    /// A group cannot be the address of a NIC.
    #[error("{0} is a group address, which no NIC has")]
    Group(Mac),
}

/// The name of a device model: two devices of one model know each other's states.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ModelUri(String);

impl ModelUri {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ModelUri {
    fn default() -> Self {
        ModelUri("https://devmig.example/nic".into())
    }
}

impl FromStr for ModelUri {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let scheme = text.split_once(':').map(|(scheme, rest)| (scheme.as_bytes(), rest));
        let well_formed = scheme.is_some_and(|(scheme, rest)| {
            scheme.first().is_some_and(u8::is_ascii_alphabetic)
                && scheme.iter().all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(c))
                && !rest.is_empty()
        });
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        match well_formed && printable && text.len() <= MAX_URI {
            true => Ok(ModelUri(text.into())),
            false => Err(ConfigError::Model(text.into())),
        }
    }
}

impl fmt::Display for ModelUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ModelUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What one can ask for, not yet checked.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// Which model.
    pub model: ModelUri,
    /// Whether it has receive-side scaling.
    pub rss: bool,
    /// How many addresses its filter table holds.
    pub rx_filter_size: u16,
    /// How many pairs of a receive and a transmit queue it has.
    pub queue_pairs: u16,
    /// Its address.
    pub mac: Mac,
    /// The longest payload of a frame, in bytes.
    pub mtu: u16,
}

impl Default for Parameters {
    /// One pair, 32 filter entries, no scaling, an MTU of 1500.
    fn default() -> Self {
        Parameters {
            model: ModelUri::default(),
            rss: false,
            rx_filter_size: 32,
            queue_pairs: 1,
            mac: Mac([0x52, 0x54, 0, 0xde, 0x71, 0x61]),
            mtu: 1500,
        }
    }
}

/// What a NIC is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NicConfig {
    model: ModelUri,
    rss: bool,
    rx_filter_size: u16,
    queue_pairs: u16,
    mac: Mac,
    mtu: u16,
}

impl NicConfig {
    /// A NIC with these parameters.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn new(parameters: Parameters) -> Result<Self, ConfigError> {
        let Parameters { model, rss, rx_filter_size, queue_pairs, mac, mtu } = parameters;
        if rx_filter_size > MAX_FILTER {
            return Err(ConfigError::Filter(rx_filter_size));
        }
        if queue_pairs == 0 || queue_pairs > MAX_PAIRS {
            return Err(ConfigError::Pairs(queue_pairs));
        }
        if !MTU.contains(&mtu) {
            return Err(ConfigError::Mtu(mtu));
        }
        if mac.is_group() {
            return Err(ConfigError::Group(mac));
        }
        Ok(NicConfig { model, rss, rx_filter_size, queue_pairs, mac, mtu })
    }

    /// Which model.
    #[must_use]
    pub fn model(&self) -> &ModelUri {
        &self.model
    }

    /// Whether it has receive-side scaling.
    #[must_use]
    pub fn rss(&self) -> bool {
        self.rss
    }

    /// How many addresses its filter table holds.
    #[must_use]
    pub fn rx_filter_size(&self) -> u16 {
        self.rx_filter_size
    }

    /// How many queue pairs it has, 1 to [`MAX_PAIRS`].
    #[must_use]
    pub fn queue_pairs(&self) -> u16 {
        self.queue_pairs
    }

    /// Its first address: the driver may set another.
    #[must_use]
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// The longest payload of a frame, in bytes.
    #[must_use]
    pub fn mtu(&self) -> u16 {
        self.mtu
    }

    /// The longest frame, in bytes: a header, a VLAN tag, and the payload.
    #[must_use]
    pub fn max_frame(&self) -> usize {
        super::frame::HEADER + super::frame::TAG + usize::from(self.mtu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_made_is_said() {
        let with = |change: fn(&mut Parameters)| {
            let mut parameters = Parameters::default();
            change(&mut parameters);
            NicConfig::new(parameters)
        };
        assert_eq!(with(|p| p.rx_filter_size = 1025), Err(ConfigError::Filter(1025)));
        assert_eq!(with(|p| p.queue_pairs = 0), Err(ConfigError::Pairs(0)));
        assert_eq!(with(|p| p.queue_pairs = 17), Err(ConfigError::Pairs(17)));
        assert_eq!(with(|p| p.mtu = 67), Err(ConfigError::Mtu(67)));
        assert!(matches!(with(|p| p.mac = Mac::BROADCAST), Err(ConfigError::Group(_))));
        assert_eq!(with(|p| p.mtu = 9216).map(|config| config.max_frame()), Ok(9234));
    }

    #[test]
    fn models_are_uris() {
        for good in ["urn:devmig:nic", "https://vendor.example/nic#2", "x:y"] {
            assert_eq!(good.parse::<ModelUri>().unwrap().as_str(), good);
        }
        let long = format!("urn:{}", "n".repeat(MAX_URI));
        for bad in ["", "nic", ":nic", "urn:", "9p:x", "urn:two words", "urn:\u{e9}", &long] {
            assert!(bad.parse::<ModelUri>().is_err(), "{bad}");
        }
    }
}
