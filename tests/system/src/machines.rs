//! Machines on one segment, and the packages that they get.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use nlb_tests::lab::{Lab, LabOptions};
use nlb_tests::load::{Load, LoadSpec, Sources};
use nlb_tests::service::Services;
use nlb_tests::spec::ClusterSpec;
use nlb_tests::status::Status;
use nlb_tests::wait::wait_for;
use nlb_tests::wire::Watcher;
use nlb_tests::wire::rules::Subject;
use serde_json::Value;

use crate::image;
use crate::machine::Machine;

/// How long a cluster may take until all agree.
const SETTLES: Duration = Duration::from_secs(20);

/// Machines on one segment, with a web server each. Nothing of nlbd is there at first.
#[derive(Debug)]
pub struct Machines {
    /// The machines, `n1` and so on. They end before the segment does.
    pub machines: Vec<Machine>,
    /// Web servers, which name themselves in every answer.
    services: Vec<Services>,
    /// The segment, with its clients.
    pub lab: Lab,
}

impl Machines {
    /// Runs a case on `count` machines with the package. What the machines logged is printed when
    /// it fails.
    ///
    /// # Errors
    /// Those of the case.
    pub fn test(count: usize, case: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        let all = Self::start(count)?;
        let done = (|| {
            all.install(&deb(1)?)?;
            case(&all)
        })();
        if done.is_err() {
            for machine in &all.machines {
                println!("== {}: systemctl status nlbd", machine.name);
                let said = machine.output("systemctl status --no-pager --full nlbd");
                println!(
                    "{}",
                    said.map_or_else(
                        |error| error.to_string(),
                        |said| { String::from_utf8_lossy(&said.stdout).into_owned() }
                    )
                );
                println!("== {}: journal\n{}", machine.name, machine.journal("nlbd"));
            }
        }
        done
    }

    /// Starts `count` machines of the suite that `NLB_SYSTEM_SUITE` names, or bookworm.
    ///
    /// # Errors
    /// When containers are not allowed here, or a machine does not come up.
    pub fn start(count: usize) -> Result<Self> {
        let suite = std::env::var("NLB_SYSTEM_SUITE");
        Self::start_suite(suite.as_deref().unwrap_or("bookworm"), count)
    }

    /// Starts `count` machines of a suite of Debian.
    ///
    /// # Errors
    /// When containers are not allowed here, or a machine does not come up.
    pub fn start_suite(suite: &str, count: usize) -> Result<Self> {
        let image = image::debian(suite)?;
        let lab = Lab::new(&LabOptions { servers: count, ..LabOptions::default() })?;
        let mut all = Self { machines: Vec::new(), services: Vec::new(), lab };
        for (index, namespace) in all.lab.servers.iter().enumerate() {
            let name = format!("n{}", index + 1);
            let folder = all.lab.subfolder(&name)?;
            all.services.push(Services::start(namespace, &name)?);
            all.machines.push(Machine::start(&image, &name, namespace, &folder)?);
        }
        for machine in &all.machines {
            machine.wait_up()?;
        }
        Ok(all)
    }

    /// Installs a package on all machines at once.
    ///
    /// # Errors
    /// As [`install`].
    pub fn install(&self, package: &Path) -> Result<()> {
        std::thread::scope(|scope| {
            let installs: Vec<_> = self
                .machines
                .iter()
                .map(|machine| scope.spawn(move || install(machine, package)))
                .collect();
            installs
                .into_iter()
                .try_for_each(|one| one.join().map_err(|_| anyhow!("an installation"))?.map(drop))
        })
    }

    /// Makes a cluster by the commands of the README: `addif` on the first machine, its key
    /// brought to the others, the same line there.
    ///
    /// # Errors
    /// When a command fails, or the cluster does not settle.
    pub fn join_all(&self) -> Result<()> {
        let steps = first_steps()?;
        let (first, others) = self.machines.split_first().context("no machine")?;
        first.sh(&steps.first)?;
        // No machine has a way to be logged in from another: the pipe goes through this program.
        let (export, import) = steps.key.split_once(SSH).context("README: the key's way")?;
        for other in others {
            let key = first.sh(export)?;
            other.sh(&format!("echo '{}' | {import}", key.trim()))?;
            other.sh(&steps.other)?;
        }
        self.wait_settled(self.machines.len())
    }

    /// Waits until every machine says that so many nodes serve, and that all agree.
    ///
    /// # Errors
    /// With what the last one said, when that takes too long.
    pub fn wait_settled(&self, nodes: usize) -> Result<()> {
        for machine in &self.machines {
            wait_settled(machine, nodes)?;
        }
        Ok(())
    }

    /// New clients, each from an address of its own, until the load is finished.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn load(&self, rate: u32, first: u32) -> Result<Load> {
        let sources = Sources::Fresh { first };
        // The service has an IPv4 address only.
        let spec = LoadSpec { rate, sources, ipv4: 2, ..LoadSpec::default() };
        Load::start(&self.lab.client, &spec)
    }

    /// Watches what passes between clients and the cluster that the first machine is in.
    ///
    /// # Errors
    /// When the machine does not say which that is, or watching is not allowed here.
    pub fn watch(&self) -> Result<Watcher> {
        let said = self.machines.first().context("no machine")?.sh("nlbctl --json status")?;
        let status: Status = serde_json::from_str(&said)?;
        let cluster = status.clusters.into_iter().next().context("no cluster")?;
        // That of a cluster that was told nothing of modes.
        let mac = ClusterSpec { id: cluster.id, ..ClusterSpec::default() }.mac();
        let said = cluster.rest.get("mac").and_then(Value::as_str);
        ensure!(said == Some(&mac.to_string()), "its MAC is {said:?}, and not {mac}");
        let subject = Subject { mac, addresses: cluster.addresses };
        Watcher::start_lean(&self.lab.switch, subject, &["client"])
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        self.machines.clear();
        self.services.clear();
    }
}

/// How the README leads the key to another server.
const SSH: &str = " | ssh root@SERVER ";

/// The three commands of the README that make a cluster.
#[derive(Debug)]
pub struct FirstSteps {
    /// On the first machine.
    pub first: String,
    /// Brings the key to another.
    pub key: String,
    /// There.
    pub other: String,
}

/// The first commands of the README, as they stand there.
///
/// # Errors
/// When it has none.
pub fn first_steps() -> Result<FirstSteps> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let (_, text) = text.split_once("## Use it\n").context("README: Use it")?;
    // Every other part between fences is code.
    let mut blocks = text.split("```\n").skip(1).step_by(2).map(|block| block.trim().to_owned());
    let mut next = || blocks.next().context("README: three commands");
    Ok(FirstSteps { first: next()?, key: next()?, other: next()? })
}

/// Waits until a machine says that so many nodes serve, and that all agree.
///
/// # Errors
/// With what it said last, when that takes too long.
pub fn wait_settled(machine: &Machine, nodes: usize) -> Result<()> {
    let settled = wait_for("the cluster", SETTLES, || {
        let said = machine.output("nlbctl --json status").map_err(|error| error.to_string())?;
        let status: Value = serde_json::from_slice(&said.stdout).map_err(|error| {
            format!("{error}: {}", String::from_utf8_lossy(&said.stderr).trim())
        })?;
        let cluster = &status["clusters"][0];
        let active = cluster["nodes"]
            .as_array()
            .map_or(0, |nodes| nodes.iter().filter(|node| node["state"] == "active").count());
        if cluster["converged"] == true && active == nodes {
            Ok(())
        } else {
            Err(format!("{}: {status}", machine.name))
        }
    });
    settled.with_context(|| machine.journal("nlbd"))
}

/// Installs a package as an administrator does, dependencies and all.
///
/// # Errors
/// When apt refuses, with what it said.
pub fn install(machine: &Machine, package: &Path) -> Result<String> {
    machine.put(package)?;
    let name = package.file_name().and_then(|name| name.to_str()).context("a package")?;
    machine.sh(&format!("apt-get install -y /root/{name} 2>&1"))
}

/// The folder that `cargo xtask dist` writes packages to.
fn packages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/packages")
}

/// The package for Debian of this revision.
///
/// # Errors
/// When it was not built.
pub fn deb(revision: u32) -> Result<PathBuf> {
    find(&format!("nlbd_{}-{revision}_", env!("CARGO_PKG_VERSION")), ".deb")
}

/// The package for Fedora and RHEL of this revision.
///
/// # Errors
/// When it was not built.
pub fn rpm(revision: u32) -> Result<PathBuf> {
    find(&format!("nlbd-{}-{revision}.", env!("CARGO_PKG_VERSION")), ".rpm")
}

fn find(begin: &str, end: &str) -> Result<PathBuf> {
    let folder = packages();
    let names = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut found = names.flatten().map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(begin) && name.ends_with(end)
    });
    let found = found.next();
    ensure!(found.is_some(), "no package {begin}*{end}: run cargo xtask dist");
    found.context("a package")
}
