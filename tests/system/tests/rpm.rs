//! The .rpm: taken by rpm and by dnf, its scriptlets run, its unit used.
//!
//! Machines are Debian's, so what the package requires is not in their rpm database: rpm is told
//! to go on without, and dnf gets a package that provides it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nlb_system::Machines;
use nlb_system::machines::{rpm, wait_settled};

#[test]
#[ignore = "runs whole machines: cargo xtask test-system"]
fn rpm_installs_upgrades_and_erases() -> Result<()> {
    let all = Machines::start(1)?;
    let machine = &all.machines[0];
    for revision in [1, 2] {
        machine.put(&rpm(revision)?)?;
    }
    let file = |revision| -> Result<String> {
        let path = rpm(revision)?;
        let name = path.file_name().and_then(|name| name.to_str()).context("a package")?;
        Ok(format!("/root/{name}"))
    };
    let without = "--nodeps --noplugins";
    machine.sh(&format!("rpm --install {without} {} 2>&1", file(1)?))?;
    ensure!(machine.sh("rpm --verify --nodeps nlbd")?.trim().is_empty());
    machine.sh(
        "systemd-analyze verify --man=no nlbd.service nlbd-checks.socket nlbd-priority.socket 2>&1",
    )?;
    machine.sh("id nlbd-check && id nlbd")?;
    machine.sh("systemctl enable --now nlbd && nlbctl addif eth0 --address 192.0.2.50")?;
    wait_settled(machine, 1)?;

    let pid = "systemctl show --value -p MainPID nlbd";
    let before = machine.sh(pid)?;
    machine.sh(&format!("rpm --upgrade {without} {} 2>&1", file(2)?))?;
    wait_settled(machine, 1)?;
    ensure!(machine.sh(pid)? != before, "the upgrade did not restart the daemon");
    let journal = machine.journal("nlbd");
    ensure!(journal.contains("nlbd ends for a restart"), "no restart without a gap: {journal}");

    machine.sh("rpm --erase --noplugins nlbd 2>&1")?;
    ensure!(machine.output("pgrep -x nlbd")?.stdout.is_empty(), "it still runs");
    ensure!(!machine.sh("nft list ruleset")?.contains("nlb"), "rules stayed behind");
    let units = machine.sh("find /etc/systemd/system -name 'nlbd*'")?;
    ensure!(units.is_empty(), "units stayed behind: {units}");
    ensure!(machine.sh("ls /etc/nlbd")?.contains("nlb0.key"), "the key went with the package");
    Ok(())
}

fn run(command: &mut Command) -> Result<String> {
    let ended = command.output().with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    let complained = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.success(), "{command:?}: {}\n{said}{complained}", ended.status);
    Ok(said)
}

/// A package that provides what ours requires.
fn stand_in(folder: &Path, package: &Path) -> Result<()> {
    let requires = run(Command::new("rpm").args(["-qp", "--requires"]).arg(package))?;
    let mut provides = String::new();
    for line in requires.lines().filter(|line| !line.starts_with("rpmlib(")) {
        provides += &format!("Provides: {}\n", line.replace(">=", "="));
    }
    let spec = folder.join("stand-in.spec");
    let text = format!(
        "Name: stand-in\nVersion: 1\nRelease: 1\nSummary: What a distribution has\nLicense: MIT\n\
         BuildArch: noarch\n{provides}%description\nFor a test.\n%files\n"
    );
    fs::write(&spec, text)?;
    let top = format!("_topdir {}", folder.join("build").display());
    let to = format!("_rpmdir {}", folder.join("repository").display());
    run(Command::new("rpmbuild").args(["-bb", "--define", &top, "--define", &to]).arg(&spec))?;
    Ok(())
}

#[test]
#[ignore = "runs whole machines: cargo xtask test-system"]
fn dnf_installs_into_an_empty_root() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let repository = folder.path().join("repository");
    let root = folder.path().join("root");
    fs::create_dir_all(&repository)?;
    fs::create_dir_all(&root)?;
    let package = rpm(1)?;
    fs::copy(&package, repository.join(package.file_name().context("a package")?))?;
    stand_in(folder.path(), &package)?;
    run(Command::new("createrepo_c").arg("--quiet").arg(&repository))?;
    // Scriptlets need a shell and what it is made of; what they find missing they go without.
    let busy = busybox()?;
    fs::create_dir_all(root.join("bin"))?;
    fs::copy(busy, root.join("bin/sh"))?;
    let dnf = || {
        let mut dnf = Command::new("dnf");
        dnf.arg(format!("--installroot={}", root.display()))
            .arg(format!("--repofrompath=nlbd,file://{}", repository.display()))
            .args(["--repo=nlbd", "--nogpgcheck", "--assumeyes", "--releasever=1"])
            .arg(format!("--setopt=cachedir={}", folder.path().join("cache").display()));
        dnf
    };
    let said = run(dnf().args(["install", "nlbd"]))?;
    ensure!(!said.contains("scriptlet failed"), "{said}");
    for file in ["usr/sbin/nlbd", "usr/bin/nlbctl", "usr/lib/systemd/system/nlbd.service"] {
        ensure!(root.join(file).exists(), "{file} is missing: {said}");
    }
    let said = run(dnf().args(["remove", "nlbd"]))?;
    ensure!(!said.contains("scriptlet failed"), "{said}");
    ensure!(!root.join("usr/sbin/nlbd").exists(), "{said}");
    Ok(())
}

/// A shell that needs no library.
fn busybox() -> Result<PathBuf> {
    let paths = ["/usr/bin/busybox", "/bin/busybox"].map(PathBuf::from);
    let found = paths.into_iter().find(|path| path.exists());
    found.context("busybox (package busybox-static)")
}
