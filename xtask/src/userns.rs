//! Rights for an ordinary user: a user namespace, where the kernel allows one.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nlb_tests::netns::check_allowed;

use crate::command::Run;

/// Set inside the user namespace, so that nobody makes a second one.
const INSIDE: &str = "NLB_XTASK_INSIDE";

/// The words that run a program with the right to make network namespaces; none when this process
/// has it already.
///
/// # Errors
/// When there is no way to that right, with what an administrator could change.
pub(crate) fn prefix() -> Result<Vec<&'static str>> {
    let Err(error) = check_allowed() else { return Ok(Vec::new()) };
    let words = ["unshare", "--user", "--map-root-user", "--net", "--mount"];
    let tried = Command::new(words[0]).args(&words[1..]).arg("true").output();
    if std::env::var_os(INSIDE).is_none() && tried.is_ok_and(|tried| tried.status.success()) {
        return Ok(words.to_vec());
    }
    bail!(
        "{error:#}\nThis kernel gives an ordinary user no user namespace. Run as root, or let an \
         administrator set kernel.unprivileged_userns_clone=1 (Debian), \
         kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu) or user.max_user_namespaces"
    )
}

/// The command with the right to make network namespaces.
///
/// # Errors
/// When there is no way to that right.
pub(crate) fn with_rights(run: Run) -> Result<Run> {
    let prefix = prefix()?;
    if prefix.is_empty() {
        return Ok(run);
    }
    Ok(run.behind(&prefix).env(INSIDE, "1"))
}

/// Goes on inside a user namespace with the same arguments, if that is what it takes. Returns
/// only when this process has the rights itself.
///
/// # Errors
/// When there is no way to them.
pub(crate) fn enter() -> Result<()> {
    let prefix = prefix()?;
    let Some((unshare, options)) = prefix.split_first() else { return Ok(()) };
    let own = std::env::current_exe().context("own path")?;
    let mut command = Command::new(unshare);
    command.args(options).arg(own).args(std::env::args_os().skip(1)).env(INSIDE, "1");
    Err(command.exec()).context("unshare")
}

/// Whether this process lives in a user namespace made here.
pub(crate) fn inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}
