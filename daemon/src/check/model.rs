//! What is checked, how often, and what is to come of it: as configured, compared on reload.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::ops::RangeInclusive;
use core::time::Duration;

use regex_lite::Regex;
use serde::{Deserialize, Serialize};

/// The most checks of one cluster.
pub const MAX_CHECKS: usize = 64;

/// The checks of a cluster, and what is to come of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckRules {
    /// The checks; none: nobody looks.
    pub checks: Vec<Check>,
    /// How many of them must pass.
    pub mode: CheckMode,
    /// What a node does whose service is ill.
    pub on_failure: OnFailure,
    /// What it does when nobody else's is well either.
    pub when_all_fail: WhenAllFail,
}

/// How many checks must pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CheckMode {
    /// Every one.
    #[default]
    All,
    /// One.
    Any,
}

/// What a node does whose service is ill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// It goes out of the table.
    #[default]
    Withdraw,
    /// It takes less: so much is added to its weight.
    Weight(u16),
}

/// What a node does whose service is ill when nobody else's is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenAllFail {
    /// It serves: a check that is wrong must not switch the service off.
    #[default]
    Serve,
    /// It goes all the same.
    Withdraw,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is looked at.
    pub kind: Kind,
    /// How often, and how often before it counts.
    pub pace: Pace,
}

/// How often a check runs, and how often before it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From the beginning of one run to that of the next.
    pub interval: Duration,
    /// A run that takes longer has failed. At most the interval.
    pub timeout: Duration,
    /// So many runs in a row must pass before a check that failed passes.
    pub rise: u32,
    /// So many runs in a row must fail before a check that passed fails.
    pub fall: u32,
}

impl Default for Pace {
    fn default() -> Self {
        let (interval, timeout) = (Duration::from_secs(2), Duration::from_secs(1));
        Self { interval, timeout, rise: 2, fall: 3 }
    }
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A TCP connection can be made.
    Tcp(SocketAddr),
    /// A web server answers as it should.
    Http(Box<Http>),
    /// A name server answers as it should.
    Dns(Dns),
    /// A datagram is answered.
    Udp(Udp),
    /// A unit of systemd is active.
    Unit(String),
    /// A process of this name runs.
    Process(String),
    /// A program ends with status 0.
    Command(Vec<String>),
}

/// A request to a web server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    /// Where it listens.
    pub server: SocketAddr,
    /// What it is asked as.
    pub host: String,
    /// What it is asked for.
    pub path: String,
    /// For HTTPS.
    pub tls: Option<Tls>,
    /// Which status it must give.
    pub status: RangeInclusive<u16>,
    /// A header field that must be there, and what its value must match.
    pub header: Option<(String, Pattern)>,
    /// What the body must match.
    pub body: Option<Pattern>,
}

/// How a web server is asked over TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// The name that is asked for, and that its certificate must bear.
    pub name: String,
    /// Whether its certificate must be good.
    pub verify: bool,
}

/// A question to a name server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Where it listens.
    pub server: SocketAddr,
    /// Which name.
    pub name: String,
    /// Which type of record.
    pub record: Record,
    /// The address that must be among the answers; without it any answer of the type will do.
    pub expect: Option<IpAddr>,
}

/// A type of DNS record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // RFC 1035, RFC 3596
pub enum Record {
    A,
    Ns,
    Cname,
    Soa,
    Ptr,
    Mx,
    Txt,
    Aaaa,
}

impl Record {
    /// All of them, by their names.
    pub const ALL: [(&'static str, Self); 8] = [
        ("A", Self::A),
        ("AAAA", Self::Aaaa),
        ("CNAME", Self::Cname),
        ("MX", Self::Mx),
        ("NS", Self::Ns),
        ("PTR", Self::Ptr),
        ("SOA", Self::Soa),
        ("TXT", Self::Txt),
    ];

    /// The code on the wire (RFC 1035 3.2.2, RFC 3596 2.1).
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Ns => 2,
            Self::Cname => 5,
            Self::Soa => 6,
            Self::Ptr => 12,
            Self::Mx => 15,
            Self::Txt => 16,
            Self::Aaaa => 28,
        }
    }
}

/// A datagram that is to be answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Udp {
    /// Where the service listens.
    pub server: SocketAddr,
    /// What is sent.
    pub send: String,
    /// What the answer must match; without it any answer will do.
    pub expect: Option<Pattern>,
}

/// A regular expression, equal where its text is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(pub Regex);

impl TryFrom<String> for Pattern {
    type Error = regex_lite::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Regex::new(&text).map(Self)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0.as_str().to_owned()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(server) => write!(f, "Tcp {server}"),
            Self::Http(http) => {
                let kind = if http.tls.is_some() { "Https" } else { "Http" };
                write!(f, "{kind} {}{}", http.server, http.path)
            }
            Self::Dns(dns) => write!(f, "Dns {} {}", dns.server, dns.name),
            Self::Udp(udp) => write!(f, "Udp {}", udp.server),
            Self::Unit(unit) => write!(f, "Unit {unit}"),
            Self::Process(name) => write!(f, "Process {name}"),
            Self::Command(words) => {
                write!(f, "Command {}", words.first().map_or("", String::as_str))
            }
        }
    }
}
