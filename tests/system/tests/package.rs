//! The package on three stock machines, from its installation to its purge.

use std::time::Duration;

use anyhow::{Result, ensure};
use nlb_system::machines::{deb, install};
use nlb_system::{Machine, Machines};
use nlb_tests::load::Summary;
use nlb_tests::wait::wait_until;

const SOON: Duration = Duration::from_secs(20);
/// New connections a second.
const RATE: u32 = 200;

fn property(machine: &Machine, name: &str) -> Result<String> {
    Ok(machine.sh(&format!("systemctl show --value -p {name} nlbd"))?.trim().to_owned())
}

/// Runs `change` under load, and says what clients saw. None may fail.
fn under_load(
    all: &Machines,
    first: u32,
    what: &str,
    change: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let load = all.load(RATE, first)?;
    let rest = || {
        let so_far = load.begun();
        wait_until("load", SOON, || load.begun() >= so_far + 2 * RATE)
    };
    rest()?;
    change()?;
    rest()?;
    let sum = Summary::of(&load.finish()?);
    println!("{what}: {sum}");
    ensure!(sum.attempts >= 4 * RATE as usize && sum.failed == 0, "{what}: {sum}");
    Ok(())
}

#[test]
#[ignore = "runs whole machines: cargo xtask test-system"]
fn three_commands_make_a_cluster_that_restarts_and_upgrades_unnoticed() -> Result<()> {
    Machines::test(3, restarts_and_upgrades)
}

fn restarts_and_upgrades(all: &Machines) -> Result<()> {
    all.join_all()?;
    under_load(all, 0, "at rest", || Ok(()))?;

    let before = property(&all.machines[0], "MainPID")?;
    under_load(all, 1_000_000, "systemctl restart", || {
        all.machines[0].sh("systemctl restart nlbd")?;
        all.wait_settled(3)
    })?;
    ensure!(property(&all.machines[0], "MainPID")? != before, "it was not restarted");

    under_load(all, 2_000_000, "upgrade of all", || {
        for machine in &all.machines {
            install(machine, &deb(2)?)?;
            all.wait_settled(3)?;
        }
        Ok(())
    })?;
    for machine in &all.machines {
        let version = machine.sh("dpkg-query -W -f '${Version}' nlbd")?;
        ensure!(version.ends_with("-2"), "{version}");
    }

    under_load(all, 3_000_000, "systemctl stop", || {
        all.machines[2].sh("systemctl stop nlbd")?;
        Ok(())
    })
}
