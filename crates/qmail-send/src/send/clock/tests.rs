use std::time::Duration;

use super::*;

/// A clock that started at 1000, and was looked at when so many seconds had passed and it showed that.
fn clock(looks: &[(u64, i64)]) -> Clock {
    let origin = Instant::now();
    let mut clock = Clock::new(1_000, origin);
    for &(passed, wall) in looks {
        clock.look(wall, origin + Duration::from_secs(passed));
    }
    clock
}

#[test]
fn a_clock_that_nobody_sets_is_right() {
    let clock = clock(&[(10, 1_010), (20, 1_020)]);
    for time in [-5, 0, 900, 1_015, 1_020] {
        assert_eq!(clock.past(time), Some(time));
        assert_eq!((clock.wall(time), clock.coming(time)), (time, time));
    }
    assert_eq!(clock.past(9_999), None);
}

#[test]
fn a_clock_that_is_set_makes_nothing_older() {
    // Forward by a million, a hundred seconds after the start, and a hundred more pass.
    let forward = clock(&[(100, 1_001_100), (200, 1_001_200)]);
    assert_eq!(
        (forward.wall(1_200), forward.wall(1_099)),
        (1_001_200, 1_099)
    );
    let table = [
        // before and after the jump; over which it jumped; to come; before the start
        (1_050, 1_050),
        (1_001_150, 1_150),
        (500_000, 1_100),
        (400, 400),
    ];
    for (wall, steady) in table {
        assert_eq!(forward.past(wall), Some(steady), "{wall}");
    }
    assert_eq!(forward.past(2_000_000), None);
    // Back to the beginning of time, and right again.
    let back = clock(&[(100, 50), (200, 150), (300, 1_300), (400, 1_400)]);
    let table = [
        (60, 1_110),
        (1_050, 1_050),
        (1_350, 1_350),
        // 1,100 to 1,300 were never shown, nor was what comes
        (1_200, 1_300),
    ];
    for (wall, steady) in table {
        assert_eq!(back.past(wall), Some(steady), "{wall}");
    }
    assert_eq!(back.past(5_000), None);
    // Back by 500: what seems to come was before.
    let back = clock(&[(800, 1_800), (801, 1_301), (900, 1_400)]);
    assert_eq!(
        (back.past(1_700), back.past(1_350)),
        (Some(1_700), Some(1_850))
    );
}

#[test]
fn a_clock_that_stands_still_makes_nothing_older_than_it_is() {
    let looks: Vec<(u64, i64)> = (1..1_000).map(|n| (n * 400, 1_000)).collect();
    let clock = clock(&looks);
    assert_eq!(clock.stretches.len(), 1);
    assert_eq!(clock.past(1_000), Some(clock.now));
}

#[test]
fn a_clock_that_is_set_again_and_again_makes_nothing_older_either() {
    let looks: Vec<(u64, i64)> = (1..100u64)
        .map(|n| (n * 400, i64::try_from(n % 7 * 1_000_000).unwrap()))
        .collect();
    let clock = clock(&looks);
    assert_eq!(clock.stretches.len(), LIMIT);
    for wall in [0, 900, 1_001, 1_000_100, 5_999_999] {
        assert!(clock.past(wall).is_none_or(|t| t > 20_000), "{wall}");
    }
}

#[test]
fn the_ends_of_time_do_no_harm() {
    let clock = clock(&[(1, i64::MAX), (2, i64::MIN), (3, i64::MAX)]);
    for wall in [i64::MIN, 0, i64::MAX] {
        assert!(clock.past(wall) <= Some(clock.now));
        let _ = (clock.wall(wall), clock.coming(wall));
    }
}
