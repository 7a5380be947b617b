//! Checks of systemd units, against a stand-in for systemd on a bus of the test's own: what it
//! says, what it does not say, and what D-Bus says of the checks themselves.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use futures_util::StreamExt;
use nlb_tests::bus::Bus;
use nlb_tests::cluster::Cluster;
use nlb_tests::figures::report;
use nlb_tests::lab::LabOptions;
use nlb_tests::spec::ClusterSpec;
use nlb_tests::wait::{wait_for, wait_until};
use zbus::message::Type;
use zbus::{Connection, MatchRule, Message, MessageStream, ObjectPath, Variant};

const LIMIT: Duration = Duration::from_secs(20);
const UNIT: &str = "nginx.service";
const CHECK: &str = "checks: [Unit(name: \"nginx.service\", interval_ms: 300, timeout_ms: 200, \
                     rise: 2, fall: 2)],";
const CLUSTER: &str = "/org/nlbd1/cluster/nlb0";
const OBJECT: &str = "/org/freedesktop/systemd1/unit/nginx_2eservice";

/// What systemd says of the unit.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Says {
    State(&'static str),
    /// It knows no such unit.
    Unknown,
    /// It does not answer.
    Nothing,
}

/// A systemd that knows one unit.
struct Systemd {
    says: Arc<Mutex<Says>>,
    end: tokio::sync::oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Systemd {
    fn start(address: &str, says: Says) -> Result<Self> {
        let (end, ended) = tokio::sync::oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
        let says = Arc::new(Mutex::new(says));
        let (address, told) = (address.to_owned(), says.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                match begin(&address).await {
                    Ok((connection, stream)) => {
                        let _ = ready.send(Ok(()));
                        tokio::select! {
                            () = answer(connection, stream, told) => {}
                            _ = ended => {}
                        }
                    }
                    Err(error) => drop(ready.send(Err(error))),
                }
            });
        });
        is_ready.recv().context("systemd")?.map_err(|error| anyhow!("systemd: {error}"))?;
        Ok(Self { says, end, thread })
    }

    fn set(&self, says: Says) {
        *self.says.lock().expect("what it says") = says;
    }

    fn end(self) {
        let _ = self.end.send(());
        let _ = self.thread.join();
    }
}

async fn begin(address: &str) -> zbus::Result<(Connection, MessageStream)> {
    let connection = zbus::connection::Builder::address(address).build().await?;
    let rule = MatchRule::builder().msg_type(Type::MethodCall).build()?;
    let stream = MessageStream::for_match_rule(rule, &connection, None).await?;
    connection.request_name("org.freedesktop.systemd1").await?;
    Ok((connection, stream))
}

async fn answer(connection: Connection, mut stream: MessageStream, says: Arc<Mutex<Says>>) {
    while let Some(Ok(message)) = stream.next().await {
        let says = *says.lock().expect("what it says");
        if let Some(reply) = reply(&message, says) {
            let _ = connection.send(&reply).await;
        }
    }
}

fn reply(message: &Message, says: Says) -> Option<Message> {
    let header = message.header();
    let member = header.member().map(|member| member.as_str().to_owned()).unwrap_or_default();
    let refuse = |name: &str, text: &str| Message::error(&header, name).build(&text).ok();
    match (member.as_str(), says) {
        (_, Says::Nothing) => None,
        ("GetUnit", Says::State(_)) => {
            let unit: String = message.body().deserialize().ok()?;
            if unit != UNIT {
                return refuse("org.freedesktop.systemd1.NoSuchUnit", &unit);
            }
            let path = ObjectPath::try_from(OBJECT).ok()?;
            Message::method_return(&header).build(&path).ok()
        }
        ("Get", Says::State(state)) => {
            let property: (String, String) = message.body().deserialize().ok()?;
            let asked = ("org.freedesktop.systemd1.Unit", "ActiveState");
            let path = header.path().map(|path| path.as_str());
            if (property.0.as_str(), property.1.as_str(), path) != (asked.0, asked.1, Some(OBJECT))
            {
                return refuse("org.freedesktop.DBus.Error.UnknownProperty", "no such property");
            }
            Message::method_return(&header).build(&Variant::from(state)).ok()
        }
        ("GetUnit", Says::Unknown) => {
            refuse("org.freedesktop.systemd1.NoSuchUnit", "Unit nginx.service not loaded.")
        }
        _ => refuse("org.freedesktop.DBus.Error.UnknownMethod", "no such method"),
    }
}

fn get(bus: &Bus, property: &str) -> Result<String> {
    let words = ["get-property", "org.nlbd1", CLUSTER, "org.nlbd1.Cluster", property];
    Ok(bus.busctl(&words)?.trim().to_owned())
}

fn wait_get(bus: &Bus, property: &str, wanted: &[&str]) -> Result<()> {
    wait_for(&format!("{property} {wanted:?}"), LIMIT, || {
        let found = get(bus, property).map_err(|error| error.to_string())?;
        if wanted.iter().all(|word| found.contains(word)) { Ok(()) } else { Err(found) }
    })
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn a_server_whose_unit_is_not_active_withdraws() {
    let options = LabOptions { servers: 2, ..LabOptions::default() };
    let outcome = Cluster::new(&options, &ClusterSpec::default()).and_then(|mut cluster| {
        let mut bus = Bus::new(cluster.lab.folder(), &cluster.lab.client)?;
        bus.start()?;
        cluster.nodes[0].bus = bus.address();
        cluster.start(&[100, 100])?;
        wait_until("the name on the bus", LIMIT, || get(&bus, "Weight").is_ok())?;
        let systemd = Systemd::start(&bus.address(), Says::State("active"))?;
        units(&mut cluster, &mut bus, systemd)?;
        cluster.check_wire()?;
        cluster.end()
    });
    if let Err(error) = outcome {
        panic!("{error:?}");
    }
}

fn units(cluster: &mut Cluster, bus: &mut Bus, systemd: Systemd) -> Result<()> {
    ensure!(get(bus, "Health")? == "s \"unknown\"" && get(bus, "Checks")? == "a(sssttt) 0");
    let node = &cluster.nodes[0];
    let text = std::fs::read_to_string(node.config())?;
    node.configure(&text.replacen("mode:", &format!("{CHECK}\nmode:"), 1))?;
    node.ctl(&["reload"])?;
    wait_get(bus, "Health", &["well"])?;
    wait_get(bus, "Checks", &["\"Unit nginx.service\" \"passes\" \"active\""])?;
    let address = bus.address();
    let words = ["gdbus", "monitor", "--address", &address, "--dest", "org.nlbd1"];
    let followed = bus.follow(&words, "gdbus")?;
    let follows = |words: &[&str]| {
        wait_for(&format!("{words:?}"), LIMIT, || {
            let text = std::fs::read_to_string(&followed).unwrap_or_default();
            if words.iter().all(|word| text.contains(word)) { Ok(()) } else { Err(text) }
        })
    };
    follows(&["owned by"])?;

    systemd.set(Says::State("reloading"));
    wait_get(bus, "Checks", &["\"passes\" \"reloading\""])?;
    let all_ill = [
        (Says::State("failed"), "the unit is failed"),
        (Says::State("inactive"), "the unit is inactive"),
        (Says::State("deactivating"), "the unit is deactivating"),
        (Says::Unknown, "systemd runs no unit nginx.service"),
        (Says::Nothing, "timed out"),
    ];
    for (says, words) in all_ill {
        let begun = Instant::now();
        systemd.set(says);
        withdraws(cluster, begun, &format!("{says:?}"))?;
        wait_get(bus, "Checks", &["\"fails\"", words])?;
        wait_get(bus, "Health", &["ill"])?;
        wait_get(bus, "FailingChecks", &["as 1 \"Unit nginx.service\""])?;
        wait_get(bus, "Cause", &["fails its checks"])?;
        systemd.set(Says::State("active"));
        cluster.wait_settled(2)?;
        wait_get(bus, "Health", &["well"])?;
        wait_get(bus, "FailingChecks", &["as 0"])?;
    }
    follows(&["'FailingChecks': <['Unit nginx.service']>", "'Health': <'ill'>"])?;

    // systemd is gone; then the bus is; then both are there again.
    systemd.end();
    withdraws(cluster, Instant::now(), "no systemd")?;
    wait_get(bus, "Checks", &["\"fails\"", "systemd does not answer"])?;
    bus.kill()?;
    let no_bus = |status: &nlb_tests::status::ClusterStatus| {
        format!("{:?}", status.rest.get("checks")).contains("there is no bus to ask systemd on")
    };
    cluster.nodes[0].wait_status("no bus", LIMIT, no_bus)?;
    bus.start()?;
    let systemd = Systemd::start(&bus.address(), Says::State("active"))?;
    cluster.wait_settled_within(2, LIMIT)?;
    systemd.end();
    Ok(())
}

fn withdraws(cluster: &mut Cluster, begun: Instant, what: &str) -> Result<()> {
    cluster.nodes[1].wait_status(&format!("{what}: n1 out of the table"), LIMIT, |status| {
        status.node("n1").is_some_and(|node| !node.active() && node.buckets == 0)
    })?;
    report(&format!("unit, {what}: out of the table after {:?}", begun.elapsed()));
    Ok(())
}
