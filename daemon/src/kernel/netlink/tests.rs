//! Messages as bytes, whole and broken, and what the real kernel answers.

use core::net::IpAddr;
use core::time::Duration;

use super::*;
use crate::kernel::clients::{ELEMENTS, client};
use crate::kernel::testing::{in_namespace, nft};

const MODULE: &str = "kernel::netlink::tests";

fn message(kind: u16, family: u8, attributes: &[u8]) -> Vec<u8> {
    request(kind, 0, 7, family, attributes)
}

fn named(table: &str, set: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes, TABLE, &zero_ended(table));
    put(&mut bytes, SET, &zero_ended(set));
    bytes
}

#[test]
fn messages_are_read_one_after_the_other() {
    let mut bytes = message(message::DELSET, INET, &named("nlb", "sticky4.nlb0"));
    bytes.extend(message(message::DELTABLE, NETDEV, &named("nlb_gate", "")));
    bytes.extend(message(message::DELTABLE, NETDEV, &named("nlb", "")));
    let read: Vec<_> = messages(&bytes).collect();
    let kinds: Vec<_> = read.iter().map(|m| (m.nft(), m.is_ours())).collect();
    let (set, table) = (Some(message::DELSET), Some(message::DELTABLE));
    assert_eq!(kinds, [(set, true), (table, true), (table, false)]);
    assert_eq!(read[0].text(SET), Some("sticky4.nlb0"));
    assert_eq!(read[0].attribute(9), None);
    assert_eq!(read.iter().map(|m| m.length().next_multiple_of(4)).sum::<usize>(), bytes.len());
}

/// Whatever the bytes, reading ends, and finds nothing where nothing whole is.
#[test]
fn broken_messages_end_the_datagram() {
    let whole = message(message::DELSET, INET, &named("nlb", "sticky4.nlb0"));
    for length in 0..whole.len() {
        assert_eq!(messages(&whole[..length]).count(), 0, "{length}");
    }
    for at in 0..whole.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut broken = whole.clone();
            broken[at] = value;
            for message in messages(&broken) {
                let _ = (message.nft(), message.is_ours(), message.text(SET), message.errno());
                let _ = message.attribute(ELEMENTS).map(client);
            }
        }
    }
}

#[test]
fn the_kernel_lists_what_nft_put_in() {
    in_namespace(&format!("{MODULE}::the_kernel_lists_what_nft_put_in"), async || {
        let mut query = Query::open().unwrap();
        assert_eq!(query.sticky("s4").await.unwrap(), []);
        assert!(!query.keeps("s4", "10.0.0.1".parse().unwrap()).await.unwrap());
        let empty = query.fingerprint().await.unwrap();
        let many: Vec<String> = (0..3000_u32)
            .map(|n| format!("{} timeout 90s", IpAddr::from((0x0a00_0000 + n).to_be_bytes())))
            .collect();
        let text = format!(
            "add table inet nlb
             add set inet nlb s4 {{ type ipv4_addr; size 65536; flags dynamic,timeout; }}
             add set inet nlb s6 {{ type ipv6_addr; size 65536; flags dynamic,timeout; }}
             add chain inet nlb c
             add rule inet nlb c ip saddr {{ 10.0.0.1, 10.0.0.2 }} update @s4 {{ ip saddr }}
             add element inet nlb s4 {{ {} }}
             add element inet nlb s6 {{ 2001:db8::7 timeout 2500ms }}\n",
            many.join(", ")
        );
        nft(&["-f", "-"], &text).unwrap();
        let all = query.sticky("s4").await.unwrap();
        assert_eq!(all.len(), many.len());
        assert!(all.iter().all(|(_, left)| (80..=90).contains(&left.as_secs())));
        let [(address, left)] = query.sticky("s6").await.unwrap()[..] else { panic!("one") };
        assert_eq!(address, "2001:db8::7".parse::<IpAddr>().unwrap());
        assert!(left > Duration::from_secs(1) && left <= Duration::from_millis(2500), "{left:?}");
        assert!(query.keeps("s4", "10.0.0.1".parse().unwrap()).await.unwrap());
        assert!(!query.keeps("s4", "10.9.9.9".parse().unwrap()).await.unwrap());
        assert!(query.keeps("s6", "2001:db8::7".parse().unwrap()).await.unwrap());

        let full = query.fingerprint().await.unwrap();
        assert_ne!(full, empty);
        // Elements come and go; other people's tables are nothing to us.
        let other = "flush set inet nlb s4\nadd table inet other\nadd chain inet other c\n";
        nft(&["-f", "-"], other).unwrap();
        assert_eq!(query.fingerprint().await.unwrap(), full);
        for change in
            ["add rule inet nlb c accept", "add chain inet nlb d", "delete set inet nlb s6"]
        {
            let before = query.fingerprint().await.unwrap();
            nft(&["-f", "-"], &format!("{change}\n")).unwrap();
            assert_ne!(query.fingerprint().await.unwrap(), before, "{change}");
        }
    });
}
