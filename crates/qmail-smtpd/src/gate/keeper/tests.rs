use std::time::{Duration, Instant};

use auth::checker::{Client, Order, PATIENCE};
use kit::Scratch;

use super::*;

/// Everybody's password is `secret`, but nobody's.
const CHECKER: &str = r#"
tr '\0' '\n' <&3 >"$0.got"
{ read -r user; read -r password; } <"$0.got"
[ "$password" = secret ] && [ "$user" != nobody ] || exit 1
exec "$@"
"#;

fn password(name: &str, password: &str) -> Question {
    Question::Ask(Request::Password {
        name: name.as_bytes().to_vec(),
        password: password.as_bytes().to_vec(),
    })
}

fn keeper(place: &Scratch, script: &str, doubt: bool, address: &str) -> Keeper {
    let file = place.join("checker");
    if !file.exists() {
        place.script("checker", script);
    }
    let tables = place.join("throttle");
    Throttle::create(&tables, 0o600).unwrap();
    let checker = Checker {
        words: vec![
            file.into_os_string().into_encoded_bytes(),
            b"/bin/true".to_vec(),
        ],
        order: Order::ResponseFirst,
        client: Client::Hidden,
        limit: Some(PATIENCE),
        environment: Vec::new(),
    };
    let guard = Guard {
        throttle: Throttle::open(&tables),
        address: address.parse().ok(),
    };
    Keeper::new(checker, doubt, guard)
}

const YES: Answer = Answer::Verdict(Verdict::Accepted);
const TROUBLE: Answer = Answer::Verdict(Verdict::Temporary);

fn failure(answer: &Answer) -> Failure {
    match answer {
        Answer::Failed(failure) => *failure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_guesses_is_barred_and_honest_users_beside_him_are_not() {
    let place = Scratch::new("keeper-guess");
    let address = "192.0.2.7";
    let mut honest = keeper(&place, CHECKER, false, address);
    assert_eq!(honest.ask(&password("alice", "secret")), YES);
    let mut guesser = keeper(&place, CHECKER, false, address);
    let mut last = Duration::ZERO;
    for n in 1..=30 {
        let failed = failure(&guesser.ask(&password(&format!("user{n}"), "wrong")));
        assert!(!failed.unasked && failed.network == n, "{n} {failed:?}");
        assert!(failed.delay >= last, "{n}");
        last = failed.delay;
    }
    assert!(last >= Duration::from_secs(8));
    // Now even the right password of somebody who was never seen here is not tried.
    std::fs::remove_file(place.join("checker.got")).unwrap();
    let failed = failure(&guesser.ask(&password("bob", "secret")));
    assert!(failed.unasked);
    assert!(!place.join("checker.got").exists());
    // Who got in from here before, gets in.
    assert_eq!(honest.ask(&password("alice", "secret")), YES);
    let mut later = keeper(&place, CHECKER, false, address);
    assert_eq!(later.ask(&password("alice", "secret")), YES);
    // From elsewhere everybody does.
    let mut elsewhere = keeper(&place, CHECKER, false, "198.51.100.9");
    assert_eq!(elsewhere.ask(&password("bob", "secret")), YES);
    // Guesses at one account from everywhere bar strangers from it, not its owner.
    for n in 0..60 {
        let from = format!("203.0.113.{n}");
        keeper(&place, CHECKER, false, &from)
            .guard
            .failed(b"alice", false);
    }
    let mut stranger = keeper(&place, CHECKER, false, "198.51.100.77");
    assert!(failure(&stranger.ask(&password("alice", "secret"))).unasked);
    assert_eq!(honest.ask(&password("alice", "secret")), YES);
}

#[test]
fn without_an_address_there_is_the_shortest_delay() {
    let place = Scratch::new("keeper-none");
    let mut nowhere = keeper(&place, CHECKER, false, "unknown");
    for _ in 0..40 {
        let failed = failure(&nowhere.ask(&password("alice", "wrong")));
        assert_eq!(failed.delay, LEAST_DELAY);
        assert!(!failed.unasked);
    }
    assert_eq!(nowhere.ask(&password("alice", "secret")), YES);
}

#[test]
fn a_checker_in_doubt_must_say_no_before_it_is_believed() {
    let place = Scratch::new("keeper-doubt");
    let mut good = keeper(&place, CHECKER, true, "192.0.2.7");
    assert_eq!(good.ask(&password("alice", "secret")), YES);
    let place = Scratch::new("keeper-careless");
    let mut careless = keeper(&place, "exec \"$@\"", true, "192.0.2.7");
    assert_eq!(careless.ask(&password("alice", "secret")), TROUBLE);
    assert_eq!(careless.ask(&password("alice", "secret")), TROUBLE);
}

/// CVE-2000-0990 and its kind: what the checker does for both is its own affair; we do the same.
#[test]
fn an_unknown_name_takes_as_long_as_a_wrong_password() {
    const ROUNDS: usize = 60;
    let place = Scratch::new("keeper-oracle");
    let mut keeper = keeper(&place, CHECKER, false, "unknown");
    // The least of many, by turns: what the machine does besides only adds. A run of the checker is a millisecond or two.
    let mut least = [Duration::MAX; 2];
    let mut is_alike = false;
    for round in 1..=10 * ROUNDS {
        for (least, name) in least.iter_mut().zip(["alice", "nobody"]) {
            let begun = Instant::now();
            let failed = failure(&keeper.ask(&password(name, "wrong")));
            *least = begun.elapsed().min(*least);
            assert_eq!(failed.delay, LEAST_DELAY);
        }
        let [wrong, unknown] = least;
        is_alike = wrong.max(unknown) * 2 < wrong.min(unknown) * 3;
        if round >= ROUNDS && is_alike {
            break;
        }
    }
    assert!(is_alike, "{least:?}");
}

#[test]
fn questions_out_of_order_open_nothing() {
    let place = Scratch::new("keeper-order");
    let mut keeper = keeper(&place, "exec \"$@\"", false, "192.0.2.7");
    let proof = Question::Prove {
        message: b"x".to_vec(),
        proof: b"y".to_vec(),
    };
    let scram = Question::Ask(Request::Scram {
        name: b"alice".to_vec(),
        hash: auth::digest::Hash::Sha256,
    });
    assert_eq!(keeper.ask(&Question::Go), TROUBLE);
    assert_eq!(keeper.ask(&proof), TROUBLE);
    // A checker that does not know SCRAM and ends with 0 has proved nothing.
    assert_eq!(keeper.ask(&scram), TROUBLE);
    assert_eq!(keeper.ask(&Question::Go), TROUBLE);
    let refused = Answer::Verdict(Verdict::Refused);
    assert_eq!(keeper.ask(&Question::GiveUp), refused);
}
