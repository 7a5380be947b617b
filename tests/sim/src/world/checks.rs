//! What is looked at after every event.

use nlb_engine::Engine;
use nlb_engine::PacketId;
use nlb_protocol::Bucket;
use nlb_protocol::frame::State;

use super::MS;
use super::World;
use crate::check::Packet;
use crate::check::Violation;
use crate::node::Node;
use crate::node::nanos;

impl World {
    /// Whether two nodes have been able to hear each other for long enough.
    #[must_use]
    pub fn mutual(&self, one: usize, other: usize, since: u64) -> bool {
        let timing = self.settings.timing;
        let settle = nanos(timing.rights() + timing.heartbeat);
        let clean = self.clean_since[one][other];
        let cut = self.cuts[one][other] || self.cuts[other][one];
        !cut && (clean == 0 || since.saturating_sub(clean) > settle)
    }

    /// A node answers a packet.
    pub(super) fn accepted(&mut self, index: usize, id: PacketId) {
        let now = self.now;
        let number = id.0 as usize;
        self.note(now ^ (number as u64) << 20 ^ (index as u64) << 50);
        let packet = self.check.packets[number];
        if let Some(first) = packet.first {
            self.tell(index, || format!("ANSWERS {number} of {} AGAIN", packet.client));
            if self.mutual(index, first.0, now) {
                let second = index;
                let violation = Violation::AnsweredTwice { at: now, packet: number, first, second };
                self.check.violations.push(violation);
            } else {
                self.check.across_cuts += 1;
            }
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

    fn check_moved(&mut self, index: usize, packet: &Packet) {
        let Some(&(before, at, life)) = self.check.last.get(&packet.client) else { return };
        let keeper = &self.nodes[before];
        let kept = before != index
            && self.now - at < nanos(self.settings.idle) * 9 / 10
            && keeper.kept == life
            && keeper.lost < at
            && self.keeps_clients(before);
        if !kept {
            return;
        }
        if self.mutual(index, before, at) {
            let (at, client, nodes) = (self.now, packet.client, (before, index));
            self.tell(index, || format!("TAKES {client} from n{}", before + 1));
            self.check.violations.push(Violation::ClientMoved { at, client, nodes });
        } else {
            self.check.moved_across_cuts += 1;
        }
    }

    fn open(&self, index: usize) -> Option<&Engine> {
        let node = &self.nodes[index];
        node.engine.as_ref().filter(|_| node.kernel.is_open(self.now))
    }

    /// I1 by bucket.
    pub(super) fn check_buckets(&mut self, index: usize) {
        let Some(mine) = self.open(index).map(Engine::accepts) else { return };
        let mut found = None;
        for other in (0..self.nodes.len()).filter(|other| *other != index) {
            let Some(theirs) = self.open(other).map(Engine::accepts) else { continue };
            if !mine.is_disjoint(theirs) {
                let mut shared = mine.clone();
                shared.intersect_with(theirs);
                found = Some((other, shared.len()));
            }
        }
        let Some((other, buckets)) = found else { return };
        if self.mutual(index, other, self.now) {
            let (at, nodes) = (self.now, (index, other));
            self.check.violations.push(Violation::BucketShared { at, nodes, buckets });
        } else {
            self.check.shared_across_cuts += 1;
        }
    }

    /// I3: why the cluster is not settled, if it is not.
    #[must_use]
    pub fn unsettled(&self) -> Option<String> {
        let mut owners = vec![0_u8; nlb_protocol::ids::BUCKETS];
        let mut view = None;
        for index in 0..self.nodes.len() {
            let Some(engine) = self.open(index) else { continue };
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
        let none = owners.iter().filter(|count| **count == 0).count();
        let many = owners.iter().filter(|count| **count > 1).count();
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
