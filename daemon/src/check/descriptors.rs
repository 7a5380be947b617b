//! Descriptors that whoever started the daemon left open: commands of checks must not get them.
#![allow(unsafe_code)] // one system call that no crate of ours wraps without `unsafe`

use std::io;

/// The first that is not one of the three standard ones.
const FIRST: libc::c_uint = 3;

/// Keeps every descriptor but the standard ones from programs that this process starts.
pub(super) fn keep_from_children() -> io::Result<()> {
    let flags = libc::c_int::try_from(libc::CLOSE_RANGE_CLOEXEC).map_err(io::Error::other)?;
    // SAFETY: no pointers; descriptors are marked, none is closed.
    match unsafe { libc::close_range(FIRST, libc::c_uint::MAX, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
