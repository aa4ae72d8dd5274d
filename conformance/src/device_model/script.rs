//! The steps of a test, as data.
//!
//! | step | meaning |
//! |---|---|
//! | `describe` | the description is printed, exit status 0, and can be read |
//! | `describe again` | it is printed once more, the same |
//! | `describe with case` | the same while the case is asked for besides |
//! | `statements agree` | all that state an off value state the same |
//! | `initial accepted` | each model accepts its own initial values |
//! | `make` | the case is asked for, and made |
//! | `refuse` | the case is asked for, and refused: nothing is made |
//! | `status` | ... with exit status 1, or with an error of JSON-RPC |
//! | `named` | ... and the error names what it is about |
//! | `read back` | what was made is described as what was asked for |
//! | `delete`, `make other` | the device is deleted; the other of the case is asked for, and made |
//! | `change` | a change of each parameter of the device is asked for, and refused |
//! | `make again` | another device is asked for under the name of this one, and refused |
//! | `unchanged` | the device is described as before |
//! | `start`, `start other`, `start peer`, `start elsewhere` | the device that is asked for runs; the other of the case; the peer's; one with another port |
//! | `save` | its state is saved |
//! | `load` | the state that was saved last is loaded, and taken |
//! | `refuse state` | ... and is refused, before anything runs |
//! | `same` | the last two states are the same |
//! | `golden` | the golden state takes the place of one that was saved |
//! | `look`, `same look` | what a guest can read of the device is remembered; is the same as before |
//!
//! **Invariant.** A step has no expectation of its own but the one that its name says; what a case should
//! be is computed from the description.

use devmig_model::spec::did_you_mean;

/// A step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // the table above says what each is
pub enum Step {
    Describe,
    DescribeAgain,
    DescribeWithCase,
    StatementsAgree,
    InitialAccepted,
    Make,
    Refuse,
    Status,
    Named,
    ReadBack,
    Delete,
    MakeOther,
    Change,
    MakeAgain,
    Unchanged,
    Start,
    StartOther,
    StartPeer,
    StartElsewhere,
    Save,
    Load,
    RefuseState,
    Same,
    Golden,
    Look,
    SameLook,
}

impl Step {
    /// All, by their names.
    pub const ALL: [(&'static str, Step); 26] = [
        ("describe", Step::Describe),
        ("describe again", Step::DescribeAgain),
        ("describe with case", Step::DescribeWithCase),
        ("statements agree", Step::StatementsAgree),
        ("initial accepted", Step::InitialAccepted),
        ("make", Step::Make),
        ("refuse", Step::Refuse),
        ("status", Step::Status),
        ("named", Step::Named),
        ("read back", Step::ReadBack),
        ("delete", Step::Delete),
        ("make other", Step::MakeOther),
        ("change", Step::Change),
        ("make again", Step::MakeAgain),
        ("unchanged", Step::Unchanged),
        ("start", Step::Start),
        ("start other", Step::StartOther),
        ("start peer", Step::StartPeer),
        ("start elsewhere", Step::StartElsewhere),
        ("save", Step::Save),
        ("load", Step::Load),
        ("refuse state", Step::RefuseState),
        ("same", Step::Same),
        ("golden", Step::Golden),
        ("look", Step::Look),
        ("same look", Step::SameLook),
    ];

    /// The step that is written like this; else what is meant, if that can be told.
    ///
    /// # Errors
    /// The name that is nearest.
    pub fn parse(text: &str) -> Result<Self, Option<String>> {
        let found = Self::ALL.into_iter().find(|(name, _)| *name == text);
        found.map(|(_, step)| step).ok_or_else(|| {
            did_you_mean(text, Self::ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>())
        })
    }
}
