//! The record of everything that was changed on the host, in the run directory.
//!
//! It is written BEFORE each change, so that whatever a crash leaves behind is in it. The next
//! run reads it: it goes on with what it still wants and puts back the rest.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::HostError;
use super::sysctl::Setting;

const FILE: &str = "host.ron";

/// Longer than a record with all addresses that one host can serve.
const LONGEST: u64 = 4 << 20;

/// A setting that was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Changed {
    /// What it was before the daemon first touched it.
    pub(super) before: u32,
    /// What the daemon made it.
    pub(super) ours: u32,
}

/// What was changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Changes {
    /// The network namespace of this boot that the rest is about. In another one it is void.
    namespace: String,
    /// Links that were made.
    pub(super) links: Vec<String>,
    /// Addresses that were added, each with its link.
    pub(super) addresses: BTreeMap<IpAddr, String>,
    /// Settings by interface number: a name may change, and the settings go with it.
    pub(super) settings: BTreeMap<u32, BTreeMap<Setting, Changed>>,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty() && self.addresses.is_empty() && self.settings.is_empty()
    }
}

/// The record on disk and in memory.
#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
    pub(super) changes: Changes,
}

impl Record {
    /// Reads the record that an earlier run left, if there is one and it is about this namespace.
    pub(super) fn open(run_directory: &Path) -> Result<Self, HostError> {
        let path = run_directory.join(FILE);
        let namespace = namespace().map_err(|source| fail(&path, source))?;
        let changes = match read(&path) {
            Ok(text) => {
                let changes: Changes = ron::from_str(&text).map_err(|error| {
                    HostError::RecordDamaged { path: path.clone(), what: error.to_string() }
                })?;
                Some(changes).filter(|changes| changes.namespace == namespace)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(fail(&path, source)),
        };
        let changes = changes.unwrap_or_else(|| Changes { namespace, ..Changes::default() });
        Ok(Self { path, changes })
    }

    /// Makes a change to the record, and keeps it only if it could be written.
    pub(super) fn change<T>(
        &mut self,
        edit: impl FnOnce(&mut Changes) -> T,
    ) -> Result<T, HostError> {
        let mut changes = self.changes.clone();
        let value = edit(&mut changes);
        if changes != self.changes {
            save(&self.path, &changes).map_err(|source| fail(&self.path, source))?;
            self.changes = changes;
        }
        Ok(value)
    }

    /// Takes out of the record what was put back. A record that cannot be written names too much
    /// then, which harms nobody: what is not there is not put back twice.
    pub(super) fn forget(&mut self, edit: impl FnOnce(&mut Changes)) {
        let before = self.changes.clone();
        edit(&mut self.changes);
        if self.changes == before {
            return;
        }
        if let Err(error) = save(&self.path, &self.changes) {
            tracing::warn!(path = %self.path.display(), %error, "the record names too much");
        }
    }
}

/// One file in the place of the other, or none for an empty record.
fn save(path: &Path, changes: &Changes) -> io::Result<()> {
    if changes.is_empty() {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let text = ron::ser::to_string_pretty(changes, ron::ser::PrettyConfig::default())
        .map_err(io::Error::other)?;
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    // Not synced: after a loss of power there is nothing left to be put back.
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(fs::File::open(path)?, LONGEST), &mut text)?;
    Ok(text)
}

/// Names this network namespace of this boot of the machine.
fn namespace() -> io::Result<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let namespace = fs::read_link("/proc/thread-self/ns/net")?;
    Ok(format!("{} {}", boot.trim(), namespace.display()))
}

fn fail(path: &Path, source: io::Error) -> HostError {
    HostError::Record { path: path.to_owned(), source }
}
