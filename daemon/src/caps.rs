//! Least privilege: after start the process keeps CAP_NET_ADMIN and CAP_NET_RAW, nothing else.

use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};

/// What the daemon needs while it runs: nftables, addresses and the queue; packet sockets.
const KEPT: [Capability; 2] = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW];

/// Gives up every other capability, for this thread and everything started from it. Call it
/// before the first thread is started.
///
/// # Errors
/// When the kernel refuses, or when the process does not have the two capabilities it needs.
pub fn drop_all_but_needed() -> Result<(), CapsError> {
    let kept: CapsHashSet = KEPT.into_iter().collect();
    for capability in KEPT {
        if !caps::has_cap(None, CapSet::Permitted, capability)? {
            return Err(format!("{capability} is needed and missing").as_str().into());
        }
    }
    // The bounding set limits children. Without CAP_SETPCAP it stays as whoever started us left it.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for capability in caps::all() {
            if !kept.contains(&capability) && caps::has_cap(None, CapSet::Bounding, capability)? {
                caps::drop(None, CapSet::Bounding, capability)?;
            }
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}
