//! Metrics of real daemons: over the socket as every user, over TCP where the configuration says
//! so, and moved by what happens.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nlb_tests::cluster::Cluster;
use nlb_tests::lab::LabOptions;
use nlb_tests::load::{Load, LoadSpec, Summary};
use nlb_tests::node::Node;
use nlb_tests::spec::ClusterSpec;
use nlb_tests::wait::wait_for;

const LIMIT: Duration = Duration::from_secs(15);

/// The samples of a page: name with labels, and value.
fn samples(page: &str) -> Result<BTreeMap<String, f64>> {
    ensure!(page.ends_with("# EOF\n"), "the page is not complete:\n{page}");
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').with_context(|| line.to_owned())?;
            Ok((name.to_owned(), value.parse()?))
        })
        .collect()
}

fn of(node: &Node) -> Result<BTreeMap<String, f64>> {
    samples(&node.ctl(&["metrics"])?)
}

fn value(samples: &BTreeMap<String, f64>, name: &str) -> Result<f64> {
    samples.get(name).copied().with_context(|| format!("no {name}: {samples:?}"))
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn metrics_follow_what_happens() {
    let spec = ClusterSpec::default();
    Cluster::test(&LabOptions::default(), &spec, &[100, 300], |cluster| {
        let before = of(&cluster.nodes[0])?;
        ensure!(value(&before, "nlbd_converged{cluster=\"nlb0\"}")? == 1.0);
        ensure!(value(&before, "nlbd_buckets_accepted{cluster=\"nlb0\"}")? == 3072.0);
        ensure!(value(&before, "nlbd_buckets_owned{cluster=\"nlb0\"}")? == 3072.0);
        ensure!(value(&before, "nlbd_weight{cluster=\"nlb0\"}")? == 100.0);
        ensure!(value(&before, "nlbd_peers{cluster=\"nlb0\",state=\"active\"}")? == 1.0);

        let load = LoadSpec { rate: 200, count: Some(200), ..LoadSpec::default() };
        let sum = Summary::of(&Load::run(&cluster.lab.client, &load)?);
        ensure!(sum.failed == 0, "{sum}");
        let admitted = "nlbd_packets_admitted_total{cluster=\"nlb0\"}";
        let heard = "nlbd_heartbeats_received_total{cluster=\"nlb0\"}";
        let node = &cluster.nodes[0];
        let status = || of(node).map_err(|error| format!("{error:#}"));
        wait_for("the numbers to rise", LIMIT, || {
            let now = status()?;
            let more = |name: &str| now.get(name) > before.get(name);
            let clients = now.get("nlbd_clients{cluster=\"nlb0\"}").is_some_and(|n| *n > 0.0);
            let all = more(admitted) && more(heard) && clients;
            if all { Ok(()) } else { Err(format!("{now:?}")) }
        })?;

        // What the kernel took and left to the other adds up, and is the same in packets and bytes.
        let fates = |node: &Node| -> Result<[f64; 3]> {
            let now = of(node)?;
            let fate = |what: &str, fate: &str| {
                value(
                    &now,
                    &format!("nlbd_kernel_{what}_total{{cluster=\"nlb0\",fate=\"{fate}\"}}"),
                )
            };
            let taken = fate("packets", "known")? + fate("packets", "admitted")?;
            let bytes = fate("bytes", "known")? + fate("bytes", "admitted")?;
            ensure!(bytes >= taken * 20.0, "{taken} packets have {bytes} bytes");
            ensure!(fate("packets", "no_lease")? == 0.0 && fate("packets", "unasked")? == 0.0);
            Ok([taken, fate("packets", "foreign")? + fate("packets", "pinned")?, bytes])
        };
        let (first, second) = (fates(&cluster.nodes[0])?, fates(&cluster.nodes[1])?);
        // Each connection is some packets, each of which one takes and the other leaves.
        ensure!(first[0] > 200.0 && second[0] > 50.0, "{first:?} {second:?}");
        for (taken, left) in [(first[0], second[1]), (second[0], first[1])] {
            ensure!((taken - left).abs() <= taken * 0.02 + 5.0, "{first:?} {second:?}");
        }

        let agreed = "nlbd_convergence_seconds_count{cluster=\"nlb0\"}";
        cluster.nodes[1].kill()?;
        let node = &cluster.nodes[0];
        wait_for("the takeover", LIMIT, || {
            let now = of(node).map_err(|error| format!("{error:#}"))?;
            let alone = now.get("nlbd_buckets_owned{cluster=\"nlb0\"}") == Some(&4096.0);
            let told = now.get(agreed) > before.get(agreed);
            if alone && told { Ok(()) } else { Err(format!("{now:?}")) }
        })?;
        // Who died is told of until it is back.
        let output = cluster.nodes[0].nlbctl(&["status"])?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.code() == Some(5), "{said}");
        ensure!(
            said.starts_with("nlb0: NOT all is well.\n  ! n2 has not been heard for "),
            "{said}"
        );
        ensure!(said.contains("(lost; it was active)"), "{said}");
        ensure!(value(&of(&cluster.nodes[0])?, "nlbd_lost_nodes{cluster=\"nlb0\"}")? == 1.0);
        cluster.nodes[1].start()?;
        cluster.wait_settled(2)?;
        let said = cluster.nodes[0].ctl(&["status"])?;
        ensure!(said.starts_with("nlb0: all is well"), "{said}");
        // Who leaves is not lost.
        cluster.nodes[1].ctl(&["leave"])?;
        cluster.nodes[0].wait_status("one node", LIMIT, |status| status.nodes.len() == 1)?;
        let said = cluster.nodes[0].ctl(&["status"])?;
        ensure!(said.contains("one node serves alone"), "{said}");
        cluster.nodes[1].ctl(&["reload"])?;
        cluster.wait_settled(2)?;
        sockets_come_back(&cluster.nodes[0])
    });
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn scrapers_come_by_socket_and_by_tcp() {
    let spec = ClusterSpec::default();
    Cluster::test(&LabOptions::default(), &spec, &[100], |cluster| {
        let node = &cluster.nodes[0];
        let socket = node.run_dir().join("metrics");
        let socket = socket.to_str().context("path")?;
        let url = "http://127.0.0.1:9187/metrics";
        let curl = |words: &[&str]| {
            let mut all = vec!["curl", "-sS", "--max-time", "5"];
            all.extend(words);
            node.namespace.output(&all)
        };
        let page = curl(&["-f", "--unix-socket", socket, "http://nlbd/metrics"])?;
        ensure!(page.status.success(), "{}", String::from_utf8_lossy(&page.stderr));
        samples(&String::from_utf8_lossy(&page.stdout))?;
        let other = curl(&["-f", "--unix-socket", socket, "http://nlbd/"])?;
        ensure!(!other.status.success(), "there is something at /");
        ensure!(!curl(&["-f", url])?.status.success(), "TCP without being told");

        let own = std::fs::read_to_string(node.config())?;
        let with = own.replacen("(\n", "(\n    metrics: (listen: \"127.0.0.1:9187\"),\n", 1);
        node.configure(&with)?;
        let said = node.ctl(&["reload"])?;
        ensure!(said.contains("metrics: listen off -> 127.0.0.1:9187"), "{said}");
        wait_for("the metrics over TCP", LIMIT, || {
            let page = curl(&["-f", url]).map_err(|error| error.to_string())?;
            let text = String::from_utf8_lossy(&page.stdout).into_owned();
            if page.status.success() {
                samples(&text).map(drop).map_err(|e| e.to_string())
            } else {
                Err(String::from_utf8_lossy(&page.stderr).into_owned())
            }
        })?;
        node.configure(&own)?;
        node.ctl(&["reload"])?;
        wait_for("nothing over TCP", LIMIT, || match curl(&["-f", url]) {
            Ok(page) if !page.status.success() => Ok(()),
            _ => Err("it still answers".to_owned()),
        })
    });
}

/// What is removed from the run directory is there again, and said once.
fn sockets_come_back(node: &Node) -> Result<()> {
    for name in ["org.nlbd.Cluster", "metrics"] {
        std::fs::remove_file(node.run_dir().join(name))?;
    }
    wait_for("the sockets", LIMIT, || {
        let both = node.ctl(&["status"]).and_then(|_| of(node));
        both.map_err(|error| format!("{error:#}"))
    })?;
    for words in ["somebody removed the management socket", "somebody removed the socket of the"] {
        let said = node.log().matches(words).count();
        ensure!(said == 1, "{words}: said {said} times");
    }
    Ok(())
}
