//! Images that machines start from: a stock distribution before nlbd comes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// What a small server has, what nlbd depends on, because machines have no way to a mirror, and what
/// its clients need.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,polkitd,udev,kmod,procps,iproute2,iputils-ping,\
                        nftables,iptables,curl,python3-minimal,rpm,libglib2.0-bin,\
                        python3-dbus-next";

/// Units that have nothing to do on a machine that lives for seconds.
const MASKED: &[&str] = &[
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "systemd-firstboot.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-update-utmp.service",
    "ldconfig.service",
];

/// Where images are kept.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/system")
}

/// The image of a suite of Debian, made if it is not there yet.
///
/// # Errors
/// When no mirror is in reach.
pub fn debian(suite: &str) -> Result<PathBuf> {
    let root = folder().join(suite);
    let ready = folder().join(format!("{suite}.ready"));
    // A list that has changed wants a new image.
    if fs::read_to_string(&ready).is_ok_and(|packages| packages == PACKAGES) {
        return Ok(root);
    }
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    fs::create_dir_all(folder())?;
    println!("makes the image {}", root.display());
    let made = Command::new("mmdebstrap")
        .args(["--quiet", "--variant=minbase", "--include", PACKAGES])
        .args(["--aptopt=Acquire::Languages \"none\"", suite])
        .arg(&root)
        .status()
        .context("mmdebstrap")?;
    ensure!(made.success(), "mmdebstrap: {made}");
    // Every machine has an identity of its own.
    fs::write(root.join("etc/machine-id"), "")?;
    fs::remove_file(root.join("etc/hostname")).ok();
    for unit in MASKED {
        let link = root.join("etc/systemd/system").join(unit);
        std::os::unix::fs::symlink("/dev/null", &link)
            .with_context(|| link.display().to_string())?;
    }
    fs::write(&ready, PACKAGES)?;
    Ok(root)
}

/// What a virtual machine starts from.
#[derive(Debug)]
pub struct VmImage {
    /// Its disk, with a file system and no partitions.
    pub disk: PathBuf,
    /// The distribution's kernel.
    pub kernel: PathBuf,
    /// What that starts with.
    pub initrd: PathBuf,
}

/// The room that a virtual machine's disk has.
const DISK: &str = "2G";

/// The image of a suite of Debian with its cloud kernel, made if it is not there yet.
///
/// # Errors
/// When no mirror is in reach.
pub fn debian_vm(suite: &str) -> Result<VmImage> {
    let packages = format!("{PACKAGES},linux-image-cloud-amd64,qemu-guest-agent");
    let folder = folder().join(format!("vm-{suite}"));
    let (ready, root) = (folder.join("ready"), folder.join("root"));
    let image = VmImage {
        disk: folder.join("disk"),
        kernel: folder.join("kernel"),
        initrd: folder.join("initrd"),
    };
    if fs::read_to_string(&ready).is_ok_and(|known| known == packages) {
        return Ok(image);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    println!("makes the image {}", folder.display());
    let run = |command: &mut Command| -> Result<()> {
        let status = command.status().with_context(|| format!("{command:?}"))?;
        ensure!(status.success(), "{command:?}: {status}");
        Ok(())
    };
    run(Command::new("mmdebstrap")
        .args(["--quiet", "--variant=minbase", "--include", &packages])
        .args(["--aptopt=Acquire::Languages \"none\"", suite])
        .arg(&root))?;
    fs::write(root.join("etc/machine-id"), "")?;
    fs::remove_file(root.join("etc/hostname")).ok();
    for unit in MASKED {
        std::os::unix::fs::symlink("/dev/null", root.join("etc/systemd/system").join(unit))?;
    }
    for entry in fs::read_dir(root.join("boot"))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("vmlinuz-") {
            fs::copy(entry.path(), &image.kernel)?;
        } else if name.starts_with("initrd.img-") {
            fs::copy(entry.path(), &image.initrd)?;
        }
    }
    run(Command::new("mke2fs")
        .args(["-q", "-t", "ext4", "-E", "lazy_itable_init=1", "-d"])
        .args([&root, &image.disk])
        .arg(DISK))?;
    fs::remove_dir_all(&root)?;
    fs::write(&ready, packages)?;
    Ok(image)
}
