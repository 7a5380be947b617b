//! What a kernel would say of a server: the load averages as Linux makes them, the use of the
//! processors, memory and connections.

use nlbd::weight::Reading;

use crate::server::Server;

/// The gauges of one server.
#[derive(Debug, Default)]
pub struct Gauges {
    averages: [f64; 3],
    used: f64,
    /// What the command said last, and how much was used until then.
    said: f64,
    used_then: f64,
}

impl Gauges {
    /// The reading of this second.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // small and positive
    pub fn read(&mut self, server: &Server, second: u64) -> Reading {
        if second.is_multiple_of(5) {
            for (average, minutes) in self.averages.iter_mut().zip([1.0, 5.0, 15.0]) {
                let keep = (-5.0_f64 / (60.0 * minutes)).exp();
                *average = *average * keep + server.in_hand() * (1.0 - keep);
            }
        }
        if second.is_multiple_of(5) {
            self.said = (server.used() - self.used_then) / server.cores() / 5.0;
            self.used_then = server.used();
        }
        let used = server.used() - self.used;
        self.used = server.used();
        let cents = self.averages.map(|average| (average * 100.0).round() / 100.0);
        Reading {
            cores: server.cores() as u32,
            busy: Some((used / server.cores()).clamp(0.0, 1.0)),
            averages: Some(cents),
            // A tenth for the system, and a part for every session and request.
            memory: Some(
                0.1 + (f64::from(server.sessions) + server.in_hand()) / server.cores() / 20_000.0,
            )
            .map(|part| part.min(1.0)),
            connections: Some(server.sessions),
            // A command that prints, every five seconds, how busy the server was meanwhile.
            command: Some(self.said),
        }
    }
}
