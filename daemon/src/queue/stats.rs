//! What is counted of a queue, by us and by the kernel.

use std::io;

/// Where the kernel shows its queues; of the calling thread's own network namespace.
const TABLE: &str = "/proc/thread-self/net/netfilter/nfnetlink_queue";

/// What happened to a queue since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueStats {
    /// Packets that wait for a verdict now.
    pub waiting: u32,
    /// Packets dropped because as many as allowed waited already.
    pub dropped_full: u64,
    /// Packets dropped because the socket had no room for the message.
    pub dropped_unread: u64,
    /// How often the kernel said so.
    pub overflows: u64,
    /// Messages that could not be understood.
    pub malformed: u64,
    /// Verdicts for packets that the kernel had given up, with their interface.
    pub late_verdicts: u64,
}

/// A line of the kernel's table of queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) waiting: u32,
    pub(super) dropped_full: u64,
    pub(super) dropped_unread: u64,
}

impl Row {
    /// `None` where the line is another queue's.
    pub(super) fn parse(line: &str, number: u16) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace();
        if fields.next()?.parse() != Ok(number) {
            return None;
        }
        // Behind the netlink port of the listener.
        let waiting = fields.nth(1)?.parse().ok()?;
        // Behind copy mode and copy range.
        let dropped_full = fields.nth(2)?.parse().ok()?;
        let dropped_unread = fields.next()?.parse().ok()?;
        Some(Self { waiting, dropped_full, dropped_unread })
    }
}

impl QueueStats {
    /// These counts and those that the kernel keeps.
    pub(super) fn with_kernel(mut self, number: u16) -> io::Result<Self> {
        if let Some(row) = read(number)? {
            self.waiting = row.waiting;
            self.dropped_full = row.dropped_full;
            self.dropped_unread = row.dropped_unread;
        }
        Ok(self)
    }
}

/// Packets that the kernel dropped on their way to a queue: because as many as allowed waited, and
/// because the socket had no room. It reads a file of the kernel that names every queue: nothing
/// for a loop that must be quick.
#[must_use]
pub fn dropped(number: u16) -> Option<(u64, u64)> {
    let row = read(number).ok()??;
    Some((row.dropped_full, row.dropped_unread))
}

/// How many packets wait in a queue. It reads a file of the kernel that names every queue: nothing
/// for a loop that must be quick.
#[must_use]
pub fn waiting(number: u16) -> Option<u32> {
    Some(read(number).ok()??.waiting)
}

/// Whether somebody listens to a queue.
#[must_use]
pub fn is_held(number: u16) -> bool {
    matches!(read(number), Ok(Some(_)))
}

fn read(number: u16) -> io::Result<Option<Row>> {
    let table = std::fs::read_to_string(TABLE)?;
    Ok(table.lines().find_map(|line| Row::parse(line, number)))
}
