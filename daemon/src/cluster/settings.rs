//! What a cluster's configuration means to the engine and to the kernel.

use std::time::Duration;

use nlb_engine::{Config as EngineConfig, Limits, make_table};
use nlb_protocol::frame::Settings;
use nlb_protocol::{Incarnation, Weight};

use crate::config::{ClusterConfig, NodeConfig, Port};
use crate::kernel::{self, ClusterRules};
use crate::link::Interface;

/// The engine's side of a configuration.
pub(super) fn engine_config(
    config: &ClusterConfig,
    node: &NodeConfig,
    incarnation: Incarnation,
    weight: Weight,
) -> EngineConfig {
    EngineConfig {
        cluster: config.id,
        node: node.id,
        incarnation,
        name: node.name.clone(),
        software: concat!("nlbd ", env!("CARGO_PKG_VERSION")).to_owned(),
        timing: config.timing,
        weight,
        seed: config.keys.ring().hash_seed(config.id),
        sticky_idle: config.sticky_idle,
        offload: config.offload,
        min_members: config.min_members,
        limits: Limits::default(),
        tables: make_table,
    }
}

/// What all nodes must be configured with alike (SPEC 4.4.1).
pub(super) fn shared(config: &ClusterConfig) -> Settings {
    let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    let port = |port: &Port| match port {
        Port::Tcp(number) => (6, *number),
        Port::Udp(number) => (17, *number),
    };
    let ports: Vec<_> = config.ports.iter().flatten().map(port).collect();
    Settings {
        heartbeat_ms: ms(config.timing.heartbeat),
        dead_after_ms: ms(config.timing.dead_after),
        mode: config.mode.code(),
        mac: config.mac.mac,
        addresses: Settings::digest_of_addresses(&config.addresses),
        ports: Settings::digest_of_ports(&ports),
        keys: config.keys.ring().name(),
    }
}

/// The kernel's side of it.
pub(super) fn rules(
    config: &ClusterConfig,
    engine: &EngineConfig,
    interfaces: &[Interface],
    queue: u16,
    arp: bool,
) -> ClusterRules {
    let size = |limit| u32::try_from(limit).unwrap_or(u32::MAX);
    ClusterRules {
        cluster: config.name.clone(),
        id: config.id,
        node: engine.node,
        interfaces: rule_interfaces(interfaces),
        mac: config.mac.mac,
        ethertype: config.ethertype,
        addresses: config.addresses.clone(),
        ports: config.ports.clone().unwrap_or_default(),
        lease: config.timing.lease(),
        sticky_timeout: engine.kernel_idle(),
        sticky_limit: size(engine.limits.sticky),
        foreign_timeout: engine.refusal(),
        foreign_limit: size(Limits::REFUSED),
        arp,
        queue,
    }
}

/// The interfaces as rules name them. One whose name cannot stand in a rule is left out: the
/// configuration does not let such a name through.
pub(super) fn rule_interfaces(interfaces: &[Interface]) -> Vec<kernel::Interface> {
    let rule =
        |interface: &Interface| kernel::Interface::new(&interface.name, interface.index.0).ok();
    interfaces.iter().filter_map(rule).collect()
}

/// A number that no earlier life of this node had, never zero.
pub(super) fn random_incarnation() -> std::io::Result<Incarnation> {
    use std::io::Read as _;
    let mut random = std::fs::File::open("/dev/urandom")?;
    loop {
        let mut bytes = [0; 8];
        random.read_exact(&mut bytes)?;
        match u64::from_ne_bytes(bytes) {
            0 => {}
            number => return Ok(Incarnation(number)),
        }
    }
}
