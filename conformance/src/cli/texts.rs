//! `devmig texts`: the documents that are cited, and whether a copy of one says what was read.

use std::path::PathBuf;

use devmig_model::registry::Library;
use devmig_model::spec::texts::{Checked, Text, TextList, TextVersion};

use super::{Error, Format, Out, Status, select};

/// Paragraphs that a copy lacks and that are listed; JSON has all of them.
const MOST: usize = 20;

/// List the documents that clauses and choices cite, with their versions and digests
#[derive(Debug, clap::Args)]
#[command(after_help = super::help::TEXTS)]
pub(crate) struct Args {
    /// Documents by id, e.g. `vhost-user` [default: all]
    #[arg(value_name = "ID", conflicts_with = "check")]
    ids: Vec<String>,
    /// Compare your own copy of a document with the digests of the paragraphs that are cited
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs it.
pub(crate) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let library = Library::builtin()?;
    if let Some(path) = &args.check {
        let Some(checked) = library.spec.check_copy(&select::read(path)?) else {
            let message = format!("{} has no paragraph that is cited", path.display());
            let help = "give the source of the document (reStructuredText, a C header, LaTeX), not \
                        a page made of it";
            return Err(Error::usage(message, Some(help.into())));
        };
        out.show(args.format, &checked, || checked_text(&checked))?;
        let is_whole = checked.versions.iter().any(|version| version.found == version.cited);
        return Ok(if is_whole { Status::Good } else { Status::Bad });
    }
    let mut list = library.spec.texts();
    for id in &args.ids {
        if list.texts.iter().all(|text| text.id != *id) {
            let names: Vec<_> = list.texts.iter().map(|text| text.id.as_str()).collect();
            let help = format!("there are {}", names.join(", "));
            return Err(Error::usage(format!("no document is called `{id}`"), Some(help)));
        }
    }
    list.texts.retain(|text| args.ids.is_empty() || args.ids.contains(&text.id));
    out.show(args.format, &list, || list_text(&list, !args.ids.is_empty()))?;
    Ok(Status::Good)
}

fn list_text(list: &TextList, with_digests: bool) -> String {
    let texts: Vec<String> = list.texts.iter().map(|text| text_of(text, with_digests)).collect();
    texts.join("\n")
}

fn text_of(text: &Text, with_digests: bool) -> String {
    let mut all = format!("{}: {}\n", text.id, text.title);
    for version in &text.versions {
        all.push_str(&version_text(version));
        for digest in version.digests.iter().filter(|_| with_digests) {
            all.push_str(&format!("    {digest}\n"));
        }
    }
    all
}

fn version_text(version: &TextVersion) -> String {
    let cited = match (version.citations, version.digests.len()) {
        (0, _) => "not cited".to_owned(),
        (items, 0) => format!("cited by {items}, no digest"),
        (items, digests) => format!("cited by {items}, {digests} digests"),
    };
    let posted = if version.posted { ", posted" } else { "" };
    format!("  {:<10} {}  {cited}{posted}\n", version.name, version.date)
}

fn checked_text(checked: &Checked) -> String {
    let mut all = format!("a copy of {}\n", checked.text);
    for version in &checked.versions {
        let (found, cited) = (version.found, version.cited);
        all.push_str(&format!(
            "  {:<10} {found} of {cited} paragraphs as they were read\n",
            version.name
        ));
    }
    for missing in checked.missing.iter().take(MOST) {
        let place = missing.place.join(" > ");
        all.push_str(&format!("  missing: {} ({}), {place}\n", missing.item, missing.version));
    }
    if let Some(more) = checked.missing.len().checked_sub(MOST).filter(|more| *more > 0) {
        all.push_str(&format!("  and {more} more (--format json has all)\n"));
    }
    all
}
