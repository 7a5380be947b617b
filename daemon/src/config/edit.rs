//! Changes that `nlbctl addif` and `delif` make last: drop-ins of our own, and keys.
//!
//! A change is first tried on paper ([`Edit`] holds the configuration that would result), then
//! applied by the caller, then written by [`Edit::commit`]. Only `90-nlbctl-<cluster>.ron` is ever
//! rewritten; what an administrator wrote elsewhere is never touched.

use core::net::IpAddr;
use std::io;
use std::path::{Path, PathBuf};

use nlb_protocol::{ClusterId, MacMode};

use super::drop_in::DropIn;
use super::error::{ConfigErrors, Place};
use super::keys;
use super::model::{ClusterConfig, Config, Location};
use super::source::Sources;
use super::system::{FileRead, Overlay, System};
use super::values::{CLUSTER_NAME, is_cluster_name};
use super::{address, drop_in, load};

/// The cluster that `addif` means when there is none yet and none is named.
pub const DEFAULT_CLUSTER: &str = "nlb0";

/// An interface to serve a cluster on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AddInterface {
    /// Its name.
    pub interface: String,
    /// The cluster; without one, the only one there is, or a new `nlb0`.
    pub cluster: Option<String>,
    /// Service addresses to add; a new cluster needs one.
    pub addresses: Vec<IpAddr>,
    /// The mode of a new cluster.
    pub mode: Option<MacMode>,
    /// The id of a new cluster.
    pub id: Option<ClusterId>,
}

/// A change that was found possible.
#[derive(Debug)]
pub struct Edit {
    /// The configuration with the change.
    pub config: Config,
    /// The cluster that it concerns.
    pub cluster: String,
    /// The drop-in that keeps it.
    pub file: PathBuf,
    /// Whether anything is different at all.
    pub changed: bool,
    /// Whether the cluster is new, or gone.
    pub whole_cluster: bool,
    /// The drop-in's new contents; `None`: it goes.
    text: Option<String>,
    /// A key to be made.
    key: Option<(PathBuf, FileRead)>,
}

/// Why a change is not possible. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The configuration is wrong, as it is or as it would be.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// Several clusters, and none named; or a cluster that is not there.
    #[error("no cluster \"{name}\"; there is {}", known.join(", "))]
    UnknownCluster {
        /// What was asked for; empty if nothing was.
        name: String,
        /// The clusters that there are.
        known: Vec<String>,
    },
    /// A value that cannot be.
    #[error("{field}: found {found}; allowed: {allowed}")]
    Value {
        /// Which.
        field: &'static str,
        /// What was found.
        found: String,
        /// What is allowed.
        allowed: String,
    },
    /// A new cluster must have an address.
    #[error(
        "cluster \"{cluster}\" is not configured yet and needs a service address: \
         nlbctl addif {interface} --address ADDRESS"
    )]
    NeedsAddress {
        /// The cluster.
        cluster: String,
        /// The interface.
        interface: String,
    },
    /// An administrator wrote it, so an administrator takes it out.
    #[error("{place} names interface {interface}: take it out there, then run `nlbctl reload`")]
    NotOurs {
        /// The interface.
        interface: String,
        /// Where it stands.
        place: Place,
    },
    /// The drop-in or the key cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// The system's word on it.
        error: String,
    },
}

/// What adding an interface would make of the configuration.
///
/// # Errors
/// Why it cannot be done; nothing was written.
pub fn add_interface(
    location: &Location,
    system: &dyn System,
    wanted: &AddInterface,
) -> Result<Edit, EditError> {
    let config = load(location, system)?;
    let name = match &wanted.cluster {
        Some(name) => name.clone(),
        None => match config.clusters.as_slice() {
            [] => DEFAULT_CLUSTER.to_owned(),
            [only] => only.name.clone(),
            several => return Err(unknown("", several)),
        },
    };
    check_wanted(&name, wanted, system)?;
    let existing = config.cluster(&name);
    let mut drop_in = DropIn::read(location, system, &name);
    let mut key = None;
    let mut changed = false;
    match existing {
        Some(cluster) => fixed(cluster, wanted)?,
        None => {
            if wanted.addresses.is_empty() {
                let interface = wanted.interface.clone();
                return Err(EditError::NeedsAddress { cluster: name, interface });
            }
            drop_in.single("id", wanted.id.map(|id| id.to_string()));
            drop_in.single("mode", wanted.mode.map(|mode| format!("{mode:?}")));
            key = new_key(location, system, &name)?;
            changed = true;
        }
    }
    if existing.is_none_or(|cluster| !cluster.interfaces.contains(&wanted.interface)) {
        drop_in.interfaces.push(wanted.interface.clone());
        changed = true;
    }
    for address in &wanted.addresses {
        if existing.is_none_or(|cluster| !cluster.addresses.contains(address))
            && !drop_in.addresses.contains(&address.to_string())
        {
            drop_in.addresses.push(address.to_string());
            changed = true;
        }
    }
    let whole_cluster = existing.is_none();
    finish(
        location,
        system,
        drop_in,
        key,
        Edit {
            config: config.clone(),
            cluster: name,
            file: PathBuf::new(),
            changed,
            whole_cluster,
            text: None,
            key: None,
        },
    )
}

/// What taking an interface away would make of the configuration.
///
/// # Errors
/// Why it cannot be done; nothing was written.
pub fn remove_interface(
    location: &Location,
    system: &dyn System,
    interface: &str,
    cluster: Option<&str>,
) -> Result<Edit, EditError> {
    let config = load(location, system)?;
    let found = match cluster {
        Some(name) => Some(config.cluster(name).ok_or_else(|| unknown(name, &config.clusters))?),
        None => {
            let mut with = config.clusters.iter().filter(|c| has(&c.interfaces, interface));
            match (with.next(), with.next()) {
                (Some(_), Some(_)) => return Err(unknown("", &config.clusters)),
                (found, _) => found,
            }
        }
    };
    let Some(found) = found.filter(|cluster| has(&cluster.interfaces, interface)) else {
        let all = config.clusters.iter().filter(|c| cluster.is_none_or(|name| c.name == name));
        let mut all: Vec<_> = all.flat_map(|cluster| cluster.interfaces.clone()).collect();
        all.sort();
        all.dedup();
        let allowed =
            if all.is_empty() { "none, no cluster has one".into() } else { all.join(", ") };
        return Err(EditError::Value { field: "interface", found: interface.to_owned(), allowed });
    };
    let name = found.name.clone();
    let mut drop_in = DropIn::read(location, system, &name);
    if let Some(place) = elsewhere(location, system, &name, interface, &drop_in.path) {
        return Err(EditError::NotOurs { interface: interface.to_owned(), place });
    }
    drop_in.interfaces.retain(|other| other != interface);
    // Nothing can be served without an interface: the cluster goes with the last one.
    let whole_cluster = found.interfaces.len() == 1;
    if whole_cluster {
        if let Some(place) = elsewhere(location, system, &name, "", &drop_in.path) {
            return Err(EditError::NotOurs { interface: interface.to_owned(), place });
        }
        drop_in = DropIn::empty(drop_in.path);
    }
    finish(
        location,
        system,
        drop_in,
        None,
        Edit {
            config: config.clone(),
            cluster: name,
            file: PathBuf::new(),
            changed: true,
            whole_cluster,
            text: None,
            key: None,
        },
    )
}

/// Tries the change on paper.
fn finish(
    location: &Location,
    system: &dyn System,
    drop_in: DropIn,
    key: Option<(PathBuf, FileRead)>,
    mut edit: Edit,
) -> Result<Edit, EditError> {
    edit.text = drop_in.render(&edit.cluster);
    let file = |text: &String| FileRead {
        bytes: text.clone().into_bytes().into(),
        mode: 0o644,
        owner: system.user(),
    };
    let mut files = vec![(drop_in.path.clone(), edit.text.as_ref().map(file))];
    files.extend(key.clone().map(|(path, file)| (path, Some(file))));
    edit.config = load(location, &Overlay { system, files })?;
    edit.file = drop_in.path;
    edit.key = key;
    Ok(edit)
}

impl Edit {
    /// The key file that [`Self::commit`] makes, if the cluster had none.
    #[must_use]
    pub fn new_key(&self) -> Option<&Path> {
        self.key.as_ref().map(|(path, _)| path.as_path())
    }

    /// What the drop-in will say; `None`: it goes.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Writes key and drop-in, so that the change lasts.
    ///
    /// # Errors
    /// What could not be written.
    pub fn commit(&self) -> Result<(), EditError> {
        if !self.changed {
            return Ok(());
        }
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| EditError::Write { path, error: error.to_string() }
        };
        if let Some((path, file)) = &self.key {
            keys::create(path, file).map_err(failed(path))?;
        }
        match &self.text {
            Some(text) => drop_in::write(&self.file, text).map_err(failed(&self.file)),
            None => match std::fs::remove_file(&self.file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(failed(&self.file)(error))
                }
                _ => Ok(()),
            },
        }
    }
}

fn unknown(name: &str, clusters: &[ClusterConfig]) -> EditError {
    let known = clusters.iter().map(|cluster| cluster.name.clone()).collect();
    EditError::UnknownCluster { name: name.to_owned(), known }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == wanted)
}

/// What the caller typed, judged before it gets into a file: an error shall name the argument.
fn check_wanted(
    cluster: &str,
    wanted: &AddInterface,
    system: &dyn System,
) -> Result<(), EditError> {
    let refuse = |field, found: &str, allowed: &str| {
        Err(EditError::Value { field, found: found.to_owned(), allowed: allowed.to_owned() })
    };
    if !is_cluster_name(cluster) {
        return refuse("cluster", cluster, CLUSTER_NAME);
    }
    let mut present = system.interfaces();
    present.retain(|name| name != "lo" && name != cluster);
    if !has(&present, &wanted.interface) {
        present.sort();
        let allowed =
            if present.is_empty() { "none is there".to_owned() } else { present.join(", ") };
        return refuse("interface", &wanted.interface, &allowed);
    }
    for given in &wanted.addresses {
        if let Err(allowed) = address::service(&given.to_string()) {
            return refuse("address", &given.to_string(), allowed);
        }
    }
    match wanted.id {
        Some(ClusterId(0)) => refuse("id", "0", "1 to 65535"),
        _ => Ok(()),
    }
}

/// Mode and id of a cluster that exists are not changed in passing.
fn fixed(cluster: &ClusterConfig, wanted: &AddInterface) -> Result<(), EditError> {
    if let Some(mode) = wanted.mode.filter(|mode| *mode != cluster.mode) {
        let allowed = format!("{:?}, which cluster {} has", cluster.mode, cluster.name);
        return Err(EditError::Value { field: "mode", found: format!("{mode:?}"), allowed });
    }
    if let Some(id) = wanted.id.filter(|id| *id != cluster.id) {
        let allowed = format!("{}, which cluster {} has", cluster.id, cluster.name);
        return Err(EditError::Value { field: "id", found: id.to_string(), allowed });
    }
    Ok(())
}

/// A key for a cluster that has none yet.
fn new_key(
    location: &Location,
    system: &dyn System,
    cluster: &str,
) -> Result<Option<(PathBuf, FileRead)>, EditError> {
    let path = location.default_key(cluster);
    match system.read(&path, 0) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match keys::generate() {
            Ok(file) => Ok(Some((path, file))),
            Err(error) => Err(EditError::Write { path, error: error.to_string() }),
        },
        // There is one, or something that the check will name.
        _ => Ok(None),
    }
}

/// Where a file that is not ours names the interface of the cluster (the cluster itself, for "").
fn elsewhere(
    location: &Location,
    system: &dyn System,
    cluster: &str,
    interface: &str,
    ours: &Path,
) -> Option<Place> {
    let without = Overlay { system, files: vec![(ours.to_owned(), None)] };
    let mut sources = Sources::default();
    let mut raw = super::read::Raw::default();
    for (file, tree) in sources.read(location, &without) {
        if let Some(tree) = tree {
            super::read::file(&mut raw, &mut sources, file, &tree);
        }
    }
    let cluster = raw.clusters.iter().find(|raw| raw.name.value == cluster)?;
    let spot = match interface {
        "" => cluster.name.spot,
        name => cluster.interfaces.iter().find(|at| at.value == name)?.spot,
    };
    Some(sources.place(spot))
}
