//! `cargo xtask demo --hold`: the cluster stays up, and the reader takes over.

use std::time::Duration;

use anyhow::Result;
use nix::unistd::geteuid;
use nlb_tests::binaries;
use nlb_tests::lab::{SERVICE4, SERVICE6, source4, source6};
use nlb_tests::netns::Namespace;

use super::show::Show;
use crate::userns;

/// Starts everything, says what can be tried, and waits for Ctrl-C.
pub(crate) fn run(show: &mut Show) -> Result<()> {
    show.open()?;
    show.scene("Clients come", Duration::from_secs(3), |_| Ok(()))?;
    let text = guide(show)?;
    show.screen.say(&text);
    while !show.stop.is_set() {
        show.stop.pause(Duration::from_secs(3600));
    }
    Ok(())
}

/// The command that runs another one inside a namespace, from any terminal.
fn enter(namespace: &Namespace) -> String {
    let path = namespace.path();
    if userns::inside() {
        let pid = std::process::id();
        format!("nsenter -t {pid} -U --preserve-credentials --net={}", path.display())
    } else if geteuid().is_root() {
        format!("nsenter --net={}", path.display())
    } else {
        format!("sudo nsenter --net={}", path.display())
    }
}

fn guide(show: &Show) -> Result<String> {
    let lab = &show.cluster.lab;
    let ctl = binaries::program("nlbctl")?;
    let ctl = |index: usize| {
        format!("{} --run-dir {}", ctl.display(), show.cluster.nodes[index].run_dir().display())
    };
    let mut text = String::from(
        "\nEverything stays up, clients included, until you press Ctrl-C here.\n\
         In another terminal:\n\n",
    );
    for server in &lab.servers {
        text += &format!("  a shell on {:10} {} bash\n", server.name(), enter(server));
    }
    text += &format!("  a shell on {:10} {} bash\n", "the client", enter(&lab.client));
    text += &format!("  a shell on {:10} {} bash\n\n", "the switch", enter(&lab.switch));
    let client = enter(&lab.client);
    let pid = show.cluster.nodes[1].pid()?;
    for (what, command) in [
        ("how is the cluster?", format!("{} status", ctl(0))),
        ("who takes this client, and why?", format!("{} explain {}", ctl(0), source4(8))),
        (
            "be that client",
            format!("{client} curl -s --interface {} http://{SERVICE4}/", source4(8)),
        ),
        (
            "be another one",
            format!("{client} curl -s --interface {} http://[{SERVICE6}]/", source6(9)),
        ),
        ("give n1 half of its traffic", format!("{} set_weight nlb0 200", ctl(0))),
        ("let n3 leave", format!("{} leave nlb0", ctl(2))),
        ("hang n2; its kernel takes no client from then on", format!("kill -STOP {pid}")),
        ("let it go on", format!("kill -CONT {pid}")),
        ("flush all rules of n1", format!("{} nft flush ruleset", enter(&lab.servers[0]))),
        (
            "see the heartbeats",
            format!("{} tcpdump -c 20 -qni br0 ether proto 0x88b5", enter(&lab.switch)),
        ),
    ] {
        text += &format!("  {what}\n      {command}\n");
    }
    Ok(text)
}
