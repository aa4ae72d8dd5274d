//! Blocks in hand-written pages: a command, and what it prints.
//!
//! ```text
//!  <!-- devmig ARGS -->
//!  …
//!  <!-- end -->
//! ```

use std::path::{Path, PathBuf};

use super::Error;
use crate::harness::io::files;

/// The README of the repository, from the book's sources.
const README: &str = "../../README.md";
const BEGIN: &str = "<!-- devmig ";
/// What ends a block.
pub const END: &str = "<!-- end -->";

/// The text of a page.
///
/// # Errors
/// With its path and the cause.
pub fn read(path: &Path) -> Result<String, Error> {
    files::text(path).map_err(|cause| Error::Read { path: path.to_owned(), cause: cause.into() })
}

/// Hand-written pages (below `dir`, not below `reference`) that hold generated blocks.
///
/// # Errors
/// If one cannot be read.
pub fn pages(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |cause| Error::Read { path: dir.to_owned(), cause };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|ext| ext == "md")
            && read(&path)?.contains(BEGIN)
            && let Some(name) = path.file_name()
        {
            found.push(PathBuf::from(name));
        }
    }
    found.sort();
    // The page that a reader of the repository sees first, two folders above the book's sources.
    let readme = PathBuf::from(README);
    if dir.join(&readme).is_file() {
        found.push(readme);
    }
    Ok(found)
}

/// A page with what each of its blocks is to hold: what its command has printed.
///
/// # Errors
/// If a block has no end, or as `printed`.
pub fn filled<E: From<Error>>(
    text: &str,
    path: &Path,
    mut printed: impl FnMut(&[String]) -> Result<String, E>,
) -> Result<String, E> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(BEGIN) {
        let (before, from) = rest.split_at(at);
        let (Some(close), Some(end)) = (from.find(" -->"), from.find(END)) else {
            return Err(Error::NoEnd(path.to_owned()).into());
        };
        let arguments = from.get(BEGIN.len()..close).unwrap_or_default();
        let words: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
        out += before;
        let printed = printed(&words)?;
        out += &format!("{BEGIN}{arguments} -->\n```console\n$ devmig {arguments}\n{printed}```\n");
        out += END;
        rest = &from[end + END.len()..];
    }
    Ok(out + rest)
}
