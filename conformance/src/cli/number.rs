//! Numbers on the command line, each with the range that it may have.
//!
//! **Invariant.** Every number has a range that nothing behind it exceeds: no argument makes a
//! multiplication overflow, a clock run over, or an allocation that the machine does not have. A test
//! tries the largest and the smallest of every number that the command line knows.

use std::time::Duration;

/// The longest time that a bound of an exploration can be, in seconds: a week.
pub(crate) const WEEK: i64 = 7 * 24 * 3600;

/// The most of anything that is counted one by one: states, pairs.
pub(crate) const MANY: u64 = 1 << 40;

/// The longest that one thing may take, in seconds: an hour.
const HOUR: f64 = 3600.0;

/// The longest that a conversation is watched, in seconds: a day.
const DAY: f64 = 24.0 * 3600.0;

/// A limit for one thing, in seconds.
pub(crate) fn limit(text: &str) -> Result<Duration, BadSeconds> {
    seconds(text, HOUR)
}

/// How long to watch, in seconds.
pub(crate) fn span(text: &str) -> Result<Duration, BadSeconds> {
    seconds(text, DAY)
}

/// What is not a time, or not one that is allowed.
#[derive(Clone, Copy, PartialEq, Debug, thiserror::Error)]
#[error("use a number of seconds greater than 0, up to {0}")]
pub(crate) struct BadSeconds(f64);

fn seconds(text: &str, most: f64) -> Result<Duration, BadSeconds> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| *seconds > 0.0 && *seconds <= most);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|time| !time.is_zero())
        .ok_or(BadSeconds(most))
}

#[cfg(test)]
mod tests {
    use std::any::TypeId;

    use clap::{Arg, Command};

    use super::*;
    use crate::cli::commands;

    /// Any number will do: it is mixed into others.
    const ANY: [&str; 1] = ["seed"];

    /// Value names of numbers.
    const NAMES: [&str; 4] = ["N", "M", "MS", "SECONDS"];

    fn is_number(arg: &Arg) -> bool {
        macro_rules! one_of {
            ($($t:ty),*) => { [$(TypeId::of::<$t>()),*] };
        }
        let known = one_of!(
            u8,
            u16,
            u32,
            u64,
            u128,
            usize,
            i8,
            i16,
            i32,
            i64,
            i128,
            isize,
            f32,
            f64,
            Duration,
            std::num::NonZeroU8,
            std::num::NonZeroU16,
            std::num::NonZeroU32,
            std::num::NonZeroU64,
            std::num::NonZeroUsize
        );
        known.iter().any(|known| arg.get_value_parser().type_id() == *known)
    }

    fn numbers() -> Vec<(String, Arg)> {
        let mut found = Vec::new();
        for (path, command) in commands() {
            for arg in command.get_arguments() {
                let named = arg.get_value_names().unwrap_or_default();
                let named = named.iter().any(|name| NAMES.contains(&name.as_str()));
                let name = format!("{path} {}", arg.get_id());
                assert!(is_number(arg) || !named, "{name} has the name of a number, and is none");
                if is_number(arg) && arg.get_action().takes_values() {
                    found.push((name, arg.clone()));
                }
            }
        }
        found
    }

    #[test]
    fn every_number_has_a_range_and_says_it() {
        let found = numbers();
        assert!(found.len() >= 20, "{}", found.len());
        for (name, arg) in &found {
            let id = arg.get_id().as_str();
            let parse = |text: &str| {
                let parser = arg.get_value_parser().clone();
                let one = Arg::new("n").long("n").allow_hyphen_values(true).value_parser(parser);
                Command::new("x").arg(one).try_get_matches_from(["x", "--n", text])
            };
            for text in ["18446744073709551615", "9223372036854775807", "1e300", "inf"] {
                let Err(error) = parse(text) else {
                    assert!(ANY.contains(&id), "{name} can be {text}");
                    continue;
                };
                let said = error.to_string();
                let range = said.contains(" is not in ") || said.contains("up to");
                // clap refuses a number that its own type cannot hold with another message.
                let huge = text.parse::<i64>().is_err();
                assert!(range || huge, "{name} {text}: {said}");
            }
            for text in ["-1", "nan", "", "0x10"] {
                assert!(parse(text).is_err(), "{name} can be {text:?}");
            }
            for default in arg.get_default_values() {
                assert!(parse(default.to_str().unwrap()).is_ok(), "{name}: its default");
            }
        }
    }
}
