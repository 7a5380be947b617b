//! Why something happened to a client: which fault explains it, if any does.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use nlb_protocol::MacAddr;
use nlb_tests::cluster::Cluster;
use nlb_tests::stamp::Stamp;
use nlb_tests::wire::ledger::LAPSE;

use super::backlog::Dropped;
use super::history::History;
use super::run::Done;
use super::schedule::Fault;

/// What happened so long before or after is looked at too: signals and logs take their time.
const NEAR: Duration = Duration::from_millis(500);
/// Whoever asks a server that was lost waits until others take over, at most.
const TAKEOVER: Duration = Duration::from_millis(1500);
/// Whoever is started at once after a crash says that it goes on, or does not, within so long.
const BACK: Duration = Duration::from_secs(3);
/// A packet of this machine to itself is there, or lost, within so long.
const WAY: Duration = Duration::from_millis(50);
/// Flushed rules are back so long after.
const PUT_BACK: Duration = Duration::from_secs(1);
/// After a partition has healed, clients that both sides kept are answered by both until each
/// has the other's log (SPEC 6.11.1, 6.7.7): three heartbeats, of which two may be lost, and a
/// snapshot, on a busy machine.
pub(super) const MERGED: Duration = Duration::from_secs(1);

/// The known limit of SPEC 6.9, after the last heartbeat that arrived, at default timing: from
/// lease + heartbeat + frame delay, when others begin to hold, to the mute server's own end of
/// rights and the time of a flush. A heartbeat may have arrived an interval before the fault.
const MUTE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(900));

/// Everything that is known of what was done, and of what the servers did.
#[derive(Debug)]
pub(super) struct Blame<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) done: &'a [Done],
    pub(super) history: &'a History,
    pub(super) weighed: &'a [(Stamp, usize, u16)],
    /// Times without a heartbeat of a server, as seen on the wire.
    pub(super) lapses: &'a [(MacAddr, Stamp, Stamp)],
    /// Times in which this machine dropped packets by itself.
    pub(super) backlog: &'a [Dropped],
}

/// What a doubled answer is to the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Twice {
    /// By servers that did not hear each other, or had only just met again: R8, SPEC 6.11.1.
    Divided,
    /// By a server whose transmitter was dead: the known limit of SPEC 6.9.
    Mute,
    /// Never allowed.
    Wrong,
}

impl Blame<'_> {
    /// Why a connection that `server` had may have broken after its last answer at `last`, as it
    /// was found to be at `noticed`: the server was taken out, or lost its right, in between.
    pub(super) fn of_server(&self, server: usize, last: Stamp, noticed: Stamp) -> Option<String> {
        let from = before(last, NEAR);
        let mut meanwhile = self
            .done
            .iter()
            .filter(|done| done.fault.may_break(server) && done.during(from, noticed, NEAR));
        if let Some(done) = meanwhile.clone().find(|done| done.fault.takes_all(server)) {
            return Some(done.fault.kind().to_owned());
        }
        let crash = |done: &&Done| {
            done.fault == Fault::Crash(server)
                && done.during(from, noticed, NEAR)
                && !self.history.has_resumed(server, done.from, BACK)
        };
        if self.done.iter().any(|done| crash(&done)) {
            return Some("crash, and back too late".to_owned());
        }
        // Half-broken links: whoever has to go fences itself, and says so.
        if let Some(change) = self.history.fenced(server, from, noticed + NEAR) {
            let fault = meanwhile.next().map(|done| done.fault.kind().to_owned());
            let own = || format!("fenced itself: {}", plain(&change.cause));
            return Some(fault.unwrap_or_else(own));
        }
        let divided = self.done.iter().find(|done| {
            matches!(done.fault, Fault::Partition(_)) && done.during(last, noticed, MERGED)
        });
        divided.map(|done| done.fault.kind().to_owned())
    }

    /// Why a packet for a client of `server` may have been lost without more.
    pub(super) fn of_packet(&self, server: usize, at: Stamp) -> Option<String> {
        // Without rules a server answers nobody (SPEC 7.2.8); what it has stays whole.
        let flushed =
            |done: &&Done| done.fault == Fault::Flush(server) && done.during(at, at, PUT_BACK);
        self.of_server(server, before(at, TAKEOVER), at + TAKEOVER)
            .or_else(|| self.done.iter().find(flushed).map(|done| done.fault.kind().to_owned()))
            .or_else(|| self.lapsed(server, at).then(|| "lease lapsed".to_owned()))
    }

    /// Whether a server had sent no heartbeat for a lease at an instant: its kernel then takes no
    /// packet (SPEC 7.1). Nothing but a machine that is too busy makes one do so that is not told.
    fn lapsed(&self, server: usize, at: Stamp) -> bool {
        let near = at + NEAR;
        self.lapses.iter().any(|(mac, from, to)| {
            self.cluster.number_of(*mac) == Some(server) && *from + LAPSE <= near && *to >= at
        })
    }

    /// Whether this machine dropped packets when one was sent, whoever they were for.
    pub(super) fn overran(&self, at: Stamp) -> Option<String> {
        let here = |dropped: &Dropped| dropped.from <= at + WAY && dropped.to >= at;
        self.backlog.iter().any(here).then(|| "this machine's own backlog".to_owned())
    }

    /// Why a new client may have waited or failed: what happened to the server that was to take it.
    pub(super) fn of_client(&self, client: IpAddr, begun: Stamp, took: Duration) -> Option<String> {
        let (early, late) = (before(begun, TAKEOVER), begun + took.min(TAKEOVER));
        // Whoever was to take it at any time from then on.
        let changes = self.history.changes.iter().map(|change| change.at);
        let deaths = self.history.dead.iter().map(|(at, ..)| *at);
        let weights = self.weighed.iter().map(|(at, ..)| *at);
        let between = changes.chain(deaths).chain(weights);
        let instants: BTreeSet<Stamp> =
            between.filter(|at| *at >= early && *at <= late).chain([early, begun, late]).collect();
        let owners: BTreeSet<usize> =
            instants.into_iter().flat_map(|at| self.owners(client, at)).collect();
        // While there is no process nobody admits new clients, who ask again (SPEC 6.11.3g).
        let crash = |server| {
            let here = |done: &&Done| {
                done.fault == Fault::Crash(server) && done.during(begun, begun + took, TAKEOVER)
            };
            self.done.iter().find(here).map(|done| done.fault.kind().to_owned())
        };
        // Whoever takes clients over waits for the word of all, and so for one that is lost or cut off
        // just then.
        let held_up = || {
            let all = 1..=self.cluster.nodes.len();
            let mut lost = all.filter_map(|server| self.of_server(server, early, begun + took));
            (owners.len() > 1).then(|| lost.next()).flatten()
        };
        let own = owners.iter().find_map(|&server| {
            let known = self.of_packet(server, begun).or_else(|| crash(server));
            known.or_else(|| self.of_server(server, early, begun + took))
        });
        own.or_else(|| held_up().map(|cause| format!("moving, held up by: {cause}")))
    }

    /// What it is to the rules that these two answered one packet, sent and answered by the second
    /// at these instants.
    pub(super) fn of_twice(
        &self,
        (sent, at): (Stamp, Stamp),
        one: MacAddr,
        other: MacAddr,
    ) -> Twice {
        let number = |mac| self.cluster.number_of(mac).unwrap_or(0);
        let (one, other) = (number(one), number(other));
        let mut found = Twice::Wrong;
        for done in self.done {
            match &done.fault {
                Fault::Partition(group)
                    if group.contains(&one) != group.contains(&other)
                        && done.during(at, at, MERGED) =>
                {
                    return Twice::Divided;
                }
                Fault::Mute(server)
                    if (*server == one || *server == other)
                        && sent >= done.from + MUTE.0
                        && sent <= done.from + MUTE.1 =>
                {
                    found = Twice::Mute;
                }
                _ => {}
            }
        }
        found
    }

    fn weight(&self, server: usize, at: Stamp) -> u16 {
        let mut before = self.weighed.iter().filter(|(when, one, _)| *one == server && *when <= at);
        before.next_back().map_or(100, |(_, _, weight)| *weight)
    }

    /// What was going on at an instant, in words.
    pub(super) fn scene(&self, at: Stamp) -> String {
        let around = self.done.iter().filter(|done| done.during(at, at, TAKEOVER * 2));
        let faults: Vec<String> = around
            .map(|done| {
                let since = at.since(done.from).as_secs_f64();
                let ended = done.to.filter(|end| *end <= at);
                let ended =
                    ended.map(|end| format!(", ended {:.2} s ago", at.since(end).as_secs_f64()));
                format!("{} (began {since:.2} s ago{})", done.fault, ended.unwrap_or_default())
            })
            .collect();
        if faults.is_empty() { "no fault".to_owned() } else { faults.join("; ") }
    }

    /// The servers that the tables of an instant give a client to: of all that said that they are
    /// active, and of those that others still took for alive.
    pub(super) fn owners(&self, client: IpAddr, at: Stamp) -> BTreeSet<usize> {
        let owner = |members: Vec<usize>| {
            let weights: Vec<(usize, u16)> =
                members.iter().map(|server| (*server, self.weight(*server, at))).collect();
            self.cluster.owner(client, &weights)
        };
        [self.history.active(at), self.history.alive(at)].into_iter().filter_map(owner).collect()
    }
}

/// A cause without the name of the server in it.
fn plain(cause: &str) -> String {
    let words = cause.split(' ').map(|word| {
        let named = word.strip_prefix('n').is_some_and(|rest| rest.parse::<usize>().is_ok());
        if named { "another" } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

fn before(at: Stamp, by: Duration) -> Stamp {
    Stamp(at.0.saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
}
