//! Does what the schedule says, and writes down when it was really done.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use nlb_tests::cluster::Cluster;
use nlb_tests::cut::Cuts;
use nlb_tests::stamp::Stamp;

use super::schedule::{Fault, Planned};

/// A daemon that was told to end may take so long.
const END: Duration = Duration::from_secs(10);
/// Of a hundred heartbeats so many are lost where the segment is noisy: a server that is not heard
/// for that alone is one in hours.
const NOISE: u8 = 2;
/// Everything has come to rest within so long after the last fault has ended.
const SETTLED: Duration = Duration::from_secs(15);

/// A fault that was done.
#[derive(Debug, Clone)]
pub(super) struct Done {
    pub(super) fault: Fault,
    pub(super) from: Stamp,
    /// When it had ended; `None` as long as it lasts.
    pub(super) to: Option<Stamp>,
}

impl Done {
    /// Whether it lasted at some time between these, or had ended less than `after` before.
    pub(super) fn during(&self, from: Stamp, to: Stamp, after: Duration) -> bool {
        self.from <= to && self.to.is_none_or(|end| end + after >= from)
    }
}

/// The cluster that it is done to.
#[derive(Debug)]
pub(super) struct Runner<'a> {
    pub(super) cluster: &'a mut Cluster,
    pub(super) done: Vec<Done>,
    /// What went wrong that is no fault of ours, in words.
    pub(super) findings: Vec<String>,
    pub(super) weights: Vec<u16>,
    /// When each weight was set: server, weight.
    pub(super) weighed: Vec<(Stamp, usize, u16)>,
    cuts: Cuts,
    begun: Instant,
}

impl<'a> Runner<'a> {
    pub(super) fn new(cluster: &'a mut Cluster, weights: &[u16]) -> Self {
        let now = Stamp::now();
        let numbered = (1..).zip(weights);
        let weighed = numbered.map(|(server, weight)| (now, server, *weight)).collect();
        let (done, findings) = (Vec::new(), Vec::new());
        let (cuts, begun) = (Cuts::default(), Instant::now());
        Self { cluster, done, findings, weights: weights.to_vec(), weighed, cuts, begun }
    }

    /// Works through the schedule. `stop` is asked in between.
    pub(super) fn play(&mut self, plan: &[Planned], stop: impl Fn() -> bool) -> Result<()> {
        let mut steps: Vec<(Duration, bool, usize)> = Vec::new();
        for (index, planned) in plan.iter().enumerate() {
            steps.push((planned.from, true, index));
            if planned.fault.lasts() {
                steps.push((planned.to, false, index));
            }
        }
        // Of what is due at one instant, ends come first.
        steps.sort_by_key(|(at, begins, index)| (*at, *begins, *index));
        let mut open: Vec<(usize, usize)> = Vec::new();
        for (at, begins, index) in steps {
            let Some(planned) = plan.get(index) else { continue };
            if stop() {
                break;
            }
            std::thread::sleep(at.saturating_sub(self.begun.elapsed()));
            self.check_alive();
            if begins {
                open.push((index, self.done.len()));
                self.begin(planned)?;
            } else if let Some((_, done)) = open.iter().find(|(open, _)| *open == index) {
                self.end(*done)?;
            }
        }
        for index in 0..self.done.len() {
            if self.done.get(index).is_some_and(|done| done.to.is_none()) {
                self.end(index)?;
            }
        }
        self.settle("at the end");
        Ok(())
    }

    fn say(&self, words: &str) {
        println!("{:8.2} s  {words}", self.begun.elapsed().as_secs_f64());
    }

    fn check_alive(&mut self) {
        let ending = |number: usize| {
            let ends = [Fault::Terminate(number), Fault::Restart(number)];
            self.done.iter().any(|done| done.to.is_none() && ends.contains(&done.fault))
        };
        let nodes = (1..).zip(&mut self.cluster.nodes);
        for (_, node) in nodes.filter(|(number, _)| !ending(*number)) {
            if let Err(error) = node.check_alive() {
                let finding = format!("{error:#}");
                println!("FINDING: {finding}");
                self.findings.push(finding);
                if let Err(error) = node.start() {
                    self.findings.push(format!("{error:#}"));
                }
            }
        }
    }

    fn begin(&mut self, planned: &Planned) -> Result<()> {
        let fault = planned.fault.clone();
        let lasts = planned.to.saturating_sub(planned.from);
        if fault.lasts() {
            self.say(&format!("{fault}, for {:.2} s", lasts.as_secs_f64()));
        } else {
            self.say(&fault.to_string());
        }
        let from = Stamp::now();
        let to = None;
        self.done.push(Done { fault: fault.clone(), from, to });
        let nodes = &mut self.cluster.nodes;
        let node = match fault.server() {
            Some(server) => Some(nodes.get_mut(server - 1).context("no such server")?),
            None => None,
        };
        match (fault, node) {
            (Fault::Kill(_), Some(node)) => node.kill()?,
            (Fault::Stop(_) | Fault::Pause(_), Some(node)) => node.signal(Signal::SIGSTOP)?,
            (Fault::Drain(_), Some(_)) => self.ask(&["drain", "nlb0"], planned)?,
            (Fault::Leave(_), Some(_)) => self.ask(&["leave", "nlb0"], planned)?,
            (Fault::Terminate(_), Some(node)) => node.signal(Signal::SIGTERM)?,
            (Fault::Restart(_), Some(node)) => {
                if let Err(error) = node.ctl(&["restart-hold"]) {
                    self.findings.push(format!("nlbctl failed: {error:#}"));
                }
                node.signal(Signal::SIGTERM)?;
            }
            (Fault::Crash(server), Some(node)) => {
                node.kill()?;
                self.start(server)?;
            }
            (Fault::Weight(server, weight), Some(_)) => {
                self.ask(&["set_weight", "nlb0", &weight.to_string()], planned)?;
                if let Some(known) = self.weights.get_mut(server - 1) {
                    *known = weight;
                }
                self.weighed.push((Stamp::now(), server, weight));
            }
            (Fault::Flush(_), Some(node)) => node.namespace.sh("nft flush ruleset").map(drop)?,
            (Fault::Rest, _) => self.settle("before the next faults"),
            (fault, _) => self.cut(&fault, true)?,
        }
        if !planned.fault.lasts() {
            self.close(self.done.len() - 1);
        }
        Ok(())
    }

    fn end(&mut self, index: usize) -> Result<()> {
        let Some(done) = self.done.get(index).cloned() else { return Ok(()) };
        self.say(&format!("  end of {}", done.fault));
        let server = done.fault.server().unwrap_or(1);
        let node = self.cluster.nodes.get_mut(server - 1).context("no such server")?;
        match &done.fault {
            Fault::Kill(_) => self.start(server)?,
            Fault::Stop(_) | Fault::Pause(_) => node.signal(Signal::SIGCONT)?,
            Fault::Drain(_) => {
                node.ctl(&["undrain", "nlb0"])?;
            }
            Fault::Leave(_) | Fault::Terminate(_) => {
                if matches!(done.fault, Fault::Leave(_)) {
                    node.signal(Signal::SIGTERM)?;
                }
                let status = node.wait_end(END)?;
                if !status.success() {
                    self.findings.push(format!("n{server} ended with {status}"));
                }
                if let Err(error) = self.cluster.check_restored(server - 1) {
                    self.findings.push(format!("{error:#}"));
                }
                self.start(server)?;
            }
            Fault::Restart(_) => {
                let status = node.wait_end(END)?;
                if !status.success() {
                    self.findings.push(format!("n{server} ended with {status}"));
                }
                self.start(server)?;
            }
            fault => self.cut(fault, false)?,
        }
        self.close(index);
        Ok(())
    }

    fn close(&mut self, index: usize) {
        if let Some(done) = self.done.get_mut(index) {
            done.to = Some(Stamp::now());
        }
    }

    /// Asks the server that the fault is about, by `nlbctl`.
    fn ask(&mut self, words: &[&str], planned: &Planned) -> Result<()> {
        let server = planned.fault.server().context("no server")?;
        let node = self.cluster.nodes.get(server - 1).context("no such server")?;
        if let Err(error) = node.ctl(words) {
            // Its daemon may be paused or starting at this moment: it is said and counted.
            let finding = format!("nlbctl failed: {error:#}");
            println!("FINDING: {finding}");
            self.findings.push(finding);
        }
        Ok(())
    }

    /// Starts the daemon of a server with the weight that it was given last.
    fn start(&mut self, server: usize) -> Result<()> {
        let weight = self.weights.get(server - 1).copied().context("no such server")?;
        self.cluster.start_node(server - 1, weight)
    }

    fn cut(&mut self, fault: &Fault, begins: bool) -> Result<()> {
        let servers = self.cluster.nodes.len();
        let mut set = |links: &[(usize, usize)]| {
            for link in links {
                if begins {
                    self.cuts.links.insert(*link);
                } else {
                    self.cuts.links.remove(link);
                }
            }
        };
        match fault {
            Fault::OneWay(from, to) => set(&[(*from, *to)]),
            Fault::TwoWay(one, other) => set(&[(*one, *other), (*other, *one)]),
            Fault::Partition(group) if begins => self.cuts.divide(group, servers),
            Fault::Partition(group) => self.cuts.unite(group, servers),
            Fault::Deaf(server) if begins => drop(self.cuts.deaf.insert(*server)),
            Fault::Deaf(server) => drop(self.cuts.deaf.remove(server)),
            Fault::Mute(server) if begins => drop(self.cuts.mute.insert(*server)),
            Fault::Mute(server) => drop(self.cuts.mute.remove(server)),
            Fault::Noise => self.cuts.noise = if begins { NOISE } else { 0 },
            _ => {}
        }
        self.cuts.apply(&self.cluster.lab)
    }

    /// With no fault any more, all agree and every bucket is served (I3).
    fn settle(&mut self, when: &str) {
        let begun = Instant::now();
        let servers = self.cluster.nodes.len();
        match self.cluster.wait_settled_within(servers, SETTLED) {
            Ok(_) => self.say(&format!("settled {when}, {:.2?}", begun.elapsed())),
            Err(error) => {
                let finding = format!("not settled {when}: {error:#}");
                self.say(&format!("FINDING: {finding}"));
                self.findings.push(finding);
            }
        }
    }
}
