//! The message table: what each message does, in guarded rows, loaded from TOML.
//!
//! ```text
//!  messages.toml --\                      /--> the machine's rules
//!                   >-- Table (resolved) ---> the tester's payloads
//!  proposal.toml --/                      \--> the book, `devmig table vhost-user`
//! ```
//!
//! The first row that applies wins, so a proposal patches a message by putting rows before those of
//! the base. **Invariant:** every name in a loaded table was resolved; nothing is looked up later.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::unreachable::{self, Applies};
use super::vocabulary::{Answer, Effect, Guard, Signal, Word};
use super::wire::PayloadKind;
use crate::spec::{Diagnostics, Item, Spanned, Spec, did_you_mean, with_help};
use devmig_engine::clause::{ChoiceId, ClauseId};

/// The document whose messages these are.
pub const SOURCE: &str = "vhost-user";

/// A protocol feature.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawFeature {
    /// Its name, without `VHOST_USER_PROTOCOL_F_`.
    pub name: Spanned<String>,
    /// Its bit, 0 to 63.
    pub bit: u8,
    /// It changes the meaning of messages of other features, so it is only acknowledged on purpose.
    #[serde(default)]
    opt_in: bool,
    /// First version of the specification that has it; default: every version.
    since: Option<Spanned<String>>,
}

/// A request of the back-end, sent over the back-end channel.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawBackEndMessage {
    /// Its name, without `VHOST_USER_BACKEND_`.
    name: Spanned<String>,
    /// Its request number.
    id: u32,
    /// Kind of its payload.
    request: PayloadKind,
    /// Kind of the payload of its reply, if it always has one; otherwise need_reply asks for one.
    reply: Option<PayloadKind>,
    /// The protocol feature that it needs.
    gate: Option<Spanned<String>>,
    /// Bit of the virtio feature that it needs.
    virtio: Option<u8>,
    /// First version of the specification that has it; default: every version.
    since: Option<Spanned<String>>,
    /// What it stands for, if it takes the place of a descriptor: `call`, `error`, `config`.
    signal: Option<Spanned<String>>,
}

/// A message of the front-end. With the name of a built-in message and without `id`: rows that go
/// before the rows of that message.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawMessage {
    /// Its name, without `VHOST_USER_`.
    name: Spanned<String>,
    /// Its request number. Without it the item is a patch of the message of this name.
    id: Option<u32>,
    /// Kind of its payload; default: `none`.
    request: Option<PayloadKind>,
    /// Kind of the payload of its reply, if it always has one; goes with `answer`.
    reply: Option<PayloadKind>,
    /// What the number of the reply means: a word of the vocabulary; goes with `reply`.
    answer: Option<Spanned<String>>,
    /// The protocol feature that it needs.
    gate: Option<Spanned<String>>,
    /// Whether the feature has to be negotiated or only offered.
    #[serde(default)]
    gated_by: GatedBy,
    /// Bit of the virtio feature that it needs.
    virtio: Option<u8>,
    /// First version of the specification that has it; default: every version.
    since: Option<Spanned<String>>,
    /// Id of the clause by which a front-end should not send it.
    discouraged: Option<Spanned<String>>,
    /// The specification demands an acknowledgement once REPLY_ACK was negotiated, even without
    /// need_reply.
    #[serde(default)]
    acknowledged: bool,
    /// "CHOICE = OPTION": under this interpretation it has no reply.
    unanswered: Option<Spanned<String>>,
    /// Its rows: the first row that applies determines the effect.
    row: Vec<Spanned<RawRow>>,
}

/// Whether a feature must have been negotiated, or only offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GatedBy {
    /// In SET_PROTOCOL_FEATURES.
    #[default]
    Negotiation,
    /// In the answer to GET_PROTOCOL_FEATURES.
    Offer,
}

/// Rows that go before the rows of a message.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPatch {
    /// Name of the message.
    message: Spanned<String>,
    /// The rows.
    row: Vec<Spanned<RawRow>>,
}

/// A row of a message: when it applies, and what happens then.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawRow {
    /// Guards that all have to hold; `not WORD` negates one. Empty: the row always applies.
    #[serde(default)]
    when: Vec<Spanned<String>>,
    /// The row applies under this option only: `CHOICE = OPTION`.
    choice: Option<Spanned<String>>,
    /// Effects when the back-end reads the message.
    #[serde(default)]
    receive: Vec<Spanned<String>>,
    /// Guards that all have to hold before the back-end replies.
    #[serde(default)]
    ready: Vec<Spanned<String>>,
    /// Id of the clause that an earlier reply breaks.
    late: Option<Spanned<String>>,
    /// Effects when the back-end replies with success.
    #[serde(default)]
    reply: Vec<Spanned<String>>,
    /// Id of the clause that the front-end breaks when it sends the message; not with `undefined`.
    breaks: Option<Spanned<String>>,
    /// Id of the clause that leaves open what follows; not with `breaks`.
    undefined: Option<Spanned<String>>,
    /// Id of the clause that a reply of success breaks: the message cannot be carried out.
    refused: Option<Spanned<String>>,
    /// The back-end may reply with a failure, which has no effects.
    #[serde(default)]
    refusable: bool,
}

/// A guard, or its negation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Condition {
    /// The word.
    pub guard: Guard,
    /// Whether it must hold, or must not.
    pub wanted: bool,
}

impl Row {
    /// Whether the back-end finishes what is in flight on a ring before it replies: on the named one, or
    /// on every one.
    #[must_use]
    pub fn drains(&self, named: bool) -> bool {
        let waits = |guard| self.ready.iter().any(|at| at.wanted && at.guard == guard);
        waits(Guard::AllIdle) || (named && waits(Guard::Idle))
    }
}

impl Condition {
    /// Whether it holds.
    #[must_use]
    pub fn holds<const R: usize>(
        &self,
        s: &super::state::State<R>,
        m: &super::event::Message,
    ) -> bool {
        self.guard.holds(s, m) == self.wanted
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", if self.wanted { "" } else { "not " }, self.guard)
    }
}

/// One row of a message.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Row {
    /// When it applies.
    pub when: Vec<Condition>,
    /// Under which reading of the text.
    pub choice: Option<(ChoiceId, u8)>,
    /// What happens when the message is read.
    pub receive: Vec<Effect>,
    /// When the answer is due.
    pub ready: Vec<Condition>,
    /// The clause that an earlier answer breaks.
    pub late: Option<ClauseId>,
    /// What happens when it is answered with success.
    pub reply: Vec<Effect>,
    /// The clause that its sender breaks.
    pub breaks: Option<ClauseId>,
    /// The clause that leaves open what follows.
    pub undefined: Option<ClauseId>,
    /// The clause that an acknowledgement of success breaks: it cannot be done.
    pub refused: Option<ClauseId>,
    /// It may be answered with a failure, and then nothing has happened.
    pub refusable: bool,
    /// The proposal that it comes from.
    pub proposed: bool,
}

impl Row {
    /// When it applies.
    fn applies(&self) -> Applies {
        Applies {
            when: self.when.iter().map(|condition| (condition.guard, condition.wanted)).collect(),
            choice: self.choice,
            decides: self.breaks.is_none() && self.undefined.is_none(),
        }
    }
}

/// A feature that a message needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gate {
    /// Its name.
    pub feature: String,
    /// Its protocol feature bit.
    pub bit: u8,
    /// Whether an offer is enough.
    pub by_offer: bool,
}

/// A message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MessageDef {
    /// Without `VHOST_USER_`.
    pub name: String,
    /// The request id on the wire.
    pub id: u32,
    /// What it carries.
    pub request: PayloadKind,
    /// What its answer carries, if it always has one.
    pub reply: Option<PayloadKind>,
    /// What the answer's number means.
    pub answer: Option<Answer>,
    /// The protocol feature it needs.
    pub gate: Option<Gate>,
    /// The virtio feature that must have been acknowledged, by its bit.
    pub virtio: Option<u8>,
    /// The first version of the text that has it, by index.
    pub since: usize,
    /// The clause by which a front-end should not send it.
    pub discouraged: Option<ClauseId>,
    /// The text demands an acknowledgement once REPLY_ACK was negotiated, with no word of need_reply.
    pub acknowledged: bool,
    /// First match wins.
    pub rows: Vec<Row>,
    /// The interpretation by which it has no reply after all.
    pub unanswered: Option<(ChoiceId, u8)>,
    /// The proposal adds it.
    pub proposed: bool,
}

impl MessageDef {
    /// Whether it names a ring.
    #[must_use]
    pub fn names_ring(&self) -> bool {
        matches!(
            self.request,
            PayloadKind::VringState | PayloadKind::VringAddr | PayloadKind::VringFd
        )
    }

    /// Whether some row of it begins a state transfer.
    #[must_use]
    pub fn begins_transfer(&self) -> bool {
        let all = self.rows.iter().flat_map(|row| row.receive.iter().chain(&row.reply));
        all.copied().any(Effect::begins_transfer)
    }

    /// Whether some row of it depends on this guard.
    #[must_use]
    pub fn guarded_by(&self, guard: Guard) -> bool {
        self.rows.iter().any(|row| row.when.iter().any(|condition| condition.guard == guard))
    }

    /// Whether some row of it has this effect.
    #[must_use]
    pub fn has(&self, effect: Effect) -> bool {
        self.rows.iter().any(|row| row.receive.contains(&effect) || row.reply.contains(&effect))
    }
}

/// A message of the back-end's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackEndMessageDef {
    /// Without `VHOST_USER_`.
    pub name: String,
    /// The request id on the wire, of a numbering of its own.
    pub id: u32,
    /// What it carries.
    pub request: PayloadKind,
    /// What its answer carries, if it always has one.
    pub reply: Option<PayloadKind>,
    /// The protocol feature it needs.
    pub gate: Option<Gate>,
    /// The virtio feature that must have been acknowledged, by its bit.
    pub virtio: Option<u8>,
    /// The first version of the text that has it, by index.
    pub since: usize,
    /// What it stands for, if it takes the place of a descriptor.
    pub signal: Option<Signal>,
}

impl BackEndMessageDef {
    /// Whether it names a ring.
    #[must_use]
    pub fn names_ring(&self) -> bool {
        matches!(self.request, PayloadKind::VringState | PayloadKind::VringArea)
    }
}

/// A protocol feature.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Feature {
    /// As in `VHOST_USER_PROTOCOL_F_NAME`.
    pub name: String,
    /// Its bit.
    pub bit: u8,
    /// It changes what messages of other features mean, so nobody acknowledges it by the way.
    pub opt_in: bool,
    /// The first version of the text that has it, by index.
    pub since: usize,
}

/// All messages, resolved.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Table {
    /// In the order of the file; a [`super::event::MessageId`] is an index of it.
    pub messages: Vec<MessageDef>,
    /// The back-end's own, likewise: an id of them is an index of this list.
    pub back_end: Vec<BackEndMessageDef>,
    /// Protocol features, in the order of the file.
    pub features: Vec<Feature>,
    /// The bit of REPLY_ACK.
    pub reply_ack: u8,
    /// The bit of STATUS, if there is one.
    pub status: Option<u8>,
    /// The version of the text that is judged by, by index; the newest if there is none.
    pub text: Option<usize>,
}

/// More messages than a packed message can name.
const MAX_MESSAGES: usize = 64;
/// The first bit that is tried as one that is not offered.
const NOT_OFFERED: u8 = 24;
/// More rows than a pending reply can name.
const MAX_ROWS: usize = 16;
/// The same for messages of the back-end's own.
const MAX_BACK_END: usize = 16;

impl Table {
    /// The message of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<super::event::MessageId> {
        let index = self.messages.iter().position(|m| m.name == name)?;
        u8::try_from(index).ok().map(super::event::MessageId)
    }

    /// The message of the back-end's own of this name.
    #[must_use]
    pub fn back_end_named(&self, name: &str) -> Option<super::event::MessageId> {
        let index = self.back_end.iter().position(|m| m.name == name)?;
        u8::try_from(index).ok().map(super::event::MessageId)
    }

    /// The bit of a protocol feature.
    #[must_use]
    pub fn feature(&self, name: &str) -> Option<u8> {
        self.features.iter().find(|f| f.name == name).map(|f| f.bit)
    }

    /// The same table for judging by one version of the text: what is newer is unknown there.
    #[must_use]
    pub fn by_text(&self, version: usize) -> Self {
        let mut table = self.clone();
        table.features.retain(|feature| feature.since <= version);
        table.text = Some(version);
        table
    }

    /// Whether the text that is judged by has what came with this version.
    #[must_use]
    pub fn knows(&self, since: usize) -> bool {
        self.text.is_none_or(|text| since <= text)
    }

    /// Takes features into the table.
    pub fn add_features(&mut self, spec: &Spec, items: &[Item<RawFeature>], d: &mut Diagnostics) {
        for item in items {
            let (name, bit) = (item.value.name.get_ref(), item.value.bit);
            if let Some(other) = self.features.iter().find(|f| f.name == *name || f.bit == bit) {
                let message = format!("feature `{name}` (bit {bit}) clashes with `{}`", other.name);
                d.push(item.error(item.value.name.span(), message, "taken"));
            } else if bit >= 64 {
                let message = format!("there is no bit {bit}: feature masks have 64");
                d.push(item.error(item.value.name.span(), message, "too large"));
            } else {
                self.features.push(Feature {
                    name: name.clone(),
                    bit,
                    opt_in: item.value.opt_in,
                    since: since(spec, item, item.value.since.as_ref(), d),
                });
            }
        }
        self.reply_ack = self.feature("REPLY_ACK").unwrap_or(3);
        self.status = self.feature("STATUS");
    }

    /// Takes messages of the back-end's own into the table.
    pub fn add_back_end(
        &mut self,
        spec: &Spec,
        items: &[Item<RawBackEndMessage>],
        d: &mut Diagnostics,
    ) {
        for item in items {
            let raw = &item.value;
            let name = raw.name.get_ref();
            if let Some(other) = self.back_end.iter().find(|m| m.name == *name || m.id == raw.id) {
                let message = format!("`{name}` (id {}) clashes with `{}`", raw.id, other.name);
                d.push(item.error(raw.name.span(), message, "taken"));
            }
            if self.back_end.len() == MAX_BACK_END {
                let message =
                    format!("a table holds at most {MAX_BACK_END} messages of a back-end");
                d.push(item.error(raw.name.span(), message, "one too many"));
                return;
            }
            let gate = raw.gate.as_ref().and_then(|g| self.gate(item, g, GatedBy::Negotiation, d));
            self.back_end.push(BackEndMessageDef {
                name: name.clone(),
                id: raw.id,
                request: raw.request,
                reply: raw.reply,
                gate,
                virtio: virtio(item, &raw.name, raw.virtio, d),
                since: since(spec, item, raw.since.as_ref(), d),
                signal: raw.signal.as_ref().and_then(|word| lookup::<Signal, _>(item, word, d)),
            });
        }
    }

    /// The protocol feature of this name, as a gate.
    fn gate<T>(
        &self,
        item: &Item<T>,
        gate: &Spanned<String>,
        by: GatedBy,
        d: &mut Diagnostics,
    ) -> Option<Gate> {
        let bit = self.feature(gate.get_ref());
        if bit.is_none() {
            let message = format!("no protocol feature is called `{}`", gate.get_ref());
            let names = self.features.iter().map(|f| f.name.as_str());
            let error = item.error(gate.span(), message, "unknown feature");
            d.push(with_help(error, did_you_mean(gate.get_ref(), names)));
        }
        let by_offer = by == GatedBy::Offer;
        Some(Gate { feature: gate.get_ref().clone(), bit: bit?, by_offer })
    }

    /// Takes messages into the table: new ones at its end, patches before the rows they patch.
    pub fn add(
        &mut self,
        spec: &Spec,
        items: &[Item<RawMessage>],
        proposed: bool,
        d: &mut Diagnostics,
    ) {
        for item in items {
            let raw = &item.value;
            let rows: Vec<Row> =
                raw.row.iter().map(|row| resolve(spec, item, row.get_ref(), proposed, d)).collect();
            warn_of_rows(spec, item, (&raw.row, &rows), d);
            let known = self.messages.iter().position(|m| m.name == *raw.name.get_ref());
            match (raw.id, known) {
                (None, Some(index)) => {
                    let message = &mut self.messages[index];
                    message.rows.splice(0..0, rows);
                    if message.rows.len() > MAX_ROWS {
                        let (name, rows) = (&message.name, message.rows.len());
                        let message = format!("{name} has {rows} rows, with those that it had");
                        let label = format!("at most {MAX_ROWS} can be explored");
                        d.push(item.error(raw.name.span(), message, label));
                    }
                    drains_with_reply(item, &raw.row, message.reply.is_some(), d);
                }
                (None, None) => {
                    let name = raw.name.get_ref();
                    let message = format!("no message is called `{name}`");
                    let names = self.messages.iter().map(|m| m.name.as_str());
                    let error = item.error(raw.name.span(), message, "unknown message");
                    let help = did_you_mean(name, names)
                        .or(Some("a new message needs an `id` and a `request`".into()));
                    d.push(with_help(error, help));
                }
                (Some(_), Some(_)) => {
                    let message = format!("the message `{}` is defined twice", raw.name.get_ref());
                    d.push(
                        item.error(raw.name.span(), message, "again here")
                            .help("leave out `id` to put rows before those it has"),
                    );
                }
                (Some(id), None) => self.push(spec, item, id, (rows, proposed), d),
            }
        }
    }

    /// The table by these interpretations: a message that has no reply under one of them loses it.
    #[must_use]
    pub fn interpreted(&self, taken: impl Fn(ChoiceId, u8) -> bool) -> Self {
        let mut table = self.clone();
        for message in &mut table.messages {
            if message.unanswered.is_some_and(|(choice, option)| taken(choice, option)) {
                (message.reply, message.answer) = (None, None);
            }
        }
        table
    }

    /// A feature bit that is neither among these nor in the table: the front-end that acknowledges it
    /// breaks the rules, whatever a proposal takes.
    #[must_use]
    pub fn not_offered(&self, offered: u64) -> u64 {
        let own = self.features.iter().map(|feature| feature.bit);
        let virtio = self.messages.iter().filter_map(|message| message.virtio);
        let known = own.chain(virtio).fold(offered, |all, bit| all | 1 << bit);
        let free = std::iter::once(NOT_OFFERED).chain((0..64).rev()).map(|bit| 1 << bit);
        free.into_iter().find(|bit| known & bit == 0).unwrap_or(1 << NOT_OFFERED)
    }

    /// The table with rows put before those that it has.
    #[must_use]
    pub fn patched<T>(
        &self,
        spec: &Spec,
        item: &Item<T>,
        patches: &[RawPatch],
        d: &mut Diagnostics,
    ) -> Self {
        let mut table = self.clone();
        for patch in patches {
            let rows: Vec<Row> =
                patch.row.iter().map(|row| resolve(spec, item, row.get_ref(), true, d)).collect();
            warn_of_rows(spec, item, (&patch.row, &rows), d);
            let name = patch.message.get_ref();
            match table.messages.iter_mut().find(|m| m.name == *name) {
                Some(message) => {
                    message.rows.splice(0..0, rows);
                }
                None => {
                    let message = format!("no message is called `{name}`");
                    let error = item.error(patch.message.span(), message, "unknown message");
                    let names = self.messages.iter().map(|m| m.name.as_str());
                    d.push(with_help(error, did_you_mean(name, names)));
                }
            }
        }
        table
    }

    fn push(
        &mut self,
        spec: &Spec,
        item: &Item<RawMessage>,
        id: u32,
        (rows, proposed): (Vec<Row>, bool),
        d: &mut Diagnostics,
    ) {
        let raw = &item.value;
        if let Some(other) = self.messages.iter().find(|m| m.id == id) {
            let message = format!("id {id} is that of {}", other.name);
            d.push(item.error(raw.name.span(), message, "same id"));
        }
        if self.messages.len() == MAX_MESSAGES {
            let message = format!("a table holds at most {MAX_MESSAGES} messages");
            d.push(item.error(raw.name.span(), message, "one too many"));
            return;
        }
        let answer = raw.answer.as_ref().and_then(|word| lookup::<Answer, _>(item, word, d));
        if raw.reply.is_some() != raw.answer.is_some() {
            d.push(item.error(
                raw.name.span(),
                "a message has both `reply` and `answer`, or neither",
                "only one of them",
            ));
        }
        drains_with_reply(item, &raw.row, raw.reply.is_some(), d);
        let gate = raw.gate.as_ref().and_then(|gate| self.gate(item, gate, raw.gated_by, d));
        self.messages.push(MessageDef {
            name: raw.name.get_ref().clone(),
            id,
            request: raw.request.unwrap_or(PayloadKind::None),
            reply: raw.reply,
            answer,
            gate,
            virtio: virtio(item, &raw.name, raw.virtio, d),
            since: since(spec, item, raw.since.as_ref(), d),
            discouraged: raw
                .discouraged
                .as_ref()
                .and_then(|clause| spec.clause_at(item, clause, d)),
            acknowledged: raw.acknowledged,
            unanswered: raw.unanswered.as_ref().and_then(|pin| spec.rule_pin_at(item, pin, d)),
            rows,
            proposed,
        });
    }
}

/// Warns of rows that can never apply, if every word of them is known.
fn warn_of_rows<T>(
    spec: &Spec,
    item: &Item<T>,
    (written, rows): (&[Spanned<RawRow>], &[Row]),
    d: &mut Diagnostics,
) {
    let is_known = |(raw, row): (&Spanned<RawRow>, &Row)| {
        let raw = raw.get_ref();
        raw.when.len() == row.when.len() && raw.choice.is_some() == row.choice.is_some()
    };
    if written.iter().zip(rows).all(is_known) {
        let apply: Vec<_> = rows.iter().map(Row::applies).collect();
        unreachable::warn(spec, item, written, &apply, d);
    }
}

/// Notes rows that drain where there is no reply that could wait.
fn drains_with_reply<T>(
    item: &Item<T>,
    rows: &[Spanned<RawRow>],
    replies: bool,
    d: &mut Diagnostics,
) {
    let words = rows.iter().flat_map(|row| &row.get_ref().receive);
    let drains = |word: &&Spanned<String>| {
        let effect = Effect::named(word.get_ref());
        matches!(effect, Some(Effect::StopAndDrain | Effect::StopAndDrainAll))
    };
    for word in words.filter(drains).filter(|_| !replies) {
        let message = format!("`{}` makes the reply wait, and there is none", word.get_ref());
        d.push(
            item.error(word.span(), message, "without `reply`")
                .help("give the message a `reply` and an `answer`, or write `stop`"),
        );
    }
}

/// The index of the version of the text that this came with; 0 if it was always there.
fn since<T>(
    spec: &Spec,
    item: &Item<T>,
    version: Option<&Spanned<String>>,
    d: &mut Diagnostics,
) -> usize {
    let Some(version) = version else { return 0 };
    spec.version_at(SOURCE, item, version, d).unwrap_or(0)
}

/// A virtio feature's bit.
fn virtio<T>(
    item: &Item<T>,
    name: &Spanned<String>,
    bit: Option<u8>,
    d: &mut Diagnostics,
) -> Option<u8> {
    if let Some(bit) = bit.filter(|bit| *bit >= 64) {
        let message = format!("there is no bit {bit}: feature masks have 64");
        d.push(item.error(name.span(), message, "too large"));
    }
    bit.filter(|bit| *bit < 64)
}

fn resolve<T>(
    spec: &Spec,
    item: &Item<T>,
    raw: &RawRow,
    proposed: bool,
    d: &mut Diagnostics,
) -> Row {
    let clause =
        |id: &Option<Spanned<String>>, d: &mut Diagnostics| spec.clause_at(item, id.as_ref()?, d);
    let (late, breaks) = (clause(&raw.late, d), clause(&raw.breaks, d));
    let (undefined, refused) = (clause(&raw.undefined, d), clause(&raw.refused, d));
    if let (Some(breaks), Some(_)) = (&raw.breaks, &raw.undefined) {
        d.push(item.error(
            breaks.span(),
            "a row has `breaks` or `undefined`, not both",
            "and undefined too",
        ));
    }
    let receive: Vec<Effect> = words(item, &raw.receive, d);
    let mut ready = conditions(item, &raw.ready, d);
    let idle = [(Effect::StopAndDrain, Guard::Idle), (Effect::StopAndDrainAll, Guard::AllIdle)];
    let idle = idle.iter().filter(|(effect, _)| receive.contains(effect));
    ready.extend(idle.map(|(_, guard)| Condition { guard: *guard, wanted: true }));
    Row {
        when: conditions(item, &raw.when, d),
        choice: raw.choice.as_ref().and_then(|choice| spec.rule_pin_at(item, choice, d)),
        receive,
        ready,
        late,
        reply: words(item, &raw.reply, d),
        breaks,
        undefined,
        refused,
        refusable: raw.refusable,
        proposed,
    }
}

fn conditions<T>(item: &Item<T>, raw: &[Spanned<String>], d: &mut Diagnostics) -> Vec<Condition> {
    let condition = |text: &Spanned<String>| {
        let (word, wanted) = match text.get_ref().strip_prefix("not ") {
            Some(word) => (word, false),
            None => (text.get_ref().as_str(), true),
        };
        let word = Spanned::new(text.span(), word.to_owned());
        lookup(item, &word, d).map(|guard| Condition { guard, wanted })
    };
    raw.iter().filter_map(condition).collect()
}

fn words<W: Word, T>(item: &Item<T>, raw: &[Spanned<String>], d: &mut Diagnostics) -> Vec<W> {
    raw.iter().filter_map(|word| lookup(item, word, d)).collect()
}

/// Finds a word of the vocabulary, or complains with the nearest.
fn lookup<W: Word, T>(item: &Item<T>, word: &Spanned<String>, d: &mut Diagnostics) -> Option<W> {
    let found = W::named(word.get_ref());
    if found.is_none() {
        let message = format!("`{}` is not in the vocabulary of this column", word.get_ref());
        let error = item.error(word.span(), message, "unknown word");
        d.push(with_help(error, did_you_mean(word.get_ref(), W::ALL.iter().map(|(n, _, _)| *n))));
    }
    found
}
