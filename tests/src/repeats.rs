//! What the kernel knows of a connection and the clock does not: whether it had to repeat itself.

use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Result, ensure};

/// How many segments of a TCP connection the kernel has sent again, its SYN included.
///
/// A client that gets no processor is late as if its SYN had been lost; this tells the two apart.
///
/// # Errors
/// When it is no TCP socket.
#[allow(unsafe_code)]
pub fn repeats(socket: impl AsFd) -> Result<u32> {
    let mut info = std::mem::MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = u32::try_from(size_of::<libc::tcp_info>())?;
    // SAFETY: the kernel writes at most `length` bytes to `info`, which has as many; any bytes are
    // a valid `tcp_info`, which holds integers only.
    let info = unsafe {
        let fd = socket.as_fd().as_raw_fd();
        let (to, size) = (info.as_mut_ptr().cast(), &raw mut length);
        let outcome = libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, to, size);
        ensure!(outcome == 0, "TCP_INFO: {}", std::io::Error::last_os_error());
        info.assume_init()
    };
    Ok(info.tcpi_total_retrans)
}
