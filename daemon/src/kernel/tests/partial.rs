//! Somebody takes a part of the rules away: nobody is answered by what is left (SPEC 7.2.8).

use super::*;

const ONE: &str = "198.51.100.1";
const SIX: &str = "2001:db8::1";

impl World {
    /// Takes something away, and has a client's packets come in before it can be put back: the
    /// applier's task is one of this thread's.
    fn without(&self, what: &str) {
        self.heartbeat();
        nft(&["-f", "-"], &format!("{what}\n")).unwrap();
        for client in [ONE, SIX] {
            self.udp(client, 53);
        }
        std::thread::sleep(SETTLE);
    }
}

#[test]
fn what_is_left_of_the_rules_answers_nobody() {
    let name = "what_is_left_of_the_rules_answers_nobody";
    in_namespace(&format!("{MODULE}::partial::{name}"), async || {
        let mut world = World::new([]).await;
        for what in [
            "delete table inet nlb",
            "flush table inet nlb",
            "flush chain inet nlb stage.nlb0",
            "flush chain inet nlb in.nlb0.7.lan0",
            "flush chain inet nlb clients.nlb0",
            "flush set inet nlb addr4.nlb0; flush set inet nlb addr6.nlb0",
        ] {
            world.without(what);
            assert!(world.seen(&[]).await.is_empty(), "{what}");
            while !matches!(world.applier.next().await, KernelEvent::Repaired { .. }) {}
        }
    });
}
