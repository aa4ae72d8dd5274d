//! What VERSION carries: two numbers, and capabilities as JSON.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::WireError;
use super::payload::{Reader, Sizes, Writer};

/// A proposal, or what was agreed on.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct Version {
    /// Must be the same on both sides.
    pub major: u16,
    /// The answer's is at most the proposal's.
    pub minor: u16,
    /// JSON and a NUL, or nothing.
    pub data: Vec<u8>,
}

/// Why bytes are no capabilities.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CapabilitiesError {
    /// They do not end with a NUL, or one is within.
    #[error("the version data does not end with its first NUL")]
    Terminator,
    /// They are no JSON of the expected form.
    #[error("the version data is not as it should be: {0}")]
    Json(String),
}

/// Another channel for what the server asks of the client.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct TwinSocket {
    /// Whether it is supported.
    #[serde(default)]
    pub supported: bool,
    /// Which of the reply's descriptors it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fd_index: Option<u32>,
}

/// What a party can do; what it does not say has a default.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Capabilities {
    /// Descriptors in one message: 1 if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_msg_fds: Option<u64>,
    /// Bytes of data in one message: 1 MiB if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_data_xfer_size: Option<u64>,
    /// Mappings at a time: 65535 if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_dma_maps: Option<u64>,
    /// Page sizes of mappings, or'ed: 4096 if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgsizes: Option<u64>,
    /// Another channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub twin_socket: Option<TwinSocket>,
    /// Whether REGION_WRITE_MULTI is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_multiple: Option<bool>,
}

#[derive(Serialize, Deserialize)]
struct Data {
    #[serde(default)]
    capabilities: Capabilities,
}

impl Version {
    /// With these capabilities.
    #[must_use]
    pub fn new(major: u16, minor: u16, capabilities: Capabilities) -> Self {
        // A struct of numbers always has a form in JSON.
        let mut data = serde_json::to_vec(&Data { capabilities }).unwrap_or_default();
        data.push(0);
        Version { major, minor, data }
    }

    /// What the data says. Names that are not known are passed over.
    ///
    /// # Errors
    /// See [`CapabilitiesError`].
    pub fn capabilities(&self) -> Result<Capabilities, CapabilitiesError> {
        if self.data.is_empty() {
            return Ok(Capabilities::default());
        }
        let json = match self.data.split_last() {
            Some((0, json)) if !json.contains(&0) => json,
            _ => return Err(CapabilitiesError::Terminator),
        };
        let wrong = |error: &dyn ToString| CapabilitiesError::Json(error.to_string());
        let value: Value = serde_json::from_slice(json).map_err(|error| wrong(&error))?;
        // A list would be taken for the fields of a struct, in order.
        let objects = value.is_object() && value.get("capabilities").is_none_or(Value::is_object);
        if !objects {
            return Err(wrong(&"an object is expected"));
        }
        let data: Data = serde_json::from_value(value).map_err(|error| wrong(&error))?;
        Ok(data.capabilities)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut from = Reader::new("VERSION", Sizes::AtLeast(4), bytes);
        let (major, minor) = (from.u16()?, from.u16()?);
        Ok(Version { major, minor, data: from.rest() })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        Writer::default().u16(self.major).u16(self.minor).bytes(&self.data).0
    }
}
