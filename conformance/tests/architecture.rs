//! What ARCHITECTURE.md says of imports, held against the `use` declarations of every source file.
//!
//! ```text
//!   src/**/*.rs --syn--> use declarations --resolved--> edges between files
//! ```
//!
//! Code under `#[cfg(test)]` is not looked at. An import is resolved to the file of the module that it
//! names, also where that module only re-exports the item.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// The crates of the workspace: the name in a path, and the folder.
const CRATES: [(&str, &str); 5] = [
    ("devmig_engine_derive", "model/engine/derive/src"),
    ("devmig_engine", "model/engine/src"),
    ("devmig_model", "model/src"),
    ("devmig_reference", "reference-impl/src"),
    ("devmig_conformance", "conformance/src"),
];

/// A module that has a file: the crate, then the names down to it.
type Module = Vec<String>;

/// One `use` of one name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Import {
    /// The file that has it.
    from: Module,
    /// The path as written, with `self`, `super` and `crate` resolved; `*` for a glob.
    path: Vec<String>,
    /// The path as written, if it is a glob of a module's own ancestors.
    parents: bool,
}

/// Every file, and every import in it.
#[derive(Default)]
struct Tree {
    files: BTreeMap<Module, PathBuf>,
    imports: BTreeSet<Import>,
}

impl Tree {
    /// The workspace's.
    fn of_workspace() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut tree = Tree::default();
        for (name, folder) in CRATES {
            tree.walk(vec![name.to_owned()], &root.join(folder));
        }
        let files = tree.files.clone();
        let mut tests = Vec::new();
        for (module, path) in &files {
            let text = fs::read_to_string(path).unwrap();
            tree.read(module, &text, &mut tests);
        }
        let test = |module: &Module| tests.iter().any(|test| module.starts_with(test));
        tree.files.retain(|module, _| !test(module));
        tree.imports.retain(|import| !test(&import.from));
        tree
    }

    /// One that a test makes up.
    fn of(files: &[(&str, &str)]) -> Self {
        let mut tree = Tree::default();
        let module = |name: &str| name.split("::").map(str::to_owned).collect::<Module>();
        tree.files = files.iter().map(|(name, _)| (module(name), name.into())).collect();
        for (name, text) in files {
            tree.read(&module(name), text, &mut Vec::new());
        }
        tree
    }

    fn walk(&mut self, module: Module, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            let inner: Module = module.iter().cloned().chain([stem.clone()]).collect();
            if path.is_dir() {
                self.walk(inner, &path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                match stem.as_str() {
                    "lib" => self.files.insert(module.clone(), path),
                    // A binary is a crate of its own, which no other file can import.
                    "main" => None,
                    _ => self.files.insert(inner, path),
                };
            }
        }
    }

    fn read(&mut self, module: &Module, text: &str, tests: &mut Vec<Module>) {
        let file = syn::parse_file(text).unwrap();
        let mut uses = Uses { here: module.clone(), tests, paths: Vec::new() };
        uses.visit_file(&file);
        for (here, path) in uses.paths {
            let resolved = self.resolve(&here, &path);
            let ancestors = path.iter().all(|name| ["self", "super", "*"].contains(&name.as_str()));
            let parents = ancestors && path.last().is_some_and(|last| last == "*");
            self.imports.insert(Import { from: module.clone(), path: resolved, parents });
        }
    }

    fn resolve(&self, here: &Module, path: &[String]) -> Vec<String> {
        let (mut at, mut rest): (Module, &[String]) = match path.first().map(String::as_str) {
            Some("crate") => (here[..1].to_vec(), &path[1..]),
            Some("self" | "super") => (here.clone(), path),
            Some(first) => {
                let child: Module =
                    here.iter().map(String::as_str).chain([first]).map(str::to_owned).collect();
                if self.files.contains_key(&child) {
                    (here.clone(), path)
                } else {
                    (Vec::new(), path)
                }
            }
            None => return Vec::new(),
        };
        while let Some(first) = rest.first() {
            match first.as_str() {
                "self" => {}
                "super" => drop(at.pop()),
                _ => break,
            }
            rest = &rest[1..];
        }
        at.extend(rest.iter().cloned());
        at
    }

    /// The file that an import is about, if it is one of the workspace's.
    fn file(&self, import: &Import) -> Option<&Module> {
        (1..=import.path.len())
            .rev()
            .find_map(|n| self.files.get_key_value(&import.path[..n]).map(|(module, _)| module))
    }

    /// Who imports whom, but for a module and what is inside it.
    fn edges(&self) -> BTreeMap<&Module, BTreeSet<&Module>> {
        let mut edges: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for import in &self.imports {
            let Some(to) = self.file(import) else { continue };
            if !to.starts_with(&import.from) && !import.from.starts_with(to) {
                edges.entry(&import.from).or_default().insert(to);
            }
        }
        edges
    }

    /// A circle, if there is one: each file imports the next, and the last the first.
    fn circle(&self) -> Option<Vec<String>> {
        let mut edges = self.edges();
        // Whoever imports nobody that is left is in no circle.
        loop {
            let left: BTreeSet<&Module> = edges.keys().copied().collect();
            let before = left.len();
            edges.values_mut().for_each(|to| to.retain(|module| left.contains(module)));
            edges.retain(|_, to| !to.is_empty());
            if edges.len() == before {
                break;
            }
        }
        let mut way = vec![*edges.keys().next()?];
        loop {
            let next = *edges.get(way.last()?)?.first()?;
            if let Some(from) = way.iter().position(|module| *module == next) {
                way.push(next);
                return Some(way[from..].iter().map(|module| module.join("::")).collect());
            }
            way.push(next);
        }
    }

    /// The imports of a folder that this is true of, as a person reads them.
    fn wrong(&self, within: &[&str], wrong: impl Fn(&Self, &Import) -> bool) -> Vec<String> {
        let within = |module: &Module| {
            module.iter().map(String::as_str).take(within.len()).eq(within.iter().copied())
        };
        let all = self.imports.iter().filter(|import| within(&import.from) && wrong(self, import));
        all.map(|import| format!("{} imports {}", import.from.join("::"), import.path.join("::")))
            .collect()
    }
}

/// Collects the paths of `use` declarations, each with the module it stands in.
struct Uses<'a> {
    here: Module,
    /// Modules that are only compiled for tests.
    tests: &'a mut Vec<Module>,
    paths: Vec<(Module, Vec<String>)>,
}

fn for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

impl<'ast> Visit<'ast> for Uses<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.here.push(item.ident.to_string());
        if !for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        } else if item.content.is_none() {
            self.tests.push(self.here.clone());
        }
        self.here.pop();
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !for_tests(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !for_tests(&item.attrs) {
            self.tree(Vec::new(), &item.tree);
        }
    }
}

impl Uses<'_> {
    fn tree(&mut self, mut path: Vec<String>, tree: &syn::UseTree) {
        match tree {
            syn::UseTree::Path(inner) => {
                path.push(inner.ident.to_string());
                return self.tree(path, &inner.tree);
            }
            syn::UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.tree(path.clone(), tree));
            }
            syn::UseTree::Name(name) if name.ident == "self" => {}
            syn::UseTree::Name(name) => path.push(name.ident.to_string()),
            syn::UseTree::Rename(rename) if rename.ident == "self" => {}
            syn::UseTree::Rename(rename) => path.push(rename.ident.to_string()),
            syn::UseTree::Glob(_) => path.push("*".to_owned()),
        }
        self.paths.push((self.here.clone(), path));
    }
}

fn none(what: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let tree = Tree::of_workspace();
    assert!(tree.edges().values().map(BTreeSet::len).sum::<usize>() > 500, "imports are not found");
    let circle = tree.circle().unwrap_or_default();
    assert!(circle.is_empty(), "files import each other:\n  {}", circle.join("\n  -> "));
}

#[test]
fn no_module_imports_all_of_its_parent() {
    let wrong = Tree::of_workspace().wrong(&[], |_, import| import.parents);
    none("list what is imported in place of `use super::*`", &wrong);
}

#[test]
fn modules_have_files_of_their_name() {
    let tree = Tree::of_workspace();
    let old =
        tree.files.iter().filter(|(module, _)| module.last().is_some_and(|name| name == "mod"));
    let old: Vec<String> = old.map(|(_, path)| path.display().to_string()).collect();
    none("write `name.rs` in place of `name/mod.rs`", &old);
}

/// A crate whose library says `test = false` would never run a test inside it.
#[test]
fn no_unit_test_stands_where_none_is_run() {
    let tree = Tree::of_workspace();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let untested = |folder: &str| {
        let manifest = root.join(folder).join("../Cargo.toml");
        let manifest: toml::Table = fs::read_to_string(manifest).unwrap().parse().unwrap();
        manifest["lib"].get("test").and_then(toml::Value::as_bool) == Some(false)
    };
    let crates: Vec<&str> = CRATES.iter().filter(|c| untested(c.1)).map(|c| c.0).collect();
    assert_eq!(crates, ["devmig_model"]);
    let dead = |(module, path): &(&Module, &PathBuf)| {
        let text = fs::read_to_string(path).unwrap();
        crates.contains(&module[0].as_str()) && text.contains("#[cfg(test)]")
    };
    let dead: Vec<_> = tree.files.iter().filter(dead).map(|f| f.1.display().to_string()).collect();
    none("move unit tests to the crate's `tests/`", &dead);
}

#[test]
fn the_engine_names_no_protocol() {
    let known = [
        "std",
        "core",
        "devmig_engine_derive",
        "foldhash",
        "schemars",
        "serde",
        "serde_json",
        "stateright",
        "thiserror",
    ];
    let foreign = |_: &Tree, import: &Import| {
        let root = &import.path[0];
        root != "devmig_engine" && !known.contains(&root.as_str())
    };
    none(
        "the engine depends on no protocol, no file format and no command line",
        &Tree::of_workspace().wrong(&["devmig_engine"], foreign),
    );
}

#[test]
fn the_harness_knows_no_protocol() {
    let foreign = |tree: &Tree, import: &Import| {
        let own = ["devmig_conformance", "harness"];
        let file = tree.file(import);
        let room = |module: &Module| module.iter().map(String::as_str).take(2).eq(own);
        let mine = import.path[0] != own[0] || file.is_some_and(room);
        let protocol = import.path.starts_with(&["devmig_model".to_owned(), "protocol".to_owned()]);
        !mine || protocol
    };
    none(
        "the harness imports no protocol's room",
        &Tree::of_workspace().wrong(&["devmig_conformance", "harness"], foreign),
    );
}

/// The command line's room.
const CLI: [&str; 2] = ["devmig_conformance", "cli"];

/// The name of a file or folder right inside the command line's room.
fn of_cli(module: &[String]) -> Option<&str> {
    let (room, inside) = module.split_at_checked(CLI.len())?;
    if room == CLI { inside.first().map(String::as_str) } else { None }
}

/// An import of the command line's by what is not its own.
fn prints(tree: &Tree, import: &Import) -> bool {
    let inside = |module: &[String]| module.get(..CLI.len()).is_some_and(|room| room == CLI);
    !inside(&import.from) && (inside(&import.path) || tree.file(import).is_some_and(|f| inside(f)))
}

/// An import of a command's file by another command's.
fn visits(tree: &Tree, import: &Import) -> bool {
    let shared = [
        "error",
        "help",
        "interrupt",
        "number",
        "out",
        "pace",
        "plain",
        "progress",
        "select",
        "stories",
    ];
    let to = tree.file(import).and_then(|file| of_cli(file));
    let to = to.filter(|to| !shared.contains(to));
    to.is_some() && of_cli(&import.from).is_some_and(|from| Some(from) != to)
}

#[test]
fn the_library_knows_no_command_line() {
    let tree = Tree::of_workspace();
    none("no file outside `cli/` imports it", &tree.wrong(&[], prints));
    let uses = |import: &&Import| of_cli(&import.from).is_some() && import.path[0] != CLI[0];
    assert!(tree.imports.iter().filter(uses).count() > 50, "imports are not found");
}

#[test]
fn no_command_imports_another() {
    let what = "what two commands need is the library's, or stands in a file that both share";
    none(what, &Tree::of_workspace().wrong(&CLI, visits));
}

/// The checks above find what they are for.
#[test]
fn what_is_wrong_is_found() {
    let circle = [
        ("c::a", "use crate::b::Name;"),
        ("c::b", "pub mod d { use super::super::e::{self, Other}; }"),
        ("c::e", "fn f() { use crate::a; }"),
    ];
    assert_eq!(Tree::of(&circle).circle().unwrap(), ["c::a", "c::b", "c::e", "c::a"]);
    let family = [("c::a", "use d::Name; mod d;"), ("c::a::d", "use super::Name;")];
    assert_eq!(Tree::of(&family).circle(), None);
    let siblings = [("c::a::d", "use super::e::X;"), ("c::a::e", "use super::d::Y;"), ("c::a", "")];
    assert_eq!(Tree::of(&siblings).circle().unwrap().len(), 3);
    let tests = [
        ("c::a", "use crate::b; #[cfg(test)] mod tests { use super::*; }"),
        ("c::b", "#[cfg(test)] use crate::a;"),
    ];
    assert_eq!(Tree::of(&tests).circle(), None);
    let glob =
        [("c::a::b", "use super::super::*; use super::d::*;"), ("c::a", ""), ("c::a::d", "")];
    let tree = Tree::of(&glob);
    assert_eq!(tree.wrong(&["c", "a"], |_, import| import.parents), ["c::a::b imports c::*"]);
    let cli = [
        ("devmig_conformance::cli", ""),
        ("devmig_conformance::cli::check", "use super::select::Pins; use crate::book::page;"),
        ("devmig_conformance::cli::select", "use super::Error;"),
        ("devmig_conformance::cli::verify", "use super::check::head; use crate::cli::check;"),
        ("devmig_conformance::cli::verify::table", "use super::Error; use super::super::check;"),
        ("devmig_conformance::book", "use crate::cli; use super::cli::select::Pins;"),
    ];
    let tree = Tree::of(&cli);
    assert_eq!(tree.wrong(&CLI, visits).len(), 3);
    assert_eq!(tree.wrong(&[], prints).len(), 2);
}
