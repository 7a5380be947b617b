//! What the process leaves to the next one, in the run directory (SPEC 6.11.3).
//!
//! One file for each cluster, rewritten before each heartbeat is sent and when it has left. It is
//! shorter than a page and written by one call at its beginning, so that a process that is killed
//! leaves the old record or the new one; what an older, longer one leaves behind it is not read.
//! postcard writes it: that costs a tenth of what text does, ten times a second and more. The run
//! directory belongs on a tmpfs: a disk that is busy would hold up heartbeats.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nlb_engine::{Drain, Life, Saved, Time};
use nlb_protocol::frame::PeerAck;
use nlb_protocol::{Epoch, Incarnation, NodeId, PinVersion, Sequence, Weight};
use serde::{Deserialize, Serialize};

use super::clock::now;
use crate::config::{ClusterConfig, Config, NodeConfig};

/// A page: what the kernel writes at once. 63 peers that are away take less than half of it.
const LENGTH: usize = 4096;

/// Names the shape of this file and of the kernel's rules. Whoever changes the file, the name of
/// a chain, or the definition of a set, raises it: the next process then begins anew.
const SHAPE: u32 = 7;

/// What a cluster's name is followed by.
const ENDING: &str = "state";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    shape: u32,
    /// The boot of the machine and the network namespace: times and rules are theirs.
    host: String,
    cluster: u16,
    node: u64,
    /// What the first key makes: another key is another cluster.
    key: u32,
    life: Option<SavedLife>,
    /// Until when, if not until told otherwise, and the most clients.
    drain: Option<(Option<u64>, usize)>,
    /// Node, low halves of incarnation and sequence, and the time.
    away: Vec<(u64, u32, u16, u64)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SavedLife {
    incarnation: u64,
    sequence: u64,
    epoch: u64,
    pin_version: u64,
    seed: u32,
    weight: u16,
    until: u64,
    planned: bool,
    witnessed: bool,
}

/// The file of one cluster.
#[derive(Debug)]
pub(super) struct StateFile {
    file: Option<File>,
    path: PathBuf,
    record: Record,
    saved: Option<Saved>,
    /// Where records are put together.
    page: Box<[u8]>,
}

impl StateFile {
    /// The file, and what an earlier process left that this one can take up.
    pub(super) fn open(
        run_dir: &Path,
        config: &ClusterConfig,
        node: &NodeConfig,
    ) -> (Self, Option<Saved>) {
        let record = Record::of(config, node);
        let path = path(run_dir, &config.name);
        let found = read(&path).and_then(|found| record.takes(found));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path);
        if let Err(error) = &file {
            tracing::warn!(path = %path.display(), %error, "a restart will not go unnoticed");
        }
        let page = vec![0; LENGTH].into();
        (Self { file: file.ok(), path, record, saved: None, page }, found)
    }

    /// Writes down what the next process needs, if that is news.
    ///
    /// # Errors
    /// When it cannot be written: then nothing that was written before holds either.
    pub(super) fn save(&mut self, saved: Saved) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        if self.saved.as_ref() == Some(&saved) {
            return Ok(());
        }
        self.record.take_in(&saved);
        let written = match postcard::to_slice(&self.record, &mut self.page) {
            Ok(record) => file.write_all_at(record, 0),
            // What is too long is as good as nothing: the next process begins anew.
            Err(_) => file.set_len(0),
        };
        if written.is_err() {
            self.file = None;
            let _ = std::fs::remove_file(&self.path);
        }
        self.saved = Some(saved);
        written
    }
}

impl Record {
    /// What names a cluster as it is configured, without what was saved of it.
    fn of(config: &ClusterConfig, node: &NodeConfig) -> Self {
        Self {
            shape: SHAPE,
            host: host().unwrap_or_default(),
            cluster: config.id.0,
            node: node.id.0,
            key: config.keys.ring().hash_seed(config.id),
            life: None,
            drain: None,
            away: Vec::new(),
        }
    }

    /// What of `found` holds here.
    fn takes(&self, found: Self) -> Option<Saved> {
        let same = found.shape == self.shape
            && found.host == self.host
            && !self.host.is_empty()
            && (found.cluster, found.node) == (self.cluster, self.node);
        if !same {
            return None;
        }
        let in_time = |life: &SavedLife| now() < Time::from_nanos(life.until);
        let life = found.life.filter(|life| found.key == self.key && in_time(life));
        let away = found.away.into_iter().map(|(node, incarnation_low, sequence_low, until)| {
            let node = NodeId(node);
            (PeerAck { node, incarnation_low, sequence_low }, Time::from_nanos(until))
        });
        Some(Saved {
            life: life.and_then(|life| life.engine()),
            drain: found
                .drain
                .map(|(until, most)| Drain { until: until.map(Time::from_nanos), most }),
            away: away.collect(),
        })
    }

    fn take_in(&mut self, saved: &Saved) {
        self.life = saved.life.map(SavedLife::from);
        self.drain = saved.drain.map(|drain| (drain.until.map(Time::as_nanos), drain.most));
        self.away.clear();
        self.away.extend(saved.away.iter().map(|(ack, until)| {
            (ack.node.0, ack.incarnation_low, ack.sequence_low, until.as_nanos())
        }));
    }
}

impl SavedLife {
    fn engine(&self) -> Option<Life> {
        Some(Life {
            incarnation: Some(Incarnation(self.incarnation)).filter(|one| one.0 != 0)?,
            sequence: Sequence(self.sequence),
            epoch: Epoch(self.epoch),
            pin_version: PinVersion(self.pin_version),
            seed: self.seed,
            weight: Weight::new(self.weight)?,
            until: Time::from_nanos(self.until),
            planned: self.planned,
            witnessed: self.witnessed,
        })
    }
}

impl From<Life> for SavedLife {
    fn from(life: Life) -> Self {
        Self {
            incarnation: life.incarnation.0,
            sequence: life.sequence.0,
            epoch: life.epoch.0,
            pin_version: life.pin_version.0,
            seed: life.seed,
            weight: life.weight.get(),
            until: life.until.as_nanos(),
            planned: life.planned,
            witnessed: life.witnessed,
        }
    }
}

/// The configured clusters whose earlier life can go on, so that what the kernel has of them stays.
/// Nothing else that it has is anybody's any more.
pub(super) fn going_on(run_dir: &Path, config: &Config) -> BTreeSet<String> {
    let goes_on = |cluster: &&ClusterConfig| {
        let found = read(&path(run_dir, &cluster.name));
        let saved = found.and_then(|found| Record::of(cluster, &config.node).takes(found));
        saved.is_some_and(|saved| saved.life.is_some())
    };
    config.clusters.iter().filter(goes_on).map(|cluster| cluster.name.clone()).collect()
}

/// Removes the files of clusters that are not configured: their rules go, so that no later process
/// can take up their lives.
pub(super) fn forget_all_but(run_dir: &Path, config: &Config) {
    let Ok(entries) = std::fs::read_dir(run_dir) else { return };
    let files = entries.flatten().map(|entry| entry.path());
    for file in files.filter(|file| file.extension().is_some_and(|end| end == ENDING)) {
        if config.clusters.iter().any(|cluster| path(run_dir, &cluster.name) == file) {
            continue;
        }
        if let Err(error) = std::fs::remove_file(&file) {
            tracing::debug!(path = %file.display(), %error, "an old life stays in its file");
        }
    }
}

fn path(run_dir: &Path, cluster: &str) -> PathBuf {
    run_dir.join(format!("{cluster}.{ENDING}"))
}

fn read(path: &Path) -> Option<Record> {
    let mut page = Vec::with_capacity(LENGTH);
    let file = File::open(path).ok()?;
    let length = u64::try_from(LENGTH).ok()?;
    file.take(length).read_to_end(&mut page).ok()?;
    postcard::from_bytes(&page).ok()
}

/// Names this network namespace of this boot of the machine.
fn host() -> io::Result<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let namespace = std::fs::read_link("/proc/thread-self/ns/net")?;
    Ok(format!("{} {}", boot.trim(), namespace.display()))
}

#[cfg(test)]
mod tests;
