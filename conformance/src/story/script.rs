//! A counterexample of vhost-user as a script for `devmig test vhost-user --script`: what the front-end,
//! the guest and its driver do, in the order of the trace, and waits for what the back-end does.
//!
//! ```text
//!  front-end  SET_VRING_BASE ring 0 0x1 (sent)   ->  SET_VRING_BASE saved
//!  guest      request available on ring 0        ->  request 1        (with its kick; else publish 1)
//!  back-end   request 0 used on ring 0           ->  settle           (if nothing else is available)
//! ```
//!
//! What the back-end does inside (it notices a kick, fetches a request) no tester can order. Numbers that
//! a back-end decides are named (`offered`, `saved`), so that the script fits one that offers other
//! features than the model's.

use devmig_engine::explore::trace::Line;
use serde_json::{Map, Value};

use super::Story;

/// Why a counterexample is no script.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unfit {
    /// It is one of another protocol.
    #[error("{0} is no system of vhost-user: only the steps of such a one are a script")]
    Protocol(String),
    /// A tester cannot take this step.
    #[error("step {n} ({event}) is no step of a test")]
    Step {
        /// Its number.
        n: usize,
        /// What happens.
        event: String,
    },
}

/// LOG_ALL among the features.
const LOG_ALL: u64 = 1 << 26;
/// VHOST_USER_F_PROTOCOL_FEATURES.
const PROTOCOL: u64 = 1 << 30;
/// In the number of SET_VRING_KICK: there is no descriptor.
const NO_DESCRIPTOR: u64 = 1 << 8;
/// The clause that a script names if its property has none.
const CLAUSE: &str = "vhost-user.reply.must";

/// The script.
///
/// # Errors
/// If it is no trace of vhost-user, or has a step that no tester can take.
pub fn text(story: &Story) -> Result<String, Unfit> {
    if !story.system.starts_with("vhost-user/") {
        return Err(Unfit::Protocol(story.system.clone()));
    }
    let steps = steps(story)?;
    let mut out = String::new();
    let comment = |text: &str| {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let plain: String = words.chars().filter(|c| !c.is_control()).collect();
        textwrap::fill(
            &plain,
            textwrap::Options::new(98).initial_indent("# ").subsequent_indent("# "),
        ) + "\n"
    };
    out += &comment(&format!("A counterexample of {}: {}.", story.system, story.name));
    out.extend(story.says.as_deref().map(comment));
    out.extend(story.why.as_deref().map(comment));
    out += &comment(&format!("Found by: {}", story.command));
    out += "#\n# A back-end is judged by the rules while it follows. Run it with:\n";
    out += "#     devmig test vhost-user --script FILE --device blk --spawn 'COMMAND {socket}'\n\n";
    let text = |text: &str| toml::Value::from(text).to_string();
    let clause = story.clause.as_deref().unwrap_or(CLAUSE);
    let purpose = format!("The steps of the counterexample of {}.", story.name);
    out += &format!("[[test]]\nid = \"counterexample\"\nclause = {}\n", text(clause));
    out += &format!("purpose = {}\nsteps = [\n", text(&purpose));
    out.extend(steps.iter().map(|step| format!("    {},\n", text(step))));
    out += "]\n";
    Ok(out)
}

/// The steps of a test.
fn steps(story: &Story) -> Result<Vec<String>, Unfit> {
    let states = story.states();
    let mut steps: Vec<String> = Vec::new();
    // Kicks of the guest that stand in a `request` already.
    let mut kicked: Vec<usize> = Vec::new();
    let mut bases: Map<String, Value> = Map::new();
    for (at, line) in story.lines.iter().enumerate() {
        let (before, after) = (&states[at], &states[at + 1]);
        let unfit = || Unfit::Step { n: line.n, event: line.event.clone() };
        let words: Vec<&str> = line.event.split(' ').collect();
        match (line.party.as_str(), &words[..]) {
            ("front-end", [name, rest @ .., "(sent)"]) => {
                steps.push(message(name, rest, before, &bases));
            }
            ("front-end" | "back-end", ["answers", "GET_VRING_BASE", "ring", ring, base]) => {
                bases.insert((*ring).to_owned(), Value::from(*base));
            }
            ("front-end", ["kick", "ring", ring]) => steps.push(of_ring(ring, "kick")),
            ("guest", ["request", "available", "on", "ring", "0"]) => {
                let kick = |(_, later): &(usize, &Line)| {
                    later.party == "guest" && later.event == "kick ring 0"
                };
                let rest = story.lines.iter().enumerate().skip(at + 1);
                let ends =
                    |(_, later): &(usize, &Line)| !later.event.starts_with("request available");
                let kick = rest.take_while(ends).find(kick).map(|(n, _)| n);
                kicked.extend(kick);
                steps.push(if kick.is_some() { "request 1" } else { "publish 1" }.to_owned());
            }
            ("guest", ["kick", "ring", "0"]) if kicked.contains(&at) => {}
            ("guest", ["kick", "ring", ring]) => steps.push(of_ring(ring, "kick")),
            ("front-end", ["vCPUs", run]) => steps.push(format!("vcpus {run}")),
            ("driver", ["ring", ring, "set", "up", "anew", "at", index]) => {
                steps.push(of_ring(ring, &format!("renew {index}")));
            }
            ("back-end", ["state", "saved:", _]) => steps.push("read state".to_owned()),
            ("front-end", ["state", "loaded:", _]) => steps.push("write state".to_owned()),
            ("front-end", ["copies", "all", "pages"]) => steps.push("copy all".to_owned()),
            ("fault", _) if line.event.starts_with("back-end dies") => {
                steps.push("crash".to_owned())
            }
            ("back-end", ["request", _, "used", "on", "ring", ring]) if all_used(after, ring) => {
                once(&mut steps, "settle");
            }
            ("back-end", ["call", "ring", ring]) if all_used(after, ring) => {
                once(&mut steps, "notified");
            }
            ("back-end", _) | (_, [.., "(read)"] | [.., "(violates", "a", "rule)"]) => {}
            _ => return Err(unfit()),
        }
    }
    // What was sent last has been read, and what follows of it has happened.
    steps.push("barrier".to_owned());
    once(&mut steps, "settle");
    Ok(steps)
}

/// A message, as a step.
fn message(
    name: &str,
    rest: &[&str],
    before: &Map<String, Value>,
    bases: &Map<String, Value>,
) -> String {
    let (ring, number) = match rest {
        ["ring", ring, number] => (Some(*ring), Some(*number)),
        ["ring", ring] => (Some(*ring), None),
        [number] => (None, Some(*number)),
        _ => (None, None),
    };
    let value = number.and_then(|n| u64::from_str_radix(n.trim_start_matches("0x"), 16).ok());
    let known = |field: &str| before.get(field).and_then(Value::as_u64).unwrap_or(0);
    let argument = match (name, value) {
        ("SET_FEATURES", Some(value)) => {
            let offered = known("vhost-user.offered");
            match value {
                value if value & LOG_ALL != 0 => "logging".to_owned(),
                value if value == offered & !LOG_ALL => "offered".to_owned(),
                value if value == offered & !LOG_ALL & !PROTOCOL => "plain".to_owned(),
                value => value.to_string(),
            }
        }
        ("SET_PROTOCOL_FEATURES", Some(value)) => match known("vhost-user.protocol_offered") {
            offered if offered == value => "offered".to_owned(),
            _ => value.to_string(),
        },
        ("SET_VRING_BASE", Some(value)) => {
            match ring.and_then(|ring| bases.get(ring)).and_then(Value::as_str) == number {
                true => "saved".to_owned(),
                false => value.to_string(),
            }
        }
        ("SET_DEVICE_STATE_FD", Some(0)) => "save".to_owned(),
        ("SET_DEVICE_STATE_FD", Some(1)) => "load".to_owned(),
        ("SET_VRING_KICK", Some(NO_DESCRIPTOR)) => "none".to_owned(),
        ("SET_VRING_ENABLE" | "SET_STATUS", Some(value)) => value.to_string(),
        (_, Some(0) | None) => String::new(),
        (_, Some(value)) => value.to_string(),
    };
    let text = format!("{name} {argument}");
    match ring {
        // Its number is 0 and has no meaning, or it is a request of the ring alone.
        Some(ring) => of_ring(ring, text.trim_end()),
        None => text.trim_end().to_owned(),
    }
}

/// A step of a ring: that with index 0 is the one that carries requests.
fn of_ring(ring: &str, step: &str) -> String {
    if ring == "0" { step.to_owned() } else { format!("ring {ring} {step}") }
}

/// Whether the device has used all that is available.
fn all_used(state: &Map<String, Value>, ring: &str) -> bool {
    let field = |name: &str| state.get(&format!("vhost-user.rings.{ring}.{name}"));
    field("available").is_some() && field("available") == field("used")
}

/// A wait, if the last step is not the same.
fn once(steps: &mut Vec<String>, step: &str) {
    if steps.last().is_none_or(|last| last != step) {
        steps.push(step.to_owned());
    }
}
