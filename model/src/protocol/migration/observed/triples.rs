//! Every triple (does the VM run, the status of the migration, the states of its devices) that the model allows at an
//! end, and what follows it: explored, and projected to what was seen.
//!
//! ```text
//!   states of Observed, with one end watched --project--> triples of that end, and the events between them
//!                       with both            --project--> pairs of (VM, migration) that are seen together
//! ```

use std::collections::{HashSet, VecDeque};

use super::report::{DESTINATION, Report, Reported, SOURCE, Status, What};
use super::{Observed, State};
use crate::protocol::migration::event::DEVICES;
use devmig_engine::machine::{Machine, Reaction, Stimulus};
use devmig_engine::rules::{OpenChoice, Rules};

/// A triple: what was seen of an end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Triple {
    /// The VM runs.
    pub runs: bool,
    /// The status of the migration.
    pub status: Status,
    /// The states of devices; of a device that is not there, that in which it would begin.
    pub devices: [u8; DEVICES],
}

/// A triple of an end, and the events that may follow it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The triple.
    pub triple: Triple,
    /// Each event that may follow, with the number of the row that it leads to.
    pub next: Vec<(Reported, usize)>,
}

/// What was seen of an end.
fn triple(s: &State, end: usize) -> Triple {
    let end = &s.1.of[end];
    Triple { runs: end.runs, status: end.said, devices: end.devices() }
}

impl Observed {
    /// The first state, with these ends watched from the beginning.
    ///
    /// # Errors
    /// If a choice decides that is not fixed.
    pub fn watched(&self, ends: &[usize]) -> Result<State, OpenChoice> {
        let rules = Rules::default();
        let mut state = self.initial();
        for end in ends {
            let here = triple(&state, *end);
            let what = What::Answers { status: here.status, runs: here.runs };
            let report = Report { end: *end as u8, what };
            if let Reaction::To(next) = self.on(&state, &report, &mut rules.judge())? {
                state = next;
            }
        }
        Ok(state)
    }

    /// Calls `f` for each step from a state, with what is seen in it.
    ///
    /// # Errors
    /// As [`Observed::watched`].
    pub fn from(
        &self,
        s: &State,
        f: &mut dyn FnMut(Option<Report>, State),
    ) -> Result<(), OpenChoice> {
        let rules = Rules::default();
        self.hidden(s, &mut rules.judge(), &mut |_, next| f(None, next))?;
        let mut reports = Vec::new();
        self.stimuli(s, &mut |stimulus| {
            let (Stimulus::Guarded(report) | Stimulus::Unguarded(report)) = stimulus;
            reports.push(report);
        });
        for report in reports {
            if let Reaction::To(next) = self.on(s, &report, &mut rules.judge())? {
                f(Some(report), next);
            }
        }
        Ok(())
    }

    /// Every step that is possible with these ends watched.
    fn explored(
        &self,
        ends: &[usize],
        f: &mut dyn FnMut(&State, Option<Report>, &State),
    ) -> Result<(), OpenChoice> {
        let first = self.watched(ends)?;
        let mut seen = HashSet::from([first]);
        let mut open = VecDeque::from([first]);
        while let Some(state) = open.pop_front() {
            self.from(&state, &mut |report, next| {
                f(&state, report, &next);
                if seen.insert(next) {
                    open.push_back(next);
                }
            })?;
        }
        Ok(())
    }

    /// The triples of an end, in the order in which they are reached.
    ///
    /// # Errors
    /// As [`Observed::watched`].
    pub fn triples(&self, end: usize) -> Result<Vec<Row>, OpenChoice> {
        let first = triple(&self.watched(&[end])?, end);
        let mut rows = vec![Row { triple: first, next: Vec::new() }];
        self.explored(&[end], &mut |before, report, after| {
            let Some(Report { what: What::Reports(said), .. }) = report else { return };
            let mut place = |of: Triple| {
                let known = rows.iter().position(|row| row.triple == of);
                known.unwrap_or_else(|| {
                    rows.push(Row { triple: of, next: Vec::new() });
                    rows.len() - 1
                })
            };
            let (from, to) = (place(triple(before, end)), place(triple(after, end)));
            if !rows[from].next.contains(&(said, to)) {
                rows[from].next.push((said, to));
            }
        })?;
        Ok(rows)
    }

    /// What is seen at both ends together: the VM and the status at the source, and at the destination.
    ///
    /// # Errors
    /// As [`Observed::watched`].
    pub fn together(&self) -> Result<Vec<[(bool, Status); 2]>, OpenChoice> {
        let both = |s: &State| {
            [SOURCE, DESTINATION].map(|end| {
                let here = triple(s, end);
                (here.runs, here.status)
            })
        };
        let mut all = vec![both(&self.watched(&[SOURCE, DESTINATION])?)];
        self.explored(&[SOURCE, DESTINATION], &mut |_, _, after| {
            let here = both(after);
            if !all.contains(&here) {
                all.push(here);
            }
        })?;
        Ok(all)
    }

    /// A shortest sequence of reports, with both ends watched, to a state of which this holds.
    ///
    /// # Errors
    /// As [`Observed::watched`].
    pub fn reports_to(
        &self,
        is: &dyn Fn(&State) -> bool,
    ) -> Result<Option<Vec<Report>>, OpenChoice> {
        let first = self.watched(&[SOURCE, DESTINATION])?;
        let mut reached: Vec<(State, usize, Option<Report>)> = vec![(first, 0, None)];
        let mut seen = HashSet::from([first]);
        let mut at = 0;
        while let Some((state, ..)) = reached.get(at).copied() {
            if is(&state) {
                let mut reports = Vec::new();
                while at > 0 {
                    let (_, from, report) = reached[at];
                    reports.extend(report);
                    at = from;
                }
                reports.reverse();
                return Ok(Some(reports));
            }
            self.from(&state, &mut |report, next| {
                if seen.insert(next) {
                    reached.push((next, at, report));
                }
            })?;
            at += 1;
        }
        Ok(None)
    }
}
