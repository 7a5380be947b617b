//! The marks that packets carry between our hooks (SPEC 7.3).

/// Why a packet goes to the queue. Packets carry it as their mark from the ingress hook to the
/// queue and behind it; before and after, the mark is none of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A client that the kernel does not know. Accepted, the kernel keeps it.
    Client,
    /// An ICMP error. It concerns the client of the packet quoted inside; its source, a router,
    /// is nobody to remember.
    Error,
    /// Everything goes to the queue; nobody is remembered.
    Divert,
}

impl Mark {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Client, Self::Error, Self::Divert];

    /// The bits of a mark that say whose it is: those in front of the kind.
    pub(super) const OF_QUEUE: u32 = !0xf;

    /// What the marks of a queue have in common.
    pub(super) const fn any(queue: u16) -> u32 {
        // "N" in front: other people's marks are small numbers or bit masks.
        0x4e00_0000 | (queue as u32) << 4
    }

    /// The mark of a packet on its way to this queue.
    #[must_use]
    pub const fn waiting(self, queue: u16) -> u32 {
        let kind = match self {
            Self::Client => 1,
            Self::Error => 2,
            Self::Divert => 3,
        };
        Self::any(queue) | kind
    }

    /// The mark that the rule before the queue gives it. Behind the queue only this one passes:
    /// a packet that the rule never saw, because somebody took it away, fails closed.
    #[must_use]
    pub const fn asked(self, queue: u16) -> u32 {
        self.waiting(queue) | 8
    }

    /// The mark of a frame that the stage let pass, up to the gate.
    #[must_use]
    pub const fn passed(queue: u16) -> u32 {
        Self::any(queue) | 13
    }

    /// The mark that user space gives a packet, with which it comes out of the queue only to be
    /// dropped behind it: the kernel is to drop its client's packets by itself for a while.
    #[must_use]
    pub const fn refused(queue: u16) -> u32 {
        Self::any(queue) | 12
    }
}
