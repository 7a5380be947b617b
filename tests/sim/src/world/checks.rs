//! What is looked at after every event.

use core::net::IpAddr;

use nlb_engine::manage::NodeView;
use nlb_engine::{Engine, PacketId};
use nlb_protocol::Bucket;
use nlb_protocol::frame::State;

use super::{MS, US, World};
use crate::check::{Between, Packet, Violation};
use crate::node::{Node, nanos};

impl World {
    /// A node answers a packet.
    pub(super) fn accepted(&mut self, index: usize, id: PacketId) {
        let now = self.now;
        let number = id.0 as usize;
        self.note(now ^ (number as u64) << 20 ^ (index as u64) << 50);
        let packet = self.check.packets[number];
        self.check_group(index);
        if let Some(first) = packet.first {
            self.tell(index, || format!("ANSWERS {number} of {} AGAIN", packet.client));
            self.answered_twice(index, number, first);
            return;
        }
        self.check.packets[number].first = Some((index, now));
        let wait = now - packet.sent;
        self.check.longest_wait = self.check.longest_wait.max(wait);
        self.check.waited += u64::from(wait > MS);
        self.check_moved(index, &packet);
        let life = self.nodes[index].kept;
        self.check.last.insert(packet.client, (index, now, life));
    }

    /// I1, I2 for a packet, but for what SPEC 6.9 says of nodes that do not hear each other.
    fn answered_twice(&mut self, second: usize, packet: usize, first: (usize, u64)) {
        let at = self.now;
        let sent = self.check.packets[packet].sent;
        let (between, age) = self.between(second, first.0, sent);
        let allowed = match between {
            Between::Nothing | Between::OneWay if self.may_lack_pins() => {
                self.check.excused.unknown += 1;
                true
            }
            Between::Nothing if self.spoke_to_nobody(second) || self.spoke_to_nobody(first.0) => {
                self.check.excused.mute += 1;
                true
            }
            // It waited in a machine that stood still, and knew no better.
            Between::Nothing if self.is_behind(second, at) || self.is_behind(first.0, first.1) => {
                self.check.excused.partition += 1;
                true
            }
            Between::Nothing => false,
            Between::Partition => {
                self.check.excused.partition += 1;
                true
            }
            Between::OneWay if self.knows_nothing(second, first.0) => {
                self.check.excused.one_way += 1;
                true
            }
            Between::OneWay => {
                // Whoever begins beside a cut is one that it concerns, and whoever goes on there.
                let began = |index: usize| self.nodes[index].began.max(self.nodes[index].thawed);
                let began = began(second).max(began(first.0));
                self.one_way(age.min(sent.saturating_sub(began)))
            }
        };
        if !allowed {
            let violation = Violation::AnsweredTwice { at, packet, first, second, between };
            self.check.violations.push(violation);
        }
    }

    /// Two nodes answered a packet across a one-way cut that was sent so long after the links
    /// between the two last changed. SPEC 6.9 says how long that may be.
    fn one_way(&mut self, age: u64) -> bool {
        self.check.excused.one_way += 1;
        self.check.excused.one_way_after = self.check.excused.one_way_after.max(age);
        age <= self.one_way_bound()
    }

    /// Until when one must have found out that he is not heard or does not hear, and his kernel
    /// followed.
    fn one_way_bound(&self) -> u64 {
        let timing = self.schedule.timing();
        let heartbeats = timing.heartbeat * (1 + self.lost_in_a_row());
        let told = timing.dead_after + timing.grace() + heartbeats + timing.frame_delay();
        nanos(told) + self.longest_flush().min(nanos(timing.lease())) + self.transfer()
    }

    fn check_moved(&mut self, index: usize, packet: &Packet) {
        let Some(&(before, at, life)) = self.check.last.get(&packet.client) else { return };
        let keeper = &self.nodes[before];
        let rights = nanos(self.schedule.timing().rights());
        // A node that was just stopped has its rights, and its kernel answers.
        let lives = keeper.runs() || self.now - keeper.spoke < rights;
        let kept = before != index
            && self.now - at < self.schedule.clients.idle_us * US * 9 / 10
            && keeper.kept == life
            && keeper.lost < at
            && match &keeper.engine {
                Some(engine) => lives && matches!(engine.state(), State::Active | State::Draining),
                None => self.now < keeper.held_until,
            };
        if !kept {
            return;
        }
        if self.may_lack_pins() {
            self.check.excused.unknown += 1;
        } else if self.spoke_to_nobody(before) {
            self.check.excused.mute += 1;
        } else if self.between(index, before, at).0 == Between::Nothing
            && !self.is_behind(before, self.now)
        {
            let (at, client, nodes) = (self.now, packet.client, (before, index));
            self.tell(index, || format!("TAKES {client} from n{}", before + 1));
            self.check.violations.push(Violation::ClientMoved { at, client, nodes });
        } else {
            self.check.excused.moved += 1;
        }
    }

    /// Whether nodes may have no room for a pin of their peers: such a client may move (SPEC 6.2).
    fn may_lack_pins(&self) -> bool {
        // One pinned on both sides of a partition counts for each, and so do those of ended peers.
        self.schedule.limits.pins < self.clients.len() * self.nodes.len() * 2
    }

    /// After a partition a client that two keep goes on with one of them (SPEC 6.7.7): who gives
    /// it up is its keeper no more.
    pub(super) fn check_given_up(&mut self, index: usize, clients: &[IpAddr]) {
        // Two that stood still, one after the other, are as far apart as on both sides of a cut. Beside
        // one that did nobody who was awake gives up anything.
        let mut thawed: Vec<u64> = self.nodes.iter().map(|node| node.thawed).collect();
        thawed.sort_unstable();
        let two = thawed.iter().rev().nth(1).copied().unwrap_or(0);
        let thawed = self.nodes[index].thawed.max(two);
        let mended = self.links.latest_change().max(thawed);
        if mended == 0 || self.now - mended > self.unit() * 3 {
            return;
        }
        for client in clients {
            if self.check.last.get(client).is_some_and(|(keeper, ..)| *keeper == index) {
                self.check.last.remove(client);
            }
        }
    }

    /// SPEC 6.3.6a: whom an active peer has not heard for long does not become active beside it.
    /// (Who repeats frames may carry them around a cut.)
    pub(super) fn check_joined(&mut self, index: usize, from: State) {
        let long = self.unit() * 2;
        let Some(engine) = self.nodes[index].engine.as_ref().filter(|_| from == State::Joining)
        else {
            return;
        };
        let seen = engine.snapshot(nlb_engine::Time::ZERO).nodes;
        let unheard = (0..self.nodes.len()).find(|other| {
            let id = self.nodes[*other].id;
            let active = |node: &NodeView| node.id == id && node.state == State::Active;
            let heard = *other != index && seen.iter().any(active);
            let cut = !self.links.joins(index, *other) && self.links.joins(*other, index);
            heard
                && cut
                && !self.hears(*other, index)
                && self.now - self.links.changed(index, *other) > long
        });
        if let Some(other) = unheard {
            let violation = Violation::JoinedUnheard { at: self.now, nodes: (index, other) };
            self.check.violations.push(violation);
        }
    }

    /// R8: whoever is alone long enough to know answers nobody where two must be.
    fn check_group(&mut self, index: usize) {
        // A kernel that goes on without its process cannot know (SPEC 6.11.3), and a node that leaves
        // is gone soon.
        let state = self.nodes[index].engine.as_ref().map(Engine::state);
        if self.schedule.min_members < 2 || matches!(state, None | Some(State::Leaving)) {
            return;
        }
        let long = self.unit() * 3 / 2;
        // Whoever goes on with an earlier life, or after its clock stood still, has yet to listen.
        let began = self.nodes[index].booted.max(self.nodes[index].thawed);
        let alone = self.nodes.iter().enumerate().all(|(other, node)| {
            // One that restarts counts until its hold is over.
            let since = node.stopped.max(node.held_until).max(began);
            let ended = node.engine.is_none() && self.now > since + long;
            // Whoever did not hear it come back still holds it.
            other == index || ended && self.held_life(index, other).is_none()
        });
        if alone {
            self.check.violations.push(Violation::TooFew { at: self.now, node: index });
        }
    }

    fn open(&self, index: usize) -> Option<&Engine> {
        let node = &self.nodes[index];
        node.engine.as_ref().filter(|_| node.kernel.is_open(self.now))
    }

    /// I1 by bucket. What was no other's when it was last looked at, with the gate open ever
    /// since, is another's only if that one accepted it meanwhile, and was looked at for it.
    pub(super) fn check_buckets(&mut self, index: usize) {
        let Some(mine) = self.open(index).map(Engine::accepts) else {
            self.nodes[index].alone_in = None;
            return;
        };
        if self.nodes[index].alone_in.as_ref() == Some(mine) {
            return;
        }
        let mut found = None;
        for other in (0..self.nodes.len()).filter(|other| *other != index) {
            let Some(theirs) = self.open(other).map(Engine::accepts) else { continue };
            if !mine.is_disjoint(theirs) {
                let mut shared = mine.clone();
                shared.intersect_with(theirs);
                found = Some((other, shared.len()));
            }
        }
        let alone = found.is_none().then(|| mine.clone());
        self.nodes[index].alone_in = alone;
        let Some((other, buckets)) = found else { return };
        self.nodes[other].alone_in = None;
        if self.between(index, other, self.now).0 == Between::Nothing {
            let (at, nodes) = (self.now, (index, other));
            self.check.violations.push(Violation::BucketShared { at, nodes, buckets });
        } else {
            self.check.excused.shared += 1;
        }
    }

    /// Who accepts packets that reach it.
    fn serving(&self, index: usize) -> Option<&Engine> {
        let node = &self.nodes[index];
        self.open(index).filter(|_| !node.deaf && node.down != self.links.all())
    }

    /// I3: why the cluster is not settled, if it is not. Who is deaf serves nobody.
    #[must_use]
    pub fn unsettled(&self) -> Option<String> {
        let mut owners = vec![0_u8; nlb_protocol::ids::BUCKETS];
        let mut view = None;
        for index in 0..self.nodes.len() {
            let Some(engine) = self.serving(index) else { continue };
            for bucket in engine.accepts().iter() {
                owners[bucket.index()] += 1;
            }
            if engine.state() == State::Active {
                let expected = *view.get_or_insert(engine.view());
                if engine.view() != expected {
                    return Some("active nodes show different views".to_owned());
                }
            }
        }
        let up = self.nodes.iter().filter(|node| node.engine.is_some()).count();
        let expected = u8::from(up >= self.schedule.min_members);
        let none = owners.iter().filter(|count| **count < expected).count();
        let many = owners.iter().filter(|count| **count > expected).count();
        (none + many > 0).then(|| {
            let states: Vec<String> = self.nodes.iter().map(describe).collect();
            format!("{none} buckets without owner, {many} with several: {}", states.join(" "))
        })
    }

    /// How many buckets are accepted by somebody now.
    #[must_use]
    pub fn served(&self) -> usize {
        let open: Vec<_> = (0..self.nodes.len()).filter_map(|index| self.open(index)).collect();
        Bucket::all().filter(|b| open.iter().any(|engine| engine.accepts().contains(*b))).count()
    }
}

fn describe(node: &Node) -> String {
    match &node.engine {
        None => format!("n{} down", node.id.0),
        Some(engine) => {
            let snapshot = engine.snapshot(nlb_engine::Time::ZERO);
            let cause = snapshot.cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
            format!("n{} {:?}{cause} {}", node.id.0, snapshot.state, snapshot.buckets_accepted)
        }
    }
}
