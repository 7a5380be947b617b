//! What an engine said, in a few words and with a checksum over all of it.

use core::fmt::Write as _;
use core::net::IpAddr;
use core::time::Duration;

use nlb_engine::manage::{Command, CommandError, Outcome};
use nlb_engine::{KernelPlan, Verdict};
use nlb_protocol::auth::KeyRing;
use nlb_protocol::frame::{Frame, MAX_FRAME, Message};

/// FNV-1a: tells outputs apart, wards nobody off.
pub(crate) fn checksum(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("#{hash:016x}")
}

fn of_addresses(addresses: &[IpAddr]) -> String {
    checksum(addresses.iter().map(|address| format!("{address} ")).collect::<String>().as_bytes())
}

/// A frame as bytes, under the key that everybody knows.
pub(crate) fn bytes(frame: &Frame) -> Vec<u8> {
    let mut bytes = [0; MAX_FRAME];
    let length = frame.encode(&KeyRing::insecure(), &mut bytes);
    bytes.get(..length).unwrap_or_default().to_vec()
}

pub(crate) fn frame(frame: &Frame) -> String {
    let number = frame.header.sequence;
    match &frame.message {
        Message::Heartbeat(beat) => format!(
            "heartbeat {number} of {}: {:?}, epoch {}, digest {}, accepts {}, hears {}, weight {}, \
             pins {}",
            frame.header.node,
            beat.state,
            beat.epoch,
            beat.digest,
            beat.accepts.len(),
            beat.peers.len(),
            beat.weight,
            beat.pin_version,
        ),
        Message::Information(it) => {
            format!("information {number} of {}: {}", frame.header.node, it.name)
        }
        Message::PinDelta(delta) => format!(
            "pin delta {number} of {}: {} from {} on",
            frame.header.node,
            delta.entries.len(),
            delta.first
        ),
        Message::PinSnapshot(part) => format!(
            "pin snapshot {number} of {}: {} clients at {}",
            frame.header.node,
            part.clients.len(),
            part.version
        ),
        Message::PinRequest(request) => format!(
            "pin request {number} of {} to {}: {:?} after {}",
            frame.header.node, request.owner, request.want, request.after
        ),
    }
}

pub(crate) fn transmit(sent: &Frame) -> String {
    format!("{} {}", frame(sent), checksum(&bytes(sent)))
}

pub(crate) fn plan(plan: &KernelPlan) -> String {
    let mut text = format!("plan {}: filter {}", plan.generation.0, plan.filter.len());
    for (is, word) in [(plan.divert, "divert"), (plan.flush, "flush"), (plan.reopen, "reopen")] {
        if is {
            // A String takes whatever is written.
            let _ = write!(text, ", {word}");
        }
    }
    let lists = [("forget", &plan.forget), ("renew", &plan.renew), ("remember", &plan.remember)];
    for (word, list) in lists {
        if !list.is_empty() {
            let _ = write!(text, ", {word} {} {}", list.len(), of_addresses(list));
        }
    }
    let _ = write!(text, ", seed {:08x} {}", plan.seed, checksum(&plan.filter.to_wire()));
    text
}

pub(crate) fn question(clients: &[IpAddr]) -> String {
    format!("about {} clients {}", clients.len(), of_addresses(clients))
}

pub(crate) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accept => "accept",
        Verdict::Drop => "drop",
        Verdict::Refuse => "refuse",
        Verdict::Hold => "hold",
    }
}

pub(crate) fn outcome(outcome: Result<Outcome, CommandError>) -> String {
    match outcome {
        Ok(Outcome::Changed) => "changed".to_owned(),
        Ok(Outcome::Unchanged) => "unchanged".to_owned(),
        Err(error) => format!("refused: {error}"),
    }
}

/// A command for people.
pub(crate) fn command(command: &Command) -> String {
    let seconds = |time: &Duration| time.as_secs_f64();
    match command {
        Command::SetWeight(weight) => format!("set weight {weight}"),
        Command::Leave => "leave".to_owned(),
        Command::LeaveNow => "leave now".to_owned(),
        Command::Restart { hold } => format!("restart within {} s", seconds(hold)),
        Command::Drain { timeout: Some(time), .. } => format!("drain for {} s", seconds(time)),
        Command::Drain { timeout: None, .. } => "drain".to_owned(),
        Command::Undrain => "undrain".to_owned(),
    }
}
