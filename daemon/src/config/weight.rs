//! Where a weight comes from, as the files say it.

use core::time::Duration;

use nlb_protocol::Weight;

use super::checks::{COMMAND, Fields};
use super::read::Reader;
use super::source::At;
use super::tree::{Node, Value};
use crate::weight::{LoadCommand, WeightSource};

const WEIGHTS: &str = "LoadAverage, LoadAverage5, LoadAverage15, Cpu, Memory, Connections, \
     Manual(1 to 65535) or Command([\"/PATH\", …])";
/// What a command takes beside itself.
const FIELDS: [&str; 7] =
    ["run", "full", "interval_s", "timeout_s", "timeout_ms", "keep_s", "fallback"];
/// The most that can be `full`: what fits into 32 bits with room to spare.
const MAX_FULL: i128 = 1_000_000_000;

/// A source, and the command where it is one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RawWeight {
    pub(super) source: WeightSource,
    pub(super) command: Option<LoadCommand>,
}

impl Reader<'_> {
    pub(super) fn weight(&mut self, node: &Node) -> Option<At<RawWeight>> {
        let (mut command, source) = (
            None,
            match &node.value {
                Value::Word(word) => match word.as_str() {
                    "LoadAverage" => WeightSource::LoadAverage,
                    "LoadAverage5" => WeightSource::LoadAverage5,
                    "LoadAverage15" => WeightSource::LoadAverage15,
                    "Cpu" => WeightSource::Cpu,
                    "Memory" => WeightSource::Memory,
                    "Connections" => WeightSource::Connections,
                    _ => return self.refuse("weight", node, WEIGHTS),
                },
                Value::Tuple(Some(word), items) if word == "Manual" && items.len() == 1 => {
                    let weight = self.number::<u16>("weight", &items[0], 1..=65535)?;
                    WeightSource::Manual(Weight::new(weight.value)?)
                }
                Value::Tuple(Some(word), items) if word == "Command" && items.len() == 1 => {
                    WeightSource::Command
                }
                Value::Struct(Some(word), _) if word == "Command" => WeightSource::Command,
                _ => return self.refuse("weight", node, WEIGHTS),
            },
        );
        if source == WeightSource::Command {
            command = Some(self.load_command(node)?);
        }
        Some(self.at(node, RawWeight { source, command }))
    }

    fn load_command(&mut self, node: &Node) -> Option<LoadCommand> {
        // The short form: the command, and nothing else.
        if let Value::Tuple(_, items) = &node.value {
            let words = self.words("weight", items.first()?)?;
            return Some(LoadCommand::new(words));
        }
        let fields = self.fields(node, "weight", &FIELDS);
        let fields = Fields { check: node, fields };
        let Some(run) = fields.get("run") else {
            return self.refuse("weight", node, &format!("one with `run: …`, {COMMAND}"));
        };
        let mut command = LoadCommand::new(self.words("run", run)?);
        if let Some(node) = fields.get("full") {
            command.full = self.number("full", node, 1..=MAX_FULL)?.value;
        }
        if let Some(node) = fields.get("interval_s") {
            let interval = self.duration("interval_s", node, 1..=3600, Duration::from_secs)?;
            command.interval = interval.value;
            // Whoever asks often waits no longer than until the next time.
            command.timeout = command.timeout.min(command.interval);
        }
        if let Some(timeout) = self.time(&fields, ["timeout_s", "timeout_ms"], 1)? {
            if timeout > command.interval {
                return self.refuse_timeout(&fields, node, command.interval);
            }
            command.timeout = timeout;
        }
        if let Some(node) = fields.get("keep_s") {
            command.keep = self.duration("keep_s", node, 0..=86_400, Duration::from_secs)?.value;
        }
        if let Some(node) = fields.get("fallback") {
            let weight = self.number::<u16>("fallback", node, 1..=65535)?;
            command.fallback = Weight::new(weight.value)?;
        }
        Some(command)
    }
}
