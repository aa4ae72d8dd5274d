//! Commands that no migration state forbids or changes: each is answered, whatever the state is, and a
//! description of the device is the same in all of them.
//!
//! **Not here:** with which number a command is refused; what registers show.

use devmig_engine::clause::ClauseId;

use super::Session;
use crate::harness::verdict::TestEnd;

impl Session<'_> {
    pub(super) fn commands(&mut self) -> Result<(), TestEnd> {
        let before = std::mem::take(&mut self.described);
        let answers = match self.device.commands() {
            Ok(answers) => answers,
            Err(trouble) => return self.trouble(trouble),
        };
        self.conversation.note(format!("-> {} commands, all answered", answers.len()));
        for (what, said) in answers {
            let Ok(described) = said else {
                self.conversation.note(format!("<- {what} is refused"));
                continue;
            };
            let known = before.iter().find(|(other, _)| *other == what);
            if let Some((_, known)) = known.filter(|(_, known)| *known != described) {
                let observed = format!("{what}: {described:x?}, and it was {known:x?} before");
                return self.finding_of(ClauseId::NONE, observed, vec!["the same".into()]);
            }
            self.described.push((what, described));
        }
        Ok(())
    }
}
