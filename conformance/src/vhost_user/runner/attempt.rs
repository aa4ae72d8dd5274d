//! One test or walk, once: a fresh conversation, and what was learned in it or how it ended.

use super::*;

/// A test that did not come to its end.
pub(super) struct Ended {
    pub(super) stop: TestEnd,
    pub(super) log: Vec<String>,
    pub(super) records: Vec<Record>,
}

#[allow(clippy::too_many_arguments)] // what goes in, and what comes out besides the verdict
pub(super) fn one(
    run: &Run<'_>,
    machine: &TestMachine,
    test: &Test,
    walk: Option<(&StepPool, Walk)>,
    rules: Rules,
    first: bool,
    offers: &mut Option<Offers>,
    taken: &mut Vec<(Act, StepOutcome)>,
) -> std::result::Result<Choices, Ended> {
    let setting = Setting {
        machine,
        subject: run.subject,
        rules,
        acknowledged: test.acknowledged,
        declined: declined(machine, test),
    };
    let mut session = Session::start(setting, first).map_err(|stop| Ended {
        stop,
        log: Vec::new(),
        records: Vec::new(),
    })?;
    let mut steps = || {
        if let Some((urn, walk)) = walk {
            let mut acts = Vec::new();
            let ended = walk.go(&mut session, urn, &machine.table, &mut acts);
            taken.extend(acts.into_iter().map(|act| (act, StepOutcome::Yes)));
            ended?;
        }
        for act in &test.acts {
            if !test.careful {
                session.needs(&test.needs)?;
                match session.act(act) {
                    Err(TestEnd::Over) => break,
                    other => other?,
                }
                continue;
            }
            // Of a generated script every step is tried; what was not offered is passed over.
            let done = session.carefully(act)?;
            taken.push((*act, done));
        }
        session.end()
    };
    let ended = steps();
    let (features, protocol) = session.offers();
    if offers.is_none() && protocol != 0 {
        *offers = Some(Offers {
            features: format!("{features:#x}"),
            protocol_features: format!("{protocol:#x}"),
        });
    }
    if let Err(stop) = ended {
        return Err(Ended { stop, log: session.log, records: session.records });
    }
    let choices = run.library.spec.choices().len();
    let learned = session
        .possible
        .readings(choices)
        .into_iter()
        .fold(rules.choices, |learned, (choice, options)| learned.only(choice, &options));
    Ok(learned)
}

/// STATUS, unless the test sets a status: whether a device to which nobody says `DRIVER_OK` processes
/// anything is a choice, and a front-end that negotiates STATUS says so, as QEMU's does.
fn declined(machine: &TestMachine, test: &Test) -> u64 {
    let table = &machine.table;
    let Some(status) = table.feature("STATUS") else { return 0 };
    let needed =
        test.needs.iter().any(|need| matches!(need, Need::Feature(_, bit) if *bit == status));
    let sets = |act: &Act| match act {
        Act::Program(Step::Send { id, .. }, _) => {
            machine.message(*id).gate.as_ref().is_some_and(|gate| gate.bit == status)
        }
        _ => false,
    };
    if needed || test.acts.iter().any(sets) { 0 } else { 1 << status }
}

impl Session<'_> {
    /// Whether what the test needs is there, as far as is known by now.
    fn needs(&mut self, needs: &[Need]) -> std::result::Result<(), TestEnd> {
        for need in needs {
            match need {
                Need::TwoRings if self.rings() < 2 => {
                    return Err(TestEnd::Skip("needs a device with two rings".into()));
                }
                Need::Outside if !self.has_outside() => {
                    let why = "needs a device that receives what it transmits (see --device)";
                    return Err(TestEnd::Skip(why.into()));
                }
                Need::PackedRings => {
                    let why = "needs packed rings, but the tester's driver has only split rings";
                    return Err(TestEnd::Skip(why.into()));
                }
                Need::Feature(name, bit) if self.lacks(*bit) => {
                    return Err(TestEnd::Skip(format!("needs {name}")));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
