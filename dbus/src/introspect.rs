//! Introspection: the committed XML of an object's interface, the standard ones, and its children.

use core::fmt::Write as _;

use crate::INTERFACES;
use crate::path::ROOT;
use crate::tree::Tree;

const HEAD: &str = r#"<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">
<node>
"#;

/// What every object has, and what the root has beside it.
const PEER: &str = r#"  <interface name="org.freedesktop.DBus.Peer">
    <method name="Ping"/>
    <method name="GetMachineId">
      <arg name="machine_uuid" type="s" direction="out"/>
    </method>
  </interface>
  <interface name="org.freedesktop.DBus.Introspectable">
    <method name="Introspect">
      <arg name="xml_data" type="s" direction="out"/>
    </method>
  </interface>
"#;

const PROPERTIES: &str = r#"  <interface name="org.freedesktop.DBus.Properties">
    <method name="Get">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="property_name" type="s" direction="in"/>
      <arg name="value" type="v" direction="out"/>
    </method>
    <method name="Set">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="property_name" type="s" direction="in"/>
      <arg name="value" type="v" direction="in"/>
    </method>
    <method name="GetAll">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="properties" type="a{sv}" direction="out"/>
    </method>
    <signal name="PropertiesChanged">
      <arg name="interface_name" type="s"/>
      <arg name="changed_properties" type="a{sv}"/>
      <arg name="invalidated_properties" type="as"/>
    </signal>
  </interface>
"#;

const OBJECT_MANAGER: &str = r#"  <interface name="org.freedesktop.DBus.ObjectManager">
    <method name="GetManagedObjects">
      <arg name="objects" type="a{oa{sa{sv}}}" direction="out"/>
    </method>
    <signal name="InterfacesAdded">
      <arg name="object" type="o"/>
      <arg name="interfaces" type="a{sa{sv}}"/>
    </signal>
    <signal name="InterfacesRemoved">
      <arg name="object" type="o"/>
      <arg name="interfaces" type="as"/>
    </signal>
  </interface>
"#;

/// The description of what is at `path`; `None` when nothing is there.
pub(crate) fn introspect(tree: &Tree, path: &str) -> Option<String> {
    let children = tree.children(path)?;
    let mut text = HEAD.to_owned() + PEER;
    if let Some(object) = tree.0.get(path) {
        text += PROPERTIES;
        text += inside(object.interface);
    }
    if path == ROOT {
        text += OBJECT_MANAGER;
    }
    for child in children {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  <node name=\"{child}\"/>");
    }
    Some(text + "</node>\n")
}

/// The `<interface>` of a committed file.
fn inside(interface: &str) -> &'static str {
    let file = INTERFACES.iter().find(|(name, _)| *name == interface).map(|(_, text)| *text);
    let part = |text: &'static str| {
        let (_, from) = text.split_once("<node>\n")?;
        from.rsplit_once("</node>").map(|(inside, _)| inside)
    };
    file.and_then(part).unwrap_or_default()
}
