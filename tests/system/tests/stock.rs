//! Virtual machines with the distribution's own kernel: nft `queue` and a dummy link, as people
//! have them. Slow, and therefore only in the full form.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use nlb_system::machines::{deb, first_steps};
use nlb_system::{MEMORY_KB, Vm, image};
use nlb_tests::lab::{Lab, LabOptions};
use nlb_tests::load::{Load, LoadSpec, Sources, Summary};
use nlb_tests::wait::{wait_for, wait_until};

const SETTLES: Duration = Duration::from_secs(120);
/// New connections a second: emulated machines are slow.
const RATE: u32 = 10;

/// A web server that says who it is, of what a minimal Python has.
const SERVER: &str = "\
import socket
body = socket.gethostname().encode()
head = b'HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n' % len(body)
server = socket.create_server(('', 80), backlog=128)
while True:
    client, _ = server.accept()
    client.recv(4096)
    client.sendall(head + body)
    client.close()
";

#[test]
#[ignore = "runs virtual machines: cargo xtask test-system --full"]
fn three_stock_machines_serve_restart_and_forget() -> Result<()> {
    if std::env::var_os("NLB_SYSTEM_FULL").is_none() {
        println!("skipped: only in the full form");
        return Ok(());
    }
    let suite = std::env::var("NLB_SYSTEM_SUITE").unwrap_or_else(|_| "bookworm".to_owned());
    let image = image::debian_vm(&suite)?;
    let lab = Lab::new(&LabOptions { servers: 0, ..LabOptions::default() })?;
    let disk = payload(lab.folder())?;
    let mut vms = Vec::new();
    for number in 1..=3 {
        let folder = lab.subfolder(&format!("vm{number}"))?;
        vms.push(Vm::start(&image, number, &lab.switch, &folder, &disk)?);
    }
    for (index, vm) in vms.iter_mut().enumerate() {
        vm.wait_up()?;
        vm.sh(&format!(
            "tar -C /root -xf /dev/vdb\n\
             ip addr add 192.0.2.{}/24 dev eth0; ip link set eth0 up\n\
             ip route add 10.0.0.0/8 via 192.0.2.200\n\
             systemd-run --quiet --unit web python3 /root/server.py",
            index + 1
        ))?;
        let versions = vm.sh("uname -r; systemctl --version | head -1")?;
        println!("{}: {}", vm.name, versions.trim().replace('\n', ", "));
    }
    let done = used(&lab, &mut vms);
    if done.is_err() {
        for vm in &mut vms {
            let journal = vm.sh("journalctl --no-pager -u nlbd")?;
            println!("== {}\n{journal}", vm.name);
        }
    }
    done
}

/// The package and the web server, as a disk.
fn payload(folder: &Path) -> Result<std::path::PathBuf> {
    let (files, disk) = (folder.join("payload"), folder.join("payload.tar"));
    std::fs::create_dir_all(&files)?;
    std::fs::copy(deb(1)?, files.join("nlbd_1.deb"))?;
    std::fs::write(files.join("server.py"), SERVER)?;
    // Whole sectors, or the disk would end before the archive.
    let mut tar = Command::new("tar");
    tar.args(["-b", "128", "-cf"]).arg(&disk).arg("-C").arg(&files).arg(".");
    ensure!(tar.status()?.success(), "tar");
    Ok(disk)
}

fn used(lab: &Lab, vms: &mut [Vm]) -> Result<()> {
    let steps = first_steps()?;
    for vm in vms.iter_mut() {
        vm.sh("apt-get install -y /root/nlbd_1.deb")?;
    }
    vms[0].sh(&steps.first)?;
    let key = vms[0].sh("nlbctl key export")?;
    for vm in &mut vms[1..] {
        vm.sh(&format!("echo '{}' | nlbctl key import", key.trim()))?;
        vm.sh(&steps.other)?;
    }
    settled(vms)?;
    for vm in vms.iter_mut() {
        let rules = vm.sh("nft list ruleset")?;
        ensure!(rules.contains("queue"), "no nft queue: {rules}");
        let link = vm.sh("ip -d link show nlb0")?;
        ensure!(link.contains("dummy"), "no dummy link: {link}");
    }
    management(&mut vms[0])?;
    stays_in_memory(&mut vms[0])?;
    let sources = Sources::Fresh { first: 0 };
    let spec = LoadSpec { rate: RATE, sources, ipv4: 2, ..LoadSpec::default() };
    let load = Load::start(&lab.client, &spec)?;
    let rest = |load: &Load| {
        let so_far = load.begun();
        wait_until("load", SETTLES, || load.begun() >= so_far + 5 * RATE)
    };
    rest(&load)?;
    vms[0].sh("systemctl restart nlbd")?;
    settled(vms)?;
    rest(&load)?;
    let sum = Summary::of(&load.finish()?);
    println!("restart: {sum}");
    ensure!(sum.failed == 0 && sum.servers.len() == 3, "{sum}");
    stands_still(vms)?;

    vms[2].sh("apt-get purge -y nlbd")?;
    let left = vms[2].sh("ls -d /etc/nlbd /run/nlbd 2>/dev/null; nft list ruleset; true")?;
    ensure!(!left.contains("nlb"), "left behind: {left}");
    Ok(())
}

/// The kernel takes what it can get of the daemon's memory: none of its code is among it.
fn stays_in_memory(vm: &mut Vm) -> Result<()> {
    let said =
        vm.sh("echo 64M > /sys/fs/cgroup/system.slice/nlbd.service/memory.reclaim 2>/dev/null\n\
         pid=$(systemctl show --value -p MainPID nlbd)\n\
         awk '/^[0-9a-f]+-/ {code = / r-xp .*nlbd$/} code && /^(Size|Rss|Locked):/ {print $2}' \
         /proc/$pid/smaps\n\
         awk '/^VmRSS:/ {print $2}' /proc/$pid/status")?;
    let sizes: Vec<u64> = said.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [size, there, locked, all] = sizes[..] else { bail!("{said}") };
    // What the runner of checks has too counts in part.
    println!("code: {size} KiB, {there} KiB of it there, {locked} KiB locked; in all {all} KiB");
    ensure!(size == there && locked > size / 2 && all < MEMORY_KB, "{said}");
    Ok(())
}

/// A hypervisor stops a machine, clock and all, for longer than others wait for it. It finds that
/// out and gives up; nobody else does (SPEC 6.9).
fn stands_still(vms: &mut [Vm]) -> Result<()> {
    let fences = |vms: &mut [Vm]| -> Result<Vec<usize>> {
        let said = |vm: &mut Vm| vm.sh("journalctl -u nlbd -o cat");
        let fences = |text: String| text.matches("this node is fenced, was").count();
        vms.iter_mut().map(|vm| said(vm).map(fences)).collect()
    };
    let before = fences(vms)?;
    vms[0].stand_still(Duration::from_secs(5))?;
    wait_for("the machine to find out", SETTLES, || match fences(vms) {
        Ok(after) if after[0] > before[0] => Ok(()),
        other => Err(format!("{before:?}, then {other:?}")),
    })?;
    settled(vms)?;
    let after = fences(vms)?;
    println!("stood still: fenced {before:?} times before, {after:?} after");
    ensure!(after[1..] == before[1..], "others fenced: {before:?}, {after:?}");
    Ok(())
}

/// The distribution's own clients of D-Bus and varlink, which bookworm has none of yet.
fn management(vm: &mut Vm) -> Result<()> {
    let tree = vm.sh("busctl tree org.nlbd1")?;
    ensure!(tree.matches("/org/nlbd1/cluster/nlb0/node/").count() == 3, "{tree}");
    const CLUSTER: &str = "org.nlbd1 /org/nlbd1/cluster/nlb0 org.nlbd1.Cluster";
    vm.sh(&format!("busctl set-property {CLUSTER} Weight q 200"))?;
    let weight = vm.sh(&format!("busctl get-property {CLUSTER} Weight"))?;
    ensure!(weight.trim() == "q 200", "{weight}");
    if vm.output("command -v varlinkctl")?.0 != 0 {
        println!("varlinkctl is not on this suite: not tried");
        return Ok(());
    }
    let socket = "/run/nlbd/org.nlbd.Cluster";
    let described = vm.sh(&format!("varlinkctl introspect {socket} org.nlbd.Cluster"))?;
    ensure!(described.contains("method SetWeight"), "{described}");
    let status = vm.sh(&format!("varlinkctl call -j {socket} org.nlbd.Cluster.Status '{{}}'"))?;
    ensure!(status.contains("\"converged\":true"), "{status}");
    vm.sh(&format!("varlinkctl call {socket} org.nlbd.Cluster.SetWeight '{{\"weight\":100}}'"))?;
    let weight = vm.sh(&format!("busctl get-property {CLUSTER} Weight"))?;
    ensure!(weight.trim() == "q 100", "{weight}");
    println!("busctl and varlinkctl: read and changed");
    Ok(())
}

fn settled(vms: &mut [Vm]) -> Result<()> {
    let count = vms.len();
    for vm in vms {
        wait_for("the cluster", SETTLES, || {
            let (_, said) = vm.output("nlbctl --json status").map_err(|error| error.to_string())?;
            let status: serde_json::Value =
                serde_json::from_str(&said).map_err(|_| said.clone())?;
            let cluster = &status["clusters"][0];
            let active = cluster["nodes"]
                .as_array()
                .map_or(0, |nodes| nodes.iter().filter(|node| node["state"] == "active").count());
            if cluster["converged"] == true && active == count { Ok(()) } else { Err(said) }
        })?;
    }
    Ok(())
}
