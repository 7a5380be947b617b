//! Bad configurations: refused as a whole, with the place, the value and what is allowed; a daemon
//! that runs goes on unchanged.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nlb_tests::cluster::{Cluster, write_private};
use nlb_tests::lab::LabOptions;
use nlb_tests::spec::ClusterSpec;

/// A fault: its name, what is replaced in the good file by what, where the error points (text of
/// the line, then text at the column), and what the message must name.
struct Fault {
    name: &'static str,
    replace: (&'static str, String),
    at: &'static str,
    says: &'static [&'static str],
}

fn faults(open_key: &Path) -> Vec<Fault> {
    let fault =
        |name, from, to: &str, at, says| Fault { name, replace: (from, to.to_owned()), at, says };
    let weight = "weight: Manual(100)";
    let addresses = r#"["192.0.2.50", "2001:db8::50"]"#;
    let second = [
        r#"        "nlb1": (id: 7, interfaces: ["eth0"], addresses: ["192.0.2.51"], "#,
        "insecure: true),\n    },\n)\n",
    ]
    .concat();
    let second = second.as_str();
    vec![
        fault("the loopback", "\"eth0\"", "\"lo\"", "\"lo\"", &["lo", "loopback"]),
        fault("no address", addresses, r#"["192.0.2.500"]"#, "\"192.0.2.500\"", &["192.0.2.500"]),
        fault(
            "an address of the wrong family",
            addresses,
            r#"["192.0.2.50", "02:4e:4c:42:00:07"]"#,
            "\"02:4e",
            &["02:4e:4c:42:00:07", "IPv"],
        ),
        fault("an unknown field", "mode:", "mood:", "mood", &["mood", "mode"]),
        fault("a weight of 0", weight, "weight: Manual(0)", "0)", &["0", "1 to 65535"]),
        fault("a weight of 65536", weight, "weight: Manual(65536)", "65536", &["65536", "65535"]),
        fault("two clusters with one id", "    },\n)\n", second, "7,", &["nlb0", "7"]),
        fault(
            "a short dead_after_ms",
            weight,
            "weight: Manual(100), heartbeat_ms: 100, dead_after_ms: 499",
            "499",
            &["499", "500"],
        ),
        Fault {
            name: "a key file that anybody may read",
            replace: (
                "nlb0.key",
                open_key.file_name().unwrap_or_default().to_string_lossy().into(),
            ),
            at: "\"/",
            says: &["0644", "0600"],
        },
        fault("no RON", "clusters:", "clusters", "", &["allowed"]),
    ]
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn bad_configurations_are_refused_as_a_whole() {
    let spec = ClusterSpec::default();
    Cluster::test(&LabOptions::default(), &spec, &[100], |cluster| {
        let open_key = cluster.lab.folder().join("open.key");
        write_private(&open_key, &ClusterSpec::key_text())?;
        std::fs::set_permissions(&open_key, std::fs::Permissions::from_mode(0o644))?;
        let good = std::fs::read_to_string(cluster.nodes[0].config())?;
        let before = cluster.nodes[0].status()?;
        for fault in faults(&open_key) {
            check(cluster, &good, &fault).with_context(|| fault.name)?;
        }
        // Nothing of all that came through.
        cluster.nodes[0].configure(&good)?;
        cluster.nodes[0].ctl(&["reload"])?;
        let after = cluster.nodes[0].status()?;
        ensure!(after.epoch == before.epoch, "the running daemon took something over");
        ensure!(after.active() && after.rest.get("interfaces") == before.rest.get("interfaces"));
        Ok(())
    });
}

fn check(cluster: &mut Cluster, good: &str, fault: &Fault) -> Result<()> {
    let bad = good.replacen(fault.replace.0, &fault.replace.1, 1);
    ensure!(bad != good, "the fault replaces nothing");
    let node = &mut cluster.nodes[0];
    node.configure(&bad)?;

    // A second daemon refuses to start (in the namespace of another server, which is idle).
    let config = node.config();
    let idle = &cluster.lab.servers[1];
    let nlbd = nlb_tests::binaries::program("nlbd")?;
    let run_dir = cluster.lab.subfolder("idle-run")?;
    let words = [nlbd.as_path(), "--config".as_ref(), &config, "--run-dir".as_ref(), &run_dir];
    let mut words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    words.extend(["--bus", "none"]);
    let output = idle.output(&words)?;
    ensure!(!output.status.success(), "a daemon starts with it");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    check_message(&said, &bad, &config, fault)?;

    // The running one refuses to reload, says the same, and goes on.
    let output = node.nlbctl(&["reload"])?;
    ensure!(!output.status.success(), "a running daemon takes it");
    check_message(&String::from_utf8_lossy(&output.stderr), &bad, &config, fault)?;
    let status = node.status()?;
    ensure!(status.active() && status.buckets_accepted == 4096, "it does not go on: {status:?}");
    node.check_alive()
}

/// The message must give file, line and column of the fault, and say all it has to say.
fn check_message(said: &str, text: &str, file: &Path, fault: &Fault) -> Result<()> {
    for part in fault.says {
        ensure!(said.contains(part), "no word of {part:?}: {said}");
    }
    let prefix = format!("{}:", file.display());
    let place = said.split(&prefix).nth(1).with_context(|| format!("no file named: {said}"))?;
    let mut numbers = place.split([':', ' ']).map(str::parse::<usize>);
    let (Some(Ok(line)), Some(Ok(column))) = (numbers.next(), numbers.next()) else {
        anyhow::bail!("no line and column: {said}");
    };
    let found = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let found: String = found.chars().skip(column.saturating_sub(1)).collect();
    ensure!(found.starts_with(fault.at), "{line}:{column} is {found:?}: {said}");
    Ok(())
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn a_reload_takes_a_good_configuration_over() {
    let spec = ClusterSpec::default();
    Cluster::test(&LabOptions::default(), &spec, &[100, 100], |cluster| {
        let node = &mut cluster.nodes[0];
        let text = std::fs::read_to_string(node.config())?.replace("Manual(100)", "Manual(300)");
        node.configure(&text)?;
        node.ctl(&["reload"])?;
        node.wait_status("the new weight", Duration::from_secs(5), |status| {
            status.node("n1").is_some_and(|node| node.weight == 300 && node.buckets == 1024)
        })?;
        Ok(())
    });
}
