//! What the daemon does around its engine: plans, frames, timers, notices.

use core::net::IpAddr;
use core::time::Duration;
use std::rc::Rc;

use nlb_engine::Engine;
use nlb_engine::Finding;
use nlb_engine::KernelPlan;
use nlb_engine::Notice;
use nlb_protocol::frame::Frame;
use nlb_protocol::frame::Message;
use nlb_protocol::frame::State;

use super::{Event, MS, SPIN, World};
use crate::check::Violation;
use crate::mutate::Mutation;
use crate::node::nanos;
use crate::rng::Chance;

impl World {
    /// What the daemon does after every event.
    pub(super) fn pump(&mut self, index: usize) {
        for round in 0.. {
            if !self.nodes[index].runs() {
                return;
            }
            if round > SPIN {
                self.check.violations.push(Violation::Spin { at: self.now, node: index });
                return;
            }
            let now = self.nodes[index].clock(self.now);
            while let Some(Some(plan)) = self.with(index, Engine::poll_plan) {
                self.take_plan(index, plan);
            }
            while let Some(Some((id, verdict))) = self.with(index, |e| e.poll_verdict(now)) {
                self.nodes[index].held = self.nodes[index].held.saturating_sub(1);
                let why = self.drops(index);
                self.tell(index, || format!("packet {} at last: {verdict:?} {why}", id.0));
                self.verdict(index, id, verdict);
            }
            while let Some(Some(transmit)) = self.with(index, |e| e.poll_transmit(now)) {
                self.send(index, transmit.frame);
            }
            while let Some(Some(notice)) = self.with(index, Engine::poll_notice) {
                self.noticed(index, &notice);
            }
            let next = self.with(index, |engine| engine.poll_timeout());
            match next {
                Some(next) if next <= now => {
                    self.handle_timeout(index);
                    if !self.nodes[index].socket.is_empty() {
                        // It goes on when that was read.
                        break;
                    }
                }
                Some(next) => {
                    self.schedule(index, next);
                    break;
                }
                None => break,
            }
        }
        self.check_buckets(index);
        self.end_if_held(index);
    }

    pub(super) fn handle_timeout(&mut self, index: usize) {
        let node = &self.nodes[index];
        let now = node.clock(self.now);
        let waits = node.socket.front().filter(|_| {
            // Else what waits seems to have been read.
            self.options.mutation != Some(Mutation::UnreadSilence)
        });
        let read = waits.map_or(now, |(_, arrival)| node.clock(*arrival));
        self.with(index, |engine| engine.handle_timeout(read, now));
    }

    fn schedule(&mut self, index: usize, next: nlb_engine::Time) {
        self.nodes[index].timer += 1;
        let timer = self.nodes[index].timer;
        let mut chance = self.chance(Chance::Timer, index as u64, timer);
        let at = self.nodes[index].world(next).max(self.now) + chance.range(1, MS / 5);
        self.at(at, Event::Timer(index, timer));
        if self.with(index, |engine| engine.wants_witness().is_some()) == Some(true) {
            let life = self.nodes[index].life;
            let answer = self.now + chance.range(self.unit() / 1000, self.unit() / 100);
            self.at(answer, Event::Witness(index, life));
        }
    }

    fn take_plan(&mut self, index: usize, plan: KernelPlan) {
        let early = match self.options.mutation {
            Some(Mutation::EarlyAck) => true,
            Some(Mutation::EarlyFilter) => !plan.flush,
            Some(Mutation::EarlyFlush) => plan.flush,
            _ => false,
        };
        if early {
            let (generation, now) = (plan.generation, self.nodes[index].clock(self.now));
            self.with(index, |engine| engine.handle_applied(generation, now));
        }
        self.tell(index, || {
            let (flush, divert, filter) = (plan.flush, plan.divert, plan.filter.len());
            let reopen = plan.reopen;
            let (forget, remember) = (&plan.forget, plan.remember.len());
            format!("packet plan flush {flush} reopen {reopen} divert {divert} filter {filter} forget {forget:?} remember {remember}")
        });
        let kernel = &mut self.nodes[index].kernel;
        if kernel.applying.is_some() {
            kernel.next = Some(match kernel.next.take() {
                Some(earlier) => plan.follow(earlier),
                None => plan,
            });
        } else {
            kernel.applying = Some(plan);
            self.apply_later(index);
        }
    }

    fn apply_later(&mut self, index: usize) {
        let Some(plan) = &self.nodes[index].kernel.applying else { return };
        let mut chance = self.chance(Chance::Kernel, index as u64, plan.generation.0);
        let spec = self.schedule.kernel;
        let most = if chance.chance(20_000) { spec.worst_us } else { spec.usual_us } * super::US;
        let (until, each) = self.nodes[index].slow;
        let slow = if self.now < until { each } else { 0 };
        let at = self.now + slow + chance.range(most / 40, most);
        let life = self.nodes[index].life;
        self.at(at, Event::Applied(index, life));
    }

    pub(super) fn plan_applied(&mut self, index: usize, life: u32) {
        if self.nodes[index].life != life || self.nodes[index].kernel.applying.is_none() {
            return;
        }
        if self.now < self.nodes[index].refuses_until {
            return self.plan_refused(index, life);
        }
        let world = self.now;
        let mutation = self.options.mutation;
        let Some(plan) = self.nodes[index].kernel.apply(mutation, world) else { return };
        self.check_given_up(index, &plan.forget);
        if plan.flush {
            // Until then the kernel may have answered for an earlier life.
            self.nodes[index].lost = world;
        }
        if self.nodes[index].kernel.next.is_some() {
            self.nodes[index].kernel.applying = self.nodes[index].kernel.next.take();
            self.apply_later(index);
        }
        if self.nodes[index].runs() {
            let now = self.nodes[index].clock(self.now);
            if self.nodes[index].kernel.was_lost() {
                // Writing the rules, the daemon finds that its own are gone.
                self.with(index, |engine| engine.handle_sticky_lost(now));
            }
            self.with(index, |engine| engine.handle_applied(plan.generation, now));
            self.pump(index);
        } else {
            self.nodes[index].confirmed = Some(plan.generation);
        }
    }

    /// The kernel refused; the applier tries again by itself.
    fn plan_refused(&mut self, index: usize, life: u32) {
        self.nodes[index].kernel.plan_refused();
        self.at(self.now + self.unit() / 20, Event::Applied(index, life));
        self.tell(index, || "the kernel refuses".to_owned());
        if self.nodes[index].runs() {
            let now = self.nodes[index].clock(self.now);
            self.with(index, |engine| engine.handle_kernel_failed(now));
            self.pump(index);
        }
    }

    fn send(&mut self, index: usize, frame: Frame) {
        let now = self.now;
        self.frames += 1;
        let closes = self.options.mutation != Some(Mutation::NoLease);
        let node = &mut self.nodes[index];
        let leaves = self.links.all() & !node.down;
        let spoke = node.spoke;
        node.sequence = frame.header.sequence;
        if matches!(frame.message, Message::Heartbeat(_)) {
            if !node.kernel.is_open(now) {
                node.alone_in = None;
            }
            node.kernel.heartbeat_left(leaves, now, closes);
            node.latest = frame.header.sequence.low16();
            node.spoke = if leaves == 0 { node.spoke } else { now };
        }
        let clock = node.clock(now);
        let sequence = frame.header.sequence;
        // Once before it leaves, once when it has.
        self.save(index);
        if leaves != 0 || self.options.mutation == Some(Mutation::SentUnsent) {
            self.with(index, |engine| engine.handle_sent(sequence, clock));
        }
        self.save(index);
        if self.options.mutation == Some(Mutation::NoListening)
            && now >= spoke + self.unit() * 9 / 100
        {
            // Its clock hurries while it waits to become active, and no peer has time to die.
            let hurry = self.unit() * 6 / 10;
            let node = &mut self.nodes[index];
            let joins = node.engine.as_ref().is_some_and(|it| it.state() == State::Joining);
            node.offset += if joins { hurry } else { 0 };
        }
        let bytes = self.encode(&frame);
        self.count_frame(index, bytes * leaves.count_ones() as usize);
        let heartbeat = matches!(frame.message, Message::Heartbeat(_));
        let frame = Rc::new(frame);
        for other in (0..self.nodes.len()).filter(|other| *other != index) {
            let works = self.links.works(index, other);
            if self.nodes[other].engine.is_none() || works == 0 {
                continue;
            }
            let what = sequence.0 ^ (index as u64) << 40;
            let way = self.nodes[index].incarnation.0 ^ other as u64;
            let mut chance = self.chance(Chance::Frame, what, way);
            let network = self.schedule.network;
            for path in 0..8 {
                let copies = 1 + u64::from(chance.chance(network.doubled_ppm));
                for _ in 0..copies {
                    let lost = chance.chance(network.loss_ppm) || works & 1 << path == 0;
                    let delay = chance.range(50, network.delay_us) * super::US;
                    if !lost {
                        let reached = &mut self.nodes[index].reached;
                        *reached = if heartbeat { now } else { *reached };
                        self.at(now + delay, Event::Frame(other, Rc::clone(&frame)));
                    }
                }
                if works >> path == 1 {
                    break;
                }
            }
        }
    }

    /// I5: the bound of SPEC 6.12 over dead-after, on each interface.
    fn count_frame(&mut self, index: usize, bytes: usize) {
        let timing = self.schedule.timing();
        let window = nanos(timing.dead_after);
        let intervals = u32::try_from(window / nanos(timing.heartbeat)).unwrap_or(1) + 1;
        let bound = nlb_engine::frames_bound(intervals, timing.heartbeat);
        let now = self.now;
        let paths = usize::from(self.schedule.paths);
        let node = &mut self.nodes[index];
        node.frames.push_back((now, bytes));
        node.bytes += bytes;
        while let Some(&(_, bytes)) = node.frames.front().filter(|(at, _)| now - at > window) {
            node.bytes -= bytes;
            node.frames.pop_front();
        }
        let (frames, bytes) = (node.frames.len(), node.bytes);
        self.check.most_frames = self.check.most_frames.max(frames);
        self.check.most_bytes = self.check.most_bytes.max(bytes / paths);
        if frames > bound || bytes > bound * paths * nlb_protocol::frame::MAX_FRAME {
            let violation = Violation::TooMuchSent { at: now, node: index, frames, bytes };
            self.check.violations.push(violation);
        }
    }

    fn noticed(&mut self, index: usize, notice: &Notice) {
        self.tell(index, || format!("{notice:?}"));
        if let Notice::State { from, to, .. } = notice {
            self.note(*to as u64 + 1000);
            if *to == State::Active {
                self.note_active(index);
                self.check_joined(index, *from);
            }
            if matches!(to, State::Fenced | State::Leaving | State::Joining) {
                self.nodes[index].lost = self.now;
                self.nodes[index].kept += 1;
            }
        }
        if *notice == Notice::Left {
            self.save(index);
            self.note_stop(index);
            self.nodes[index].engine = None;
            self.nodes[index].kernel.removed();
            self.clear(index);
        }
    }

    pub(super) fn list(&mut self, index: usize, life: u32) {
        if self.nodes[index].life != life || self.nodes[index].engine.is_none() {
            return;
        }
        self.at(self.now + self.unit(), Event::List(index, life));
        if self.nodes[index].runs() && self.nodes[index].kernel.is_installed() {
            let now = self.nodes[index].clock(self.now);
            let question = self.with(index, |engine| engine.poll_question(now)).flatten();
            let (kernel, world) = (&self.nodes[index].kernel, self.now);
            let none = self.options.mutation == Some(Mutation::EmptyListing);
            let found = |client: IpAddr| {
                let left = kernel.left(client, world).filter(|_| !none).map(Duration::from_nanos);
                Finding { client, left, connected: false }
            };
            let findings: Vec<_> = question.unwrap_or_default().into_iter().map(found).collect();
            self.with(index, |engine| engine.handle_findings(&findings, now, now));
            self.pump(index);
        }
    }
}
