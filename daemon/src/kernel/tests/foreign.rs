//! Clients of other nodes: refused once by user space, then dropped by the kernel (SPEC 7.2.3).

use super::*;

const ONE: &str = "198.51.100.1";
const SIX: &str = "2001:db8::1";

/// Has user space refuse every packet that waits, and `wanted` of them at least.
async fn refuse(queue: &mut Queue, wanted: usize) {
    let mut refused = 0;
    while refused < wanted {
        let ready = tokio::time::timeout(Duration::from_secs(10), queue.readable());
        ready.await.expect("a packet in the queue").unwrap();
        let mut batch = Batch::default();
        queue.try_recv(&mut batch, 1000).unwrap();
        for (packet, _) in batch.iter() {
            assert_eq!(packet.mark, Mark::Client.asked(5));
            queue.mark(packet.id, Mark::refused(5)).unwrap();
            refused += 1;
        }
        queue.flush().unwrap();
    }
}

impl World {
    fn both(&self) {
        self.heartbeat();
        self.udp(ONE, 53);
        self.udp(SIX, 53);
    }
}

fn foreign() -> [bool; 2] {
    [("foreign4.nlb0", ONE), ("foreign6.nlb0", SIX)].map(|(set, client)| {
        nft(&["list", "set", "inet", "nlb", set], "").unwrap().contains(&format!("{client} "))
    })
}

#[test]
fn a_refused_client_reaches_user_space_no_more_until_the_plan_says_so() {
    let name = "a_refused_client_reaches_user_space_no_more_until_the_plan_says_so";
    in_namespace(&format!("{MODULE}::foreign::{name}"), async || {
        let mut world = World::new(0..4096).await;
        let mut queue = Queue::open(5, 1000, 100).unwrap();
        world.both();
        refuse(&mut queue, 2).await;
        world.expect(&[]).await;
        assert_eq!(foreign(), [true; 2]);
        assert_eq!(world.applier.clients().await, [] as [IpAddr; 0], "refused is not kept");
        world.both();
        world.expect(&[]).await;
        assert_eq!(drain(&mut queue, true), [0_u32; 0], "the kernel drops by itself");
        // Others are asked about as ever, and a plan that says nothing of it changes nothing.
        world.apply(|_| {}, &(1..4096).collect::<Vec<_>>()).await;
        world.udp("198.51.100.2", 53);
        answer(&mut queue, 1, true).await;
        world.both();
        world.expect(&["198.51.100.2"]).await;
        assert_eq!(drain(&mut queue, true), [0_u32; 0]);

        // A plan that was overtaken hands it on.
        let next = |generation| plan(generation, 0..4096);
        world.applier.handle.submit("nlb0", KernelPlan { reopen: true, ..next(10) });
        world.applier.handle.submit("nlb0", next(11));
        world.applier.applied(11).await;
        world.generation = 11;
        assert_eq!(foreign(), [false; 2]);
        world.both();
        answer(&mut queue, 2, true).await;
        world.expect(&[ONE, SIX]).await;

        // Whoever the kernel keeps is kept, whatever else it was told.
        world.apply(|plan| plan.flush = true, &(0..4096).collect::<Vec<_>>()).await;
        world.both();
        refuse(&mut queue, 2).await;
        let remember = [ONE, SIX].map(|client| client.parse().unwrap()).to_vec();
        world.apply(|plan| plan.remember = remember, &[]).await;
        world.both();
        world.expect(&[ONE, SIX]).await;
    });
}

#[test]
fn a_refusal_ends_by_itself_and_no_packet_prolongs_it() {
    let name = "a_refusal_ends_by_itself_and_no_packet_prolongs_it";
    in_namespace(&format!("{MODULE}::foreign::{name}"), async || {
        let rules =
            ClusterRules { foreign_timeout: Duration::from_millis(300), ..rules("nlb0", 5) };
        let world = World::with(rules, plan(1, 0..4096)).await;
        let mut queue = Queue::open(5, 1000, 100).unwrap();
        let begin = tokio::time::Instant::now();
        world.both();
        refuse(&mut queue, 2).await;
        loop {
            world.both();
            tokio::time::sleep(Duration::from_millis(20)).await;
            if drain(&mut queue, false).len() == 2 {
                break;
            }
            assert!(begin.elapsed() < Duration::from_secs(10), "refused for ever");
        }
        assert!(begin.elapsed() >= Duration::from_millis(250));
    });
}

/// A packet that waited for its verdict when everything was diverted comes through with neither.
#[test]
fn a_refusal_while_diverting_is_a_drop() {
    in_namespace(&format!("{MODULE}::foreign::a_refusal_while_diverting_is_a_drop"), async || {
        let mut world = World::new(0..4096).await;
        let mut queue = Queue::open(5, 1000, 100).unwrap();
        world.both();
        let mut batch = Batch::default();
        while batch.len() < 2 {
            queue.readable().await.unwrap();
            let mut more = Batch::default();
            queue.try_recv(&mut more, 10).unwrap();
            if batch.is_empty() { batch = more } else { break }
        }
        world.apply(|plan| plan.divert = true, &[]).await;
        for (packet, _) in batch.iter() {
            queue.mark(packet.id, Mark::refused(5)).unwrap();
        }
        queue.flush().unwrap();
        world.expect(&[]).await;
        assert_eq!(foreign(), [false; 2]);
    });
}
