//! Names of device models: what is one, and what merely looks like one.
//!
//! ```text
//!   "https://vendor-a.com/my-nic"  --parse-->  ModelId   compared byte by byte, with nothing else
//!   "https://Vendor-A.com/my-nic/" --parse-->  BadId     and the spelling that is meant
//! ```
//!
//! A wrong match loads foreign state; a missed one is a migration that is refused with a reason. So an
//! id is accepted in one spelling only, and never repaired: no redirect, no `www.`, no scheme and no
//! upper case makes two spellings one name.
//!
//! **Invariants.** A [`ModelId`] that exists is canonical. Parsing takes time linear in the text, which
//! is looked at only if it is at most [`MAX_ID`] bytes long.
//!
//! Who owns a domain cannot be proved here: that is an assumption of the scheme.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;

/// The longest id, in bytes.
pub const MAX_ID: usize = 256;

/// The longest host name and label that DNS has.
const MAX_HOST: usize = 253;
const MAX_LABEL: usize = 63;

/// Which version of the RFC an id, or a description, follows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Profile {
    /// Models are `https` URIs; instances are compared by model and parameters.
    V1,
    /// Models are a domain and a path; parameters have off values and allowed values.
    V3,
    /// As in v3, but instances are compared by model and version string.
    V4,
}

impl Profile {
    /// All.
    pub const ALL: [Profile; 3] = [Profile::V1, Profile::V3, Profile::V4];
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Profile::V1 => "v1",
            Profile::V3 => "v3",
            Profile::V4 => "v4",
        })
    }
}

/// The name of a device model, in its one spelling.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ModelId(Arc<str>);

impl ModelId {
    /// Reads an id of one version of the RFC.
    ///
    /// # Errors
    /// If it is none, or is not spelled canonically.
    pub fn parse_as(profile: Profile, text: &str) -> Result<Self, BadId> {
        let id: ModelId = text.parse()?;
        match (profile, id.is_uri()) {
            (Profile::V1, true) | (Profile::V3 | Profile::V4, false) => Ok(id),
            (Profile::V1, false) => {
                Err(BadId::new(text, Fault::NoScheme, Some(format!("{SCHEME}{text}"))))
            }
            (_, true) => Err(BadId::new(text, Fault::Scheme, Some(id.rest().to_owned()))),
        }
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it has the form of the first version of the RFC.
    #[must_use]
    pub fn is_uri(&self) -> bool {
        self.0.starts_with(SCHEME)
    }

    /// Without the scheme.
    fn rest(&self) -> &str {
        self.0.strip_prefix(SCHEME).unwrap_or(&self.0)
    }

    /// The domain that its owner controls.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.rest().split('/').next().unwrap_or_default()
    }

    /// Equal for ids that can be confused: see [`ModelId::near`].
    pub(super) fn skeleton(&self) -> String {
        skeleton(self.plain())
    }

    /// Without scheme and `www.`.
    fn plain(&self) -> &str {
        self.rest().strip_prefix("www.").unwrap_or(self.rest())
    }

    /// How it is confused with another, if it is: they differ, and a reader may not see it.
    #[must_use]
    pub fn near(&self, other: &ModelId) -> Option<Near> {
        if self == other {
            return None;
        }
        if self.rest() == other.rest() {
            return Some(Near::Scheme);
        }
        let (mine, its) = (self.plain(), other.plain());
        if mine == its {
            return Some(Near::Www);
        }
        if mine.eq_ignore_ascii_case(its) {
            return Some(Near::Case);
        }
        (skeleton(mine) == skeleton(its)).then_some(Near::LookAlike)
    }
}

const SCHEME: &str = "https://";

/// A text with what looks alike made equal.
fn skeleton(text: &str) -> String {
    let lower = text.to_ascii_lowercase().replace("rn", "m").replace("vv", "w");
    let same = |c| match c {
        '0' => Some('o'),
        '1' | 'i' => Some('l'),
        '5' => Some('s'),
        '-' | '_' | '~' | '.' => None,
        c => Some(c),
    };
    lower.chars().filter_map(same).collect()
}

/// How two ids that differ can be confused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Near {
    /// One has a scheme.
    Scheme,
    /// One has `www.` before its domain.
    Www,
    /// Upper and lower case: a path has both.
    Case,
    /// Letters that look alike, or other punctuation.
    LookAlike,
}

impl fmt::Display for Near {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Near::Scheme => "differs in the scheme only",
            Near::Www => "differs in `www.` only",
            Near::Case => "differs in upper and lower case only",
            Near::LookAlike => "looks alike",
        })
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Why a text is no id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error)]
pub enum Fault {
    /// Nothing.
    #[error("it is empty")]
    Empty,
    /// Too long.
    #[error("it is longer than {MAX_ID} bytes")]
    Long,
    /// A letter that is not ASCII: it may look like another.
    #[error("it has characters other than ASCII; a domain with others is written `xn--…`")]
    NotAscii,
    /// Blanks, control characters, or a character that no path has.
    #[error("`{c}` is not allowed there", c = .0.escape_default())]
    Character(char),
    /// Another scheme than `https`.
    #[error("its scheme is not `https`")]
    OtherScheme,
    /// A scheme where none belongs.
    #[error("it has a scheme, and since v2 of the RFC an id has none")]
    Scheme,
    /// No scheme where one belongs.
    #[error("it has no scheme, and by v1 of the RFC an id is an `https` URI")]
    NoScheme,
    /// A user before the host: what looks like the owner is not.
    #[error("the part before `@` is a user name, not the owner's domain")]
    User,
    /// A port.
    #[error("it has a port")]
    Port,
    /// Upper case in the domain.
    #[error("its domain has upper case")]
    HostCase,
    /// The final dot of a domain.
    #[error("its domain ends with a dot")]
    TrailingDot,
    /// Not a domain.
    #[error("it does not begin with a domain name such as `vendor.example`")]
    Host,
    /// Nothing after the domain.
    #[error("it has no path after its domain")]
    NoPath,
    /// A slash too many.
    #[error("it has an empty path segment, or ends with `/`")]
    EmptySegment,
    /// `.` or `..`.
    #[error("it has a `.` or `..` segment")]
    DotSegment,
    /// Percent-encoding.
    #[error("it is percent-encoded")]
    Percent,
    /// `?` or `#`.
    #[error("it has a query or a fragment: the configuration is not part of a name")]
    Query,
}

/// A text that is no id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct BadId {
    /// As written, cut if it is long.
    pub written: String,
    /// Why.
    pub fault: Fault,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl BadId {
    fn new(text: &str, fault: Fault, suggestion: Option<String>) -> Self {
        let written = text.chars().take(MAX_ID).collect();
        BadId { written, fault, suggestion: suggestion.filter(|s| self::fault(s).is_none()) }
    }
}

impl fmt::Display for BadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not the name of a device model: {}",
            self.written.escape_debug(),
            self.fault
        )?;
        match &self.suggestion {
            Some(meant) => write!(f, "; did you mean `{meant}`?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for BadId {}

impl FromStr for ModelId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        match fault(text) {
            None => Ok(ModelId(text.into())),
            Some(fault) => {
                let meant = if text.len() <= MAX_ID { canonical(text) } else { None };
                Err(BadId::new(text, fault, meant))
            }
        }
    }
}

/// What keeps a text from being an id.
fn fault(text: &str) -> Option<Fault> {
    if text.is_empty() {
        return Some(Fault::Empty);
    }
    if text.len() > MAX_ID {
        return Some(Fault::Long);
    }
    if !text.is_ascii() {
        return Some(Fault::NotAscii);
    }
    let rest = match text.split_once("://") {
        Some(("https", rest)) => rest,
        Some((scheme, _)) if scheme.bytes().all(|c| c.is_ascii_alphanumeric()) => {
            return Some(Fault::OtherScheme);
        }
        _ => text,
    };
    if rest.contains(['?', '#']) {
        return Some(Fault::Query);
    }
    let (authority, path) = rest.split_once('/').map_or((rest, None), |(a, p)| (a, Some(p)));
    host_fault(authority).or_else(|| path.map_or(Some(Fault::NoPath), path_fault))
}

fn host_fault(authority: &str) -> Option<Fault> {
    if authority.contains('@') {
        return Some(Fault::User);
    }
    if authority.contains('%') {
        return Some(Fault::Percent);
    }
    if authority.contains(':') {
        return Some(Fault::Port);
    }
    let odd = |c: &char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '.');
    if let Some(odd) = authority.chars().find(odd) {
        return Some(Fault::Character(odd));
    }
    if authority.bytes().any(|c| c.is_ascii_uppercase()) {
        return Some(Fault::HostCase);
    }
    if authority.len() > 1 && authority.ends_with('.') {
        return Some(Fault::TrailingDot);
    }
    let label = |label: &str| {
        let hyphens = label.get(2..4) == Some("--") && !label.starts_with("xn--");
        (1..=MAX_LABEL).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && !hyphens
    };
    // The last label of an address is a number; that of a domain never is.
    let number =
        authority.rsplit('.').next().is_some_and(|l| l.bytes().all(|c| c.is_ascii_digit()));
    let domain = authority.len() <= MAX_HOST
        && authority.contains('.')
        && authority.split('.').all(label)
        && !number;
    (!domain).then_some(Fault::Host)
}

fn path_fault(path: &str) -> Option<Fault> {
    if path.is_empty() {
        return Some(Fault::NoPath);
    }
    for segment in path.split('/') {
        match segment {
            "" => return Some(Fault::EmptySegment),
            "." | ".." => return Some(Fault::DotSegment),
            _ if segment.contains('%') => return Some(Fault::Percent),
            _ => {}
        }
        let unreserved = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~');
        if let Some(odd) = segment.chars().find(|c| !unreserved(*c)) {
            return Some(Fault::Character(odd));
        }
    }
    None
}

/// The spelling that is meant by a text whose meaning is not in doubt: case, default port, final dot,
/// dot segments, slashes, characters that need no encoding. What may deceive (a user's name, other
/// letters, a query) is not made into anything.
fn canonical(text: &str) -> Option<String> {
    let text = text.trim();
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (SCHEME, rest),
        Some(_) => return None,
        None => ("", text),
    };
    let (authority, path) = rest.split_once('/')?;
    if authority.contains('@') {
        return None;
    }
    let host = decoded(authority)?.to_ascii_lowercase();
    let host = host.strip_suffix(":443").unwrap_or(&host);
    let host = host.strip_suffix('.').unwrap_or(host);
    let mut segments: Vec<String> = Vec::new();
    for segment in path.split('/') {
        match decoded(segment)?.as_str() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name.to_owned()),
        }
    }
    Some(format!("{scheme}{host}/{}", segments.join("/")))
}

/// A text with its percent-encoding undone.
fn decoded(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut parts = text.split('%');
    out.push_str(parts.next()?);
    for part in parts {
        let byte = u8::from_str_radix(part.get(..2)?, 16).ok()?;
        if !byte.is_ascii_graphic() || matches!(byte, b'/' | b'%' | b'@' | b'?' | b'#') {
            return None;
        }
        out.push(char::from(byte));
        out.push_str(part.get(2..)?);
    }
    Some(out)
}
