//! How long sections are, by the description at the end of a stream.

use serde_json::Value;

use super::Name;

/// The length of the content of a FULL section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SectionSize {
    /// The section's name.
    pub name: String,
    /// Its instance.
    pub instance: u32,
    /// Its content, in bytes.
    pub bytes: u64,
}

impl SectionSize {
    pub(super) fn is(&self, name: &Name, instance: u32) -> bool {
        self.name.as_bytes() == name.as_bytes() && self.instance == instance
    }
}

/// The lengths of all sections that a description lists, in their order; none of a device that is not fully
/// described. An empty list if it is not a description.
#[must_use]
pub fn section_sizes(json: &[u8]) -> Vec<SectionSize> {
    let description: Value = serde_json::from_slice(json).unwrap_or_default();
    let devices = description.get("devices").and_then(Value::as_array);
    devices.into_iter().flatten().filter_map(device).collect()
}

fn device(of: &Value) -> Option<SectionSize> {
    let name = of.get("name")?.as_str()?.to_owned();
    let instance = u32::try_from(of.get("instance_id")?.as_u64()?).ok()?;
    Some(SectionSize { name, instance, bytes: content(of)? })
}

/// The fields and subsections of a device, or of a subsection.
fn content(of: &Value) -> Option<u64> {
    let list = |key| of.get(key).and_then(Value::as_array).into_iter().flatten();
    let mut bytes = 0_u64;
    for field in list("fields") {
        let times = field.get("array_len").map_or(Some(1), Value::as_u64)?;
        let size = field.get("size")?.as_u64()?.checked_mul(times)?;
        bytes = bytes.checked_add(size)?;
    }
    for subsection in list("subsections") {
        let name = subsection.get("vmsd_name")?.as_str()?;
        // Its type, the length of its name, its name, its version.
        let head = u64::try_from(name.len()).ok()?.checked_add(6)?;
        bytes = bytes.checked_add(head)?.checked_add(content(subsection)?)?;
    }
    Some(bytes)
}
