use std::time::{Duration, Instant};

use kit::Output;

use crate::Place;

fn print(place: &Place, message: impl AsRef<[u8]>) -> Output {
    place.run("qmail-inject").arg("-n").stdin(message).output()
}

#[test]
fn n_prints_and_queues_nothing() {
    let place = Place::new("inject-n");
    let output = print(&place, "To: a@b.t\nBcc: c@d.t\n\nbody");
    assert_eq!(output.code(), 0);
    let text = output.out_text();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("Return-Path: <joe@host.test>"));
    assert!(lines.next().unwrap().starts_with("Date: "));
    assert!(lines.next().unwrap().starts_with("Message-ID: <2"));
    assert_eq!(
        lines.collect::<Vec<_>>().join("\n"),
        "From: joe@host.test\nTo: a@b.t\n\nbody"
    );
    assert!(text.ends_with("body\n"));
    assert_eq!(place.got(), "");
    let both = place.run("qmail-inject").args(["-nN", "a@b.t"]).output();
    assert_eq!(both.code(), 0);
    assert_eq!(place.envelope(), "Fjoe@host.test|Ta@b.t||");
}

#[test]
fn closed_descriptors_are_read_errors() {
    let place = Place::new("inject-closed");
    for number in [0, 1] {
        let output = place.run("qmail-inject").arg("-n").closed(number).output();
        assert_eq!(output.code(), 111);
        assert_eq!(output.err_text(), "qmail-inject: fatal: read error\n");
    }
}

#[test]
fn the_verdict_of_the_queue_program_is_told() {
    let place = Place::new("inject-verdict");
    for (code, exit, text) in [
        ("0", 0, ""),
        (
            "31",
            100,
            "mail server permanently rejected message (#5.3.0)",
        ),
        ("53", 111, "qq write error or disk full (#4.3.0)"),
        ("120", 111, "unable to exec qq (#4.3.0)"),
    ] {
        let output = place
            .run("qmail-inject")
            .env("FAKE_EXIT", code)
            .arg("a@b.t")
            .output();
        assert_eq!(output.code(), exit);
        let line = match text {
            "" => String::new(),
            text => format!("qmail-inject: fatal: {text}\n"),
        };
        assert_eq!(output.err_text(), line);
    }
    let output = place
        .run("qmail-inject")
        .env("QMAILQUEUE", "/nonexistent/queue")
        .arg("a@b.t")
        .output();
    assert_eq!(output.code(), 111);
    assert_eq!(
        output.err_text(),
        "qmail-inject: fatal: unable to exec qq (#4.3.0)\n"
    );
}

#[test]
fn a_queue_program_that_leaves_early_does_not_kill_us() {
    let place = Place::new("inject-early");
    place.home.fake("qmail-queue", "exit 53");
    let body = "x".repeat(1 << 20);
    let output = place.run("qmail-inject").arg("a@b.t").stdin(body).output();
    assert_eq!(output.code(), 111);
    assert_eq!(
        output.err_text(),
        "qmail-inject: fatal: qq write error or disk full (#4.3.0)\n"
    );
}

#[test]
fn unreadable_control_files_are_temporary() {
    let place = Place::new("inject-control");
    for name in ["defaulthost", "defaultdomain", "plusdomain", "idhost"] {
        let path = place.home.join("control").join(name);
        std::fs::create_dir(&path).unwrap();
        let output = print(&place, "To: a\n");
        assert_eq!(
            (output.code(), output.err_text().as_str()),
            (111, "qmail-inject: fatal: read error\n"),
            "{name}"
        );
        std::fs::remove_dir(&path).unwrap();
    }
    let output = place
        .run("qmail-inject")
        .env("QMAILMFTFILE", place.home.path().to_str().unwrap())
        .output();
    assert_eq!(output.code(), 111);
}

#[test]
fn mail_to_a_list_asks_for_answers_to_the_list() {
    let place = Place::new("inject-mft");
    place.home.write("mft", "# lists\nList@l.t  \n");
    let run = |message: &str| {
        place
            .run("qmail-inject")
            .dir(place.home.path())
            .env("QMAILMFTFILE", "mft")
            .arg("-n")
            .stdin(message)
            .output()
            .out_text()
    };
    let found = run("To: \"a b\"@c.t, list@L.t\nCc: d@e.t\nBcc: x@y.t\n");
    let field = "Mail-Followup-To: d@e.t,\n  \"a b\"@c.t,\n  list@L.t\n";
    assert!(found.contains(field), "{found}");
    assert!(!run("To: a@b.t\nBcc: list@l.t\n").contains("Followup"));
    assert!(!run("Resent-To: list@l.t\nTo: list@l.t\n").contains("Followup"));
    assert!(run("Mail-Followup-To: me\nTo: list@l.t\n").contains("Mail-Followup-To: me\n"));
}

#[test]
fn no_address_holds_a_line_end_or_a_nul() {
    let place = Place::new("inject-lines");
    let complaint = |output: &Output| {
        assert_eq!(output.code(), 100);
        output.err_text()
    };
    let start = "qmail-inject: fatal: line end or NUL in address: ";
    for message in [
        &b"To: \"a\n b\"@c.t\n"[..],
        b"Bcc: \"a\r\n RCPT TO:<x>\"@c.t\n",
        b"Resent-To: \"a\0b\"@c.t\n",
        b"Return-Path: \"a\0b\"@c.t\n",
    ] {
        assert!(complaint(&print(&place, message)).starts_with(start));
    }
    let run = place
        .run("qmail-inject")
        .args(["-n", "-fa\nb@c.t"])
        .output();
    assert_eq!(complaint(&run), format!("{start}a?b@c.t\n"));
    let run = place.run("qmail-inject").args(["-n", "a\rb@c.t"]).output();
    assert_eq!(complaint(&run), format!("{start}a?b@c.t\n"));
    // In a name, a folded line is only a name.
    assert_eq!(print(&place, "To: \"a\n b\" <c@d.t>\n").code(), 0);
}

#[test]
fn japanese_names_are_not_taken_apart() {
    let place = Place::new("inject-jis");
    // The second byte of each pair is a quote, a bracket, a comma, an at sign.
    let name = "\x1b$B$\"$<$,$@\x1b(B";
    let output = print(
        &place,
        format!(
            "From: {name} <joe@j.t>\nTo: \"{name}\" <a@b.t>, c@d.t ({name})\nSubject: {name}\n"
        ),
    );
    assert_eq!(output.code(), 0, "{}", output.err_text());
    let text = output.out_text();
    for line in [
        format!("From: \"{name}\" <joe@j.t>\n"),
        format!("To: \"{name}\" <a@b.t>, c@d.t ({name})\n"),
        format!("Subject: {name}\n"),
    ] {
        assert!(text.contains(&line), "{text:?}");
    }
    let output = place
        .run("qmail-inject")
        .arg("-n")
        .env("NAME", name)
        .output();
    let line = format!("From: \"{name}\" <joe@host.test>\n");
    assert!(output.out_text().contains(&line));
}

#[test]
fn half_a_million_recipients_are_fine_and_a_million_are_the_end() {
    let place = Place::new("inject-recipients");
    place.home.fake(
        "qmail-queue",
        "exec 3<&1; cat >/dev/null; cat <&3 | tr '\\000' '\\n' | grep -c ^T >&2",
    );
    let bomb = |count: usize| {
        let list = "a@b.t,".repeat(count);
        let begin = Instant::now();
        let output = place
            .run("qmail-inject")
            .arg("-h")
            .stdin(format!("To: {list}\n\n"))
            .output();
        assert!(begin.elapsed() < Duration::from_secs(100));
        (output.code(), output.err_text())
    };
    assert_eq!(bomb(500_000), (0, "500000\n".to_owned()));
    assert_eq!(
        bomb(1_000_001),
        (
            100,
            "qmail-inject: fatal: more than 1000000 recipients\n".to_owned()
        )
    );
}

#[test]
fn headers_have_a_limit_and_bodies_none() {
    let place = Place::new("inject-limits");
    let quiet = |message: Vec<u8>| {
        let output = place.run("qmail-inject").arg("-a").stdin(message).output();
        (output.code(), output.err_text())
    };
    let too_long = (
        100,
        "qmail-inject: fatal: header longer than 33554432 bytes\n".to_owned(),
    );
    let line = "x".repeat(1000);
    let folded = format!("X: a\n{}", format!(" {line}\n").repeat(34_000));
    assert_eq!(quiet(folded.into_bytes()), too_long);
    assert_eq!(
        quiet(format!("X: {line}\n").repeat(34_000).into_bytes()),
        too_long
    );
    assert_eq!(quiet(b"X: a\n".repeat(1_000_000)), (0, String::new()));
    assert_eq!(
        quiet([b"To: ".to_vec(), b",".repeat(9 << 20)].concat()),
        (
            100,
            "qmail-inject: fatal: too many words in a header field\n".to_owned()
        )
    );
    let body = [b"\n".to_vec(), b"x".repeat(33 << 20)].concat();
    assert_eq!(quiet(body), (0, String::new()));
}

#[test]
fn options_that_mean_nothing_are_refused() {
    let place = Place::new("inject-options");
    for (option, text) in [
        ("-x", "qmail-inject: illegal option -- x\n"),
        ("-f", "qmail-inject: option requires an argument -- f\n"),
    ] {
        let output = place.run("qmail-inject").arg(option).output();
        assert_eq!((output.code(), output.err_text().as_str()), (100, text));
    }
}
