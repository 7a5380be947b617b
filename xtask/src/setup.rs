//! The tools that demo and tests use, and how to get those that are missing.

use anyhow::{Result, bail, ensure};
use nix::unistd::geteuid;

use crate::command::{find, program};

/// A program, why it is needed, and the packages that have it for apt and for dnf.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    name: &'static str,
    why: &'static str,
    apt: &'static str,
    dnf: &'static str,
}

const fn tool(name: &'static str, why: &'static str, apt: &'static str, dnf: &'static str) -> Tool {
    Tool { name, why, apt, dnf }
}

/// What the demo cannot do without.
pub(crate) const DEMO_TOOLS: &[Tool] = &[
    tool("ip", "namespaces, links and addresses", "iproute2", "iproute"),
    tool("bridge", "the switch", "iproute2", "iproute"),
    tool("nft", "the daemon's rules", "nftables", "nftables"),
    tool(
        "iptables",
        "the way to the queue on kernels without nft queue",
        "iptables",
        "iptables-nft",
    ),
    tool("unshare", "a user namespace for an ordinary user", "util-linux", "util-linux"),
];

/// What packages are made with.
pub(crate) const DIST_TOOLS: &[Tool] = &[
    tool("objcopy", "programs and symbols apart", "binutils", "binutils"),
    tool("readelf", "build ids", "binutils", "binutils"),
    tool("gzip", "man pages in packages", "gzip", "gzip"),
    tool("tar", "the archive of symbols", "tar", "tar"),
    tool("git", "the date of what is packaged", "git", "git"),
];

/// What tests on whole machines need.
pub(crate) const SYSTEM_TOOLS: &[Tool] = &[
    tool("systemd-nspawn", "whole machines", "systemd-container", "systemd-container"),
    tool("mmdebstrap", "images of them", "mmdebstrap", "mmdebstrap"),
    tool("nsenter", "the way into them", "util-linux", "util-linux"),
    tool("lintian", "the judge of the .deb", "lintian", "lintian"),
    tool("rpm", "installs the .rpm", "rpm", "rpm"),
    tool("rpmbuild", "a package for a test", "rpm", "rpm-build"),
    tool("busybox", "a shell without libraries", "busybox-static", "busybox"),
    tool("rpmlint", "the judge of the .rpm", "rpmlint", "rpmlint"),
    tool("dnf", "installs the .rpm as people do", "dnf", "dnf"),
    tool("createrepo_c", "a repository for dnf", "createrepo-c", "createrepo_c"),
];

/// What tests on virtual machines need.
pub(crate) const VM_TOOLS: &[Tool] = &[
    tool("qemu-system-x86_64", "virtual machines", "qemu-system-x86", "qemu-system-x86-core"),
    tool("mke2fs", "their disks", "e2fsprogs", "e2fsprogs"),
];

/// What all tasks together need.
pub(crate) const TOOLS: &[Tool] = &[
    DEMO_TOOLS[0],
    DEMO_TOOLS[1],
    DEMO_TOOLS[2],
    DEMO_TOOLS[3],
    DEMO_TOOLS[4],
    tool("setpriv", "a command without rights", "util-linux", "setpriv"),
    tool("curl", "an HTTP client", "curl", "curl"),
    tool("dig", "a DNS client", "dnsutils", "bind-utils"),
    tool("ping", "what waits in the queue", "iputils-ping", "iputils"),
    tool("python3", "the independent oracle", "python3", "python3"),
    tool("dbus-daemon", "a bus of a test's own", "dbus-daemon", "dbus-daemon"),
    tool("busctl", "a D-Bus client", "systemd", "systemd"),
    tool("gdbus", "another D-Bus client", "libglib2.0-bin", "glib2"),
    tool("man", "the reader of the man pages", "man-db", "man-db"),
    tool("promtool", "the judge of the alerts", "prometheus", "golang-github-prometheus"),
];

/// Sees to it that these tools are here: installs what is missing as root, else says how.
pub(crate) fn check(tools: &[Tool]) -> Result<()> {
    let missing: Vec<&Tool> = tools.iter().filter(|tool| find(tool.name).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for tool in &missing {
        println!("missing: {} ({})", tool.name, tool.why);
    }
    let packages = |of: fn(&Tool) -> &'static str| {
        let mut names: Vec<&str> = missing.iter().map(|tool| of(tool)).collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    let (manager, names) = if find("apt-get").is_some() {
        ("apt-get", packages(|tool| tool.apt))
    } else if find("dnf").is_some() {
        ("dnf", packages(|tool| tool.dnf))
    } else {
        bail!("neither apt-get nor dnf is here: install these tools by hand");
    };
    let words = format!("{manager} install -y {}", names.join(" "));
    ensure!(geteuid().is_root(), "not root: run `sudo {words}` first");
    println!("installing: {words}");
    if manager == "apt-get" {
        // The lists may be old or absent; an unreachable mirror shows in the installation.
        let update = program("apt-get").args(["update", "-q"]).status()?;
        println!("apt-get update: {update}");
    }
    program(manager)
        .args(["install", "-y"])
        .args(names)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .succeed()?;
    if let Some(tool) = missing.iter().find(|tool| find(tool.name).is_none()) {
        bail!("{} is still missing after the installation", tool.name);
    }
    Ok(())
}
