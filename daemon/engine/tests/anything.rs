//! I6: no input makes an engine panic, spin, or keep more than its bounds. I7: the same input
//! gives the same output.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use nlb_engine::manage::Command;
use nlb_engine::{
    ClientPacket, Config, Engine, Finding, Generation, Limits, PacketId, Time, Timing, Verdict,
    Withdraw, frames_bound, make_table,
};
use nlb_protocol::frame::{
    Frame, Header, Health, Heartbeat, Information, Load, Message, PeerAck, PinDelta, PinEntry,
    PinRequest, PinSnapshot, PinWant, State,
};
use nlb_protocol::{
    Buckets, ClusterId, Digest, Epoch, Incarnation, NodeId, PinVersion, Sequence, Weight,
};
use proptest::prelude::*;

const LIMITS: Limits = Limits { sticky: 64, pins: 64, held: 16, slice: 8, backlog: 8, log: 64 };

fn config() -> Config {
    Config {
        cluster: ClusterId(1),
        node: NodeId(3),
        incarnation: Incarnation(0x1_0000_0003),
        name: "n3".to_owned(),
        software: "test".to_owned(),
        timing: Timing::default(),
        weight: Weight::DEFAULT,
        seed: 7,
        sticky_idle: Duration::from_secs(4),
        offload: true,
        min_members: 1,
        limits: LIMITS,
        tables: make_table,
    }
}

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Frame(Box<Frame>, u64),
    Packet(u32, bool, u64),
    Applied(u64),
    Failed,
    Lost,
    Witness,
    Health(u8, u8),
    List(Vec<u32>),
    Command(Command),
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..200_u64, Just(u64::MAX), Just(u64::MAX - 1), any::<u64>()]
}

fn state() -> impl Strategy<Value = State> {
    prop_oneof![
        1 => Just(State::Joining),
        3 => Just(State::Active),
        1 => Just(State::Draining),
        1 => Just(State::Fenced),
        1 => Just(State::Leaving),
        1 => Just(State::Restarting),
    ]
}

fn buckets() -> impl Strategy<Value = Buckets> {
    prop_oneof![Just(Buckets::EMPTY), Just(Buckets::ALL)]
}

fn acks() -> impl Strategy<Value = Vec<PeerAck>> {
    let ack = (0..80_u64, prop_oneof![Just(3_u32), 0..4_u32], any::<u16>()).prop_map(
        |(node, incarnation_low, sequence_low)| PeerAck {
            node: NodeId(node),
            incarnation_low,
            sequence_low,
        },
    );
    prop::collection::vec(ack, 0..70)
}

fn client() -> impl Strategy<Value = u32> {
    0..200_u32
}

fn address(client: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + client))
}

fn entries() -> impl Strategy<Value = Vec<PinEntry>> {
    let entry = prop_oneof![
        client().prop_map(|c| PinEntry::Pin(address(c))),
        client().prop_map(|c| PinEntry::Unpin(address(c))),
        number().prop_map(PinEntry::Answered),
    ];
    prop::collection::vec(entry, 0..20)
}

fn heartbeat() -> impl Strategy<Value = Message> {
    (state(), 1..=u16::MAX, number(), number(), number(), any::<u32>(), buckets(), acks()).prop_map(
        |(state, weight, epoch, digest, pins, seed, accepts, peers)| {
            Message::Heartbeat(Heartbeat {
                state,
                weight: Weight::new(weight).unwrap_or(Weight::DEFAULT),
                hold: Duration::ZERO,
                epoch: Epoch(epoch),
                digest: Digest(digest),
                pin_version: PinVersion(pins),
                seed: if seed % 4 == 0 { seed } else { 7 },
                health: Health::from_code((seed % 3) as u8),
                accepts,
                peers,
            })
        },
    )
}

fn message() -> impl Strategy<Value = Message> {
    let part =
        (number(), number(), client(), client(), prop::collection::btree_set(client(), 0..30));
    let want = prop_oneof![
        Just(PinWant::Nothing),
        Just(PinWant::Deltas),
        client().prop_map(|from| PinWant::Snapshot(address(from))),
    ];
    prop_oneof![
        6 => heartbeat(),
        1 => Just(Message::Information(Information { name: String::new(), software: String::new(), load: Load::default(), settings: None })),
        2 => (number(), entries()).prop_map(|(first, entries)| {
            Message::PinDelta(PinDelta { first: PinVersion(first), entries })
        }),
        2 => part.prop_map(|(version, memory, from, until, clients)| {
            Message::PinSnapshot(PinSnapshot {
                version: PinVersion(version),
                memory: PinVersion(memory),
                from: if from % 2 == 0 { PinSnapshot::START } else { address(from) },
                until: (until % 2 == 0).then(|| address(until)),
                clients: clients.into_iter().map(address).collect(),
            })
        }),
        1 => (number(), want).prop_map(|(after, want)| Message::PinRequest(PinRequest {
            owner: NodeId(3),
            owner_incarnation: Incarnation(0x1_0000_0003),
            after: PinVersion(after),
            want,
        })),
    ]
}

fn frame() -> impl Strategy<Value = Frame> {
    let node = prop_oneof![3 => 1..6_u64, 1 => 0..90_u64];
    (node, 1..4_u64, number(), message()).prop_map(|(node, incarnation, sequence, message)| Frame {
        header: Header {
            cluster: ClusterId(1),
            node: NodeId(node),
            incarnation: Incarnation(incarnation),
            sequence: Sequence(sequence),
        },
        message,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let wait = prop_oneof![5 => 0..200_u64, 1 => 0..5000_u64];
    prop_oneof![
        4 => wait.prop_map(Step::Wait),
        8 => (frame(), 0..2000_u64).prop_map(|(frame, age)| Step::Frame(Box::new(frame), age)),
        6 => (client(), any::<bool>(), 0..50_u64).prop_map(|(c, opens, age)| Step::Packet(c, opens, age)),
        6 => (0..3_u64).prop_map(Step::Applied),
        1 => Just(Step::Failed),
        1 => Just(Step::Lost),
        2 => Just(Step::Witness),
        1 => (0..3_u8, 0..3_u8).prop_map(|(health, withdraw)| Step::Health(health, withdraw)),
        1 => prop::collection::vec(client(), 0..20).prop_map(Step::List),
        1 => prop_oneof![
            Just(Command::Leave),
            Just(Command::LeaveNow),
            Just(Command::Restart { hold: Duration::from_secs(3) }),
            Just(Command::Drain { timeout: None, force: false }),
            Just(Command::Drain { timeout: Some(Duration::from_secs(1)), force: true }),
            Just(Command::Undrain),
            (1..=u16::MAX).prop_map(|w| Command::SetWeight(Weight::new(w).unwrap_or(Weight::DEFAULT))),
        ].prop_map(Step::Command),
    ]
}

/// What an engine says to all this; `anew`: it is made anew of its image after each step.
fn play(steps: &[Step], anew: bool) -> String {
    let mut now = Time::from_nanos(90_000_000_000);
    let mut engine = Engine::new(config(), now);
    let (mut told, mut id, mut waiting) = (0, 0, 0_usize);
    let mut sent: Vec<Time> = Vec::new();
    let mut output = String::new();
    for step in steps {
        match step.clone() {
            Step::Wait(ms) => {
                now = now + Duration::from_millis(ms);
                engine.handle_timeout(now, now);
            }
            Step::Frame(frame, age) => {
                engine.handle_frame(*frame, now.before(Duration::from_millis(age)), now);
            }
            Step::Packet(client, opens, age) => {
                id += 1;
                let client = address(client);
                let fingerprint = u64::from(id % 200);
                let packet = ClientPacket { id: PacketId(id), client, opens, fingerprint };
                let arrival = now.before(Duration::from_millis(age));
                let verdict = engine.handle_packet(packet, arrival, now);
                waiting += usize::from(verdict == Verdict::Hold);
                output.push_str(&format!("{verdict:?} "));
            }
            Step::Applied(back) => {
                engine.handle_applied(Generation(u64::saturating_sub(told, back)), now);
            }
            Step::Failed => engine.handle_kernel_failed(now),
            Step::Lost => engine.handle_sticky_lost(now),
            Step::Witness => engine.handle_witness(now),
            Step::Health(health, withdraw) => {
                let withdraw = match withdraw {
                    0 => Withdraw::Never,
                    1 => Withdraw::WhileOthersAreWell,
                    _ => Withdraw::Always,
                };
                engine.handle_health(Health::from_code(health), withdraw, now);
            }
            Step::List(clients) => {
                let found = |(number, client): (usize, u32)| Finding {
                    client: address(client),
                    left: (number % 3 == 0).then_some(Duration::from_secs(2)),
                    connected: number % 2 == 0,
                };
                let findings: Vec<Finding> = clients.into_iter().enumerate().map(found).collect();
                engine.handle_findings(&findings, now, now);
            }
            Step::Command(command) => {
                let outcome = engine.handle_command(command, now);
                output.push_str(&format!("{outcome:?} "));
            }
        }
        let mut polls = 0;
        while let Some(plan) = engine.poll_plan() {
            told = plan.generation.0;
            polls += 1;
            assert!(polls < 5, "a plan is wanted again and again");
        }
        while engine.poll_verdict(now).is_some() {
            waiting -= 1;
        }
        while let Some(transmit) = engine.poll_transmit(now) {
            output.push_str(&format!("{:?} ", transmit.frame.message.code()));
            engine.handle_sent(transmit.frame.header.sequence, now);
            sent.push(now);
        }
        while let Some(notice) = engine.poll_notice() {
            output.push_str(&format!("{notice:?} "));
        }
        let snapshot = engine.snapshot(now);
        assert!(snapshot.nodes.len() <= 64);
        assert!(snapshot.clients <= LIMITS.sticky && waiting <= LIMITS.held);
        assert_eq!(snapshot.held, waiting);
        assert!(snapshot.nodes.iter().all(|node| node.local || node.pins <= LIMITS.pins));
        drop((engine.buckets(), engine.clients(10, now), engine.explain(address(1), now)));
        let _ = (engine.poll_timeout(), engine.wants_witness(), engine.held(), engine.saved());
        if anew {
            let image = engine.image();
            engine = Engine::from_image(&image).expect("an engine's own image");
            assert!(engine.image() == image, "an image of an image is another");
        }
    }
    for (index, at) in sent.iter().enumerate() {
        let within = sent[index..].iter().filter(|later| later.since(*at) < Duration::from_secs(1));
        assert!(
            within.count() <= frames_bound(10, Timing::default().heartbeat),
            "too many frames (I5)"
        );
    }
    output
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn anything_may_come(steps in prop::collection::vec(step(), 1..120)) {
        prop_assert_eq!(play(&steps, false), play(&steps, false));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    /// An image holds everything that what comes next depends on.
    #[test]
    fn an_image_goes_on(steps in prop::collection::vec(step(), 1..120)) {
        prop_assert_eq!(play(&steps, false), play(&steps, true));
    }

    /// What is no image is none, and does no harm.
    #[test]
    fn any_bytes_may_be_an_image(at in 0..200_000_usize, byte in any::<u8>(), cut in any::<bool>()) {
        let mut image = Engine::new(config(), Time::from_nanos(1)).image();
        let at = at % image.len();
        if cut {
            image.truncate(at);
            prop_assert!(Engine::from_image(&image).is_none());
        } else {
            image[at] = byte;
            if let Some(mut engine) = Engine::from_image(&image) {
                engine.handle_timeout(Time::from_nanos(1), Time::from_nanos(1));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    /// `poll_timeout` never asks for a call that changes nothing for ever.
    #[test]
    fn time_goes_on(frames in prop::collection::vec(frame(), 0..40)) {
        let mut now = Time::from_nanos(90_000_000_000);
        let mut engine = Engine::new(config(), now);
        let mut frames = frames.into_iter();
        let mut calls = 0_u32;
        let end = now + Duration::from_secs(5);
        while now < end {
            if let Some(frame) = frames.next() {
                engine.handle_frame(frame, now, now);
            }
            while let Some(plan) = engine.poll_plan() {
                engine.handle_applied(plan.generation, now);
            }
            while engine.poll_verdict(now).is_some() {}
            while let Some(transmit) = engine.poll_transmit(now) {
                engine.handle_sent(transmit.frame.header.sequence, now);
            }
            while engine.poll_notice().is_some() {}
            now = engine.poll_timeout().max(now);
            engine.handle_timeout(now, now);
            calls += 1;
            prop_assert!(calls < 20_000, "{calls} calls");
        }
    }
}
