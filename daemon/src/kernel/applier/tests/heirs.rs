//! A process that goes on with what another one left in the kernel (SPEC 6.11.3).

use super::*;

/// Runs an applier that ends without a word, as that of a process that crashes or restarts.
fn earlier(life: impl AsyncFnOnce() + Send) {
    std::thread::scope(|scope| {
        let body = || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build().unwrap().block_on(life());
        };
        scope.spawn(body).join().unwrap();
    });
}

fn on_two() -> ClusterRules {
    let interfaces = vec![Interface::new("lan0", 7).unwrap(), Interface::new("lan1", 8).unwrap()];
    let addresses = vec!["192.0.2.60".parse().unwrap()];
    ClusterRules { interfaces, addresses, ..rules("nlb0", 2) }
}

#[test]
fn what_nobody_goes_on_with_goes_with_the_first_rules() {
    let name = "what_nobody_goes_on_with_goes_with_the_first_rules";
    in_namespace(&format!("{MODULE}::heirs::{name}"), async || {
        ip("link add lan1 index 8 type veth peer name peer1");
        let kept = clients(3);
        earlier(async || {
            let mut applier = Applier::start().await;
            applier.set(rules("old", 1), plan(1, [1]));
            applier.applied(1).await;
            let remember = clients(3);
            applier.set(on_two(), KernelPlan { remember, ..plan(2, [2]) });
            applier.applied(2).await;
        });
        let listing = || nft(&["list", "ruleset"], "").unwrap();
        assert!(listing().contains("in.old.7.lan0") && listing().contains("in.nlb0.8.lan1"));

        // The old cluster has another name now. The chains that it left drop what is for it.
        let mut applier = Applier::go_on(["nlb0"]).await;
        applier.set(rules("new", 1), plan(3, [3]));
        let (before, _) = applier.applied(3).await;
        assert_eq!(before, []);
        assert!(!listing().contains(".old"), "{}", listing());
        assert!(listing().contains("in.nlb0.8.lan1"), "a cluster that was not set yet stays");
        assert_eq!(applier.clients().await, kept);

        // The other one is not served on one of its interfaces any more.
        let rules = ClusterRules { interfaces: rules("x", 1).interfaces, ..on_two() };
        applier.set(rules, plan(4, [4]));
        let (before, _) = applier.applied(4).await;
        assert_eq!(before, []);
        assert!(!listing().contains("lan1"), "{}", listing());
        assert_eq!(applier.clients().await, kept);

        // Nothing is left that would keep a cluster from going.
        applier.handle.remove_cluster("nlb0");
        until("the cluster to be gone", || !listing().contains(".nlb0")).await;
        let new = nft(&["list", "set", "inet", "nlb", "filter.new"], "").unwrap();
        assert!(new.contains("0x00000003"), "{new}");
        applier.handle.shutdown().await;
        assert_eq!(listing(), "");
    });
}
