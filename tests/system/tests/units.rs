//! Checks of systemd units, against the real systemd: a server whose unit does not run withdraws,
//! and comes back with it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nlb_system::{Machine, Machines};
use nlb_tests::load::Summary;
use nlb_tests::wait::wait_for;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);
/// Every 300 ms, twice, and 200 ms for an answer; and what telling the others takes.
const OUT: Duration = Duration::from_millis(300 * 2 + 200 + 1500);

/// A service, and the check of it.
const SERVICE: &str = "[Service]\nExecStart=/bin/sleep infinity\n";
const CHECK: &str = "(clusters: {\"nlb0\": (checks: [Unit(name: \"web.service\", interval_ms: 300, \
                     timeout_ms: 200, rise: 2, fall: 2)])})\n";

/// What a machine says of its cluster.
fn cluster(machine: &Machine) -> Result<Value, String> {
    // Its exit status says whether all is well, which it is not here at times.
    let said = machine.output("nlbctl --json status").map_err(|error| format!("{error:#}"))?;
    let status: Value = serde_json::from_slice(&said.stdout).map_err(|error| error.to_string())?;
    Ok(status["clusters"][0].clone())
}

/// Waits until the check passes or not, with these words.
fn wait_check(machine: &Machine, passes: bool, words: &str) -> Result<()> {
    wait_for(&format!("{}: {words}", machine.name), SOON, || {
        let check = cluster(machine)?["checks"][0].clone();
        let said = check["passes"] == passes && check["message"] == words;
        if said { Ok(()) } else { Err(check.to_string()) }
    })
}

/// Waits until n1 has no buckets any more, as another sees it.
fn wait_out(machine: &Machine) -> Result<()> {
    wait_for("n1 out of the table", SOON, || {
        let nodes = cluster(machine)?["nodes"].clone();
        let first = nodes.as_array().and_then(|all| all.iter().find(|node| node["name"] == "n1"));
        let out = first.is_some_and(|node| node["state"] != "active" && node["buckets"] == 0);
        if out { Ok(()) } else { Err(nodes.to_string()) }
    })
}

#[test]
#[ignore = "runs whole machines: cargo xtask test-system"]
fn a_server_whose_unit_stops_withdraws_and_comes_back() -> Result<()> {
    Machines::test(2, |all| {
        all.join_all()?;
        for machine in &all.machines {
            machine.write("/etc/systemd/system/web.service", SERVICE)?;
            machine.sh("systemctl daemon-reload && systemctl start web")?;
            machine.write("/etc/nlbd/nlbd.d/95-check.ron", CHECK)?;
            machine.sh("systemctl reload nlbd")?;
            wait_check(machine, true, "active")?;
        }
        all.wait_settled(2)?;
        let (first, second) = (&all.machines[0], &all.machines[1]);
        let load = all.load(50, 7_000_000)?;
        for (stop, message) in [
            // It forgets units that are stopped and that nothing asks for.
            ("systemctl stop web", "systemd runs no unit web.service"),
            ("systemctl kill --signal=KILL web", "the unit is failed"),
            (
                "systemctl stop web && rm /etc/systemd/system/web.service && systemctl daemon-reload",
                "systemd runs no unit web.service",
            ),
        ] {
            let begun = Instant::now();
            first.sh(stop)?;
            wait_out(second)?;
            let took = begun.elapsed();
            println!("{stop}: out of the table after {took:?}");
            ensure!(took < OUT, "{stop}: out of the table after {took:?}, allowed {OUT:?}");
            wait_check(first, false, message)?;
            first.write("/etc/systemd/system/web.service", SERVICE)?;
            first
                .sh("systemctl daemon-reload && systemctl reset-failed web; systemctl start web")?;
            wait_check(first, true, "active")?;
            all.wait_settled(2)?;
            println!("{stop}: undone, and back after {:?}", begun.elapsed());
        }
        let summary = Summary::of(&load.finish()?);
        ensure!(summary.failed == 0, "{summary}");
        Ok(())
    })
}
