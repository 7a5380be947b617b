//! Classic BPF programs that run in the kernel before a frame is copied to a socket.
//!
//! They see the frame from its network header on (the sockets are of type `SOCK_DGRAM`); the
//! Ethernet header is reached through `SKF_LL_OFF`. Loads behind the end of a frame end the
//! program with "not for us", so short frames need no checks of their own.

use std::net::{Ipv4Addr, Ipv6Addr};

use nlb_protocol::MacAddr;
use socket2::SockFilter;

/// Above so many addresses the program stops comparing them, and user space alone does: a program
/// may have 4096 instructions, an IPv6 address takes nine.
pub(super) const MAX_COMPARED: usize = 256;
const _: () = assert!(MAX_COMPARED * 9 + 64 <= 4096, "BPF_MAXINSNS");

/// The ancillary and link-layer windows of `linux/filter.h`: negative numbers seen as `u32`.
const SKF_AD_OFF: u32 = 0_u32.wrapping_sub(0x1000);
const SKF_AD_PKTTYPE: u32 = SKF_AD_OFF.wrapping_add(4);
const SKF_LL_OFF: u32 = 0_u32.wrapping_sub(0x20_0000);

const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const JUMP_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// As much of the frame as there is.
const TAKE: u32 = 0x4_0000;

const PACKET_OTHERHOST: u32 = 3;

/// One instruction before jumps are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    code: u16,
    k: u32,
    /// Instructions to skip when a comparison holds, and when it does not.
    skip: (u8, u8),
}

/// A program under construction. Every check falls through when it holds and returns "not for
/// us" on the spot when it does not, so no jump is longer than a few instructions.
#[derive(Debug, Default)]
pub(super) struct Program(Vec<Step>);

impl Program {
    /// Frames of the heartbeat group.
    pub(super) fn heartbeat(group: MacAddr) -> Vec<SockFilter> {
        let mut program = Self::default();
        program.for_this_host();
        program.destination(group);
        program.take()
    }

    /// ARP requests (op 1, Ethernet and IPv4) for one of `targets`.
    pub(super) fn arp(targets: &[Ipv4Addr]) -> Vec<SockFilter> {
        let mut program = Self::default();
        program.for_this_host();
        program.require(LOAD_WORD, 0, 0x0001_0800);
        program.require(LOAD_WORD, 4, 0x0604_0001);
        if targets.len() <= MAX_COMPARED {
            program.load(LOAD_WORD, 24);
            for target in targets {
                // Skip the "take" that follows unless the address is the one.
                program.compare(u32::from(*target), (0, 1));
                program.ret(TAKE);
            }
            program.ret(0);
            return program.finish();
        }
        program.take()
    }

    /// Neighbour solicitations (next header 58, hop limit 255, type 135, code 0) for one of
    /// `targets`.
    pub(super) fn solicitation(targets: &[Ipv6Addr]) -> Vec<SockFilter> {
        let mut program = Self::default();
        program.for_this_host();
        program.require(LOAD_HALF, 6, 0x3aff);
        program.require(LOAD_HALF, 40, 0x8700);
        if targets.len() <= MAX_COMPARED {
            for target in targets {
                let bytes = target.octets();
                for (part, k) in [(0, 48), (1, 52), (2, 56), (3, 60_u32)] {
                    let at = part * 4;
                    let word = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
                    program.load(LOAD_WORD, k);
                    // To the next address: the pairs that are left, and the "take".
                    let rest = u8::try_from((3 - part) * 2 + 1).unwrap_or(u8::MAX);
                    program.compare(u32::from_be_bytes(word), (0, rest));
                }
                program.ret(TAKE);
            }
            program.ret(0);
            return program.finish();
        }
        program.take()
    }

    /// Nothing at all: for the time between two settings, and where there is nothing to answer.
    pub(super) fn nothing() -> Vec<SockFilter> {
        let mut program = Self::default();
        program.ret(0);
        program.finish()
    }

    fn destination(&mut self, mac: MacAddr) {
        let [a, b, c, d, e, f] = mac.0;
        self.require(LOAD_WORD, SKF_LL_OFF, u32::from_be_bytes([a, b, c, d]));
        self.require(LOAD_HALF, SKF_LL_OFF.wrapping_add(4), u32::from(u16::from_be_bytes([e, f])));
    }

    /// Whatever the kernel does not take for another host's frame. That is also how it marks the
    /// frames of a tagged VLAN that has no interface, which come out of the untagged one here; and
    /// a frame to the cluster MAC, until the gate has let it in (SPEC 7).
    fn for_this_host(&mut self) {
        self.load(LOAD_BYTE, SKF_AD_PKTTYPE);
        self.compare(PACKET_OTHERHOST, (0, 1));
        self.ret(0);
    }

    fn require(&mut self, code: u16, offset: u32, value: u32) {
        self.load(code, offset);
        self.compare(value, (1, 0));
        self.ret(0);
    }

    fn take(mut self) -> Vec<SockFilter> {
        self.ret(TAKE);
        self.finish()
    }

    fn load(&mut self, code: u16, offset: u32) {
        self.push(code, offset, (0, 0));
    }

    fn compare(&mut self, value: u32, skip: (u8, u8)) {
        self.push(JUMP_EQUAL, value, skip);
    }

    fn ret(&mut self, length: u32) {
        self.push(RETURN, length, (0, 0));
    }

    fn push(&mut self, code: u16, k: u32, skip: (u8, u8)) {
        self.0.push(Step { code, k, skip });
    }

    fn finish(self) -> Vec<SockFilter> {
        self.0
            .into_iter()
            .map(|Step { code, k, skip }| SockFilter::new(code, skip.0, skip.1, k))
            .collect()
    }
}
