//! The loop of one cluster: wait, feed, flush.
//!
//! It runs alone in a thread of its own, so that nothing which management, logging or nft do can
//! hold up a heartbeat or a verdict. It owns the engine, the sockets and the queue; nothing here
//! decides anything about the cluster.

use std::sync::Arc;
use std::time::Duration;

use nlb_engine::{Notice, Time};
use nlb_protocol::ClusterId;
use nlb_protocol::auth::KeyRing;
use nlb_protocol::frame::{Frame, MAX_FRAME, Message, State};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::alarm::Alarm;
use super::clock::now;
use super::drops::Drops;
use super::idle::Question;
use super::links::Links;
use super::ordered::Ordered;
use super::pace::Pace;
use super::reading;
use super::request::{ClusterEvent, ClusterRequest, ClusterView, What};
use super::settings::rule_interfaces;
use super::stage::Stage;
use super::standing::Standing;
use super::state::StateFile;
use super::strangers::Strangers;
use super::taped::Taped;
use super::witness::{Sign, Witness};
use crate::kernel::KernelEvent;
use crate::pulse::Heart;

/// Requests taken before the wire has its turn again.
const REQUESTS_A_TURN: usize = 8;

/// Frames sent before the wire has its turn again: pins may never end on a slow machine.
const TRANSMITS_A_TURN: usize = 16;

/// How long the first heartbeat waits for its sockets: until they are there, but for a kernel that
/// makes everybody wait.
const FIRST_SOCKETS: Duration = Duration::from_secs(1);

/// How often the view for readers is renewed at most.
const PUBLISH_EVERY: Duration = Duration::from_millis(250);

/// What a cluster's loop is made of.
pub(super) struct Parts {
    /// Its name.
    pub(super) name: String,
    /// Its id.
    pub(super) cluster: ClusterId,
    /// Its keys.
    pub(super) keys: KeyRing,
    /// The machine.
    pub(super) engine: Taped,
    /// Wakes at the engine's deadlines.
    pub(super) alarm: Alarm,
    /// Beats at each turn of the loop.
    pub(super) heart: Heart,
    /// The sockets.
    pub(super) links: Links,
    /// The queue.
    pub(super) stage: Stage,
    /// What the next process needs.
    pub(super) state: StateFile,
    /// What the kernel is to do.
    pub(super) ordered: Ordered,
    /// Looks for signs that the receiver works.
    pub(super) witness: Witness,
    /// Requests come in here.
    pub(super) requests: mpsc::Receiver<ClusterRequest>,
    /// Views go out here.
    pub(super) views: watch::Sender<Arc<ClusterView>>,
    /// Events go out here; when the reader is behind, they are dropped and counted.
    pub(super) events: mpsc::Sender<ClusterEvent>,
    /// Answers the engine's questions about idle clients.
    pub(super) idle: mpsc::Sender<Question>,
}

/// The loop's own state.
pub(super) struct Runtime {
    parts: Parts,
    drops: Drops,
    strangers: Strangers,
    published: Time,
    /// What the search for signs has just said.
    sign: Option<Sign>,
    /// More frames may be due than were sent.
    unsent: bool,
    ended: bool,
    pace: Pace,
    standing: Standing,
}

impl Runtime {
    /// A loop that is ready to run.
    #[must_use]
    pub(super) fn new(parts: Parts, slow: Duration) -> Self {
        Self {
            parts,
            drops: Drops::default(),
            strangers: Strangers::default(),
            published: Time::ZERO,
            sign: None,
            unsent: false,
            ended: false,
            pace: Pace::new(slow),
            standing: Standing::new(now()),
        }
    }

    /// Runs until the node has left its cluster or was told to stop.
    pub(super) async fn run(mut self) {
        let mut requests = Vec::with_capacity(REQUESTS_A_TURN);
        self.parts.links.open(&mut self.drops);
        if self.parts.links.is_opening() {
            // Whoever goes on with an earlier life has no heartbeat to lose.
            let _ = timeout(FIRST_SOCKETS, self.parts.links.readable()).await;
            self.take_in_links();
        }
        self.flush();
        while !self.ended {
            self.wait(&mut requests).await;
            self.feed(&mut requests);
            self.flush();
            self.parts.engine.wind(now());
            self.parts.heart.beat();
            self.pace.end().into_iter().for_each(|words| self.say("held-up", words));
        }
        self.save();
        self.publish(now());
    }

    /// Until something is there or the engine's deadline has come.
    async fn wait(&mut self, requests: &mut Vec<ClusterRequest>) {
        let parts = &mut self.parts;
        let due = if self.unsent { now() } else { parts.engine.poll_timeout() };
        tokio::select! {
            () = parts.links.readable() => {}
            () = parts.stage.readable() => {}
            sign = parts.witness.sign() => self.sign = Some(sign),
            count = parts.requests.recv_many(requests, REQUESTS_A_TURN) => {
                // Whoever could ask is gone: so is the daemon.
                self.ended |= count == 0;
            }
            () = parts.alarm.at(due) => {}
        }
        self.pace.begin(due);
    }

    /// Everything that is there goes into the engine: frames first, because a verdict given on
    /// newer knowledge is the better one, but no source more than its share of a turn.
    fn feed(&mut self, requests: &mut Vec<ClusterRequest>) {
        let read = self.feed_frames();
        self.parts.engine.handle_timeout(read, now());
        // A heartbeat that is due goes first: after a stop, packets that came within the lease
        // would else be judged without it, and dropped (SPEC 6.8.5).
        self.pace.after("on frames and what was due");
        self.flush();
        self.parts.stage.feed(&mut self.parts.engine, &mut self.drops);
        self.pace.after("on new clients");
        self.parts.links.answer_neighbours(&self.parts.engine, &mut self.drops);
        for request in requests.drain(..) {
            self.serve(request);
        }
        self.pace.after("on requests");
        self.feed_sign();
        self.take_in_links();
        if self.parts.links.is_due() {
            self.parts.links.open(&mut self.drops);
        }
        self.parts.links.announce(now(), &mut self.drops);
    }

    /// Gives back until when everything that arrived was read.
    fn feed_frames(&mut self) -> Time {
        let Parts { links, engine, cluster, keys, .. } = &mut self.parts;
        let mut said = Vec::new();
        let read = reading::read(links, &mut self.drops, |received, payload, drops| {
            match Frame::decode(payload, *cluster, keys) {
                Ok(frame) => engine.handle_frame(frame, received.arrival, now()),
                Err(reason) => {
                    drops.count(reason.counter_name());
                    said.extend(self.strangers.note(reason, received.source, now()));
                }
            }
        });
        said.into_iter().for_each(|(kind, words)| self.say(kind, words));
        read
    }

    fn serve(&mut self, request: ClusterRequest) {
        let engine = &mut self.parts.engine;
        match request {
            ClusterRequest::Command(command, reply) => {
                let outcome = engine.handle_command(command, now());
                // Whoever is told that it is done sees it in the status.
                self.publish(now());
                let _ = reply.send(outcome);
            }
            ClusterRequest::Buckets(reply) => {
                let _ = reply.send(engine.buckets());
            }
            ClusterRequest::Clients(limit, reply) => {
                let _ = reply.send(engine.clients(limit, now()));
            }
            ClusterRequest::Explain(client, reply) => {
                let _ = reply.send(engine.explain(client, now()));
            }
            ClusterRequest::Interfaces { up, several } => {
                let rules = rule_interfaces(&up);
                self.parts.links.set_interfaces(up, several);
                if rules != self.parts.ordered.rules().interfaces {
                    // Opened when the gate stands before them: their sockets bring the traffic.
                    self.parts.ordered.set_interfaces(rules);
                } else if !self.parts.ordered.is_opening() {
                    self.parts.links.open(&mut self.drops);
                }
            }
            ClusterRequest::Service { addresses, ports, in_force } => {
                self.parts.ordered.change(in_force, |rules| {
                    rules.addresses.clone_from(&addresses);
                    rules.ports = ports;
                });
                self.parts.stage.set_addresses(&addresses);
                self.parts.links.set_addresses(addresses, &mut self.drops);
            }
            ClusterRequest::Keys(keys) => self.parts.keys = keys,
            ClusterRequest::Settings(settings) => self.parts.engine.handle_settings(settings),
            ClusterRequest::Load(load) => self.parts.engine.handle_load(load),
            ClusterRequest::Health(health, withdraw) => {
                self.parts.engine.handle_health(health, withdraw, now());
            }
            ClusterRequest::Kernel(event) => self.handle_kernel(event),
            ClusterRequest::Found(answer) => {
                engine.handle_findings(&answer.findings, answer.asked, now());
            }
            ClusterRequest::Record(tape, reply) => {
                let _ = reply.send(engine.record(tape, None, now()));
            }
            ClusterRequest::Stop => self.ended = true,
        }
    }

    fn handle_kernel(&mut self, event: KernelEvent) {
        let engine = &mut self.parts.engine;
        match event {
            KernelEvent::Applied { generation, revision, .. } => {
                engine.handle_applied(generation, now());
                if self.parts.ordered.in_force(revision) {
                    self.parts.links.open(&mut self.drops);
                }
            }
            KernelEvent::Failed { reason, .. } => {
                engine.handle_kernel_failed(now());
                self.say("rules-refused", format!("the kernel refused the rules: {reason}"));
            }
            KernelEvent::StickyLost { .. } => engine.handle_sticky_lost(now()),
            KernelEvent::Repaired { took, .. } => {
                engine.handle_rules_repaired(now());
                let took_ms = took.as_millis();
                let text =
                    format!("somebody changed the rules of nlbd; put back within {took_ms} ms");
                self.say("rules-repaired", text);
                self.drops.count("rules_repaired");
            }
        }
    }

    /// Has signs looked for that the receiver works while the engine asks for one.
    fn feed_sign(&mut self) {
        match self.sign.take() {
            Some(Sign::Seen) => self.parts.engine.handle_witness(now()),
            Some(Sign::Provoke(whom)) => self.parts.links.provoke(&whom),
            None => {}
        }
        let Parts { witness, engine, links, .. } = &mut self.parts;
        witness.follow(engine.wants_witness(), links.interfaces());
    }

    /// Has somebody look for the clients that the engine asks about. If he is busy, which he is
    /// not when the engine asks, it asks again.
    fn ask(&mut self) {
        if let Some(clients) = self.parts.engine.poll_question(now()) {
            let addresses = self.parts.ordered.rules().addresses.clone();
            let _ = self.parts.idle.try_send(Question { clients, addresses });
        }
    }

    /// Everything that the engine wants goes out, in the order that its documentation asks for.
    fn flush(&mut self) {
        if !matches!(self.parts.engine.state(), State::Active | State::Draining | State::Restarting)
        {
            // Before the kernel is told to flush: nobody may go on with what is given up.
            self.save();
        }
        if let Some(plan) = self.parts.engine.poll_plan() {
            self.parts.stage.set_seed(plan.seed);
            self.parts.ordered.plan(plan);
        }
        self.parts.stage.flush(&mut self.parts.engine, &mut self.drops);
        self.pace.after("on plans and verdicts");
        self.transmit();
        self.notify();
        self.ask();
        if self.parts.engine.held().is_some() {
            self.save();
            self.ended = true;
        }
        let now = now();
        if now.since(self.published) >= PUBLISH_EVERY {
            let words = self.standing.look(now);
            words.into_iter().for_each(|words| self.say("ordinary-priority", words.to_owned()));
            self.publish(now);
        }
    }

    fn transmit(&mut self) {
        let mut bytes = [0; MAX_FRAME];
        for _ in 0..TRANSMITS_A_TURN {
            let transmit = self.parts.engine.poll_transmit(now());
            self.unsent = transmit.is_some();
            let Some(transmit) = transmit else { return };
            let heartbeat = matches!(transmit.frame.message, Message::Heartbeat(_));
            if heartbeat {
                self.save();
            }
            let length = transmit.frame.encode(&self.parts.keys, &mut bytes);
            let payload = bytes.get(..length).unwrap_or_default();
            if self.parts.links.send(payload, &mut self.drops) {
                self.parts.engine.handle_sent(transmit.frame.header.sequence, now());
                if heartbeat {
                    self.save();
                }
            }
        }
    }

    fn save(&mut self) {
        self.pace.after("on sending");
        if self.parts.state.save(self.parts.engine.saved()).is_err() {
            self.drops.count("state_not_written");
        }
        self.pace.after("on writing its state");
    }

    fn notify(&mut self) {
        let mut any = false;
        while let Some(notice) = self.parts.engine.poll_notice() {
            any = true;
            self.ended |= notice == Notice::Left;
            self.tell(What::Notice(notice));
        }
        if any {
            self.publish(now());
        }
    }

    fn take_in_links(&mut self) {
        if let Some(complaint) = self.parts.links.take_in(&mut self.drops) {
            self.say("interface-unusable", complaint);
        }
    }

    fn say(&mut self, kind: &'static str, text: String) {
        self.tell(What::Driver(kind, text));
    }

    fn tell(&mut self, what: What) {
        let event = ClusterEvent { cluster: self.parts.name.clone(), what };
        if self.parts.events.try_send(event).is_err() {
            self.drops.count("events_lost");
        }
    }

    fn publish(&mut self, now: Time) {
        self.published = now;
        let snapshot = self.parts.engine.snapshot(now);
        let mut drops = self.drops.all();
        drops.insert("queue_malformed", self.parts.stage.malformed());
        let held = self.parts.engine.held();
        let strangers = self.strangers.now(now);
        let ordinary = self.standing.is_ordinary();
        let view = Arc::new(ClusterView { snapshot, drops, strangers, held, ordinary });
        self.parts.views.send_replace(view);
    }
}
