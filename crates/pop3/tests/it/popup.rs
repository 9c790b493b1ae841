//! qmail-popup with checkers of all kinds.

use std::time::{Duration, Instant};

use kit::{Output, Run, Scratch, program};

/// Shows what it got on descriptor 3, and ends as CODE says.
const SHOW: &str = "tr '\\0' '|' <&3; exit \"${CODE-0}\"";

struct Place {
    scratch: Scratch,
}

impl Place {
    fn new(name: &str) -> Place {
        let scratch = Scratch::new(name);
        scratch.script("show", SHOW);
        Place { scratch }
    }

    fn run(&self, checker: &[&str]) -> Run {
        Run::new(program("qmail-popup"))
            .arg("h.test")
            .args(checker)
            .dir(self.scratch.path())
    }

    fn say(&self, checker: &[&str], lines: &str) -> Output {
        let lines = lines.replace('|', "\r\n") + "\r\n";
        self.run(checker).stdin(lines).output()
    }

    /// What is said after the greeting.
    fn replies(&self, checker: &[&str], lines: &str) -> String {
        let output = self.say(checker, lines);
        assert_eq!((output.code(), output.err_text()), (1, String::new()));
        let said = output.out_text().replace("\r\n", "\n");
        let (greeting, rest) = said.split_once('\n').unwrap();
        let stamp = greeting.strip_prefix("+OK ").unwrap();
        rest.replace(stamp, "STAMP")
    }
}

#[test]
fn the_checker_gets_three_strings() {
    let place = Place::new("popup-strings");
    let show = &["./show"];
    for (lines, want) in [
        ("user joe|pass secret", "+OK \njoe|secret|STAMP|"),
        ("user a b|pass  c d ", "+OK \na b|c d |STAMP|"),
        ("apop joe 00ff", "joe|00ff|STAMP|"),
        ("auth plain AGpvZQB4", "joe|x||"),
        (
            "auth login|am9l|eA==",
            "+ VXNlcm5hbWU6\n+ UGFzc3dvcmQ6\njoe|x||",
        ),
    ] {
        assert_eq!(place.replies(show, lines), want);
    }
    let output = place
        .run(show)
        .env("POP3AUTH", "+cram")
        .env("CRAMORDER", "challenge")
        .stdin("auth cram-md5\r\nam9lIDAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVm\r\n")
        .output();
    let said = output.out_text();
    let challenge = said.lines().nth(1).unwrap().strip_prefix("+ ").unwrap();
    let challenge = auth::encoding::decode(challenge.as_bytes()).unwrap();
    let challenge = String::from_utf8(challenge).unwrap();
    let want = format!("joe|{challenge}|0123456789abcdef0123456789abcdef|");
    assert!(said.ends_with(&want), "{said}");
}

#[test]
fn what_the_client_has_sent_ahead_belongs_to_the_server_behind() {
    let place = Place::new("popup-ahead");
    place
        .scratch
        .script("server", "cat <&3 >/dev/null; exec cat");
    let said = place.replies(&["./server"], "user joe|pass x|stat|quit");
    assert_eq!(said, "+OK \nstat\nquit\n");
}

#[test]
fn a_refusal_tells_nothing_and_takes_its_time() {
    let place = Place::new("popup-refused");
    place
        .scratch
        .script("slow", "cat <&3 >/dev/null; sleep 0.5; exit 1");
    place.scratch.script("fast", "exit 1");
    let mut times = Vec::new();
    for checker in ["./slow", "./fast"] {
        let begun = Instant::now();
        let said = place.replies(&[checker], "user joe|pass x|quit");
        assert_eq!(said, "+OK \n-ERR [AUTH] authorization failed\n");
        times.push(begun.elapsed());
    }
    assert!(
        times.iter().all(|t| *t >= Duration::from_secs(2)),
        "{times:?}"
    );
}

#[test]
fn trouble_of_the_checker_is_no_refusal() {
    let place = Place::new("popup-trouble");
    for checker in [
        &["sh", "-c", "exit 111"][..],
        &["sh", "-c", "exit 2"],
        &["sh", "-c", "kill -SEGV $$"],
        &["./nosuch"],
    ] {
        assert_eq!(
            place.replies(checker, "apop joe x"),
            "-ERR [SYS/TEMP] unable to check passwords now\n"
        );
    }
    assert_eq!(place.replies(&["true"], "apop joe x|stat"), "");
}

#[test]
fn names_that_are_none_are_refused_unasked_or_given_as_they_are() {
    let place = Place::new("popup-names");
    let show = &["./show"];
    for name in [
        "../../etc/passwd",
        "/x",
        ".",
        "a:b",
        "\u{e4}\u{ff}",
        "-x",
        "%s%n",
    ] {
        let said = place.replies(show, &format!("apop {name} x"));
        assert_eq!(said, format!("{name}|x|STAMP|"));
    }
    // More than a checker reads, and what would be two strings.
    let long = "x".repeat(600);
    for line in [
        format!("apop {long} x"),
        format!("apop joe {long}"),
        "apop a\0b x".into(),
    ] {
        assert_eq!(
            place.replies(show, &line),
            "-ERR [AUTH] authorization failed\n",
            "{line}"
        );
    }
}

#[test]
fn a_password_is_in_no_environment_and_no_argument() {
    let place = Place::new("popup-secret");
    place.scratch.script(
        "look",
        "cat <&3 >/dev/null; (env; tr '\\0' ' ' </proc/$$/cmdline; tr '\\0' ' ' </proc/$PPID/cmdline) | grep -c hunter2; exit 0",
    );
    let said = place.replies(&["./look"], "user joe|pass hunter2");
    assert_eq!(said, "+OK \n0\n");
}

#[test]
fn a_line_of_the_log_when_asked_for() {
    let place = Place::new("popup-log");
    let output = place
        .run(&["sh", "-c", "exit 1"])
        .env("POP3LOG", "1")
        .env("TCPREMOTEIP", "192.0.2.7")
        .env("UCSPITLS", "")
        .stdin("user jo\te\r\npass hunter2\r\n")
        .output();
    let log = output.err_text();
    assert!(
        log.contains(" ip=192.0.2.7 host=- user=jo?e method=PASS tls=0 result=refused time="),
        "{log}"
    );
    assert!(!log.contains("hunter2") && log.lines().count() == 1);
}

#[test]
fn endless_input_is_not_kept() {
    let place = Place::new("popup-endless");
    for start in ["", "user ", "auth plain ", "auth plain\r\n"] {
        let mut wire = start.as_bytes().to_vec();
        wire.extend(vec![b'A'; 3 << 20]);
        let output = place.run(&["true"]).stdin(wire).output();
        assert_eq!(output.code(), 1);
        let said = output.out_text();
        assert!(
            said.ends_with("-ERR line too long\r\n") || said.ends_with("+ \r\n"),
            "{said}"
        );
    }
}

#[test]
fn every_byte_is_survived() {
    let place = Place::new("popup-bytes");
    for byte in 0..=255u8 {
        let mut wire = b"noop\r\n".to_vec();
        for verb in ["", "user ", "pass ", "auth ", "capa "] {
            wire.extend_from_slice(verb.as_bytes());
            wire.extend_from_slice(&[byte, byte, b'\r', b'\n']);
        }
        wire.extend_from_slice(b"quit\r\n");
        let output = place
            .run(&["true"])
            .limit(Duration::from_mins(1))
            .stdin(wire)
            .output();
        assert_eq!(output.code(), 1, "{byte}");
        assert!(output.out_text().starts_with("+OK <"));
    }
}

#[test]
fn usage() {
    for arguments in [&[][..], &["h.test"]] {
        let output = Run::new(program("qmail-popup")).args(arguments).output();
        assert_eq!(
            (output.code(), output.out_text().as_str()),
            (1, "-ERR usage: popup hostname subprogram\r\n")
        );
    }
}

#[test]
fn who_guesses_is_refused_unasked_and_who_is_known_gets_in() {
    let place = Place::new("popup-throttle");
    let home = place.scratch.path().to_str().unwrap().to_owned();
    std::fs::create_dir(place.scratch.join("run")).unwrap();
    let tables = place.scratch.join("run/throttle");
    auth::throttle::Throttle::create(&tables, 0o600).unwrap();
    // Knows one password, and leaves a mark when it is asked.
    place.scratch.script(
        "check",
        "echo asked >>asked; test \"$(tr '\\0' '|' <&3 | cut -d'|' -f2)\" = right || exit 1; echo in",
    );
    let say = |password: &str| {
        let output = place
            .run(&["./check"])
            .env("QMAILHOME", &home)
            .env("TCPREMOTEIP", "192.0.2.9")
            .env("POP3LOG", "")
            .limit(Duration::from_mins(2))
            .stdin(format!("apop joe {password}\r\n"))
            .output();
        let last = output.out_text().lines().last().unwrap().to_owned();
        (last, output.err_text())
    };
    let (said, log) = say("right");
    assert_eq!(said, "in");
    assert!(log.contains("result=accepted time="), "{log}");
    let (_, log) = say("wrong");
    assert!(log.contains("result=refused failures=1/1"), "{log}");
    // The rest of a long night, without waiting for it.
    let throttle = auth::throttle::Throttle::open(&tables);
    for _ in 0..80 {
        throttle.failed("192.0.2.9".parse().unwrap(), b"joe");
        throttle.failed("192.0.2.9".parse().unwrap(), b"ann");
    }
    assert_eq!(say("right").0, "in", "he is known here");
    let asked = place.scratch.read("asked").len();
    let output = place
        .run(&["./check"])
        .env("QMAILHOME", &home)
        .env("TCPREMOTEIP", "192.0.2.9")
        .env("POP3LOG", "")
        .limit(Duration::from_mins(2))
        .stdin("apop ann right\r\n")
        .output();
    assert!(
        output
            .out_text()
            .ends_with("-ERR [AUTH] authorization failed\r\n")
    );
    assert!(output.err_text().contains("result=barred failures="));
    assert_eq!(place.scratch.read("asked").len(), asked, "nobody was asked");
}
