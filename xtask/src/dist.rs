//! `cargo xtask dist`: the packages, and the symbols for debuggers apart from them.
//!
//! Equal sources make equal packages: times are those of the last commit, and the paths of this
//! machine are not in the programs.

mod licences;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};

use crate::command::{Run, cargo, find, program, root};
use crate::setup;

/// The programs that are packaged.
const PROGRAMS: [&str; 2] = ["nlbd", "nlbctl"];
/// The pages that are packaged, as they are called in `packaging/man`.
const PAGES: [&str; 4] = ["nlbctl.1", "nlbd.ron.5", "nlbd-protocol.7", "nlbd.8"];
/// The makers of packages, and their versions.
const MAKERS: [(&str, &str); 2] = [("cargo-deb", "3.8.0"), ("cargo-generate-rpm", "0.21.1")];
/// Where the sources are said to be.
const SOURCES: &str = "/usr/src/nlbd";

/// What was made.
#[derive(Debug, Clone)]
pub(crate) struct Packages {
    /// For Debian and Ubuntu.
    pub(crate) deb: PathBuf,
    /// For Fedora and RHEL.
    pub(crate) rpm: PathBuf,
}

/// The folder of the packages.
fn folder() -> PathBuf {
    root().join("target/packages")
}

/// What goes into packages and is not in the repository as it stands.
fn stage() -> PathBuf {
    root().join("target/package")
}

/// Builds everything. `revision` tells packages of one version apart.
pub(crate) fn run(revision: &str) -> Result<Packages> {
    setup::check(setup::DIST_TOOLS)?;
    makers()?;
    let date = commit_date()?;
    build()?;
    lay_ready(&date, revision)?;
    let packages = pack(&date, revision)?;
    for package in [&packages.deb, &packages.rpm, &symbols(&date)?] {
        println!("{}", package.display());
    }
    Ok(packages)
}

/// Sees to it that the makers of packages are here.
fn makers() -> Result<()> {
    for (name, version) in MAKERS {
        let ready = tools().join(format!("{name}-{version}"));
        if ready.exists() {
            continue;
        }
        let install = cargo("install").args(["--locked", "--quiet", "--version", version]);
        install.args(["--root".as_ref(), tools().as_os_str(), name.as_ref()]).succeed()?;
        fs::write(&ready, "")?;
    }
    Ok(())
}

fn tools() -> PathBuf {
    root().join("target/tools")
}

fn maker(name: &str) -> Run {
    program(tools().join("bin").join(name))
}

/// The seconds since 1970 of the last commit: the time of everything that is packaged.
fn commit_date() -> Result<String> {
    if let Some(date) = std::env::var("SOURCE_DATE_EPOCH").ok().filter(|date| !date.is_empty()) {
        return Ok(date);
    }
    output(program("git").args(["log", "-1", "--format=%ct"]))
}

fn output(run: Run) -> Result<String> {
    let mut command = run.into_inner();
    let ended =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("{command:?}"))?;
    ensure!(ended.status.success(), "{command:?}: {}", ended.status);
    Ok(String::from_utf8_lossy(&ended.stdout).trim().to_owned())
}

fn build() -> Result<()> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let mut flags = OsString::from("--remap-path-prefix=");
    flags.push(root());
    flags.push(format!("={SOURCES}"));
    if let Some(home) = home {
        flags.push("\u{1f}--remap-path-prefix=");
        flags.push(home);
        flags.push("=/usr/src/cargo");
    }
    let words = ["--locked", "--profile", "dist", "-p", "nlbd", "-p", "nlbctl"];
    let build = cargo("build").args(words);
    // An administrator's machine has any processor: whatever flags were meant for this one go.
    build.env("CARGO_ENCODED_RUSTFLAGS", flags).succeed()
}

/// Writes what the packages hold beside files of the repository.
fn lay_ready(date: &str, revision: &str) -> Result<()> {
    let stage = stage();
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    fs::create_dir_all(stage.join("debug"))?;
    for name in PROGRAMS {
        split(name)?;
    }
    for page in PAGES {
        compress(&root().join("packaging/man").join(page), &stage.join(format!("{page}.gz")))?;
    }
    compress(&root().join("CHANGELOG.md"), &stage.join("changelog.gz"))?;
    fs::write(stage.join("crates.txt"), licences::list()?)?;
    let rfc = output(program("date").args(["-u", "-R", "-d", &format!("@{date}")]))?;
    let version = env!("CARGO_PKG_VERSION");
    let entry = format!(
        "nlbd ({version}-{revision}) unstable; urgency=medium\n\n  * Version {version}: see \
         changelog.gz.\n\n -- The nlbd maintainers <maintainers@nlbd.example>  {rfc}\n"
    );
    fs::write(stage.join("changelog.Debian"), entry)?;
    Ok(())
}

/// A program without symbols, and its symbols where debuggers look for them by its build id.
fn split(name: &str) -> Result<()> {
    let built = root().join("target/dist").join(name);
    let (stripped, debug) = (stage().join(name), stage().join(format!("debug/{name}.debug")));
    let keep = program("objcopy").args(["--only-keep-debug", "--compress-debug-sections"]);
    keep.args([&built, &debug]).succeed()?;
    let link = format!("--add-gnu-debuglink={}", debug.display());
    let strip = program("objcopy").args(["--strip-all", "--remove-section=.comment", &link]);
    strip.args([&built, &stripped]).succeed()
}

/// The same bytes for the same text: no name, no time.
fn compress(from: &Path, to: &Path) -> Result<()> {
    let input = fs::File::open(from).with_context(|| from.display().to_string())?;
    let mut gzip = program("gzip").args(["-9", "-n", "-c"]).into_inner();
    let status = gzip.stdin(input).stdout(fs::File::create(to)?).status()?;
    ensure!(status.success(), "gzip: {status}");
    Ok(())
}

fn pack(date: &str, revision: &str) -> Result<Packages> {
    let folder = folder();
    fs::create_dir_all(&folder)?;
    let version = env!("CARGO_PKG_VERSION");
    let (deb_arch, rpm_arch) = match std::env::consts::ARCH {
        "x86_64" => ("amd64", "x86_64"),
        "aarch64" => ("arm64", "aarch64"),
        other => (other, other),
    };
    let deb = folder.join(format!("nlbd_{version}-{revision}_{deb_arch}.deb"));
    let words = ["--quiet", "--no-build", "--no-strip", "--package", "nlbd", "--deb-revision"];
    let made = maker("cargo-deb").args(words).args([revision, "--profile", "dist", "--output"]);
    made.args([&deb]).env("SOURCE_DATE_EPOCH", date).succeed()?;
    let rpm = folder.join(format!("nlbd-{version}-{revision}.{rpm_arch}.rpm"));
    let release = format!("release = \"{revision}\"");
    let words = ["generate-rpm", "--package", "daemon", "--profile", "dist"];
    let made = maker("cargo-generate-rpm").args(words).args(["--auto-req", "builtin"]);
    let made = made.args(["--payload-compress", "gzip", "--set-metadata", &release, "--output"]);
    made.args([&rpm]).env("SOURCE_DATE_EPOCH", date).succeed()?;
    Ok(Packages { deb, rpm })
}

/// The symbols, to be unpacked in `/`.
fn symbols(date: &str) -> Result<PathBuf> {
    let folder = stage().join("debug");
    let tree = folder.join("usr/lib/debug/.build-id");
    for name in PROGRAMS {
        let notes = program("readelf").args(["-n"]).args([stage().join(name)]);
        let notes = output(notes)?;
        let id = notes.lines().find_map(|line| line.trim().strip_prefix("Build ID: "));
        let id = id.with_context(|| format!("{name} has no build id"))?;
        let (first, rest) = id.split_at_checked(2).context("a build id")?;
        fs::create_dir_all(tree.join(first))?;
        let from = folder.join(format!("{name}.debug"));
        fs::rename(from, tree.join(first).join(format!("{rest}.debug")))?;
    }
    let (version, arch) = (env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let archive = self::folder().join(format!("nlbd-debug-{version}-{arch}.tar.gz"));
    ensure!(find("tar").is_some(), "tar is missing");
    let tar = program("tar").args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"]);
    let tar = tar.args([format!("--mtime=@{date}")]).args(["--use-compress-program=gzip -9n"]);
    let tar = tar.args(["-cf".as_ref(), archive.as_os_str(), "-C".as_ref(), folder.as_os_str()]);
    tar.args(["usr"]).succeed()?;
    Ok(archive)
}
