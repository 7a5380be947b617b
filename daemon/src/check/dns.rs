//! A name server: one question by UDP (RFC 1035).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::model::{Dns, Record};
use super::net;
use super::probe::Failure;

const HEADER: usize = 12;
const IN: u16 = 1;
/// An answer, and recursion is wanted.
const RECURSION: u16 = 0x0100;
const RESPONSE: u8 = 0x80;
const CODE: u8 = 0x0f;
/// Two bits that make a length a pointer (RFC 1035 4.1.4).
const POINTER: u8 = 0xc0;
/// The longest answer over UDP without EDNS is 512 bytes; whatever more comes is read too.
const MAX_ANSWER: usize = 4096;
/// RFC 1035 2.3.4.
const MAX_LABEL: usize = 63;
const MAX_NAME: usize = 253;

/// Whether a name can be asked for.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| (1..=MAX_LABEL).contains(&label.len()) && label.is_ascii();
    name.len() <= MAX_NAME && name.split('.').all(label)
}

/// Asks once.
pub(super) async fn ask(dns: &Dns) -> Result<String, Failure> {
    let socket = net::connected(dns.server).await?;
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(|error| Failure::Look(std::io::Error::other(error)))?;
    let question = question(u16::from_be_bytes(id), &dns.name, dns.record);
    socket.send(&question).await.map_err(Failure::Talk)?;
    let mut buffer = [0; MAX_ANSWER];
    loop {
        let length = socket.recv(&mut buffer).await.map_err(Failure::Talk)?;
        let answer = buffer.get(..length).unwrap_or_default();
        // Answers to earlier questions are not ours.
        if answer.starts_with(&id) {
            return judge(answer, dns);
        }
    }
}

fn question(id: u16, name: &str, record: Record) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [id, RECURSION, 1, 0, 0, 0] {
        out.extend(word.to_be_bytes());
    }
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(u8::try_from(label.len()).unwrap_or(0)); // at most 63, by the configuration
        out.extend(label.as_bytes());
    }
    out.push(0);
    out.extend(record.code().to_be_bytes());
    out.extend(IN.to_be_bytes());
    out
}

fn judge(answer: &[u8], dns: &Dns) -> Result<String, Failure> {
    let flags = answer.get(2..4).ok_or(Failure::NotDns)?;
    if flags[0] & RESPONSE == 0 {
        return Err(Failure::NotDns);
    }
    match flags[1] & CODE {
        0 => {}
        code => return Err(Failure::DnsCode(code)),
    }
    let records = records(answer).ok_or(Failure::NotDns)?;
    let fitting = records.iter().filter(|(code, _)| *code == dns.record.code());
    let fits = |data: &[u8]| dns.expect.is_none_or(|expected| address(data) == Some(expected));
    let count = fitting.filter(|(_, data)| fits(data)).count();
    if count == 0 {
        return Err(if dns.expect.is_some() { Failure::Answer } else { Failure::NoRecord });
    }
    Ok(format!("{count} records"))
}

fn address(data: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(data).map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
    v4.or_else(|_| <[u8; 16]>::try_from(data).map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)))).ok()
}

/// Type and data of the answers.
fn records(message: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    let word = |at: usize| Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?));
    let (questions, answers) = (word(4)?, word(6)?);
    let mut at = HEADER;
    for _ in 0..questions {
        at = skip_name(message, at)? + 4;
    }
    let mut records = Vec::new();
    for _ in 0..answers {
        at = skip_name(message, at)?;
        let (code, length) = (word(at)?, usize::from(word(at + 8)?));
        records.push((code, message.get(at + 10..at + 10 + length)?));
        at += 10 + length;
    }
    Some(records)
}

fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = *message.get(at)?;
        match length {
            0 => return Some(at + 1),
            _ if length & POINTER == POINTER => return Some(at + 2),
            _ => at += 1 + usize::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::net::UdpSocket;

    use super::*;

    /// An answer to a question: these addresses, and the name by a pointer.
    fn answer(question: &[u8], code: u8, addresses: &[Ipv4Addr]) -> Vec<u8> {
        let mut out = question.to_vec();
        (out[2], out[3]) = (0x81, code);
        out[7] = u8::try_from(addresses.len()).unwrap();
        for address in addresses {
            out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            out.extend(address.octets());
        }
        out
    }

    async fn asked(code: u8, addresses: Vec<Ipv4Addr>, expect: Option<&str>) -> String {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let dns = Dns {
            server: server.local_addr().unwrap(),
            name: "www.example.org".to_owned(),
            record: Record::A,
            expect: expect.map(|address| address.parse().unwrap()),
        };
        let serve = async {
            let mut buffer = [0; 512];
            let (length, from) = server.recv_from(&mut buffer).await.unwrap();
            server.send_to(b"another's", from).await.unwrap();
            server.send_to(&answer(&buffer[..length], code, &addresses), from).await.unwrap();
        };
        let (result, ()) = tokio::join!(ask(&dns), serve);
        result.unwrap_or_else(|failure| failure.to_string())
    }

    #[tokio::test]
    async fn answers() {
        let both = vec![Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
        assert_eq!(asked(0, both.clone(), None).await, "2 records");
        assert_eq!(asked(0, both.clone(), Some("192.0.2.2")).await, "1 records");
        assert_eq!(asked(0, both, Some("192.0.2.3")).await, "the answer does not match");
        assert_eq!(asked(0, vec![], None).await, "no such record");
        assert_eq!(asked(3, vec![], None).await, "DNS error 3");
    }

    #[test]
    fn names() {
        assert!(is_name("www.example.org") && is_name("localhost."));
        for name in ["", ".", "a..b", &"a".repeat(64), &"a.".repeat(128)] {
            assert!(!is_name(name), "{name}");
        }
    }

    proptest! {
        /// I6.
        #[test]
        fn no_answer_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let server = ([127, 0, 0, 1], 53).into();
            let name = "a".to_owned();
            let _ = judge(&bytes, &Dns { server, name, record: Record::A, expect: None });
        }
    }
}
