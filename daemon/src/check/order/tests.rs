//! Messages between the daemon and its runner, there and back.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream as StdStream;

use proptest::prelude::*;
use tokio::net::UnixStream;

use super::*;
use crate::check::model::{Dns, Http, Pattern, Record, Tls, Udp};

fn pattern(text: &str) -> Pattern {
    Pattern(regex_lite::Regex::new(text).unwrap())
}

fn tasks() -> Vec<Task> {
    let server: SocketAddr = "[2001:db8::1]:8080".parse().unwrap();
    let http = Http {
        server,
        host: "www.example.org".to_owned(),
        path: "/health".to_owned(),
        tls: Some(Tls { name: "www.example.org".to_owned(), verify: true }),
        status: 200..=299,
        header: Some(("x-state".to_owned(), pattern("^ok$"))),
        body: Some(pattern("\"up\"\\s*:")),
    };
    let dns = Dns {
        server,
        name: "www.example.org".to_owned(),
        record: Record::Aaaa,
        expect: Some("2001:db8::2".parse().unwrap()),
    };
    let udp = Udp { server, send: "ping\n\0".to_owned(), expect: None };
    vec![
        Task::Check(Kind::Tcp(server)),
        Task::Check(Kind::Http(Box::new(http))),
        Task::Check(Kind::Dns(dns)),
        Task::Check(Kind::Udp(udp)),
        Task::Check(Kind::Process("web server".to_owned())),
        Task::Check(Kind::Command(vec!["/bin/sh".to_owned(), "-c".to_owned(), "a\tb".to_owned()])),
        Task::Socket(Wanted::Udp4),
        Task::Socket(Wanted::Udp6),
        Task::Socket(Wanted::Listener(server)),
    ]
}

#[test]
fn orders_arrive_as_they_were_given() {
    for (task, number) in tasks().into_iter().zip(1..) {
        let order = Order { number, limit: Duration::from_millis(1500), task };
        let bytes = order.to_bytes().unwrap();
        assert_eq!(Order::from_bytes(&bytes[LENGTH..]), Some(order));
    }
    let words = vec!["x".repeat(MAX_MESSAGE)];
    let long = Order { number: 1, limit: Duration::ZERO, task: Task::Check(Kind::Command(words)) };
    assert_eq!(long.to_bytes(), None);
}

fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().unwrap()
}

#[tokio::test]
async fn sockets_come_with_their_answers() {
    let (ours, theirs) = pair();
    let (from, _keep) = ours.into_split();
    let (_also, to) = theirs.into_split();
    let mut ends = Vec::new();
    for number in 0..3 {
        let (own, sent) = StdStream::pair().unwrap();
        ends.push(own);
        // Long ones come in pieces, and the next may begin in one of them.
        let text = "x".repeat(usize::try_from(number).unwrap() * 3000);
        let said = Answer { number, result: Err(text.clone()), socket: None };
        said.send(&to).await.unwrap();
        let opened = Answer { number, result: Ok(text), socket: Some(sent.into()) };
        opened.send(&to).await.unwrap();
    }
    drop((to, _also));
    let mut reader = Reader::new(from);
    for (number, mut own) in (0..3).zip(ends) {
        let said = reader.answer().await.unwrap();
        assert!(said.number == number && said.result.is_err() && said.socket.is_none());
        let opened = reader.answer().await.unwrap();
        assert!(opened.number == number && opened.result.is_ok());
        let mut theirs = StdStream::from(opened.socket.unwrap());
        theirs.write_all(&[7]).unwrap();
        let mut byte = [0];
        own.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [7]);
    }
    assert!(reader.answer().await.is_none());
}

#[tokio::test]
async fn an_answer_whose_socket_is_missing_is_none() {
    let (ours, theirs) = pair();
    let (from, _keep) = ours.into_split();
    let mut lie = Answer { number: 1, result: Ok(String::new()), socket: None }.to_bytes().unwrap();
    lie[LENGTH + 9] = 1;
    theirs.try_write(&lie).unwrap();
    assert!(Reader::new(from).answer().await.is_none());
}

proptest! {
    /// I6.
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Order::from_bytes(&bytes);
        let _ = Answer::from_bytes(&bytes, &mut VecDeque::new());
    }
}
