//! More changes than the watch can hold, and among them one of ours.

use super::*;
use crate::kernel::watch::{Heard, Touched, Watch};

/// So many times are so many addresses put into a set of somebody else's and taken out: more than
/// the watch's buffer takes.
const TIMES: usize = 100;
const ADDRESSES: u32 = 2000;

#[test]
fn what_is_lost_in_an_overrun_is_told() {
    in_namespace(&format!("{MODULE}::overrun::what_is_lost_in_an_overrun_is_told"), async || {
        let kept = clients(3);
        let (mut applier, listing) =
            with_cluster(KernelPlan { remember: kept.clone(), ..plan(1, [7]) }).await;
        let mut watch = Watch::open().unwrap();
        let set = "add table inet other\nadd set inet other s { type ipv4_addr; }\n";
        nft(&["-f", "-"], set).unwrap();
        let all: Vec<String> = clients(ADDRESSES).iter().map(ToString::to_string).collect();
        let all = all.join(", ");
        let change =
            format!("add element inet other s {{ {all} }}\nflush set inet other s\n").repeat(2);
        // The applier is a task of this thread: it reads nothing meanwhile.
        for _ in 0..TIMES / 2 {
            nft(&["-f", "-"], &change).unwrap();
        }
        nft(&["flush", "ruleset"], "").unwrap();
        assert_eq!(watch.next().await.unwrap(), Heard::Overrun, "too little was changed");
        let mut lost = false;
        loop {
            match applier.next().await {
                KernelEvent::StickyLost { cluster } if cluster == "nlb0" => lost = true,
                KernelEvent::Repaired { .. } => break,
                event => panic!("{event:?}"),
            }
        }
        assert!(lost, "clients that are gone were not told of");
        assert_eq!(tables(), listing);
        applier.apply(KernelPlan { remember: kept.clone(), ..plan(2, [7]) }).await;
        assert_eq!(applier.clients().await, kept);

        // What comes later is heard as ever, and nothing from before is taken for a part of it.
        while !matches!(watch.next().await.unwrap(), Heard::Committed { .. }) {}
        while tokio::time::timeout(QUIET, watch.next()).await.is_ok() {}
        nft(&["add", "table", "inet", "third"], "").unwrap();
        let heard = watch.next().await.unwrap();
        let Heard::Committed { touched, .. } = heard else { panic!("{heard:?}") };
        assert_eq!(touched, Touched::default());
    });
}

/// Longer than reports of what has been done are on their way.
const QUIET: core::time::Duration = core::time::Duration::from_millis(100);
