//! The package, from its installation to its purge.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nlb_system::machines::{deb, install, wait_settled};
use nlb_system::{Machine, Machines};
use nlb_tests::load::Summary;
use nlb_tests::wait::wait_until;

const SOON: Duration = Duration::from_secs(20);
/// New connections a second.
const RATE: u32 = 200;

/// Every file of a machine, but what runs, what logs, and what the package manager writes.
const FILES: &str = "find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /tmp -o \
                     -path /root -o -path /dev -o -path /var/log -o -path /var/cache -o \
                     -path /var/tmp -o -path /var/lib/apt -o -path /var/lib/dpkg -o \
                     -path /var/lib/systemd -o -name '*-' \\) -prune -o -print";

fn property(machine: &Machine, name: &str) -> Result<String> {
    Ok(machine.sh(&format!("systemctl show --value -p {name} nlbd"))?.trim().to_owned())
}

/// Runs `change` under load, and says what clients saw. None may fail, and nothing may be answered
/// by two servers.
fn under_load(
    all: &Machines,
    first: u32,
    what: &str,
    change: impl FnOnce() -> Result<()>,
) -> Result<Summary> {
    let watcher = all.watch()?;
    let load = all.load(RATE, first)?;
    let rest = || {
        let so_far = load.begun();
        wait_until("load", SOON, || load.begun() >= so_far + 2 * RATE)
    };
    rest()?;
    change()?;
    rest()?;
    let attempts = load.finish()?;
    let sum = Summary::of(&attempts);
    println!("{what}: {sum}");
    // What passed, and who had it: that is what a broken connection is explained by.
    for failed in attempts.iter().filter(|attempt| attempt.server.is_err()) {
        println!("{failed:?}");
        for passed in watcher.ledger().segments.of_client(failed.source) {
            println!("{passed:?}");
        }
        for machine in &all.machines {
            let said = machine.output(&format!("nlbctl explain {}", failed.source))?;
            println!("{}: {}", machine.name, String::from_utf8_lossy(&said.stdout));
        }
    }
    ensure!(sum.attempts >= 4 * RATE as usize && sum.failed == 0, "{what}: {sum}");
    watcher.check().with_context(|| what.to_owned())?;
    Ok(sum)
}

#[test]
#[ignore = "runs whole machines: cargo xtask test-system"]
fn three_commands_make_a_cluster_that_restarts_and_upgrades_unnoticed() -> Result<()> {
    Machines::test(3, restarts_and_upgrades)
}

fn restarts_and_upgrades(all: &Machines) -> Result<()> {
    all.join_all()?;
    let servers = under_load(all, 0, "at rest", || Ok(()))?.servers;
    ensure!(servers.len() == 3, "not all serve: {servers:?}");

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

    under_load(all, 3_000_000, "systemctl reload", || {
        all.machines[1].write(
            "/etc/nlbd/nlbd.d/50-ports.ron",
            "(clusters: {\"nlb0\": (weight: Manual(200))})\n",
        )?;
        all.machines[1].sh("systemctl reload nlbd")?;
        all.wait_settled(3)
    })?;
    all.machines[1].write("/etc/nlbd/nlbd.d/50-ports.ron", "(clusters: nonsense)\n")?;
    let refused = all.machines[1].output("systemctl reload nlbd")?;
    ensure!(!refused.status.success(), "a wrong configuration was taken");
    all.machines[1].sh("rm /etc/nlbd/nlbd.d/50-ports.ron && systemctl reload nlbd")?;

    // Unlike the others, a crash may cost a retransmission: held packets went with the process.
    under_load(all, 4_000_000, "kill -9", || {
        let before = property(&all.machines[2], "MainPID")?;
        all.machines[2].sh(&format!("kill -9 {before}"))?;
        wait_until("the next process", SOON, || {
            property(&all.machines[2], "MainPID").is_ok_and(|pid| pid != before && pid != "0")
                && property(&all.machines[2], "ActiveState").is_ok_and(|state| state == "active")
        })?;
        ensure!(property(&all.machines[2], "NRestarts")? == "1", "systemd did not restart it");
        all.wait_settled(3)
    })?;

    under_load(all, 5_000_000, "systemctl stop", || {
        all.machines[2].sh("systemctl stop nlbd")?;
        wait_settled(&all.machines[0], 2)
    })?;
    let rules = all.machines[2].sh("nft list ruleset")?;
    ensure!(!rules.contains("nlb"), "rules stayed behind: {rules}");
    Ok(())
}

#[test]
#[ignore = "runs whole machines: cargo xtask test-system"]
fn remove_keeps_the_configuration_and_purge_nothing() -> Result<()> {
    let all = Machines::start(1)?;
    let machine = &all.machines[0];
    let files = || -> Result<BTreeSet<String>> {
        Ok(machine.sh(FILES)?.lines().map(str::to_owned).collect())
    };
    let people = "cat /etc/passwd /etc/group";
    let (before, who) = (files()?, machine.sh(people)?);
    install(machine, &deb(1)?)?;
    machine.sh("nlbctl addif eth0 --address 192.0.2.50")?;
    wait_settled(machine, 1)?;
    ensure!(machine.sh("id -un nlbd-check")?.trim() == "nlbd-check");
    ensure!(machine.sh("id -un nlbd")?.trim() == "nlbd");

    machine.sh("apt-get remove -y nlbd 2>&1")?;
    ensure!(machine.output("pgrep -x nlbd")?.stdout.is_empty(), "it still runs");
    let kept = machine.sh("ls /etc/nlbd /etc/nlbd/nlbd.d")?;
    for file in ["nlbd.ron", "nlb0.key", "90-nlbctl-nlb0.ron"] {
        ensure!(kept.contains(file), "remove took {file}: {kept}");
    }
    for (what, look) in [("rules", "nft list ruleset"), ("links", "ip -br link show type dummy")] {
        let left = machine.sh(look)?;
        ensure!(!left.contains("nlb"), "{what} stayed behind: {left}");
    }
    let address = machine.sh("ip -br address")?;
    ensure!(!address.contains("192.0.2.50"), "the address stayed behind: {address}");

    // What was kept serves again.
    install(machine, &deb(1)?)?;
    wait_settled(machine, 1)?;

    machine.sh("apt-get purge -y nlbd 2>&1")?;
    let after = files()?;
    let (new, gone): (Vec<_>, Vec<_>) =
        (after.difference(&before).collect(), before.difference(&after).collect());
    ensure!(new.is_empty() && gone.is_empty(), "left behind {new:?}; missing {gone:?}");
    ensure!(machine.sh(people)? == who, "users or groups stayed behind");
    let run = machine.sh("ls -a /run")?;
    ensure!(!run.contains("nlbd"), "/run: {run}");
    let units = machine.sh("systemctl list-units --all --no-legend 'nlbd*'")?;
    ensure!(units.trim().is_empty(), "units: {units}");
    Ok(())
}

/// What earlier packages did: the daemon is root, and so is the owner of everything.
const AS_ROOT: &str =
    "[Service]\nUser=root\nGroup=root\nSupplementaryGroups=\nAmbientCapabilities=\n";

#[test]
#[ignore = "runs whole machines: cargo xtask test-system"]
fn an_upgrade_from_a_daemon_that_was_root_goes_unnoticed() -> Result<()> {
    Machines::test(2, |all| {
        all.join_all()?;
        let drop_in = "/etc/systemd/system/nlbd.service.d/root.conf";
        for machine in &all.machines {
            machine.sh("systemctl stop nlbd nlbd-checks.socket nlbd-priority.socket")?;
            machine.sh("chown -R root:root /etc/nlbd")?;
            machine.write(drop_in, AS_ROOT)?;
            machine.sh("systemctl daemon-reload && systemctl start nlbd")?;
        }
        all.wait_settled(2)?;
        let first = &all.machines[0];
        let owners = "stat -c %U /etc/nlbd /etc/nlbd/nlbd.d /etc/nlbd/nlb0.key /run/nlbd \
                      /run/nlbd/org.nlbd.Cluster | sort -u";
        ensure!(first.sh(owners)?.trim() == "root", "root's: {}", first.sh("ls -lR /etc/nlbd")?);
        under_load(all, 0, "upgrade from root's daemon", || {
            for machine in &all.machines {
                machine.sh(&format!("rm {drop_in}"))?;
                install(machine, &deb(2)?)?;
                all.wait_settled(2)?;
            }
            Ok(())
        })?;
        for machine in &all.machines {
            let owner = machine.sh(owners)?;
            ensure!(owner.trim() == "nlbd", "{owner}");
            ensure!(machine.sh("ps -o user= -C nlbd")?.contains("nlbd"), "it is not nlbd's");
            let journal = machine.journal("nlbd");
            ensure!(journal.contains("nlbd ends for a restart"), "no restart: {journal}");
        }
        // It writes its configuration, and has a name on the bus.
        first.sh("nlbctl addif eth0 --address 192.0.2.51 && busctl tree org.nlbd1")?;
        first.sh("systemctl reload nlbd")?;
        Ok(())
    })
}

#[test]
#[ignore = "runs whole machines: cargo xtask test-system"]
fn a_key_is_rotated_without_interruption() -> Result<()> {
    Machines::test(2, |all| {
        all.join_all()?;
        let (first, second) = (&all.machines[0], &all.machines[1]);
        let old = first.sh("nlbctl key export")?;
        under_load(all, 0, "key rotation", || {
            for step in 1..=3 {
                let said = first.sh("nlbctl key rotate")?;
                ensure!(said.contains(&format!("Step {step} of 3")), "{said}");
                let early = first.output("nlbctl key rotate")?;
                ensure!(
                    !early.status.success(),
                    "step {step} is not everywhere, and the next came"
                );
                let key = first.sh("nlbctl key export")?;
                second.sh(&format!("printf '%s' '{key}' | nlbctl key import"))?;
                all.wait_settled(2)?;
            }
            Ok(())
        })?;
        let new = first.sh("nlbctl key export")?;
        ensure!(new != old && new == second.sh("nlbctl key export")?, "the keys differ");
        // An unrelated key would tear the cluster apart.
        let other = second.output(&format!("printf '%s' '{old}' | nlbctl key import"))?;
        ensure!(!other.status.success(), "an old key was taken");
        ensure!(second.sh("stat -c '%a %U' /etc/nlbd/nlb0.key")?.trim() == "600 nlbd");
        Ok(())
    })
}

#[test]
#[ignore = "runs whole machines: cargo xtask test-system"]
fn an_interface_may_come_later_and_be_renamed() -> Result<()> {
    Machines::test(2, |all| {
        all.join_all()?;
        let machine = &all.machines[1];
        machine.sh("systemctl stop nlbd; ip link set eth0 down; ip link set eth0 name lan0")?;
        // Started without its interface it waits, and says so.
        machine.sh("systemctl start nlbd")?;
        let said = machine.output("nlbctl status")?;
        ensure!(said.status.code() == Some(5), "{}", String::from_utf8_lossy(&said.stdout));
        wait_settled(&all.machines[0], 1)?;
        let number = machine.name.trim_start_matches('n');
        let back = "ip link set lan0 name eth0; ip link set eth0 up";
        let routes = "ip route replace 10.0.0.0/8 via 192.0.2.200";
        machine.sh(&format!("{back}; ip addr replace 192.0.2.{number}/24 dev eth0; {routes}"))?;
        all.wait_settled(2)?;
        under_load(all, 0, "after the interface came", || Ok(())).map(drop)
    })
    .context("an interface that comes later")
}
