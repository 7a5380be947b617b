//! A journald that hangs: what the daemon says waits for it, and nothing else does.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nlb_tests::binaries;
use nlb_tests::cluster::Cluster;
use nlb_tests::lab::LabOptions;
use nlb_tests::spec::ClusterSpec;
use nlb_tests::wait::wait_until;

const LIMIT: Duration = Duration::from_secs(10);

/// Starts the daemon as systemd does whose journal has its socket in this folder.
fn wrapper(folder: &Path) -> Result<std::path::PathBuf> {
    let (path, nlbd) = (folder.join("with-journal"), binaries::program("nlbd")?);
    let (folder, nlbd) = (folder.display(), nlbd.display());
    let text = format!(
        "#!/bin/sh\n\
         exec 2>{folder}/stderr\n\
         JOURNAL_STREAM=$(stat -L -c %d:%i {folder}/stderr)\n\
         export JOURNAL_STREAM\n\
         exec unshare --mount sh -c 'mount -t tmpfs none /run && mkdir -p /run/systemd/journal &&\n\
         ln -s {folder}/journal /run/systemd/journal/socket && exec {nlbd} \"$@\"' sh \"$@\"\n"
    );
    std::fs::write(&path, text)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

#[test]
#[ignore = "runs in network namespaces: cargo xtask test"]
fn a_journal_that_nobody_reads_holds_up_neither_repairs_nor_heartbeats() {
    let options = LabOptions { servers: 2, ..LabOptions::default() };
    Cluster::test(&options, &ClusterSpec::default(), &[100, 100], |cluster| {
        let server = cluster.lab.servers[0].clone();
        let folder = cluster.lab.subfolder("journal")?;
        // Two lines find room in its socket; whoever writes a third waits.
        server.set_sysctl("net/unix/max_dgram_qlen", "1")?;
        let path = folder.join("journal");
        let journal = server.run(move || UnixDatagram::bind(path))??;
        cluster.nodes[0].terminate(LIMIT)?;
        cluster.nodes[0].program = Some(wrapper(&folder)?);
        cluster.nodes[0].start()?;
        cluster.wait_settled(2)?;
        ensure!(std::fs::read_to_string(folder.join("stderr"))?.is_empty());
        let (late, heard) = (cluster.nodes[0].too_late()?, cluster.nodes[1].log().len());
        for _ in 0..5 {
            server.sh("nft flush ruleset")?;
            let flushed = Instant::now();
            wait_until("the rules", LIMIT, || {
                server.sh("nft list ruleset").is_ok_and(|rules| rules.contains("nlb_gate"))
            })?;
            let took = flushed.elapsed();
            ensure!(took < Duration::from_secs(1), "the repair took {took:?}");
            cluster.wait_settled(2)?;
        }
        ensure!(cluster.nodes[0].too_late()? == late, "it lost its rights");
        let log = cluster.nodes[1].log();
        ensure!(!log[heard..].contains("n1"), "{log}");
        // Everything was kept for whoever reads at last.
        journal.set_read_timeout(Some(LIMIT))?;
        let (mut text, mut line) = (String::new(), [0; 4096]);
        let all = ["nlbd starts", "NLB_CLUSTER", "somebody changed nlbd's nftables rules"];
        while !all.iter().all(|words| text.contains(words)) {
            let length = journal.recv(&mut line)?;
            text += &String::from_utf8_lossy(&line[..length]);
        }
        Ok(())
    });
}
