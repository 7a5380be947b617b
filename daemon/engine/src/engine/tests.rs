//! Whole engines talking to each other over a perfect wire. The simulator does the rest.

use core::cell::RefCell;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use std::rc::Rc;

use nlb_protocol::frame::{Frame, Header, Information, Load, Message, State};
use nlb_protocol::{ClusterId, Incarnation, NodeId, Sequence, Weight};

use super::Engine;
use crate::config::{Config, Limits, Timing, make_table};
use crate::manage::{Command, Outcome};
use crate::notice::{FenceCause, Notice};
use crate::packet::{ClientPacket, PacketId, Verdict};
use crate::time::Time;

pub(super) fn config(node: u64) -> Config {
    Config {
        cluster: ClusterId(1),
        node: NodeId(node),
        incarnation: Incarnation(0x1000 + node),
        name: format!("n{node}"),
        software: "test".to_owned(),
        timing: Timing::default(),
        weight: Weight::DEFAULT,
        seed: 7,
        sticky_idle: Duration::from_secs(1800),
        offload: true,
        min_members: 1,
        limits: Limits::default(),
        tables: make_table,
    }
}

/// Engines on one wire, their kernels in no time.
pub(super) struct Segment {
    pub(super) now: Time,
    pub(super) nodes: Vec<Option<Engine>>,
    pub(super) verdicts: Vec<(usize, PacketId, Verdict)>,
    pub(super) notices: Vec<(usize, Notice)>,
    /// Whether anything but the nodes is on the wire, to give a sign that receivers work.
    pub(super) others: bool,
    pub(super) wire: Option<Wire>,
}

/// What becomes of a frame on its way to the node with this index: whether it arrives.
pub(super) type Wire = Box<dyn FnMut(&mut Frame, usize) -> bool>;

impl Segment {
    pub(super) fn new(count: u64) -> Self {
        let now = Time::from_nanos(60_000_000_000);
        Self::of((1..=count).map(config), now)
    }

    pub(super) fn of(configs: impl Iterator<Item = Config>, now: Time) -> Self {
        let nodes = configs.map(|config| Some(Engine::new(config, now))).collect();
        let (verdicts, notices) = (Vec::new(), Vec::new());
        Self { now, nodes, verdicts, notices, others: true, wire: None }
    }

    /// One more node.
    pub(super) fn join(&mut self, node: u64) {
        self.nodes.push(Some(Engine::new(config(node), self.now)));
    }

    pub(super) fn node(&mut self, index: usize) -> &mut Engine {
        self.nodes[index].as_mut().expect("the node is up")
    }

    pub(super) fn poll(&mut self, index: usize) {
        let now = self.now;
        let mut frames = Vec::new();
        let Some(engine) = self.nodes[index].as_mut() else { return };
        while let Some(plan) = engine.poll_plan() {
            engine.handle_applied(plan.generation, now);
        }
        while let Some((id, verdict)) = engine.poll_verdict(now) {
            self.verdicts.push((index, id, verdict));
        }
        while let Some(transmit) = engine.poll_transmit(now) {
            engine.handle_sent(transmit.frame.header.sequence, now);
            frames.push(transmit.frame);
        }
        while let Some(notice) = engine.poll_notice() {
            self.notices.push((index, notice));
        }
        for frame in frames {
            for other in (0..self.nodes.len()).filter(|other| *other != index) {
                let mut frame = frame.clone();
                let arrives = self.wire.as_mut().is_none_or(|wire| wire(&mut frame, other));
                if let (true, Some(engine)) = (arrives, self.nodes[other].as_mut()) {
                    engine.handle_frame(frame, now, now);
                }
            }
        }
    }

    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.now = self.now + Duration::from_millis(1);
            for index in 0..self.nodes.len() {
                let now = self.now;
                if let Some(engine) = self.nodes[index].as_mut() {
                    if self.others && engine.wants_witness().is_some() {
                        engine.handle_witness(now);
                    }
                    if engine.poll_timeout() <= now {
                        engine.handle_timeout(now, now);
                    }
                }
                self.poll(index);
            }
        }
    }

    pub(super) fn packet(&mut self, id: u32, client: u32) -> Vec<Verdict> {
        let packet = ClientPacket {
            id: PacketId(id),
            client: IpAddr::V4(Ipv4Addr::from(client)),
            opens: true,
            fingerprint: u64::from(id),
        };
        let now = self.now;
        let verdicts = self.nodes.iter_mut().flatten();
        verdicts.map(|engine| engine.handle_packet(packet, now, now)).collect()
    }

    /// How often anybody fenced.
    pub(super) fn fences(&self) -> usize {
        let fenced = |notice: &Notice| matches!(notice, Notice::State { to: State::Fenced, .. });
        self.notices.iter().filter(|(_, notice)| fenced(notice)).count()
    }

    pub(super) fn shares(&self) -> Vec<usize> {
        self.nodes.iter().flatten().map(|engine| engine.accepts().len()).collect()
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_lone_node_takes_everything() {
    let mut segment = Segment::new(1);
    segment.run(SECOND * 2);
    assert_eq!(segment.shares(), [4096]);
    assert_eq!(segment.packet(1, 0x0a00_0001), [Verdict::Accept]);
    let now = segment.now;
    assert!(segment.node(0).snapshot(now).converged);
}

#[test]
fn three_nodes_share_and_the_rest_take_over() {
    let mut segment = Segment::new(3);
    segment.run(SECOND * 2);
    let mut shares = segment.shares();
    shares.sort_unstable();
    assert_eq!(shares, [1365, 1365, 1366]);
    for client in 0..100 {
        let verdicts = segment.packet(client, 0x0a00_0000 + client);
        assert_eq!(verdicts.iter().filter(|v| **v == Verdict::Accept).count(), 1);
    }
    segment.nodes[1] = None;
    segment.run(Duration::from_millis(1100));
    assert_eq!(segment.shares().iter().sum::<usize>(), 4096);
}

#[test]
fn a_weight_moves_buckets_and_their_clients_stay() {
    let mut segment = Segment::new(2);
    segment.run(SECOND * 2);
    let owners: Vec<_> = (0..200).map(|c| segment.packet(c, 0x0a00_0000 + c)).collect();
    let weight = Weight::new(300).expect("a weight");
    let now = segment.now;
    assert_eq!(
        segment.node(0).handle_command(Command::SetWeight(weight), now),
        Ok(Outcome::Changed)
    );
    segment.run(Duration::from_millis(20));
    assert_eq!(segment.shares(), [1024, 3072]);
    for client in 0..200 {
        let accepts = |verdicts: &[Verdict]| verdicts.iter().position(|v| *v == Verdict::Accept);
        let now = segment.packet(1000 + client, 0x0a00_0000 + client);
        assert_eq!(accepts(&now), accepts(&owners[client as usize]), "client {client}");
    }
}

#[test]
fn a_leaving_node_hands_over_and_is_gone() {
    let mut segment = Segment::new(3);
    segment.run(SECOND * 2);
    (0..200).for_each(|client| drop(segment.packet(client, 0x0a00_0000 + client)));
    let now = segment.now;
    assert_eq!(segment.node(2).handle_command(Command::Leave, now), Ok(Outcome::Changed));
    segment.run(SECOND);
    assert!(segment.notices.contains(&(2, Notice::Left)));
    assert_eq!(segment.shares(), [2048, 2048, 0]);
    let now = segment.now;
    assert_eq!(segment.node(0).snapshot(now).state, State::Active);
}

#[test]
fn whoever_saw_the_last_peer_leave_goes_on_alone() {
    let mut segment = Segment::new(2);
    segment.run(SECOND * 2);
    segment.others = false;
    let now = segment.now;
    assert_eq!(segment.node(1).handle_command(Command::Leave, now), Ok(Outcome::Changed));
    segment.run(SECOND * 3);
    segment.nodes[1] = None;
    segment.run(SECOND * 5);
    assert_eq!(segment.node(0).state(), State::Active);
    assert_eq!(segment.shares(), [4096]);
}

#[test]
fn whoever_loses_the_last_peer_without_a_word_may_be_deaf() {
    let mut segment = Segment::new(2);
    segment.run(SECOND * 2);
    segment.others = false;
    segment.nodes[1] = None;
    segment.run(SECOND * 3);
    assert_eq!(segment.node(0).state(), State::Fenced);
    segment.others = true;
    segment.run(SECOND * 4);
    assert_eq!(segment.shares(), [4096]);
}

#[test]
fn of_two_machines_with_one_id_only_one_serves() {
    let twin = |incarnation| Config { incarnation: Incarnation(incarnation), ..config(1) };
    let now = Time::from_nanos(60_000_000_000);
    let mut segment = Segment::of([twin(9), twin(8)].into_iter(), now);
    segment.run(SECOND * 3);
    assert_eq!(segment.shares(), [0, 4096]);
    let cause = segment.node(0).snapshot(now).cause;
    assert_eq!(cause.as_deref(), Some("another machine has this node's id"));
    // The other takes over when the first is gone: it stood aside, fenced, and joins anew.
    segment.nodes[1] = None;
    segment.run(SECOND * 5);
    assert_eq!(segment.shares(), [4096]);
}

#[test]
fn a_machine_with_the_id_of_one_that_serves_does_not_join() {
    let twin = |incarnation| Config { incarnation: Incarnation(incarnation), ..config(1) };
    let now = Time::from_nanos(60_000_000_000);
    let mut segment = Segment::of([twin(9)].into_iter(), now);
    segment.run(SECOND * 3);
    let now = segment.now;
    segment.nodes.push(Some(Engine::new(twin(8), now)));
    segment.run(SECOND * 3);
    assert_eq!(segment.shares(), [4096, 0]);
}

/// SPEC 6.3.2, 6.13: whoever is not heard is not believed, and that is counted.
#[test]
fn only_a_heartbeat_begins_an_acquaintance() {
    let mut segment = Segment::new(1);
    let now = segment.now;
    let message = Message::Information(Information {
        name: "n9".to_owned(),
        software: String::new(),
        load: Load::default(),
        settings: None,
    });
    let header = Header {
        cluster: ClusterId(1),
        node: NodeId(9),
        incarnation: Incarnation(1),
        sequence: Sequence(1),
    };
    segment.node(0).handle_frame(Frame { header, message }, now, now);
    let snapshot = segment.node(0).snapshot(now);
    assert_eq!((snapshot.counters.unusable, snapshot.nodes.len()), (1, 1));
}

/// What node 2 sends for so long, while node 1 stands still: it waits in the socket of node 1.
fn stall(segment: &mut Segment, time: Duration) -> Vec<(Frame, Time)> {
    let mut waiting = Vec::new();
    let start = segment.now;
    while segment.now < start + time {
        segment.now = segment.now + Duration::from_millis(1);
        let now = segment.now;
        let engine = segment.node(1);
        engine.handle_timeout(now, now);
        while let Some(transmit) = engine.poll_transmit(now) {
            engine.handle_sent(transmit.frame.header.sequence, now);
            waiting.push((transmit.frame, now));
        }
    }
    waiting
}

/// SPEC 6.8: frames count from their arrival, and all that wait are read before silence is judged.
#[test]
fn a_stalled_node_reads_what_waits_before_it_judges_silence() {
    let mut segment = Segment::new(2);
    segment.run(SECOND * 2);
    let start = segment.now;
    let mut stalled = segment.nodes[0].take();
    let waiting = stall(&mut segment, Duration::from_millis(400));
    let woken = start + Duration::from_millis(1005);
    let engine = stalled.as_mut().expect("it only stands still");
    // It had looked for frames just before it stood still.
    engine.handle_timeout(start, woken);
    assert!(engine.poll_timeout() <= woken, "there is something to read and to judge");
    for (frame, arrival) in waiting {
        engine.handle_frame(frame, arrival, woken);
    }
    engine.handle_timeout(woken, woken);
    let gone = core::iter::from_fn(|| engine.poll_notice())
        .any(|notice| matches!(notice, Notice::PeerGone { .. }));
    assert!(!gone);
}

const TICK: Duration = Duration::from_millis(1);

/// SPEC 6.8.2d: the same of the receiver: while frames are read that have waited, nobody seems to
/// be heard.
#[test]
fn a_stalled_node_reads_what_waits_before_it_takes_itself_for_deaf() {
    let mut segment = Segment::new(2);
    segment.run(SECOND * 2);
    // It has just sent, and so keeps its rights for 700 ms.
    while segment.node(0).sender.last_left().is_none_or(|left| segment.now.since(left) > TICK) {
        segment.run(TICK);
    }
    let start = segment.now;
    let mut stalled = segment.nodes[0].take();
    let waiting = stall(&mut segment, Duration::from_millis(600));
    let engine = stalled.as_mut().expect("it only stands still");
    // What follows from the first frames takes its time too.
    let mut now = start + Duration::from_millis(420);
    for (frame, arrival) in waiting {
        engine.handle_frame(frame, arrival, now.max(arrival));
        now = (now + Duration::from_millis(210)).min(start + Duration::from_millis(640));
    }
    engine.handle_timeout(now, now);
    assert_eq!(engine.snapshot(now).state, State::Active);
    // It is deaf when nothing more comes.
    let mut causes = Vec::new();
    while now < start + SECOND * 3 {
        now = now + Duration::from_millis(1);
        engine.handle_timeout(now, now);
        while let Some(transmit) = engine.poll_transmit(now) {
            engine.handle_sent(transmit.frame.header.sequence, now);
        }
        while let Some(notice) = engine.poll_notice() {
            if let Notice::State { cause: Some(cause), .. } = notice {
                causes.push(cause);
            }
        }
    }
    assert_eq!(causes, [FenceCause::Deaf]);
}

/// SPEC 6.3.1, 6.3.4: a hypervisor stopped a machine, and its clock with it.
#[test]
fn a_machine_whose_clock_stood_still_gives_up_and_disturbs_nobody() {
    let mut segment = Segment::new(3);
    segment.run(SECOND * 2);
    let mut stood = segment.nodes[0].take().expect("it only stands still");
    let since = segment.now;
    segment.run(SECOND * 2);
    assert_eq!(segment.shares(), [2048, 2048], "others have taken its buckets");
    // It goes on as if nothing had been.
    let mut local = since;
    let heartbeat = loop {
        stood.handle_timeout(local, local);
        match stood.poll_transmit(local).map(|transmit| transmit.frame) {
            Some(frame) if matches!(frame.message, Message::Heartbeat(_)) => break frame,
            _ => local = local + TICK,
        }
    };
    stood.handle_sent(heartbeat.header.sequence, local);
    assert_eq!(stood.state(), State::Active);
    let now = segment.now;
    for index in [1, 2] {
        segment.node(index).handle_frame(heartbeat.clone(), now, now);
    }
    let told = Rc::new(RefCell::new(Vec::new()));
    let ear = Rc::clone(&told);
    segment.wire = Some(Box::new(move |frame, to| {
        if to == 0 {
            ear.borrow_mut().push(frame.clone());
        }
        true
    }));
    segment.run(TICK * 3);
    assert_eq!(segment.shares(), [2048, 2048], "they go on");
    for frame in told.take() {
        stood.handle_frame(frame, local, local);
    }
    assert_eq!(stood.state(), State::Fenced);
    let causes = core::iter::from_fn(|| stood.poll_notice()).filter_map(|notice| match notice {
        Notice::State { cause, .. } => cause,
        _ => None,
    });
    assert_eq!(causes.collect::<Vec<_>>(), [FenceCause::Unheard(NodeId(2))]);
    // It did not lose the others, and is back among them soon.
    segment.nodes[0] = Some(stood);
    segment.wire = None;
    segment.run(SECOND * 4);
    assert_eq!(segment.shares().iter().sum::<usize>(), 4096);
    assert!(segment.shares().iter().all(|share| *share > 0), "{:?}", segment.shares());
}

/// SPEC 6.9: who is dead for one node only, and heard by others, may have its rights until it
/// fences for that (6.8.2c), and its kernel a while longer.
#[test]
fn the_clients_of_a_peer_that_others_hear_are_left_alone_until_it_has_fenced() {
    let mut segment = Segment::new(3);
    segment.run(SECOND * 2);
    (0..200).for_each(|client| drop(segment.packet(client, 0x0a00_0000 + client)));
    let (weight, now) = (Weight::new(30).expect("a weight"), segment.now);
    assert!(segment.node(0).handle_command(Command::SetWeight(weight), now).is_ok());
    segment.run(SECOND);
    // Kept by the second node, in buckets of the first.
    let kept = |segment: &mut Segment, client: u32| {
        let verdicts = segment.packet(1000 + client, 0x0a00_0000 + client);
        verdicts[1] == Verdict::Accept
    };
    let clients: Vec<u32> = (0..200).filter(|client| kept(&mut segment, *client)).collect();
    let moved = |segment: &mut Segment, client: u32| {
        let address = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + client));
        segment.node(0).accepts().contains(nlb_protocol::hash::bucket(address, config(1).seed))
    };
    let clients: Vec<u32> = clients.into_iter().filter(|c| moved(&mut segment, *c)).collect();
    assert!(clients.len() > 5, "{} {:?}", clients.len(), segment.shares());
    segment.wire =
        Some(Box::new(|frame, to| !matches!((frame.header.node.0, to), (1, 1) | (2, 0))));
    let (mut number, mut fenced, mut taken) = (5000, None, None);
    while taken.is_none() {
        segment.run(TICK);
        let now = segment.now;
        if segment.node(1).state() == State::Fenced {
            fenced = fenced.or(Some(now));
        }
        for client in &clients {
            number += 1;
            let verdicts = segment.packet(number, 0x0a00_0000 + client);
            if verdicts[0] == Verdict::Accept {
                taken = Some(now);
            }
        }
    }
    let (fenced, taken) = (fenced.expect("it fenced first"), taken.expect("they were taken"));
    assert!(taken.since(fenced) >= Timing::default().heartbeat * 2, "{:?}", taken.since(fenced));
    assert!(taken.since(fenced) < SECOND, "{:?}", taken.since(fenced));
}
