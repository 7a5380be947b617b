//! Whether somebody asks for IGMP groups on the segment: without a querier, switches that snoop
//! forget the members after some minutes and drop what the cluster gets.

use std::io::{self, Read as _};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::Finding;

/// IGMP in an IPv4 header (RFC 791).
const IGMP: i32 = 2;
/// A membership query (RFC 3376, 4.1).
const QUERY: u8 = 0x11;
/// The longest IPv4 header, and what is read of a query.
const ROOM: usize = 60 + 8;

/// Listens for queries.
pub(super) async fn finding(interface: &str, listen: Duration) -> Finding {
    let seconds = listen.as_secs();
    if super::is_watched() {
        eprintln!("Listening on {interface} for an IGMP querier, {seconds} s …");
    }
    let name = interface.to_owned();
    // Reading blocks, at most as long as it is to listen.
    let heard = tokio::task::spawn_blocking(move || listen_for_query(&name, listen)).await;
    let sure = "queries come every 125 s unless set otherwise: --listen 130 is sure";
    match heard {
        Ok(Ok(Some(querier))) => {
            Finding::ok(interface, format!("IGMP querier {querier} was heard"))
        }
        Ok(Ok(None)) => Finding::warn(
            interface,
            format!("no IGMP query was heard in {seconds} s"),
            format!("{sure}\nwithout a querier, switches that snoop forget the group: see below"),
        ),
        Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => Finding::warn(
            interface,
            "not listened for an IGMP querier: only root may",
            "run it as root: sudo nlbctl preflight --mode igmp",
        ),
        Ok(Err(error)) => {
            Finding::warn(interface, format!("cannot listen for an IGMP querier: {error}"), sure)
        }
        Err(error) => Finding::warn(interface, format!("could not listen: {error}"), sure),
    }
}

fn listen_for_query(interface: &str, listen: Duration) -> io::Result<Option<Ipv4Addr>> {
    // Every host is a member of the group that general queries go to.
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(IGMP)))?;
    socket.bind_device(Some(interface.as_bytes()))?;
    #[allow(clippy::disallowed_methods)] // this is a person's clock, not the protocol's
    let now = Instant::now;
    let end = now() + listen;
    loop {
        let left = end.saturating_duration_since(now());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left))?;
        let mut packet = [0; ROOM];
        match (&socket).read(&mut packet) {
            Ok(length) => {
                if let Some(querier) = querier(&packet[..length]) {
                    return Ok(Some(querier));
                }
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return Ok(None),
                io::ErrorKind::Interrupted => {}
                _ => return Err(error),
            },
        }
    }
}

/// Who asks, if this is a query: an IPv4 packet with its header.
fn querier(packet: &[u8]) -> Option<Ipv4Addr> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    (*packet.get(header)? == QUERY).then(|| Ipv4Addr::from(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_told_from_reports() {
        // RFC 791: a header of 24 bytes, with the router alert that IGMP has.
        let mut packet = [0_u8; 32];
        packet[0] = 0x46;
        packet[12..16].copy_from_slice(&[192, 0, 2, 1]);
        packet[24] = QUERY;
        assert_eq!(querier(&packet), Some(Ipv4Addr::new(192, 0, 2, 1)));
        packet[24] = 0x22;
        assert_eq!(querier(&packet), None);
        for length in 0..=24 {
            assert_eq!(querier(&packet[..length]), None, "{length} bytes");
        }
    }
}
