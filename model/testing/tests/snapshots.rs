//! Every snapshot of the repository is for a person to read: no line is wider than 100 columns.
//!
//! Data for programs is left out (JSON, JUnit): its strings are not broken into lines.

use std::path::{Path, PathBuf};

const WIDTH: usize = 100;

fn snapshots(dir: &Path, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let hidden = name.to_string_lossy().starts_with('.');
        if path.is_dir() && !hidden && name != "target" {
            snapshots(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "snap") {
            found.push(path);
        }
    }
}

/// What was recorded, without the metadata before it, unless it is data for programs.
fn text(file: &str) -> Option<&str> {
    let (_, text) = file.strip_prefix("---\n")?.split_once("\n---\n")?;
    let data = ["{", "[\n", "<?xml"].iter().any(|begin| text.starts_with(begin));
    (!data).then_some(text)
}

#[test]
fn no_snapshot_is_wider_than_a_terminal() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    snapshots(&root, &mut files);
    assert!(files.len() > 100, "{} snapshots", files.len());
    let (mut read, mut wide) = (0, Vec::new());
    for path in &files {
        let file = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        let Some(text) = text(&file) else { continue };
        read += 1;
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or_default();
        if widest > WIDTH {
            wide.push(format!("{widest:>5}  {}", path.display()));
        }
    }
    assert!(read * 10 > files.len() * 9, "only {read} of {} snapshots are text", files.len());
    assert!(wide.is_empty(), "wider than {WIDTH} columns:\n{}", wide.join("\n"));
}

#[test]
fn data_for_programs_is_told_apart_from_text() {
    assert_eq!(text("---\nsource: x\n---\na\nb\n"), Some("a\nb\n"));
    assert_eq!(text("---\nsource: x\n---\n{\n  \"a\": 1\n}\n"), None);
    assert_eq!(text("---\nsource: x\n---\n<?xml version=\"1.0\"?>\n"), None);
    assert_eq!(text("no snapshot"), None);
}
