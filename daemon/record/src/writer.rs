//! From steps to lines.

use nlb_engine::Time;

use crate::line::{FORMAT, Line, nanos, to_hex, write_line};
use crate::step::{Begin, Step, What};
use crate::words;

/// Bytes of an image in one line.
const PART: usize = 16 << 10;

/// Makes the lines of a recording.
#[derive(Debug)]
pub struct Writer;

impl Writer {
    /// The first line. `time_ms` is the time of day, for people.
    #[must_use]
    pub fn head(software: &str, cluster: &str, time_ms: u64) -> String {
        let (software, cluster) = (software.to_owned(), cluster.to_owned());
        let head = Line::Recording { format: FORMAT, software, cluster, time_ms };
        write_line(Time::ZERO, &head)
    }

    /// A last line that is not the engine's.
    #[must_use]
    pub fn end(why: &str) -> String {
        write_line(Time::ZERO, &Line::End(why.to_owned()))
    }

    /// The lines of a step: one, or some more for an image.
    pub fn lines(step: Step, out: &mut Vec<String>) {
        let Step { at, what } = step;
        if let What::Begin(Begin::Running(image)) = &what {
            let mut parts = image.chunks(PART).peekable();
            while let Some(part) = parts.next() {
                let line = Line::Image { part: to_hex(part), last: parts.peek().is_none() };
                out.push(write_line(at, &line));
            }
        } else {
            out.push(write_line(at, &line(what)));
        }
    }
}

/// The line of a step that is no image.
pub(crate) fn line(what: What) -> Line {
    match what {
        What::Begin(Begin::New(config)) => Line::New(Box::new((&*config).into())),
        What::Begin(Begin::Running(image)) => Line::Image { part: to_hex(&image), last: true },
        What::Lost(lost) => Line::Lost(lost),
        What::End(why) => Line::End(why.to_owned()),
        What::Frame { frame, arrival } => {
            Line::Frame { arrival: arrival.as_nanos(), bytes: to_hex(&words::bytes(&frame)) }
        }
        What::Sent(sequence) => Line::Sent(sequence.0),
        What::Timeout(read) => Line::Timeout(read.as_nanos()),
        What::Packet { packet, arrival, gave } => Line::Packet {
            id: packet.id.0,
            client: packet.client,
            opens: packet.opens,
            print: packet.fingerprint,
            arrival: arrival.as_nanos(),
            gave: words::verdict(gave).to_owned(),
        },
        What::Applied(generation) => Line::Applied(generation.0),
        What::KernelFailed => Line::KernelFailed,
        What::Findings { findings, asked } => Line::Findings {
            asked: asked.as_nanos(),
            found: findings
                .into_iter()
                .map(|it| (it.client, it.left.map(nanos), it.connected))
                .collect(),
        },
        What::StickyLost => Line::StickyLost,
        What::RulesRepaired => Line::RulesRepaired,
        What::Witness => Line::Witness,
        What::Load(load) => Line::Load { measure: load.measure, permille: load.permille },
        What::Settings(it) => Line::Settings {
            heartbeat_ms: it.heartbeat_ms,
            dead_after_ms: it.dead_after_ms,
            mode: it.mode,
            mac: it.mac.0,
            addresses: it.addresses,
            ports: it.ports,
            keys: it.keys,
        },
        What::Health(health, withdraw) => {
            Line::Health { health: health.code(), withdraw: withdraw.into() }
        }
        What::Command(command, gave) => {
            Line::Command { order: (&command).into(), gave: words::outcome(gave) }
        }
        What::Plan(plan) => Line::Plan(words::plan(&plan)),
        What::Question(clients) => Line::Question(clients.map(|clients| words::question(&clients))),
        What::Verdict(verdict) => {
            Line::Verdict(verdict.map(|(id, it)| (id.0, words::verdict(it).to_owned())))
        }
        What::Transmit(frame) => Line::Transmit(frame.map(|frame| words::transmit(&frame))),
        What::Notice(notice) => Line::Notice(format!("{notice:?}")),
    }
}
