//! Where nobody may give heartbeats priority, as in many containers: the daemon works all the same,
//! and says what it lacks where administrators look.

use std::time::Duration;

use anyhow::{Result, ensure};
use nlb_system::{Machine, Machines};
use nlb_tests::wait::wait_for;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);
/// In the journal, and as an event.
const SAID: &str = "heartbeats run at ordinary priority";

/// Whether the status says that there is no priority, as soon as it can know.
fn is_ordinary(machine: &Machine) -> Result<bool, String> {
    let said = machine.output("nlbctl --json status").map_err(|error| format!("{error:#}"))?;
    let status: Value = serde_json::from_slice(&said.stdout).map_err(|error| error.to_string())?;
    let cluster = &status["clusters"][0];
    if cluster["state"] != "active" {
        return Err(cluster.to_string());
    }
    cluster["ordinary_priority"].as_bool().ok_or_else(|| cluster.to_string())
}

/// How often the journal says it since the unit was last started.
fn said(machine: &Machine) -> Result<usize> {
    let id = machine.sh("systemctl show --value -p InvocationID nlbd")?;
    let lines = machine.sh(&format!("journalctl _SYSTEMD_INVOCATION_ID={} -o cat", id.trim()))?;
    Ok(lines.matches(SAID).count())
}

/// Serves, and says once that it has no priority.
fn lacks(machine: &Machine) -> Result<()> {
    wait_for("ordinary priority", SOON, || match is_ordinary(machine)? {
        true => Ok(()),
        false => Err("not known".to_owned()),
    })?;
    wait_for("a line of the journal", SOON, || match said(machine) {
        Ok(1) => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    // Not a word against the service: it is told beside it.
    let status = machine.sh("nlbctl status")?;
    ensure!(status.contains("heartbeats have no priority here"), "{status}");
    let property = "org.nlbd1 /org/nlbd1/cluster/nlb0 org.nlbd1.Cluster OrdinaryPriority";
    // The bus is told of what is no event within a second.
    wait_for("the property", SOON, || {
        match machine.sh(&format!("busctl get-property {property}")) {
            Ok(told) if told.trim() == "b true" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })?;
    let failed = machine.sh("systemctl --failed --no-legend")?;
    ensure!(!failed.contains("nlbd"), "{failed}");
    Ok(())
}

#[test]
#[ignore = "runs whole machines: cargo xtask test-system"]
fn a_daemon_without_a_right_to_priority_serves_and_says_so_once() -> Result<()> {
    Machines::test(1, |all| {
        all.join_all()?;
        let machine = &all.machines[0];
        if machine.output("chrt -r 1 true")?.status.success() {
            std::thread::sleep(Duration::from_secs(4));
            ensure!(is_ordinary(machine).map_err(anyhow::Error::msg).is_ok_and(|it| !it));
            ensure!(said(machine)? == 0, "it has priority");
        }
        // Nobody who gives it.
        machine.sh("systemctl mask --now nlbd-priority.socket && systemctl restart nlbd")?;
        lacks(machine)?;
        // Somebody who may not: a container without the capability.
        machine.write(
            "/etc/systemd/system/nlbd-priority@.service.d/none.conf",
            "[Service]\nCapabilityBoundingSet=\n",
        )?;
        machine.sh("systemctl unmask nlbd-priority.socket && systemctl daemon-reload && \
             systemctl start nlbd-priority.socket && systemctl restart nlbd")?;
        lacks(machine)
    })
}
