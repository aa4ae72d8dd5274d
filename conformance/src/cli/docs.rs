//! `devmig docs`: the pages of the book that are generated, written or compared.
//!
//! ```text
//!  reference/    whole pages: see [`crate::book`]
//!  any page:     <!-- devmig ARGS -->    a block: that command, and what it prints
//!                …
//!                <!-- end -->
//! ```

use std::io::Write as _;
use std::path::{Path, PathBuf};

use devmig_engine::explore::search::Limits;
use devmig_model::registry::Library;

use super::progress::Meter;
use super::select::{read, text_if_there};
use super::{Error, Out, Status};
use crate::book;
use crate::harness::io::files;

/// Write the generated pages and blocks of the book, or check them
#[derive(Debug, clap::Args)]
#[command(after_help = super::help::DOCS)]
pub(crate) struct Args {
    /// Write nothing; exit with 1 if a page is out of date
    #[arg(long)]
    check: bool,
    /// Folder of the book's sources
    #[arg(long, value_name = "DIR", default_value = "docs/src")]
    dir: PathBuf,
}

/// Runs it.
pub(crate) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    if !args.dir.is_dir() {
        let message = format!("directory not found: {}", args.dir.display());
        let help = "run the command in the root of the repository, or set --dir";
        return Err(Error::usage(message, Some(help.into())));
    }
    let mut wrong = 0;
    for (path, wanted) in pages(&args.dir)? {
        let file = args.dir.join(&path);
        let found = text_if_there(&file)?;
        if found.as_deref() == Some(&wanted) {
            continue;
        }
        if args.check {
            let how = if found.is_some() { "is out of date" } else { "is missing" };
            out.text(&format!("{} {how}\n", file.display()))?;
            if let Some(found) = found {
                out.text(&first_difference(&found, &wanted))?;
            }
            wrong += 1;
        } else {
            let failed = |cause| Error::Write { to: file.display().to_string(), cause };
            if let Some(parent) = file.parent() {
                std::fs::create_dir_all(parent).map_err(failed)?;
            }
            let mut written = files::create(&file).map_err(|error| failed(error.into()))?;
            written.write_all(wanted.as_bytes()).map_err(failed)?;
            out.text(&format!("{} written\n", file.display()))?;
        }
    }
    if wrong > 0 {
        out.text("run `devmig docs` to write them\n")?;
        return Ok(Status::Bad);
    }
    Ok(Status::Good)
}

/// The first line that differs.
fn first_difference(found: &str, wanted: &str) -> String {
    let mut lines = found.lines().map(Some).chain(std::iter::repeat(None));
    let wanted = wanted.lines().map(Some).chain([None]);
    for (n, wanted) in wanted.enumerate() {
        let found = lines.next().flatten();
        if found != wanted {
            let show = |line: Option<&str>| line.unwrap_or("(the end)").to_owned();
            return format!("  line {}: {}\n  wanted: {}\n", n + 1, show(found), show(wanted));
        }
    }
    String::new()
}

/// Every page with generated parts: its path, and its whole text.
fn pages(dir: &Path) -> Result<Vec<(PathBuf, String)>, Error> {
    let with_blocks = blocks_in(dir)?;
    // What cannot be run is said before everything is explored.
    for path in &with_blocks {
        let run = |words: &[String]| super::of_a_page(words, path).map(|_| String::new());
        filled(&read(&dir.join(path))?, path, run)?;
    }
    let meter = Meter::new();
    let mut pages = book::reference(&meter.explorer(Limits::default()), &Library::builtin()?)?;
    drop(meter);
    for path in with_blocks {
        let run = |words: &[String]| super::captured(words, &path);
        let wanted = filled(&read(&dir.join(&path))?, &path, run)?;
        pages.push((path, wanted));
    }
    Ok(pages)
}

/// Hand-written pages (below `dir`, not below `reference`) that hold generated blocks.
fn blocks_in(dir: &Path) -> Result<Vec<PathBuf>, Error> {
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

/// The README of the repository, from the book's sources.
const README: &str = "../../README.md";
const BEGIN: &str = "<!-- devmig ";
const END: &str = "<!-- end -->";

/// A page with what each of its blocks is to hold: what its command has printed.
fn filled(
    text: &str,
    path: &Path,
    mut printed: impl FnMut(&[String]) -> Result<String, Error>,
) -> Result<String, Error> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(BEGIN) {
        let (before, from) = rest.split_at(at);
        let (Some(close), Some(end)) = (from.find(" -->"), from.find(END)) else {
            let message = format!("{}: a block has no end", path.display());
            return Err(Error::usage(message, Some(format!("add `{END}` after it"))));
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
