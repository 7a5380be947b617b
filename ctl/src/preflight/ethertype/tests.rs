use super::*;
use crate::preflight::Level;

/// The first bytes of a heartbeat of cluster 7 in an Ethernet frame.
fn frame(ethertype: u16, last: u8) -> Vec<u8> {
    let mut frame = vec![0x03, 0x4e, 0x4c, 0x48, 0, 7, 2, 0x10, 0, 0, 0, last];
    frame.extend(ethertype.to_be_bytes());
    frame.extend([b'N', b'L', 1, 1, 0, 7]);
    frame
}

fn cluster(ethertype: u16) -> Cluster {
    let text = include_str!("../../../tests/old-status.json");
    let status: nlb_varlink::Status = serde_json::from_str(text).expect("a status");
    let mut cluster = status.clusters.into_iter().next().expect("a cluster");
    (cluster.id, cluster.ethertype) = (7, ethertype);
    cluster
}

#[test]
fn frames_are_known_by_what_they_begin_with() {
    let source = [2, 0x10, 0, 0, 0, 2];
    let good = frame(0x88b6, 2);
    assert_eq!(heard(&good), Some(Heard { id: 7, ethertype: 0x88b6, source }));
    for length in 0..good.len() {
        assert_eq!(heard(&good[..length]), None, "{length} bytes");
    }
    for at in [0, 3, 14, 15] {
        let mut other = good.clone();
        other[at] ^= 1;
        assert_eq!(heard(&other), None, "byte {at}");
    }
}

#[test]
fn who_is_meant_depends_on_what_is_served() {
    let all: BTreeSet<_> = [(0x88b5, 1), (0x88b5, 2), (0x88b6, 3), (0x88b6, 4)]
        .iter()
        .filter_map(|(ethertype, last)| heard(&frame(*ethertype, *last)))
        .collect();
    let own = Some([2, 0x10, 0, 0, 0, 1]);
    let judged = |clusters: &[&Cluster], id| {
        let findings = judge("eth0", own, &all, clusters, id, 3);
        findings.into_iter().map(|found| (found.level, found.found)).collect::<Vec<_>>()
    };
    let words = "02:10:00:00:00:03, 02:10:00:00:00:04: heartbeats of";
    let usual = cluster(0x88b5);
    let served = format!("{words} nlb0 under ethertype 0x88b6; this server uses 0x88b5");
    assert_eq!(judged(&[&usual], None), [(Level::Fail, served)]);
    // Seen from the other side.
    let fails = judged(&[&cluster(0x88b6)], None);
    assert!(matches!(&fails[..], [(Level::Fail, text)] if text.starts_with("02:10:00:00:00:02: ")));
    // Nothing is served yet: what one would have to know.
    let join = (Level::Warn, format!("{words} cluster 7 under ethertype 0x88b6"));
    assert_eq!(judged(&[], None), core::slice::from_ref(&join));
    assert_eq!(judged(&[], Some(7)), [join]);
    // Somebody else's cluster.
    let nothing = (Level::Ok, "no server with another ethertype was heard in 3 s".to_owned());
    assert_eq!(judged(&[], Some(8)), core::slice::from_ref(&nothing));
    let mut other = usual;
    other.id = 8;
    assert_eq!(judged(&[&other], None), [nothing]);
}
