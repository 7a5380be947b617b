//! The configuration: read from RON files, checked whole, changed by drop-ins of our own.
//!
//! The main file is `/etc/nlbd/nlbd.ron`; beside it every `nlbd.d/*.ron` is read in the order of
//! the names and merged (`read.rs` says how). [`load`] gives a complete, valid [`Config`] or every
//! error with its place. This module reads files and looks at the host through [`System`]; it
//! changes nothing outside the configuration's own directory.
//!
//! May use: `weight` and `check` (what there is to configure). Used by: `cluster`, `manage`, `main`.

mod address;
mod check;
mod checks;
mod difference;
mod drop_in;
mod edit;
mod error;
mod http;
mod keys;
mod model;
mod read;
mod source;
mod system;
mod tree;
mod url;
mod values;
mod weight;

pub use check::{cluster_id_of, node_id_of};
pub use difference::Difference;
pub use edit::{AddInterface, DEFAULT_CLUSTER, Edit, EditError, add_interface, remove_interface};
pub use error::{ConfigError, ConfigErrors, KeyError, MAX_ERRORS, Place, Reason};
pub use keys::Keys;
pub use model::{
    ClusterConfig, Config, Location, MAX_ADDRESSES, MAX_CLUSTER_NAME, MAX_CLUSTERS, MAX_INTERFACES,
    MAX_NODE_NAME, MAX_PORTS, NodeConfig, Port,
};
pub use system::{FileRead, Host, System};

/// Reads and checks a configuration. Nothing is applied or written.
///
/// # Errors
/// Everything that is wrong with it, in the order of the places.
pub fn load(location: &Location, system: &dyn System) -> Result<Config, ConfigErrors> {
    let mut sources = source::Sources::default();
    let mut raw = read::Raw::default();
    for (file, tree) in sources.read(location, system) {
        if let Some(tree) = tree {
            read::file(&mut raw, &mut sources, file, &tree);
        }
    }
    let config = check::Check { sources: &mut sources, location, system }.configuration(&raw);
    match config {
        Some(config) if sources.is_sound() => Ok(config),
        _ => Err(sources.into_errors()),
    }
}

#[cfg(test)]
mod tests;
