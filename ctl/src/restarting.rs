//! Whether systemd is restarting a unit: then its `ExecStop=` announces a restart, else not.

use std::process::Command;

use crate::failure::Failure;

/// The program that is asked.
const SYSTEMCTL: &str = "systemctl";

/// Whether systemd has a job that restarts the unit.
///
/// # Errors
/// When it cannot be asked: whoever wants to know has to decide otherwise.
pub(crate) fn is_restarting(unit: &str) -> Result<bool, Failure> {
    ask(SYSTEMCTL, unit).map_err(|reason| Failure::NoSystemd { unit: unit.to_owned(), reason })
}

fn ask(systemctl: &str, unit: &str) -> Result<bool, String> {
    let jobs = Command::new(systemctl)
        .args(["list-jobs", "--no-legend", "--plain", "--full", unit])
        .output()
        .map_err(|error| format!("{systemctl}: {error}"))?;
    if !jobs.status.success() {
        let said = String::from_utf8_lossy(&jobs.stderr);
        return Err(format!("{systemctl}: {}: {}", jobs.status, said.trim()));
    }
    Ok(names_restart(&String::from_utf8_lossy(&jobs.stdout), unit))
}

/// Whether a list of jobs (number, unit, type, state) has a restart of the unit.
fn names_restart(jobs: &str, unit: &str) -> bool {
    jobs.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        matches!(words.as_slice(), [_, name, "restart" | "try-restart", ..] if *name == unit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_restart_of_the_unit_is_one() {
        let unit = "nlbd.service";
        for (jobs, restarts) in [
            ("", false),
            ("123 nlbd.service restart running\n", true),
            ("9 x.service stop running\n123 nlbd.service try-restart waiting\n", true),
            ("123 nlbd.service stop running\n", false),
            ("123 nlbd.service start waiting\n", false),
            ("123 other-nlbd.service restart running\n", false),
            ("restart nlbd.service\n", false),
        ] {
            assert_eq!(names_restart(jobs, unit), restarts, "{jobs}");
        }
    }

    #[test]
    fn systemd_that_cannot_be_asked_is_no_answer() {
        let missing = ask("/nonexistent/systemctl", "nlbd.service");
        assert!(missing.is_err_and(|reason| reason.contains("No such file")));
        let failed = ask("false", "nlbd.service");
        assert!(failed.is_err_and(|reason| reason.contains("exit status: 1")));
    }
}
