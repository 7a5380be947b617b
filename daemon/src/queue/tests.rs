//! The queue on the real kernel, behind iptables' NFQUEUE target, which every kernel with
//! `nfnetlink_queue` has (the `queue` of nft not).

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::stats::Row;
use super::*;
use crate::cluster::clock::now;
use crate::testing::{PATIENCE, Pair, eventually, inside, privileged};

const NUMBER: u16 = 7;

/// A pair whose node sends every packet of `protocol` from the client to the queue.
fn queueing(protocol: &str) -> Pair {
    let pair = Pair::new();
    let rule = format!(
        "iptables -w -t raw -A PREROUTING -i n0 -p {protocol} -j NFQUEUE --queue-num {NUMBER}"
    );
    pair.node.sh(&rule).unwrap();
    pair
}

/// Whether a ping is answered within so many seconds, and after how long.
fn ping(pair: &Pair, patience: u32) -> Option<Duration> {
    let before = instant();
    pair.client.sh(&format!("ping -n -c 1 -W {patience} 10.9.0.1")).ok().map(|_| before.elapsed())
}

#[expect(clippy::disallowed_methods, reason = "a test measures real time")]
fn instant() -> Instant {
    Instant::now()
}

async fn receive(queue: &mut Queue, batch: &mut Batch) {
    loop {
        timeout(PATIENCE, queue.readable()).await.unwrap().unwrap();
        if queue.try_recv(batch, 64).unwrap() > 0 {
            return;
        }
    }
}

/// What becomes of a ping when the node does this with its packet.
fn ping_while(
    patience: u32,
    decide: impl AsyncFnOnce(&mut Queue, PacketId) + Send,
) -> (Option<Duration>, QueueStats) {
    let pair = queueing("icmp");
    let (opened, open) = std::sync::mpsc::sync_channel(1);
    std::thread::scope(|scope| {
        let node = scope.spawn(|| {
            inside(&pair.node, || async {
                let mut queue = Queue::open(NUMBER, 100, COPY_RANGE).unwrap();
                opened.send(()).unwrap();
                let mut batch = Batch::default();
                receive(&mut queue, &mut batch).await;
                assert_eq!(batch.len(), 1);
                let (packet, bytes) = batch.iter().next().unwrap();
                assert_eq!(packet.id, PacketId(1));
                assert!(packet.stamped && packet.arrival < now());
                assert!(now().since(packet.arrival) < Duration::from_secs(1));
                assert_eq!((bytes.len(), bytes[0], bytes[9]), (84, 0x45, 1));
                decide(&mut queue, packet.id).await;
                queue.stats().unwrap()
            })
        });
        open.recv().unwrap();
        let answered = ping(&pair, patience);
        (answered, node.join().unwrap())
    })
}

#[test]
fn accepted_packets_go_on() {
    privileged(|| {
        let (answered, stats) = ping_while(5, async |queue: &mut Queue, id| {
            assert_eq!(queue.stats().unwrap().waiting, 1);
            queue.verdict(id, true).unwrap();
            queue.flush().unwrap();
        });
        assert!(answered.is_some());
        assert_eq!(stats, QueueStats::default());
    });
}

#[test]
fn a_verdict_can_be_taken_back_until_it_is_sent() {
    privileged(|| {
        let (answered, _) = ping_while(1, async |queue: &mut Queue, id| {
            queue.verdict(id, true).unwrap();
            queue.verdict(PacketId(77), true).unwrap();
            assert_eq!(queue.unsent(), 2);
            queue.refuse_unsent();
            queue.flush().unwrap();
            assert_eq!(queue.unsent(), 0);
        });
        assert!(answered.is_none());
    });
}

#[test]
fn dropped_packets_do_not() {
    privileged(|| {
        let (answered, _) = ping_while(1, async |queue: &mut Queue, id| {
            queue.verdict(id, false).unwrap();
            queue.flush().unwrap();
        });
        assert!(answered.is_none());
    });
}

#[test]
fn held_packets_wait_for_their_verdict() {
    privileged(|| {
        let (answered, _) = ping_while(5, async |queue: &mut Queue, id| {
            tokio::time::sleep(Duration::from_millis(400)).await;
            queue.verdict(id, true).unwrap();
            queue.flush().unwrap();
        });
        assert!(answered.unwrap() >= Duration::from_millis(400));
    });
}

#[test]
fn a_verdict_for_no_packet_is_counted() {
    privileged(|| {
        ping_while(1, async |queue: &mut Queue, id| {
            queue.verdict(PacketId(999), true).unwrap();
            queue.verdict(id, true).unwrap();
            queue.flush().unwrap();
            timeout(PATIENCE, queue.readable()).await.unwrap().unwrap();
            assert_eq!(queue.try_recv(&mut Batch::default(), 8).unwrap(), 0);
            assert_eq!(queue.stats().unwrap().late_verdicts, 1);
            assert_eq!(queue.stats().unwrap().waiting, 0);
        });
    });
}

#[test]
fn without_a_listener_everything_is_dropped() {
    privileged(|| {
        let pair = queueing("icmp");
        assert!(ping(&pair, 1).is_none());
    });
}

/// A daemon that dies with packets in its hands answers none of them.
#[test]
fn a_listener_that_goes_takes_its_packets_along() {
    privileged(|| {
        // The queue is dropped without a verdict when the closure's owner returns.
        let (answered, _) = ping_while(1, async |_: &mut Queue, _| {});
        assert!(answered.is_none());
    });
}

#[test]
fn one_queue_has_one_listener() {
    privileged(|| {
        let pair = Pair::new();
        inside(&pair.node, || async {
            let first = Queue::open(NUMBER, 10, COPY_RANGE).unwrap();
            let second = Queue::open(NUMBER, 10, COPY_RANGE);
            assert!(matches!(second, Err(QueueError::InUse { number: NUMBER })), "{second:?}");
            let other = Queue::open(NUMBER + 1, 10, COPY_RANGE).unwrap();
            assert_eq!(other.number(), NUMBER + 1);
            drop(first);
            eventually("is free again", || Queue::open(NUMBER, 10, COPY_RANGE).is_ok());
        });
    });
}

/// Sends so many datagrams from the client, all of which reach the node.
fn flood(pair: &Pair, count: usize) {
    pair.client
        .run(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
            let to = SocketAddr::from(([10, 9, 0, 1], 9999));
            for _ in 0..count {
                socket.send_to(b"flood", to).unwrap();
            }
        })
        .unwrap();
}

#[test]
fn more_than_may_wait_are_dropped_and_counted() {
    privileged(|| {
        let pair = queueing("udp");
        inside(&pair.node, || async {
            let mut queue = Queue::open(NUMBER, 5, COPY_RANGE).unwrap();
            flood(&pair, 12);
            let mut batch = Batch::default();
            receive(&mut queue, &mut batch).await;
            while queue.stats().unwrap().dropped_full < 7 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let stats = queue.stats().unwrap();
            assert_eq!((stats.waiting, stats.dropped_full, stats.overflows), (5, 7, 0));
        });
    });
}

#[test]
fn an_overflow_of_the_socket_is_counted_and_survived() {
    privileged(|| {
        let pair = queueing("udp");
        inside(&pair.node, || async {
            let mut queue = Queue::open(NUMBER, 1_000_000, COPY_RANGE).unwrap();
            while queue.stats().unwrap().dropped_unread == 0 {
                flood(&pair, 5_000);
            }
            let mut batch = Batch::default();
            let mut seen = 0;
            while queue.stats().unwrap().waiting > 0 {
                seen += queue.try_recv(&mut batch, 1000).unwrap();
                for (packet, _) in batch.iter() {
                    queue.verdict(packet.id, false).unwrap();
                }
                queue.flush().unwrap();
                let _ = timeout(Duration::from_millis(10), queue.readable()).await;
            }
            assert!(seen > 1000, "{seen}");
            let stats = queue.stats().unwrap();
            assert!(stats.overflows >= 1, "{stats:?}");
            assert_eq!((stats.malformed, stats.late_verdicts), (0, 0));
            flood(&pair, 1);
            receive(&mut queue, &mut batch).await;
            assert_eq!(batch.len(), 1);
        });
    });
}

#[test]
fn the_kernels_table_is_read() {
    let line = "    7  31337    12 2   256     3     4      900  1";
    let row = Row { waiting: 12, dropped_full: 3, dropped_unread: 4 };
    assert_eq!(Row::parse(line, 7), Some(row));
    assert_eq!(Row::parse(line, 70), None);
    assert_eq!(Row::parse("", 7), None);
    assert_eq!(Row::parse("7 x", 7), None);
}

/// `cargo test --release -p nlbd --lib verdicts_per_second -- --ignored --nocapture`: packets that
/// wait already are read, classified and judged, by one thread that has nothing else to do.
#[test]
#[ignore = "measures"]
fn verdicts_per_second() {
    const ROUNDS: usize = 20;
    const WAITING: usize = 5_000;
    privileged(|| {
        let pair = queueing("udp");
        inside(&pair.node, || async {
            let mut queue = Queue::open(NUMBER, 100_000, COPY_RANGE).unwrap();
            let mut batch = Batch::default();
            let service = IpAddr::from([10, 9, 0, 1]);
            let key = nlb_protocol::Fingerprinter::new(nlb_protocol::ClusterId(1), 1);
            let (mut judged, mut took) = (0, Duration::ZERO);
            for _ in 0..ROUNDS {
                flood(&pair, WAITING);
                queue.readable().await.unwrap();
                let start = instant();
                while queue.try_recv(&mut batch, 256).unwrap() > 0 {
                    for (packet, bytes) in batch.iter() {
                        let known = classify::classify(bytes, |to| to == service, &key).is_ok();
                        queue.verdict(packet.id, !known).unwrap();
                    }
                    judged += batch.len();
                    queue.flush().unwrap();
                }
                took += start.elapsed();
            }
            let rate = judged as f64 / took.as_secs_f64();
            eprintln!("{judged} verdicts, {rate:.0} a second, {:?}", queue.stats().unwrap());
        });
    });
}
