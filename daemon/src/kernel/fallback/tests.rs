//! The chain in the raw tables: from every state of a table to the wanted one.

use super::*;

const EMPTY: &str = "-P PREROUTING ACCEPT\n-P OUTPUT ACCEPT\n";

fn installed(queues: &[u16]) -> String {
    format!("{EMPTY}-N NLBD\n-A PREROUTING -j NLBD\n{}", chain(queues))
}

#[test]
fn the_chain_asks_about_every_mark_once() {
    assert_eq!(
        change(EMPTY, &[5]),
        "*raw
:NLBD - [0:0]
-A NLBD -m mark --mark 0x4e000051 -j MARK --set-xmark 0x4e000059/0xffffffff
-A NLBD -m mark --mark 0x4e000059 -j NFQUEUE --queue-num 5
-A NLBD -m mark --mark 0x4e000052 -j MARK --set-xmark 0x4e00005a/0xffffffff
-A NLBD -m mark --mark 0x4e00005a -j NFQUEUE --queue-num 5
-A NLBD -m mark --mark 0x4e000053 -j MARK --set-xmark 0x4e00005b/0xffffffff
-A NLBD -m mark --mark 0x4e00005b -j NFQUEUE --queue-num 5
-I PREROUTING 1 -j NLBD
COMMIT
"
    );
}

#[test]
fn what_is_right_is_left_alone() {
    assert_eq!(change(EMPTY, &[]), "");
    assert_eq!(change(&installed(&[1, 2]), &[1, 2]), "");
    let others = format!("{}-A PREROUTING -s 10.0.0.1/32 -j ACCEPT\n", installed(&[1]));
    assert_eq!(change(&others, &[1]), "");
}

#[test]
fn only_our_own_rules_go() {
    let doubled = installed(&[1]).replace("-j NLBD\n", "-j NLBD\n-A PREROUTING -j NLBD\n");
    assert_eq!(
        change(&doubled, &[]),
        "*raw\n:NLBD - [0:0]\n-D PREROUTING -j NLBD\n-D PREROUTING -j NLBD\n-X NLBD\nCOMMIT\n"
    );
    let orphan = format!("{EMPTY}-N NLBD\n");
    assert_eq!(change(&orphan, &[]), "*raw\n:NLBD - [0:0]\n-X NLBD\nCOMMIT\n");
}

#[test]
fn what_was_changed_is_noticed() {
    let right = installed(&[1]);
    for (what, listing) in [
        ("another queue", installed(&[2])),
        ("a rule less", right.replacen("-A NLBD -m mark", "-A OTHER -m mark", 1)),
        ("no jump", right.replace("-A PREROUTING -j NLBD\n", "")),
        (
            "a rule before the jump",
            right.replace("-A PREROUTING", "-A PREROUTING -j X\n-A PREROUTING"),
        ),
        ("nothing at all", EMPTY.to_owned()),
    ] {
        assert!(!is_right(&listing, &[1]), "{what}");
        assert!(change(&listing, &[1]).ends_with("-I PREROUTING 1 -j NLBD\nCOMMIT\n"), "{what}");
    }
}
