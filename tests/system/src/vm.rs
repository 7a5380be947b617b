//! A virtual machine with a distribution's own kernel, driven by its guest agent.
//!
//! Emulated, so some ten times slower than the machine that it runs on; but with what containers
//! cannot have: nft `queue`, dummy links, the kernel and systemd that people have.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nlb_tests::lab::server_mac;
use nlb_tests::netns::Namespace;
use nlb_tests::wait::wait_for;
use serde_json::{Value, json};

use crate::image::VmImage;

/// How long a machine may take until its agent answers.
const BOOT: Duration = Duration::from_secs(180);
/// How long a command may take.
const COMMAND: Duration = Duration::from_secs(180);
/// How long one answer of the agent may take.
const ANSWER: Duration = Duration::from_secs(20);
/// Between two looks at a command that runs.
const LOOK: Duration = Duration::from_millis(100);

/// A running virtual machine. It ends when this value does.
#[derive(Debug)]
pub struct Vm {
    /// Its host name.
    pub name: String,
    qemu: Child,
    agent: BufReader<UnixStream>,
    monitor: BufReader<UnixStream>,
    console: PathBuf,
}

impl Vm {
    /// Starts server `number` (from 1) on a port of the bridge; the files of `disk` are in its
    /// `/root`.
    ///
    /// # Errors
    /// When qemu does not start, or no agent answers in time.
    pub fn start(
        image: &VmImage,
        number: usize,
        switch: &Namespace,
        folder: &Path,
        disk: &Path,
    ) -> Result<Self> {
        let (name, tap) = (format!("n{number}"), format!("t{number}"));
        switch.ip(&format!(
            "tuntap add {tap} mode tap\nlink set {tap} master br0\nlink set {tap} up"
        ))?;
        let (agent, console) = (folder.join("agent"), folder.join("console"));
        let monitor = folder.join("monitor");
        let socket = |id: &str, path: &Path| {
            format!("socket,id={id},path={},server=on,wait=off", path.display())
        };
        let root = format!("if=virtio,format=raw,snapshot=on,file={}", image.disk.display());
        let payload = format!("if=virtio,format=raw,readonly=on,file={}", disk.display());
        let card = format!("virtio-net-pci,netdev=n,mac={}", server_mac(number));
        let boot = format!(
            "console=ttyS0 quiet root=/dev/vda rw net.ifnames=0 mitigations=off panic=-1 \
             systemd.hostname={name}"
        );
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "512"])
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
            .arg("-kernel")
            .arg(&image.kernel)
            .arg("-initrd")
            .arg(&image.initrd)
            .args(["-append", &boot, "-drive", &root, "-drive", &payload])
            .args(["-netdev", &format!("tap,id=n,ifname={tap},script=no,downscript=no")])
            .args(["-device", &card, "-device", "virtio-rng-pci", "-device", "virtio-serial-pci"])
            .args(["-chardev", &socket("m", &monitor), "-mon", "chardev=m,mode=control"])
            .args(["-chardev", &socket("a", &agent)])
            .args(["-device", "virtserialport,chardev=a,name=org.qemu.guest_agent.0"])
            .args(["-serial", &format!("file:{}", console.display())])
            .stdin(Stdio::null());
        let qemu = switch.spawn(qemu)?;
        let connect = |path: &Path| -> Result<BufReader<UnixStream>> {
            let stream = wait_for("qemu", ANSWER, || {
                UnixStream::connect(path).map_err(|error| error.to_string())
            })?;
            stream.set_read_timeout(Some(ANSWER))?;
            Ok(BufReader::new(stream))
        };
        let (agent, mut monitor) = (connect(&agent)?, connect(&monitor)?);
        monitor.read_line(&mut String::new()).context("the monitor's greeting")?;
        let mut vm = Self { name, qemu, agent, monitor, console };
        vm.order("qmp_capabilities")?;
        Ok(vm)
    }

    /// Has the hypervisor stop the machine for so long, and its clock with it.
    ///
    /// # Errors
    /// When qemu refuses.
    pub fn stand_still(&mut self, long: Duration) -> Result<()> {
        self.order("stop")?;
        std::thread::sleep(long);
        self.order("cont")
    }

    /// An order to qemu, which tells of events between its answers.
    fn order(&mut self, order: &str) -> Result<()> {
        writeln!(self.monitor.get_ref(), "{}", json!({ "execute": order }))?;
        loop {
            let mut line = String::new();
            self.monitor.read_line(&mut line).with_context(|| format!("{}: {order}", self.name))?;
            let said: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            ensure!(said["error"].is_null(), "{}: {order}: {}", self.name, said["error"]);
            if !said["return"].is_null() {
                return Ok(());
            }
        }
    }

    /// Waits until the agent answers and all units are up.
    ///
    /// # Errors
    /// With the end of the console, when that takes too long.
    pub fn wait_up(&mut self) -> Result<()> {
        let begun = Instant::now();
        // What is asked before the agent runs waits in the port, and is answered later: numbered,
        // so that no answer is taken for another's.
        self.agent.get_ref().set_read_timeout(Some(Duration::from_secs(1)))?;
        'ask: for id in 0.. {
            ensure!(begun.elapsed() < BOOT, "{}: no agent\n{}", self.name, self.console());
            let sync = json!({ "execute": "guest-sync", "arguments": { "id": id } });
            writeln!(self.agent.get_ref(), "{sync}")?;
            // Until it is silent for a second: answers to earlier questions come first.
            loop {
                let mut line = String::new();
                if !self.agent.read_line(&mut line).is_ok_and(|length| length > 0) {
                    break;
                }
                let said = serde_json::from_str::<Value>(&line);
                if said.is_ok_and(|said| said["return"] == id) {
                    break 'ask;
                }
            }
        }
        self.agent.get_ref().set_read_timeout(Some(ANSWER))?;
        self.sh("systemctl is-system-running --wait || systemctl --failed --no-legend").map(drop)
    }

    /// The end of what the machine wrote to its console.
    fn console(&self) -> String {
        let text = fs::read(&self.console).unwrap_or_default();
        let tail = text.len().saturating_sub(2000);
        String::from_utf8_lossy(text.get(tail..).unwrap_or_default()).into_owned()
    }

    fn ask(&mut self, order: &str, arguments: &Value) -> Result<Value> {
        let asked = json!({ "execute": order, "arguments": arguments });
        writeln!(self.agent.get_ref(), "{asked}")?;
        let mut line = String::new();
        self.agent.read_line(&mut line).with_context(|| format!("{}: {order}", self.name))?;
        let mut said: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        ensure!(said["error"].is_null(), "{}: {order}: {}", self.name, said["error"]);
        Ok(said["return"].take())
    }

    /// Runs a line of shell in the machine, as root: its status, and what it wrote.
    ///
    /// # Errors
    /// When it does not end, or the agent does not answer.
    pub fn output(&mut self, line: &str) -> Result<(i64, String)> {
        let line = format!("{{ {line}\n}} 2>&1");
        let started = self.ask(
            "guest-exec",
            &json!({ "path": "/bin/sh", "arg": ["-c", line], "capture-output": true,
                     "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
                             "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"] }),
        )?;
        let begun = Instant::now();
        while begun.elapsed() < COMMAND {
            let seen = self.ask("guest-exec-status", &json!({ "pid": started["pid"] }))?;
            if seen["exited"] == true {
                let said = decode(seen["out-data"].as_str().unwrap_or_default());
                let said = String::from_utf8_lossy(&said).into_owned();
                return Ok((seen["exitcode"].as_i64().unwrap_or(-1), said));
            }
            std::thread::sleep(LOOK);
        }
        bail!("{}: `{line}` does not end", self.name)
    }

    /// Runs a line of shell in the machine, as root; gives what it wrote.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn sh(&mut self, line: &str) -> Result<String> {
        let (status, said) = self.output(line)?;
        ensure!(status == 0, "{}: `{line}`: {status}\n{said}", self.name);
        Ok(said)
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// Base64, as the agent wraps what commands write.
fn decode(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for digit in text.bytes().filter_map(|byte| DIGITS.iter().position(|known| *known == byte)) {
        bits = bits << 6 | u32::try_from(digit).unwrap_or_default();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).unwrap_or_default());
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn base64() {
        for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9vYmFy", "foobar")] {
            assert_eq!(decode(text), bytes.as_bytes());
        }
    }
}
