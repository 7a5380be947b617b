//! The varlink interface `org.nlbd.Cluster`: types, server and client.
//!
//! The server translates between JSON on a socket and a [`Backend`]; it decides nothing. Reads
//! are for everybody, and who may change something is for the backend to say: it is told the
//! caller's credentials.
//!
//! `zlink` brings the client's connection, the types of `org.varlink.service` and the interface
//! description. The server is our own, because zlink's closes a connection without a reply when a
//! method is unknown or a parameter is wrong, lets a message grow to 100 MB, and serves all
//! connections in one task, so that a client that does not read holds up the others.

mod client;
mod error;
mod method;
mod seldom;
mod server;
mod types;

pub use client::{ANSWER_TIME, ClientError, Connection};
pub use error::Error;
pub use method::{INTERFACE, Method, Record};
pub use seldom::{SAY_EVERY, Seldom};
pub use server::{Answer, Backend, Caller, Limits, Server, ServerError};
pub use types::*;

/// The interface definition, as `GetInterfaceDescription` gives it.
pub const DESCRIPTION: &str = include_str!("../org.nlbd.Cluster.varlink");

/// The name of the socket in the run directory.
pub const SOCKET: &str = "org.nlbd.Cluster";

/// The run directory unless another is named.
pub const RUN_DIR: &str = "/run/nlbd";
