//! From lines to an engine.

use core::time::Duration;

use nlb_engine::{ClientPacket, Engine, Finding, Generation, PacketId, Time};
use nlb_protocol::auth::KeyRing;
use nlb_protocol::frame::{Frame, Health, Load, Settings};
use nlb_protocol::{ClusterId, MacAddr, Sequence};

use crate::line::{FORMAT, Line, from_hex};
use crate::step::What;
use crate::words;
use crate::writer::line as line_of;

/// Why a recording cannot be replayed any further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// Another form.
    #[error("the recording has format {found}; this program reads format {FORMAT}")]
    Format {
        /// Which.
        found: u32,
    },
    /// It does not begin as a recording does.
    #[error("there is no engine yet: the beginning of the recording is missing")]
    NoEngine,
    /// Its state was written by other software.
    #[error(
        "the recording begins with the state of a running engine of another build ({software}): \
         replay it with that build"
    )]
    OtherBuild {
        /// Which.
        software: String,
    },
    /// A line has something impossible in it.
    #[error("impossible: {0}")]
    Impossible(&'static str),
}

/// An engine that is told what another was told.
#[derive(Debug, Default)]
pub struct Replay {
    engine: Option<Engine>,
    software: String,
    image: Vec<u8>,
}

impl Replay {
    /// Nothing was told yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The engine, as it is now.
    #[must_use]
    pub fn engine(&self) -> Option<&Engine> {
        self.engine.as_ref()
    }

    /// Tells the engine what stands in a line. Gives the line that would have been recorded of
    /// this engine: it differs from `line` where this engine says something else.
    ///
    /// # Errors
    /// When it cannot go on.
    pub fn tell(&mut self, at: Time, line: &Line) -> Result<Line, ReplayError> {
        match line {
            Line::Recording { format: FORMAT, software, .. } => {
                self.software.clone_from(software);
            }
            Line::Recording { format, .. } => return Err(ReplayError::Format { found: *format }),
            Line::New(start) => {
                let config = start.config().ok_or(ReplayError::Impossible("the configuration"))?;
                self.engine = Some(Engine::new(config, at));
            }
            Line::Image { part, last } => {
                self.image.extend(from_hex(part).ok_or(ReplayError::Impossible("the image"))?);
                if *last {
                    let image = core::mem::take(&mut self.image);
                    let other = || ReplayError::OtherBuild { software: self.software.clone() };
                    self.engine = Some(Engine::from_image(&image).ok_or_else(other)?);
                }
            }
            // What comes next makes no sense to this engine.
            Line::Lost(_) => self.engine = None,
            Line::End(_) => {}
            _ => {
                let engine = self.engine.as_mut().ok_or(ReplayError::NoEngine)?;
                return call(engine, at, line);
            }
        }
        Ok(line.clone())
    }
}

/// The same call, with what came of it now.
fn call(engine: &mut Engine, at: Time, line: &Line) -> Result<Line, ReplayError> {
    let impossible = |what| ReplayError::Impossible(what);
    let what = match line {
        Line::Frame { arrival, bytes } => {
            engine.handle_frame(frame(bytes)?, Time::from_nanos(*arrival), at);
            None
        }
        Line::Sent(sequence) => {
            engine.handle_sent(Sequence(*sequence), at);
            None
        }
        Line::Timeout(read) => {
            engine.handle_timeout(Time::from_nanos(*read), at);
            None
        }
        Line::Packet { id, client, opens, print, arrival, .. } => {
            let arrival = Time::from_nanos(*arrival);
            let (id, client, opens) = (PacketId(*id), *client, *opens);
            let packet = ClientPacket { id, client, opens, fingerprint: *print };
            Some(What::Packet { packet, arrival, gave: engine.handle_packet(packet, arrival, at) })
        }
        Line::Applied(generation) => {
            engine.handle_applied(Generation(*generation), at);
            None
        }
        Line::KernelFailed => {
            engine.handle_kernel_failed(at);
            None
        }
        Line::Findings { asked, found } => {
            let finding = |(client, left, connected): &(_, Option<u64>, bool)| Finding {
                client: *client,
                left: left.map(Duration::from_nanos),
                connected: *connected,
            };
            let findings: Vec<Finding> = found.iter().map(finding).collect();
            engine.handle_findings(&findings, Time::from_nanos(*asked), at);
            None
        }
        Line::StickyLost => {
            engine.handle_sticky_lost(at);
            None
        }
        Line::RulesRepaired => {
            engine.handle_rules_repaired(at);
            None
        }
        Line::Witness => {
            engine.handle_witness(at);
            None
        }
        Line::Load { measure, permille } => {
            engine.handle_load(Load { measure: *measure, permille: *permille });
            None
        }
        Line::Settings { heartbeat_ms, dead_after_ms, mode, mac, addresses, ports, keys } => {
            engine.handle_settings(Settings {
                heartbeat_ms: *heartbeat_ms,
                dead_after_ms: *dead_after_ms,
                mode: *mode,
                mac: MacAddr(*mac),
                addresses: *addresses,
                ports: *ports,
                keys: *keys,
            });
            None
        }
        Line::Health { health, withdraw } => {
            engine.handle_health(Health::from_code(*health), (*withdraw).into(), at);
            None
        }
        Line::Command { order, .. } => {
            let command = order.command().ok_or(impossible("the command"))?;
            let gave = engine.handle_command(command.clone(), at);
            Some(What::Command(command, gave))
        }
        Line::Plan(_) => match engine.poll_plan() {
            Some(plan) => Some(What::Plan(Box::new(plan))),
            None => return Ok(Line::Plan("none".to_owned())),
        },
        Line::Question(_) => Some(What::Question(engine.poll_question(at))),
        Line::Verdict(_) => Some(What::Verdict(engine.poll_verdict(at))),
        Line::Transmit(_) => {
            let sent = engine.poll_transmit(at);
            Some(What::Transmit(sent.map(|transmit| Box::new(transmit.frame))))
        }
        Line::Notice(_) => match engine.poll_notice() {
            Some(notice) => Some(What::Notice(Box::new(notice))),
            None => return Ok(Line::Notice("none".to_owned())),
        },
        Line::Recording { .. }
        | Line::New(_)
        | Line::Image { .. }
        | Line::Lost(_)
        | Line::End(_) => None,
    };
    Ok(what.map_or_else(|| line.clone(), line_of))
}

fn frame(digits: &str) -> Result<Frame, ReplayError> {
    let impossible = ReplayError::Impossible("a frame");
    let bytes = from_hex(digits).ok_or(impossible.clone())?;
    // It names its cluster itself: it was judged when it came.
    let [high, low] =
        bytes.get(4..6).and_then(|id| id.try_into().ok()).ok_or(impossible.clone())?;
    let cluster = ClusterId(u16::from_be_bytes([high, low]));
    Frame::decode(&bytes, cluster, &KeyRing::insecure()).map_err(|_| impossible)
}

impl Line {
    /// The line for people.
    #[must_use]
    pub fn words(&self) -> String {
        let or_none = |it: &Option<String>| it.clone().unwrap_or_else(|| "nothing".to_owned());
        match self {
            Self::Recording { software, cluster, .. } => format!("{cluster} of {software}"),
            Self::New(start) => format!("new engine: node {:016x}", start.node),
            Self::Image { part, .. } => format!("state, {} bytes", part.len() / 2),
            Self::Lost(lost) => format!("{lost} lines are missing here"),
            Self::End(why) => format!("the end: {why}"),
            Self::Frame { bytes, .. } => match frame(bytes) {
                Ok(it) => format!("hears {}", words::frame(&it)),
                Err(error) => error.to_string(),
            },
            Self::Sent(sequence) => format!("{sequence} has left"),
            Self::Timeout(_) => "timeout".to_owned(),
            Self::Packet { client, opens, gave, .. } => {
                format!("packet of {client}{}: {gave}", if *opens { ", opens" } else { "" })
            }
            Self::Applied(generation) => format!("plan {generation} is in force"),
            Self::KernelFailed => "the kernel refused a plan".to_owned(),
            Self::Findings { found, .. } => format!("finds {} clients", found.len()),
            Self::StickyLost => "the kernel lost its clients".to_owned(),
            Self::RulesRepaired => "the rules were repaired".to_owned(),
            Self::Witness => "the receiver works".to_owned(),
            Self::Load { measure, permille } => format!("load {permille} by measure {measure}"),
            Self::Settings { heartbeat_ms, dead_after_ms, .. } => {
                format!("settings: heartbeat {heartbeat_ms} ms, dead after {dead_after_ms} ms")
            }
            Self::Health { health, .. } => format!("health {:?}", Health::from_code(*health)),
            Self::Command { order, gave } => {
                let command = order.command().map(|command| words::command(&command));
                format!("{}: {gave}", command.unwrap_or_default())
            }
            Self::Plan(plan) => format!("-> {plan}"),
            Self::Question(question) => format!("-> asks {}", or_none(question)),
            Self::Verdict(Some((id, verdict))) => format!("-> packet {id}: {verdict}"),
            Self::Verdict(None) => "-> no verdict".to_owned(),
            Self::Transmit(frame) => format!("-> sends {}", or_none(frame)),
            Self::Notice(notice) => format!("-> {notice}"),
        }
    }

    /// Whether the line says that the engine had nothing to say, or that time went on.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        matches!(
            self,
            Self::Timeout(_) | Self::Question(None) | Self::Verdict(None) | Self::Transmit(None)
        )
    }
}
