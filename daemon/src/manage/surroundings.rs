//! What people are told of a cluster's interfaces, and of who sends what cannot be taken.

use core::fmt;
use core::time::Duration;

use nlb_protocol::MacAddr;

/// Why an interface of a cluster is not in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// There is none of that name. It is waited for.
    Absent,
    /// It is no Ethernet.
    NotEthernet,
    /// It is not set up.
    Down,
    /// It has no carrier: no cable, or nobody at the other end.
    NoCarrier,
    /// It is up, and nobody can be served on it all the same: its MTU is too small, or it is
    /// a port of a bridge or bond, or a bridge that br_netfilter looks into.
    Unfit,
}

impl Trouble {
    /// Every one.
    pub const ALL: [Self; 5] =
        [Self::Absent, Self::NotEthernet, Self::Down, Self::NoCarrier, Self::Unfit];

    /// A short name of it, for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::NotEthernet => "not-ethernet",
            Self::Down => "down",
            Self::NoCarrier => "no-carrier",
            Self::Unfit => "unfit",
        }
    }
}

/// An interface of a cluster that is not in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unused {
    /// Its name.
    pub interface: String,
    /// Why.
    pub trouble: Trouble,
    /// For how long.
    pub since: Duration,
    /// Of one that is absent: the interface that may be meant.
    pub meant: Option<String>,
}

impl fmt::Display for Unused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface, .. } = self;
        match self.trouble {
            Trouble::Absent => {
                write!(f, "{interface}: no such interface now; it is waited for")?;
                self.meant.iter().try_for_each(|meant| write!(f, ". Did you mean {meant}?"))
            }
            Trouble::NotEthernet => write!(f, "{interface} is no Ethernet interface"),
            Trouble::Down => write!(f, "{interface} is down"),
            Trouble::NoCarrier => write!(f, "{interface} has no carrier"),
            Trouble::Unfit => write!(
                f,
                "{interface} cannot be used: its MTU is below 1500, or it is a port of a bridge or \
                 bond, or a bridge under br_netfilter; nlbctl events says which"
            ),
        }
    }
}

/// What is wrong with frames that cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrangerKind {
    /// No key of this node makes their tag.
    OtherKey,
    /// They are of another version of the protocol.
    OtherVersion,
}

impl StrangerKind {
    /// A short name of it, for programs; also that of its event.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OtherKey => "other-key",
            Self::OtherVersion => "other-version",
        }
    }

    /// What frames of that kind are.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::OtherKey => "signed with another key, or forged",
            Self::OtherVersion => "of another version of the protocol",
        }
    }
}

/// An Ethernet address that such frames came from lately. Nothing proves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stranger {
    /// The address.
    pub mac: MacAddr,
    /// What is wrong with them.
    pub kind: StrangerKind,
    /// How long ago the first one came.
    pub since: Duration,
    /// And the last.
    pub last: Duration,
    /// How many came.
    pub frames: u64,
}
