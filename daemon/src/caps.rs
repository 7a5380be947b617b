//! Least privilege: after start the process keeps CAP_NET_ADMIN and CAP_NET_RAW, nothing else.

use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};

/// What the daemon needs while it runs: nftables, addresses and the queue; packet sockets.
const KEPT: [Capability; 2] = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW];

/// Gives up every other capability, for this thread and everything started from it. Call it
/// before the first thread is started. What somebody else has seen to, as systemd does, is left as
/// it is: the sandbox need not allow what there is no use for.
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
    // What is handed down to nft; root's has what root may have in any case.
    for set in [CapSet::Ambient, CapSet::Inheritable] {
        let held = caps::read(None, set)?;
        if !held.is_subset(&kept) {
            caps::set(None, set, &held.intersection(&kept).copied().collect())?;
        }
    }
    for set in [CapSet::Effective, CapSet::Permitted] {
        if caps::read(None, set)? != kept {
            caps::set(None, set, &kept)?;
        }
    }
    Ok(())
}
