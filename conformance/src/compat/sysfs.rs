//! Directories such as the RFC, and the discussion before it, gave to mdev devices.
//!
//! ```text
//! PARENT/mdev_supported_types/TYPE/migration_info.json        v3: what a type can make
//! PARENT/mdev_supported_types/TYPE/migration_device_models    v4
//! PARENT/UUID/mdev_type                                       the type of an instance (a link)
//! PARENT/UUID/migration/PARAMETER                             v3: an instance
//! PARENT/UUID/migration/{device_model,version}                v4
//! PARENT/UUID/migration/{self,compatible}                     2020
//! PARENT/UUID/migration_version                               2020
//! ```
//!
//! None of these was merged into Linux; a directory made by a tool serves as well. A missing attribute is
//! no description, and that is a refusal.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use devmig_model::device_model::form::BadForm;
use devmig_model::device_model::opaque_string::{Listed, Opaque};
use devmig_model::device_model::read::{Destination, Source};
use devmig_model::device_model::rfc::{self, Versioned, Versions};
use devmig_model::device_model::{External, Instance, ModelId, Profile};

use super::{Bad, MAX_ENTRIES, bytes};

/// An attribute, if it is there.
fn attribute(path: &Path) -> Result<Option<String>, Bad> {
    match bytes(path) {
        Ok(bytes) => String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| BadForm::Json("an attribute is not UTF-8".into()).into()),
        Err(Bad::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What lies in a directory, in order.
///
/// # Errors
/// If there is too much, or it cannot be read.
pub(super) fn entries(dir: &Path) -> Result<Vec<PathBuf>, Bad> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        if all.len() == MAX_ENTRIES {
            return Err(Bad::Entries);
        }
        all.push(entry?.path());
    }
    all.sort();
    Ok(all)
}

/// The device in a directory.
///
/// # Errors
/// See [`Bad`]; without any of the attributes it has no description.
pub fn source(dir: &Path) -> Result<Source, Bad> {
    let migration = dir.join("migration");
    if let Some(listed) = listed(&migration)? {
        return Ok(Source::Listed(listed));
    }
    let model = attribute(&migration.join("device_model"))?;
    let version = attribute(&migration.join("version"))?;
    let info = attribute(&dir.join("mdev_type/migration_info.json"))?;
    if let (Some(model), Some(version), None) = (&model, &version, &info) {
        let model = ModelId::parse_as(Profile::V4, model.trim_end_matches('\n'));
        let version = version.trim_end_matches('\n').to_owned();
        return Ok(Source::Versioned(Versioned { model: model.map_err(BadForm::from)?, version }));
    }
    if let Some(info) = info {
        return instance(&info, &migration);
    }
    match attribute(&dir.join("migration_version"))? {
        Some(text) => Ok(Source::Opaque(Opaque::attribute(&text)?)),
        None => Err(BadForm::Nothing.into()),
    }
}

/// An instance of v3: its parameters are read, their types are in the migration info of its type.
fn instance(info: &str, migration: &Path) -> Result<Source, Bad> {
    let implementation = rfc::info(info.as_bytes())?;
    let mut models = implementation.models().values();
    let (Some(model), None) = (models.next(), models.next()) else {
        let message = "an mdev type has one device model".to_owned();
        return Err(BadForm::Json(message).into());
    };
    let mut attributes = BTreeMap::new();
    if migration.is_dir() {
        for path in entries(migration)? {
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| BadForm::Json("a name is not UTF-8".into()))?.to_owned();
            attributes.insert(name, attribute(&path)?.unwrap_or_default());
        }
    }
    let settings = rfc::settings(model, &attributes)?;
    let id = model.id().clone();
    let instance = Instance::described(id, settings, External::new(), Some(model.statement()));
    Ok(Source::Instance(instance.map_err(BadForm::from)?))
}

fn listed(migration: &Path) -> Result<Option<Listed>, Bad> {
    let Some(own) = attribute(&migration.join("self"))? else { return Ok(None) };
    let compatible = attribute(&migration.join("compatible"))?.unwrap_or_default();
    Ok(Some(Listed::attributes(&own, &compatible)?))
}

/// What a directory can make: a type's, that of a device, or all types of a parent device.
///
/// # Errors
/// See [`Bad`]; without any of the attributes it has no description.
pub fn destinations(dir: &Path) -> Result<Vec<Destination>, Bad> {
    let types = dir.join("mdev_supported_types");
    let mut places = vec![dir.to_owned(), dir.join("mdev_type")];
    if types.is_dir() {
        places.extend(entries(&types)?);
    }
    let mut all = Vec::new();
    for place in places {
        if let Some(info) = attribute(&place.join("migration_info.json"))? {
            all.push(Destination::Implementation(rfc::info(info.as_bytes())?));
        }
        if let Some(models) = attribute(&place.join("migration_device_models"))? {
            all.push(Destination::Versions(Versions::attribute(&models)?));
        }
    }
    all.extend(listed(&dir.join("migration"))?.map(Destination::Listed));
    if let Some(text) = attribute(&dir.join("migration_version"))? {
        all.push(Destination::Opaque(Opaque::attribute(&text)?));
    }
    match all.is_empty() {
        true => Err(BadForm::Nothing.into()),
        false => Ok(all),
    }
}
