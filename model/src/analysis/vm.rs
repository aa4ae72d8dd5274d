//! Can this VM migrate, at what downtime, and what would have to change: what management asks.
//!
//! ```text
//!  [[vm]] version, memory, bandwidth, limit, capabilities    --read--> Vm
//!  [[device]] features, logs, size of its state                          |
//!                                                          refusals: capabilities, tracking, limits
//!                                                          a model with the VM's order of limit, state, memory
//!                                                                        |
//!                                     Answer: yes or no, why, and the smallest changes to a yes
//! ```
//!
//! | file | its one job |
//! |---|---|
//! | `vm.rs` | a VM as a file describes it |
//! | `vm/answer.rs` | refusals, what is explored, the answer |
//! | `vm/change.rs` | what could change, and the smallest sets that help |
//!
//! **Not here.** Whether the destination has the devices: `devmig compat`.

pub mod answer;
pub mod change;

use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::protocol::input::Input;
use crate::protocol::migration::tracking::{Facts, capability};
use crate::protocol::release::Release;
use crate::registry::Library;
use crate::spec::{
    Diagnostics, Item, SourceFile, Spanned, SpecError, SpecErrors, did_you_mean, with_help,
};

/// The most devices of a VM that are explored, and kinds of devices in a description.
pub const DEVICES: usize = 2;
/// The most devices of one kind.
const MOST_DEVICES: u64 = 256;

/// `enable-migration` of its devices.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Enable {
    /// Only if something tracks what they write.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// What is known of a VM.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Vm {
    /// QEMU's version at both hosts.
    pub version: Release,
    /// Memory that is sent, in MiB.
    pub memory: u64,
    /// What can be sent in a second, in MiB.
    pub bandwidth: u64,
    /// The longest downtime, in ms; none: any will do.
    pub limit: Option<u64>,
    /// The management layer that says the limit, if there is one.
    pub layer: Option<String>,
    /// The guest has an IOMMU for its devices.
    pub viommu: bool,
    /// `enable-migration` of its devices.
    pub enable: Enable,
    /// Capabilities that are on.
    pub capabilities: Vec<String>,
    /// Its VFIO devices.
    pub devices: Vec<Device>,
}

/// What is known of a VFIO device.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Device {
    /// Its features, as bits of MIGRATION.
    pub flags: u64,
    /// It can log its own writes.
    pub log: bool,
    /// It is asked for its log (`x-device-dirty-page-tracking`).
    pub asked: bool,
    /// The VMM uses iommufd for it, not a type 1 container.
    pub iommufd: bool,
    /// The IOMMU before it can log its writes, which needs iommufd.
    pub iommu_log: bool,
    /// How many devices are like this one.
    pub count: u64,
    /// How large its state is that is sent after the stop, in MiB; none: it does not say.
    pub state: Option<u64>,
}

/// A number, or a word.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Amount {
    Number(u64),
    Word(String),
    Other(IgnoredAny),
}

/// `[[vm]]` as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawVm {
    version: Spanned<String>,
    memory: Spanned<u64>,
    bandwidth: Spanned<u64>,
    limit: Spanned<Amount>,
    layer: Option<Spanned<String>>,
    #[serde(default)]
    viommu: bool,
    #[serde(default)]
    enable_migration: Enable,
    #[serde(default)]
    capabilities: Vec<Spanned<String>>,
}

/// `[[device]]` as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawDevice {
    features: Spanned<Vec<String>>,
    #[serde(default)]
    log: bool,
    #[serde(default = "yes")]
    asked: bool,
    #[serde(default)]
    iommufd: bool,
    #[serde(default)]
    iommu_log: bool,
    count: Option<Spanned<u64>>,
    state: Spanned<Amount>,
}

fn yes() -> bool {
    true
}

/// The largest memory for which one bitmap of a type 1 container is enough, in MiB: 256 MiB of bits for 4 KiB.
const BITMAP: u64 = 8 << 20;
/// The largest size and bandwidth, in MiB and MiB/s: an exbibyte. Products of two such numbers fit 128 bits.
const MOST: u64 = 1 << 40;

/// The kinds of items in the file.
const TABLES: [&str; 2] = ["vm", "device"];

impl Vm {
    /// Reads a description.
    ///
    /// # Errors
    /// Every problem of the file, with its place.
    pub fn read(library: &Library, name: &str, text: &str) -> Result<Self, SpecErrors> {
        Self::described(library, name, text).map_err(|errors| errors.about("the description"))
    }

    fn described(library: &Library, name: &str, text: &str) -> Result<Self, SpecErrors> {
        let file = SourceFile::new(name.to_owned(), text.to_owned());
        let mut d = Diagnostics::default();
        let tables = file.parse(&mut d);
        tables.known(&TABLES, &mut d);
        let mut input = Input::new(vec![tables], None);
        let vms = input.items::<RawVm>(TABLES[0], &mut d).base;
        let devices = input.items::<RawDevice>(TABLES[1], &mut d).base;
        if !d.complete() {
            return Err(d.finish(()).err().unwrap_or_else(|| SpecError::new("unreadable").into()));
        }
        let [vm] = &vms[..] else {
            let place = vms.get(1).map_or(0..0, |second| second.span.clone());
            let message = "a file describes one VM, with one `[[vm]]`";
            d.push(SpecError::at(&file, place, message, "here"));
            return d.finish(()).and(Err(SpecError::new(message).into()));
        };
        if let Some(third) = devices.get(DEVICES) {
            let message = format!("a description has at most {DEVICES} kinds of devices");
            let error = third.error(third.span.clone(), message, "one too many");
            d.push(error.help("write devices that are alike as one, with `count`"));
        }
        let devices = devices.iter().map(|item| device(library, item, &mut d)).collect();
        let vm = resolved(library, vm, devices, &mut d);
        d.finish(vm)
    }

    /// The words that are true of it, for the matrix of trackers.
    #[must_use]
    pub fn facts(&self, library: &Library) -> Facts {
        let table = &library.migration().table;
        let p2p = table.named("RUNNING_P2P").map(|state| state.value);
        let all = |has: &dyn Fn(&Device) -> bool| {
            !self.devices.is_empty() && self.devices.iter().all(has)
        };
        let words = [
            ("device", !self.devices.is_empty()),
            ("several devices", self.devices.iter().map(|device| device.count).sum::<u64>() > 1),
            ("p2p", all(&|device| p2p.is_some_and(|state| table.supports(device.flags, state)))),
            ("device tracker", all(&|device| device.log && device.asked)),
            ("iommu tracker", all(&|device| device.iommu_log)),
            ("each tracked", all(&|device| device.log && device.asked || device.iommu_log)),
            ("type 1", self.devices.iter().any(|device| !device.iommufd && !device.iommu_log)),
            ("beyond the bitmap", self.memory > BITMAP),
            ("viommu", self.viommu),
            ("migration auto", self.enable == Enable::Auto),
            ("migration off", self.enable == Enable::Off),
        ];
        let words = words.into_iter().filter(|(_, holds)| *holds);
        let words = words.map(|(word, _)| word.to_owned());
        words.chain(self.capabilities.iter().map(|name| capability(name))).collect()
    }

    /// The state of its devices together, in MiB; none, if one does not say.
    #[must_use]
    pub fn state(&self) -> Option<u64> {
        let state = |device: &Device| device.state?.checked_mul(device.count);
        self.devices.iter().try_fold(0_u64, |all, device| all.checked_add(state(device)?))
    }

    /// How long it takes to send this much, in ms, rounded up; none, if nothing can be sent.
    #[must_use]
    pub fn time(&self, amount: u64) -> Option<u64> {
        let time = (u128::from(amount) * 1000).checked_div(u128::from(self.bandwidth))?;
        let exact = time * u128::from(self.bandwidth) == u128::from(amount) * 1000;
        u64::try_from(time + u128::from(!exact)).ok()
    }
}

/// A size or speed.
fn bounded<T>(item: &Item<T>, number: &Spanned<u64>, least: u64, d: &mut Diagnostics) -> u64 {
    if !(least..=MOST).contains(number.get_ref()) {
        let message = format!("this is {least} to {MOST}");
        d.push(item.error(number.span(), message, "here"));
    }
    *number.get_ref()
}

/// A number, or none for the word.
fn amount<T>(
    item: &Item<T>,
    amount: &Spanned<Amount>,
    word: &str,
    d: &mut Diagnostics,
) -> Option<u64> {
    match amount.get_ref() {
        Amount::Number(number) if *number <= MOST => Some(*number),
        Amount::Word(given) if given == word => None,
        _ => {
            let message = format!("this is 0 to {MOST}, or \"{word}\"");
            d.push(item.error(amount.span(), message, "here"));
            None
        }
    }
}

fn device(library: &Library, item: &Item<RawDevice>, d: &mut Diagnostics) -> Device {
    let raw = &item.value;
    let table = &library.migration().table;
    let flags = table.flags(raw.features.get_ref().iter().map(String::as_str));
    let flags = flags.unwrap_or_else(|(message, help)| {
        d.push(with_help(item.error(raw.features.span(), message, "here"), help));
        table.mandatory()
    });
    let count = raw.count.as_ref().map_or(1, |count| {
        if !(1..=MOST_DEVICES).contains(count.get_ref()) {
            let message = format!("this is 1 to {MOST_DEVICES}");
            d.push(item.error(count.span(), message, "here"));
        }
        *count.get_ref()
    });
    let state = amount(item, &raw.state, "unknown", d);
    let (iommufd, iommu_log) = (raw.iommufd || raw.iommu_log, raw.iommu_log);
    Device { flags, log: raw.log, asked: raw.asked, iommufd, iommu_log, count, state }
}

fn resolved(
    library: &Library,
    item: &Item<RawVm>,
    devices: Vec<Device>,
    d: &mut Diagnostics,
) -> Vm {
    let raw = &item.value;
    let version = raw.version.get_ref().parse::<Release>().unwrap_or_else(|bad| {
        d.push(item.error(raw.version.span(), bad.to_string(), "here"));
        Release::default()
    });
    if let Some(layer) = &raw.layer {
        let known = || library.migration().releases.ranges.iter().map(|range| range.layer.as_str());
        if !known().any(|known| known == layer.get_ref()) {
            let message = format!("no management layer is called `{}`", layer.get_ref());
            let help = did_you_mean(layer.get_ref(), known()).or_else(|| {
                Some(format!("the layers are {}", known().collect::<Vec<_>>().join(", ")))
            });
            d.push(with_help(item.error(layer.span(), message, "unknown"), help));
        }
    }
    let all = &library.multifd().capabilities.all;
    for name in &raw.capabilities {
        if !all.iter().any(|known| known.name == *name.get_ref()) {
            let message = format!("no capability is called `{}`", name.get_ref());
            let help = did_you_mean(name.get_ref(), all.iter().map(|known| &*known.name));
            d.push(with_help(item.error(name.span(), message, "unknown"), help));
        }
    }
    let memory = bounded(item, &raw.memory, 1, d);
    let bandwidth = bounded(item, &raw.bandwidth, 0, d);
    let limit = amount(item, &raw.limit, "unlimited", d);
    Vm {
        version,
        memory,
        bandwidth,
        limit,
        layer: raw.layer.as_ref().map(|layer| layer.get_ref().clone()),
        viommu: raw.viommu,
        enable: raw.enable_migration,
        capabilities: raw.capabilities.iter().map(|name| name.get_ref().clone()).collect(),
        devices,
    }
}
