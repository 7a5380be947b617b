//! Events: numbered, in words, lost where a reader lags.

use super::*;

#[tokio::test]
async fn events_over_the_socket() {
    let (mut watcher, directory) = connected(me()).await;
    let socket = directory.path().join(nlb_varlink::SOCKET);
    let mut changer = Connection::connect(&socket).await.unwrap();
    let mut events = core::pin::pin!(watcher.monitor(None).await.unwrap());
    // The stream begins when the daemon has the call, which nothing tells.
    let first = loop {
        changer.reload().await.unwrap();
        let next = tokio::time::timeout(Duration::from_millis(50), events.next()).await;
        if let Ok(Some(event)) = next {
            break event.unwrap();
        }
    };
    assert_eq!((first.kind.as_str(), first.text.as_str()), ("reload", "read again"));
    let second = events.next().await.unwrap().unwrap();
    assert_eq!(second.sequence, first.sequence + 1);
    assert_eq!(second.text, "n2 and this node both accepted 3 buckets");
    assert_eq!(second.time_ms, 2);
}

#[tokio::test]
async fn a_follower_that_lags_sees_the_gap() {
    use nlb_varlink::Backend as _;

    let (handle, mut inbox) = channel(0, Polkit::absent());
    let mut events = VarlinkBackend(handle).monitor(None).unwrap();
    let many = MAX_EVENTS as u64 + 10;
    for number in 1..=many {
        inbox.events.say("nlb0", "test", String::new(), number);
    }
    drop(inbox);
    let first = events.next().await.unwrap();
    assert!(first.sequence > 1, "the oldest are gone");
    let mut last = first.sequence;
    while let Some(event) = events.next().await {
        last = event.sequence;
        if last == many {
            break;
        }
    }
    assert_eq!(last, many);
}

#[test]
fn notices_in_words() {
    let words = |notice: Notice| {
        describe(&notice, |id| match id.0 {
            2 => "n2".to_owned(),
            3 => "n3".to_owned(),
            _ => String::new(),
        })
    };
    let fenced = |cause| {
        words(Notice::State { from: State::Active, to: State::Fenced, cause: Some(cause) }).1
    };
    assert_eq!(
        fenced(FenceCause::PartialConnectivity { node: NodeId(3), via: NodeId(2) }),
        "this node is fenced, was active: n2 hears n3, and this node does not"
    );
    assert_eq!(
        fenced(FenceCause::Unheard(NodeId(9))),
        "this node is fenced, was active: node 0000000000000009 does not hear this node"
    );
    assert_eq!(
        words(Notice::PeerGone { node: NodeId(2), state: State::Active }),
        ("peer-gone", "n2 is silent and counts as dead; it was active".to_owned())
    );
    assert_eq!(words(Notice::PeerGone { node: NodeId(2), state: State::Leaving }).1, "n2 has left");
    let took = Duration::from_millis(230);
    assert_eq!(
        words(Notice::Converged { epoch: Epoch(8), buckets: 1365, took }).1,
        "all nodes agree on epoch 8 after 230 ms; 1365 buckets are here"
    );
}

#[tokio::test]
async fn the_past_is_kept_up_to_a_bound_and_joins_what_comes() {
    use nlb_varlink::Backend as _;

    let (handle, mut inbox) = channel(0, Polkit::absent());
    let backend = VarlinkBackend(handle.clone());
    let many = MAX_HISTORY as u64 + 10;
    for number in 1..=many {
        inbox.events.say("nlb0", "test", String::new(), number);
    }
    let past = handle.history(0);
    assert_eq!((past.len(), past[0].sequence), (MAX_HISTORY, 11));
    assert!(handle.history(many).is_empty() && handle.history(u64::MAX).is_empty());
    let mut events = backend.monitor(i64::try_from(many).ok().map(|last| last - 2)).unwrap();
    inbox.events.say("nlb0", "test", String::new(), 0);
    for sequence in many - 1..=many + 1 {
        assert_eq!(events.next().await.unwrap().sequence, sequence);
    }
    assert!(backend.monitor(Some(-1)).is_err());
}

/// What happens to nodes changes the table; the events of that change say what it was.
#[test]
fn changes_of_the_table_have_causes() {
    let (handle, mut inbox) = channel(0, Polkit::absent());
    let view = Notice::View { epoch: Epoch(8), digest: Digest(1), members: 2 };
    let converged =
        Notice::Converged { epoch: Epoch(8), buckets: 9, took: Duration::from_millis(2) };
    let gone = |node| Notice::PeerGone { node: NodeId(node), state: State::Active };
    let mut cause = |notice: &Notice| {
        inbox.events.notice("nlb0", notice.clone(), 1, NodeId(1), |_| Known::default());
        handle.history(0).pop().and_then(|event| event.cause)
    };
    assert_eq!(cause(&view), None);
    for node in 2..12 {
        assert_eq!(cause(&gone(node)), None);
    }
    let said = cause(&view).unwrap();
    assert!(said.starts_with("node 0000000000000002 is silent"), "{said}");
    assert_eq!(said.matches("is silent").count(), 4, "no more than say enough: {said}");
    assert_eq!(cause(&converged), Some(said));
    assert_eq!((cause(&view), cause(&converged)), (None, None), "that is over");
    let cause_of_fence = Some(FenceCause::Silent);
    let fenced = Notice::State { from: State::Active, to: State::Fenced, cause: cause_of_fence };
    assert_eq!(cause(&fenced).as_deref(), Some("this node sent nothing for too long"));
}
