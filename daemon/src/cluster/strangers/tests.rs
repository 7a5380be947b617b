use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn mac(last: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, last])
}

fn start() -> Time {
    Time::from_nanos(1_000_000_000_000)
}

#[test]
fn a_sender_is_told_of_from_its_third_frame_on_and_said_once() {
    let (mut strangers, now) = (Strangers::default(), start());
    let mut said = Vec::new();
    for step in 0..100 {
        let at = now + SECOND / 10 * step;
        said.extend(strangers.note(DecodeError::BadTag, mac(1), at));
        assert_eq!(strangers.now(at).len(), usize::from(step >= 2));
    }
    let text = "frames from 02:00:00:00:00:01 are signed with another key, or forged (that address \
                is not proven)";
    assert_eq!(said, [("other-key", text.to_owned())]);
    let at = now + SECOND * 20;
    let told = strangers.now(at);
    assert_eq!((told[0].frames, told[0].since), (100, SECOND * 20));
    // It is over when nothing more comes.
    assert_eq!(strangers.now(at + TOLD_FOR), []);
}

#[test]
fn other_reasons_are_not_about_keys() {
    let mut strangers = Strangers::default();
    for reason in DecodeError::ALL {
        let told = matches!(reason, DecodeError::BadTag | DecodeError::OtherVersion);
        (0..5).for_each(|_| drop(strangers.note(*reason, mac(1), start())));
        assert_eq!(strangers.now(start()).iter().any(|_| told), told, "{reason:?}");
        strangers = Strangers::default();
    }
}

#[test]
fn a_flood_of_addresses_takes_no_memory_and_no_log() {
    let mut strangers = Strangers::default();
    let mut said = 0;
    for round in 0..3000_u32 {
        let at = start() + SECOND * round;
        for sender in 0..20 {
            let last = u8::try_from((round * 20 + sender) % 251).unwrap();
            for _ in 0..4 {
                said += strangers.note(DecodeError::BadTag, mac(last), at).into_iter().len();
            }
        }
        assert!(strangers.senders.len() <= MOST);
        assert!(strangers.now(at).len() <= MOST);
    }
    assert!((1..=5).contains(&said), "{said} words in 3000 s");
}
