//! A sender, a queue of two and a reader: at most two messages wait, and each is answered.
use devmig_engine::prelude::*;

#[packed]
#[derive(Default)]
pub(crate) enum Mail {
    #[default]
    Put,
    Answer,
}
impl Event for Mail {
    fn owner(&self) -> Party {
        Party(if *self == Mail::Put { "Writer" } else { "Reader" })
    }
    fn channel(&self) -> Channel {
        if *self == Mail::Put { Channel::Queue(0) } else { Channel::Now }
    }
}

pub(crate) struct Reader;
impl Machine for Reader {
    type State = u8; // messages that wait for an answer
    type Event = Mail;
    fn on(&self, waiting: &u8, mail: &Mail, _: &mut RuleContext) -> Verdict<Self> {
        Ok(match mail {
            Mail::Put if *waiting == 2 => Reaction::Disabled,
            Mail::Put => Reaction::To(waiting + 1),
            Mail::Answer => Reaction::To(waiting - 1),
        })
    }
    fn owes(&self, waiting: &u8, _: &mut RuleContext) -> Result<Owed, OpenChoice> {
        Ok(Owed::NONE.with_if(*waiting > 0, 0))
    }
    fn stimuli(&self, waiting: &u8, f: &mut dyn FnMut(Stimulus<Mail>)) {
        f(Stimulus::Guarded(Mail::Put));
        (*waiting > 0).then(|| f(Stimulus::Guarded(Mail::Answer)));
    }
}

pub(crate) fn main() -> Result<(), devmig_engine::explore::Error> {
    let system = <system!(Reader, queues = 1, room = 2)>::new("mailbox", Reader)
        .always("at most two wait", |t| t.event().map(|_| t.after.parts <= 2))
        .leads_to("there is room again", |w| w.parts == 2, |w| w.parts < 2);
    system.check(&Options::default()).map(|report| print!("{}", report.text()))
}
