//! The engine as the driver calls it: every call that changes it can be put on a tape.
//!
//! Whoever reads the tape may be slow or gone: a step is offered and never waited for. What does
//! not fit is counted; when there is room again, the tape goes on with the state that the engine
//! has then. Owned by the cluster's task.

use std::net::IpAddr;
use std::ops::Deref;
use std::time::Duration;

use nlb_engine::manage::{Command, CommandError, Outcome};
use nlb_engine::{
    ClientPacket, Engine, Finding, Generation, KernelPlan, Notice, PacketId, Time, Transmit,
    Verdict, Withdraw,
};
use nlb_protocol::Sequence;
use nlb_protocol::frame::{Frame, Health, Load, Settings};
use nlb_record::{Begin, Step, What};
use tokio::sync::mpsc;

use crate::manage::TapeEnd;

/// A recording of a running engine begins with its state, which is written down between two
/// packets: 32,768 addresses take some 3 ms, less than a frame delay of the fastest profile.
const MAX_REMEMBERED: usize = 1 << 15;

/// Between two states on one tape at least: a reader that is always behind must not have the
/// driver write down its state all the time.
const STATE_EVERY: Duration = Duration::from_secs(1);

/// Why no recording begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TapeError {
    /// One at a time.
    #[error("a recording of this cluster runs already")]
    Runs,
    /// The state is too large to be written down in passing.
    #[error(
        "this node remembers {found} clients; a recording begins with {MAX_REMEMBERED} at most, or \
         at the start of the cluster (--from-start)"
    )]
    TooLarge {
        /// How large.
        found: usize,
    },
}

/// A recording that runs.
struct Tape {
    steps: mpsc::Sender<Step>,
    until: Time,
    /// Steps that did not fit since it was last whole.
    lost: u64,
    /// When the state was last written down.
    state: Time,
}

/// An engine, and perhaps a tape.
pub(super) struct Taped {
    engine: Engine,
    tape: Option<Tape>,
    /// The latest time that was handed in.
    now: Time,
}

/// Reading leaves no trace.
impl Deref for Taped {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl Taped {
    /// This engine, without a tape.
    pub(super) fn new(engine: Engine) -> Self {
        Self { engine, tape: None, now: Time::ZERO }
    }

    /// Records from here on. The steps begin with the engine's state, or with `made` for an engine
    /// that was not called yet.
    ///
    /// # Errors
    /// When that cannot be.
    pub(super) fn record(
        &mut self,
        end: TapeEnd,
        made: Option<Begin>,
        now: Time,
    ) -> Result<(), TapeError> {
        self.end_tape(now);
        if self.tape.is_some() {
            return Err(TapeError::Runs);
        }
        let begin = made.or_else(|| self.state());
        let found = self.engine.remembered();
        let begin = begin.ok_or(TapeError::TooLarge { found })?;
        let TapeEnd { steps, time } = end;
        self.tape = Some(Tape { steps, until: now + time, lost: 0, state: now });
        self.note(now, || What::Begin(begin));
        Ok(())
    }

    fn state(&self) -> Option<Begin> {
        (self.engine.remembered() <= MAX_REMEMBERED).then(|| Begin::Running(self.engine.image()))
    }

    /// To be called in every turn: ends a tape whose time is over, and mends one that has a gap.
    pub(super) fn wind(&mut self, now: Time) {
        if self.tape.is_none() {
            return;
        }
        self.end_tape(now);
        let Some(tape) = &mut self.tape else { return };
        let room = tape.steps.capacity() >= tape.steps.max_capacity() / 2;
        if tape.lost == 0 || !room || now.since(tape.state) < STATE_EVERY {
            return;
        }
        let lost = std::mem::take(&mut tape.lost);
        tape.state = now;
        self.note(now, || What::Lost(lost));
        match self.state() {
            Some(state) => self.note(now, || What::Begin(state)),
            None => {
                self.note(now, || What::End("too many clients to go on behind a gap"));
                self.tape = None;
            }
        }
    }

    fn end_tape(&mut self, now: Time) {
        let Some(tape) = &self.tape else { return };
        if now >= tape.until {
            self.note(now, || What::End("the time is over"));
            self.tape = None;
        } else if tape.steps.is_closed() {
            self.tape = None;
        }
    }

    fn note(&mut self, at: Time, what: impl FnOnce() -> What) {
        self.now = self.now.max(at);
        let Some(tape) = &mut self.tape else { return };
        // Behind a gap nothing can be understood before the next state.
        if tape.lost > 0 || tape.steps.try_send(Step { at, what: what() }).is_err() {
            tape.lost += 1;
        }
    }

    pub(super) fn handle_frame(&mut self, frame: Frame, arrival: Time, now: Time) {
        self.note(now, || What::Frame { frame: Box::new(frame.clone()), arrival });
        self.engine.handle_frame(frame, arrival, now);
    }

    pub(super) fn handle_sent(&mut self, sequence: Sequence, now: Time) {
        self.note(now, || What::Sent(sequence));
        self.engine.handle_sent(sequence, now);
    }

    pub(super) fn handle_timeout(&mut self, read: Time, now: Time) {
        self.note(now, || What::Timeout(read));
        self.engine.handle_timeout(read, now);
    }

    pub(super) fn handle_packet(
        &mut self,
        packet: ClientPacket,
        arrival: Time,
        now: Time,
    ) -> Verdict {
        let gave = self.engine.handle_packet(packet, arrival, now);
        self.note(now, || What::Packet { packet, arrival, gave });
        gave
    }

    pub(super) fn handle_applied(&mut self, generation: Generation, now: Time) {
        self.note(now, || What::Applied(generation));
        self.engine.handle_applied(generation, now);
    }

    pub(super) fn handle_kernel_failed(&mut self, now: Time) {
        self.note(now, || What::KernelFailed);
        self.engine.handle_kernel_failed(now);
    }

    pub(super) fn handle_findings(&mut self, findings: &[Finding], asked: Time, now: Time) {
        self.note(now, || What::Findings { findings: findings.to_vec(), asked });
        self.engine.handle_findings(findings, asked, now);
    }

    pub(super) fn handle_sticky_lost(&mut self, now: Time) {
        self.note(now, || What::StickyLost);
        self.engine.handle_sticky_lost(now);
    }

    pub(super) fn handle_rules_repaired(&mut self, now: Time) {
        self.note(now, || What::RulesRepaired);
        self.engine.handle_rules_repaired(now);
    }

    pub(super) fn handle_witness(&mut self, now: Time) {
        self.note(now, || What::Witness);
        self.engine.handle_witness(now);
    }

    pub(super) fn handle_load(&mut self, load: Load) {
        self.note(self.now, || What::Load(load));
        self.engine.handle_load(load);
    }

    pub(super) fn handle_settings(&mut self, settings: Settings) {
        self.note(self.now, || What::Settings(settings));
        self.engine.handle_settings(settings);
    }

    pub(super) fn handle_health(&mut self, health: Health, withdraw: Withdraw, now: Time) {
        self.note(now, || What::Health(health, withdraw));
        self.engine.handle_health(health, withdraw, now);
    }

    pub(super) fn handle_command(
        &mut self,
        command: Command,
        now: Time,
    ) -> Result<Outcome, CommandError> {
        let gave = self.engine.handle_command(command.clone(), now);
        self.note(now, || What::Command(command, gave));
        gave
    }

    /// Nothing is lost when `None` is not noted: no time is handed in.
    pub(super) fn poll_plan(&mut self) -> Option<KernelPlan> {
        let plan = self.engine.poll_plan();
        if let Some(plan) = &plan {
            self.note(self.now, || What::Plan(Box::new(plan.clone())));
        }
        plan
    }

    pub(super) fn poll_question(&mut self, now: Time) -> Option<Vec<IpAddr>> {
        let question = self.engine.poll_question(now);
        self.note(now, || What::Question(question.clone()));
        question
    }

    pub(super) fn poll_verdict(&mut self, now: Time) -> Option<(PacketId, Verdict)> {
        let verdict = self.engine.poll_verdict(now);
        self.note(now, || What::Verdict(verdict));
        verdict
    }

    pub(super) fn poll_transmit(&mut self, now: Time) -> Option<Transmit> {
        let transmit = self.engine.poll_transmit(now);
        let frame = transmit.as_ref().map(|transmit| &transmit.frame);
        self.note(now, || What::Transmit(frame.cloned().map(Box::new)));
        transmit
    }

    /// As [`Self::poll_plan`].
    pub(super) fn poll_notice(&mut self) -> Option<Notice> {
        let notice = self.engine.poll_notice();
        if let Some(notice) = &notice {
            self.note(self.now, || What::Notice(Box::new(notice.clone())));
        }
        notice
    }
}

#[cfg(test)]
mod tests;
