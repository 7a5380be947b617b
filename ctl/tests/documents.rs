//! The documents say what the command does: its verbs and options, and what `preflight` prints for
//! switches and routers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};
use nlbctl::args::{Arguments, Mode};
use nlbctl::preflight::advice;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// README.md and everything in `docs/`, with their names.
fn documents() -> Vec<(String, String)> {
    let mut paths = vec![root().join("README.md")];
    let folder = std::fs::read_dir(root().join("docs")).expect("docs/");
    paths.extend(
        folder
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "md")),
    );
    let read = |path: &PathBuf| std::fs::read_to_string(path).expect("a document");
    paths.iter().map(|path| (path.display().to_string(), read(path))).collect()
}

/// What follows `nlbctl` where it is a command: at the beginning of a line of code, after a prompt,
/// or in backquotes.
fn commands(text: &str) -> impl Iterator<Item = &str> {
    let code = |line: &str| line.trim_start().trim_start_matches(['#', '$', ' ']).to_owned();
    text.lines().flat_map(move |line| {
        let whole = code(line).starts_with("nlbctl ").then(|| {
            let (_, rest) = line.split_once("nlbctl ").unwrap_or_default();
            rest
        });
        let quoted = line.split('`').skip(1).step_by(2).filter_map(|code| {
            let (before, rest) = code.split_once("nlbctl ")?;
            (before.is_empty() || before.ends_with("sudo ")).then_some(rest)
        });
        whole.into_iter().chain(quoted)
    })
}

fn long_options(command: &Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(|argument| argument.get_long());
    own.chain(["json", "run-dir", "help", "version"]).map(str::to_owned).collect()
}

#[test]
fn every_command_in_the_documents_exists() {
    let nlbctl = Arguments::command();
    let mut seen = 0;
    for (name, text) in documents() {
        for line in commands(&text) {
            let line = line.split(" #").next().unwrap_or_default();
            let mut words = line.split_whitespace().skip_while(|word| word.starts_with('-'));
            let Some(verb) = words.next() else { continue };
            // Prose: "nlbctl and the daemon", "nlbctl …".
            let verb = verb.trim_end_matches([',', '.', ':', ';', ')']);
            if !verb.starts_with(|c: char| c.is_ascii_lowercase()) {
                continue;
            }
            let Some(command) = nlbctl.find_subcommand(verb) else {
                panic!("{name}: there is no `nlbctl {verb}`: {line}")
            };
            seen += 1;
            // `key` and `debug` have verbs of their own.
            let mut known = long_options(command);
            for word in words {
                if let Some(inner) = command.find_subcommand(word) {
                    known.extend(long_options(inner));
                }
                let Some(option) = word.trim_matches(['[', ']', '`', '.', ',']).strip_prefix("--")
                else {
                    continue;
                };
                let option = option.split(['=', '|']).next().unwrap_or_default();
                assert!(
                    known.contains(option),
                    "{name}: `nlbctl {verb}` has no --{option}: {line}"
                );
            }
        }
    }
    assert!(seen > 40, "only {seen} commands were found: is the search right?");
}

#[test]
fn every_verb_is_explained_somewhere() {
    let all: String = documents().into_iter().map(|(_, text)| text).collect();
    for verb in Arguments::command().get_subcommands().map(Command::get_name) {
        assert!(all.contains(&format!("nlbctl {verb}")), "no document has `nlbctl {verb}`");
    }
}

/// Whoever reads the document, and whoever runs the command, pastes the same.
#[test]
fn the_document_on_networks_has_what_preflight_prints() {
    let text = std::fs::read_to_string(root().join("docs/network.md")).expect("docs/network.md");
    for (mode, mac) in [
        (Mode::Unicast, "02:4e:4c:42:HH:LL"),
        (Mode::Multicast, "03:4e:4c:42:HH:LL"),
        (Mode::Igmp, "01:00:5e:7f:HH:LL"),
    ] {
        // The first says in words what the document says at greater length.
        for network in advice(mode, None, mac, &[]).iter().skip(1) {
            let block = format!("# {}\n{}\n", network.device, network.lines);
            assert!(text.contains(&block), "docs/network.md lacks, {mode:?}:\n{block}");
        }
    }
}
