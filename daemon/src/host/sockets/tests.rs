use std::net::{Shutdown, TcpListener, TcpStream};

use super::*;

fn of(address: &str) -> BTreeSet<IpAddr> {
    [address.parse().unwrap()].into()
}

/// Every address of 127.0.0.0/8 is the host's own: each test has one for itself.
#[test]
#[expect(clippy::disallowed_methods, reason = "waits in real time")]
fn connections_to_an_address_are_found_until_they_end() {
    let ours = "127.83.20.1";
    let listener = TcpListener::bind((ours, 0)).unwrap();
    assert_eq!(connected(&of(ours)).unwrap(), BTreeSet::new(), "listening is no connection");
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, from) = listener.accept().unwrap();
    assert_eq!(connected(&of(ours)).unwrap(), [from.ip()].into());
    assert_eq!(connected(&of("127.83.20.2")).unwrap(), BTreeSet::new(), "not ours");
    let second = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert_eq!(connections(&of(ours)).unwrap(), 2, "of one client");
    assert_eq!(connections(&of("127.83.20.2")).unwrap(), 0);
    drop(second);
    drop(listener);
    // Closed in one direction: the other is still open.
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(connected(&of(ours)).unwrap(), [from.ip()].into());
    drop(server);
    drop(client);
    let begin = std::time::Instant::now();
    while !connected(&of(ours)).unwrap().is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(10));
        std::thread::yield_now();
    }
}

#[test]
fn an_ipv4_client_of_an_ipv6_socket_is_an_ipv4_client() {
    let Ok(listener) = TcpListener::bind("[::]:0") else {
        eprintln!("SKIPPED: no IPv6 here");
        return;
    };
    let port = listener.local_addr().unwrap().port();
    let ours = "127.83.20.3";
    let _client = TcpStream::connect((ours, port)).unwrap();
    let (_server, from) = listener.accept().unwrap();
    assert_eq!(connected(&of(ours)).unwrap(), [from.ip().to_canonical()].into());
}

#[test]
fn what_is_cut_says_nothing() {
    let message = [[2; 1].as_slice(), &[1; 39]].concat();
    assert!(ends(&message).is_some());
    for length in 0..MESSAGE {
        assert_eq!(ends(&message[..length]), None);
        assert!(
            split(&message[..length])
                .is_none_or(|(_, body, rest)| body.len() + rest.len() < length)
        );
    }
}
