//! Single values: kinds and ranges, and what to say when they do not fit.

use core::net::{IpAddr, SocketAddr};
use core::ops::RangeInclusive;
use core::time::Duration;

use nlb_protocol::{MacAddr, MacMode};

use super::address;
use super::error::Reason;
use super::model::{
    MAX_ADDRESSES, MAX_CLUSTER_NAME, MAX_INTERFACES, MAX_NODE_NAME, MAX_PORTS, Port,
};
use super::read::Reader;
use super::source::At;
use super::tree::{Node, Value};

/// What a cluster may be called.
pub(super) const CLUSTER_NAME: &str =
    "a text of 1 to 15 characters: a letter a to z, then a to z, 0 to 9, _ and -";

const NODE_NAME: &str = "a text of 1 to 64 bytes without control characters";
const MAC: &str = "a text like \"02:4e:4c:42:00:01\"";

/// What `interfaces` may hold.
pub(super) const INTERFACES: &str = "1 to 8 interfaces";
/// What `addresses` may hold.
pub(super) const ADDRESSES: &str = "1 to 64 service addresses";
const _: () = assert!(MAX_INTERFACES == 8 && MAX_ADDRESSES == 64, "the texts above say so");

/// Whether a cluster may be called so.
pub(super) fn is_cluster_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
        && name.len() <= MAX_CLUSTER_NAME
}

fn is_node_name(name: &str) -> bool {
    (1..=MAX_NODE_NAME).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// A whole number as RON writes it: decimal, or with 0x, 0o or 0b, with `_` between digits.
fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.replace('_', "");
    let (radix, digits) = match digits.get(..2) {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        _ => (10, digits.as_str()),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let number = i128::from_str_radix(digits, radix).ok()?;
    Some(if negative { -number } else { number })
}

impl Reader<'_> {
    /// A whole number in a range.
    pub(super) fn number<T: TryFrom<i128>>(
        &mut self,
        field: &str,
        node: &Node,
        range: RangeInclusive<i128>,
    ) -> Option<At<T>> {
        let number = match &node.value {
            Value::Number(text) => integer(text).filter(|number| range.contains(number)),
            _ => None,
        };
        match number.and_then(|number| T::try_from(number).ok()) {
            Some(number) => Some(self.at(node, number)),
            None if field == "ethertype" => self.refuse(field, node, "0x0600 to 0xffff"),
            None => {
                let allowed = format!("{} to {}", range.start(), range.end());
                self.refuse(field, node, &allowed)
            }
        }
    }

    /// A number of seconds or milliseconds.
    pub(super) fn duration(
        &mut self,
        field: &str,
        node: &Node,
        range: RangeInclusive<i128>,
        unit: fn(u64) -> Duration,
    ) -> Option<At<Duration>> {
        let number = self.number::<u64>(field, node, range)?;
        Some(At { value: unit(number.value), spot: number.spot })
    }

    /// An address of this host and a port.
    pub(super) fn socket_address(&mut self, field: &str, node: &Node) -> Option<At<SocketAddr>> {
        let address = match &node.value {
            Value::String(text) => text.parse().ok().filter(|at: &SocketAddr| at.port() != 0),
            _ => None,
        };
        match address {
            Some(address) => Some(self.at(node, address)),
            None => self.refuse(field, node, "an address and a port like \"127.0.0.1:9187\""),
        }
    }

    pub(super) fn boolean(&mut self, field: &str, node: &Node) -> Option<At<bool>> {
        match node.value {
            Value::Bool(value) => Some(self.at(node, value)),
            _ => self.refuse(field, node, "true or false"),
        }
    }

    pub(super) fn text(&mut self, field: &str, node: &Node, what: &str) -> Option<At<String>> {
        match &node.value {
            Value::String(text) if !text.is_empty() && !text.contains('\0') => {
                Some(self.at(node, text.clone()))
            }
            _ => self.refuse(field, node, &format!("{what} in double quotes")),
        }
    }

    pub(super) fn node_name(&mut self, node: &Node) -> Option<At<String>> {
        match &node.value {
            Value::String(name) if is_node_name(name) => Some(self.at(node, name.clone())),
            _ => self.refuse("name", node, NODE_NAME),
        }
    }

    pub(super) fn mode(&mut self, node: &Node) -> Option<At<MacMode>> {
        let mode = match &node.value {
            Value::Word(word) => match word.as_str() {
                "Unicast" => Some(MacMode::Unicast),
                "Multicast" => Some(MacMode::Multicast),
                "Igmp" => Some(MacMode::Igmp),
                _ => None,
            },
            _ => None,
        };
        match mode {
            Some(mode) => Some(self.at(node, mode)),
            None => self.refuse("mode", node, "Unicast, Multicast or Igmp"),
        }
    }

    pub(super) fn mac(&mut self, node: &Node) -> Option<At<MacAddr>> {
        let mac = match &node.value {
            Value::String(text) => address::mac(text),
            _ => None,
        };
        match mac {
            Some(mac) => Some(self.at(node, mac)),
            None => self.refuse("mac", node, MAC),
        }
    }

    /// The items of a list.
    pub(super) fn items<'n>(&mut self, field: &str, node: &'n Node, allowed: &str) -> &'n [Node] {
        match &node.value {
            Value::List(items) => items,
            _ => {
                self.refuse::<()>(field, node, allowed);
                &[]
            }
        }
    }

    /// An empty list says nothing: that is a mistake.
    fn refuse_empty(&mut self, field: &str, node: &Node, allowed: &str) {
        if matches!(&node.value, Value::List(items) if items.is_empty()) {
            self.refuse::<()>(field, node, allowed);
        }
    }

    /// Adds an item of a list: twice in one file is a mistake, in two files it is agreement.
    pub(super) fn append<T: PartialEq>(&mut self, list: &mut Vec<At<T>>, field: &str, item: At<T>) {
        match list.iter().find(|other| other.value == item.value) {
            None => list.push(item),
            Some(earlier) if earlier.spot.is_in(self.file) => {
                let first = self.sources.place(earlier.spot);
                let field = format!("{field}: {}", self.sources.snippet(item.spot));
                self.sources.error(item.spot, Reason::Twice { field, first });
            }
            Some(_) => {}
        }
    }

    pub(super) fn interfaces(&mut self, list: &mut Vec<At<String>>, node: &Node) {
        self.refuse_empty("interfaces", node, INTERFACES);
        for item in self.items("interfaces", node, "a list: [\"eth0\", …]") {
            if let Some(name) = self.text("interfaces", item, "the name of an interface") {
                self.append(list, "interfaces", name);
            }
        }
    }

    pub(super) fn addresses(&mut self, list: &mut Vec<At<IpAddr>>, node: &Node) {
        self.refuse_empty("addresses", node, ADDRESSES);
        for item in self.items("addresses", node, "a list: [\"192.0.2.50\", …]") {
            let Value::String(text) = &item.value else {
                self.refuse::<()>("addresses", item, "an address in double quotes");
                continue;
            };
            match address::service(text) {
                Ok(address) => {
                    let address = self.at(item, address);
                    self.append(list, "addresses", address);
                }
                Err(allowed) => drop(self.refuse::<()>("addresses", item, allowed)),
            }
        }
    }

    pub(super) fn ports(&mut self, slot: &mut Option<At<Vec<At<Port>>>>, node: &Node) {
        const ALLOWED: &str = "Tcp(1 to 65535) or Udp(1 to 65535)";
        let items = self.items("ports", node, "a list: [Tcp(80), Udp(53), …]");
        let allowed = format!("1 to {MAX_PORTS} ports; leave the field out for all ports");
        self.refuse_empty("ports", node, &allowed);
        let spot = self.spot(node);
        let list = &mut slot.get_or_insert(At { value: Vec::new(), spot }).value;
        for item in items {
            let (kind, number): (fn(u16) -> Port, _) = match &item.value {
                Value::Tuple(Some(name), items) if name == "Tcp" && items.len() == 1 => {
                    (Port::Tcp, &items[0])
                }
                Value::Tuple(Some(name), items) if name == "Udp" && items.len() == 1 => {
                    (Port::Udp, &items[0])
                }
                _ => {
                    self.refuse::<()>("ports", item, ALLOWED);
                    continue;
                }
            };
            if let Some(number) = self.number("ports", number, 1..=65535) {
                let port = self.at(item, kind(number.value));
                self.append(list, "ports", port);
            }
        }
    }
}
