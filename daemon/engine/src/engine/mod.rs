//! The engine: one cluster on one node, without I/O.
//!
//! `handle_*` takes what happened, `poll_*` gives what shall happen. The parts, each in its file:
//! [`machine`] the states, [`peers`] who is heard, [`membership`] hearing and joining, [`fence`] when
//! not to serve, [`gone`] peers that end,
//! [`view`] view, epoch and table, [`buckets`] release and acquire, [`clients`] and [`stage`] the
//! clients and their packets, [`pins`] the own pin log, [`replica`] the copies of the others',
//! [`moving`] work on many clients, [`addresses`] sets of them, [`refused`] clients of others,
//! [`kernel`] what the kernel was told, [`leave`] the way out, [`drain`] before it, [`restart`] and [`resume`] from one
//! process to the next, [`sender`] and [`transmit`] what leaves, [`service`] load and health,
//! [`settings`] whether all are configured alike, [`read`] what people see, [`hash`] what makes two engines alike, [`image`] all of it as bytes.

mod addresses;
mod buckets;
mod clients;
mod command;
mod drain;
mod fence;
mod gone;
mod hash;
mod idle;
mod image;
mod kernel;
mod leave;
mod machine;
mod membership;
mod moving;
mod peers;
mod pins;
mod read;
mod receive;
mod receiver;
mod refused;
mod replica;
mod restart;
mod resume;
mod sender;
mod service;
mod settings;
mod stage;
mod timeout;
mod transmit;
mod twin;
mod view;
mod words;

#[cfg(test)]
mod scale;
#[cfg(test)]
mod tests;

use core::net::IpAddr;
use std::collections::VecDeque;

use nlb_protocol::frame::{Frame, Load, PeerAck, State};
use nlb_protocol::{Buckets, Sequence, Weight};

use self::clients::{Clients, Waiting};
pub use self::drain::Drain;
use self::drain::Draining;
use self::idle::Sweep;
use self::kernel::{Filter, Kernel};
use self::leave::Leave;
use self::membership::Membership;
use self::moving::Moving;
use self::peers::Peers;
use self::pins::Log;
use self::refused::Refused;
use self::restart::Restart;
pub use self::resume::{Life, Saved};
use self::sender::Sender;
pub use self::sender::frames_bound;
use self::service::Service;
pub use self::service::Withdraw;
use self::settings::Alike;
use self::view::ViewState;
use crate::config::Config;
use crate::manage::Counters;
use crate::notice::{FenceCause, Notice};
use crate::packet::{ClientPacket, Finding, PacketId, Verdict};
use crate::plan::{Generation, KernelPlan};
use crate::time::Time;

/// Notices that wait to be fetched; beyond it the oldest are dropped and counted.
const NOTICES: usize = 1024;

/// A frame that shall leave on every interface of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// The frame; the driver encodes and signs it.
    pub frame: Frame,
}

/// One cluster on one node.
///
/// # Order of calls
/// After any number of `handle_*` calls: `poll_plan`, then `poll_verdict` until `None`, then
/// `poll_transmit` until `None` (each followed by `handle_sent` once the frame has really left),
/// then `poll_notice` until `None`, then wait until `poll_timeout` at the latest.
#[derive(Debug, Clone)]
pub struct Engine {
    config: Config,
    /// The latest time that was handed in.
    now: Time,
    /// Every frame that arrived before this was handed in.
    read: Time,
    state: State,
    cause: Option<FenceCause>,
    membership: Membership,
    peers: Peers,
    view: ViewState,
    /// The buckets whose new clients this node accepts now.
    accepts: Buckets,
    /// What of the clients is on its way into or out of the log.
    moving: Moving,
    clients: Clients,
    waiting: Waiting,
    log: Log,
    refused: Refused,
    kernel: Kernel,
    /// After the kernel refused a plan: when it is told again.
    retry_at: Option<Time>,
    leave: Leave,
    restart: Restart,
    /// Peers that the process before this one knew to restart, and until when.
    away: Vec<(PeerAck, Time)>,
    abandoned: bool,
    sender: Sender,
    /// The hash seed in use.
    seed: u32,
    /// The weight in use, when it was taken, and the one that is wanted.
    weight: Weight,
    weighed: Option<Time>,
    weight_wanted: Weight,
    /// What the node says of its load.
    load: Load,
    alike: Alike,
    service: Service,
    /// Draining is wanted.
    drain: Option<Draining>,
    /// Sending made something possible: look at the rules before the next frame.
    recheck: bool,
    /// The search for idle clients.
    swept: Sweep,
    counters: Counters,
    notices: VecDeque<Notice>,
    notices_lost: u64,
}

impl Engine {
    /// A node that is about to join.
    #[must_use]
    pub fn new(config: Config, now: Time) -> Self {
        debug_assert!(config.limits.are_sound());
        Self {
            now,
            read: now,
            state: State::Joining,
            cause: None,
            membership: Membership::new(now),
            peers: Peers::new(config.node),
            view: ViewState::new(config.seed, now),
            accepts: Buckets::EMPTY,
            moving: Moving::default(),
            clients: Clients::new(),
            waiting: Waiting::new(),
            log: Log::new(config.limits.log),
            refused: Refused::default(),
            kernel: Kernel::new(),
            retry_at: None,
            leave: Leave::No,
            restart: Restart::No,
            away: Vec::new(),
            abandoned: false,
            sender: Sender::new(config.timing, now),
            seed: config.seed,
            weight: config.weight,
            weighed: None,
            weight_wanted: config.weight,
            load: Load::default(),
            alike: Alike::default(),
            service: Service::default(),
            drain: None,
            recheck: false,
            swept: Sweep::new(now),
            counters: Counters::default(),
            notices: VecDeque::new(),
            notices_lost: 0,
            config,
        }
    }

    /// A decoded, authenticated frame of this cluster. `arrival` is when the kernel received it.
    pub fn handle_frame(&mut self, frame: Frame, arrival: Time, now: Time) {
        self.advance(now);
        let arrival = arrival.min(self.now);
        if self.now.since(arrival) < self.config.timing.dead_after {
            self.receive(frame, arrival);
        } else {
            // It waited so long that its sender may be dead: nothing can be concluded from it.
            self.counters.unusable += 1;
        }
        self.evaluate();
    }

    /// The frame with this number has left on at least one interface.
    pub fn handle_sent(&mut self, sequence: Sequence, now: Time) {
        // What left counts before it is asked whether too little left.
        if let Some(handed) = self.sender.left(sequence) {
            self.membership.note_left(sequence, handed);
        }
        self.advance(now);
    }

    /// The time that `poll_timeout` named has come. Calling it early or often does no harm.
    ///
    /// Silence is judged here and nowhere else, and only up to `read`: every frame that arrived
    /// before that has been handed in. (It is when the reading began, if all was read.) After a
    /// stall, also one between the last look at the sockets and this call, no peer is dead whose
    /// latest frame is still unread, nor is this node deaf, or alone.
    pub fn handle_timeout(&mut self, read: Time, now: Time) {
        self.advance(now);
        self.read = self.read.max(read.min(self.now));
        self.expire_peers();
        self.judge_receiver();
        self.evaluate();
    }

    /// A packet from the queue. `arrival` is when the kernel received it. A `Hold` is settled
    /// later by `poll_verdict`.
    pub fn handle_packet(&mut self, packet: ClientPacket, arrival: Time, now: Time) -> Verdict {
        self.advance(now);
        let arrival = arrival.min(self.now);
        self.note_witness(arrival);
        self.judge(packet, arrival)
    }

    /// The kernel is in the state of this plan (or of a later one).
    pub fn handle_applied(&mut self, generation: Generation, now: Time) {
        self.advance(now);
        let forgotten = self.kernel.applied(generation);
        self.forgotten(&forgotten);
        if !self.kernel.has_failed() {
            self.retry_at = None;
        }
        self.evaluate();
    }

    /// The kernel refused a plan: the node withdraws until a plan is applied again.
    pub fn handle_kernel_failed(&mut self, now: Time) {
        self.advance(now);
        self.fence(FenceCause::Kernel);
        self.kernel.flush();
        self.kernel.failed();
        self.retry_at = Some(self.now + self.config.timing.heartbeat);
        self.evaluate();
    }

    /// What was found of clients that [`Self::poll_question`] asked about. `asked` is the time
    /// before anybody was looked for.
    pub fn handle_findings(&mut self, findings: &[Finding], asked: Time, now: Time) {
        self.advance(now);
        self.answered_question(findings, asked.min(self.now));
        self.evaluate();
    }

    /// The kernel lost its sticky sets (somebody flushed the rules): the next plans remember them.
    pub fn handle_sticky_lost(&mut self, now: Time) {
        self.advance(now);
        self.remember_all();
        self.evaluate();
    }

    /// The kernel lost its rules and has them back: the gate is closed until a heartbeat leaves,
    /// so one leaves at once.
    pub fn handle_rules_repaired(&mut self, now: Time) {
        self.advance(now);
        self.sender.dirty = true;
        self.evaluate();
    }

    /// Some frame arrived from the wire after `wants_witness` said since when it is asked for.
    pub fn handle_witness(&mut self, now: Time) {
        self.advance(now);
        self.note_witness(self.now);
        self.evaluate();
    }

    /// The kernel state wanted, if it changed since the last call.
    pub fn poll_plan(&mut self) -> Option<KernelPlan> {
        if self.retry_at.is_some_and(|at| at > self.now) {
            return None;
        }
        let filter = self.wanted_filter();
        self.kernel.poll(filter)
    }

    /// Clients of whom the engine wants to know whether they may still be in use: whether the
    /// kernel keeps them, and whether they have an open connection. The next question comes when
    /// this one is answered by [`Self::handle_findings`], or was not for long.
    pub fn poll_question(&mut self, now: Time) -> Option<Vec<IpAddr>> {
        self.advance(now);
        self.next_question()
    }

    /// The verdict on a packet that was held. `now` is checked against the admission deadline.
    pub fn poll_verdict(&mut self, now: Time) -> Option<(PacketId, Verdict)> {
        self.advance(now);
        self.next_verdict()
    }

    /// The next frame to send, if one is due.
    pub fn poll_transmit(&mut self, now: Time) -> Option<Transmit> {
        self.advance(now);
        self.next_frame().map(|frame| Transmit { frame })
    }

    /// The next event.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// When `handle_timeout` is to be called at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Time {
        self.next_timeout()
    }

    /// Since when the engine waits for a sign that this node's receiver works, if it does (R7).
    /// The driver provokes frames (ARP and ND probes) and calls `handle_witness`.
    #[must_use]
    pub fn wants_witness(&self) -> Option<Time> {
        self.membership.wanted_witness()
    }

    /// Whether this node answers ARP and ND requests of `asker` (SPEC 2.4.2): the owner of its
    /// bucket, or anybody while the cluster converges or has `several` interfaces.
    #[must_use]
    pub fn answers_neighbour(&self, asker: IpAddr, several: bool) -> bool {
        machine::serves(self.state)
            && !self.leave.is_over()
            && (several || self.accepts.contains(self.bucket(asker)) || !self.view.converged)
    }

    /// Takes the time, and gives up what was lost by not sending: before anything else, because
    /// after a stop the first event may be anything (SPEC 6.8).
    fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
        if self.has_been_silent() {
            self.fence(FenceCause::Silent);
        }
    }

    /// Draws every conclusion from what is known now.
    fn evaluate(&mut self) {
        self.watch_receiver();
        self.follow_seed();
        self.step_state();
        self.take_weight();
        self.refresh_view();
        self.watch_keepers();
        self.waiting.expire(self.now);
        self.take_pins_anew();
        self.move_buckets();
        self.settle_twice();
        self.step_leave();
        self.step_drain();
        self.step_restart();
        self.sweep_clients();
        self.settle_held();
        self.drop_some();
        self.note_convergence();
    }

    fn wanted_filter(&self) -> Filter {
        Filter {
            buckets: self.coming_filter(),
            divert: !self.config.offload || self.leave.diverts(),
            seed: self.seed,
        }
    }

    fn notify(&mut self, notice: Notice) {
        if self.notices.len() >= NOTICES {
            self.notices.pop_front();
            self.notices_lost += 1;
        }
        self.notices.push_back(notice);
    }
}
