//! D-Bus, as an administrator and a program use it: on a bus of the test's own, with the shipped
//! policy.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nlb_tests::bus::Bus;
use nlb_tests::cluster::Cluster;
use nlb_tests::figures::report;
use nlb_tests::lab::LabOptions;
use nlb_tests::spec::ClusterSpec;
use nlb_tests::wait::{wait_for, wait_until};

#[path = "dbus/crowd.rs"]
mod crowd;
#[path = "dbus/polkit.rs"]
mod polkit;

use crowd::Crowd;
use polkit::{OPERATOR, PERSON, Polkit, UNDECIDED};

const LIMIT: Duration = Duration::from_secs(15);
const CLUSTER: &str = "/org/nlbd1/cluster/nlb0";
/// Nobody in particular. Every system knows it, and buses talk with known users only.
const STRANGER: u32 = 65534;

/// A cluster whose first node is on a bus.
fn on_a_bus(weights: &[u16], body: impl FnOnce(&mut Cluster, &mut Bus) -> Result<()>) {
    let options = LabOptions { servers: weights.len(), ..LabOptions::default() };
    let outcome = Cluster::new(&options, &ClusterSpec::default()).and_then(|mut cluster| {
        let mut bus = Bus::new(cluster.lab.folder(), &cluster.lab.client)?;
        bus.start()?;
        cluster.nodes[0].bus = bus.address();
        cluster.start(weights)?;
        wait_until("the name on the bus", LIMIT, || get(&bus, "Weight").is_ok())?;
        let outcome = body(&mut cluster, &mut bus);
        if outcome.is_err() {
            for node in &cluster.nodes {
                eprintln!("--- {}\n{}", node.name, node.log_tail());
            }
        }
        outcome?;
        cluster.check_wire()?;
        cluster.end()
    });
    if let Err(error) = outcome {
        panic!("{error:?}");
    }
}

fn get(bus: &Bus, property: &str) -> Result<String> {
    let words = ["get-property", "org.nlbd1", CLUSTER, "org.nlbd1.Cluster", property];
    Ok(bus.busctl(&words)?.trim().to_owned())
}

fn call<'w>(method: &'w str, arguments: &[&'w str]) -> Vec<&'w str> {
    let mut words = vec!["call", "org.nlbd1", CLUSTER, "org.nlbd1.Cluster", method];
    words.extend(arguments);
    words
}

fn set<'w>(property: &'w str, signature: &'w str, value: &'w str) -> [&'w str; 7] {
    ["set-property", "org.nlbd1", CLUSTER, "org.nlbd1.Cluster", property, signature, value]
}

fn wait_words(path: &Path, words: &[&str]) -> Result<()> {
    wait_for(&format!("{words:?}"), LIMIT, || {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let found = words.iter().all(|word| text.contains(word));
        if found { Ok(()) } else { Err(text) }
    })
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn a_cluster_is_read_changed_and_followed() {
    on_a_bus(&[100, 100, 100], |cluster, bus| {
        let tree = bus.busctl(&["tree", "org.nlbd1"])?;
        for id in 1..=3 {
            let path = format!("{CLUSTER}/node/{id:016x}");
            ensure!(tree.contains(&path), "no {path}:\n{tree}");
        }
        check_introspection(bus)?;

        let address = bus.address();
        let words = ["gdbus", "monitor", "--address", &address, "--dest", "org.nlbd1"];
        let gdbus = bus.follow(&words, "gdbus")?;
        let option = format!("--address={address}");
        let busctl = bus.follow(&["busctl", &option, "monitor", "org.nlbd1"], "busctl")?;
        wait_words(&gdbus, &["owned by"])?;
        wait_words(&busctl, &["Monitoring"]).ok();

        // A method, then a property; whoever changed it reads it at once.
        let said = bus.busctl(&call("SetWeight", &["q", "300"]))?;
        ensure!(said.trim() == "bas true 0", "{said}");
        ensure!(get(bus, "Weight")? == "q 300");
        bus.busctl(&set("Weight", "q", "400"))?;
        ensure!(get(bus, "Weight")? == "q 400");
        for node in &mut cluster.nodes {
            node.wait_status("weight 400", LIMIT, |status| {
                status.node("n1").is_some_and(|node| node.weight == 400)
            })?;
        }
        wait_words(&gdbus, &["PropertiesChanged", "'Weight': <uint16 400>", "'Buckets'"])?;
        wait_words(&busctl, &["PropertiesChanged", "Weight"])?;
        for mode in ["loadavg15", "loadavg5", "cpu", "memory", "connections", "loadavg"] {
            bus.busctl(&set("WeightMode", "s", mode))?;
            ensure!(get(bus, "WeightMode")? == format!("s \"{mode}\""));
        }
        let said = bus.refused(0, &call("SetWeightMode", &["s", "command"]))?;
        ensure!(said.contains("has no command that says the load"), "{said}");
        bus.busctl(&set("Weight", "q", "100"))?;
        ensure!(get(bus, "WeightMode")? == "s \"manual\"");

        let said = bus.busctl(&call("Explain", &["s", "198.51.100.7"]))?;
        ensure!(said.contains("\"because\" s \"the table gives bucket"), "{said}");
        let said = bus.busctl(&call("GetBuckets", &[]))?;
        ensure!(said.starts_with("a(qqss)"), "{said}");
        let said = bus.busctl(&call("GetClients", &["uu", "0", "10"]))?;
        ensure!(said.starts_with("ta(sqsbt) 0"), "{said}");
        refusals(bus)?;

        // A node dies, and comes back.
        let third = format!("{CLUSTER}/node/{:016x}", 3);
        cluster.nodes[2].kill()?;
        let removed = format!("InterfacesRemoved (objectpath '{third}', ['org.nlbd1.Node'])");
        wait_words(&gdbus, &[&removed, "NodeLeft ('0000000000000003', 'n3', 'silent')"])?;
        wait_words(&gdbus, &["TookOver (", "'node-silent', '0000000000000003', 'n3')"])?;
        wait_words(&gdbus, &["org.nlbd1.Cluster.Converged ("])?;
        wait_words(&gdbus, &["'LostNodes': <[('0000000000000003', 'n3')]>"])?;
        cluster.nodes[2].start()?;
        let added = format!("InterfacesAdded (objectpath '{third}'");
        wait_words(&gdbus, &[&added, "NodeJoined ('0000000000000003', 'n3')"])?;
        cluster.wait_settled(3).map(drop)
    });
}

/// While nobody reads, the daemon is seldom asked: what is read then is new all the same, and what
/// somebody changes by another way is told.
#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn whoever_reads_seldom_reads_what_is_true_and_is_told_what_changes() {
    on_a_bus(&[100, 100], |cluster, bus| {
        // How much older it is each time than it was when it was youngest: a second, and what
        // busctl takes. At one of five seconds in a row nobody would have asked for three.
        let mut begun = Vec::new();
        for _ in 0..5 {
            let asked = Instant::now();
            let said = get(bus, "UptimeMs")?;
            let uptime = Duration::from_millis(said.strip_prefix("t ").context("t")?.parse()?);
            begun.push(asked.checked_sub(uptime).context("a machine that is up for longer")?);
            std::thread::sleep(Duration::from_secs(4));
        }
        let (first, last) = (begun.iter().min().context("1")?, begun.iter().max().context("1")?);
        ensure!(*last - *first < Duration::from_millis(1800), "{:?} apart", *last - *first);

        let address = bus.address();
        let words = ["gdbus", "monitor", "--address", &address, "--dest", "org.nlbd1"];
        let gdbus = bus.follow(&words, "gdbus")?;
        wait_words(&gdbus, &["owned by"])?;
        cluster.nodes[0].ctl(&["weight-mode", "nlb0", "cpu"])?;
        wait_words(&gdbus, &["PropertiesChanged", "'WeightMode': <'cpu'>"])
    });
}

/// What the service says of itself is what is committed.
fn check_introspection(bus: &Bus) -> Result<()> {
    let node = format!("{CLUSTER}/node/{:016x}", 1);
    for (path, interface) in
        [("/org/nlbd1", "Manager"), (CLUSTER, "Cluster"), (node.as_str(), "Node")]
    {
        let file = format!("{}/../dbus/org.nlbd1.{interface}.xml", env!("CARGO_MANIFEST_DIR"));
        let file = std::fs::read_to_string(file)?;
        let said = bus.busctl(&["introspect", "--xml-interface", "org.nlbd1", path])?;
        let begin = file.find("<interface").context("an interface")?;
        let end = file.find("</interface>").context("its end")?;
        ensure!(said.contains(&file[begin..end]), "{interface}:\n{said}");
        // Every property that is described is there, with its type, and no other.
        let interface = format!("org.nlbd1.{interface}");
        let table = bus.busctl(&["introspect", "org.nlbd1", path, &interface])?;
        let all = bus.busctl(&[
            "call",
            "org.nlbd1",
            path,
            "org.freedesktop.DBus.Properties",
            "GetAll",
            "s",
            &interface,
        ])?;
        let described = file.matches("<property ").count();
        ensure!(all.starts_with(&format!("a{{sv}} {described} ")), "{described}: {all}");
        for line in file.lines().filter(|line| line.contains("<property ")) {
            let part = |name: &str| {
                let (_, from) = line.split_once(&format!("{name}=\""))?;
                from.split('"').next()
            };
            let (name, signature) = (part("name").context("name")?, part("type").context("type")?);
            ensure!(all.contains(&format!("\"{name}\" {signature} ")), "{name}: {all}");
            ensure!(table.contains(&format!(".{name} ")), "{name}:\n{table}");
        }
    }
    Ok(())
}

/// What cannot be is said so, by name.
fn refusals(bus: &Bus) -> Result<()> {
    for (words, said) in [
        (call("SetWeight", &["q", "0"]), "weight: found 0; allowed: 1 to 65535"),
        (call("SetWeight", &["u", "7"]), "SetWeight takes (q), found (u)"),
        (call("SetWeightMode", &["s", "guess"]), "cpu, memory, connections or command"),
        (call("Drain", &["u", "604801"]), "1 to 604800"),
        (call("Explain", &["s", "localhost"]), "an IPv4 or IPv6 address"),
        (call("GetClients", &["uu", "0", "0"]), "1 to 10000"),
        (call("GetClients", &["uu", "4294967295", "4294967295"]), "below 10000"),
        (call("Fly", &[]), "Fly"),
        (set("Weight", "q", "0").to_vec(), "1 to 65535"),
        (set("Weight", "s", "x").to_vec(), "Weight takes (q), found (s)"),
        (set("Epoch", "t", "1").to_vec(), "Epoch cannot be set"),
        (set("Speed", "t", "1").to_vec(), "Speed"),
    ] {
        let found = bus.refused(0, &words)?;
        ensure!(found.contains(said), "{words:?}: {found}");
    }
    let other = ["call", "org.nlbd1", "/org/nlbd1/cluster/web", "org.nlbd1.Cluster", "Leave"];
    let found = bus.refused(0, &other)?;
    ensure!(found.contains("/org/nlbd1/cluster/web"), "{found}");
    let nowhere = ["introspect", "org.nlbd1", "/org/nlbd1/cluster/web"];
    bus.refused(0, &nowhere).map(drop)
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn everybody_reads_and_polkit_says_who_changes() {
    on_a_bus(&[100], |cluster, bus| {
        if bus.busctl_as(STRANGER, &["list"]).is_ok_and(|output| !output.status.success()) {
            eprintln!("SKIPPED: there are no other users in a user namespace");
            return Ok(());
        }
        let weight = call("SetWeight", &["q", "200"]);
        // No polkit: root only, said once.
        for _ in 0..2 {
            let said = bus.refused(STRANGER, &weight)?;
            ensure!(said.contains("no permission to set a weight: only root may"), "{said}");
        }
        let warned =
            |cluster: &Cluster| cluster.nodes[0].log().matches("polkit cannot be asked").count();
        ensure!(warned(cluster) == 1, "said {} times", warned(cluster));
        bus.busctl(&weight)?;

        let polkit = Polkit::start(&bus.address())?;
        for words in [&["tree", "org.nlbd1"][..], &["introspect", "org.nlbd1", CLUSTER]] {
            ensure!(bus.busctl_as(STRANGER, words)?.status.success(), "{words:?}");
        }
        let changes: [(Vec<&str>, &str); 11] = [
            (call("SetWeight", &["q", "7"]), "set-weight"),
            (call("SetWeightMode", &["s", "loadavg"]), "set-weight"),
            (set("Weight", "q", "7").to_vec(), "set-weight"),
            (set("WeightMode", "s", "loadavg").to_vec(), "set-weight"),
            (call("Drain", &["u", "0"]), "drain"),
            (call("Undrain", &[]), "drain"),
            (call("Leave", &[]), "leave"),
            (manager("Reload", &[]), "reload"),
            (manager("CheckConfig", &["s", ""]), "manage"),
            (manager("AddInterface", &["sa{sv}", "eth0", "0"]), "manage"),
            (manager("RemoveInterface", &["ss", "eth0", ""]), "manage"),
        ];
        for (words, action) in &changes {
            let said = bus.refused(STRANGER, words)?;
            ensure!(said.contains(&format!("org.nlbd1.{action}")), "{words:?}: {said}");
            let last = polkit.asked.lock().expect("log").last().cloned();
            let expected = (STRANGER, "system-bus-name".to_owned(), format!("org.nlbd1.{action}"));
            ensure!(last.as_ref() == Some(&expected), "{words:?}: {last:?}");
        }
        ensure!(get(bus, "Weight")? == "q 200" && get(bus, "State")? == "s \"active\"");

        // One whom polkit lets, by method and by property.
        ensure!(bus.busctl_as(OPERATOR, &set("Weight", "q", "300"))?.status.success());
        ensure!(get(bus, "Weight")? == "q 300");
        ensure!(bus.busctl_as(OPERATOR, &manager("Reload", &[]))?.status.success());
        // But not into files of root's.
        ensure!(bus.busctl_as(OPERATOR, &manager("CheckConfig", &["s", ""]))?.status.success());
        let said = bus.refused(OPERATOR, &manager("CheckConfig", &["s", "/etc/shadow"]))?;
        ensure!(said.contains("only root may"), "{said}");
        // One who must give a password: only when the caller waits for that.
        let mut words = vec!["--allow-interactive-authorization=no"];
        words.extend(call("SetWeight", &["q", "400"]));
        let said = bus.refused(PERSON, &words)?;
        ensure!(said.contains("nteractive"), "{said}");
        words[0] = "--allow-interactive-authorization=yes";
        ensure!(bus.busctl_as(PERSON, &words)?.status.success());
        ensure!(get(bus, "Weight")? == "q 400");

        // Somebody who is not decided about holds nobody up.
        let mut slow = bus.as_user(UNDECIDED, "busctl");
        slow.arg(format!("--address={}", bus.address())).args(set("Weight", "q", "9"));
        let mut slow = cluster.lab.client.spawn(slow)?;
        wait_until("the question", LIMIT, || {
            let asked = polkit.asked.lock().expect("log");
            asked.last().is_some_and(|(user, ..)| *user == UNDECIDED)
        })?;
        let begun = Instant::now();
        bus.busctl(&set("Weight", "q", "500"))?;
        ensure!(get(bus, "Weight")? == "q 500");
        ensure!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
        ensure!(slow.try_wait()?.is_none(), "it was decided");
        slow.kill()?;
        slow.wait()?;

        varlink_asks_too(cluster, bus, &polkit)?;
        polkit.end();
        let said = bus.refused(OPERATOR, &weight)?;
        ensure!(said.contains("only root may"), "{said}");
        ensure!(warned(cluster) == 2, "said {} times", warned(cluster));
        Ok(())
    });
}

fn manager<'w>(method: &'w str, arguments: &[&'w str]) -> Vec<&'w str> {
    let mut words = vec!["call", "org.nlbd1", "/org/nlbd1", "org.nlbd1.Manager", method];
    words.extend(arguments);
    words
}

/// `nlbctl` as users of other rights.
fn varlink_asks_too(cluster: &Cluster, bus: &Bus, polkit: &Polkit) -> Result<()> {
    let copy = cluster.lab.folder().join("nlbctl");
    std::fs::copy(nlb_tests::binaries::program("nlbctl")?, &copy)?;
    let program = copy.to_str().context("path")?;
    for (user, may) in [(STRANGER, false), (OPERATOR, true)] {
        let mut command = bus.as_user(user, program);
        command.arg("--run-dir").arg(cluster.nodes[0].run_dir());
        command.args(["set_weight", "nlb0", "600"]);
        let output = cluster.lab.client.spawn(command)?.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success() == may, "{user}: {said}");
        ensure!(may || said.contains("org.nlbd1.set-weight"), "{said}");
        let last = polkit.asked.lock().expect("log").last().cloned();
        let expected = (user, "unix-process".to_owned(), "org.nlbd1.set-weight".to_owned());
        ensure!(last == Some(expected), "{last:?}");
    }
    // The bus tells it as news of another's change.
    wait_until("the weight", LIMIT, || get(bus, "Weight").is_ok_and(|is| is == "q 600"))
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn the_bus_comes_and_goes() {
    on_a_bus(&[100], |cluster, bus| {
        let count = |cluster: &Cluster, words: &str| cluster.nodes[0].log().matches(words).count();
        for round in 1..=2 {
            bus.kill()?;
            let lost = || count(cluster, "D-Bus is not served") == round;
            wait_until("the loss in the log", LIMIT, lost)?;
            // Without a bus all is well.
            cluster.nodes[0].ctl(&["set_weight", "nlb0", &(100 + round).to_string()])?;
            std::thread::sleep(Duration::from_secs(1));
            bus.start()?;
            let expected = format!("q {}", 100 + round);
            wait_until("the name", LIMIT, || get(bus, "Weight").is_ok_and(|is| is == expected))?;
            ensure!(count(cluster, "D-Bus is served") == round + 1);
            ensure!(count(cluster, "D-Bus is not served") == round);
        }
        // One that begins without a bus.
        bus.kill()?;
        ensure!(cluster.nodes[0].terminate(LIMIT)?.success());
        cluster.nodes[0].start()?;
        cluster.wait_settled(1)?;
        bus.start()?;
        wait_until("the name", LIMIT, || get(bus, "Weight").is_ok())
    });
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn the_second_daemon_on_a_bus_waits_for_the_name() {
    on_a_bus(&[100, 100], |cluster, bus| {
        ensure!(cluster.nodes[1].terminate(LIMIT)?.success());
        cluster.nodes[1].bus = bus.address();
        cluster.nodes[1].start()?;
        cluster.nodes[1].wait_log("another daemon has the name", LIMIT)?;
        cluster.wait_settled(2)?;
        let local = |id: u8| format!("o \"{CLUSTER}/node/{id:016x}\"");
        ensure!(get(bus, "LocalNode")? == local(1));
        ensure!(cluster.nodes[0].terminate(LIMIT)?.success());
        let second = || get(bus, "LocalNode").is_ok_and(|is| is == local(2));
        wait_until("the name", LIMIT, second)
    });
}

/// Clients that read and follow, and for how long.
const CLIENTS: usize = 200;
const CROWD_TIME: Duration = Duration::from_secs(6);

/// The oldest heartbeat of n1 that n2 has seen within this time.
fn oldest_heartbeat(cluster: &Cluster, time: Duration) -> Result<u64> {
    let begun = Instant::now();
    let mut oldest = 0;
    while begun.elapsed() < time {
        let status = cluster.nodes[1].status()?;
        oldest = oldest.max(status.node("n1").context("n1")?.last_heard_ms);
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(oldest)
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn a_crowd_does_not_disturb_the_heartbeats() {
    use std::sync::atomic::Ordering::Relaxed;

    on_a_bus(&[100, 100, 100], |cluster, bus| {
        let quiet = oldest_heartbeat(cluster, CROWD_TIME / 2)?;
        let before = (cluster.nodes[0].resident_kib()?, bus.resident_kib()?);
        let crowd = Crowd::start(&bus.address(), CLIENTS, Duration::from_millis(20))?;
        let busy = oldest_heartbeat(cluster, CROWD_TIME)?;
        let after = (cluster.nodes[0].resident_kib()?, bus.resident_kib()?);
        // Others are served meanwhile.
        ensure!(get(bus, "Converged").is_ok());
        let counts = crowd.counts.clone();
        crowd.end()?;
        let (reads, signals) = (counts.reads.load(Relaxed), counts.signals.load(Relaxed));
        let (changes, errors) = (counts.changes.load(Relaxed), counts.errors.load(Relaxed));
        report(&format!(
            "{CLIENTS} D-Bus clients for {CROWD_TIME:?}: {reads} reads, {signals} signals, \
             {changes} changes of the weight, {errors} errors; oldest heartbeat {quiet} ms \
             before, {busy} ms meanwhile; nlbd {} KiB before, {} KiB then; bus {} KiB, {} KiB",
            before.0, after.0, before.1, after.1
        ));
        ensure!(errors == 0 && reads > 0 && signals > 0 && changes > 0);
        ensure!(after.0 < before.0 + 16 * 1024, "the daemon has grown: {before:?} {after:?}");
        for node in &cluster.nodes {
            let status = node.status()?;
            for counter in ["fenced", "overlaps"] {
                ensure!(status.counters.get(counter) == Some(&0), "{counter}: {status:?}");
            }
        }
        cluster.wait_settled(3).map(drop)
    });
}

/// The shipped programs, with the clients from PyPI: `NLB_PYTHON` names a Python that has them.
#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn programs_in_python_follow_the_cluster() {
    let python = std::env::var("NLB_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = |module: &str| {
        let mut tried = std::process::Command::new(&python);
        tried.args(["-c", &format!("import {module}")]).stderr(std::process::Stdio::null());
        tried.status().is_ok_and(|status| status.success())
    };
    on_a_bus(&[100, 100], |cluster, bus| {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/examples");
        let program = |name: &str| examples.join(name).to_string_lossy().into_owned();
        let socket = cluster.nodes[0].run_dir().join("org.nlbd.Cluster");
        let socket = socket.to_string_lossy().into_owned();
        let mut followed = Vec::new();
        for (module, name, argument, words) in [
            ("dbus_next", "follow.py", bus.address(), ["PropertiesChanged", "'Weight': 250"]),
            ("varlink", "events.py", socket, ["nlb0 n2 active 100", "weight 250"]),
        ] {
            if !has(module) {
                eprintln!("SKIPPED: {python} has no module {module}");
                continue;
            }
            let output = bus.follow(&[&python, &program(name), &argument], name)?;
            wait_words(&output, &["n1"])?;
            followed.push((output, words));
        }
        cluster.nodes[1].ctl(&["set_weight", "nlb0", "250"])?;
        bus.busctl(&set("Weight", "q", "250"))?;
        followed.iter().try_for_each(|(output, words)| wait_words(output, words))
    });
}

/// Whatever stands in a call: an answer comes, and the daemon goes on.
#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn arguments_out_of_every_range_are_answered() {
    on_a_bus(&[100], |cluster, bus| {
        let long = "x".repeat(60_000);
        let texts = ["", " ", "\u{1b}[2J", "nlb0/../..", "-1", "NaN", "٣", long.as_str()];
        let numbers = ["0", "1", "65535", "65536", "4294967295", "18446744073709551615"];
        let mut asked = 0;
        let mut ask = |words: &[&str]| -> Result<()> {
            let output = bus.busctl_as(0, words)?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            // What busctl cannot send does not count.
            asked += usize::from(!said.contains("Failed to parse"));
            ensure!(
                !said.contains("timed out") && !said.contains("disconnected"),
                "{words:?}: {said}"
            );
            Ok(())
        };
        for text in texts {
            for method in ["SetWeightMode", "Explain"] {
                ask(&call(method, &["s", text]))?;
            }
            ask(&manager("RemoveInterface", &["ss", text, text]))?;
            ask(&manager("CheckConfig", &["s", text]))?;
            ask(&manager("AddInterface", &["sa{sv}", text, "1", text, "s", text]))?;
            ask(&set("WeightMode", "s", text))?;
            ask(&set(if text.is_empty() { "x" } else { text }, "s", text))?;
        }
        for number in numbers {
            for signature in ["y", "q", "u", "t", "x", "d"] {
                // Not a drain that begins, nor a weight that stays.
                for method in ["SetWeight", "GetClients", "Fly"] {
                    ask(&call(method, &[signature, number]))?;
                }
                ask(&set("Weight", signature, number))?;
                ask(&set("Epoch", signature, number))?;
            }
            ask(&call("GetClients", &["uu", number, number]))?;
        }
        ensure!(asked > 150, "{asked} calls");
        // The last weight that was in range is in force; the daemon is the same.
        ensure!(get(bus, "Weight")? == "q 65535", "{}", get(bus, "Weight")?);
        ensure!(cluster.nodes[0].log().matches("nlbd starts").count() == 1);
        ensure!(!cluster.nodes[0].log().contains("broke off"), "a call broke off");
        Ok(())
    });
}
