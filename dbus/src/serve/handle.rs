//! What a message asks for, and the answers that need nobody's help.

use zbus::{Message, OwnedVariant};

use super::{FRESH, MAX_CALLS, Served};
use crate::Backend;
use crate::call::{Arguments, Call};
use crate::error::Error;
use crate::introspect::introspect;
use crate::path::ROOT;
use crate::reply::{self, Built};
use crate::tree::Object;

const INTROSPECTABLE: &str = "org.freedesktop.DBus.Introspectable";
const OBJECT_MANAGER: &str = "org.freedesktop.DBus.ObjectManager";
const PEER: &str = "org.freedesktop.DBus.Peer";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// What is done with a message.
enum Handled {
    /// It is answered.
    Now(Built),
    /// The daemon answers it. `true`: it is the writing of a property.
    Daemon(Call, bool),
}

impl<B: Backend> Served<B> {
    /// Answers at once, unless what is read is older than whoever reads it may expect.
    pub(super) async fn handle_message(&mut self, message: Message) -> zbus::Result<()> {
        let reads = reads(&message);
        self.read |= reads;
        let old = reads && self.latest.elapsed() > FRESH;
        if !old || self.reads.len() >= MAX_CALLS {
            return self.answer(message).await;
        }
        self.reads.push(message);
        if !self.asked {
            self.ask();
        }
        Ok(())
    }

    pub(super) async fn answer(&mut self, message: Message) -> zbus::Result<()> {
        let built = match self.look(&message) {
            Ok(Handled::Now(built)) => built,
            Ok(Handled::Daemon(call, property)) => {
                match self.spawn(message.clone(), call, property) {
                    Ok(()) => return Ok(()),
                    Err(error) => reply::refusal(&message.header(), &error),
                }
            }
            Err(error) => reply::refusal(&message.header(), &error),
        };
        self.send(&message, built).await
    }

    fn look(&mut self, message: &Message) -> Result<Handled, Error> {
        let header = message.header();
        let path = header.path().map(|path| path.as_str()).unwrap_or_default();
        let member = header.member().map(|member| member.as_str()).unwrap_or_default();
        let tree = self.tree();
        let object = tree.0.get(path);
        // A caller may leave the interface out.
        let interface = match header.interface().map(|interface| interface.as_str()) {
            Some(interface) => interface,
            None => object.map_or("", |object| object.interface),
        };
        let arguments = Arguments { message, header: &header, member };
        match (interface, member) {
            (PEER, "Ping") => return arguments.none(Handled::Now(reply::reply(&header, &()))),
            (PEER, "GetMachineId") => {
                let id = machine_id()?;
                return arguments.none(Handled::Now(reply::reply(&header, &id)));
            }
            (INTROSPECTABLE, "Introspect") => {
                let text =
                    introspect(&tree, path).ok_or_else(|| Error::UnknownObject(path.to_owned()))?;
                return arguments.none(Handled::Now(reply::reply(&header, &text)));
            }
            _ => {}
        }
        let object = object.ok_or_else(|| Error::UnknownObject(path.to_owned()))?;
        match (interface, member) {
            (OBJECT_MANAGER, "GetManagedObjects") if path == ROOT => {
                arguments.none(Handled::Now(reply::managed(&header, &tree)))
            }
            (PROPERTIES, _) => property(object, &arguments),
            (interface, _) if interface == object.interface => {
                Ok(Handled::Daemon(Call::method(object, message)?, false))
            }
            (PEER | INTROSPECTABLE, member) => Err(Error::UnknownMethod(member.to_owned())),
            (interface, _) => Err(Error::UnknownInterface(interface.to_owned())),
        }
    }
}

/// Whether values are read with it.
fn reads(message: &Message) -> bool {
    let header = message.header();
    let interface = header.interface().map(|interface| interface.as_str());
    let member = header.member().map(|member| member.as_str());
    matches!(
        (interface, member),
        (Some(PROPERTIES), Some("Get" | "GetAll"))
            | (Some(OBJECT_MANAGER), Some("GetManagedObjects"))
    )
}

/// `org.freedesktop.DBus.Properties`.
fn property(object: &Object, arguments: &Arguments<'_>) -> Result<Handled, Error> {
    let ours = |interface: &str| interface == object.interface || interface.is_empty();
    let standard = [INTROSPECTABLE, OBJECT_MANAGER, PEER, PROPERTIES];
    let header = arguments.header;
    match arguments.member {
        "Get" => {
            let (interface, name): (String, String) = arguments.take("ss")?;
            if !ours(&interface) && !standard.contains(&interface.as_str()) {
                return Err(Error::UnknownInterface(interface));
            }
            match object.properties.get(name.as_str()) {
                Some(property) if ours(&interface) => {
                    Ok(Handled::Now(reply::reply(header, &property.value)))
                }
                _ => Err(Error::UnknownProperty(name)),
            }
        }
        "GetAll" => {
            let (interface,): (String,) = arguments.take("s")?;
            let built = if ours(&interface) {
                reply::reply(header, &reply::values(&object.properties))
            } else if standard.contains(&interface.as_str()) {
                reply::reply(header, &reply::values(&Default::default()))
            } else {
                return Err(Error::UnknownInterface(interface));
            };
            Ok(Handled::Now(built))
        }
        "Set" => {
            let (interface, name, value): (String, String, OwnedVariant) = arguments.take("ssv")?;
            if !ours(&interface) {
                return Err(Error::UnknownInterface(interface));
            }
            Ok(Handled::Daemon(Call::property(object, &name, value)?, true))
        }
        member => Err(Error::UnknownMethod(member.to_owned())),
    }
}

fn machine_id() -> Result<String, Error> {
    let files = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
    let found = files.iter().find_map(|file| std::fs::read_to_string(file).ok());
    let id = found.map(|text| text.trim().to_owned()).filter(|id| !id.is_empty());
    id.ok_or_else(|| Error::Refused("this machine has no id".to_owned()))
}
