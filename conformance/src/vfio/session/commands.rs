//! Commands that no migration state forbids or changes: each is answered, whatever the state is, and a
//! description of the device is the same in all of them.
//!
//! **Not here:** with which number a command is refused; what registers show.

use super::Session;
use crate::harness::verdict::TestEnd;
use crate::vfio::device::MAPPED;

impl Session<'_> {
    pub(super) fn commands(&mut self) -> Result<(), TestEnd> {
        let before = std::mem::take(&mut self.described);
        let answers = match self.device.commands() {
            Ok(answers) => answers,
            Err(trouble) => return self.trouble(trouble),
        };
        self.conversation.note(format!("-> {} commands, all answered", answers.len()));
        for (what, said) in answers {
            let described = match said {
                Ok(described) => described,
                Err(number) if what == MAPPED && before.iter().any(|(other, _)| *other == what) => {
                    return self.not_released(number);
                }
                Err(_) => {
                    self.conversation.note(format!("<- {what} is refused"));
                    continue;
                }
            };
            let known = before.iter().find(|(other, _)| *other == what);
            if let Some((_, known)) = known.filter(|(_, known)| *known != described) {
                let clause = self.clause("vfio-user.region-info.constant")?;
                let observed = format!("{what} answers: {described}");
                return self.finding_of(clause, observed, vec![format!("{known}, as before")]);
            }
            self.described.push((what, described));
        }
        Ok(())
    }
}
