//! States that were kept, as files: `{"schema": 1, "instance": {...}, "states": {"vhost-user": [...]}}`.
//!
//! **Invariant.** A folder of at most [`MOST`] files, each of at most [`MAX_FILE`] bytes, is read; what
//! is no golden state is an error with its place, and is not passed over.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use devmig_model::device_model::Instance;
use devmig_model::device_model::form::MAX_FILE;
use devmig_reference::golden::{Form, SCHEMA, vectors};

use super::transport::Transport;
use crate::harness::io::files;

/// The most files.
pub const MOST: usize = 4096;

/// A state that was kept.
#[derive(Clone, PartialEq, Debug)]
pub struct Golden {
    /// Its file's name.
    pub name: String,
    /// What it is the state of.
    pub instance: Instance,
    /// As each transport carries it.
    pub states: BTreeMap<Transport, Vec<u8>>,
}

/// Why there are no golden states.
#[derive(Debug, thiserror::Error)]
pub enum BadGolden {
    /// The folder cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Too many.
    #[error("{} has more than {MOST} files", .0.display())]
    Many(PathBuf),
    /// A file that is none.
    #[error("{name} is not a golden state: {why}")]
    Form {
        /// Which.
        name: String,
        /// Why.
        why: String,
    },
}

/// The golden states of a folder, by their names: its files `*.json`.
///
/// # Errors
/// See [`BadGolden`].
pub fn read(folder: &Path) -> Result<Vec<Golden>, BadGolden> {
    let failed = |path: &Path, error| BadGolden::Read { path: path.to_owned(), error };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| failed(folder, error))? {
        let path = entry.map_err(|error| failed(folder, error))?.path();
        if path.extension().is_some_and(|end| end == "json") {
            paths.push(path);
        }
        if paths.len() > MOST {
            return Err(BadGolden::Many(folder.to_owned()));
        }
    }
    paths.sort();
    let one = |path: PathBuf| {
        let read = files::bytes(&path, MAX_FILE as u64);
        let bytes = read.map_err(|error| failed(&path, error.into()))?;
        parse(&path.display().to_string(), &bytes)
    };
    paths.into_iter().map(one).collect()
}

/// One file's.
///
/// # Errors
/// See [`BadGolden::Form`].
pub fn parse(name: &str, bytes: &[u8]) -> Result<Golden, BadGolden> {
    let no = |why: String| BadGolden::Form { name: name.to_owned(), why };
    if bytes.len() > MAX_FILE {
        return Err(no(format!("it has more than {MAX_FILE} bytes")));
    }
    let form: Form = serde_json::from_slice(bytes).map_err(|error| no(error.to_string()))?;
    golden(name, form)
}

fn golden(name: &str, form: Form) -> Result<Golden, BadGolden> {
    let no = |why: String| BadGolden::Form { name: name.to_owned(), why };
    if form.schema != SCHEMA {
        return Err(no(format!(
            "its form has version {}, and {SCHEMA} is known here",
            form.schema
        )));
    }
    let mut states = BTreeMap::new();
    for key in form.states.keys() {
        let transport = Transport::ALL.into_iter().find(|transport| transport.name() == key);
        let transport = transport.ok_or_else(|| no(format!("there is no transport `{key}`")))?;
        let state = form.state(key);
        let state = state.ok_or_else(|| no(format!("`{key}` is not in hexadecimal digits")))?;
        states.insert(transport, state);
    }
    let instance = form.instance.resolve().map_err(|error| no(error.to_string()))?;
    Ok(Golden { name: name.to_owned(), instance, states })
}

/// The reference device's.
///
/// # Errors
/// Never, as things are.
pub fn builtin() -> Result<Vec<Golden>, BadGolden> {
    let all = vectors();
    let all = all.map_err(|error| BadGolden::Form {
        name: "the reference's".into(),
        why: error.to_string(),
    })?;
    all.iter().map(|vector| golden(vector.name, Form::from(vector))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_golden_state_is_said_with_its_place() {
        let why = |text: &str| parse("x.json", text.as_bytes()).unwrap_err().to_string();
        assert!(why("{").starts_with("x.json is not a golden state"));
        let form = |schema: u32, states: &str| {
            format!(
                r#"{{"schema": {schema}, "instance": {{"model": "a.com/b", "parameters": {{}}}}, "states": {states}}}"#
            )
        };
        assert!(why(&form(2, "{}")).contains("version 2"));
        assert!(why(&form(1, r#"{"pigeon": []}"#)).contains("`pigeon`"));
        for bad in ["0", "0x", "é0", "zz"] {
            assert!(
                why(&form(1, &format!(r#"{{"vfio-user": ["{bad}"]}}"#))).contains("digits"),
                "{bad}"
            );
        }
        let good = parse("x", form(1, r#"{"vfio-user": ["00", "ff"]}"#).as_bytes()).unwrap();
        assert_eq!(good.states[&Transport::VfioUser], [0, 255]);
        assert!(read(Path::new("/no/such/folder")).is_err());
        assert_eq!(builtin().unwrap().len(), vectors().unwrap().len());
    }
}
