//! Answers the engine's questions about clients that may not be in use any more (SPEC 6.7.6): what
//! the kernel still knows of them, and who has an open connection here.
//!
//! In a thread of its own for each cluster: a host with a million sockets takes a second to say
//! whose they are, and neither heartbeats nor a fence may wait for that.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use nlb_engine::{Finding, Time};
use tokio::sync::mpsc;

use super::clock::now;
use super::request::ClusterRequest;
use crate::host::connected;
use crate::kernel::Lookup;

/// Questions that may wait. The engine asks the next one when it has its answer.
const QUESTIONS: usize = 1;

/// One question.
#[derive(Debug)]
pub(super) struct Question {
    /// About whom.
    pub(super) clients: Vec<IpAddr>,
    /// The service addresses.
    pub(super) addresses: Vec<IpAddr>,
}

/// What was found, as of `asked` or later.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) findings: Vec<Finding>,
    pub(super) asked: Time,
}

/// What the thread knows.
pub(super) struct Watch {
    /// Of which cluster.
    pub(super) cluster: String,
    /// Whether the kernel keeps clients at all.
    pub(super) offload: bool,
    /// How long a client is kept that sends nothing.
    pub(super) idle: Duration,
    /// Where answers go.
    pub(super) answers: mpsc::WeakSender<ClusterRequest>,
}

impl Watch {
    /// Starts the thread; it ends when nobody can ask any more.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start(self) -> io::Result<mpsc::Sender<Question>> {
        let (ask, questions) = mpsc::channel(QUESTIONS);
        let name = format!("{}-idle", self.cluster);
        std::thread::Builder::new().name(name).spawn(move || {
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(self.run(questions)),
                Err(error) => tracing::error!(%error, "no runtime for the search for idle clients"),
            }
        })?;
        Ok(ask)
    }

    async fn run(self, mut questions: mpsc::Receiver<Question>) {
        let mut lookup = match Lookup::open() {
            Ok(lookup) => lookup,
            Err(error) => return tracing::error!(%error, "idle clients cannot be looked for"),
        };
        let mut connections = Connections::default();
        while let Some(question) = questions.recv().await {
            let asked = now();
            match self.find(&mut lookup, &mut connections, &question).await {
                Ok(findings) => {
                    let answer = ClusterRequest::Found(Answer { findings, asked });
                    let Some(answers) = self.answers.upgrade() else { return };
                    if answers.send(answer).await.is_err() {
                        return;
                    }
                }
                // The engine asks again.
                Err(error) => {
                    tracing::warn!(cluster = self.cluster, %error, "idle clients cannot be found");
                }
            }
        }
    }

    async fn find(
        &self,
        lookup: &mut Lookup,
        connections: &mut Connections,
        question: &Question,
    ) -> io::Result<Vec<Finding>> {
        let mut findings = Vec::with_capacity(question.clients.len());
        let mut quiet = false;
        for client in &question.clients {
            let left = if self.offload { lookup.left(&self.cluster, *client).await? } else { None };
            quiet |= left.is_none_or(|left| left <= self.idle / 4);
            findings.push(Finding { client: *client, left, connected: false });
        }
        if quiet {
            let open = connections.of(&question.addresses, self.idle / 16);
            findings.iter_mut().for_each(|found| found.connected = open.contains(&found.client));
        }
        Ok(findings)
    }
}

/// The open connections, as they were a moment ago.
#[derive(Debug, Default)]
struct Connections {
    open: BTreeSet<IpAddr>,
    read: Option<Time>,
    failed: bool,
}

impl Connections {
    /// Those to these addresses, no older than this. A client that opened one since has sent
    /// something since, and is not asked about.
    fn of(&mut self, addresses: &[IpAddr], age: Duration) -> &BTreeSet<IpAddr> {
        if self.read.is_some_and(|read| now().since(read) < age) {
            return &self.open;
        }
        let addresses: BTreeSet<IpAddr> = addresses.iter().copied().collect();
        match connected(&addresses) {
            Ok(open) => (self.open, self.failed) = (open, false),
            Err(error) => {
                self.open.clear();
                if !self.failed {
                    tracing::warn!(%error, "the kernel does not say who is connected: clients \
                        without a packet for the idle time are let go, also with open connections");
                }
                self.failed = true;
            }
        }
        self.read = Some(now());
        &self.open
    }
}
