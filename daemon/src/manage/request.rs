//! What can be asked of the daemon, and what comes back.

use core::net::IpAddr;
use core::time::Duration;
use std::path::PathBuf;

use nlb_engine::manage::{BucketView, ClientView, CommandError, Explanation, Outcome};
use nlb_protocol::{NodeId, Weight};
use nlb_record::Step;
use tokio::sync::mpsc;

use super::permit::Denied;
use super::view::{DaemonView, StatusView};
use crate::config::{AddInterface, Config, ConfigErrors, Edit, EditError};
use crate::weight::WeightSource;

/// Something asked of the daemon. Where a cluster is named by an `Option`, `None` means the only
/// one there is: see [`resolve`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // fields are what their names say
pub enum Request {
    /// The daemon, its clusters and their nodes. Answered by [`Reply::Status`].
    Status,
    /// Who has which bucket. Answered by [`Reply::Buckets`].
    Buckets { cluster: Option<String> },
    /// The clients that this node keeps, at most so many. Answered by [`Reply::Clients`].
    Clients { cluster: Option<String>, limit: usize },
    /// Where a client goes. Answered by [`Reply::Explanation`].
    Explain { cluster: Option<String>, client: IpAddr },
    /// Take this weight and keep it. Answered by [`Reply::Done`].
    SetWeight { cluster: Option<String>, weight: Weight },
    /// Take the weight from there; `None` keeps the present one. Answered by [`Reply::Done`].
    SetWeightSource { cluster: Option<String>, source: Option<WeightSource> },
    /// Serve a cluster on an interface. Answered by [`Reply::Interface`].
    AddInterface(AddInterface),
    /// Serve a cluster no longer on an interface. Answered by [`Reply::Interface`].
    RemoveInterface { cluster: Option<String>, interface: String },
    /// Hand everything over and be gone. Answered by [`Reply::Done`].
    Leave { cluster: Option<String> },
    /// Own no buckets, keep the clients; `force`: also where no other node is active. Answered by
    /// [`Reply::Done`].
    Drain { cluster: Option<String>, timeout: Option<Duration>, force: bool },
    /// The daemon will be ended, to be started again within so long. Answered by [`Reply::Done`].
    RestartHold { hold: Duration },
    /// Take a share again. Answered by [`Reply::Done`].
    Undrain { cluster: Option<String> },
    /// Read the configuration again and apply it. Answered by [`Reply::Done`].
    Reload,
    /// Check the configuration, or another file. Answered by [`Reply::Checked`].
    CheckConfig { file: Option<PathBuf> },
    /// Put what the engine of a cluster is told on this tape, at once or when it starts next.
    /// Answered by [`Reply::Recording`].
    Record { cluster: Option<String>, from_start: bool, tape: TapeEnd },
}

/// The end of a tape that is recorded on.
#[derive(Debug, Clone)]
pub struct TapeEnd {
    /// Where the steps go. Full or closed: they are lost.
    pub steps: mpsc::Sender<Step>,
    /// How long it shall run.
    pub time: Duration,
}

impl PartialEq for TapeEnd {
    fn eq(&self, other: &Self) -> bool {
        self.steps.same_channel(&other.steps) && self.time == other.time
    }
}

impl Eq for TapeEnd {}

impl Request {
    /// The polkit action that stands for it; `None`: everybody may ask it.
    /// [`Request::CheckConfig`] is not for everybody although it changes nothing: it tells what
    /// stands in the configuration (see also [`Self::reads_any_file`]). Nor is [`Request::Record`]: it tells the hash seed, and
    /// costs something.
    #[must_use]
    pub fn privilege(&self) -> Option<&'static str> {
        match self {
            Self::Status | Self::Buckets { .. } | Self::Clients { .. } | Self::Explain { .. } => {
                None
            }
            Self::SetWeight { .. } | Self::SetWeightSource { .. } => Some("org.nlbd1.set-weight"),
            Self::Drain { .. } | Self::Undrain { .. } => Some("org.nlbd1.drain"),
            Self::Leave { .. } | Self::RestartHold { .. } => Some("org.nlbd1.leave"),
            Self::Reload => Some("org.nlbd1.reload"),
            Self::AddInterface(_) | Self::RemoveInterface { .. } | Self::CheckConfig { .. } => {
                Some("org.nlbd1.manage")
            }
            Self::Record { .. } => Some("org.nlbd1.record"),
        }
    }

    /// Whether it tells what stands in a file of the caller's choice, which the daemon reads as
    /// root: an error quotes it.
    #[must_use]
    pub fn reads_any_file(&self) -> bool {
        matches!(self, Self::CheckConfig { file: Some(_) })
    }

    /// What is asked, in words, for the log and for a refusal.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self {
            Self::Status => "see the status",
            Self::Buckets { .. } => "see the buckets",
            Self::Clients { .. } => "see the clients",
            Self::Explain { .. } => "have a client explained",
            Self::SetWeight { .. } => "set a weight",
            Self::SetWeightSource { .. } => "change where the weight comes from",
            Self::AddInterface(_) => "add an interface",
            Self::RemoveInterface { .. } => "remove an interface",
            Self::Leave { .. } => "leave a cluster",
            Self::Drain { .. } => "drain a node",
            Self::RestartHold { .. } => "announce a restart",
            Self::Undrain { .. } => "undrain a node",
            Self::Reload => "reload the configuration",
            Self::CheckConfig { .. } => "check the configuration",
            Self::Record { .. } => "record a cluster",
        }
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// To `Status`; the clusters in the order of their names.
    Status(DaemonView, Vec<StatusView>),
    /// To `Buckets`: the cluster, its buckets, and the names of the nodes.
    Buckets(String, Vec<BucketView>, Vec<(NodeId, String)>),
    /// To `Clients`: the cluster, how many there are in all, and some of them.
    Clients(String, usize, Vec<ClientView>, Vec<(NodeId, String)>),
    /// To `Explain`.
    Explanation(String, Explanation, Vec<(NodeId, String)>),
    /// To whatever changes something.
    Done(Done),
    /// To `AddInterface` and `RemoveInterface`.
    Interface(InterfaceChange),
    /// To `CheckConfig`.
    Checked(Checked),
    /// To `Record`: of which cluster.
    Recording(String),
}

/// A change that was made, or was not needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Whether anything is different now.
    pub outcome: Outcome,
    /// What the administrator should know.
    pub notes: Vec<String>,
}

impl From<Outcome> for Done {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, notes: Vec::new() }
    }
}

/// An interface that was added or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceChange {
    /// Whether anything is different now.
    pub outcome: Outcome,
    /// The cluster.
    pub cluster: String,
    /// The drop-in that keeps it.
    pub file: PathBuf,
    /// The cluster's key file; `None` for an insecure cluster or one that is gone.
    pub key_file: Option<PathBuf>,
    /// Whether the key was made just now.
    pub key_created: bool,
    /// Whether the cluster is new, or gone.
    pub whole_cluster: bool,
    /// What the administrator should know.
    pub notes: Vec<String>,
}

impl From<&Edit> for InterfaceChange {
    fn from(edit: &Edit) -> Self {
        let cluster = edit.config.cluster(&edit.cluster);
        Self {
            outcome: if edit.changed { Outcome::Changed } else { Outcome::Unchanged },
            cluster: edit.cluster.clone(),
            file: edit.file.clone(),
            key_file: cluster.and_then(|cluster| cluster.key_file.clone()),
            key_created: edit.new_key().is_some(),
            whole_cluster: edit.whole_cluster,
            notes: Vec::new(),
        }
    }
}

/// A configuration that is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The files that were read.
    pub files: Vec<PathBuf>,
    /// The clusters they describe.
    pub clusters: Vec<String>,
    /// What may be a mistake although it is valid.
    pub warnings: Vec<String>,
}

impl From<&Config> for Checked {
    fn from(config: &Config) -> Self {
        let clusters = config.clusters.iter().map(|cluster| cluster.name.clone()).collect();
        Self { files: config.files.clone(), clusters, warnings: Vec::new() }
    }
}

/// Why a request was not granted. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManageError {
    /// No such cluster; or several, and none named (`name` is empty then).
    #[error("no cluster \"{name}\" here; there is {}", known.join(", "))]
    UnknownCluster {
        /// The name asked for.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The caller may not do this.
    #[error("user {user} has no permission to {action}: {denied}")]
    NotPermitted {
        /// What was asked.
        action: &'static str,
        /// Who asked.
        user: u32,
        /// Why not.
        denied: Denied,
    },
    /// More requests wait for polkit than are kept.
    #[error("too many requests wait for permission already")]
    TooMany,
    /// A value that cannot be.
    #[error("{field}: found {found}; allowed: {allowed}")]
    InvalidValue {
        /// Which.
        field: &'static str,
        /// What was found.
        found: String,
        /// What is allowed.
        allowed: String,
    },
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The daemon will not, or could not.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// The daemon does not answer: it ends, or it is overloaded.
    #[error("the daemon did not answer in time; what was asked may still be done")]
    NoAnswer,
}

impl From<CommandError> for ManageError {
    fn from(error: CommandError) -> Self {
        Self::Refused { reason: error.to_string() }
    }
}

impl From<EditError> for ManageError {
    fn from(error: EditError) -> Self {
        match error {
            EditError::Config(errors) => Self::Config(errors),
            EditError::UnknownCluster { name, known } => Self::UnknownCluster { name, known },
            EditError::Value { field, found, allowed } => {
                Self::InvalidValue { field, found, allowed }
            }
            other @ (EditError::NeedsAddress { .. }
            | EditError::NotOurs { .. }
            | EditError::Write { .. }) => Self::Refused { reason: other.to_string() },
        }
    }
}

/// The error that names the clusters that there are.
pub fn known<'n>(name: &str, clusters: impl IntoIterator<Item = &'n str>) -> ManageError {
    let known = clusters.into_iter().map(str::to_owned).collect();
    ManageError::UnknownCluster { name: name.to_owned(), known }
}

/// The cluster that a request means: the one named, or the only one there is.
///
/// # Errors
/// When there is no such cluster, or none is named and there are several or none.
pub fn resolve<'n>(name: Option<&str>, clusters: &[&'n str]) -> Result<&'n str, ManageError> {
    let found = match name {
        Some(name) => clusters.iter().find(|cluster| **cluster == name),
        None if clusters.len() == 1 => clusters.first(),
        None => None,
    };
    found.copied().ok_or_else(|| known(name.unwrap_or_default(), clusters.iter().copied()))
}
