//! Text that a terminal shows and does not obey.
//!
//! A peer's error messages, the names of files, ids and labels come from outside, and may hold any
//! character. A control character could move the cursor, colour what follows, or answer a question
//! that nobody asked.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a terminal may act on it: a control character other than a line's end and a tabulator, or
/// a mark that reverses the direction of what follows.
fn acts(c: char) -> bool {
    let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (c.is_control() && !matches!(c, '\n' | '\t')) || turns
}

/// The text, in which such a character is written as Rust writes it: `\u{1b}`.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    escaped(text, |_| 0)
}

/// The same for a text with colours of ours: a sequence that only changes the colour stays.
pub(crate) fn plain_but_colours(text: &str) -> Cow<'_, str> {
    escaped(text, |rest| {
        let Some(sequence) = rest.strip_prefix("\x1b[") else { return 0 };
        let numbers = sequence.find(|c: char| !c.is_ascii_digit() && c != ';');
        match numbers {
            Some(end) if sequence[end..].starts_with('m') => 2 + end + 1,
            _ => 0,
        }
    })
}

/// The same for a JSON document, in which such a character can only stand in a string.
pub(crate) fn plain_json(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match acts(c) {
            true => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// `keep` says how many bytes at the beginning of the rest stay as they are.
fn escaped(text: &str, keep: impl Fn(&str) -> usize) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let kept = keep(rest);
        if kept > 0 {
            out.push_str(&rest[..kept]);
            rest = &rest[kept..];
            continue;
        }
        match acts(first) {
            true => out.extend(first.escape_unicode()),
            false => out.push(first),
        }
        rest = &rest[first.len_utf8()..];
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_comes_through() {
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            let text = format!("a{c}b");
            for out in [plain(&text), plain_but_colours(&text)] {
                assert!(!out.chars().any(acts), "{out:?}");
                assert_eq!(out == text, !acts(c), "{out:?}");
            }
        }
        assert_eq!(plain("a\x1b[31mb\n\tc"), "a\\u{1b}[31mb\n\tc");
        assert_eq!(
            plain_but_colours("\x1b[1;31mred\x1b[0m\x1b[2J"),
            "\x1b[1;31mred\x1b[0m\\u{1b}[2J"
        );
        assert_eq!(plain_but_colours("\x1b["), "\\u{1b}[");
    }

    #[test]
    fn a_json_document_means_the_same() {
        let value = serde_json::json!({ "a\u{9b}": "b\u{7f}\u{1b}\u{202e}\"\\" });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let out = plain_json(&text);
        assert!(!out.contains(acts), "{out:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap(), value);
    }
}
