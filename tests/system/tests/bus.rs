//! The real system bus and the real polkit: who reads, who changes, and what follows, by the clients
//! that people have: busctl, gdbus, nlbctl, varlinkctl, programs in Python.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Result, ensure};
use nlb_system::{Machine, Machines};
use nlb_tests::wait::{wait_for, wait_until};

const SOON: Duration = Duration::from_secs(20);
const CLUSTER: &str = "org.nlbd1 /org/nlbd1/cluster/nlb0 org.nlbd1.Cluster";

/// Nobody in particular, and a member of the group that the shipped rule lets.
const READER: &str = "rita";
const OPERATOR: &str = "otto";

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What changes something, over D-Bus and varlink.
fn changes(weight: u16) -> [String; 4] {
    [
        format!(
            "gdbus call --system --dest org.nlbd1 --object-path /org/nlbd1/cluster/nlb0 \
             --method org.nlbd1.Cluster.SetWeight \"uint16 {weight}\""
        ),
        format!("busctl --allow-interactive-authorization=no call {CLUSTER} SetWeight q {weight}"),
        format!(
            "busctl --allow-interactive-authorization=no set-property {CLUSTER} Weight q {weight}"
        ),
        format!("nlbctl set_weight nlb0 {weight}"),
    ]
}

fn weight(machine: &Machine) -> Result<String> {
    Ok(machine.sh(&format!("busctl get-property {CLUSTER} Weight"))?.trim().to_owned())
}

/// What was changed over varlink is announced on the bus within a second.
fn wait_weight(machine: &Machine, wanted: u16) -> Result<()> {
    wait_for("the weight on the bus", SOON, || match weight(machine) {
        Ok(found) if found == format!("q {wanted}") => Ok(()),
        Ok(found) => Err(found),
        Err(error) => Err(format!("{error:#}")),
    })
}

#[test]
#[ignore = "runs whole machines: cargo xtask test-system"]
fn everybody_reads_the_group_changes_and_so_does_root() -> Result<()> {
    Machines::test(2, |all| {
        all.join_all()?;
        let machine = &all.machines[0];
        machine.sh(&format!("useradd -m {READER} && useradd -m {OPERATOR}"))?;
        machine.sh(&format!("usermod -aG nlbd {OPERATOR}"))?;
        wait_until("the name on the bus", SOON, || weight(machine).is_ok())?;

        // polkitd has read the policy and the rule, and complains of neither.
        machine.sh("systemctl start polkit")?;
        let actions = "busctl call org.freedesktop.PolicyKit1 /org/freedesktop/PolicyKit1/Authority \
                       org.freedesktop.PolicyKit1.Authority EnumerateActions s \"\"";
        let known = machine.sh(actions)?;
        for action in ["set-weight", "drain", "leave", "reload", "manage"] {
            ensure!(known.contains(&format!("org.nlbd1.{action}")), "no action {action}");
        }
        let journal = machine.journal("polkit");
        ensure!(
            !journal.contains("nlbd") || !journal.to_lowercase().contains("error"),
            "{journal}"
        );

        // Reading is for everybody.
        for line in [
            "busctl tree org.nlbd1".to_owned(),
            "busctl introspect org.nlbd1 /org/nlbd1/cluster/nlb0".to_owned(),
            "gdbus introspect --system --dest org.nlbd1 --object-path /org/nlbd1 --recurse"
                .to_owned(),
            format!("busctl get-property {CLUSTER} Weight"),
            format!("busctl call {CLUSTER} Explain s 198.51.100.7"),
            "nlbctl status".to_owned(),
            "nlbctl clients".to_owned(),
            "nlbctl metrics".to_owned(),
        ] {
            let output = machine.output_as(READER, &line)?;
            ensure!(output.status.success(), "{line}: {}", said(&output));
        }
        let tree = machine.sh("busctl tree org.nlbd1")?;
        ensure!(tree.matches("/org/nlbd1/cluster/nlb0/node/").count() == 2, "{tree}");

        // Changing is not.
        let before = weight(machine)?;
        for line in changes(7) {
            let output = machine.output_as(READER, &line)?;
            ensure!(!output.status.success(), "{READER} may: {line}");
            let told = said(&output);
            ensure!(told.contains("ermission") || told.contains("nteractive"), "{line}: {told}");
        }
        ensure!(weight(machine)? == before);

        // The group may, and so may root; whoever follows sees it.
        machine.sh("(busctl monitor org.nlbd1 > /root/heard 2>&1 &)")?;
        wait_words(machine, "/root/heard", &["Monitoring"])?;
        let followers = followers(machine)?;
        for way in 0..4_u16 {
            let line = &changes(300 + way)[usize::from(way)];
            let output = machine.output_as(OPERATOR, line)?;
            ensure!(output.status.success(), "{OPERATOR}: {line}: {}", said(&output));
            wait_weight(machine, 300 + way)?;
            let line = &changes(400 + way)[usize::from(way)];
            machine.sh(line)?;
            wait_weight(machine, 400 + way)?;
        }
        wait_words(machine, "/root/heard", &["PropertiesChanged", "Weight"])?;
        for (file, words) in &followers {
            wait_words(machine, file, words)?;
        }

        varlink(machine)?;
        without_polkit(machine)
    })
}

fn wait_words(machine: &Machine, file: &str, words: &[&str]) -> Result<()> {
    wait_for(file, SOON, || {
        let heard = machine.sh(&format!("cat {file}")).map_err(|error| error.to_string())?;
        if words.iter().all(|word| heard.contains(word)) { Ok(()) } else { Err(heard) }
    })
}

/// An ordinary user's programs that follow the cluster, those of the package among them: where they
/// write, and what they must have heard when the weight was 303 and 403.
fn followers(machine: &Machine) -> Result<Vec<(String, Vec<&'static str>)>> {
    const MONITOR: &str = "gdbus monitor --system --dest org.nlbd1";
    const EXAMPLES: &str = "/usr/share/doc/nlbd/examples";
    let mut programs = vec![
        ("monitor", MONITOR.to_owned(), "owned by", vec!["PropertiesChanged", "<uint16 303>"]),
        ("follow", format!("python3 {EXAMPLES}/follow.py"), "nlb0", vec!["'Weight': 303"]),
    ];
    // Debian has no package of it.
    if let Some(module) = varlink_of_this_host() {
        machine.put_folder(&module, "/usr/lib/python3/dist-packages/varlink")?;
        let line = format!("python3 {EXAMPLES}/events.py");
        programs.push(("events", line, "nlb0 n2 active", vec!["weight 303", "weight 403"]));
    } else {
        println!("this machine's Python has no varlink: events.py not tried");
    }
    let mut followers = Vec::new();
    for (name, line, first, words) in programs {
        let file = format!("/home/{READER}/{name}");
        let started = machine.output_as(READER, &format!("cd; ({line} > {file} 2>&1 &)"))?;
        ensure!(started.status.success(), "{line}: {}", said(&started));
        wait_words(machine, &file, &[first])?;
        followers.push((file, words));
    }
    Ok(followers)
}

/// Where this host's Python has the client for varlink.
fn varlink_of_this_host() -> Option<PathBuf> {
    let python = std::env::var("NLB_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let words = ["-c", "import varlink; print(varlink.__path__[0])"];
    let found = Command::new(python).args(words).output().ok()?;
    let path = String::from_utf8(found.stdout).ok()?;
    found.status.success().then(|| PathBuf::from(path.trim()))
}

/// systemd's own varlink client, where it is there (trixie).
fn varlink(machine: &Machine) -> Result<()> {
    if !machine.output("command -v varlinkctl")?.status.success() {
        println!("varlinkctl is not on this suite: not tried");
        return Ok(());
    }
    let socket = "/run/nlbd/org.nlbd.Cluster";
    let info = machine.sh(&format!("varlinkctl info {socket}"))?;
    ensure!(info.contains("org.nlbd.Cluster"), "{info}");
    let description = machine.sh(&format!("varlinkctl introspect {socket} org.nlbd.Cluster"))?;
    ensure!(description.contains("method SetWeight"), "{description}");
    let status =
        machine.sh(&format!("varlinkctl call -j {socket} org.nlbd.Cluster.Status '{{}}'"))?;
    ensure!(status.contains("\"converged\""), "{status}");
    let line =
        format!("varlinkctl call {socket} org.nlbd.Cluster.SetWeight \\{{\\\"weight\\\":9\\}}");
    let output = machine.output_as(READER, &line)?;
    ensure!(
        !output.status.success() && said(&output).contains("NotPermitted"),
        "{}",
        said(&output)
    );
    Ok(())
}

/// polkit and the bus go and come back: root changes all the same, and each is said once.
fn without_polkit(machine: &Machine) -> Result<()> {
    machine.sh("systemctl stop polkit && systemctl mask --runtime polkit")?;
    for _ in 0..2 {
        let output = machine.output_as(OPERATOR, "nlbctl set_weight nlb0 8")?;
        ensure!(said(&output).contains("only root"), "{}", said(&output));
    }
    machine.sh("nlbctl set_weight nlb0 500")?;
    machine.sh("systemctl unmask --runtime polkit && systemctl start polkit")?;
    let again = || machine.output_as(OPERATOR, "nlbctl set_weight nlb0 501");
    wait_until("polkit", SOON, || again().is_ok_and(|output| output.status.success()))?;
    let count = |words: &str| machine.journal("nlbd").matches(words).count();
    ensure!(count("polkit cannot be asked") == 1, "said {}", count("polkit cannot be asked"));

    // dbus-daemon is killed; systemd starts it again.
    machine
        .sh("systemctl kill --signal=KILL dbus.service; sleep 1; systemctl start dbus.service")?;
    wait_weight(machine, 501)?;
    ensure!(count("D-Bus is not served") == 1, "said {}", count("D-Bus is not served"));
    Ok(())
}
