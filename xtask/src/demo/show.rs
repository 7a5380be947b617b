//! The demo's scenes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nlb_protocol::ids::BUCKETS;
use nlb_tests::cluster::Cluster;
use nlb_tests::lab::{LabOptions, SERVICE4, SERVICE6, server_mac};
use nlb_tests::load::{Load, LoadSpec, Sources};
use nlb_tests::spec::ClusterSpec;
use nlb_tests::stamp::Stamp;
use nlb_tests::status::ClusterStatus;
use nlb_tests::wire::Question;

use super::clients::{Clients, words};
use super::screen::Screen;
use super::stop::Stop;

/// The weights to begin with: the third server gets half of what the others get.
const WEIGHTS: [u16; 3] = [100, 100, 200];
/// Clients that come again and again, each every two seconds.
const KNOWN: u32 = 200;
/// Connections a second, of known clients and of new ones each.
const RATE: u32 = 100;
/// How long a scene is watched.
const SCENE: Duration = Duration::from_secs(4);
/// How often the table is drawn.
const DRAW: Duration = Duration::from_millis(250);

/// The cluster on stage.
#[derive(Debug)]
pub(crate) struct Show {
    pub(crate) cluster: Cluster,
    pub(crate) screen: Screen,
    pub(crate) stop: Stop,
    clients: Clients,
    known: Option<Load>,
    new: Option<Load>,
    results: Vec<String>,
}

impl Show {
    /// Builds the segment and says what is on it.
    pub(crate) fn build(stop: Stop) -> Result<Self> {
        let mut screen = Screen::new();
        screen.heading("nlbd: three servers answer for one address");
        let cluster = Cluster::new(&LabOptions::default(), &ClusterSpec::default())?;
        screen.say(&format!(
            "  service   {SERVICE4} and {SERVICE6}, on the shared MAC {}\n  \
               servers   n1 and n2 of weight 100, n3 of weight 200: the higher, the less traffic\n  \
               clients   {KNOWN} known addresses and ever new ones, {} connections a second",
            cluster.spec.mac(),
            2 * RATE
        ));
        let (clients, results) = (Clients::default(), Vec::new());
        Ok(Self { cluster, screen, stop, clients, known: None, new: None, results })
    }

    /// Starts servers and clients.
    pub(crate) fn open(&mut self) -> Result<()> {
        self.screen.heading("The servers start");
        let begun = Instant::now();
        self.cluster.start(&WEIGHTS)?;
        let took = words(begun.elapsed());
        self.screen.say(&format!("  They found each other and agreed on one table within {took}."));
        let client = &self.cluster.lab.client;
        let sources = Sources::Round { first: 0, count: KNOWN };
        let known = LoadSpec { rate: RATE, sources, ..LoadSpec::default() };
        let new = Sources::Fresh { first: 100_000 };
        let new = LoadSpec { rate: RATE, sources: new, ..LoadSpec::default() };
        self.known = Some(Load::start(client, &known)?);
        self.new = Some(Load::start(client, &new)?);
        Ok(())
    }

    /// All scenes. Ends early, and well, when somebody wants to stop.
    pub(crate) fn play(&mut self) -> Result<()> {
        self.open()?;
        self.scene("Clients come", SCENE + SCENE / 2, |_| Ok(()))?;
        let killed = Stamp::now();
        self.scene("n1 is killed (SIGKILL), as in a crash", SCENE, |cluster| {
            cluster.nodes[0].kill()
        })?;
        let waited = self.clients.scene.longest_of.clone();
        let of = |name: &str| words(waited.get(name).copied().unwrap_or_default());
        let others = waited.iter().filter(|(name, _)| *name != "n1").map(|(_, wait)| *wait).max();
        let others = words(others.unwrap_or_default());
        let (n1, failed) = (of("n1"), self.clients.scene.failed);
        if let Some(taken) = self.taken_over(killed) {
            self.screen.say(&format!(
                "  n2 and n3 took its clients over after {}. What was sent to n1 in the first half \
                 second\n  was asked again by the clients' own TCP, after its usual second; whatever \
                 came later was held\n  and answered at takeover.",
                words(taken)
            ));
        }
        self.note(&format!(
            "n1 killed: its clients waited {n1} at most, those of others {others}; {failed} \
             connections were cut"
        ));
        self.scene("n1 is started again", SCENE, |cluster| {
            cluster.nodes[0].start()?;
            cluster.wait_settled(3).map(drop)
        })?;
        self.note_calm("n1 back");
        self.scene("n2 gets the weight 400: nlbctl set_weight nlb0 400", SCENE, |cluster| {
            cluster.nodes[1].ctl(&["set_weight", "nlb0", "400"]).map(drop)
        })?;
        self.note_calm("weight changed");
        self.scene("n3 is taken out of service (SIGTERM)", SCENE, |cluster| {
            let status = cluster.nodes[2].terminate(Duration::from_secs(10))?;
            ensure!(status.success(), "the daemon of n3 ended with {status}");
            Ok(())
        })?;
        self.note_calm("n3 gone");
        self.summary()
    }

    /// How long after `lost` another server first answered a client of n1, as seen on the wire.
    fn taken_over(&self, lost: Stamp) -> Option<Duration> {
        let members: Vec<(usize, u16)> = (1..).zip(WEIGHTS).collect();
        let ledger = self.cluster.watcher.ledger();
        let theirs = ledger.select(|question, exchange| {
            exchange.asked.first().is_some_and(|asked| *asked > lost)
                && self.cluster.owner(question.client(), &members) == Some(1)
        });
        let answers = theirs.iter().flat_map(|(_, exchange)| &exchange.answers);
        let others = answers.filter(|(node, _)| *node != server_mac(1)).map(|(_, at)| *at);
        Some(others.min()?.since(lost))
    }

    /// One scene: `act` happens, then everybody watches for a while.
    pub(crate) fn scene(
        &mut self,
        title: &str,
        time: Duration,
        act: impl FnOnce(&mut Cluster) -> Result<()>,
    ) -> Result<()> {
        if self.stop.is_set() {
            return Ok(());
        }
        self.screen.heading(title);
        self.collect();
        self.clients.begin();
        let begun = Instant::now();
        act(&mut self.cluster)?;
        while begun.elapsed() < time && !self.stop.is_set() {
            self.stop.pause(DRAW);
            self.collect();
            let lines = self.table();
            self.screen.redraw(&lines);
        }
        let mut lines = self.table();
        lines.push(String::new());
        let scene = &self.clients.scene;
        lines.push(format!(
            "  longest wait for a connection {}, {} failed; {}",
            words(scene.longest),
            scene.failed,
            scene.moves()
        ));
        self.screen.finish(&lines);
        Ok(())
    }

    /// Takes over what the clients have seen since the last time.
    fn collect(&mut self) {
        if let (Some(known), Some(new)) = (&self.known, &self.new) {
            self.clients.add_known(known.take_ended());
            self.clients.add_new(new.take_ended());
        }
    }

    /// The live table.
    fn table(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "  {:7} {:8} {:>6} {:>10} {:>14} {:>15} {:>14}",
            "server", "state", "weight", "by weight", "by table", "new clients", "known clients"
        )];
        // Any daemon that answers knows of all.
        let status = self
            .cluster
            .nodes
            .iter()
            .filter(|node| node.runs())
            .find_map(|node| node.status().ok());
        let parts: Vec<Option<f64>> = self
            .cluster
            .nodes
            .iter()
            .map(|node| status.as_ref().and_then(|status| part(status, &node.name)))
            .collect();
        let whole: f64 = parts.iter().flatten().sum();
        for (node, part) in self.cluster.nodes.iter().zip(parts) {
            let seen = status.as_ref().and_then(|status| status.node(&node.name));
            let state = match seen {
                _ if !node.runs() => "down",
                Some(seen) => seen.state.as_str(),
                None => "starting",
            };
            let weight = seen.map_or("-".to_owned(), |seen| seen.weight.to_string());
            let buckets = seen.map_or(0, |seen| seen.buckets);
            let new = self.clients.scene.new.get(&node.name).copied().unwrap_or(0);
            lines.push(format!(
                "  {:7} {:8} {:>6} {:>10} {:>6} {:>7} {:>7} {:>7} {:>7} of {:>3}",
                node.name,
                state,
                if node.runs() { weight.as_str() } else { "-" },
                part.filter(|_| whole > 0.0).map_or("-".into(), |part| percent(part, whole)),
                buckets,
                ratio(buckets, BUCKETS),
                new,
                ratio(new, self.clients.scene.new_clients()),
                self.clients.at_home(&node.name),
                self.clients.known(),
            ));
        }
        lines
    }

    fn note(&mut self, result: &str) {
        if !self.stop.is_set() {
            self.results.push(result.to_owned());
        }
    }

    /// Notes a scene in which nobody should have noticed anything.
    fn note_calm(&mut self, what: &str) {
        let scene = &self.clients.scene;
        let note = format!(
            "{what}: {} failed, {} waited for a retransmission, longest wait {}",
            scene.failed,
            scene.retransmitted,
            words(scene.longest)
        );
        self.note(&note);
    }

    fn summary(&mut self) -> Result<()> {
        self.stop_clients()?;
        self.screen.heading("Summary");
        for result in std::mem::take(&mut self.results) {
            self.screen.say(&format!("  {result}"));
        }
        let text = {
            let ledger = self.cluster.watcher.ledger();
            let syns = ledger.select(|question, _| matches!(question, Question::Syn(..)));
            let twice = ledger.doubled().len();
            format!(
                "  in all: {} connections, {} failed\n  \
                   on the wire: {} SYNs at the clients' port, {twice} answered by more than one \
                   server;\n  {} frames inspected, {} with the cluster MAC as source or a service \
                   address bound to a real MAC",
                self.clients.connections,
                self.clients.failed,
                syns.len(),
                ledger.frames,
                ledger.violated
            )
        };
        self.screen.say(&text);
        Ok(())
    }

    fn stop_clients(&mut self) -> Result<()> {
        if let (Some(known), Some(new)) = (self.known.take(), self.new.take()) {
            // What is under way ends; both wait at the same time.
            self.clients.add_new(new.finish()?);
            self.clients.add_known(known.finish()?);
        }
        Ok(())
    }

    /// Ends everything in good order, and says whether all was well.
    pub(crate) fn close(&mut self) -> Result<()> {
        self.known = None;
        self.new = None;
        if self.stop.is_set() {
            self.screen.say("\nstopping …");
        }
        self.cluster.check_wire().context("on the wire")?;
        self.cluster.end()?;
        self.screen.say("\nEvery daemon has ended and put back what it found. Nothing is left.");
        Ok(())
    }

    /// Shows the ends of the daemons' logs.
    pub(crate) fn show_logs(&self) {
        for node in &self.cluster.nodes {
            eprintln!("--- log of {}\n{}", node.name, node.log_tail());
        }
    }
}

/// The reciprocal of a node's weight, if it shares.
fn part(status: &ClusterStatus, name: &str) -> Option<f64> {
    let node = status.node(name).filter(|node| node.active())?;
    Some(1.0 / f64::from(node.weight))
}

fn percent(part: f64, whole: f64) -> String {
    format!("{:.1} %", 100.0 * part / whole)
}

fn ratio(part: usize, whole: usize) -> String {
    let number = |count: usize| u32::try_from(count).map_or(0.0, f64::from);
    if whole == 0 { "-".to_owned() } else { percent(number(part), number(whole)) }
}
