use std::io::Write as _;
use std::os::unix::net::UnixStream;

use nix::unistd::{Pid, gettid};

use super::*;

/// What becomes of an order of this process.
fn ordered(order: &[u8]) -> io::Result<()> {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.write_all(order).unwrap();
    drop(ours);
    serve(&theirs)
}

#[test]
fn orders_are_read_as_they_were_written() {
    for priority in [Priority::Realtime, Priority::Favoured] {
        let thread = Pid::from_raw(0x0102_0304);
        assert_eq!(decode(encode(thread, priority)), Some((thread, priority)));
    }
}

#[test]
fn what_is_no_order_is_refused() {
    for order in [&b""[..], b"r", b"r\x01\x00\x00"] {
        let refused = ordered(order).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::UnexpectedEof, "{order:?}");
    }
    for order in
        [[0; ORDER], [b'r', 0, 0, 0, 0], [b'f', 0xff, 0xff, 0xff, 0xff], [b'x', 1, 1, 1, 1]]
    {
        let refused = ordered(&order).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{order:?}");
    }
}

#[test]
fn threads_of_others_are_refused() {
    // Process 1 is nobody's thread.
    let refused = ordered(&encode(Pid::from_raw(1), Priority::Realtime)).unwrap_err();
    assert!(refused.to_string().contains("has no thread 1"), "{refused}");
}

#[test]
fn a_thread_of_who_asks_gets_it_where_that_is_allowed() {
    std::thread::spawn(|| {
        let given = ordered(&encode(gettid(), Priority::Favoured));
        let allowed = given.is_ok();
        if let Err(error) = given {
            assert!(matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES)), "{error}");
        }
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let niceness = fields.split_whitespace().nth(16).unwrap();
        assert_eq!(niceness == "-10", allowed, "{niceness}");
    })
    .join()
    .unwrap();
}
