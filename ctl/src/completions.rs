//! Completions for shells, made of the arguments.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Arguments;

/// The file for a shell.
#[must_use]
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut command = Arguments::command();
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "nlbctl", &mut text);
    text
}
