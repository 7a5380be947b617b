//! Replies and signals as messages.

use std::collections::{BTreeMap, HashMap};

use zbus::export::serde::Serialize;
use zbus::message::Header;
use zbus::{DynamicType, Message, OwnedVariant, Variant};

use crate::CLUSTER;
use crate::error::Error;
use crate::path::{ROOT, cluster_path};
use crate::tree::{Object, Properties, Tree};
use crate::types::{Answer, Event, Explanation, InterfaceChange, Signal};

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const OBJECT_MANAGER: &str = "org.freedesktop.DBus.ObjectManager";

/// What a message that cannot be built becomes: nothing that is sent here makes it so.
pub(crate) type Built = zbus::Result<Message>;

pub(crate) fn reply<B: Serialize + DynamicType>(to: &Header<'_>, body: &B) -> Built {
    Message::method_return(to).build(body)
}

pub(crate) fn refusal(to: &Header<'_>, error: &Error) -> Built {
    Message::error(to, error.name()).build(&error.to_string())
}

pub(crate) fn answer(to: &Header<'_>, answer: &Answer) -> Built {
    match answer {
        Answer::Changed(change) => reply(to, &(change.changed, &change.notes)),
        Answer::Interface(change) => reply(to, &(change.changed, &change.cluster, details(change))),
        Answer::Checked(files, clusters) => reply(to, &(files, clusters)),
        Answer::Explanation(explanation) => reply(to, &explained(explanation)),
        Answer::Clients(total, clients) => {
            let clients: Vec<_> = clients
                .iter()
                .map(|one| (&one.address, one.bucket, &one.node, one.pinned, one.seen_ms))
                .collect();
            reply(to, &(total, clients))
        }
        Answer::Buckets(ranges) => {
            let ranges: Vec<_> = ranges
                .iter()
                .map(|range| (range.first, range.last, &range.owner, &range.accepted_by))
                .collect();
            reply(to, &ranges)
        }
    }
}

type Details<'v> = HashMap<&'static str, Variant<'v>>;

fn details(change: &InterfaceChange) -> Details<'_> {
    let mut details = Details::from([
        ("file", Variant::from(&change.file)),
        ("key_created", change.key_created.into()),
        ("whole_cluster", change.whole_cluster.into()),
    ]);
    if !change.key_file.is_empty() {
        details.insert("key_file", Variant::from(&change.key_file));
    }
    details
}

fn explained(e: &Explanation) -> Details<'_> {
    let mut details = Details::from([
        ("address", Variant::from(&e.address)),
        ("bucket", e.bucket.into()),
        ("because", Variant::from(&e.because)),
    ]);
    let nodes = [
        ("owner", &e.owner),
        ("accepted_by", &e.accepted_by),
        ("pinned_to", &e.pinned_to),
        ("node", &e.node),
        ("successor", &e.successor),
    ];
    details.extend(
        nodes.into_iter().filter(|(_, id)| !id.is_empty()).map(|(name, id)| (name, id.into())),
    );
    if let Some(seen) = e.sticky_here_ms {
        details.insert("sticky_here_ms", seen.into());
    }
    details
}

/// Values by name, as `a{sv}`.
pub(crate) fn values(properties: &Properties) -> BTreeMap<&str, &OwnedVariant> {
    properties.iter().map(|(name, property)| (*name, &property.value)).collect()
}

type Interfaces<'t> = BTreeMap<&'static str, BTreeMap<&'t str, &'t OwnedVariant>>;

fn interfaces(object: &Object) -> Interfaces<'_> {
    BTreeMap::from([(object.interface, values(&object.properties))])
}

fn object_path(path: &str) -> zbus::Result<zbus::ObjectPath<'_>> {
    zbus::ObjectPath::try_from(path)
}

/// Every object below the root, as `GetManagedObjects` gives them.
pub(crate) fn managed(to: &Header<'_>, tree: &Tree) -> Built {
    let below = tree.0.iter().filter(|(path, _)| *path != ROOT);
    let objects: zbus::Result<Vec<_>> =
        below.map(|(path, object)| Ok((object_path(path)?, interfaces(object)))).collect();
    let objects: HashMap<_, _> = objects?.into_iter().collect();
    reply(to, &objects)
}

pub(crate) fn added(path: &str, object: &Object) -> Built {
    let signal = Message::signal(ROOT, OBJECT_MANAGER, "InterfacesAdded");
    signal.build(&(object_path(path)?, interfaces(object)))
}

pub(crate) fn removed(path: &str, interface: &str) -> Built {
    let signal = Message::signal(ROOT, OBJECT_MANAGER, "InterfacesRemoved");
    signal.build(&(object_path(path)?, [interface].as_slice()))
}

pub(crate) fn changed(path: &str, object: &Object, names: &[&'static str]) -> Built {
    let mut values = values(&object.properties);
    values.retain(|name, _| names.contains(name));
    let none: &[&str] = &[];
    let signal = Message::signal(path, PROPERTIES, "PropertiesChanged");
    signal.build(&(object.interface, values, none))
}

pub(crate) fn happened(signal: &Signal) -> Built {
    let path = cluster_path(&signal.cluster);
    let named = |name: &'static str| Message::signal(path.as_str(), CLUSTER, name);
    match &signal.event {
        Event::NodeJoined { id, name } => named("NodeJoined").build(&(id, name)),
        Event::NodeLeft { id, name, cause } => named("NodeLeft").build(&(id, name, cause)),
        Event::NodeFenced { id, name, cause } => named("NodeFenced").build(&(id, name, cause)),
        Event::Converged { epoch, buckets, took_ms } => {
            named("Converged").build(&(epoch, buckets, took_ms))
        }
        Event::TookOver { buckets, cause, id, name } => {
            named("TookOver").build(&(buckets, cause, id, name))
        }
    }
}
