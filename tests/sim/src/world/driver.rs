//! What the daemon does around its engine: plans, frames, timers, notices.

use core::time::Duration;
use std::rc::Rc;

use nlb_engine::Engine;
use nlb_engine::KernelPlan;
use nlb_engine::Notice;
use nlb_protocol::frame::Frame;
use nlb_protocol::frame::Message;
use nlb_protocol::frame::State;

use super::Event;
use super::MS;
use super::SPIN;
use super::World;
use crate::check::Violation;
use crate::mutate::Mutation;
use crate::node::nanos;

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
                    self.with(index, |engine| engine.handle_timeout(now));
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

    fn schedule(&mut self, index: usize, next: nlb_engine::Time) {
        self.nodes[index].timer += 1;
        let timer = self.nodes[index].timer;
        let at = self.nodes[index].world(next).max(self.now) + self.rng.range(1, MS / 5);
        self.at(at, Event::Timer(index, timer));
        if self.with(index, |engine| engine.wants_witness().is_some()) == Some(true) {
            let life = self.nodes[index].life;
            let answer = self.now + self.rng.range(MS, 10 * MS);
            self.at(answer, Event::Witness(index, life));
        }
    }

    fn take_plan(&mut self, index: usize, plan: KernelPlan) {
        if self.settings.mutation == Some(Mutation::EarlyAck) {
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
        let (worst, usual) = self.settings.applier;
        let most = if self.rng.chance(20_000) { worst } else { usual };
        let (at, life) = (self.now + self.rng.range(MS / 2, most), self.nodes[index].life);
        self.at(at, Event::Applied(index, life));
    }

    pub(super) fn plan_applied(&mut self, index: usize, life: u32) {
        if self.nodes[index].life != life {
            return;
        }
        let ignore = self.settings.mutation == Some(Mutation::IgnoreFlush);
        let world = self.now;
        let Some(plan) = self.nodes[index].kernel.apply(ignore, world) else { return };
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

    fn send(&mut self, index: usize, frame: Frame) {
        let now = self.now;
        self.frames += 1;
        let closes = self.settings.mutation != Some(Mutation::NoLease);
        let node = &mut self.nodes[index];
        node.kernel.frame_left(now, closes);
        if matches!(frame.message, Message::Heartbeat(_)) {
            node.latest = frame.header.sequence.low16();
        }
        let clock = node.clock(now);
        let sequence = frame.header.sequence;
        // Once before it leaves, once when it has.
        self.save(index);
        self.with(index, |engine| engine.handle_sent(sequence, clock));
        self.save(index);
        self.count_frame(index);
        let frame = Rc::new(frame);
        for other in 0..self.nodes.len() {
            if other == index || self.nodes[other].engine.is_none() || self.cuts[index][other] {
                continue;
            }
            let copies = 1 + u64::from(self.rng.chance(self.settings.doubled));
            for _ in 0..copies {
                if !self.rng.chance(self.settings.loss) {
                    let delay = self.rng.range(MS / 20, self.settings.delay);
                    self.at(now + delay, Event::Frame(other, Rc::clone(&frame)));
                }
            }
        }
    }

    /// I5: the bound of SPEC 6.12 over dead-after.
    fn count_frame(&mut self, index: usize) {
        let timing = self.settings.timing;
        let window = nanos(timing.dead_after);
        let intervals = u32::try_from(window / nanos(timing.heartbeat)).unwrap_or(1) + 1;
        let bound = nlb_engine::frames_bound(intervals, timing.heartbeat);
        let now = self.now;
        let frames = &mut self.nodes[index].frames;
        frames.push_back(now);
        while frames.front().is_some_and(|at| now - at > window) {
            frames.pop_front();
        }
        let count = frames.len();
        self.check.most_frames = self.check.most_frames.max(count);
        if count > bound {
            let violation = Violation::TooManyFrames { at: now, node: index, frames: count };
            self.check.violations.push(violation);
        }
    }

    fn noticed(&mut self, index: usize, notice: &Notice) {
        self.tell(index, || format!("{notice:?}"));
        if let Notice::State { to, .. } = notice {
            self.note(*to as u64 + 1000);
            if matches!(to, State::Fenced | State::Leaving | State::Joining) {
                self.nodes[index].lost = self.now;
                self.nodes[index].kept += 1;
            }
        }
        if *notice == Notice::Left {
            self.save(index);
            self.nodes[index].engine = None;
            self.nodes[index].kernel.removed();
            self.clear(index);
        }
    }

    pub(super) fn list(&mut self, index: usize, life: u32) {
        if self.nodes[index].life != life || self.nodes[index].engine.is_none() {
            return;
        }
        self.at(self.now + nanos(self.settings.timing.dead_after), Event::List(index, life));
        if self.nodes[index].runs() && self.nodes[index].kernel.is_installed() {
            let listed: Vec<_> = self.nodes[index]
                .kernel
                .listed(self.now)
                .into_iter()
                .map(|(client, left)| (client, Duration::from_nanos(left)))
                .collect();
            let now = self.nodes[index].clock(self.now);
            self.with(index, |engine| engine.handle_sticky_listed(&listed, now));
            self.pump(index);
        }
    }
}
