//! A bus of a test's own: a dbus-daemon with a system bus's rules and the shipped policy.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::netns::Namespace;
use crate::wait::wait_until;

/// The rules of a system bus (dbus-daemon(1)): nobody owns names and nobody calls, but for what
/// a policy allows; polkit's and systemd's names are root's.
const RULES: &str = r#"
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <policy user="root">
    <allow own="org.freedesktop.PolicyKit1"/>
    <allow send_destination="org.freedesktop.PolicyKit1"/>
    <allow own="org.freedesktop.systemd1"/>
    <allow send_destination="org.freedesktop.systemd1"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Monitoring"/>
  </policy>
"#;

/// A bus that can be killed and started again.
#[derive(Debug)]
pub struct Bus {
    folder: PathBuf,
    namespace: Arc<Namespace>,
    process: Option<Child>,
    followers: Vec<Child>,
}

impl Bus {
    /// A bus in this folder, which every user may enter from now on. It does not run yet.
    ///
    /// # Errors
    /// When its configuration cannot be written.
    pub fn new(folder: &Path, namespace: &Arc<Namespace>) -> Result<Self> {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
        let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/dbus/org.nlbd1.conf");
        let text = format!(
            "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN\"\n \
             \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n<busconfig>\n  \
             <type>system</type>\n  <listen>unix:path={}</listen>\n  <auth>EXTERNAL</auth>{RULES}  \
             <include>{}</include>\n</busconfig>\n",
            folder.join("bus").display(),
            policy.canonicalize().context("the shipped policy")?.display()
        );
        std::fs::write(folder.join("bus.conf"), text)?;
        Ok(Self {
            folder: folder.to_owned(),
            namespace: namespace.clone(),
            process: None,
            followers: Vec::new(),
        })
    }

    /// The bus's address.
    #[must_use]
    pub fn address(&self) -> String {
        format!("unix:path={}", self.folder.join("bus").display())
    }

    /// Starts the bus and waits until it takes connections.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "the bus runs already");
        let socket = self.folder.join("bus");
        let mut command = Command::new("dbus-daemon");
        command.arg(format!("--config-file={}", self.folder.join("bus.conf").display()));
        command.args(["--nofork", "--nopidfile", "--nosyslog"]);
        // It says that it cannot raise its limits, and who monitors.
        command.stdin(Stdio::null()).stderr(Stdio::null());
        self.process = Some(self.namespace.spawn(command)?);
        wait_until("the bus", Duration::from_secs(10), || {
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        })
    }

    /// Kills the bus; its socket stays behind, as it does when it crashes.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// The bus daemon's resident memory in KiB.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resident_kib(&self) -> Result<u64> {
        let process = self.process.as_ref().context("the bus is down")?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse()?)
    }

    /// Runs `busctl` with these words on this bus, as this user.
    ///
    /// # Errors
    /// When it cannot be started. That it failed is for the caller to judge.
    pub fn busctl_as(&self, user: u32, words: &[&str]) -> Result<Output> {
        let mut command = self.as_user(user, "busctl");
        command.arg(format!("--address={}", self.address())).arg("--no-pager").args(words);
        Ok(self.namespace.spawn(command)?.wait_with_output()?)
    }

    /// A command that is run as this user, without its groups; its output is kept.
    #[must_use]
    pub fn as_user(&self, user: u32, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={user}")).arg(format!("--regid={user}"));
        command.arg("--clear-groups").arg(program);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs `busctl` as root, which must succeed; gives back what it wrote.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn busctl(&self, words: &[&str]) -> Result<String> {
        let output = self.busctl_as(0, words)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "busctl {words:?}: {said}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs `busctl`, which must fail; gives back what it said.
    ///
    /// # Errors
    /// When it succeeds.
    pub fn refused(&self, user: u32, words: &[&str]) -> Result<String> {
        let output = self.busctl_as(user, words)?;
        ensure!(!output.status.success(), "user {user} may {words:?}");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Starts a program that follows the bus until this value is dropped; what it writes goes to this file.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn follow(&mut self, words: &[&str], name: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        let (program, arguments) = words.split_first().context("no program")?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
        command.stdout(std::fs::File::create(&path)?);
        self.followers.push(self.namespace.spawn(command)?);
        Ok(path)
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        // They die with their namespace in any case.
        let _ = self.kill();
        for follower in &mut self.followers {
            let _ = follower.kill();
            let _ = follower.wait();
        }
    }
}
