//! What was allowed, in the fewest words: lines that differ in one number become one with a range.
//!
//! ```text
//!   answers GET_VRING_BASE 0x3    --+
//!   answers GET_VRING_BASE 0x4      |-->  answers GET_VRING_BASE 0x3 to 0x5
//!   answers GET_VRING_BASE 0x5    --+
//! ```
//!
//! **Invariants.** Nothing that is not a line before is a line, or in the range of one, after; nothing is
//! lost. The order is that of the first line of each.

/// A line, cut at one number: what stands before it, the number, what stands after it.
struct Cut<'l> {
    before: &'l str,
    number: u64,
    /// It is written in hexadecimal.
    hex: bool,
    after: &'l str,
}

/// The numbers of a line, each as a cut.
fn cuts(line: &str) -> Vec<Cut<'_>> {
    let bytes = line.as_bytes();
    let (mut cuts, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let starts = bytes[at].is_ascii_digit()
            && (at == 0 || !(bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_'));
        if !starts {
            at += 1;
            continue;
        }
        let hex = line[at..].starts_with("0x");
        let digits = at + if hex { 2 } else { 0 };
        let is_digit = |b: &u8| if hex { b.is_ascii_hexdigit() } else { b.is_ascii_digit() };
        let end = digits + bytes[digits..].iter().take_while(|b| is_digit(b)).count();
        let radix = if hex { 16 } else { 10 };
        // What is written otherwise, or is no number of 64 bits, is text.
        if let Ok(number) = u64::from_str_radix(&line[digits..end], radix)
            && written(number, hex) == line[at..end]
        {
            cuts.push(Cut { before: &line[..at], number, hex, after: &line[end..] });
        }
        at = end.max(at + 1);
    }
    cuts
}

fn written(number: u64, hex: bool) -> String {
    if hex { format!("{number:#x}") } else { number.to_string() }
}

/// Lines of one form, which differ in one number: where the range of these goes to, and the lines in it.
struct Range {
    text: String,
    members: Vec<usize>,
}

/// The longest range with this line in it that these lines fill, in one of its numbers.
fn range(lines: &[String], of: usize) -> Option<Range> {
    let ranges = cuts(&lines[of]).into_iter().map(|cut| {
        let same = |other: &Cut<'_>| {
            (other.before, other.hex, other.after) == (cut.before, cut.hex, cut.after)
        };
        let number = |line: &String| cuts(line).into_iter().find(same).map(|other| other.number);
        let mut numbers: Vec<(u64, usize)> = lines
            .iter()
            .enumerate()
            .filter_map(|(n, line)| number(line).map(|number| (number, n)))
            .collect();
        numbers.sort_unstable();
        let runs = numbers.chunk_by(|(a, _), (b, _)| b.wrapping_sub(*a) <= 1);
        let run = runs.into_iter().find(|run| run.iter().any(|(_, line)| *line == of));
        let run = run.unwrap_or_default();
        let (first, last) = (run.first(), run.last());
        let (first, last) = (first.map_or(0, |(n, _)| *n), last.map_or(0, |(n, _)| *n));
        let Cut { before, hex, after, .. } = cut;
        let text = format!("{before}{} to {}{after}", written(first, hex), written(last, hex));
        Range { text, members: run.iter().map(|(_, line)| *line).collect() }
    });
    ranges.max_by_key(|range| range.members.len()).filter(|range| range.members.len() > FEW)
}

/// The most lines that are listed one by one: a range would not be shorter.
const FEW: usize = 2;

/// These lines, with ranges in place of lines that differ in one number.
#[must_use]
pub fn fewest(lines: &[String]) -> Vec<String> {
    let mut done = vec![false; lines.len()];
    let mut out = Vec::new();
    for n in 0..lines.len() {
        if done[n] {
            continue;
        }
        match range(lines, n).filter(|range| range.members.iter().all(|line| !done[*line])) {
            Some(Range { text, members }) => {
                members.into_iter().for_each(|line| done[line] = true);
                out.push(text);
            }
            None => out.push(lines[n].clone()),
        }
        done[n] = true;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use devmig_testing::Premises;
    use proptest::prelude::*;

    fn short(lines: &[&str]) -> Vec<String> {
        fewest(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn lines_that_differ_in_one_number_are_a_range() {
        assert_eq!(
            short(&["answers X 0x3", "silence", "answers X 0x5", "answers X 0x4"]),
            ["answers X 0x3 to 0x5", "silence"]
        );
        assert_eq!(short(&["ring 0 used 1", "ring 0 used 2"]), ["ring 0 used 1", "ring 0 used 2"]);
        assert_eq!(
            short(&["ring 0 used 1", "ring 1 used 1", "ring 0 used 2", "ring 2 used 1"]),
            ["ring 0 to 2 used 1", "ring 0 used 2"]
        );
        assert_eq!(short(&["v1 007", "v1 008", "v1 009"]), ["v1 007", "v1 008", "v1 009"]);
        assert_eq!(short(&["1", "3", "4", "5"]), ["1", "3 to 5"]);
        assert!(short(&[]).is_empty());
    }

    #[test]
    fn a_range_holds_the_lines_that_were_there_and_no_others() {
        let premises = Premises::new();
        let line = (0..3u64, 0..12u64).prop_map(|(a, b)| format!("a {a} of {b:#x}"));
        proptest!(|(lines in proptest::collection::btree_set(line, 0..30))| {
            let lines: Vec<String> = lines.into_iter().collect();
            let short = fewest(&lines);
            premises.holds("shorter", short.len() < lines.len());
            let mut again: Vec<String> = short.iter().flat_map(|line| expanded(line)).collect();
            again.sort();
            let mut lines = lines;
            lines.sort();
            prop_assert_eq!(again, lines);
        });
        premises.at_least("shorter", 50);
    }

    /// The lines that a line with at most one range stands for.
    fn expanded(line: &str) -> Vec<String> {
        let Some((first, last)) = line.split_once(" to ") else { return vec![line.to_owned()] };
        let from = cuts(first).pop().unwrap();
        let to = &cuts(last)[0];
        let all = from.number..=to.number;
        all.map(|n| format!("{}{}{}", from.before, written(n, from.hex), to.after)).collect()
    }
}
