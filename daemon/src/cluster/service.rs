//! The service of a cluster on this node: how loaded it is, whether it is well, and what the
//! cluster is told of that.

use nlb_engine::Withdraw;
use nlb_engine::manage::{Command, Outcome};
use nlb_protocol::Weight;
use nlb_protocol::frame::{Health, State};

use super::asking::Asking;
use super::clock::now;
use super::request::ClusterRequest;
use super::running::Running;
use crate::check::{CheckReport, Checks, Turn};
use crate::host::connections;
use crate::weight::{Reading, Said, WeightSource};

/// The checks of a cluster, and what was made of them.
pub(super) struct Checking {
    pub(super) checks: Checks,
    told: (Health, Withdraw),
    penalty: u16,
    /// Nobody is well, and this node serves all the same.
    nobody_well: bool,
}

impl Checking {
    pub(super) fn new(checks: Checks) -> Self {
        let told = (Health::Unknown, Withdraw::default());
        Self { checks, told, penalty: 0, nobody_well: false }
    }
}

impl Running {
    /// Where its weight comes from now.
    pub(super) fn source(&self) -> WeightSource {
        self.weigher.source()
    }

    /// Takes in what was measured, and has the weight follow it; gives what is to be said of it.
    pub(super) async fn weigh(&mut self, reading: &Reading) -> Vec<Turn> {
        let mut reading = *reading;
        let said = self.hear_command(&mut reading);
        if self.weigher.source() == WeightSource::Connections {
            let addresses = self.config.addresses.iter().copied().collect();
            // Many thousands take a while to count: not in this thread. What cannot be counted is
            // not known, and the weight stays.
            let count = tokio::task::spawn_blocking(move || connections(&addresses)).await;
            reading.connections = count.ok().and_then(Result::ok);
        }
        let load = self.weigher.sample(&reading, now());
        if load != self.load {
            self.load = load;
            self.tell(ClusterRequest::Load(load)).await;
        }
        let view = self.view();
        if self.weigher.decide(&view.snapshot.nodes, now()).is_some() {
            self.tell_weight().await;
        }
        said.into_iter().map(|(kind, text)| Turn { kind, text }).collect()
    }

    /// Asks the command that is configured while the weight comes from it, and takes in what it
    /// said.
    fn hear_command(&mut self, reading: &mut Reading) -> Vec<Said> {
        let wanted = (self.weigher.source() == WeightSource::Command)
            .then_some(self.config.load_command.as_ref())
            .flatten();
        let asked = self.asking.as_ref().map(|asking| asking.answers.command());
        if wanted != asked {
            self.asking = wanted.map(|command| Asking::start(command, self.commands.clone()));
        }
        let Some(asking) = &mut self.asking else { return Vec::new() };
        let mut said: Vec<Said> = asking.hear(now()).into_iter().collect();
        if let Some(fallback) = asking.answers.falls_back(now()) {
            self.weigher.fall_back(asking.answers.command().fallback);
            said.push(fallback);
        }
        reading.command = asking.answers.load(now());
        said
    }

    /// Takes the weight from elsewhere; `None` keeps the present one.
    pub(super) async fn set_weight_source(&mut self, source: Option<WeightSource>) -> Outcome {
        let before = self.weigher.source();
        if self.weigher.set_source(source).is_some() {
            self.tell_weight().await;
        }
        if self.weigher.source() == before { Outcome::Unchanged } else { Outcome::Changed }
    }

    pub(super) async fn tell_weight(&self) {
        let weight = self.weigher.weight().get().saturating_add(self.checking.penalty);
        if let Some(weight) = Weight::new(weight) {
            let _ = self.command(Command::SetWeight(weight)).await;
        }
    }

    /// Takes in how a check went; gives what is to be said about it.
    pub(super) async fn take_in_check(&mut self, report: CheckReport) -> Vec<Turn> {
        let mut turns: Vec<Turn> =
            self.checking.checks.take_in(report, now()).into_iter().collect();
        self.tell_health().await;
        let nobody_well = self.is_nobody_well();
        if nobody_well != self.checking.nobody_well {
            self.checking.nobody_well = nobody_well;
            turns.push(Turn::nobody_well(nobody_well));
        }
        turns
    }

    /// Tells the engine what the checks say, if that is something else than it was.
    pub(super) async fn tell_health(&mut self) {
        let checks = &self.checking.checks;
        let (tell, penalty) = ((checks.health(), checks.withdraw()), checks.penalty());
        if tell != self.checking.told {
            self.checking.told = tell;
            self.tell(ClusterRequest::Health(tell.0, tell.1)).await;
        }
        if penalty != self.checking.penalty {
            self.checking.penalty = penalty;
            self.tell_weight().await;
        }
    }

    /// Whether this node serves although its service is ill, because nobody else is well.
    fn is_nobody_well(&self) -> bool {
        if self.checking.told != (Health::Ill, Withdraw::WhileOthersAreWell) {
            return false;
        }
        let view = self.view();
        let nodes = &view.snapshot.nodes;
        let serves = |node: &nlb_engine::manage::NodeView| node.state == State::Active;
        nodes.iter().any(|node| node.local && serves(node))
            && nodes.iter().all(|node| node.local || !serves(node) || node.health == Health::Ill)
    }
}
