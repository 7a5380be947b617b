//! What is not plain TCP from next door: path-MTU errors, fragments, UDP.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use nlb_tests::cluster::Cluster;
use nlb_tests::lab::{LabOptions, SERVICE4, SERVICE6, source4, source6};
use nlb_tests::load::service_of;
use nlb_tests::probe::ask;
use nlb_tests::spec::ClusterSpec;
use nlb_tests::wait::wait_for;

nlb_tests::on_both_paths!(
    path_mtu_errors_reach_the_node_of_the_client,
    fragments_of_a_datagram_reach_one_node,
    name_service_works,
);

const WEIGHTS: [u16; 3] = [100, 100, 100];
const MEMBERS: [(usize, u16); 3] = [(1, 100), (2, 100), (3, 100)];

fn path_mtu_errors_reach_the_node_of_the_client(offload: bool) {
    let spec = ClusterSpec::default().offload(offload);
    let options = LabOptions { router: true, ..LabOptions::default() };
    Cluster::test(&options, &spec, &WEIGHTS, |cluster| {
        let (_, far) = cluster.lab.router.clone().context("no router")?;
        // The errors come from the router: by its address they would go to its own node.
        for (router, prefix) in [("192.0.2.254", "203.0.113."), ("2001:db8::fe", "2001:db8:71::")] {
            let of_router = cluster.owner(router.parse()?, &MEMBERS);
            let mut others = 0;
            for last in 2..10 {
                let client: IpAddr = format!("{prefix}{last}").parse()?;
                if client.is_ipv4() && last > 2 {
                    far.ip(&format!("addr add {client}/24 dev eth0"))?;
                } else if last > 2 {
                    far.ip(&format!("addr add {client}/64 dev eth0 nodad"))?;
                }
                others += usize::from(cluster.owner(client, &MEMBERS) != of_router);
                // A body far wider than the narrow link, sent in full-sized segments.
                let url = match service_of(client) {
                    IpAddr::V4(service) => format!("http://{service}/200000"),
                    IpAddr::V6(service) => format!("http://[{service}]/200000"),
                };
                let said = far.sh(&format!("curl -sS -m 5 --interface {client} {url}"))?;
                let owner = cluster.owner(client, &MEMBERS).context("owner")?;
                ensure!(said.starts_with(&format!("n{owner}\n")), "{client}: {said:.20}");
                ensure!(said.len() == 200_003, "{client} got {} bytes", said.len());
            }
            ensure!(others >= 2, "every client shares the router's node: this shows nothing");
        }
        let ledger = cluster.watcher.ledger();
        for service in [IpAddr::from(SERVICE4), SERVICE6.into()] {
            let errors = ledger.too_big.get(&service).copied().unwrap_or(0);
            ensure!(errors > 0, "no path-MTU error was sent to {service}: this shows nothing");
        }
        Ok(())
    });
}

fn fragments_of_a_datagram_reach_one_node(offload: bool) {
    let spec = ClusterSpec::default().offload(offload);
    Cluster::test(&LabOptions::default(), &spec, &WEIGHTS, |cluster| {
        for index in 0..20 {
            for source in [source4(index), source6(index)] {
                let owner = cluster.owner(source, &MEMBERS).context("owner")?;
                for length in [4000, 20_000] {
                    let said = ask(&cluster.lab.client, source, length)
                        .with_context(|| format!("{length} bytes of {source}"))?;
                    ensure!(said == format!("n{owner} {length}"), "{source}: {said}");
                }
            }
        }
        wait_for("later fragments", Duration::from_secs(5), || {
            let fragments = cluster.watcher.ledger().fragments;
            if fragments >= 20 * 2 * (2 + 13) { Ok(()) } else { Err(format!("{fragments}")) }
        })
    });
}

fn name_service_works(offload: bool) {
    let spec = ClusterSpec::default().offload(offload);
    Cluster::test(&LabOptions::default(), &spec, &WEIGHTS, |cluster| {
        let mut servers = BTreeSet::new();
        for index in 0..12 {
            for source in [source4(index), source6(index)] {
                let service = service_of(source);
                let said = cluster.lab.client.sh(&format!(
                    "dig +short +tries=1 +time=2 -b {source} @{service} TXT whoami.example"
                ))?;
                let owner = cluster.owner(source, &MEMBERS).context("owner")?;
                ensure!(said.trim() == format!("\"n{owner}\""), "{source}: {said}");
                servers.insert(said);
            }
        }
        ensure!(servers.len() == 3, "only {servers:?} answered");
        Ok(())
    });
}
