//! The smallest machine, as somebody who has only the engine writes it: examples/mailbox.rs.

#[path = "../examples/mailbox.rs"]
mod mailbox;

use devmig_engine::laws;
use devmig_engine::prelude::*;
use mailbox::Reader;

type Mailbox = system!(Reader, queues = 1, room = 2);

#[test]
fn the_smallest_machine_takes_at_most_45_lines() {
    let lines = include_str!("../examples/mailbox.rs").lines().count();
    assert!(lines <= 45, "{lines}");
}

#[test]
fn the_example_runs() {
    assert_eq!(mailbox::main(), Ok(()));
}

#[test]
fn it_passes_the_laws() {
    let holds = || Mailbox::new("mailbox", Reader).always("two", |t| Some(t.after.parts <= 2));
    assert_eq!(laws::all(holds()), Vec::<String>::new());
    let report =
        holds().check(&Options::default()).map(|report| (report.states, report.as_expected));
    assert_eq!(report, Ok((9, true)));
    let violated = Mailbox::new("mailbox", Reader).always("one", |t| Some(t.after.parts <= 1));
    let report = violated.check(&Options::default()).map(|report| report.as_expected);
    assert_eq!(report, Ok(false));
}
