//! One machine: a container with systemd as process 1.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nlb_tests::netns::Namespace;
use nlb_tests::wait::{wait_for, wait_until};

/// How long a machine may take until its units are up.
const BOOT: Duration = Duration::from_secs(60);
/// How long it may take to end.
const HALT: Duration = Duration::from_secs(15);
/// What has systemd halt the machine. Signals of this kind have no name in nix.
const HALT_SIGNAL: &str = "-RTMIN+3";

/// A running machine. It ends when this value does.
#[derive(Debug)]
pub struct Machine {
    /// Its host name.
    pub name: String,
    /// Its network, which is one server's of the segment.
    pub namespace: Arc<Namespace>,
    root: PathBuf,
    nspawn: Child,
    leader: u32,
    groups: Vec<PathBuf>,
}

impl Machine {
    /// Starts a machine from an image; `folder` keeps what it writes.
    ///
    /// # Errors
    /// When containers are not allowed here.
    pub fn start(
        image: &Path,
        name: &str,
        namespace: &Arc<Namespace>,
        folder: &Path,
    ) -> Result<Self> {
        let part = |part: &str| -> Result<PathBuf> {
            let path = folder.join(part);
            fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
            Ok(path)
        };
        let (upper, work, root) = (part("upper")?, part("work")?, part("root")?);
        let layers = format!(
            "lowerdir={},upperdir={},workdir={}",
            fs::canonicalize(image)?.display(),
            upper.display(),
            work.display()
        );
        let mount = ["-t", "overlay", "overlay", "-o", &layers];
        let mounted = Command::new("mount").args(mount).arg(&root).output().context("mount")?;
        let said = String::from_utf8_lossy(&mounted.stderr);
        ensure!(mounted.status.success(), "an overlay of the image: {}", said.trim());
        let groups = groups(name)?;
        let nspawn = spawn(&root, name, namespace, &groups)?;
        let mut machine = Self {
            name: name.to_owned(),
            namespace: namespace.clone(),
            root,
            nspawn,
            leader: 0,
            groups,
        };
        machine.leader = machine.wait_for_leader()?;
        Ok(machine)
    }

    fn wait_for_leader(&mut self) -> Result<u32> {
        let nspawn = self.nspawn.id();
        let found = wait_for("process 1", BOOT, || {
            if let Ok(Some(status)) = self.nspawn.try_wait() {
                return Ok(Err(status));
            }
            let path = format!("/proc/{nspawn}/task/{nspawn}/children");
            let children = fs::read_to_string(path).map_err(|error| error.to_string())?;
            let systemd = children.split_whitespace().find(|child| {
                fs::read_to_string(format!("/proc/{child}/comm"))
                    .is_ok_and(|comm| comm.trim() == "systemd")
            });
            let leader = systemd.and_then(|pid| pid.parse().ok());
            leader.map(Ok).ok_or_else(|| "not started".to_owned())
        })?;
        found
            .map_err(|status| anyhow::anyhow!("systemd-nspawn ended: {status}\n{}", self.console()))
    }

    /// What the machine wrote to its console.
    #[must_use]
    pub fn console(&self) -> String {
        fs::read_to_string(console(&self.root)).unwrap_or_default()
    }

    /// Waits until all units of the machine are up.
    ///
    /// # Errors
    /// When one has failed, with its name.
    pub fn wait_up(&self) -> Result<()> {
        let state = wait_for("the machine", BOOT, || {
            let said = self.output("systemctl is-system-running");
            let said = said.map_err(|error| error.to_string())?;
            match String::from_utf8_lossy(&said.stdout).trim() {
                state @ ("running" | "degraded") => Ok(state.to_owned()),
                other => Err(other.to_owned()),
            }
        });
        let state = state.with_context(|| self.console())?;
        if state != "running" {
            let failed = self.sh("systemctl list-units --failed --no-legend --plain")?;
            ensure!(failed.is_empty(), "{}: failed: {failed}", self.name);
        }
        Ok(())
    }

    /// Runs a line of shell in the machine, as root.
    ///
    /// # Errors
    /// When it cannot be started. That it failed is for the caller to judge.
    pub fn output(&self, line: &str) -> Result<Output> {
        let leader = self.leader.to_string();
        Command::new("nsenter")
            .args(["-t", &leader, "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--"])
            .args(["sh", "-c", line])
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", "/root")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("{}: {line}", self.name))
    }

    /// Runs a line of shell in the machine, as root; gives what it wrote.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn sh(&self, line: &str) -> Result<String> {
        let ended = self.output(line)?;
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        let complained = String::from_utf8_lossy(&ended.stderr);
        ensure!(
            ended.status.success(),
            "{}: `{line}`: {}\n{said}{complained}",
            self.name,
            ended.status
        );
        Ok(said)
    }

    /// The same as another user of the machine.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn output_as(&self, user: &str, line: &str) -> Result<Output> {
        self.output(&format!(
            "setpriv --reuid {user} --regid {user} --init-groups -- sh -c '{line}'"
        ))
    }

    /// Lays a file into the machine's `/root`.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn put(&self, file: &Path) -> Result<()> {
        let name = file.file_name().context("a file")?;
        let inside = PathBuf::from(format!("/proc/{}/root/root", self.leader)).join(name);
        fs::copy(file, &inside).with_context(|| file.display().to_string())?;
        Ok(())
    }

    /// Lays a folder of files into the machine.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn put_folder(&self, folder: &Path, to: &str) -> Result<()> {
        let inside = PathBuf::from(format!("/proc/{}/root{to}", self.leader));
        fs::create_dir_all(&inside)?;
        for entry in fs::read_dir(folder)?.flatten().filter(|entry| entry.path().is_file()) {
            fs::copy(entry.path(), inside.join(entry.file_name()))
                .with_context(|| entry.path().display().to_string())?;
        }
        Ok(())
    }

    /// Writes a file of the machine, and the folders above it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let inside = PathBuf::from(format!("/proc/{}/root{path}", self.leader));
        if let Some(folder) = inside.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&inside, text).with_context(|| path.to_owned())
    }

    /// The journal of a unit, for people.
    #[must_use]
    pub fn journal(&self, unit: &str) -> String {
        let line = format!("journalctl --no-pager -o short-precise -u {unit}");
        self.sh(&line).unwrap_or_else(|error| format!("{error:#}"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let leader = i32::try_from(self.leader).unwrap_or(0);
        if leader > 0 {
            let _ = Command::new("kill").args([HALT_SIGNAL, &leader.to_string()]).status();
        }
        let ended =
            wait_until("the machine's end", HALT, || matches!(self.nspawn.try_wait(), Ok(Some(_))));
        if ended.is_err() {
            if leader > 0 {
                let _ = kill(Pid::from_raw(leader), Signal::SIGKILL);
            }
            let _ = self.nspawn.kill();
            let _ = self.nspawn.wait();
        }
        let _ = Command::new("umount").arg("--lazy").arg(&self.root).status();
        for group in &self.groups {
            remove_group(group);
        }
    }
}

fn console(root: &Path) -> PathBuf {
    root.with_extension("console")
}

fn spawn(root: &Path, name: &str, namespace: &Namespace, groups: &[PathBuf]) -> Result<Child> {
    // Process 1 wants a cgroup of its own to make others below.
    let mut script = String::new();
    for group in groups {
        script += &format!("echo $$ > {}/cgroup.procs; ", group.display());
    }
    script += "exec \"$@\"";
    let console = fs::File::create(console(root))?;
    let mut command = Command::new("sh");
    command
        .args(["-c", &script, "sh", "systemd-nspawn", "--quiet", "--boot", "--directory"])
        .arg(root)
        .args(["--machine", name, "--register=no", "--keep-unit", "--console=pipe"])
        .arg(format!("--network-namespace-path={}", namespace.path().display()))
        // What the sandbox of units needs in the container: programs for cgroups.
        .arg("--capability=CAP_NET_ADMIN,CAP_NET_RAW,CAP_BPF,CAP_PERFMON,CAP_SYS_RESOURCE")
        .arg("--system-call-filter=bpf perf_event_open @keyring")
        .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
        .env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network")
        .stdin(Stdio::null())
        .stdout(console.try_clone()?)
        .stderr(console);
    command.spawn().context("systemd-nspawn")
}

/// Control groups for a machine, in each hierarchy that systemd uses here.
fn groups(name: &str) -> Result<Vec<PathBuf>> {
    let mixed = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"].map(Path::new);
    let mixed: Vec<&Path> = mixed.into_iter().filter(|path| path.exists()).collect();
    let hierarchies = if mixed.is_empty() { vec![Path::new("/sys/fs/cgroup")] } else { mixed };
    let mut groups = Vec::new();
    for hierarchy in hierarchies {
        let group = hierarchy.join(format!("nlb-system-{}-{name}", std::process::id()));
        fs::create_dir(&group).with_context(|| group.display().to_string())?;
        groups.push(group);
    }
    Ok(groups)
}

/// Removes a control group and those below it; none has a process any more.
fn remove_group(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_group(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}
