//! A call of an engine as it happens: cheap to make, because the data path makes it.

use core::net::IpAddr;

use nlb_engine::manage::{Command, CommandError, Outcome};
use nlb_engine::{
    ClientPacket, Config, Finding, Generation, KernelPlan, Notice, PacketId, Time, Verdict,
    Withdraw,
};
use nlb_protocol::Sequence;
use nlb_protocol::frame::{Frame, Health, Load, Settings};

/// What a recording begins with, or goes on with after a gap.
#[derive(Debug, Clone)]
pub enum Begin {
    /// An engine that was made at that time.
    New(Box<Config>),
    /// An engine that ran already: its image.
    Running(Vec<u8>),
}

/// One call, and when it was made.
#[derive(Debug, Clone)]
pub struct Step {
    /// The `now` of the call; where it has none, that of the call before.
    pub at: Time,
    /// Which call.
    pub what: What,
}

/// The calls of an engine that change it, each with what came of it.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // each is the call of its name
pub enum What {
    Begin(Begin),
    /// So many steps are missing here: whoever reads the recording was too slow.
    Lost(u64),
    /// Nothing comes behind this, and why.
    End(&'static str),
    Frame {
        frame: Box<Frame>,
        arrival: Time,
    },
    Sent(Sequence),
    /// `read` of the call.
    Timeout(Time),
    Packet {
        packet: ClientPacket,
        arrival: Time,
        gave: Verdict,
    },
    Applied(Generation),
    KernelFailed,
    Findings {
        findings: Vec<Finding>,
        asked: Time,
    },
    StickyLost,
    RulesRepaired,
    Witness,
    Load(Load),
    Settings(Settings),
    Health(Health, Withdraw),
    Command(Command, Result<Outcome, CommandError>),
    Plan(Box<KernelPlan>),
    Question(Option<Vec<IpAddr>>),
    Verdict(Option<(PacketId, Verdict)>),
    Transmit(Option<Box<Frame>>),
    Notice(Box<Notice>),
}
