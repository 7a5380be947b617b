//! Images that machines start from: a stock distribution before nlbd comes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// What a small server has, and what nlbd depends on, because machines have no way to a mirror.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,polkitd,udev,kmod,procps,iproute2,iputils-ping,\
                        nftables,iptables,curl,python3-minimal,rpm";

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
