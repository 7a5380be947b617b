//! What is heard of changes that nft makes.

use super::*;
use crate::kernel::testing::in_namespace;
use crate::kernel::tool;

async fn change(watch: &mut Watch, text: &str) -> Touched {
    let nft = tool::find("nft").unwrap();
    let running = tool::Running::start(&nft, &["-f", "-"], format!("{text}\n")).unwrap();
    let id = running.id().unwrap();
    running.finish().await.unwrap();
    match watch.next().await.unwrap() {
        Heard::Committed { port, touched } => {
            assert_eq!(port, id, "a change is known by the process that made it");
            touched
        }
        Heard::Overrun => panic!("overrun"),
    }
}

#[test]
fn every_transaction_is_heard_with_what_it_touched() {
    let name = "kernel::watch::tests::every_transaction_is_heard_with_what_it_touched";
    in_namespace(name, async || {
        let mut watch = Watch::open().unwrap();
        let nothing = Touched::default();
        let rules = Touched { rules: true, ..nothing.clone() };
        assert_eq!(change(&mut watch, "add table inet other").await, nothing);
        assert_eq!(change(&mut watch, "add table ip nlb").await, nothing);
        assert_eq!(change(&mut watch, "add table inet nlb").await, rules);
        assert_eq!(change(&mut watch, "add table arp nlb").await, rules);
        assert_eq!(change(&mut watch, "delete table arp nlb").await, rules, "not the stage");
        let set = "add set inet nlb s { type mark; }\nadd element inet nlb s { 1, 2 }";
        assert_eq!(change(&mut watch, set).await, rules);
        let lost = Touched { lost: ["s".to_owned()].into(), ..rules.clone() };
        assert_eq!(change(&mut watch, "delete element inet nlb s { 1 }").await, lost);
        // A lease that is extended for a restart changes no rule.
        let lease = "add table netdev nlb_gate\nadd set netdev nlb_gate lease.nlb0 { type iface_index; \
                     size 64; flags dynamic,timeout; }";
        assert_eq!(change(&mut watch, lease).await, rules);
        let longer = "add element netdev nlb_gate lease.nlb0 { \"lo\" timeout 9s }";
        assert_eq!(change(&mut watch, longer).await, nothing);
        assert_eq!(change(&mut watch, "flush set netdev nlb_gate lease.nlb0").await, nothing);
        let many: Vec<String> = (0..500).map(|n| n.to_string()).collect();
        let many = many.join(", ");
        let text = format!("add element inet nlb s {{ {many} }}\nflush set inet nlb s");
        assert_eq!(change(&mut watch, &text).await, lost);
        assert_eq!(change(&mut watch, "add table ip raw").await, Touched { raw: true, ..nothing });
        let gone = ["lease.nlb0", "s"].map(str::to_owned).into();
        let all = Touched { stage: true, raw: true, lost: gone, ..lost };
        assert_eq!(change(&mut watch, "flush ruleset").await, all);
    });
}
