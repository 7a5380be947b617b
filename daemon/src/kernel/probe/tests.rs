//! Probing on the machine at hand: whatever it can do, nothing is left behind.

use super::*;
use crate::kernel::testing::{in_namespace, nft};

#[test]
fn probing_finds_a_way_and_leaves_nothing() {
    in_namespace("kernel::probe::tests::probing_finds_a_way_and_leaves_nothing", async || {
        let found = probe().await.unwrap();
        assert!(found.nft_version.contains("nftables"), "{found:?}");
        assert_eq!(nft(&["list", "ruleset"], "").unwrap(), "");
    });
}

#[test]
fn what_the_kernel_refuses_is_said_in_its_own_words() {
    let name = "kernel::probe::tests::what_the_kernel_refuses_is_said_in_its_own_words";
    in_namespace(name, async || {
        let nft = tool::find("nft").unwrap();
        let reason = attempt(&nft, &["add table inet T\nadd rule inet T c accept\n"]).await;
        assert!(reason.unwrap_err().contains("No such file or directory"));
    });
}
