//! What a client costs in memory, seen from outside: resident pages of this process, so the only
//! test here.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use nlb_engine::{
    ClientPacket, Config, Engine, Limits, PacketId, Time, Timing, Verdict, make_table,
};
use nlb_protocol::{ClusterId, Incarnation, NodeId, Weight};

const CLIENTS: u32 = 200_000;
/// Bytes that a client may cost its node and, when it is handed over, in addition the log of its
/// node and the copy of one other together.
const MOST: usize = 64;

fn engine(node: u64, now: Time) -> Engine {
    let config = Config {
        cluster: ClusterId(1),
        node: NodeId(node),
        incarnation: Incarnation(node),
        name: format!("n{node}"),
        software: "test".to_owned(),
        timing: Timing::default(),
        weight: Weight::DEFAULT,
        seed: 7,
        sticky_idle: Duration::from_secs(1800),
        offload: true,
        min_members: 1,
        limits: Limits::default(),
        tables: make_table,
    };
    Engine::new(config, now)
}

/// Lets the engines talk over a perfect wire for so long.
fn run(engines: &mut [Engine], now: &mut Time, time: Duration) {
    let end = *now + time;
    while *now < end {
        *now = *now + Duration::from_millis(1);
        for index in 0..engines.len() {
            let engine = &mut engines[index];
            if engine.wants_witness().is_some() {
                engine.handle_witness(*now);
            }
            engine.handle_timeout(*now, *now);
            while let Some(plan) = engine.poll_plan() {
                engine.handle_applied(plan.generation, *now);
            }
            while engine.poll_verdict(*now).is_some() {}
            while engine.poll_notice().is_some() {}
            while let Some(transmit) = engines[index].poll_transmit(*now) {
                engines[index].handle_sent(transmit.frame.header.sequence, *now);
                for other in (0..engines.len()).filter(|other| *other != index) {
                    engines[other].handle_frame(transmit.frame.clone(), *now, *now);
                }
            }
        }
    }
}

fn client(number: u32, v6: bool) -> IpAddr {
    let number = number.wrapping_mul(0x9e37_79b9);
    if v6 {
        IpAddr::V6(Ipv6Addr::from((0x2001_0db8 << 96) + (u128::from(number) << 44)))
    } else {
        IpAddr::V4(Ipv4Addr::from(number))
    }
}

/// Pages of 4 KiB that this process has in memory, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("pages") * 4096
}

/// Bytes for each client that is kept, and for each that is handed over in addition. The engines
/// stay, so that what is measured next does not get their memory.
fn measure(v6: bool) -> (usize, usize, Vec<Engine>) {
    let mut now = Time::from_nanos(60_000_000_000);
    let mut engines = vec![engine(1, now)];
    run(&mut engines, &mut now, Duration::from_secs(2));
    let before = resident();
    for number in 0..CLIENTS {
        let id = PacketId(number);
        let client = client(number, v6);
        let packet = ClientPacket { id, client, opens: true, fingerprint: number.into() };
        assert_eq!(engines[0].handle_packet(packet, now, now), Verdict::Accept);
    }
    let kept = (resident() - before) / CLIENTS as usize;
    let before = resident();
    engines.push(engine(2, now));
    run(&mut engines, &mut now, Duration::from_secs(4));
    let snapshot = engines[0].snapshot(now);
    assert!(snapshot.converged && snapshot.buckets_accepted == 2048, "{snapshot:?}");
    assert!(snapshot.pins > CLIENTS as usize * 2 / 5, "{}", snapshot.pins);
    assert_eq!(engines[1].snapshot(now).nodes[0].pins, snapshot.pins);
    (kept, (resident() - before) / snapshot.pins, engines)
}

#[test]
fn a_client_costs_few_bytes() {
    let (kept4, moved4, _alive) = measure(false);
    let (kept6, moved6, _alive6) = measure(true);
    println!("IPv4: {kept4} bytes kept, {moved4} more when handed over; IPv6: {kept6}, {moved6}");
    assert!(kept4 <= MOST / 2 && kept4 + moved4 <= MOST, "{kept4} {moved4}");
    assert!(kept6 <= MOST && moved6 <= 2 * MOST, "{kept6} {moved6}");
}
