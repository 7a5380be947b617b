//! The committed interface definition says what the service does: it parses, the service gives it,
//! and its types are those of the Rust code.

mod fake;

use fake::{Fake, Served};
use nlb_varlink::{
    BucketRange, Buckets, Changed, Check, Checked, Client, Clients, Cluster, DESCRIPTION, Daemon,
    Drain, Error, Event, Events, Explanation, Happened, INTERFACE, InterfaceChange, Limits, Lost,
    Node, NodeName, Recorded, Status, Stranger, UnusedInterface,
};
use zlink::idl::{CustomType, Interface, Type};
use zlink::introspect::{self, CustomType as _, Type as _};
use zlink::varlink_service::Proxy as _;

fn committed() -> Interface<'static> {
    Interface::try_from(DESCRIPTION).expect("the definition parses")
}

/// Comments aside.
fn plain(item: &impl ToString) -> String {
    let text = item.to_string();
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let text: String = lines.flat_map(str::split_whitespace).collect();
    text.replace(",)", ")")
}

#[test]
fn types() {
    let interface = committed();
    assert_eq!(interface.name().to_string(), INTERFACE);
    let ours: [&CustomType<'_>; 12] = [
        Daemon::CUSTOM_TYPE,
        Node::CUSTOM_TYPE,
        Lost::CUSTOM_TYPE,
        UnusedInterface::CUSTOM_TYPE,
        Stranger::CUSTOM_TYPE,
        Check::CUSTOM_TYPE,
        Drain::CUSTOM_TYPE,
        Cluster::CUSTOM_TYPE,
        NodeName::CUSTOM_TYPE,
        BucketRange::CUSTOM_TYPE,
        Client::CUSTOM_TYPE,
        Event::CUSTOM_TYPE,
    ];
    let ours: Vec<_> = ours.into_iter().map(plain).collect();
    let committed: Vec<_> = interface.custom_types().map(plain).collect();
    assert_eq!(committed, ours);
}

#[test]
fn replies() {
    let interface = committed();
    let reply = |name: &str| -> &'static Type<'static> {
        match name {
            "Status" => Status::TYPE,
            "Buckets" => Buckets::TYPE,
            "Clients" => Clients::TYPE,
            "Explain" => Explanation::TYPE,
            "AddInterface" | "RemoveInterface" => InterfaceChange::TYPE,
            "CheckConfig" => Checked::TYPE,
            "Events" => Events::TYPE,
            "Monitor" => Happened::TYPE,
            "Record" => Recorded::TYPE,
            "SetWeight" | "SetWeightMode" | "Leave" | "Drain" | "RestartHold" | "Undrain"
            | "Reload" => Changed::TYPE,
            other => panic!("a method that this test does not know: {other}"),
        }
    };
    let mut methods = 0;
    for method in interface.methods() {
        methods += 1;
        let outputs: Vec<_> = method.outputs().map(plain).collect();
        let name = method.name().to_string();
        assert_eq!(format!("({})", outputs.join(",")), plain(reply(&name)), "{name}");
    }
    assert_eq!(methods, 17);
}

#[test]
fn errors() {
    let ours: Vec<_> =
        <Error as introspect::ReplyError>::VARIANTS.iter().map(|error| plain(*error)).collect();
    let committed: Vec<_> = committed().errors().map(plain).collect();
    assert_eq!(committed, ours);
}

/// Every method takes the parameters that the definition says, by name and type.
#[tokio::test]
async fn parameters() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let served = Served::new(Fake::default(), Limits::default());
    assert_eq!(served.backend.events, 0);
    let mut stream = tokio::net::UnixStream::connect(&served.socket).await.expect("connect");
    let interface = committed();
    for method in interface.methods() {
        // Their answers have no end, or several.
        if method.name() == "Monitor" || method.name() == "Record" {
            continue;
        }
        let mut parameters = serde_json::Map::new();
        for input in method.inputs() {
            let value = match plain(input.ty()).trim_start_matches('?') {
                "string" => serde_json::json!("x"),
                "int" => serde_json::json!(1),
                "bool" => serde_json::json!(true),
                "[]string" => serde_json::json!(["x"]),
                other => panic!("a type that this test does not know: {other}"),
            };
            parameters.insert(input.name().to_string(), value);
        }
        let call = serde_json::json!({
            "method": format!("{INTERFACE}.{}", method.name()), "parameters": parameters
        });
        stream.write_all(format!("{call}\0").as_bytes()).await.expect("send");
        let mut reply = Vec::new();
        while reply.last() != Some(&0) {
            stream.read_buf(&mut reply).await.expect("receive");
        }
        let reply = String::from_utf8(reply).expect("text");
        assert!(!reply.contains("org.varlink.service"), "{call}: {reply}");
    }
}

/// A client that knows nothing of us, only of varlink.
#[tokio::test]
async fn the_service_describes_itself() {
    let served = Served::new(Fake::default(), Limits::default());
    let mut any = zlink::tokio::unix::connect(&served.socket).await.expect("connect");
    let info = any.get_info().await.expect("reply").expect("info");
    assert_eq!(info.product, "nlbd");
    let names: Vec<_> = info.interfaces.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["org.varlink.service", INTERFACE]);
    for name in ["org.nlbd.Cluster", "org.varlink.service"] {
        let name = name.try_into().expect("a name");
        let description =
            any.get_interface_description(name).await.expect("reply").expect("description");
        description.parse().expect("it parses");
    }
}
