//! What happens when: made of a seed alone, so that a run can be had again.

use std::fmt;
use std::time::Duration;

use nlb_tests::random::Random;

/// Undisturbed, at the start: what the rest is compared with.
pub(super) const CALM: Duration = Duration::from_secs(8);
/// Between two checks that everything comes to rest.
const REST_EVERY: Duration = Duration::from_secs(60);
/// Before such a check every fault has ended for so long.
pub(super) const REST: Duration = Duration::from_secs(6);
/// So many servers may be out of service at once.
const MOST_OUT: usize = 2;

/// The kinds of faults that may be asked for.
pub(super) const KINDS: [&str; 16] = [
    "kill",
    "stop",
    "pause",
    "drain",
    "leave",
    "terminate",
    "restart",
    "crash",
    "weight",
    "flush",
    "one-way cut",
    "two-way cut",
    "partition",
    "deaf",
    "mute",
    "noise",
];

/// Something that is done to the cluster. Servers by number, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// SIGKILL; started again at the end.
    Kill(usize),
    /// SIGSTOP for longer than all rights last; SIGCONT at the end.
    Stop(usize),
    /// SIGSTOP and SIGCONT within the lease.
    Pause(usize),
    /// `drain`, and `undrain` at the end.
    Drain(usize),
    /// `leave`; the daemon is ended and started again at the end.
    Leave(usize),
    /// SIGTERM; started again at the end.
    Terminate(usize),
    /// `restart-hold` and SIGTERM; another process at the end, which goes on.
    Restart(usize),
    /// SIGKILL, and another process at once, which goes on if it is quick enough.
    Crash(usize),
    /// Another weight.
    Weight(usize, u16),
    /// Somebody flushes all rules.
    Flush(usize),
    /// From the first nothing comes to the second.
    OneWay(usize, usize),
    /// Two servers do not reach each other.
    TwoWay(usize, usize),
    /// These and all others do not reach each other; clients reach all.
    Partition(Vec<usize>),
    /// Nothing comes to this server.
    Deaf(usize),
    /// No heartbeat of this server comes to anybody.
    Mute(usize),
    /// Some of all heartbeats are lost, here and there: nobody may notice.
    Noise,
    /// Nothing is done; everything must come to rest.
    Rest,
}

impl Fault {
    /// The servers that it is done to; none if it is done to the network.
    pub(super) fn server(&self) -> Option<usize> {
        match self {
            Self::Kill(server)
            | Self::Stop(server)
            | Self::Pause(server)
            | Self::Drain(server)
            | Self::Leave(server)
            | Self::Terminate(server)
            | Self::Restart(server)
            | Self::Crash(server)
            | Self::Weight(server, _)
            | Self::Flush(server)
            | Self::Deaf(server)
            | Self::Mute(server) => Some(*server),
            Self::OneWay(..) | Self::TwoWay(..) | Self::Partition(_) | Self::Noise | Self::Rest => {
                None
            }
        }
    }

    /// Whether a connection that this server has may break by it. What a process that came back
    /// too late did not save is for [`Blame`](super::blame::Blame) to find out.
    pub(super) fn may_break(&self, server: usize) -> bool {
        match self {
            Self::Kill(one)
            | Self::Stop(one)
            | Self::Leave(one)
            | Self::Terminate(one)
            | Self::Deaf(one)
            | Self::Mute(one) => *one == server,
            Self::OneWay(one, other) | Self::TwoWay(one, other) => {
                *one == server || *other == server
            }
            Self::Partition(_) => true,
            Self::Pause(_)
            | Self::Drain(_)
            | Self::Restart(_)
            | Self::Crash(_)
            | Self::Weight(..)
            | Self::Flush(_)
            | Self::Noise
            | Self::Rest => false,
        }
    }

    /// Whether the server loses all its connections by it, whatever it does.
    pub(super) fn takes_all(&self, server: usize) -> bool {
        let out = [Self::Kill(server), Self::Stop(server), Self::Leave(server)];
        out.contains(self) || *self == Self::Terminate(server)
    }

    /// Its kind, to count by.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Kill(_) => "kill",
            Self::Stop(_) => "stop",
            Self::Pause(_) => "pause",
            Self::Drain(_) => "drain",
            Self::Leave(_) => "leave",
            Self::Terminate(_) => "terminate",
            Self::Restart(_) => "restart",
            Self::Crash(_) => "crash",
            Self::Weight(..) => "weight",
            Self::Flush(_) => "flush",
            Self::OneWay(..) => "one-way cut",
            Self::TwoWay(..) => "two-way cut",
            Self::Partition(_) => "partition",
            Self::Deaf(_) => "deaf",
            Self::Mute(_) => "mute",
            Self::Noise => "noise",
            Self::Rest => "rest",
        }
    }

    /// Whether others must be there for it.
    const fn hands_over(&self) -> bool {
        matches!(self, Self::Drain(_) | Self::Restart(_) | Self::Leave(_))
    }

    /// Whether the server is out of service meanwhile.
    const fn takes_out(&self) -> bool {
        matches!(
            self,
            Self::Kill(_)
                | Self::Stop(_)
                | Self::Drain(_)
                | Self::Leave(_)
                | Self::Terminate(_)
                | Self::Restart(_)
                | Self::Deaf(_)
                | Self::Mute(_)
        )
    }

    /// Whether it divides the servers: nothing else happens to them at that time, so that it is
    /// known who could not reach whom.
    const fn alone(&self) -> bool {
        matches!(self, Self::TwoWay(..) | Self::Partition(_) | Self::Mute(_) | Self::Deaf(_))
    }

    /// Whether it has an end at which something is done.
    pub(super) const fn lasts(&self) -> bool {
        !matches!(self, Self::Weight(..) | Self::Flush(_) | Self::Crash(_) | Self::Rest)
    }

    /// Whether the server's kernel goes on while there is no process: nobody may be cut off that
    /// must be told of it (SPEC 6.11.3).
    const fn holds(&self) -> bool {
        matches!(self, Self::Restart(_) | Self::Crash(_))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weight(server, weight) => write!(f, "weight n{server} {weight}"),
            Self::OneWay(from, to) => write!(f, "one-way cut n{from} -> n{to}"),
            Self::TwoWay(one, other) => write!(f, "two-way cut n{one} n{other}"),
            Self::Partition(group) => write!(f, "partition {group:?} from the others"),
            Self::Noise | Self::Rest => f.write_str(self.kind()),
            _ => write!(f, "{} n{}", self.kind(), self.server().unwrap_or(0)),
        }
    }
}

/// A fault and its time, from the start of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) fault: Fault,
    pub(super) from: Duration,
    pub(super) to: Duration,
}

/// Makes the schedule of a run of this length. `only`: [`KINDS`] that may occur; empty: all.
pub(super) fn make(seed: u64, length: Duration, servers: usize, only: &[String]) -> Vec<Planned> {
    let mut random = Random::new(seed);
    let mut plan: Vec<Planned> = Vec::new();
    let (mut now, mut rest) = (CALM, CALM + REST_EVERY);
    while now + REST < length {
        if now > rest {
            let ends = plan.iter().map(|planned| planned.to).max().unwrap_or(now);
            let from = ends.max(now) + REST;
            plan.push(Planned { fault: Fault::Rest, from, to: from });
            now = from + Duration::from_secs(1);
            rest = now + REST_EVERY;
            continue;
        }
        let (fault, lasts) = fault(&mut random, servers);
        if !only.is_empty() && !only.iter().any(|kind| kind == fault.kind()) {
            continue;
        }
        let planned = Planned { fault, from: now, to: now + lasts };
        if fits(&plan, &planned) {
            plan.push(planned);
        }
        now += millis(&mut random, 200, 2500);
    }
    plan
}

/// Some fault, and how long it lasts.
fn fault(random: &mut Random, servers: usize) -> (Fault, Duration) {
    let server = 1 + random.below(servers);
    let other = 1 + (server + random.below(servers - 1)) % servers;
    let lasts = millis(random, 300, 6000);
    match random.below(100) {
        0..12 => (Fault::Kill(server), lasts),
        12..19 => (Fault::Stop(server), Duration::from_millis(800) + lasts),
        19..26 => (Fault::Pause(server), millis(random, 20, 250)),
        26..34 => (Fault::Drain(server), lasts),
        34..41 => (Fault::Restart(server), lasts),
        41..46 => (Fault::Crash(server), Duration::ZERO),
        46..50 => (Fault::Leave(server), lasts + Duration::from_secs(3)),
        50..54 => (Fault::Terminate(server), lasts),
        54..74 => {
            let weights = [50, 100, 100, 150, 200, 300, 400];
            (Fault::Weight(server, weights[random.below(weights.len())]), Duration::ZERO)
        }
        74..79 => (Fault::Flush(server), Duration::ZERO),
        79 => (Fault::Noise, lasts * 3),
        80..88 => (Fault::OneWay(server, other), lasts),
        88..91 => (Fault::TwoWay(server, other), lasts),
        91..94 => {
            let mut group = vec![server];
            if random.below(2) == 0 {
                group.push(other);
            }
            group.sort_unstable();
            (Fault::Partition(group), lasts)
        }
        94..96 => (Fault::Deaf(server), lasts),
        96..98 => (Fault::Mute(server), lasts),
        _ => (Fault::Noise, lasts * 3),
    }
}

/// Whether the fault can begin beside those that are planned.
fn fits(plan: &[Planned], new: &Planned) -> bool {
    // Whoever was out needs that long to join again.
    let back = Duration::from_secs(3);
    let meanwhile: Vec<&Planned> =
        plan.iter().filter(|old| old.fault.lasts() && old.to + back > new.from).collect();
    let out = meanwhile.iter().filter(|old| old.fault.takes_out()).count();
    // Whoever crashed cannot be told anything before it is back.
    let busy = |server: usize| {
        let crashed = Fault::Crash(server);
        plan.iter().any(|old| old.fault == crashed && old.to + back > new.from)
            || meanwhile.iter().any(|old| {
                // Whoever is not back yet knows of nobody to hand over to.
                let free = if new.fault.hands_over() { old.to + back } else { old.to };
                old.fault.server() == Some(server) && free > new.from
            })
    };
    if new.fault.server().is_some_and(busy) {
        return false;
    }
    let network = |fault: &Fault| fault.server().is_none();
    // A crash is over at once, but the server is back only later.
    let held = |old: &&Planned| old.fault.holds() && old.to + back > new.from;
    let divides = |fault: &Fault| network(fault) || fault.alone();
    if divides(&new.fault) && plan.iter().any(|old| held(&old)) {
        return false;
    }
    if new.fault.holds() && meanwhile.iter().any(|old| divides(&old.fault)) {
        return false;
    }
    if new.fault.alone() {
        return meanwhile.iter().all(|old| !old.fault.takes_out() && !network(&old.fault));
    }
    if meanwhile.iter().any(|old| old.fault.alone()) {
        return !new.fault.takes_out() && !network(&new.fault);
    }
    if network(&new.fault) {
        return out < MOST_OUT && !meanwhile.iter().any(|old| network(&old.fault));
    }
    let cut = meanwhile.iter().any(|old| network(&old.fault));
    !new.fault.takes_out() || out < MOST_OUT - usize::from(cut)
}

fn millis(random: &mut Random, least: u32, most: u32) -> Duration {
    let more = u32::try_from(random.below((most - least) as usize)).unwrap_or(0);
    Duration::from_millis(u64::from(least + more))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_names_a_schedule() {
        let length = Duration::from_secs(600);
        let plan = make(7, length, 5, &[]);
        assert_eq!(plan, make(7, length, 5, &[]));
        assert_ne!(plan, make(8, length, 5, &[]));
        assert!(plan.len() > 100, "{}", plan.len());
        for planned in &plan {
            let at = planned.from;
            let during = |other: &&Planned| other.from <= at && other.to > at;
            let out = plan.iter().filter(during).filter(|other| other.fault.takes_out()).count();
            assert!(out <= MOST_OUT, "{out} servers are out at {at:?}");
            let cut = plan.iter().filter(during).any(|other| other.fault.server().is_none());
            assert!(!cut || !planned.fault.holds() || planned.fault == Fault::Rest, "{planned:?}");
        }
        for kind in KINDS {
            assert!(plan.iter().any(|planned| planned.fault.kind() == kind), "no {kind}");
            let only = [kind.to_owned()];
            let only = make(7, length, 5, &only);
            let count = only.iter().filter(|planned| planned.fault.kind() == kind).count();
            assert!(count > 25, "{kind}: {count}");
            assert!(only.iter().all(|planned| ["rest", kind].contains(&planned.fault.kind())));
        }
    }
}
