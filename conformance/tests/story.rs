//! Counterexamples in every form: a safety property, a deadlock and a lasso; hostile text; the page in a
//! browser; a script that a back-end follows.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use devmig_conformance::story::{Story, html, itf, mail, mermaid, script};
use devmig_engine::explore::trace::Line;
use devmig_engine::system::PropertyKind;
use serde_json::{Map, Value, json};

fn devmig(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_devmig"));
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).args(arguments);
    command.output().unwrap()
}

fn shown(arguments: &[&str]) -> String {
    let output = devmig(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(errors, "", "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A safety property, a deadlock, a cycle.
const STORIES: [(&str, &str, &str); 3] = [
    ("safety", "example/copy-unmarked", "the copy equals the page"),
    ("deadlock", "multifd/source-off", "deadlock-free"),
    ("lasso", "vfio/drain-starves", "no-starvation"),
];

fn form(system: &str, property: &str, format: &str) -> String {
    shown(&["check", system, "--property", property, "--format", format])
}

/// Lines that a terminal has room for: a snapshot is for a person to read.
fn narrow(text: &str) -> String {
    let options = textwrap::Options::new(98).subsequent_indent("    \\ ");
    text.lines().map(|line| textwrap::fill(line, &options) + "\n").collect()
}

#[test]
fn each_form_of_a_safety_property_a_deadlock_and_a_lasso() {
    for (name, system, property) in STORIES {
        for format in ["mail", "mermaid"] {
            let text = form(system, property, format);
            insta::assert_snapshot!(format!("{name}-{format}"), narrow(&text));
        }
        let mut document: Value = serde_json::from_str(&form(system, property, "itf")).unwrap();
        let states = document["states"].as_array().unwrap().clone();
        // The first states are enough to read.
        document["states"] = Value::from(states[..2].to_vec());
        insta::assert_snapshot!(format!("{name}-itf"), narrow(&format!("{document:#}")));
        insta::assert_snapshot!(format!("{name}-text"), shown(&["check", system]));
    }
}

#[test]
fn a_document_of_itf_has_every_variable_in_every_state_and_its_loop_closes() {
    let mut loops = 0;
    for (_, system, property) in STORIES {
        let document: Value = serde_json::from_str(&form(system, property, "itf")).unwrap();
        let vars = document["vars"].as_array().unwrap();
        let states = document["states"].as_array().unwrap();
        assert!(!vars.is_empty() && states.len() > 1);
        for (index, state) in states.iter().enumerate() {
            assert_eq!(state["#meta"]["index"], index);
            assert_eq!(state.as_object().unwrap().len(), vars.len() + 1);
            assert!(vars.iter().all(|var| state.get(var.as_str().unwrap()).is_some()), "{state}");
        }
        let Some(at) = document.get("loop") else { continue };
        let begin = &states[usize::try_from(at.as_u64().unwrap()).unwrap()];
        let end = states.last().unwrap();
        let happened = ["action", "party", "clause"];
        for var in vars.iter().map(|var| var.as_str().unwrap()).filter(|v| !happened.contains(v)) {
            assert_eq!(begin[var], end[var], "{system}: {var} at the ends of the loop");
        }
        assert_ne!(begin["#meta"], end["#meta"]);
        loops += 1;
    }
    assert_eq!(loops, 1);
}

#[test]
fn a_mail_has_72_columns_of_ascii_and_the_command_that_reproduces_it() {
    for (_, system, property) in STORIES {
        let text = form(system, property, "mail");
        assert!(text.is_ascii() && text.lines().all(|line| line.len() <= mail::WIDTH), "{text}");
        let again = text.lines().find_map(|line| line.strip_prefix("    devmig ")).unwrap();
        let arguments: Vec<&str> = again.split(' ').collect();
        assert!(shown(&arguments).contains(property), "{again}");
    }
}

/// Text that every form has to escape.
const HOSTILE: &str = "</script><script>alert(1)</script>\u{1b}[31m\u{7f}\u{9b}\u{202e}\r\n\
                       end; loop %%{init}%% #35; \"'`$(reboot) --> p0->>p1: é <img src=x>";

fn hostile() -> Story {
    let text = HOSTILE.to_owned();
    let line = |n: usize, event: &str| Line {
        n,
        party: text.clone(),
        event: event.to_owned(),
        to: Some(format!("{text}2")),
        clause: Some(text.clone()),
        changed: Map::from_iter([(text.clone(), json!([null, text]))]),
        ..Line::default()
    };
    let vhost_user =
        Line { n: 2, party: "front-end".into(), ..line(2, &format!("{HOSTILE} (sent)")) };
    Story {
        system: format!("vhost-user/{text}"),
        about: text.clone(),
        name: text.clone(),
        clause: Some(text.clone()),
        instance: Some(text.clone()),
        kind: PropertyKind::Always,
        violated: true,
        as_expected: false,
        says: Some(text.clone()),
        why: Some(text.clone()),
        note: Some(text.clone()),
        initial: Map::from_iter([(text.clone(), Value::from(text.clone()))]),
        lines: vec![Line { party: "back-end".into(), ..line(1, HOSTILE) }, vhost_user],
        cycle_at: Some(2),
        command: format!("devmig check '{text}'"),
    }
}

/// A control character other than the end of a line, or a mark that reverses what follows.
fn acts(c: char) -> bool {
    (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c)
}

#[test]
fn hostile_text_is_text_in_every_form() {
    let story = hostile();
    let mail = mail::text(std::slice::from_ref(&story));
    assert!(mail.is_ascii() && !mail.contains(acts), "{mail:?}");
    assert!(mail.contains("alert(1)"), "it is shown all the same");

    let diagram = mermaid::text(&story);
    let heads =
        ["sequenceDiagram", "title ", "participant p", "Note over p", "loop repeats", "end"];
    for line in diagram.lines().map(str::trim) {
        let arrow = line.starts_with('p') && (line.contains("->>") || line.contains("-x"));
        assert!(arrow || heads.iter().any(|head| line.starts_with(head)), "{line:?}");
        let text = line.split_once(": ").or(line.split_once(" as ")).map_or("", |(_, text)| text);
        let text = text.replace("<br/>", "");
        let marks = |c: char| " ._/()#;-".contains(c);
        assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || marks(c)), "{text:?}");
        assert!(!text.contains("--"), "{text:?}");
        // A semicolon ends a statement, unless it ends a number.
        for before in text.split(';').filter(|_| text.contains(';')).take(text.matches(';').count())
        {
            let number = before.rsplit('#').next().unwrap();
            assert!(!number.is_empty() && number.chars().all(|c| c.is_ascii_digit()), "{text:?}");
        }
        assert!(!text.split(' ').any(|word| word == "end"), "{text:?}");
    }
    assert_eq!(diagram.matches("\n    end\n").count(), 1, "{diagram}");

    let document = itf::document(&story);
    assert_eq!(document["states"][1][HOSTILE], HOSTILE);
    assert_eq!(document["loop"], 1);

    let page = html::page(std::slice::from_ref(&story)).unwrap();
    assert!(!page.contains(acts));
    assert_eq!(page.matches("<script").count(), 2, "the data, and what shows it");
    assert!(!page.contains("<img"));

    let script = script::text(&story).unwrap();
    let read: toml::Table = toml::from_str(&script).unwrap();
    let steps = read["test"][0]["steps"].as_array().unwrap();
    assert!(steps[0].as_str().unwrap().contains("alert(1)"), "{steps:?}");
    assert_eq!(read["test"].as_array().unwrap().len(), 1);
    let comments = script.lines().take_while(|line| !line.starts_with("[["));
    assert!(comments.into_iter().all(|line| line.is_empty() || line.starts_with('#')), "{script}");
}

/// The page after the browser has run it, with a script after its own; nothing if there is no browser.
fn in_browser(page: &str, then: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page.html");
    let seen = "<pre id=\"seen\"></pre><script>const say = text => \
                document.getElementById('seen').textContent += text + '\\n';";
    std::fs::write(&file, page.replace("</body>", &format!("{seen}{then}</script></body>")))
        .unwrap();
    let mut command = Command::new("chromium");
    let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
    let fixed = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];
    command.args(fixed).arg("--virtual-time-budget=5000");
    command.args([&profile, "--dump-dom", &format!("file://{}", file.display())]);
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let Ok(mut browser) = started else {
        let needed = std::env::var_os("DEVMIG_NEEDS_CHROMIUM").is_some();
        assert!(!needed, "there is no `chromium`, and DEVMIG_NEEDS_CHROMIUM is set");
        eprintln!("SKIPPED: there is no `chromium` (Debian: apt-get install chromium)");
        return None;
    };
    // What it writes is more than a pipe holds: it is read meanwhile.
    let mut out = browser.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut out, &mut text).map(|_| text)
    });
    let begun = Instant::now();
    while browser.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(120) {
            browser.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let dom = reader.join().unwrap().unwrap();
    let seen = dom.rsplit("<pre id=\"seen\">").next().unwrap().split("</pre>").next().unwrap();
    let seen = seen.replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", " ");
    Some(seen.replace("&amp;", "&"))
}

#[test]
fn the_page_is_stepped_through_with_the_keyboard() {
    let page = shown(&["check", "example/copy-unmarked", "--format", "html"]);
    // It needs nothing else, and follows the colours of the reader's system.
    assert!(page.contains("default-src 'none'") && page.contains("prefers-color-scheme: dark"));
    for outside in ["src=", "href=", "url(", "@import", "http:", "fetch("] {
        assert!(!page.contains(outside), "{outside}");
    }
    let keys = "
        const tell = what => {
          say(what + ': ' + document.getElementById('at').textContent);
          for (const row of document.querySelectorAll('tr.changed'))
            say('    ' + [...row.children].map(cell => cell.textContent).join(' '));
        };
        say(document.getElementById('title').textContent);
        say(document.getElementById('why').textContent);
        say('lanes:' + [...document.querySelectorAll('.head span')].map(s => s.textContent).join(' '));
        tell('begin');
        const keys = ['ArrowRight', 'ArrowDown', 'ArrowLeft', 'End', 'ArrowRight', 'ArrowUp', 'Home', 'a'];
        for (const key of keys) {
          document.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
          tell(key);
        }
        say('rows: ' + document.querySelectorAll('.row').length);
        say('marked: ' + document.querySelectorAll('.now').length);";
    let Some(seen) = in_browser(&page, keys) else { return };
    insta::assert_snapshot!("page", narrow(&seen));
}

#[test]
fn a_page_shows_hostile_text_and_obeys_none_of_it() {
    let page = html::page(&[hostile()]).unwrap();
    let Some(seen) = in_browser(
        &page,
        "say(document.querySelectorAll('script').length + ' ' + document.images.length);
         document.dispatchEvent(new KeyboardEvent('keydown', { key: 'End' }));
         say(document.getElementById('title').textContent.includes('</scr' + 'ipt><scr' + 'ipt>alert(1)'));
         say(document.getElementById('state').textContent.includes('<img src=x>'));",
    ) else {
        return;
    };
    assert_eq!(seen.trim(), "3 0\ntrue\ntrue");
}

/// Runs a script on the reference back-end, with a fault or without.
fn followed(script: &Path, mutant: &str) -> (Option<i32>, String) {
    let devmig_path = env!("CARGO_BIN_EXE_devmig");
    let spawn = format!("{devmig_path} device blk {mutant} --socket-path={{socket}}");
    let script = script.to_str().unwrap();
    let fixed = ["test", "vhost-user", "--device", "blk", "--timeout", "1", "--script", script];
    let output = devmig(&[&fixed[..], &["--spawn", &spawn]].concat());
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_back_end_follows_a_counterexample_and_is_judged_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("script.toml");
    let text = form("vhost-user/restart-without-kick", "kicked-requests-come-back", "script");
    insta::assert_snapshot!("script", text);
    std::fs::write(&file, text).unwrap();
    let (code, report) = followed(&file, "");
    assert_eq!(code, Some(0), "{report}");
    assert!(report.contains("1 passed"), "{report}");
    // The conversation is judged: a fault on its way is found.
    let (code, report) = followed(&file, "--mutant base-zero");
    assert_eq!(code, Some(1), "{report}");
    assert!(report.contains("GET_VRING_BASE"), "{report}");
}

#[test]
fn what_a_form_cannot_show_is_said() {
    let cases: [(&[&str], &str); 6] = [
        (&["check", "vhost-user/load-check-first", "--format", "mermaid"], "--property NAME"),
        (&["check", "vhost-user/ring", "--format", "itf"], "there is no counterexample"),
        (&["check", "vfio/drain-starves", "--format", "script"], "no system of vhost-user"),
        (&["check", "--list", "--format", "mail"], "shows counterexamples of systems"),
        (&["check", "vhost-user/ring", "--width", "7"], "--width"),
        (
            &[
                "check",
                "vhost-user/move-without-buffer",
                "--property",
                "no-request-lost",
                "--format",
                "script",
            ],
            "is no step of a test",
        ),
    ];
    for (arguments, said) in cases {
        let output = devmig(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(said), "{arguments:?}: {errors}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_trace_fits_the_width_and_hides_what_is_not_asked_for() {
    let system = "vhost-user/crash-unrecorded";
    let wide = shown(&["check", system]);
    let narrow = shown(&["check", system, "--width", "60"]);
    let widest = |text: &str| text.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(widest(&wide) > 60 && widest(&wide) <= 100, "{wide}");
    let traces = narrow.lines().filter(|line| !line.starts_with("  holds"));
    assert!(traces.clone().count() > 20);
    let longest = traces.clone().filter(|line| line.chars().count() > 60);
    // What is first in a line, and the name of a property, are broken nowhere.
    assert_eq!(longest.filter(|line| line.contains(" -> ")).count(), 0, "{narrow}");
    assert!(wide.contains("run connect, 4 messages"), "{wide}");
    assert!(!shown(&["check", system, "--full"]).contains("run connect"));
    let hidden = shown(&["check", system, "--hide", "vhost-user.*", "--hide", "fetch*"]);
    assert!(wide.contains("vhost-user.rings") && wide.contains("fetch 0"));
    let steps = |text: &str| text.lines().filter(|line| line.contains(" -> ")).count();
    assert!(steps(&hidden) < steps(&wide) && !hidden.contains("fetch 0"), "{hidden}");
}

#[test]
fn a_proposal_says_what_is_incomplete_and_what_was_expected() {
    let proposal = ["--proposal", "specs/proposals/suspend.toml"];
    let cut = ["check", "vhost-user/stop-start", "--max-states", "100"];
    let output = devmig(&[&cut[..], &proposal].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("incomplete: stopped at 100 states"), "{text}");
    let text = shown(&[&["check", "vhost-user/suspend-status-0"], &proposal[..]].concat());
    for wanted in ["[vhost-user.status.read-back] (as expected)", "      says: ", "      why: "] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    // Dead ends: who owes what, and what is waited for.
    let text = shown(&["check", "vhost-user/load-check-first"]);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for wanted in ["The back-end owes: answer", "waits until `transferred`", "step 6 of 7"] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    // Options that make no difference.
    let choice = ["--choices", "vhost-user.get-vring-base.kick"];
    let text = shown(&[&["decide", "vhost-user/negotiation"], &choice[..]].concat());
    assert!(text.contains("makes a difference to a property of this system"), "{text}");
}
