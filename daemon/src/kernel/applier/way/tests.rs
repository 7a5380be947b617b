//! A look that fails for a moment says nothing of the way.

use super::*;

#[test]
fn a_way_that_was_seen_is_believed_until_somebody_changes_it() {
    let now = Instant::now();
    let mut way = Way::new(now);
    assert_eq!(way.due(), Some(now));
    assert!(way.is_urgent(&[5]));
    assert_eq!(way.unseen(&[5], now), Unseen::Unknown, "it was never there");
    assert_eq!(way.due(), Some(now + SLOW_REPAIR));
    way.right(vec![5]);
    assert_eq!(way.due(), None);

    way.look_again();
    assert!(way.due().is_some() && !way.is_urgent(&[5]));
    assert_eq!(way.unseen(&[5], now), Unseen::AsItWas { first: true });
    assert_eq!(way.unseen(&[5], now), Unseen::AsItWas { first: false });
    assert_eq!(way.unseen(&[5, 6], now), Unseen::Unknown, "there is another cluster");
    way.right(vec![5]);
    way.look_again();
    assert_eq!(way.unseen(&[5], now), Unseen::AsItWas { first: true });

    way.touched();
    assert!(way.is_urgent(&[5]));
    assert_eq!(way.unseen(&[5], now), Unseen::Unknown);
    way.right(vec![5]);
    way.wrong(now);
    assert!(way.is_urgent(&[5]));
}
