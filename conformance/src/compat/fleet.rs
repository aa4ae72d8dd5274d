//! Every instance against every host of a fleet.
//!
//! **Invariant.** The result does not depend on the number of threads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use devmig_model::device_model::read::{self, Destination, Side, Source};
use devmig_model::device_model::{Kind, Reason};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Bad, bytes, sysfs};

/// A fleet.
#[derive(Debug, Default)]
pub struct Fleet {
    instances: Vec<(String, Result<Source, Reason>)>,
    hosts: Vec<(String, Result<Destination, Reason>)>,
}

/// Where an instance can go.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct Row {
    /// The file of the instance.
    pub instance: String,
    /// The files of the hosts that accept it, in order.
    pub accepted_by: Vec<String>,
    /// Of the others, for how many there is a reason of each kind.
    pub refused_for: BTreeMap<String, usize>,
}

/// The whole matrix.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct Matrix {
    /// The version of this form: 1.
    pub schema: u32,
    /// How many hosts there are.
    pub hosts: usize,
    /// The hosts that accept no instance.
    pub idle: Vec<String>,
    /// The instances, in order.
    pub instances: Vec<Row>,
}

impl Fleet {
    /// Reads a directory and its immediate subdirectories: every `*.json` is an instance or a host.
    ///
    /// # Errors
    /// The files that are neither.
    pub fn read(dir: &Path) -> Result<Self, Vec<(PathBuf, Bad)>> {
        let mut files = Vec::new();
        let failed = |error| vec![(dir.to_owned(), error)];
        for path in sysfs::entries(dir).map_err(failed)? {
            if path.is_dir() {
                files.extend(sysfs::entries(&path).map_err(|error| vec![(path, error)])?);
            } else {
                files.push(path);
            }
        }
        files.retain(|path| path.extension().is_some_and(|ext| ext == "json"));
        let (mut fleet, mut bad) = (Fleet::default(), Vec::new());
        for path in files {
            let name = path.strip_prefix(dir).unwrap_or(&path).display().to_string();
            match bytes(&path).and_then(|bytes| Ok(read::side(&bytes)?)) {
                Ok(side) => fleet.add(&name, side),
                Err(error) => match error.refusal("file") {
                    // Which side it would be does not show: it can neither go nor receive.
                    Some(reason) => {
                        fleet.instances.push((name.clone(), Err(reason.clone())));
                        fleet.hosts.push((name, Err(reason)));
                    }
                    None => bad.push((path, error)),
                },
            }
        }
        if bad.is_empty() { Ok(fleet) } else { Err(bad) }
    }

    /// With one more.
    pub fn add(&mut self, name: &str, side: Side) {
        self.instances.extend(side.source.map(|source| (name.to_owned(), Ok(source))));
        self.hosts.extend(side.destination.map(|host| (name.to_owned(), Ok(host))));
    }

    /// How many instances and hosts it has.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.instances.len(), self.hosts.len())
    }

    /// Where each instance can go.
    #[must_use]
    pub fn matrix(&self, threads: usize) -> Matrix {
        let share = self.instances.len().div_ceil(threads.max(1)).max(1);
        let rows: Vec<Row> = std::thread::scope(|scope| {
            let parts: Vec<_> = self
                .instances
                .chunks(share)
                .map(|part| {
                    scope.spawn(|| part.iter().map(|one| self.row(one)).collect::<Vec<_>>())
                })
                .collect();
            parts.into_iter().flat_map(|part| part.join().unwrap_or_default()).collect()
        });
        let used: std::collections::BTreeSet<&String> =
            rows.iter().flat_map(|row| &row.accepted_by).collect();
        let names = self.hosts.iter().map(|(name, _)| name);
        let idle = names.filter(|name| !used.contains(name)).cloned().collect();
        Matrix { schema: 1, hosts: self.hosts.len(), idle, instances: rows }
    }

    fn row(&self, (name, source): &(String, Result<Source, Reason>)) -> Row {
        let mut row =
            Row { instance: name.clone(), accepted_by: Vec::new(), refused_for: BTreeMap::new() };
        for (host, destination) in &self.hosts {
            let kinds: Vec<Kind> = match (source, destination) {
                (Ok(source), Ok(destination)) => match read::answer(source, destination) {
                    Ok(_) => {
                        row.accepted_by.push(host.clone());
                        continue;
                    }
                    Err(refusal) => refusal.reasons().iter().map(|reason| reason.kind).collect(),
                },
                (Err(reason), _) | (_, Err(reason)) => vec![reason.kind],
            };
            let kinds: std::collections::BTreeSet<Kind> = kinds.into_iter().collect();
            for kind in kinds {
                *row.refused_for.entry(kind.to_string()).or_default() += 1;
            }
        }
        row
    }
}
