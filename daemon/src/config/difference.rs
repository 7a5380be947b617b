//! What differs between two configurations of a cluster, in words, and whether a running cluster
//! can take it up.

use core::fmt;
use std::path::Path;

use super::model::{ClusterConfig, Port};
use crate::check::{CheckRules, WhenAllFail};
use crate::weight::{LoadCommand, WeightRules, WeightSource};

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its name in the configuration file.
    pub field: &'static str,
    /// What was, and what is to be.
    pub text: String,
    /// Whether the node must leave the cluster and join it anew for it: peers rely on the field,
    /// or it makes the cluster what it is.
    pub restarts: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.text)
    }
}

/// The differences that are found.
#[derive(Default)]
struct Found(Vec<Difference>);

impl Found {
    fn add(&mut self, field: &'static str, restarts: bool, text: String) {
        self.0.push(Difference { field, text, restarts });
    }

    /// A value that a running cluster can take up.
    fn taken<T: PartialEq>(
        &mut self,
        field: &'static str,
        show: fn(&T) -> String,
        old: &T,
        new: &T,
    ) {
        self.value(field, false, show, old, new);
    }

    /// A value that it cannot.
    fn fixed<T: PartialEq>(
        &mut self,
        field: &'static str,
        show: fn(&T) -> String,
        old: &T,
        new: &T,
    ) {
        self.value(field, true, show, old, new);
    }

    fn value<T: PartialEq>(
        &mut self,
        field: &'static str,
        restarts: bool,
        show: fn(&T) -> String,
        old: &T,
        new: &T,
    ) {
        if old != new {
            self.add(field, restarts, format!("{} -> {}", show(old), show(new)));
        }
    }

    /// A list: what came and what went.
    fn list<T: PartialEq + fmt::Display>(&mut self, field: &'static str, old: &[T], new: &[T]) {
        let came = new.iter().filter(|item| !old.contains(item)).map(|item| format!("+{item}"));
        let went = old.iter().filter(|item| !new.contains(item)).map(|item| format!("-{item}"));
        let text: Vec<String> = came.chain(went).collect();
        if !text.is_empty() {
            self.add(field, false, text.join(" "));
        } else if old != new {
            self.add(field, false, "in another order".to_owned());
        }
    }
}

impl ClusterConfig {
    /// What `other` says otherwise. A field that is new does not compile until it has its place
    /// here.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let Self {
            name,
            id,
            interfaces,
            addresses,
            mode,
            mac,
            ethertype,
            ports,
            keys,
            key_file,
            weight,
            load_command,
            weight_rules,
            checks,
            timing,
            sticky_idle,
            offload,
            min_members,
        } = self;
        let mut found = Found::default();
        found.fixed("name", String::clone, name, &other.name);
        found.fixed("id", ToString::to_string, id, &other.id);
        found.list("interfaces", interfaces, &other.interfaces);
        found.list("addresses", addresses, &other.addresses);
        found.fixed("mode", |mode| format!("{mode:?}"), mode, &other.mode);
        found.fixed("mac", |mac| mac.mac.to_string(), mac, &other.mac);
        found.fixed("ethertype", |e| format!("0x{e:04x}"), ethertype, &other.ethertype);
        found.taken("ports", |ports| show_ports(ports.as_deref()), ports, &other.ports);
        if keys != &other.keys {
            // Their number at most: keys are never shown.
            let text = format!("changed ({} -> {})", keys.len(), other.keys.len());
            found.add("keys", false, text);
        }
        let key_path = |file: &Option<_>| show_path(file.as_deref());
        found.taken("key_file", key_path, key_file, &other.key_file);
        let command = |command: &Option<LoadCommand>| command.as_ref().map(ToString::to_string);
        let [old, new] =
            [(weight, command(load_command)), (&other.weight, command(&other.load_command))];
        found.taken("weight", show_weight, &old, &new);
        found.rules(weight_rules, &other.weight_rules);
        found.checks(checks, &other.checks);
        let ms = |time: &core::time::Duration| format!("{}", time.as_millis());
        let seconds = |time: &core::time::Duration| format!("{}", time.as_secs());
        found.fixed("heartbeat_ms", ms, &timing.heartbeat, &other.timing.heartbeat);
        found.fixed("dead_after_ms", ms, &timing.dead_after, &other.timing.dead_after);
        found.fixed("sticky_idle_s", seconds, sticky_idle, &other.sticky_idle);
        found.fixed("offload", ToString::to_string, offload, &other.offload);
        found.fixed("min_members", ToString::to_string, min_members, &other.min_members);
        found.0
    }

    /// Whether a running cluster can take `other` up without leaving first.
    #[must_use]
    pub fn can_become(&self, other: &Self) -> bool {
        !self.differences(other).iter().any(|difference| difference.restarts)
    }
}

impl Found {
    fn checks(&mut self, old: &CheckRules, new: &CheckRules) {
        let CheckRules { checks, mode, on_failure, when_all_fail } = old;
        if *checks != new.checks {
            let text = format!("changed ({} -> {})", checks.len(), new.checks.len());
            self.add("checks", false, text);
        }
        self.taken("checks_mode", |mode| format!("{mode:?}"), mode, &new.mode);
        self.taken("on_failure", |then| format!("{then:?}"), on_failure, &new.on_failure);
        let show = |then: &WhenAllFail| format!("{then:?}");
        self.taken("when_all_fail", show, when_all_fail, &new.when_all_fail);
    }

    fn rules(&mut self, old: &WeightRules, new: &WeightRules) {
        let WeightRules { interval, warm_up, bounds } = old;
        let seconds = |time: &core::time::Duration| format!("{}", time.as_secs());
        self.taken("weight_interval_s", seconds, interval, &new.interval);
        self.taken("warm_up_s", seconds, warm_up, &new.warm_up);
        let percent = |share: &u8| share.to_string();
        self.taken("min_share_percent", percent, &bounds.min_percent, &new.bounds.min_percent);
        self.taken("max_share_percent", percent, &bounds.max_percent, &new.bounds.max_percent);
    }
}

fn show_ports(ports: Option<&[Port]>) -> String {
    let Some(ports) = ports else { return "all".to_owned() };
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    format!("[{}]", ports.join(", "))
}

fn show_path(path: Option<&Path>) -> String {
    path.map_or_else(|| "none".to_owned(), |path| path.display().to_string())
}

/// As the configuration file says it.
fn show_weight((weight, command): &(&WeightSource, Option<String>)) -> String {
    match (weight, command) {
        (WeightSource::Manual(weight), _) => format!("Manual({weight})"),
        (WeightSource::Command, Some(command)) => command.clone(),
        (measured, _) => format!("{measured:?}"),
    }
}
