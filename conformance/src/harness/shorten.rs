//! The shortest script that still ends as a long one did.
//!
//! **Invariant.** Shortening ends after [`REPLAYS`] replays or [`PATIENCE`].

use std::time::Duration;

use devmig_reference::socket::Deadline;

/// The most replays that shortening takes.
pub const REPLAYS: usize = 150;
/// The longest that shortening takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The shortest script found for which `still` holds; `acts` is one. Each part is left out in turn,
/// halves first, then ever smaller parts, until no single step can be left out.
pub fn shorten<A: Clone>(acts: &[A], mut still: impl FnMut(&[A]) -> bool) -> Vec<A> {
    let mut best = acts.to_vec();
    let mut replays = 0;
    let deadline = Deadline::after(PATIENCE);
    let mut size = best.len().div_ceil(2).max(1);
    loop {
        let (mut at, mut shorter) = (0, false);
        while at < best.len() {
            if replays >= REPLAYS || deadline.passed() {
                return best;
            }
            let end = (at + size).min(best.len());
            let rest: Vec<A> = [&best[..at], &best[end..]].concat();
            replays += 1;
            if still(&rest) {
                best = rest;
                shorter = true;
            } else {
                at = end;
            }
        }
        if size == 1 && !shorter {
            return best;
        }
        size = if size == 1 { 1 } else { size.div_ceil(2) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_shortened_to_what_it_needs() {
        let script: Vec<u16> = (0..40).collect();
        let needed = [3, 17, 39];
        let short = shorten(&script, |acts| needed.iter().all(|act| acts.contains(act)));
        assert_eq!(short, needed);
    }

    #[test]
    fn shortening_ends() {
        let script: Vec<u16> = (0..5000).collect();
        let mut replays = 0;
        shorten(&script, |_| {
            replays += 1;
            false
        });
        assert!(replays <= REPLAYS);
    }
}
