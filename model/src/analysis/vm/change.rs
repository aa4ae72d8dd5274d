//! What could change about a VM, and the sets of changes after which it can migrate.
//!
//! **Invariant.** Every set that is named was applied, and the VM that results was asked about.

use schemars::JsonSchema;
use serde::Serialize;

use super::super::Error;
use super::{Enable, MOST, Vm};
use crate::protocol::multifd::capability::Reason;
use crate::protocol::release::Release;
use crate::registry::Library;

/// The largest set of changes that is tried.
pub(super) const MOST_CHANGES: usize = 3;

/// A change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "change", content = "to")]
pub enum Change {
    /// Another limit, in ms; `null`: any downtime will do.
    Limit(Option<u64>),
    /// iommufd instead of a type 1 container.
    Iommufd,
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
            Change::Iommufd => "iommufd for the devices".into(),
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
            Change::Iommufd => next.devices.iter_mut().for_each(|device| device.iommufd = true),
            Change::Log => next.devices.iter_mut().for_each(|device| device.log = true),
            Change::IommuLog => next.devices.iter_mut().for_each(|device| {
                (device.iommufd, device.iommu_log) = (true, true);
            }),
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
    let ranges = &migration.releases.ranges;
    let longest = ranges.iter().filter_map(|range| range.most);
    let least = ranges.iter().map(|range| range.least.max(1));
    let times = amounts.clone().filter_map(|amount| vm.time(amount));
    let limits = times.chain(longest.clone()).chain(least);
    let mut limits: Vec<_> =
        limits.filter(|limit| *limit <= MOST).map(Some).chain([None]).collect();
    limits.sort_by_key(|limit| limit.unwrap_or(u64::MAX));
    // A shorter limit is no way out, unless this one cannot be said.
    let says = |limit: &Option<u64>| ranges.first().is_none_or(|range| range.takes(*limit));
    let (own, said) = (vm.limit.unwrap_or(u64::MAX), says(&vm.limit));
    limits.retain(|limit| !said || limit.unwrap_or(u64::MAX) > own);
    limits.dedup();
    if !said && longest.clone().all(|longest| own > longest) {
        limits.retain(Option::is_some);
        limits.reverse();
    }
    let limit = vm.limit.or(longest.min());
    let faster = amounts.chain([1]).filter_map(|amount| speed(amount, limit?));
    let mut faster: Vec<u64> = faster.filter(|bandwidth| *bandwidth > vm.bandwidth).collect();
    faster.retain(|bandwidth| *bandwidth <= MOST);
    faster.sort_unstable();
    faster.dedup();
    let spans = migration.tracking.rows.iter().map(|row| &row.span);
    let spans = spans.chain(migration.releases.manners.iter().map(|manner| &manner.span));
    let capabilities = &library.multifd().capabilities;
    let spans = spans.chain(capabilities.all.iter().map(|known| &known.span));
    let spans = spans.chain(capabilities.exclusions.iter().map(|rule| &rule.span));
    let versions = spans.flat_map(|span| [&span.since, &span.until]);
    let mut versions: Vec<&Release> =
        versions.flatten().filter(|version| **version > vm.version).collect();
    versions.sort();
    versions.dedup();
    let mut all: Vec<Change> = limits.into_iter().map(Change::Limit).collect();
    all.extend(faster.into_iter().map(Change::Bandwidth));
    all.extend([Change::LimitOfTheVmm, Change::Asked, Change::EnableOn, Change::Iommufd]);
    all.push(Change::NoViommu);
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

/// The bandwidth in MiB/s at which this amount is sent in this time; none, if there is none.
fn speed(amount: u64, limit: u64) -> Option<u64> {
    amount.checked_mul(1000)?.checked_add(limit.checked_sub(1)?)?.checked_div(limit)
}

/// What would have to change.
#[derive(Clone, Default, Debug)]
pub(super) struct Changes {
    /// Sets of changes, the smallest first, none of which contains another.
    pub sets: Vec<Vec<Change>>,
    /// A bound cut runs short that would decide about further sets.
    pub cut: bool,
}

/// Every set of at most [`MOST_CHANGES`] changes after which this VM can migrate, unless less is enough; of several
/// limits, bandwidths or versions that would do, the least.
pub(super) fn smallest(
    library: &Library,
    vm: &Vm,
    can_migrate: &mut dyn FnMut(&Vm) -> Result<Option<bool>, Error>,
) -> Result<Changes, Error> {
    let all = candidates(library, vm);
    let mut changes = Changes::default();
    for size in 1..=MOST_CHANGES.min(all.len()) {
        for set in subsets(all.len(), size) {
            let set: Vec<&Change> = set.iter().map(|at| &all[*at]).collect();
            let less = |known: &Vec<Change>| {
                let asks = |one: &Change| set.iter().any(|own| one == *own || is_more(one, own));
                known.iter().all(asks)
            };
            if changes.sets.iter().any(less) {
                continue;
            }
            let mut next = Some(vm.clone());
            for change in &set {
                next = next.and_then(|vm| change.applied(library, &vm));
            }
            let Some(next) = next else { continue };
            match can_migrate(&next)? {
                Some(true) => changes.sets.push(set.into_iter().cloned().collect()),
                Some(false) => {}
                None => changes.cut = true,
            }
        }
    }
    Ok(changes)
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

/// Every set of this size, of numbers below `count`, in order.
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
