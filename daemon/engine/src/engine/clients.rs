//! The clients that this node keeps, and the packets that wait (SPEC 6.6, 6.9).

use core::net::IpAddr;
use core::ops::Bound;
use core::time::Duration;
use std::collections::VecDeque;

use nlb_protocol::ids::BUCKETS;
use nlb_protocol::{Bucket, Buckets};

use super::addresses::{AddressMap, AddressSet};
use super::image::image;
use super::replica::Answered;
use crate::packet::ClientPacket;
use crate::time::Time;

/// Ended peers whose clients are still remembered.
const GONE: usize = 64;

/// So many held packets are looked at whenever anything changes; more, at most once in [`LOOK`].
const FEW: usize = 16;
/// Long enough that 4096 held packets leave most of the time to heartbeats, and too short for
/// anybody to notice.
const LOOK: Duration = Duration::from_millis(1);

/// A client that this node keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Client {
    /// When the stage or the kernel last saw it.
    pub(super) seen: Time,
}

/// The sticky table, by bucket, so that releasing a bucket touches its own clients only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Clients {
    by_bucket: Vec<AddressMap<Client>>,
    count: usize,
}

/// A walk through the clients of some buckets, gone on with from where it stopped.
///
/// The place where it stopped leaves with its bucket: who comes back to the bucket later finds
/// others in it, and begins anew.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Walk {
    /// The buckets that are not finished.
    todo: Buckets,
    /// The one that was begun, and who was looked at last in it.
    stopped: Option<(Bucket, IpAddr)>,
}

impl Walk {
    pub(super) fn is_empty(&self) -> bool {
        self.todo.is_empty()
    }

    /// The buckets that are not finished.
    pub(super) fn todo(&self) -> &Buckets {
        &self.todo
    }

    pub(super) fn add(&mut self, buckets: &Buckets) {
        self.todo.union_with(buckets);
    }

    pub(super) fn leave_out(&mut self, buckets: &Buckets) {
        self.todo.subtract(buckets);
        self.forget_place();
    }

    /// Leaves all others out.
    pub(super) fn keep(&mut self, buckets: &Buckets) {
        self.todo.intersect_with(buckets);
        self.forget_place();
    }

    fn forget_place(&mut self) {
        self.stopped = self.stopped.filter(|(bucket, _)| self.todo.contains(*bucket));
    }
}

impl Clients {
    pub(super) fn new() -> Self {
        Self { by_bucket: vec![AddressMap::default(); BUCKETS], count: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn len_of(&self, bucket: Bucket) -> usize {
        self.by_bucket[bucket.index()].len()
    }

    /// Whether every bucket has its place: not so in an image that somebody made up.
    pub(super) fn is_whole(&self) -> bool {
        let all = self.by_bucket.iter().map(AddressMap::len).sum::<usize>();
        self.by_bucket.len() == BUCKETS && self.count == all
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn get(&self, bucket: Bucket, client: IpAddr) -> Option<&Client> {
        self.by_bucket[bucket.index()].get(client)
    }

    pub(super) fn get_mut(&mut self, bucket: Bucket, client: IpAddr) -> Option<&mut Client> {
        self.by_bucket[bucket.index()].get_mut(client)
    }

    pub(super) fn insert(&mut self, bucket: Bucket, client: IpAddr, seen: Time) {
        let entry = Client { seen };
        if self.by_bucket[bucket.index()].insert(client, entry).is_none() {
            self.count += 1;
        }
    }

    pub(super) fn remove(&mut self, bucket: Bucket, client: IpAddr) -> bool {
        let removed = self.by_bucket[bucket.index()].remove(client).is_some();
        self.count -= usize::from(removed);
        removed
    }

    pub(super) fn clear(&mut self) {
        self.by_bucket.iter_mut().for_each(AddressMap::clear);
        self.count = 0;
    }

    /// The next clients of a walk, at most `room`, each with the time at which it was last seen.
    /// Buckets of which nobody is left are finished.
    pub(super) fn walk(&self, walk: &mut Walk, room: usize) -> Vec<(Bucket, IpAddr, Time)> {
        let mut found = Vec::new();
        for bucket in walk.todo.clone().iter() {
            let mut last = match walk.stopped.take() {
                Some((at, last)) if at == bucket => Some(last),
                _ => None,
            };
            let start = last.map_or(Bound::Unbounded, Bound::Excluded);
            for (client, entry) in self.by_bucket[bucket.index()].from(start) {
                if found.len() >= room {
                    walk.stopped = last.map(|last| (bucket, last));
                    return found;
                }
                found.push((bucket, client, entry.seen));
                last = Some(client);
            }
            walk.todo.remove(bucket);
        }
        found
    }

    /// Takes some clients out, at most so many.
    pub(super) fn pop(&mut self, most: usize) -> Vec<IpAddr> {
        let all = self.by_bucket.iter_mut().flat_map(|map| core::iter::from_fn(move || map.pop()));
        let popped: Vec<IpAddr> = all.take(most).collect();
        self.count -= popped.len();
        popped
    }

    pub(super) fn of(&self, bucket: Bucket) -> impl Iterator<Item = IpAddr> + '_ {
        self.by_bucket[bucket.index()].iter().map(|(client, _)| client)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Bucket, IpAddr, &Client)> + '_ {
        Bucket::all()
            .zip(&self.by_bucket)
            .flat_map(|(bucket, clients)| clients.iter().map(move |(ip, c)| (bucket, ip, c)))
    }
}

/// A packet that waits for its verdict.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) struct Held {
    pub(super) packet: ClientPacket,
    pub(super) arrival: Time,
}

/// The clients of a peer that ended without handing over: a packet that arrived while it could
/// still answer is not ours to answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Gone {
    pub(super) limit: Time,
    pub(super) clients: AddressSet,
    pub(super) answered: Option<Answered>,
    /// When nothing that arrived before the limit can be admitted any more.
    pub(super) expires: Time,
}

/// What the stage remembers besides the clients.
#[derive(Debug, Clone, Hash)]
pub(super) struct Waiting {
    pub(super) held: VecDeque<Held>,
    /// Settled, to be decided once more when the verdict is fetched.
    pub(super) ready: VecDeque<Held>,
    /// Per bucket: packets that arrived up to then may have been answered by another node.
    doubt: Vec<Time>,
    /// The same for packets that open nothing: a leaving node answers those to the last.
    doubt_rest: Vec<Time>,
    gone: VecDeque<Gone>,
    /// Clients whose pins ended without a word: parts of snapshots did not name them.
    lost: Option<Gone>,
    /// Sets that nobody asks any more: to drop a million addresses at once takes some 10 ms.
    over: Vec<AddressSet>,
    /// When the held packets were last looked at, and whether some wait for the next look.
    looked: Time,
    unlooked: bool,
}

impl Waiting {
    pub(super) fn new() -> Self {
        Self {
            held: VecDeque::new(),
            ready: VecDeque::new(),
            doubt: vec![Time::ZERO; BUCKETS],
            doubt_rest: vec![Time::ZERO; BUCKETS],
            gone: VecDeque::new(),
            lost: None,
            over: Vec::new(),
            looked: Time::ZERO,
            unlooked: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.held.len() + self.ready.len()
    }

    /// See [`Clients::is_whole`].
    pub(super) fn is_whole(&self) -> bool {
        self.doubt.len() == BUCKETS && self.doubt_rest.len() == BUCKETS
    }

    pub(super) fn doubt(&mut self, bucket: Bucket, limit: Time) {
        let doubt = &mut self.doubt[bucket.index()];
        *doubt = (*doubt).max(limit);
    }

    /// Packets of this bucket that open nothing and arrived up to then may be answered.
    pub(super) fn doubt_rest(&mut self, bucket: Bucket, limit: Time) {
        let doubt = &mut self.doubt_rest[bucket.index()];
        *doubt = (*doubt).max(limit);
    }

    /// Whether another node may have answered a packet of this bucket.
    pub(super) fn is_doubtful(&self, bucket: Bucket, opens: bool, arrival: Time) -> bool {
        arrival <= self.doubt[bucket.index()]
            || !opens && arrival <= self.doubt_rest[bucket.index()]
    }

    /// These buckets were acquired: doubt ends then at the latest.
    pub(super) fn settle_doubt(&mut self, buckets: &Buckets, limit: Time) {
        for bucket in buckets.iter() {
            let doubt = &mut self.doubt[bucket.index()];
            *doubt = (*doubt).min(limit);
        }
    }

    /// Forgets what leaves no doubt any more.
    pub(super) fn expire(&mut self, now: Time) {
        if self.expiry().is_none_or(|at| at > now) {
            return;
        }
        for gone in core::mem::take(&mut self.gone).into_iter().chain(self.lost.take()) {
            if gone.expires <= now {
                self.discard(gone.clients);
            } else if gone.answered.is_some() {
                self.gone.push_back(gone);
            } else {
                self.lost = Some(gone);
            }
        }
    }

    /// Drops a set, some at a time.
    pub(super) fn discard(&mut self, set: AddressSet) {
        if !set.is_empty() {
            self.over.push(set);
        }
    }

    /// Whether sets are still to be dropped.
    pub(super) fn is_dropping(&self) -> bool {
        !self.over.is_empty()
    }

    /// Drops some of what is to be dropped, at most so many. How many that were.
    pub(super) fn drop_some(&mut self, most: usize) -> usize {
        let mut dropped = 0;
        while dropped < most
            && let Some(set) = self.over.last_mut()
        {
            if set.pop().is_some() {
                dropped += 1;
            } else {
                self.over.pop();
            }
        }
        dropped
    }

    /// Whether the held packets are to be looked at now: where there are many, they were not
    /// within the last [`LOOK`].
    pub(super) fn begin_look(&mut self, now: Time) -> bool {
        let due = self.held.len() <= FEW || now >= self.looked + LOOK;
        if due {
            self.looked = now;
        }
        self.unlooked = !due;
        due
    }

    /// Some could not be looked at.
    pub(super) fn look_again(&mut self) {
        self.unlooked = true;
    }

    /// When held packets are to be looked at although nothing changed.
    pub(super) fn look_at(&self) -> Option<Time> {
        self.unlooked.then(|| self.looked + LOOK)
    }

    /// How many ends of peers are remembered.
    #[cfg(test)]
    pub(super) fn ends(&self) -> usize {
        self.gone.len()
    }

    /// When the next of that is to be forgotten.
    pub(super) fn expiry(&self) -> Option<Time> {
        self.all_gone().map(|gone| gone.expires).min()
    }

    pub(super) fn remember_gone(&mut self, gone: Gone) {
        if self.gone.len() >= GONE
            && let Some(oldest) = self.gone.pop_front()
        {
            self.discard(oldest.clients);
        }
        self.gone.push_back(gone);
    }

    /// The pins of these clients ended, why is not known. All that end while those before are
    /// remembered count as ended now: their doubt only grows.
    pub(super) fn remember_lost(&mut self, clients: &[IpAddr], expires: Time, now: Time) {
        let kept = self.lost.take().filter(|lost| lost.expires > now);
        let mut lost = kept.map_or_else(AddressSet::default, |lost| lost.clients);
        for client in clients {
            lost.insert(*client, ());
        }
        self.lost = Some(Gone { limit: now, clients: lost, answered: None, expires });
    }

    fn all_gone(&self) -> impl Iterator<Item = &Gone> {
        self.gone.iter().chain(&self.lost)
    }

    /// Clients remembered of ended peers, and what is still to be dropped of them.
    pub(super) fn gone_clients(&self) -> usize {
        let over = self.over.iter().map(AddressSet::len).sum::<usize>();
        over + self.all_gone().map(|gone| gone.clients.len()).sum::<usize>()
    }

    /// Whether a peer that ended may have answered this packet.
    pub(super) fn may_be_answered(&self, packet: &ClientPacket, arrival: Time) -> bool {
        self.all_gone().any(|gone| {
            (arrival <= gone.limit && gone.clients.contains(packet.client))
                || gone.answered.as_ref().is_some_and(|set| set.contains(packet.fingerprint))
        })
    }
}

image! { Client { seen } }
image! { Clients { by_bucket, count } }
image! { Walk { todo, stopped } }
image! { Held { packet, arrival } }
image! { Gone { limit, clients, answered, expires } }
image! { Waiting { held, ready, doubt, doubt_rest, gone, lost, over, looked, unlooked } }
