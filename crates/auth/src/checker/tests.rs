#![allow(clippy::unwrap_used, clippy::panic, clippy::string_slice)]

use super::*;

fn sh(script: &str) -> Checker {
    let words = ["/bin/sh", "-c", script];
    Checker {
        words: words.map(|w| w.as_bytes().to_vec()).to_vec(),
        order: Order::default(),
        client: Client::Hidden,
        limit: Some(Duration::from_mins(1)),
        environment: Vec::new(),
    }
}

fn request() -> Request {
    Request::Password {
        name: b"tim".to_vec(),
        password: b"tanstaaf".to_vec(),
    }
}

fn ask(script: &str) -> Verdict {
    sh(script).ask(&request())
}

#[test]
fn only_success_is_accepted() {
    assert_eq!(ask("exit 0"), Verdict::Accepted);
    for code in [1, 3, 12, 13, 15, 20, 24] {
        assert_eq!(ask(&format!("exit {code}")), Verdict::Refused, "{code}");
    }
    for script in [
        "exit 2",
        "exit 111",
        "exit 100",
        "exit 127",
        "exit 255",
        "kill -SEGV $$",
        "kill -KILL $$",
    ] {
        assert_eq!(ask(script), Verdict::Temporary, "{script}");
    }
    let missing = Checker {
        words: vec![b"/nonexistent/checker".to_vec()],
        ..sh("")
    };
    assert_eq!(missing.ask(&request()), Verdict::Temporary);
    assert_eq!(
        Checker {
            words: vec![],
            ..missing
        }
        .ask(&request()),
        Verdict::Temporary
    );
}

#[test]
fn a_checker_that_hangs_is_killed() {
    let began = Instant::now();
    let slow = Checker {
        limit: Some(Duration::from_millis(100)),
        ..sh("sleep 50; true")
    };
    assert_eq!(slow.ask(&request()), Verdict::Temporary);
    assert!(began.elapsed() < Duration::from_mins(1));
}

#[test]
fn it_reads_three_strings_and_the_end() {
    let is = |expected: &str| format!("test \"$(tr '\\0' '|' <&3)\" = '{expected}'");
    assert_eq!(ask(&is("tim|tanstaaf||")), Verdict::Accepted);
    let challenge = Request::Response {
        name: b"tim".to_vec(),
        challenge: b"<1.2@h>".to_vec(),
        response: b"00ff".to_vec(),
    };
    assert_eq!(
        sh(&is("tim|00ff|<1.2@h>|")).ask(&challenge),
        Verdict::Accepted
    );
    let old = Checker {
        order: Order::ChallengeFirst,
        ..sh(&is("tim|<1.2@h>|00ff|"))
    };
    assert_eq!(old.ask(&challenge), Verdict::Accepted);
    // It has no client, and the secret is not in its environment.
    assert_eq!(
        ask("test -z \"$(cat)\" && ! env | grep tanstaaf"),
        Verdict::Accepted
    );
    let told = Checker {
        environment: vec![(b"SMTPAUTHMETHOD".to_vec(), b"PLAIN".to_vec())],
        ..sh("test \"$SMTPAUTHMETHOD\" = PLAIN")
    };
    assert_eq!(told.ask(&request()), Verdict::Accepted);
}

#[test]
fn what_does_not_fit_is_refused_unasked() {
    let password = |count: usize| Request::Password {
        name: b"tim".to_vec(),
        password: vec![b'x'; count],
    };
    assert_eq!(sh("exit 0").ask(&password(506)), Verdict::Accepted);
    assert_eq!(sh("exit 0").ask(&password(507)), Verdict::Refused);
    let nul = Request::Password {
        name: b"t\0m".to_vec(),
        password: b"x".to_vec(),
    };
    assert_eq!(sh("exit 0").ask(&nul), Verdict::Refused);
}

fn scram(script: &str) -> Result<(Running, Salted), Verdict> {
    let request = Request::Scram {
        name: b"tim".to_vec(),
        hash: Hash::Sha256,
    };
    sh(script).start(&request).unwrap().salted()
}

#[test]
fn scram_trouble_is_never_acceptance() {
    for (script, verdict) in [
        ("exit 0", Verdict::Temporary),
        ("exit 1", Verdict::Refused),
        ("exit 111", Verdict::Temporary),
        ("printf 'c2FsdA==\\0' >&3", Verdict::Temporary),
        (
            "printf 'c2FsdA==\\0000\\0' >&3; sleep 60",
            Verdict::Temporary,
        ),
        (
            "printf 'c2FsdA==\\0009999999\\0' >&3; sleep 60",
            Verdict::Temporary,
        ),
        ("printf '\\0004096\\0' >&3; sleep 60", Verdict::Temporary),
        (
            "printf 'c2FsdA==\\0004096\\0more' >&3; sleep 60",
            Verdict::Temporary,
        ),
        ("head -c 600 /dev/zero >&3; sleep 60", Verdict::Temporary),
    ] {
        assert_eq!(scram(script).map(|_| ()).unwrap_err(), verdict, "{script}");
    }
    let salt = "printf 'c2FsdA==\\0004096\\0' >&3; ";
    let (running, salted) = scram(&format!("{salt} exec sleep 60")).unwrap();
    assert_eq!((salted.salt, salted.rounds), (b"salt".to_vec(), 4096));
    assert_eq!(running.kill(), Verdict::Temporary);
    for (script, verdict) in [("exit 0", Verdict::Temporary), ("exit 1", Verdict::Refused)] {
        let (running, _) = scram(&format!("{salt} {script}")).unwrap();
        assert_eq!(
            running.prove(b"message", b"proof").map(|_| ()).unwrap_err(),
            verdict
        );
    }
}

#[test]
fn what_a_checker_knows() {
    use crate::sasl::Bound;
    let sha256 = Mechanism::Scram(Hash::Sha256, Bound::Free);
    assert_eq!(
        known(b"scram-sha-256 XOAUTH2\nPLAIN nonsense"),
        [sha256, Mechanism::Xoauth2]
    );
    assert_eq!(known(b""), []);
}
