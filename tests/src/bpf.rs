//! Instructions of the kernel's packet filter, for sockets that shall not see everything.

use anyhow::Result;
use socket2::SockFilter;

/// Loads a word at a place of the frame, or of what the kernel knows of it (`SKF_AD_OFF`).
pub(crate) const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
/// Loads half a word.
pub(crate) const LOAD_HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
/// Ends: so many bytes of the frame are wanted.
pub(crate) const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// An instruction that goes on to the next one, or ends.
pub(crate) fn statement(code: u32, value: u32) -> Result<SockFilter> {
    Ok(SockFilter::new(u16::try_from(code)?, 0, 0, value))
}

/// Goes on behind so many instructions, whether what was loaded is `value` or not.
pub(crate) fn jump(value: u32, yes: u8, no: u8) -> Result<SockFilter> {
    let code = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    Ok(SockFilter::new(u16::try_from(code)?, yes, no, value))
}
