use super::*;

const SECOND: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_secs(300);

/// What is seen of a peer whose load is 1, of which `stays` does not go with the share of 1.
fn sight(share: f64, stays: f64) -> Sight {
    Sight { share, load: stays + (1.0 - stays) * share }
}

fn level(middle: f64) -> Level {
    Level { middle, fuller: 0.5 }
}

fn see(seen: &mut Seen, seconds: u32, share: impl Fn(u32) -> f64, stays: f64) {
    for second in 0..seconds {
        seen.note(sight(share(second), stays), level(0.0), SECOND, WINDOW);
    }
}

fn peer() -> Seen {
    Seen::new(Granted::begin(0.5, 1.0))
}

#[test]
fn as_long_as_shares_do_not_move_all_load_is_taken_to_go_with_them() {
    let mut seen = peer();
    see(&mut seen, 60, |_| 2.0, 0.5);
    assert!((seen.stretch() - 1.0).abs() < 1e-9);
    assert!((seen.goal() - 4.0 / 3.0).abs() < 1e-9, "{}", seen.goal());
}

#[test]
fn where_half_of_the_load_stays_the_goal_is_where_the_rest_makes_up_for_it() {
    let mut seen = peer();
    // Both are equal at 1. It has come from 2 to 1.2; if all load went, 1.09 would be next.
    see(&mut seen, 60, |second| if second < 30 { 2.0 } else { 1.2 }, 0.5);
    assert!(seen.stretch() > 1.3, "{}", seen.stretch());
    assert!((0.99..1.07).contains(&seen.goal()), "{}", seen.goal());
}

#[test]
fn however_flat_the_line_the_gain_is_bounded() {
    let mut seen = peer();
    see(&mut seen, 60, |second| if second < 30 { 1.0 } else { 9.0 }, 0.999);
    assert!((2.5..=GAIN + 1e-9).contains(&seen.stretch()), "{}", seen.stretch());
    assert!((1.0 / STEP..=STEP).contains(&(seen.goal() / seen.mean.at.share)));
}

#[test]
fn what_was_seen_under_another_load_is_forgotten_but_not_the_line() {
    let mut seen = peer();
    see(&mut seen, 60, |second| if second < 30 { 2.0 } else { 1.2 }, 0.5);
    let (age, stretch) = (seen.age(), seen.stretch());
    seen.note(sight(1.2, 0.5), level(UNLIKE * 0.9), SECOND, WINDOW);
    assert!(seen.age() > age);
    seen.note(sight(1.2, 0.5), level(UNLIKE * 1.1), SECOND, WINDOW);
    assert_eq!(seen.age(), Duration::ZERO);
    assert!((seen.stretch() - stretch).abs() < 0.1, "{} {stretch}", seen.stretch());
}

#[test]
fn a_peer_that_can_do_something_else_now_is_looked_at_anew() {
    let mut seen = peer();
    see(&mut seen, 60, |_| 1.0, 0.0);
    seen.note(Sight { share: 1.0, load: 0.7 }, level(0.0), SECOND, WINDOW);
    assert_eq!(seen.age(), Duration::ZERO);
    assert!((seen.goal() - 1.0 / 0.7).abs() < 0.01, "{}", seen.goal());
}

/// How much too much a server has that is full cannot be seen: it gives up what it may, soon, and
/// nothing is learnt of how its load goes with its share.
#[test]
fn of_a_full_server_no_line_is_drawn() {
    let mut seen = peer();
    let full = Level { middle: 0.0, fuller: 1.0 };
    for second in 0..60 {
        let share = if second < 30 { 2.0 } else { 1.8 };
        seen.note(Sight { share, load: 1.1 }, full, SECOND, WINDOW);
    }
    assert!((seen.stretch() - GAIN).abs() < 1e-9);
    assert!((seen.goal() / 1.8 - (1.0 - GAIN * 0.1 / 1.1)).abs() < 0.02, "{}", seen.goal());
    see(&mut seen, 30, |_| 1.8, 0.0);
    assert!((seen.stretch() - 1.0).abs() < 1e-9, "{}", seen.stretch());
}

/// While it had too much, a server said that it was just full: what was seen then is forgotten.
#[test]
fn when_an_overload_is_over_the_mean_begins_anew() {
    for (seconds, anew) in [(30, false), (90, true)] {
        let mut seen = peer();
        let sight = Sight { share: 1.0, load: 1.1 };
        for _ in 0..seconds {
            seen.note(sight, Level { middle: 0.0, fuller: 1.0 }, SECOND, WINDOW);
        }
        let mut youngest = seen.age();
        for _ in 0..10 {
            seen.note(sight, level(0.0), SECOND, WINDOW);
            youngest = youngest.min(seen.age());
        }
        assert_eq!(youngest.is_zero(), anew, "{seconds}");
    }
}
