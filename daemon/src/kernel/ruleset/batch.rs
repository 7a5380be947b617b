//! The statements of a batch, one line each.

use core::fmt::{self, Display, Write};

use crate::kernel::spec::Interface;

/// The table of the gate.
pub(crate) const GATE: &str = "nlb_gate";
/// The table of the stage.
pub(crate) const STAGE: &str = "nlb";
/// The table for ARP.
pub(crate) const ARP: &str = "nlb";

/// Our tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// Which frames come in and go out at all.
    Gate,
    /// Which clients are ours.
    Stage,
    /// What the kernel may say for service addresses. Not every kernel has it.
    Arp,
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gate => write!(f, "netdev {GATE}"),
            Self::Stage => write!(f, "inet {STAGE}"),
            Self::Arp => write!(f, "arp {ARP}"),
        }
    }
}

/// Text for `nft -f -`.
#[derive(Debug, Clone, Default)]
pub(super) struct Batch {
    text: String,
}

impl Batch {
    pub(super) fn into_text(self) -> String {
        self.text
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    fn line(&mut self, statement: fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = writeln!(self.text, "{statement}");
    }

    pub(super) fn add_table(&mut self, table: Table) {
        self.line(format_args!("add table {table}"));
    }

    pub(super) fn delete_table(&mut self, table: Table) {
        self.line(format_args!("delete table {table}"));
    }

    pub(super) fn add_set(&mut self, table: Table, name: &str, definition: &str) {
        self.line(format_args!("add set {table} {name} {{ {definition} }}"));
    }

    /// `definition` as it was added with: it is added first, so that it can be deleted.
    pub(super) fn remove_set(&mut self, table: Table, name: &str, definition: &str) {
        self.add_set(table, name, definition);
        self.delete_set(table, name);
    }

    /// One that is there.
    pub(super) fn delete_set(&mut self, table: Table, name: &str) {
        self.line(format_args!("delete set {table} {name}"));
    }

    /// One that is there goes on.
    pub(super) fn add_counter(&mut self, table: Table, name: &str) {
        self.line(format_args!("add counter {table} {name}"));
    }

    /// Added first, so that it can be deleted.
    pub(super) fn remove_counter(&mut self, table: Table, name: &str) {
        self.add_counter(table, name);
        self.line(format_args!("delete counter {table} {name}"));
    }

    pub(super) fn flush_set(&mut self, table: Table, name: &str) {
        self.line(format_args!("flush set {table} {name}"));
    }

    pub(super) fn add_elements<T: Display>(
        &mut self,
        table: Table,
        set: &str,
        elements: impl IntoIterator<Item = T>,
    ) {
        self.elements("add", table, set, elements);
    }

    pub(super) fn delete_elements<T: Display>(
        &mut self,
        table: Table,
        set: &str,
        elements: impl IntoIterator<Item = T>,
    ) {
        self.elements("delete", table, set, elements);
    }

    fn elements<T: Display>(
        &mut self,
        verb: &str,
        table: Table,
        set: &str,
        elements: impl IntoIterator<Item = T>,
    ) {
        let mut elements = elements.into_iter();
        let Some(first) = elements.next() else { return };
        let _ = write!(self.text, "{verb} element {table} {set} {{ {first}");
        for element in elements {
            let _ = write!(self.text, ", {element}");
        }
        self.text.push_str(" }\n");
    }

    /// A chain that rules jump to, empty.
    pub(super) fn chain(&mut self, table: Table, name: &str) {
        self.line(format_args!("add chain {table} {name}"));
        self.line(format_args!("flush chain {table} {name}"));
    }

    /// A chain that the kernel calls, empty.
    pub(super) fn base_chain(&mut self, table: Table, name: &str, hook: &str) {
        self.line(format_args!(
            "add chain {table} {name} {{ type filter hook {hook}; policy accept; }}"
        ));
        self.line(format_args!("flush chain {table} {name}"));
    }

    /// Empties a chain, whether it was there or not. Those that jump to each other are emptied
    /// before any of them is deleted.
    pub(super) fn empty_chain(&mut self, table: Table, name: &str) {
        self.chain(table, name);
    }

    pub(super) fn delete_chain(&mut self, table: Table, name: &str) {
        self.line(format_args!("delete chain {table} {name}"));
    }

    pub(super) fn rule(&mut self, table: Table, chain: &str, rule: fmt::Arguments<'_>) {
        self.line(format_args!("add rule {table} {chain} {rule}"));
    }
}

/// The name of a chain that belongs to an interface of a cluster. Dots stand in no cluster's name,
/// so no two clusters collide.
pub(super) fn chain_of(kind: &str, cluster: &str, interface: &Interface) -> String {
    format!("{kind}.{cluster}.{}", interface_chain(interface))
}

/// The part of it that names the interface. The index tells two of one name apart, the name one
/// that was renamed.
pub(super) fn interface_chain(interface: &Interface) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '_' };
    let name: String = interface.name().chars().map(plain).collect();
    format!("{}.{name}", interface.index())
}
