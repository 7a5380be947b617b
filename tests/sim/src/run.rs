//! Runs a schedule to its end, and says what came of it.

use nlb_protocol::ids::BUCKETS;

use crate::check::{Excused, Violation};
use crate::node::nanos;
use crate::schedule::{Fault, Schedule};
use crate::world::{Options, US, World};

/// What came of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What must not have happened.
    pub violation: Option<Violation>,
    /// Names the run.
    pub hash: u64,
    /// How many events there were.
    pub events: u64,
    /// How many frames were sent.
    pub frames: u64,
    /// Packets sent and answered.
    pub packets: (usize, usize),
    /// What happened across cuts.
    pub excused: Excused,
    /// The longest wait of a packet, in nanoseconds, and how many waited more than a millisecond.
    pub waits: (u64, u64),
    /// The most frames of one node within dead-after, and the most bytes on one interface.
    pub most_sent: (usize, usize),
    /// Samples: buckets served of buckets there are.
    pub served: (u64, u64),
    /// How long after the last fault the cluster was settled for good, in thousandths of the bound.
    pub settled: u64,
}

/// Runs one schedule.
#[must_use]
pub fn run(schedule: &Schedule, options: Options) -> Outcome {
    let mut world = World::new(schedule, options);
    let mut served = (0, 0);
    let last = schedule.faults.last().map_or(0, |timed| timed.at_us * US);
    sample(&mut world, schedule.clients.start_us * US, &mut (0, 0));
    sample(&mut world, last, &mut served);
    let settled = finish(&mut world, &mut served);
    if world.check.violations.is_empty() && schedule.careful {
        nothing_lost(&mut world);
    }
    Outcome {
        hash: world.hash,
        events: world.events,
        frames: world.frames,
        packets: (world.check.packets.len(), world.check.answered()),
        excused: world.check.excused,
        waits: (world.check.longest_wait, world.check.waited),
        most_sent: (world.check.most_frames, world.check.most_bytes),
        served,
        settled,
        violation: world.check.violations.into_iter().next(),
    }
}

fn sample(world: &mut World, until: u64, served: &mut (u64, u64)) {
    let step = world.unit() / 10;
    while world.now + step < until && world.check.violations.is_empty() {
        let next = world.now + step;
        world.run(next);
        served.0 += world.served() as u64;
        served.1 += BUCKETS as u64;
    }
    world.run(until);
}

/// I3: everything is mended, unless it stays; then the cluster is settled within the bound, and stays so.
fn finish(world: &mut World, served: &mut (u64, u64)) -> u64 {
    if !world.is_whole() && !world.schedule.stays {
        world.act(&Fault::Heal);
    }
    // With few heartbeats in dead-after a loss or two fences now and then (SPEC 6.2).
    let timing = world.schedule.timing();
    let most = if timing.heartbeat * 10 <= timing.dead_after { 10_000 } else { 0 };
    if world.schedule.network.loss_ppm > most {
        world.act(&Fault::Loss(most));
    }
    let schedule = &mut world.schedule;
    let long = schedule.network.delay_us > schedule.heartbeat_us / 10;
    if most == 0 || long || schedule.nodes.len() > 8 {
        // A heartbeat that is overtaken is lost too, and many nodes say much: all take equally long.
        schedule.network.delay_us = schedule.network.delay_us.min(51);
    }
    // Who is on the way out gets there; if too few are left, others start.
    while world.now < world.last_fault && world.check.violations.is_empty() {
        // One may have waited for a machine that stands still.
        sample(world, world.last_fault, served);
    }
    for node in 1..=world.nodes.len() {
        let up = world.nodes.iter().filter(|node| node.engine.is_some()).count();
        if up < world.schedule.min_members {
            world.act(&Fault::Boot(node));
        }
    }
    world.end_drains();
    let start = world.now;
    let bound = settle_bound(world);
    let (mut unsettled, mut why) = (start, None);
    while world.now < start + bound + world.unit() && world.check.violations.is_empty() {
        let next = world.now + world.unit() / 20;
        world.run(next);
        if let Some(found) = world.unsettled() {
            unsettled = world.now;
            why = Some(found);
        }
    }
    if unsettled > start + bound && world.check.violations.is_empty() {
        let violation = Violation::NotSettled { at: world.now, why: why.unwrap_or_default() };
        world.check.violations.push(violation);
    }
    (unsettled - start) * 1000 / bound
}

/// SPEC 6.12.6: the longest from the last fault until every bucket has one owner.
#[must_use]
pub fn settle_bound(world: &World) -> u64 {
    let timing = world.schedule.timing();
    nanos(timing.dead_after * 5 + timing.heartbeat * 10)
}

/// Whether it was sent while a planned change overtook another: whoever has prepared for a bucket
/// on its way may not be who gets it in the end (SPEC 6.6.4).
fn is_overtaken(schedule: &Schedule, sent: u64) -> bool {
    let near = schedule.dead_after_us * US / 2;
    let changes: Vec<u64> = schedule.faults.iter().map(|timed| timed.at_us * US).collect();
    changes.windows(2).any(|two| {
        let (first, second) = (two[0], two[1]);
        second - first < near && first < sent && sent < second + near
    })
}

fn nothing_lost(world: &mut World) {
    let unit = world.unit();
    let end = world.now.saturating_sub(unit * 2);
    let lost = world.check.packets.iter().enumerate();
    let lost = lost.filter(|(_, packet)| packet.first.is_none() && packet.sent < end);
    let (overtaken, mut lost): (Vec<_>, Vec<_>) =
        lost.partition(|(_, packet)| is_overtaken(&world.schedule, packet.sent));
    // So few that it is an accident each time.
    let room = 2 + world.check.packets.len() / 10_000;
    lost.extend(overtaken.iter().skip(room));
    world.check.excused.overtaken += overtaken.len().min(room) as u64;
    let lost: Vec<Violation> = lost
        .into_iter()
        .map(|(number, packet)| Violation::PacketLost { at: packet.sent, packet: number })
        .collect();
    world.check.violations.extend(lost);
}
