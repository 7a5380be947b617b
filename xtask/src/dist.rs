//! `cargo xtask dist`: the packages, and the symbols for debuggers apart from them.
//!
//! Equal sources make equal packages: times are those of the last commit, and the paths of this
//! machine are not in the programs. [`compare`] sees to it.

mod licences;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value;

use crate::command::{Run, cargo, find, program, root};
use crate::setup;

/// The programs that are packaged.
const PROGRAMS: [&str; 2] = ["nlbd", "nlbctl"];
/// The pages that are packaged, as they are called in `packaging/man`.
const PAGES: [&str; 4] = ["nlbctl.1", "nlbd.ron.5", "nlbd-protocol.7", "nlbd.8"];
/// The makers of packages, and their versions.
const MAKERS: [(&str, &str); 2] = [("cargo-deb", "3.8.0"), ("cargo-generate-rpm", "0.21.1")];
/// What these compress and hash with.
const QUICK: [&str; 5] = ["lzma-sys", "zlib-rs", "flate2", "sha2", "md-5"];
/// Where the sources are said to be.
const SOURCES: &str = "/usr/src/nlbd";

/// What was made.
#[derive(Debug, Clone)]
pub(crate) struct Packages {
    /// For Debian and Ubuntu.
    pub(crate) deb: PathBuf,
    /// For Fedora and RHEL.
    pub(crate) rpm: PathBuf,
    /// For debuggers, to be unpacked in `/`.
    pub(crate) symbols: PathBuf,
}

/// The sources to build from: those of this workspace, or a copy of them elsewhere.
#[derive(Debug)]
struct Sources {
    root: PathBuf,
}

/// Builds everything, or everything twice. `revision` tells packages of one version apart.
pub(crate) fn run(revision: &str, twice: bool) -> Result<()> {
    build()?;
    let packages = pack(revision)?;
    for package in [&packages.deb, &packages.rpm, &packages.symbols] {
        println!("{}", package.display());
    }
    if twice { compare(revision, &packages) } else { Ok(()) }
}

/// Builds the programs, and the makers of packages beside them where they are not here yet.
pub(crate) fn build() -> Result<()> {
    setup::check(setup::DIST_TOOLS)?;
    thread::scope(|scope| {
        let makers = scope.spawn(makers);
        own().build()?;
        makers.join().map_err(|_| anyhow!("the makers of packages"))?
    })
}

/// Packs what was built.
pub(crate) fn pack(revision: &str) -> Result<Packages> {
    own().pack(&commit_date()?, revision)
}

/// Builds the same sources from the beginning in another folder: they must make the same packages.
pub(crate) fn compare(revision: &str, first: &Packages) -> Result<()> {
    let folder = root().join("target/again");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    // What git knows of, as it stands here now.
    let words = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let files = output(program("git").args(words))?;
    for file in files.lines() {
        let (from, to) = (root().join(file), folder.join(file));
        fs::create_dir_all(to.parent().unwrap_or(&folder))?;
        fs::copy(&from, &to).with_context(|| from.display().to_string())?;
    }
    let copy = Sources { root: folder.clone() };
    copy.build()?;
    let second = copy.pack(&commit_date()?, revision)?;
    let pairs =
        [(&first.deb, &second.deb), (&first.rpm, &second.rpm), (&first.symbols, &second.symbols)];
    for (one, other) in pairs {
        let same = fs::read(one)? == fs::read(other)?;
        ensure!(same, "{} and {} differ", one.display(), other.display());
        println!("the same again: {}", one.display());
    }
    fs::remove_dir_all(&folder).context("the copy of the sources")
}

fn own() -> Sources {
    Sources { root: root() }
}

/// Sees to it that the makers of packages are here. They run for seconds, so what it takes to
/// build them counts more than how quick they are, but for the compressors.
fn makers() -> Result<()> {
    let ready = |(name, version)| tools().join(format!("{name}-{version}"));
    let missing: Vec<_> = MAKERS.into_iter().filter(|maker| !ready(*maker).exists()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut install = cargo("install").args(["--locked", "--quiet", "--debug"]);
    install = install.args(["--config", "profile.dev.debug=false"]);
    for quick in QUICK {
        install = install.args(["--config", &format!("profile.dev.package.{quick}.opt-level=2")]);
    }
    // Most of what they are made of is common to them.
    let common = tools().join("build");
    install = install.args(["--target-dir".as_ref(), common.as_os_str()]);
    install = install.args(["--root".as_ref(), tools().as_os_str()]);
    for (name, version) in &missing {
        install = install.args([format!("{name}@{version}")]);
    }
    install.succeed()?;
    for maker in missing {
        fs::write(ready(maker), "")?;
    }
    fs::remove_dir_all(common).context("what the makers were built from")
}

fn tools() -> PathBuf {
    root().join("target/tools")
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

impl Sources {
    /// The folder of the packages.
    fn folder(&self) -> PathBuf {
        self.root.join("target/packages")
    }

    /// What goes into packages and is not in the repository as it stands.
    fn stage(&self) -> PathBuf {
        self.root.join("target/package")
    }

    /// A program that runs in the root of these sources.
    fn run(&self, run: Run) -> Run {
        run.within(&self.root)
    }

    fn build(&self) -> Result<()> {
        let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
        let mut flags = OsString::from("--remap-path-prefix=");
        flags.push(&self.root);
        flags.push(format!("={SOURCES}"));
        if let Some(home) = home {
            flags.push("\u{1f}--remap-path-prefix=");
            flags.push(home);
            flags.push("=/usr/src/cargo");
        }
        let words = ["--locked", "--profile", "dist", "-p", "nlbd", "-p", "nlbctl"];
        let build = self.run(cargo("build").args(words));
        // An administrator's machine has any processor: whatever flags were meant for this one go.
        build.env("CARGO_ENCODED_RUSTFLAGS", flags).succeed()
    }

    fn pack(&self, date: &str, revision: &str) -> Result<Packages> {
        self.lay_ready(date, revision)?;
        let folder = self.folder();
        fs::create_dir_all(&folder)?;
        let version = env!("CARGO_PKG_VERSION");
        let (deb_arch, rpm_arch) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", "x86_64"),
            "aarch64" => ("arm64", "aarch64"),
            other => (other, other),
        };
        let maker = |name: &str| {
            self.run(program(tools().join("bin").join(name))).env("SOURCE_DATE_EPOCH", date)
        };
        let deb = folder.join(format!("nlbd_{version}-{revision}_{deb_arch}.deb"));
        let words = ["--quiet", "--no-build", "--no-strip", "--package", "nlbd", "--deb-revision"];
        let for_deb = maker("cargo-deb").args(words).args([revision, "--profile", "dist"]);
        let for_deb = for_deb.args(["--output".as_ref(), deb.as_os_str()]);
        let rpm = folder.join(format!("nlbd-{version}-{revision}.{rpm_arch}.rpm"));
        let release = format!("release = \"{revision}\"");
        let words = ["generate-rpm", "--package", "daemon", "--profile", "dist"];
        let for_rpm = maker("cargo-generate-rpm").args(words).args(["--auto-req", "builtin"]);
        let for_rpm = for_rpm.args(["--payload-compress", "gzip", "--set-metadata", &release]);
        let for_rpm = for_rpm.args(["--output".as_ref(), rpm.as_os_str()]);
        thread::scope(|scope| {
            let made = scope.spawn(|| for_deb.succeed());
            for_rpm.succeed()?;
            made.join().map_err(|_| anyhow!("cargo-deb"))?
        })?;
        Ok(Packages { deb, rpm, symbols: self.symbols(date)? })
    }

    /// Writes what the packages hold beside files of the repository.
    fn lay_ready(&self, date: &str, revision: &str) -> Result<()> {
        let stage = self.stage();
        if stage.exists() {
            fs::remove_dir_all(&stage)?;
        }
        fs::create_dir_all(stage.join("debug"))?;
        for name in PROGRAMS {
            self.split(name)?;
        }
        for page in PAGES {
            let to = stage.join(format!("{page}.gz"));
            compress(&self.root.join("packaging/man").join(page), &to)?;
        }
        compress(&self.root.join("CHANGELOG.md"), &stage.join("changelog.gz"))?;
        fs::write(stage.join("crates.txt"), licences::list()?)?;
        let rfc = output(program("date").args(["-u", "-R", "-d", &format!("@{date}")]))?;
        let version = env!("CARGO_PKG_VERSION");
        let entry = format!(
            "nlbd ({version}-{revision}) unstable; urgency=medium\n\n  * Version {version}: see \
             changelog.gz.\n\n -- The nlbd maintainers <maintainers@nlbd.example>  {rfc}\n"
        );
        fs::write(stage.join("changelog.Debian"), entry)?;
        self.date_assets(date)
    }

    /// Gives everything that is packaged as it stands the date of the packages: whoever makes them
    /// keeps an older one, which says when these sources came here.
    fn date_assets(&self, date: &str) -> Result<()> {
        let date = UNIX_EPOCH + Duration::from_secs(date.parse().context("the date")?);
        let words = ["--no-deps", "--offline", "--format-version", "1"];
        let said: Value = serde_json::from_str(&output(self.run(cargo("metadata").args(words)))?)?;
        let packages = said["packages"].as_array().context("no packages")?;
        let nlbd = packages.iter().find(|package| package["name"] == "nlbd").context("no nlbd")?;
        let assets = nlbd["metadata"]["generate-rpm"]["assets"].as_array().context("no assets")?;
        for asset in assets {
            let source = asset["source"].as_str().context("an asset without source")?;
            let path = self.root.join("daemon").join(source);
            let files = if source.contains('*') {
                let folder = path.parent().context("an asset without folder")?;
                let listed = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
                let paths = listed.into_iter().map(|entry| entry.path());
                paths.filter(|path| path.is_file()).collect()
            } else {
                vec![path]
            };
            for file in files {
                let opened = fs::File::open(&file).with_context(|| file.display().to_string())?;
                opened.set_modified(date)?;
            }
        }
        Ok(())
    }

    /// A program without symbols, and its symbols where debuggers look for them by its build id.
    fn split(&self, name: &str) -> Result<()> {
        let built = self.root.join("target/dist").join(name);
        let stage = self.stage();
        let (stripped, debug) = (stage.join(name), stage.join(format!("debug/{name}.debug")));
        let keep = program("objcopy").args(["--only-keep-debug", "--compress-debug-sections"]);
        keep.args([&built, &debug]).succeed()?;
        let link = format!("--add-gnu-debuglink={}", debug.display());
        let strip = program("objcopy").args(["--strip-all", "--remove-section=.comment", &link]);
        strip.args([&built, &stripped]).succeed()
    }

    /// The symbols, to be unpacked in `/`.
    fn symbols(&self, date: &str) -> Result<PathBuf> {
        let folder = self.stage().join("debug");
        let tree = folder.join("usr/lib/debug/.build-id");
        for name in PROGRAMS {
            let notes = program("readelf").args(["-n"]).args([self.stage().join(name)]);
            let notes = output(notes)?;
            let id = notes.lines().find_map(|line| line.trim().strip_prefix("Build ID: "));
            let id = id.with_context(|| format!("{name} has no build id"))?;
            let (first, rest) = id.split_at_checked(2).context("a build id")?;
            fs::create_dir_all(tree.join(first))?;
            let from = folder.join(format!("{name}.debug"));
            fs::rename(from, tree.join(first).join(format!("{rest}.debug")))?;
        }
        let (version, arch) = (env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
        let archive = self.folder().join(format!("nlbd-debug-{version}-{arch}.tar.gz"));
        ensure!(find("tar").is_some(), "tar is missing");
        let tar = program("tar").args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"]);
        let tar = tar.args([format!("--mtime=@{date}")]).args(["--use-compress-program=gzip -9n"]);
        let to = ["-cf".as_ref(), archive.as_os_str(), "-C".as_ref(), folder.as_os_str()];
        tar.args(to).args(["usr"]).succeed()?;
        Ok(archive)
    }
}

/// The same bytes for the same text: no name, no time.
fn compress(from: &Path, to: &Path) -> Result<()> {
    let input = fs::File::open(from).with_context(|| from.display().to_string())?;
    let mut gzip = program("gzip").args(["-9", "-n", "-c"]).into_inner();
    let status = gzip.stdin(input).stdout(fs::File::create(to)?).status()?;
    ensure!(status.success(), "gzip: {status}");
    Ok(())
}
