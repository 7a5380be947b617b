//! The libraries that the programs contain, and their licences.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};

use super::output;
use crate::command::cargo;

/// One line for each library: name, version, licence.
pub(super) fn list() -> Result<String> {
    let words = ["--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}\t{l}"];
    let tree = cargo("tree").args(words).args(["-p", "nlbd", "-p", "nlbctl"]);
    let tree = output(tree)?;
    let lines: BTreeSet<String> = tree
        .lines()
        // Our own crates name their folder.
        .filter(|line| !line.contains("(/") && !line.trim().is_empty())
        .map(|line| {
            let (package, licence) = line.split_once('\t').context("a package and a licence")?;
            let licence = licence.trim_end_matches(" (*)");
            Ok(format!("{} {licence}", package.replace(" (proc-macro)", "")))
        })
        .collect::<Result<_>>()?;
    let head = "Libraries in nlbd and nlbctl: name, version, licence (SPDX).\n\n";
    Ok(format!("{head}{}\n", Vec::from_iter(lines).join("\n")))
}
