//! Specifications that nobody meant, given to the loader.
//!
//! ```text
//!  built-in files --Edit, Edit, ... (from seeded bytes)--> files --Library::load--> library | diagnostics
//! ```
//!
//! Edits know lines, tables and words, since random bytes are seldom TOML. Held here: nothing panics,
//! a refusal has at least one diagnostic, and each can be drawn. The same edits are made in every run.

use arbitrary::{Arbitrary, Unstructured};
use devmig_model::registry::Library;
use devmig_model::spec::builtin_files;
use miette::{GraphicalReportHandler, GraphicalTheme};

const CASES: u64 = 400;

/// A word that means something somewhere.
const WORDS: [&str; 16] = [
    "",
    "\"\"",
    "\"vhost-user.ring.start=kick\"",
    "\"front-end\"",
    "\"u64\"",
    "\"each ring GET_VRING_BASE save\"",
    "\"…\u{0}\"",
    "-1",
    "18446744073709551616",
    "65",
    "true",
    "[]",
    "[\"\"]",
    "{}",
    "1979-05-27",
    "\"SUSPEND\"",
];

/// One change of a file. Places are taken modulo what there is.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Edit {
    DropLine(u16),
    DoubleLine(u16),
    SwapLines(u16, u16),
    /// A line of another file of the same set.
    Borrow {
        from: u8,
        line: u16,
        to: u16,
    },
    /// What a key is set to becomes another word.
    Value {
        line: u16,
        word: u8,
    },
    /// What a key is set to becomes what another one is.
    OtherValue {
        line: u16,
        from: u16,
    },
    Rename {
        line: u16,
        byte: u8,
    },
    Insert {
        at: u16,
        byte: u8,
    },
    CutAt(u16),
}

impl Edit {
    fn apply(self, text: &mut String, others: &[(String, String)]) {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if lines.is_empty() {
            return;
        }
        let count = lines.len();
        let place = |n: u16| usize::from(n) % count;
        let value = |line: &str| line.split_once(" = ").map(|(_, value)| value.to_owned());
        let set = |line: &mut String, value: &str| {
            if let Some((key, _)) = line.split_once(" = ") {
                *line = format!("{key} = {value}");
            }
        };
        match self {
            Edit::DropLine(n) => drop(lines.remove(place(n))),
            Edit::DoubleLine(n) => lines.insert(place(n), lines[place(n)].clone()),
            Edit::SwapLines(a, b) => lines.swap(place(a), place(b)),
            Edit::Borrow { from, line, to } => {
                let (_, other) = &others[usize::from(from) % others.len()];
                let all = other.lines().count().max(1);
                let line = other.lines().nth(usize::from(line) % all).unwrap_or_default();
                lines.insert(place(to), line.to_owned());
            }
            Edit::Value { line, word } => {
                set(&mut lines[place(line)], WORDS[usize::from(word) % WORDS.len()]);
            }
            Edit::OtherValue { line, from } => {
                if let Some(value) = value(&lines[place(from)]) {
                    set(&mut lines[place(line)], &value);
                }
            }
            Edit::Rename { line, byte } => {
                let line = &mut lines[place(line)];
                let at = usize::from(byte) % (line.len() + 1);
                if line.is_char_boundary(at) {
                    line.insert(at, 'x');
                }
            }
            Edit::Insert { at, byte } => {
                let line = &mut lines[place(at)];
                line.push(char::from(byte));
            }
            Edit::CutAt(n) => lines.truncate(place(n)),
        }
        *text = lines.join("\n");
    }
}

/// Fixed bytes from a seed.
fn bytes(seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    std::iter::repeat_with(|| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 32) as u8
    })
    .take(64)
    .collect()
}

#[test]
fn any_specification_is_a_library_or_diagnostics() {
    let proposal = include_str!("../../../specs/proposals/suspend.toml");
    let base = builtin_files();
    // The list of everything founding discussions asked for is not what is loaded from here.
    let files = base.iter().filter(|(name, _)| !name.ends_with("traceability.toml"));
    let files: Vec<_> = files.cloned().collect();
    let draw = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor());
    let (mut loaded, mut refused) = (0, 0);
    for case in 0..CASES {
        let bytes = bytes(case + 1);
        let mut source = Unstructured::new(&bytes);
        let mut files = files.clone();
        let mut proposed = ("suspend.toml".to_owned(), proposal.to_owned());
        for _ in 0..1 + case % 3 {
            let which = usize::from(u8::arbitrary(&mut source).unwrap()) % (files.len() + 1);
            let edit = Edit::arbitrary(&mut source).unwrap();
            let others = &base;
            match files.get_mut(which) {
                Some((_, text)) => edit.apply(text, others),
                None => edit.apply(&mut proposed.1, others),
            }
        }
        let proposal = (case % 2 == 0).then_some(proposed);
        match Library::load(files, proposal) {
            Ok(library) => {
                assert!(!library.spec.clauses().is_empty());
                loaded += 1;
            }
            Err(errors) => {
                assert!(!errors.errors().is_empty());
                let mut out = String::new();
                draw.render_report(&mut out, &errors).unwrap();
                assert!(out.contains(errors.errors()[0].message().split('\n').next().unwrap()));
                refused += 1;
            }
        }
    }
    assert!(loaded > 0 && refused > CASES / 4, "{loaded} loaded, {refused} refused");
}
