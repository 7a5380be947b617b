//! Keeps the daemon in memory: whoever waits for a disk sends no heartbeat.
//!
//! A machine that is short of memory throws away code that has not run for a while, and reads it
//! again when it is needed: at a take-over, for instance, from a disk that everybody waits for.

use nix::errno::Errno;
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// Only what is used of later allocations is kept: most of a thread's stack and heap never is.
const ON_FAULT: MlockAllFlags = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);

/// Locks what is there, and what will be. To be called while the process still has its
/// capabilities. Children lock nothing.
///
/// Under a limit, what is allocated beyond it would fail: so nothing is locked where the limit is
/// not `RLIM_INFINITY` and cannot be made that.
///
/// # Errors
/// When that is not allowed.
pub fn lock() -> Result<(), Errno> {
    let (limit, _) = getrlimit(Resource::RLIMIT_MEMLOCK)?;
    if limit != RLIM_INFINITY {
        setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY)?;
    }
    mlockall(MlockAllFlags::MCL_CURRENT)?;
    mlockall(MlockAllFlags::MCL_FUTURE | ON_FAULT)
}
