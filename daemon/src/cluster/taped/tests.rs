use nlb_engine::{Config, Limits, PacketId, Timing, make_table};
use nlb_protocol::{ClusterId, Incarnation, NodeId, Weight};
use nlb_record::{Line, Replay, Writer, read_line};

use super::*;

fn config(node: u64) -> Config {
    Config {
        cluster: ClusterId(1),
        node: NodeId(node),
        incarnation: Incarnation(node + 100),
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

/// Two nodes that hear each other; the first may have a tape.
struct Pair {
    taped: Taped,
    other: Engine,
    now: Time,
    packets: u32,
}

impl Pair {
    fn new() -> Self {
        let now = Time::from_nanos(5_000_000_000);
        let taped = Taped::new(Engine::new(config(1), now));
        Self { taped, other: Engine::new(config(2), now), now, packets: 0 }
    }

    /// Some time with heartbeats and packets of new clients.
    fn run(&mut self, steps: u32) {
        for _ in 0..steps {
            self.now = self.now + Duration::from_millis(10);
            let now = self.now;
            self.taped.handle_timeout(now, now);
            self.other.handle_timeout(now, now);
            self.packets += 1;
            let packet = ClientPacket {
                id: PacketId(self.packets),
                client: IpAddr::V4((0x0a00_0000 + self.packets).into()),
                opens: true,
                fingerprint: u64::from(self.packets) << 40 | 1,
            };
            self.taped.handle_packet(packet, now, now);
            while let Some(plan) = self.taped.poll_plan() {
                self.taped.handle_applied(plan.generation, now);
            }
            while let Some(plan) = self.other.poll_plan() {
                self.other.handle_applied(plan.generation, now);
            }
            while self.taped.poll_verdict(now).is_some() {}
            while let Some(sent) = self.taped.poll_transmit(now) {
                self.taped.handle_sent(sent.frame.header.sequence, now);
                self.other.handle_frame(sent.frame, now, now);
            }
            while let Some(sent) = self.other.poll_transmit(now) {
                self.other.handle_sent(sent.frame.header.sequence, now);
                self.taped.handle_frame(sent.frame, now, now);
            }
            while self.taped.poll_notice().is_some() {}
            while self.other.poll_notice().is_some() {}
            let _ = self.taped.poll_question(now);
            self.taped.wind(now);
        }
    }
}

fn tape(room: usize, seconds: u64) -> (TapeEnd, mpsc::Receiver<Step>) {
    let (steps, taken) = mpsc::channel(room);
    (TapeEnd { steps, time: Duration::from_secs(seconds) }, taken)
}

/// Reads what is on the tape into lines.
fn lines(steps: &mut mpsc::Receiver<Step>) -> Vec<String> {
    let mut lines = Vec::new();
    while let Ok(step) = steps.try_recv() {
        Writer::lines(step, &mut lines);
    }
    lines
}

/// Replays lines and compares every one; gives how many outputs were something.
fn replay(lines: &[String]) -> usize {
    let mut replay = Replay::new();
    let mut said = 0;
    for text in lines {
        let (at, line) = read_line(text).expect("a line");
        let found = replay.tell(at, &line).expect("it goes on");
        assert_eq!(found, line);
        said += usize::from(matches!(line, Line::Transmit(Some(_)) | Line::Plan(_)));
    }
    said
}

#[test]
fn a_recording_from_the_start_is_replayed() {
    let mut pair = Pair::new();
    let (end, mut steps) = tape(100_000, 60);
    let begin = Begin::New(Box::new(config(1)));
    pair.taped.record(end, Some(begin), pair.now).unwrap();
    pair.run(400);
    let lines = lines(&mut steps);
    assert!(lines.iter().any(|line| line.contains("Converged")), "both are there");
    assert!(replay(&lines) > 30);
}

#[test]
fn a_recording_of_a_running_engine_is_replayed() {
    let mut pair = Pair::new();
    pair.run(300);
    let (end, mut steps) = tape(100_000, 60);
    pair.taped.record(end, None, pair.now).unwrap();
    let (another, _) = tape(10, 60);
    assert_eq!(pair.taped.record(another, None, pair.now), Err(TapeError::Runs));
    pair.run(100);
    pair.taped.handle_command(Command::Leave, pair.now).unwrap();
    pair.run(200);
    assert!(replay(&lines(&mut steps)) > 20);
}

#[test]
fn what_an_engine_says_otherwise_is_found() {
    let mut pair = Pair::new();
    let (end, mut steps) = tape(100_000, 60);
    pair.taped.record(end, Some(Begin::New(Box::new(config(1)))), pair.now).unwrap();
    pair.run(400);
    let mut lines = lines(&mut steps);
    // One heartbeat of the peer is missing: what acknowledges it is another.
    let frames = lines.iter().enumerate().filter(|(_, line)| line.contains("\"frame\""));
    let (at, _) = frames.take(10).last().expect("frames");
    lines.remove(at);
    let mut replay = Replay::new();
    let differences = lines.iter().filter(|text| {
        let (at, line) = read_line(text).unwrap();
        replay.tell(at, &line).unwrap() != line
    });
    assert!(differences.count() > 0);
}

#[test]
fn behind_a_gap_it_goes_on_with_the_state() {
    let mut pair = Pair::new();
    pair.run(300);
    let (end, mut steps) = tape(500, 60);
    pair.taped.record(end, None, pair.now).unwrap();
    // Nobody reads.
    pair.run(200);
    let mut all = lines(&mut steps);
    pair.run(20);
    all.extend(lines(&mut steps));
    let lost = all.iter().filter(|line| line.contains("\"lost\""));
    assert_eq!(lost.count(), 1);
    assert!(all.last().is_some_and(|line| !line.contains("lost")), "it goes on");
    assert!(replay(&all) > 10);
}

#[test]
fn it_ends_by_itself() {
    let mut pair = Pair::new();
    let (end, mut steps) = tape(100_000, 1);
    pair.taped.record(end, None, pair.now).unwrap();
    pair.run(200);
    let lines = lines(&mut steps);
    assert!(lines.last().is_some_and(|line| line.contains("the time is over")));
    assert!(steps.is_closed());
    // Nobody is left to read.
    let (end, steps) = tape(100_000, 60);
    pair.taped.record(end, None, pair.now).unwrap();
    drop(steps);
    pair.run(1);
    let (end, _steps) = tape(100_000, 60);
    assert_eq!(pair.taped.record(end, None, pair.now), Ok(()));
}

/// What a recording begins with must not cost the data path more than a frame delay.
#[test]
fn too_much_is_not_written_down() {
    let mut pair = Pair::new();
    pair.run(300);
    // About half of them are this node's.
    for client in 0..3 * MAX_REMEMBERED {
        let client = u32::try_from(client).unwrap() + 0x0b00_0000;
        let packet = ClientPacket {
            id: PacketId(client),
            client: IpAddr::V4(client.into()),
            opens: true,
            fingerprint: u64::from(client),
        };
        pair.taped.handle_packet(packet, pair.now, pair.now);
    }
    let found = pair.taped.remembered();
    assert!(found > MAX_REMEMBERED);
    let (end, _steps) = tape(100, 60);
    assert_eq!(pair.taped.record(end, None, pair.now), Err(TapeError::TooLarge { found }));
}
