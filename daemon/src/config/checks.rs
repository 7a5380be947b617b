//! The health checks of a cluster: which kinds there are, and what each takes.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use super::read::Reader;
use super::source::At;
use super::tree::{Field, Node, Value};
use crate::check::{
    Check, CheckMode, Dns, Kind, OnFailure, Pace, Pattern, Record, Udp, WhenAllFail, is_name,
};

const KINDS: &str = "Tcp(…), Http(…), Https(…), Dns(…), Udp(…), Unit(\"NAME\"), Process(\"NAME\") \
     or Command([\"/PATH\", …])";
/// What every kind takes.
const PACE: [&str; 6] = ["interval_s", "interval_ms", "timeout_s", "timeout_ms", "rise", "fall"];
const PATTERN: &str = "a regular expression in double quotes";
/// A pattern compiles to at most this, whoever wrote it.
const MAX_PATTERN: usize = 1 << 20;
/// The most words of a command, and bytes of them all: well within what the runner takes.
const MAX_WORDS: usize = 64;
const MAX_COMMAND: usize = 4096;
/// What a command line is.
pub(super) const COMMAND: &str = "a list of an absolute path and its arguments, up to 64 words: \
     [\"/usr/local/bin/check\", …]";
const DNS: u16 = 53;

/// The fields of one check, or of a command that says the load.
pub(super) struct Fields<'n> {
    pub(super) check: &'n Node,
    pub(super) fields: Vec<&'n Field>,
}

impl<'n> Fields<'n> {
    pub(super) fn get(&self, name: &str) -> Option<&'n Node> {
        self.fields.iter().find(|field| field.name == name).map(|field| &field.value)
    }
}

impl Reader<'_> {
    pub(super) fn checks(&mut self, list: &mut Vec<At<Check>>, node: &Node) {
        for item in self.items("checks", node, "a list: [Tcp(port: 80), …]") {
            if let Some(check) = self.check(item) {
                let check = self.at(item, check);
                self.append(list, "checks", check);
            }
        }
    }

    pub(super) fn checks_mode(&mut self, node: &Node) -> Option<At<CheckMode>> {
        let mode = match &node.value {
            Value::Word(word) if word == "All" => CheckMode::All,
            Value::Word(word) if word == "Any" => CheckMode::Any,
            _ => return self.refuse("checks_mode", node, "All or Any"),
        };
        Some(self.at(node, mode))
    }

    pub(super) fn on_failure(&mut self, node: &Node) -> Option<At<OnFailure>> {
        let then = match &node.value {
            Value::Word(word) if word == "Withdraw" => OnFailure::Withdraw,
            Value::Tuple(Some(word), items) if word == "Weight" && items.len() == 1 => {
                OnFailure::Weight(self.number("on_failure", &items[0], 1..=65535)?.value)
            }
            _ => return self.refuse("on_failure", node, "Withdraw or Weight(1 to 65535)"),
        };
        Some(self.at(node, then))
    }

    pub(super) fn when_all_fail(&mut self, node: &Node) -> Option<At<WhenAllFail>> {
        let then = match &node.value {
            Value::Word(word) if word == "Serve" => WhenAllFail::Serve,
            Value::Word(word) if word == "Withdraw" => WhenAllFail::Withdraw,
            _ => return self.refuse("when_all_fail", node, "Serve or Withdraw"),
        };
        Some(self.at(node, then))
    }

    fn check(&mut self, node: &Node) -> Option<Check> {
        let (kind, name) = match &node.value {
            Value::Struct(Some(kind), _) => (kind.as_str(), None),
            // The short form: what is looked at, and nothing else.
            Value::Tuple(Some(kind), items) if items.len() <= 1 => (kind.as_str(), items.first()),
            _ => return self.refuse("checks", node, KINDS),
        };
        let known: &[&str] = match kind {
            "Tcp" => &["port", "address"],
            "Http" => &["url", "port", "address", "host", "path", "status", "header", "body"],
            "Https" => &[
                "url", "port", "address", "host", "path", "status", "header", "body", "sni",
                "verify",
            ],
            "Dns" => &["name", "type", "expect", "port", "address"],
            "Udp" => &["port", "address", "send", "expect"],
            "Unit" | "Process" => &["name"],
            "Command" => &["run"],
            _ => return self.refuse("checks", node, KINDS),
        };
        let short = matches!(kind, "Unit" | "Process" | "Command");
        let fields = match name {
            Some(_) if short => Vec::new(),
            Some(_) => return self.refuse("checks", node, &format!("{kind}({}: …)", known[0])),
            None => {
                let all: Vec<&str> = known.iter().chain(&PACE).copied().collect();
                self.fields(node, kind, &all)
            }
        };
        let fields = Fields { check: node, fields };
        let pace = self.pace(&fields);
        let kind = match kind {
            "Tcp" => self.server(&fields, None, None).map(Kind::Tcp),
            "Http" => self.http(&fields, false),
            "Https" => self.http(&fields, true),
            "Dns" => self.dns(&fields),
            "Udp" => self.udp(&fields),
            "Unit" => self.unit(name.or_else(|| fields.get("name")), node).map(Kind::Unit),
            "Process" => {
                let name = self.required("name", name.or_else(|| fields.get("name")), node)?;
                self.text("name", name, "the name of a process").map(|at| Kind::Process(at.value))
            }
            _ => self.command(name.or_else(|| fields.get("run")), node),
        };
        Some(Check { kind: kind?, pace: pace? })
    }

    /// A field without which a check says nothing.
    fn required<'n>(
        &mut self,
        name: &str,
        found: Option<&'n Node>,
        check: &Node,
    ) -> Option<&'n Node> {
        found.or_else(|| self.refuse("checks", check, &format!("one with `{name}: …`")))
    }

    /// A time limit that is longer than the interval, in the unit that it was given in.
    pub(super) fn refuse_timeout<T>(
        &mut self,
        fields: &Fields<'_>,
        check: &Node,
        interval: Duration,
    ) -> Option<T> {
        let seconds = fields.get("timeout_s").filter(|_| interval.subsec_nanos() == 0);
        let most = match seconds {
            Some(_) => format!("{} s", interval.as_secs()),
            None => format!("{} ms", interval.as_millis()),
        };
        let name = if fields.get("timeout_s").is_some() { "timeout_s" } else { "timeout_ms" };
        let allowed = format!("at most the interval, {most}");
        self.refuse(name, fields.get(name).unwrap_or(check), &allowed)
    }

    fn pace(&mut self, fields: &Fields<'_>) -> Option<Pace> {
        let default = Pace::default();
        let interval = self.time(fields, ["interval_s", "interval_ms"], 50)?;
        let timeout = self.time(fields, ["timeout_s", "timeout_ms"], 1)?;
        let interval = interval.unwrap_or(default.interval);
        // Whoever looks often waits no longer than until the next look.
        let default_timeout = default.timeout.min(interval);
        if let Some(timeout) = timeout
            && timeout > interval
        {
            return self.refuse_timeout(fields, fields.check, interval);
        }
        let mut count = |name: &str, default| match fields.get(name) {
            Some(node) => Some(self.number(name, node, 1..=1000)?.value),
            None => Some(default),
        };
        let (rise, fall) = (count("rise", default.rise), count("fall", default.fall));
        let timeout = timeout.unwrap_or(default_timeout);
        Some(Pace { interval, timeout, rise: rise?, fall: fall? })
    }

    /// A time in seconds or milliseconds, up to an hour. The outer `None`: it was refused.
    #[allow(clippy::option_option)]
    pub(super) fn time(
        &mut self,
        fields: &Fields<'_>,
        [seconds, milliseconds]: [&str; 2],
        least_ms: i128,
    ) -> Option<Option<Duration>> {
        match (fields.get(seconds), fields.get(milliseconds)) {
            (None, None) => Some(None),
            (Some(node), None) => {
                let time = self.duration(seconds, node, 1..=3600, Duration::from_secs)?;
                Some(Some(time.value))
            }
            (None, Some(node)) => {
                let range = least_ms..=3_600_000;
                let time = self.duration(milliseconds, node, range, Duration::from_millis)?;
                Some(Some(time.value))
            }
            (Some(_), Some(node)) => {
                self.refuse(milliseconds, node, &format!("`{seconds}` or this, not both"))
            }
        }
    }

    /// Where a service listens: on the loopback unless told otherwise.
    pub(super) fn server(
        &mut self,
        fields: &Fields<'_>,
        address: Option<IpAddr>,
        port: Option<u16>,
    ) -> Option<SocketAddr> {
        let port = match (fields.get("port"), port) {
            (Some(node), _) => self.number("port", node, 1..=65535)?.value,
            (None, Some(port)) => port,
            (None, None) => {
                self.required("port", None, fields.check)?;
                return None;
            }
        };
        let address = match fields.get("address") {
            Some(node) => self.ip("address", node)?,
            None => address.unwrap_or(Ipv4Addr::LOCALHOST.into()),
        };
        Some(SocketAddr::new(address, port))
    }

    fn ip(&mut self, field: &str, node: &Node) -> Option<IpAddr> {
        let text = match &node.value {
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        text.or_else(|| self.refuse(field, node, "an IPv4 or IPv6 address in double quotes"))
    }

    fn pattern(&mut self, field: &str, node: &Node) -> Option<Pattern> {
        let Value::String(text) = &node.value else { return self.refuse(field, node, PATTERN) };
        match regex_lite::RegexBuilder::new(text).size_limit(MAX_PATTERN).build() {
            Ok(regex) => Some(Pattern(regex)),
            Err(error) => self.refuse(field, node, &format!("{PATTERN} ({error})")),
        }
    }

    pub(super) fn optional_pattern(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
    ) -> Option<Option<Pattern>> {
        match fields.get(name) {
            Some(node) => self.pattern(name, node).map(Some),
            None => Some(None),
        }
    }

    fn dns(&mut self, fields: &Fields<'_>) -> Option<Kind> {
        let server = self.server(fields, None, Some(DNS))?;
        let node = self.required("name", fields.get("name"), fields.check)?;
        let name = self.text("name", node, "a domain name")?.value;
        if !is_name(&name) {
            return self.refuse("name", node, "a domain name in double quotes");
        }
        let record = match fields.get("type") {
            None => Record::A,
            Some(node) => {
                let word = match &node.value {
                    Value::Word(word) | Value::String(word) => word.as_str(),
                    _ => "",
                };
                let names: Vec<&str> = Record::ALL.iter().map(|(name, _)| *name).collect();
                match Record::ALL.iter().find(|(name, _)| *name == word) {
                    Some((_, record)) => *record,
                    None => return self.refuse("type", node, &names.join(", ")),
                }
            }
        };
        let expect = match fields.get("expect") {
            None => None,
            Some(node) => {
                let address = self.ip("expect", node)?;
                let fits = match record {
                    Record::A => address.is_ipv4(),
                    Record::Aaaa => address.is_ipv6(),
                    _ => false,
                };
                if !fits {
                    let allowed = "an address of the `type`, which is A or AAAA then";
                    return self.refuse("expect", node, allowed);
                }
                Some(address)
            }
        };
        Some(Kind::Dns(Dns { server, name, record, expect }))
    }

    fn udp(&mut self, fields: &Fields<'_>) -> Option<Kind> {
        let server = self.server(fields, None, None)?;
        let node = self.required("send", fields.get("send"), fields.check)?;
        let send = self.text("send", node, "text")?.value;
        let expect = self.optional_pattern(fields, "expect")?;
        Some(Kind::Udp(Udp { server, send, expect }))
    }

    fn unit(&mut self, node: Option<&Node>, check: &Node) -> Option<String> {
        const UNIT: &str = "the name of a unit with its kind, like \"nginx.service\"";
        let node = self.required("name", node, check)?;
        let name = self.text("name", node, UNIT)?.value;
        let good = name.contains('.') && !name.contains(|c: char| c.is_whitespace() || c == '/');
        if good { Some(name) } else { self.refuse("name", node, UNIT) }
    }

    fn command(&mut self, node: Option<&Node>, check: &Node) -> Option<Kind> {
        let node = self.required("run", node, check)?;
        self.words("run", node).map(Kind::Command)
    }

    /// A command line.
    pub(super) fn words(&mut self, field: &str, node: &Node) -> Option<Vec<String>> {
        let Value::List(items) = &node.value else { return self.refuse(field, node, COMMAND) };
        let words = items.iter().map(|item| match &item.value {
            Value::String(word) if !word.contains('\0') => Some(word.clone()),
            _ => None,
        });
        let words: Option<Vec<String>> = words.collect();
        let fits = |words: &Vec<String>| {
            words.first().is_some_and(|program| program.starts_with('/'))
                && words.len() <= MAX_WORDS
                && words.iter().map(String::len).sum::<usize>() <= MAX_COMMAND
        };
        match words.filter(fits) {
            Some(words) => Some(words),
            None => self.refuse(field, node, COMMAND),
        }
    }
}
