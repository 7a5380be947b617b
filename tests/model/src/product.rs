//! What the nodes come to together in a step, and whether it may be.

use std::rc::Rc;

use crate::search::{COPIES, Choice, Search};
use crate::step::{Event, Outcome};
use crate::world::{CLIENTS, Flight, Violation, World};

/// One end of each node, together.
pub(crate) struct Product<'a, 'f> {
    pub(crate) search: &'a mut Search,
    pub(crate) world: &'a World,
    pub(crate) step: u16,
    pub(crate) event: Option<(usize, Event)>,
    pub(crate) sends: usize,
    pub(crate) found: &'f mut dyn FnMut(Result<World, Violation>, &Choice<'_>) -> bool,
}

impl Product<'_, '_> {
    /// Goes through every combination that the budget allows, until `found` says no.
    pub(crate) fn extend<'l>(
        &mut self,
        lists: &'l [Rc<Vec<Outcome>>],
        chosen: &mut Vec<&'l Outcome>,
        cost: (u8, u8, u8),
    ) -> bool {
        let Some(list) = lists.get(chosen.len()) else { return self.complete(chosen, cost) };
        let left = &self.world.left;
        for end in list.iter() {
            let sum = |one: u8, other: u8| one.saturating_add(other);
            let cost = (sum(cost.0, end.cost.0), sum(cost.1, end.cost.1), sum(cost.2, end.cost.2));
            let faults = sum(sum(cost.0, cost.1), cost.2);
            if cost.0 > left.late
                || cost.1 > left.lost
                || cost.2 > left.slow
                || faults > left.faults.saturating_sub(u8::from(self.is_fault()))
            {
                continue;
            }
            chosen.push(end);
            let on = self.extend(lists, chosen, cost);
            chosen.pop();
            if !on {
                return false;
            }
        }
        true
    }

    fn is_fault(&self) -> bool {
        matches!(self.event, Some((_, Event::Crash | Event::Stop)))
    }

    fn complete(&mut self, ends: &[&Outcome], cost: (u8, u8, u8)) -> bool {
        self.search.transitions += 1;
        let choice = Choice { event: self.event, sends: self.sends, ends };
        let next = match self.next(ends, cost) {
            Ok(next) => next,
            Err(violation) => return (self.found)(Err(violation), &choice),
        };
        if next.left.doubled > 0 && next.left.faults > 0 {
            for flight in self.arrived(ends) {
                let to = ends[usize::from(flight.to)].node;
                if self.search.is_void(to, flight.frame, self.step) {
                    continue;
                }
                let mut doubled = next.clone();
                doubled.left.doubled -= 1;
                doubled.left.faults -= 1;
                doubled.wire.push(Flight { copy: true, ..flight });
                doubled.wire.sort_unstable();
                if !(self.found)(Ok(doubled), &choice) {
                    return false;
                }
            }
        }
        (self.found)(Ok(next), &choice)
    }

    /// The frames that arrived for the first time.
    fn arrived(&self, ends: &[&Outcome]) -> Vec<Flight> {
        let mut seen = vec![0; ends.len()];
        let mut arrived = Vec::new();
        for flight in &self.world.wire {
            let to = usize::from(flight.to);
            if ends[to].arrived >> seen[to] & 1 == 1 && !flight.copy && ends[to].alive {
                arrived.push(*flight);
            }
            seen[to] += 1;
        }
        arrived
    }

    fn next(&self, ends: &[&Outcome], cost: (u8, u8, u8)) -> Result<World, Violation> {
        self.check_buckets(ends)?;
        let mut next = self.world.clone();
        next.nodes = ends.iter().map(|end| end.node).collect();
        let mut seen = vec![0; ends.len()];
        next.wire.retain(|flight| {
            let to = usize::from(flight.to);
            let late = ends[to].late >> seen[to] & 1 == 1;
            let arrived = ends[to].arrived >> seen[to] & 1 == 1;
            seen[to] += 1;
            let copy = flight.copy && !arrived && self.step - flight.sent < COPIES;
            ends[to].alive && (late || copy)
        });
        for (from, end) in ends.iter().enumerate() {
            for to in (0..ends.len()).filter(|to| *to != from && ends[*to].alive) {
                let to = u8::try_from(to).unwrap_or(u8::MAX);
                let flight =
                    |frame: &u32| Flight { to, sent: self.step, frame: *frame, copy: false };
                next.wire.extend(end.sent.iter().map(flight));
            }
        }
        next.wire.sort_unstable();
        for client in (0..CLIENTS).filter(|client| self.sends >> client & 1 == 1) {
            next.clients[client].sent += 1;
            next.left.packets -= 1;
        }
        next.left.faults -= cost.0 + cost.1 + cost.2 + u8::from(self.is_fault());
        next.left.late -= cost.0;
        next.left.lost -= cost.1;
        next.left.slow -= cost.2;
        match self.event {
            Some((_, Event::Crash)) => next.left.crashes -= 1,
            Some((_, Event::Stop)) => next.left.stops -= 1,
            Some((node, Event::Order(order))) => {
                let given = self.search.orders.iter().position(|known| *known == (node, order));
                next.left.orders &= !(1 << given.unwrap_or(0));
            }
            Some((_, Event::Resume)) | None => {}
        }
        self.check_answers(&mut next, ends)?;
        Ok(next)
    }

    /// I1: nobody accepts at any instant of the step what another accepts at any instant of it.
    /// What two nodes do in one step they do in either order.
    fn check_buckets(&self, ends: &[&Outcome]) -> Result<(), Violation> {
        let accepted: Vec<_> =
            ends.iter().map(|end| self.search.memory.accepted.get(end.accepted)).collect();
        for one in 0..accepted.len() {
            for other in one + 1..accepted.len() {
                if !accepted[one].is_disjoint(&accepted[other]) {
                    let mut shared = (*accepted[one]).clone();
                    shared.intersect_with(&accepted[other]);
                    let (nodes, buckets) = ((one, other), shared.len());
                    return Err(Violation::BucketShared { nodes, buckets });
                }
            }
        }
        Ok(())
    }

    /// Every packet is answered once (I1), and a client by the node that keeps it (I2).
    fn check_answers(&self, next: &mut World, ends: &[&Outcome]) -> Result<(), Violation> {
        for (node, end) in ends.iter().enumerate() {
            let number = u8::try_from(node).unwrap_or(u8::MAX);
            for id in &end.answered {
                let client = crate::world::client_of(*id);
                let before = next.answered.iter().find(|(packet, _)| *packet == id.0);
                if let Some((_, first)) = before {
                    let nodes = (usize::from(*first), node);
                    return Err(Violation::AnsweredTwice { client, nodes });
                }
                let known = next.clients.iter_mut().find(|known| known.number == id.0 >> 4);
                let Some(known) = known else { continue };
                if let Some((keeper, since)) = known.keeper.filter(|(keeper, _)| *keeper != number)
                {
                    let keeper = usize::from(keeper);
                    if self.keeps(keeper, since) && self.keeps_on(ends[keeper], since) {
                        let nodes = (keeper, node);
                        return Err(Violation::ClientMoved { client, nodes });
                    }
                }
                known.keeper = Some((number, self.step));
                next.answered.push((id.0, number));
            }
        }
        next.answered.sort_unstable();
        Ok(())
    }

    /// Whether a node has kept its rights since it answered a client.
    fn keeps(&self, node: usize, since: u16) -> bool {
        let node = self.search.memory.nodes.get(self.world.nodes[node]);
        node.runs() && node.serves() && node.lost <= since
    }

    fn keeps_on(&self, end: &Outcome, since: u16) -> bool {
        let node = self.search.memory.nodes.get(end.node);
        node.runs() && node.serves() && node.lost <= since
    }
}
