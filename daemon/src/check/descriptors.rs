//! Descriptors: those that whoever started the daemon left open, which commands of checks must not
//! get, and those that are sent from the runner to the daemon.
#![allow(unsafe_code)] // what no crate of ours wraps without `unsafe`

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use tokio::net::UnixStream;

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

/// Sends bytes, with a descriptor beside the first of them. Gives how many went.
pub(super) fn send(
    stream: &UnixStream,
    bytes: &[u8],
    beside: Option<&OwnedFd>,
) -> io::Result<usize> {
    let descriptors = beside.map(|descriptor| [descriptor.as_raw_fd()]);
    let messages = descriptors.as_ref().map(|list| ControlMessage::ScmRights(list));
    let messages = messages.as_slice();
    let flags = MsgFlags::MSG_NOSIGNAL;
    Ok(sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(bytes)], messages, flags, None)?)
}

/// Receives bytes, and the descriptors beside them: one at most, as they are sent.
pub(super) fn receive(
    stream: &UnixStream,
    bytes: &mut [u8],
) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut room = nix::cmsg_space!(RawFd);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let mut parts = [IoSliceMut::new(bytes)];
    let received = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut room), flags)?;
    let mut descriptor = None;
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(list) = message {
            for raw in list {
                // SAFETY: the kernel has just made this descriptor for us, and nobody else has it.
                descriptor = Some(unsafe { OwnedFd::from_raw_fd(raw) });
            }
        }
    }
    Ok((received.bytes, descriptor))
}
