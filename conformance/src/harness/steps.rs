//! The steps of a suite, said once: the enum, its parser, its text and the table of the documentation
//! follow from the same lines.
//!
//! ```text
//!   steps! { Send(count: u16, to: To) = "send COUNT [to WHOM]": "frames are sent"; ... }
//!       --> enum Step { Send(u16, To), ... }, Step::parse, Step::text, Step::TABLE
//! ```
//!
//! A form consists of words and of arguments in capitals; what stands in brackets, at its end, may be
//! left out. The first form that fits is taken.
//!
//! **Invariant.** What `text` writes, `parse` reads as the same step.

use devmig_model::spec::did_you_mean;

use super::suite::{Problem, named};

/// An argument of a step. `C` is what names are looked up in.
pub trait Word<C>: Sized {
    /// The argument that is written like this; `None` if it is left out.
    ///
    /// # Errors
    /// What is wrong with it.
    fn read(text: Option<&str>, context: &C) -> Result<Self, Problem>;
    /// As it is written; `None` if it is left out.
    fn written(&self, context: &C) -> Option<String>;
}

/// A value that has a name.
pub trait Named: Copy + PartialEq + 'static {
    /// All that can be written, by name.
    const NAMES: &'static [(&'static str, Self)];
    /// What they are.
    const WHAT: &'static str;
    /// The one that is meant if none is written.
    const USUAL: Option<Self> = None;
}

impl<C, T: Named> Word<C> for T {
    fn read(text: Option<&str>, _: &C) -> Result<Self, Problem> {
        match (text, T::USUAL) {
            (Some(text), _) => named(text, T::NAMES, T::WHAT),
            (None, Some(usual)) => Ok(usual),
            (None, None) => Err((format!("a {} is missing", T::WHAT), None)),
        }
    }

    fn written(&self, _: &C) -> Option<String> {
        let known = T::NAMES.iter().find(|(_, value)| value == self);
        known.filter(|_| T::USUAL != Some(*self)).map(|(name, _)| (*name).to_owned())
    }
}

macro_rules! numbers {
    ($($type:ty),+) => {$(
        impl<C> Word<C> for $type {
            fn read(text: Option<&str>, _: &C) -> Result<Self, Problem> {
                let text = text.unwrap_or_default();
                let problem = || format!("`{text}` is not a number up to {}", <$type>::MAX);
                text.parse().map_err(|_| (problem(), None))
            }

            fn written(&self, _: &C) -> Option<String> {
                Some(self.to_string())
            }
        }
    )+};
}

numbers!(u16, u32);

/// The arguments of a text that has this form, each as its words; `None` for those left out.
pub(crate) fn matched(form: &str, text: &str) -> Option<Vec<Option<String>>> {
    let text: Vec<&str> = text.split_whitespace().collect();
    let (head, tail) = parts(form);
    let whole: Vec<&str> = [head.as_slice(), &tail].concat();
    if !tail.is_empty()
        && let Some(arguments) = fits(&whole, &text)
    {
        return Some(arguments.into_iter().map(Some).collect());
    }
    let arguments = fits(&head, &text)?;
    let left_out = tail.iter().filter(|word| is_argument(word)).map(|_| None);
    Some(arguments.into_iter().map(Some).chain(left_out).collect())
}

/// A form with its arguments in their places.
pub(crate) fn filled(form: &str, arguments: &[Option<String>]) -> String {
    let (head, tail) = parts(form);
    let mut arguments = arguments.iter().cloned();
    let mut put = |words: &[&str]| -> Option<Vec<String>> {
        let word = |word: &&str| {
            if is_argument(word) { arguments.next()? } else { Some((*word).to_owned()) }
        };
        words.iter().map(word).collect()
    };
    let head = put(&head).unwrap_or_default();
    let tail = put(&tail).unwrap_or_default();
    [head, tail].concat().join(" ")
}

/// The words that must stand there, and those that may be left out.
fn parts(form: &str) -> (Vec<&str>, Vec<&str>) {
    let (head, tail) = form.split_once('[').unwrap_or((form, ""));
    let tail = tail.trim_end_matches(']').split_whitespace();
    (head.split_whitespace().collect(), tail.collect())
}

fn is_argument(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_uppercase())
}

fn fits(form: &[&str], text: &[&str]) -> Option<Vec<String>> {
    let Some((word, rest)) = form.split_first() else {
        return text.is_empty().then(Vec::new);
    };
    if !is_argument(word) {
        return text.strip_prefix(&[*word]).and_then(|text| fits(rest, text));
    }
    (1..=text.len()).find_map(|end| {
        let (argument, text) = text.split_at(end);
        let others = fits(rest, text)?;
        Some([vec![argument.join(" ")], others].concat())
    })
}

/// No form fits.
pub(crate) fn unknown(text: &str, table: &[(&'static str, &'static str)]) -> Problem {
    let help = did_you_mean(text, table.iter().map(|(form, _)| *form));
    (format!("no step is called `{text}`"), help)
}

/// Declares the steps of a suite; see [the module](self). `besides` names a step of another form, and what writes it.
macro_rules! steps {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident in $context:ty {
            $($variant:ident $(($($argument:ident: $type:ty),+))? = $form:literal: $about:literal;)+
        }
        $(besides {
            $(#[$other_meta:meta])*
            $other:ident($($part:ident: $part_type:ty),+) = $write:path;
        })?
    ) => {
        $(#[$meta])*
        $vis enum $name {
            $(#[doc = concat!("`", $form, "`: ", $about, ".")] $variant $(($($type),+))?,)+
            $($(#[$other_meta])* $other($($part_type),+),)?
        }

        impl $name {
            /// How each is written, and what it means.
            $vis const TABLE: &'static [(&'static str, &'static str)] = &[$(($form, $about)),+];

            /// The step that is written like this.
            ///
            /// # Errors
            /// What is wrong with it.
            #[allow(unused_mut, unused_variables)] // where there are no arguments
            $vis fn parse(text: &str, context: &$context) -> Result<Self, $crate::harness::suite::Problem> {
                $(if let Some(words) = $crate::harness::steps::matched($form, text) {
                    let mut words = words.iter().map(Option::as_deref);
                    return Ok($name::$variant $(($(
                        <$type as $crate::harness::steps::Word<$context>>::read(
                            words.next().flatten(),
                            context,
                        )?
                    ),+))?);
                })+
                Err($crate::harness::steps::unknown(text, Self::TABLE))
            }

            /// Whether a text has the form of one of these steps.
            #[must_use]
            $vis fn is_one(text: &str) -> bool {
                Self::TABLE.iter().any(|(form, _)| $crate::harness::steps::matched(form, text).is_some())
            }

            /// As it is written.
            #[must_use]
            #[allow(unused_variables)] // where no argument is looked up
            $vis fn text(&self, context: &$context) -> String {
                match self {
                    $($name::$variant $(($($argument),+))? => $crate::harness::steps::filled($form, &[$($(
                        <$type as $crate::harness::steps::Word<$context>>::written($argument, context)
                    ),+)?]),)+
                    $($name::$other($($part),+) => $write($(*$part,)+ context),)?
                }
            }
        }
    };
}
pub(crate) use steps;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, PartialEq, Debug)]
    enum Whom {
        Us,
        Others,
    }

    impl Named for Whom {
        const NAMES: &'static [(&'static str, Self)] =
            &[("us", Whom::Us), ("all others", Whom::Others)];
        const WHAT: &'static str = "addressee";
        const USUAL: Option<Self> = Some(Whom::Us);
    }

    steps! {
        /// A step.
        #[derive(Clone, Copy, PartialEq, Debug)]
        enum Step in () {
            Stop = "log stop": "the log stops";
            Log(size: u32) = "log SIZE": "a log starts";
            Send(count: u16, whom: Whom) = "send COUNT [to WHOM]": "frames are sent";
        }
    }

    #[test]
    fn a_step_is_read_and_written() {
        for (text, step) in [
            ("log stop", Step::Stop),
            ("log 7", Step::Log(7)),
            ("send 2", Step::Send(2, Whom::Us)),
            ("send 2 to all others", Step::Send(2, Whom::Others)),
        ] {
            assert_eq!(Step::parse(text, &()), Ok(step));
            assert_eq!(step.text(&()), text);
            assert!(Step::is_one(text));
        }
        assert_eq!(Step::parse("send 2 to us", &()), Ok(Step::Send(2, Whom::Us)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let why = |text| Step::parse(text, &()).unwrap_err();
        assert!(why("send x").0.contains("`x` is not a number up to 65535"));
        assert!(why("send 2 to al others").1.unwrap().contains("all others"));
        assert!(why("log stp").0.contains("`stp` is not a number"));
        assert!(why("lgo stop").1.unwrap().contains("log stop"));
        assert!(why("").0.contains("no step"));
        assert!(!Step::is_one("lgo stop"));
    }
}
