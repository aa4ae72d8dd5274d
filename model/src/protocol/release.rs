//! Versions of QEMU, and ranges of them: what tables say with `since` and `until`.

use std::fmt;
use std::str::FromStr;

use crate::spec::{Diagnostics, Item, Spanned};

/// A version as QEMU counts: `10.1`, `11.1.3`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Release(Vec<u32>);

/// What is wrong with a version.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not a version such as `10.1` or `11.1.3`")]
pub struct BadRelease(String);

impl FromStr for Release {
    type Err = BadRelease;

    fn from_str(text: &str) -> Result<Self, BadRelease> {
        let numbers = text.split('.').map(str::parse).collect::<Result<_, _>>();
        numbers.map(Release).map_err(|_| BadRelease(text.to_owned()))
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<_> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

/// The versions that have something.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Span {
    /// The first version, if not all that are known.
    pub since: Option<Release>,
    /// The first version that no longer has it.
    pub until: Option<Release>,
}

impl Span {
    /// Whether this version has it.
    #[must_use]
    pub fn contains(&self, release: &Release) -> bool {
        self.since.as_ref().is_none_or(|since| release >= since)
            && self.until.as_ref().is_none_or(|until| release < until)
    }

    /// As an item says it with `since` and `until`; what is wrong with them goes to `d`.
    pub fn of<T>(
        item: &Item<T>,
        (since, until): (&Option<Spanned<String>>, &Option<Spanned<String>>),
        d: &mut Diagnostics,
    ) -> Self {
        let mut release = |written: &Option<Spanned<String>>| {
            let written = written.as_ref()?;
            match written.get_ref().parse() {
                Ok(release) => Some(release),
                Err(bad) => {
                    let bad: BadRelease = bad;
                    d.push(item.error(written.span(), bad.to_string(), "here"));
                    None
                }
            }
        };
        let span = Span { since: release(since), until: release(until) };
        if let (Some(first), Some(end), Some(place)) = (&span.since, &span.until, until)
            && first >= end
        {
            d.push(item.error(
                place.span(),
                "no version has this: `until` is not after `since`",
                "here",
            ));
        }
        span
    }
}
