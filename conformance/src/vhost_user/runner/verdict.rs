//! What the end of a test means: its status and the clause that it cites.

use super::*;

/// The finding, if somebody has given a reason for it.
pub(super) fn accepted(
    run: &Run<'_>,
    test: &Test,
    outcome: &Outcome,
    broken: ClauseId,
) -> Option<Waived> {
    if !matches!(outcome.status, Status::Fail | Status::Warn) {
        return None;
    }
    let clause = name(run, broken);
    let waiver = run.waivers.iter().find(|waiver| waiver.covers(&test.id, &clause))?;
    let observed = outcome.observed.clone().unwrap_or_default();
    Some(Waived { clause, observed, reason: waiver.reason.clone() })
}

pub(super) fn outcome(run: &Run<'_>, test: &Test, stop: Stop, log: Vec<String>) -> Outcome {
    match stop {
        Stop::Finding { clause, observed, expected } => {
            let clause = if clause == ClauseId::NONE { test.clause } else { clause };
            let status = match run.library.spec.get(clause).map(|c| c.level) {
                Some(Level::Must) | None => Status::Fail,
                Some(_) => Status::Warn,
            };
            Outcome { status, clause: Some(clause), observed: Some(observed), expected, log }
        }
        Stop::Refused(observed) => {
            let expected = vec!["the command succeeds".to_owned()];
            Outcome { status: Status::Warn, clause: None, observed: Some(observed), expected, log }
        }
        // No clause says that a process may die, whatever it was sent.
        Stop::Died(observed) => {
            let expected = vec!["the conversation goes on, or ends".to_owned()];
            Outcome { observed: Some(observed), expected, log, ..Outcome::new(Status::Fail) }
        }
        Stop::Over => Outcome::new(Status::Pass),
        Stop::Skip(why) => Outcome { observed: Some(why), ..Outcome::new(Status::Skip) },
        Stop::Harness(why) => Outcome { observed: Some(why), log, ..Outcome::new(Status::Error) },
    }
}

/// The test fails with what other tests have shown, and passes without.
pub(super) fn contradiction(run: &Run<'_>, known: &Rules, log: Vec<String>) -> Outcome {
    let spec = &run.library.spec;
    let settled: Vec<String> = (0..spec.choices().len())
        .map(ChoiceId::new)
        .filter_map(|choice| Some((choice, known.choices.fixed(choice)?)))
        .map(|(c, o)| format!("{} = {}", spec.choice_name(c), spec.option_name(c, o)))
        .collect();
    Outcome {
        status: Status::Fail,
        clause: None,
        observed: Some(
            "one choice is read in two ways: what happens here contradicts what other \
                        tests have shown"
                .to_owned(),
        ),
        expected: settled,
        log,
    }
}

pub(super) fn name(run: &Run<'_>, clause: ClauseId) -> String {
    run.library.spec.clause_name(clause).to_owned()
}

pub(super) fn level(run: &Run<'_>, clause: ClauseId) -> String {
    run.library.spec.get(clause).map(|c| c.level.to_string()).unwrap_or_default()
}

/// The choices that were met, with the options that are still possible.
pub(super) fn readings(
    run: &Run<'_>,
    known: &Choices,
    open: &Choices,
) -> Vec<(String, Vec<String>)> {
    let spec = &run.library.spec;
    let options = |choice: ChoiceId, choices: &Choices| -> Vec<u8> {
        let count = spec.get_choice(choice).map_or(0, |c| c.options.len()) as u8;
        (0..count).filter(|option| choices.allows(choice, *option)).collect()
    };
    (0..spec.choices().len())
        .map(ChoiceId::new)
        .filter(|choice| options(*choice, known) != options(*choice, open))
        .map(|choice| {
            let names = options(choice, known);
            let names = names.into_iter().map(|o| spec.option_name(choice, o).to_owned());
            (spec.choice_name(choice).to_owned(), names.collect())
        })
        .collect()
}
