//! `cargo xtask man`: nlbctl(1), nlbd(8) and the completions, made of what the programs take.
//!
//! The sections that no program knows are written by hand, in `packaging/man/parts`; the pages
//! nlbd.ron(5) and nlbd-protocol(7) are by hand altogether.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

/// Where everything goes.
fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging")
}

/// Writes every file.
pub(crate) fn write() -> Result<()> {
    for (name, text) in all()? {
        let path = packaging().join(name);
        let folder = path.parent().context("a folder")?;
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        println!("packaging/{name}");
    }
    Ok(())
}

/// The generated files, by their path below packaging.
fn all() -> Result<Vec<(&'static str, Vec<u8>)>> {
    let part = |name: &str| {
        let path = packaging().join("man/parts").join(name);
        std::fs::read(&path).with_context(|| path.display().to_string())
    };
    let completions = nlbctl::completions::completions;
    Ok(vec![
        ("man/nlbctl.1", nlbctl_page(&part("nlbctl.1")?)?),
        ("man/nlbd.8", nlbd_page(&part("nlbd.8")?)?),
        ("completions/nlbctl.bash", completions(Shell::Bash)),
        ("completions/_nlbctl", completions(Shell::Zsh)),
        ("completions/nlbctl.fish", completions(Shell::Fish)),
    ])
}

/// What every page begins with, up to the options. No date: equal sources make equal pages.
fn page(command: &Command, section: &str, manual: &str) -> Result<Vec<u8>> {
    let name = command.get_name().to_owned();
    let man = Man::new(command.clone()).title(name).section(section).date("");
    let man = man.source("nlbd").manual(manual);
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    Ok(text)
}

fn nlbd_page(part: &[u8]) -> Result<Vec<u8>> {
    let command = nlbd::arguments::Arguments::command().disable_version_flag(true);
    let mut text = page(&command, "8", "System Manager's Manual")?;
    text.extend_from_slice(part);
    Ok(tidy(&text))
}

fn nlbctl_page(part: &[u8]) -> Result<Vec<u8>> {
    let mut command = nlbctl::args::Arguments::command()
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        // A test runs with an environment of its own.
        .mut_arg("run_dir", |run_dir| run_dir.hide_env_values(true));
    // The verbs get to know the arguments that all have.
    command.build();
    let mut text = page(&command, "1", "User Commands")?;
    text.extend_from_slice(b".SH VERBS\nCLUSTER may be left out wherever there is only one.\n");
    verb_sections(&command, "", &mut text)?;
    text.extend_from_slice(part);
    Ok(tidy(&text))
}

/// The verbs of a command, and theirs, behind the words before them.
fn verb_sections(command: &Command, before: &str, out: &mut Vec<u8>) -> Result<()> {
    let told = |verb: &&Command| !verb.is_hide_set() && verb.get_name() != "help";
    for verb in command.get_subcommands().filter(told) {
        verb_section(verb, before, out)?;
        verb_sections(verb, &format!("{before}{} ", verb.get_name()), out)?;
    }
    Ok(())
}

/// A verb: how it is called, what it does, its own options.
fn verb_section(verb: &Command, before: &str, out: &mut Vec<u8>) -> Result<()> {
    let own: Vec<&str> = ["help", "json", "run_dir"].to_vec();
    let mut verb = verb.clone();
    for name in own {
        if verb.get_arguments().any(|argument| argument.get_id() == name) {
            verb = verb.mut_arg(name, |argument| argument.hide(true));
        }
    }
    let man = Man::new(verb.clone());
    let body = |render: &dyn Fn(&mut Vec<u8>) -> io::Result<()>| -> Result<String> {
        let mut text = Vec::new();
        render(&mut text)?;
        Ok(without_heading(&String::from_utf8(text)?))
    };
    let names: Vec<_> =
        core::iter::once(verb.get_name()).chain(verb.get_visible_aliases()).collect();
    let mut text = format!(".SS \"{before}{}\"\n", names.join(", ").replace('-', "\\-"));
    text += &body(&|out| man.render_synopsis_section(out))?;
    text += ".PP\n";
    text += &body(&|out| man.render_description_section(out))?;
    if verb.get_arguments().any(|argument| !argument.is_hide_set()) {
        text += &body(&|out| man.render_options_section(out))?;
    }
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// A section without its prelude and its `.SH`.
fn without_heading(text: &str) -> String {
    let heading =
        |line: &&str| line.starts_with(".SH") || line.starts_with(".ie") || line.starts_with(".el");
    text.lines().filter(|line| !heading(line)).map(|line| format!("{line}\n")).collect()
}

/// Without spaces at the ends of lines and empty lines, which roff would print.
fn tidy(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    lines.flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn committed_files_are_those_that_are_made() {
        for (name, made) in all().expect("made") {
            let committed = std::fs::read(packaging().join(name)).unwrap_or_default();
            assert!(made == committed, "packaging/{name} is old: cargo xtask man");
        }
    }

    /// Every field of the configuration is explained, and every page renders.
    #[test]
    fn pages_are_complete_and_render() {
        let page = |name: &str| {
            std::fs::read_to_string(packaging().join("man").join(name)).expect("a page")
        };
        let reader = packaging().join("../daemon/src/config/read.rs");
        let reader = std::fs::read_to_string(reader).expect("the reader");
        let (_, fields) = reader.split_once("CLUSTER_FIELDS: [&str;").expect("fields");
        let (fields, _) = fields.split_once("];").expect("their end");
        let fields: Vec<_> = fields.split('"').skip(1).step_by(2).collect();
        assert!(fields.len() > 15, "{fields:?}");
        let text = page("nlbd.ron.5");
        for field in fields {
            assert!(text.contains(&format!(".B {field}\n")), "nlbd.ron(5) lacks {field}");
        }
        for name in ["nlbctl.1", "nlbd.8", "nlbd.ron.5", "nlbd-protocol.7"] {
            assert!(page(name).contains(".SH \"SEE ALSO\""), "{name}");
            let man = Command::new("man")
                .args(["--warnings", "-l"])
                .arg(packaging().join("man").join(name))
                .env("MANWIDTH", "80")
                .output();
            // A machine without man still has the other checks.
            let Ok(output) = man else { continue };
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.is_empty(), "{name}: {said}");
            assert!(output.stdout.len() > 1000, "{name} is empty");
        }
    }
}
