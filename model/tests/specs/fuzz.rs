//! Specifications that nobody meant, given to the loader.
//!
//! ```text
//!  built-in files --Edit, Edit, ... (from bytes)--> files --Library::load--> library | diagnostics
//! ```
//!
//! Edits know lines, tables and words, since random bytes are seldom TOML; some know characters alone,
//! so that a cut falls anywhere. Held here: nothing panics, a refusal has at least one diagnostic, and
//! each can be drawn. The corpus (`tests/corpus/specs/`) has an input for each kind of diagnostic that
//! was reached; the seeds after it are the same in every run.

use arbitrary::{Arbitrary, Unstructured};
use devmig_model::registry::Library;
use devmig_model::spec::builtin_files;
use devmig_testing::fuzz::{Fuzz, corpus};
use miette::{GraphicalReportHandler, GraphicalTheme};

const SEEDS: u64 = 900;
const BYTES: usize = 64;
/// The fewest kinds of outcome that the corpus and the seeds reach. What an input of the corpus reaches
/// may change with the files that it edits.
const OUTCOMES: usize = 20;

/// A word that means something somewhere.
const WORDS: [&str; 24] = [
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
    "é\u{1F980}",
    "[[",
    "=",
    "'''",
    "#",
    "\\",
    "\n\n",
    "\r",
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
    /// Characters from a place on.
    Delete {
        at: u32,
        count: u8,
    },
    /// A word anywhere.
    Put {
        at: u32,
        word: u8,
    },
    /// Characters from one place to another.
    Copy {
        from: u32,
        count: u8,
        to: u32,
    },
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
            Edit::Delete { .. } | Edit::Put { .. } | Edit::Copy { .. } => {
                return self.apply_to_characters(text);
            }
        }
        *text = lines.join("\n");
    }

    fn apply_to_characters(self, text: &mut String) {
        let length = text.len() + 1;
        let place = |at: u32, text: &str| text.floor_char_boundary(at as usize % length);
        let part = |at: u32, count: u8, text: &str| {
            let from = place(at, text);
            from..text.floor_char_boundary((from + usize::from(count)).min(text.len()))
        };
        match self {
            Edit::Delete { at, count } => text.replace_range(part(at, count, text), ""),
            Edit::Put { at, word } => {
                text.insert_str(place(at, text), WORDS[usize::from(word) % WORDS.len()]);
            }
            Edit::Copy { from, count, to } => {
                let copied = text[part(from, count, text)].to_owned();
                text.insert_str(place(to, text), &copied);
            }
            _ => {}
        }
    }
}

/// Makes edits of these bytes, loads what comes of them, and says what the loader said.
fn load(bytes: &[u8]) -> String {
    let mut source = Unstructured::new(bytes);
    let base = builtin_files();
    // The list of everything founding discussions asked for is not what is loaded from here.
    let files = base.iter().filter(|(name, _)| !name.ends_with("traceability.toml"));
    let mut files: Vec<_> = files.cloned().collect();
    let text = include_str!("../../../specs/proposals/suspend.toml");
    let mut proposed = ("suspend.toml".to_owned(), text.to_owned());
    let with_proposal = bool::arbitrary(&mut source).unwrap_or_default();
    // A byte for the file, and an edit: four at most.
    for _ in 0..4 {
        if source.is_empty() {
            break;
        }
        let which = usize::from(u8::arbitrary(&mut source).unwrap_or_default());
        let Ok(edit) = Edit::arbitrary(&mut source) else { break };
        match files.get_mut(which % (base.len() + 1)) {
            Some((_, text)) => edit.apply(text, &base),
            None => edit.apply(&mut proposed.1, &base),
        }
    }
    match Library::load(files, with_proposal.then_some(proposed)) {
        Ok(library) => {
            assert!(!library.spec.clauses().is_empty());
            "loaded".to_owned()
        }
        Err(errors) => {
            assert!(!errors.errors().is_empty());
            let draw = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor());
            let mut out = String::new();
            draw.render_report(&mut out, &errors).expect("a string takes everything");
            let message = errors.errors()[0].message();
            assert!(out.contains(message.split('\n').next().unwrap_or_default()));
            kind(message)
        }
    }
}

/// A message without what it quotes: two of one kind are one outcome.
fn kind(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    let quoted = |part: (usize, &str)| part.0.is_multiple_of(2).then(|| part.1.to_owned());
    let words: Vec<String> = first.split(['`', '"']).enumerate().filter_map(quoted).collect();
    words.concat().split_whitespace().take(6).collect::<Vec<_>>().join(" ")
}

#[test]
fn any_specification_is_a_library_or_diagnostics() {
    let corpus = corpus(env!("CARGO_MANIFEST_DIR"), "specs");
    let reached = Fuzz { corpus, seeds: SEEDS, length: BYTES, target: &load }.run();
    assert!(reached.by_corpus.contains("loaded"), "{reached:#?}");
    assert!(reached.outcomes.len() >= OUTCOMES, "{reached:#?}");
}
