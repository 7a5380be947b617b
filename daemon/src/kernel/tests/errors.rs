//! ICMP errors come to every node, whoever's client they concern: a flood of them must leave the
//! queue to new clients.

use super::*;

const SENT: usize = 4000;

#[test]
fn user_space_is_asked_about_so_many_errors_a_second_and_no_more() {
    let name = "user_space_is_asked_about_so_many_errors_a_second_and_no_more";
    in_namespace(&format!("{MODULE}::errors::{name}"), async || {
        let world = World::new(0..4096).await;
        let mut queue = Queue::open(5, 2 * u32::try_from(SENT).unwrap(), 100).unwrap();
        let begin = tokio::time::Instant::now();
        for number in 0..SENT {
            if number.is_multiple_of(500) {
                world.heartbeat();
            }
            world.client_sends("198.51.100.254", 1, &[3, 4, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0]);
        }
        world.heartbeat();
        world.udp("198.51.100.1", 53);
        let (mut asked, mut marks) = (0, Vec::new());
        while !marks.contains(&Mark::Client.asked(5)) {
            marks = answer(&mut queue, 1, false).await;
            asked += marks.iter().filter(|mark| **mark == Mark::Error.asked(5)).count();
        }
        let took = begin.elapsed();
        let counted = Counters::open().unwrap().read().await.unwrap();
        let over = counted["nlb0"][&Fate::TooManyErrors].packets;
        assert_eq!(asked + usize::try_from(over).unwrap(), SENT);
        println!("{asked} of {SENT} within {took:?}");
        assert!(asked as f64 <= 1000.0 * (1.1 + took.as_secs_f64()), "{asked} in {took:?}");
        assert!(over > 0, "sent too slowly: {took:?}");
    });
}
