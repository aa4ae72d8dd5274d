//! What each message of vhost-user does, in the words of its table.

use std::collections::BTreeSet;

use devmig_engine::clause::ClauseId;
use devmig_engine::columns::grid;
use devmig_model::protocol::vhost_user::table::{self, Condition, MessageDef, Row, SOURCE};
use devmig_model::protocol::vhost_user::vocabulary::{Answer, Effect, Guard, Word};
use devmig_model::protocol::vhost_user::wire::PayloadKind;
use devmig_model::registry::Library;
use devmig_model::spec::Spec;
use serde::Serialize;

/// The table, with every name spelled out.
#[derive(Serialize)]
pub struct Document {
    schema: u32,
    protocol: &'static str,
    messages: Vec<Message>,
    back_end_messages: Vec<Own>,
    features: Vec<Feature>,
    /// The words that the table uses, with their meanings.
    #[serde(skip)]
    legend: Vec<(&'static str, &'static str)>,
}

impl Document {
    /// A library's.
    #[must_use]
    pub fn of(library: &Library) -> Self {
        Document {
            schema: 1,
            protocol: "vhost-user",
            messages: messages(library),
            back_end_messages: own_messages(library),
            features: features(library),
            legend: legend(library),
        }
    }

    /// For the console.
    #[must_use]
    pub fn text(&self) -> String {
        let mark = |proposed: bool| if proposed { "+" } else { " " };
        let mut out = String::new();
        for message in &self.messages {
            let head = format!("{} {} ({})", mark(message.proposed), message.name, message.id);
            out += &format!("{head}  {}\n", message.shape());
            for row in &message.rows {
                let condition = row.condition(message.rows.len() == 1);
                out += &format!("{}   {condition}\n", mark(row.proposed));
                for (name, words) in row.outcome() {
                    out += &format!(
                        "{}       {}\n",
                        mark(row.proposed),
                        format!("{name:9}  {words}").trim()
                    );
                }
            }
            out.push('\n');
        }
        out += "back-end requests\n";
        for own in &self.back_end_messages {
            out += &format!("  {} ({})  {}\n", own.name, own.id, own.shape());
        }
        out += "\nwords\n";
        out += &grid(
            &self
                .legend
                .iter()
                .map(|(word, m)| vec![format!("  {word}"), (*m).to_owned()])
                .collect::<Vec<_>>(),
        );
        out
    }

    /// For the book.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mark = |proposed: bool| if proposed { "**+** " } else { "" };
        let mut out = String::new();
        for message in &self.messages {
            out += &format!("## {}{} ({})\n\n", mark(message.proposed), message.name, message.id);
            out += &format!("{}.\n\n| row | | |\n|---|---|---|\n", message.shape());
            for row in &message.rows {
                let condition = row.condition(message.rows.len() == 1);
                for (n, (name, words)) in row.outcome().into_iter().enumerate() {
                    let first = if n == 0 {
                        format!("{}{condition}", mark(row.proposed))
                    } else {
                        String::new()
                    };
                    out += &format!("| {first} | {name} | {words} |\n");
                }
            }
            out.push('\n');
        }
        out += "## Back-end requests\n\n";
        out += "On the back-end channel (SET_BACKEND_REQ_FD). The front-end replies to a request that has a reply or asks for one.\n\n";
        out += "| message | id | |\n|---|---|---|\n";
        for own in &self.back_end_messages {
            out += &format!("| {} | {} | {} |\n", own.name, own.id, own.shape());
        }
        out += "\n## Protocol features\n\n";
        out += "An `opt-in` feature changes the meaning of other messages.\n\n";
        out += "| feature | bit | since | |\n|---|---|---|---|\n";
        for Feature { name, bit, since, opt_in } in &self.features {
            let opt_in = if *opt_in { "opt-in" } else { "" };
            out += &format!("| {name} | {bit} | {since} | {opt_in} |\n");
        }
        out += "\n## Words\n\n| word | meaning |\n|---|---|\n";
        for (word, meaning) in &self.legend {
            out += &format!("| {word} | {meaning} |\n");
        }
        out
    }
}

/// A protocol feature.
#[derive(Serialize)]
struct Feature {
    name: String,
    bit: u8,
    since: String,
    opt_in: bool,
}

/// A message of the back-end's own.
#[derive(Serialize)]
struct Own {
    name: String,
    id: u32,
    request: PayloadKind,
    reply: Option<PayloadKind>,
    gate: Option<Gate>,
    virtio: Option<u8>,
    since: String,
    signal: Option<String>,
}

/// A message, with every name spelled out.
#[derive(Serialize)]
struct Message {
    name: String,
    id: u32,
    request: PayloadKind,
    reply: Option<PayloadKind>,
    answer: Option<String>,
    gate: Option<Gate>,
    virtio: Option<u8>,
    since: String,
    proposed: bool,
    rows: Vec<Words>,
}

#[derive(Serialize)]
struct Gate {
    feature: String,
    bit: u8,
    by: &'static str,
}

/// A row, in words.
#[derive(Serialize)]
struct Words {
    when: Vec<String>,
    choice: Option<String>,
    receive: Vec<String>,
    ready: Vec<String>,
    late: Option<String>,
    reply: Vec<String>,
    breaks: Option<String>,
    undefined: Option<String>,
    refused: Option<String>,
    refusable: bool,
    proposed: bool,
}

fn messages(library: &Library) -> Vec<Message> {
    let message = |m: &MessageDef| Message {
        name: m.name.clone(),
        id: m.id,
        request: m.request,
        reply: m.reply,
        answer: m.answer.map(|answer| answer.to_string()),
        gate: m.gate.as_ref().map(gate),
        virtio: m.virtio,
        since: version(library, m.since),
        proposed: m.proposed,
        rows: m.rows.iter().map(|row| words(&library.spec, row)).collect(),
    };
    library.vhost_user().table.messages.iter().map(message).collect()
}

fn own_messages(library: &Library) -> Vec<Own> {
    let own = |m: &table::BackEndMessageDef| Own {
        name: m.name.clone(),
        id: m.id,
        request: m.request,
        reply: m.reply,
        gate: m.gate.as_ref().map(gate),
        virtio: m.virtio,
        since: version(library, m.since),
        signal: m.signal.map(|signal| signal.to_string()),
    };
    library.vhost_user().table.back_end.iter().map(own).collect()
}

fn features(library: &Library) -> Vec<Feature> {
    let feature = |f: &table::Feature| Feature {
        name: f.name.clone(),
        bit: f.bit,
        since: version(library, f.since),
        opt_in: f.opt_in,
    };
    library.vhost_user().table.features.iter().map(feature).collect()
}

fn gate(gate: &table::Gate) -> Gate {
    Gate {
        feature: gate.feature.clone(),
        bit: gate.bit,
        by: if gate.by_offer { "offer" } else { "negotiation" },
    }
}

/// The name of a version of the text.
fn version(library: &Library, index: usize) -> String {
    let source = library.spec.sources().iter().find(|source| source.id == SOURCE);
    let version = source.and_then(|source| source.versions.get(index));
    version.map(|version| version.name.clone()).unwrap_or_default()
}

fn words(spec: &Spec, row: &Row) -> Words {
    let conditions = |all: &[Condition]| all.iter().map(Condition::to_string).collect();
    let effects = |all: &[Effect]| all.iter().map(Effect::to_string).collect();
    let clause = |id: Option<ClauseId>| id.map(|id| spec.clause_name(id).to_owned());
    let choice = |(choice, option)| {
        format!("{} = {}", spec.choice_name(choice), spec.option_name(choice, option))
    };
    Words {
        when: conditions(&row.when),
        choice: row.choice.map(choice),
        receive: effects(&row.receive),
        ready: conditions(&row.ready),
        late: clause(row.late),
        reply: effects(&row.reply),
        breaks: clause(row.breaks),
        undefined: clause(row.undefined),
        refused: clause(row.refused),
        refusable: row.refusable,
        proposed: row.proposed,
    }
}

fn payload(kind: PayloadKind) -> String {
    let name = serde_json::to_value(kind).unwrap_or_default();
    name.as_str().unwrap_or_default().to_owned()
}

impl Message {
    /// `u64; answer u64 (status); needs STATUS (bit 16)`.
    fn shape(&self) -> String {
        let mut parts = vec![match self.request {
            PayloadKind::None => "no payload".to_owned(),
            kind => payload(kind),
        }];
        if let (Some(reply), Some(answer)) = (self.reply, &self.answer) {
            parts.push(format!("reply {} ({answer})", payload(reply)));
        }
        parts.extend(needs(self.gate.as_ref(), self.virtio));
        parts.push(format!("since {}", self.since));
        parts.join("; ")
    }
}

/// The features that a message needs, in words.
fn needs(gate: Option<&Gate>, virtio: Option<u8>) -> Vec<String> {
    let gate = gate.map(|gate| {
        let by = if gate.by == "offer" { "offered" } else { "negotiated" };
        format!("needs {} (bit {}) {by}", gate.feature, gate.bit)
    });
    let virtio = virtio.map(|bit| format!("needs virtio feature {bit}"));
    gate.into_iter().chain(virtio).collect()
}

impl Own {
    /// `none; needs CONFIG (bit 9) negotiated; since 2020-01`.
    fn shape(&self) -> String {
        let mut parts = vec![match self.request {
            PayloadKind::None => "no payload".to_owned(),
            kind => payload(kind),
        }];
        parts.extend(self.reply.map(|reply| format!("reply {}", payload(reply))));
        parts.extend(self.signal.iter().map(|signal| format!("means {signal}")));
        parts.extend(needs(self.gate.as_ref(), self.virtio));
        parts.push(format!("since {}", self.since));
        parts.join("; ")
    }
}

impl Words {
    fn condition(&self, alone: bool) -> String {
        let mut parts = Vec::new();
        if !self.when.is_empty() {
            parts.push(format!("when {}", self.when.join(", ")));
        }
        parts.extend(self.choice.iter().map(|choice| format!("if {choice}")));
        match (parts.is_empty(), alone) {
            (true, true) => "always".to_owned(),
            (true, false) => "otherwise".to_owned(),
            (false, _) => parts.join(", "),
        }
    }

    fn outcome(&self) -> Vec<(&'static str, String)> {
        let list = |name, words: &[String]| (!words.is_empty()).then(|| (name, words.join(", ")));
        let one = |name, word: &Option<String>| word.clone().map(|word| (name, word));
        let all = [
            one("breaks", &self.breaks),
            one("undefined", &self.undefined),
            one("refused", &self.refused),
            self.refusable.then(|| ("", "may be refused".to_owned())),
            list("receive", &self.receive),
            list("ready", &self.ready),
            one("late", &self.late),
            list("reply", &self.reply),
        ];
        let mut all: Vec<_> = all.into_iter().flatten().collect();
        if all.is_empty() {
            all.push(("", "no effect".to_owned()));
        }
        all
    }
}

/// The words that the table uses, with their meanings.
fn legend(library: &Library) -> Vec<(&'static str, &'static str)> {
    let mut used = BTreeSet::new();
    for message in &library.vhost_user().table.messages {
        used.extend(message.answer.iter().map(Answer::to_string));
        for row in &message.rows {
            used.extend(row.when.iter().chain(&row.ready).map(|c| c.guard.to_string()));
            used.extend(row.receive.iter().chain(&row.reply).map(Effect::to_string));
        }
    }
    let guards = Guard::ALL.iter().map(|(name, meaning, _)| (*name, *meaning));
    let effects = Effect::ALL.iter().map(|(name, meaning, _)| (*name, *meaning));
    let answers = Answer::ALL.iter().map(|(name, meaning, _)| (*name, *meaning));
    guards.chain(effects).chain(answers).filter(|(name, _)| used.contains(*name)).collect()
}
