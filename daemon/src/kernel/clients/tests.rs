//! Against the real kernel.

use tokio::time::Instant;

use super::*;
use crate::kernel::testing::{in_namespace, nft};

const MODULE: &str = "kernel::clients::tests";

/// A listing that the kernel's collection of expired elements disturbs leaves out clients that it
/// keeps. Whoever goes on with them must know them all.
#[test]
fn nobody_is_left_out_while_expired_clients_are_collected() {
    let name = "nobody_is_left_out_while_expired_clients_are_collected";
    in_namespace(&format!("{MODULE}::{name}"), async || {
        const KEPT: u32 = 15_000;
        let clients = |from: u32, timeout: &str| {
            let each = (0..KEPT).map(|n| IpAddr::from((from + n).to_be_bytes()));
            let each: Vec<String> = each.map(|ip| format!("{ip} timeout {timeout}")).collect();
            format!("add element inet nlb s4 {{ {} }}\n", each.join(", "))
        };
        let text = "add table inet nlb
             add set inet nlb s4 { type ipv4_addr; size 65536; flags dynamic,timeout; gc-interval 1s; }\n";
        nft(&["-f", "-"], &(text.to_owned() + &clients(0x0a00_0000, "1h"))).unwrap();
        let mut query = Query::open().unwrap();
        let start = Instant::now();
        let mut disturbed = 0;
        // Not every collection falls into the first of the listings; a kernel to come may leave
        // nobody out.
        while disturbed < 2 && start.elapsed() < Duration::from_secs(30) {
            nft(&["-f", "-"], &clients(0x0b00_0000, "10ms")).unwrap();
            let collected = Instant::now() + Duration::from_millis(1500);
            while Instant::now() < collected {
                let once = query.listing("s4").await.unwrap();
                disturbed += usize::from(once.len() < KEPT as usize);
                let all = query.sticky("s4").await.unwrap();
                let kept = all.iter().filter(|(_, left)| *left > Duration::from_secs(1));
                assert_eq!(kept.count(), KEPT as usize);
            }
        }
    });
}
