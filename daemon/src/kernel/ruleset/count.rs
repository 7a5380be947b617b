//! What the kernel counts of the packets and frames for the service: named counters, one for each
//! way that they go. They belong to the tables, so that rules which are set again count on.

use super::batch::{Batch, Table};

/// Where a packet of the service, or a frame, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Taken, of a client that the kernel knows.
    Known,
    /// Taken, because user space said so.
    Admitted,
    /// Dropped: its bucket is another node's.
    Foreign,
    /// Dropped: another node keeps its client.
    Pinned,
    /// Dropped: no service address, or no port of the cluster.
    NotService,
    /// Dropped: more ICMP errors than user space is asked about.
    TooManyErrors,
    /// Dropped: it never came to user space, because the way there was not in force.
    Unasked,
    /// Dropped by the gate: no heartbeat left within the lease.
    NoLease,
}

impl Fate {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::Known,
        Self::Admitted,
        Self::Foreign,
        Self::Pinned,
        Self::NotService,
        Self::TooManyErrors,
        Self::Unasked,
        Self::NoLease,
    ];

    /// Its name, for metrics too.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Admitted => "admitted",
            Self::Foreign => "foreign",
            Self::Pinned => "pinned",
            Self::NotService => "not_service",
            Self::TooManyErrors => "too_many_errors",
            Self::Unasked => "unasked",
            Self::NoLease => "no_lease",
        }
    }

    /// Whether the packet was taken.
    #[must_use]
    pub const fn is_taken(self) -> bool {
        matches!(self, Self::Known | Self::Admitted)
    }

    const fn table(self) -> Table {
        match self {
            Self::NoLease => Table::Gate,
            _ => Table::Stage,
        }
    }

    /// The counter's name in the kernel.
    fn counter(self, cluster: &str) -> String {
        format!("{}.{cluster}", self.name())
    }

    /// The cluster and the fate of a counter.
    pub(crate) fn of_counter(name: &str) -> Option<(Self, &str)> {
        let (word, cluster) = name.split_once('.')?;
        Self::ALL.into_iter().find(|fate| fate.name() == word).map(|fate| (fate, cluster))
    }
}

/// The statement that counts.
pub(super) fn count(fate: Fate, cluster: &str) -> String {
    format!("counter name \"{}\"", fate.counter(cluster))
}

fn of(table: Table) -> impl Iterator<Item = Fate> {
    Fate::ALL.into_iter().filter(move |fate| fate.table() == table)
}

/// The counters of a table are there; what they have counted stays.
pub(super) fn install(batch: &mut Batch, table: Table, cluster: &str) {
    of(table).for_each(|fate| batch.add_counter(table, &fate.counter(cluster)));
}

/// When no rule names them any more.
pub(super) fn remove(batch: &mut Batch, table: Table, cluster: &str) {
    of(table).for_each(|fate| batch.remove_counter(table, &fate.counter(cluster)));
}
