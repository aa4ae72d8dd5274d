//! What could change about a VM, and the smallest sets of changes after which it can migrate.
//!
//! **Invariant.** Every set that is named was asked about, like a VM of its own.

use schemars::JsonSchema;
use serde::Serialize;

use super::super::Error;
use super::{Enable, Vm};
use crate::protocol::multifd::capability::Reason;
use crate::protocol::release::Release;
use crate::registry::Library;

/// The largest set of changes that is tried.
const MOST: usize = 3;

/// A change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "change", content = "to")]
pub enum Change {
    /// Another limit, in ms; `null`: any downtime will do.
    Limit(Option<u64>),
    /// Another bandwidth, in MiB/s.
    Bandwidth(u64),
    /// The limit is given to the VMM, not to the management layer.
    LimitOfTheVmm,
    /// A device that can log its writes is asked.
    Asked,
    /// Devices that can log their own writes.
    Log,
    /// An IOMMU with a log, by iommufd.
    IommuLog,
    /// Devices with P2P.
    P2p,
    /// No IOMMU for the guest's devices.
    NoViommu,
    /// `enable-migration=on`.
    EnableOn,
    /// Without this capability.
    Without(String),
    /// With this capability too.
    With(String),
    /// A newer version.
    Version(String),
    /// Without the devices.
    Unplugged,
}

/// A limit, as it is said.
pub(super) fn limit_in_words(limit: Option<u64>) -> String {
    limit.map_or_else(|| "`unlimited`".to_owned(), |limit| format!("{limit} ms"))
}

impl Change {
    /// It in words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Change::Limit(limit) => format!("a limit of {}", limit_in_words(*limit)),
            Change::Bandwidth(bandwidth) => format!("a bandwidth of {bandwidth} MiB/s"),
            Change::LimitOfTheVmm => "the limit is given to QEMU itself".into(),
            Change::Asked => {
                "x-device-dirty-page-tracking=on: the device is asked for its log".into()
            }
            Change::Log => "devices that log their own writes".into(),
            Change::IommuLog => "an IOMMU that logs what devices write, with iommufd".into(),
            Change::P2p => "devices with P2P".into(),
            Change::NoViommu => "no vIOMMU for the devices".into(),
            Change::EnableOn => "enable-migration=on".into(),
            Change::Without(name) => format!("without the capability {name}"),
            Change::With(name) => format!("with the capability {name} too"),
            Change::Version(version) => format!("QEMU {version} or newer"),
            Change::Unplugged => "the devices are unplugged first".into(),
        }
    }

    /// The VM after it; none, if nothing changes.
    fn applied(&self, library: &Library, vm: &Vm) -> Option<Vm> {
        let mut next = vm.clone();
        match self {
            Change::Limit(limit) => next.limit = *limit,
            Change::Bandwidth(bandwidth) => next.bandwidth = *bandwidth,
            Change::LimitOfTheVmm => next.layer = None,
            Change::Asked => next.devices.iter_mut().for_each(|device| device.asked = true),
            Change::Log => next.devices.iter_mut().for_each(|device| device.log = true),
            Change::IommuLog => next.devices.iter_mut().for_each(|device| device.iommu_log = true),
            Change::P2p => {
                let p2p = library.migration().table.feature("p2p")?;
                next.devices.iter_mut().for_each(|device| device.flags |= 1 << p2p.bit);
            }
            Change::NoViommu => next.viommu = false,
            Change::EnableOn => next.enable = Enable::On,
            Change::Without(name) => next.capabilities.retain(|own| own != name),
            Change::With(name) if !next.capabilities.contains(name) => {
                next.capabilities.push(name.clone());
            }
            Change::With(_) => return None,
            Change::Version(version) => next.version = version.parse().ok()?,
            Change::Unplugged => next.devices.clear(),
        }
        (next != *vm).then_some(next)
    }
}

/// Everything that could change about this VM.
fn candidates(library: &Library, vm: &Vm) -> Vec<Change> {
    let migration = library.migration();
    let state = vm.state();
    let amounts =
        [state, state.and_then(|state| state.checked_add(vm.memory))].into_iter().flatten();
    let longer = |limit: &u64| vm.limit.is_some_and(|own| *limit > own);
    let limits = amounts.clone().filter_map(|amount| vm.time(amount)).chain([1]).filter(longer);
    let longest = migration.releases.ranges.iter().filter_map(|range| range.most);
    let mut limits: Vec<_> = match vm.limit {
        Some(_) => limits.map(Some).chain([None]).collect(),
        None => longest.map(Some).collect(),
    };
    limits.sort_by_key(|limit| limit.unwrap_or(u64::MAX));
    limits.dedup();
    let faster = amounts.chain([1]).filter_map(|amount| speed(amount, vm.limit?));
    let mut faster: Vec<u64> = faster.filter(|bandwidth| *bandwidth > vm.bandwidth).collect();
    faster.sort_unstable();
    faster.dedup();
    let versions =
        migration.tracking.rows.iter().flat_map(|row| [&row.span.since, &row.span.until]);
    let manners = migration.releases.manners.iter();
    let manners = manners.flat_map(|manner| [&manner.span.since, &manner.span.until]);
    let mut versions: Vec<&Release> =
        versions.chain(manners).flatten().filter(|version| **version > vm.version).collect();
    versions.sort();
    versions.dedup();
    let mut all: Vec<Change> = limits.into_iter().map(Change::Limit).collect();
    all.extend(faster.into_iter().map(Change::Bandwidth));
    all.extend([Change::LimitOfTheVmm, Change::Asked, Change::EnableOn, Change::NoViommu]);
    let refused = library.multifd().capabilities.refusals(&vm.version, &vm.capabilities);
    all.extend(refused.into_iter().filter_map(|refusal| match refusal.reason {
        Reason::Needs(other) => Some(Change::With(other)),
        _ => None,
    }));
    all.extend(vm.capabilities.iter().cloned().map(Change::Without));
    all.extend(versions.into_iter().map(|version| Change::Version(version.to_string())));
    all.extend([Change::Log, Change::IommuLog, Change::P2p, Change::Unplugged]);
    all.retain(|change| change.applied(library, vm).is_some());
    all
}

/// The bandwidth in MiB/s at which so much is sent in so many ms; none, if there is none.
fn speed(amount: u64, limit: u64) -> Option<u64> {
    amount.checked_mul(1000)?.checked_add(limit.checked_sub(1)?)?.checked_div(limit)
}

/// Every smallest set of changes after which this VM can migrate; of several limits, bandwidths or versions
/// that would do, the least.
pub(super) fn smallest(
    library: &Library,
    vm: &Vm,
    can_migrate: &mut dyn FnMut(&Vm) -> Result<bool, Error>,
) -> Result<Vec<Vec<Change>>, Error> {
    let all = candidates(library, vm);
    for size in 1..=MOST.min(all.len()) {
        let mut found: Vec<Vec<Change>> = Vec::new();
        for set in subsets(all.len(), size) {
            let set: Vec<&Change> = set.iter().map(|at| &all[*at]).collect();
            let more = |known: &Vec<Change>| {
                known.iter().zip(&set).all(|(one, other)| one == *other || is_more(one, other))
            };
            if found.iter().any(more) {
                continue;
            }
            let mut next = Some(vm.clone());
            for change in &set {
                next = next.and_then(|vm| change.applied(library, &vm));
            }
            let Some(next) = next else { continue };
            if can_migrate(&next)? {
                found.push(set.into_iter().cloned().collect());
            }
        }
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// Whether the second asks for more of what the first asks for.
fn is_more(one: &Change, other: &Change) -> bool {
    matches!(
        (one, other),
        (Change::Limit(_), Change::Limit(_))
            | (Change::Bandwidth(_), Change::Bandwidth(_))
            | (Change::Version(_), Change::Version(_))
    )
}

/// Every set of so many numbers below `count`, in order.
fn subsets(count: usize, size: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for _ in 0..size {
        let longer = all.iter().flat_map(|set: &Vec<usize>| {
            let next = set.last().map_or(0, |last| last + 1);
            (next..count).map(move |at| [set.as_slice(), &[at]].concat())
        });
        all = longer.collect();
    }
    all
}
