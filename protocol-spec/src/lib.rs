//! The nlbd cluster protocol: frames, authentication, hash and table.
//!
//! This crate is the executable half of `SPEC.md`. It does no I/O, keeps no state between calls
//! and depends on nothing else of the project. Nothing here panics on any input.

#![warn(missing_docs)]

pub mod addr;
pub mod auth;
pub mod buckets;
pub mod fingerprint;
pub mod frame;
pub mod hash;
pub mod ids;
pub mod table;

pub use addr::{ClusterMac, MacAddr, MacMode};
pub use buckets::Buckets;
pub use fingerprint::Fingerprinter;
pub use ids::{
    Bucket, ClusterId, Digest, Epoch, Incarnation, NodeId, PinVersion, Sequence, Weight,
};
