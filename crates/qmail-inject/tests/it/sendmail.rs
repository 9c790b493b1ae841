use std::os::unix::fs::symlink;

use kit::program;

use crate::Place;

const MESSAGE: &str = "To: t@t.test\nBcc: b@t.test\n\nbody\n.\nmore\n";

/// Runs sendmail with the words of `call`; gives exit code and envelope.
fn envelope(place: &Place, call: &str) -> (u8, String) {
    let _ = std::fs::remove_file(place.home.join("got.e"));
    let output = place
        .run("sendmail")
        .args(call.split_ascii_whitespace())
        .stdin(MESSAGE)
        .output();
    (output.code(), place.envelope())
}

#[test]
fn the_usual_callers_are_understood() {
    let place = Place::new("sendmail-callers");
    let both = "Fjoe@host.test|Tb@t.test|Tt@t.test|";
    let both = both.replace("Tb@t.test|Tt@t.test|", "Tt@t.test|Tb@t.test||");
    let cases = [
        // PHP
        ("-t -i", both.as_str()),
        ("-t -i -fs@f.test", "Fs@f.test|Tt@t.test|Tb@t.test||"),
        // cron
        (
            "-i -FCronDaemon -B8BITMIME -oem joe",
            "Fjoe@host.test|Tjoe@host.test||",
        ),
        ("-FCronDaemon -i -odi -oem -oi -t", &both),
        // mailx and mail
        ("-i -m -v a@b.test", "Fjoe@host.test|Ta@b.test||"),
        ("-i -r s@f.test a@b.test", "Fs@f.test|Ta@b.test||"),
        // mutt
        (
            "-oem -oi -N failure,delay -R hdrs -- a@b.test",
            "Fjoe@host.test|Ta@b.test||",
        ),
        ("-oem -oi -f s@f.test -- a@b.test", "Fs@f.test|Ta@b.test||"),
        // git
        ("-f s@f.test -i a@b.test", "Fs@f.test|Ta@b.test||"),
        // vacation programs
        ("-f <> a@b.test", "F|Ta@b.test||"),
        (
            "-bm -Epx -Jx -x -p SMTP:h a@b.test",
            "Fjoe@host.test|Ta@b.test||",
        ),
        (
            "a@b.test -fs@f.test",
            "Fjoe@host.test|Ta@b.test|T-fs@f.test||",
        ),
    ];
    for (call, expected) in cases {
        assert_eq!(envelope(&place, call), (0, expected.to_owned()), "{call}");
    }
}

#[test]
fn addresses_that_begin_with_a_dash_are_no_options() {
    let place = Place::new("sendmail-dash");
    let cases = [
        ("-- -fevil@e.test", "Fjoe@host.test|T-fevil@e.test||"),
        ("-f -n -- -t", "F-n@host.test|T-t@host.test||"),
        ("-f-H -- -n", "F-H@host.test|T-n@host.test||"),
        ("-f -- -- a@b.test", "F--@host.test|Ta@b.test||"),
    ];
    for (call, expected) in cases {
        assert_eq!(envelope(&place, call), (0, expected.to_owned()), "{call}");
    }
}

#[test]
fn the_message_ends_at_end_of_file_only() {
    let place = Place::new("sendmail-dot");
    envelope(&place, "a@b.test");
    assert!(place.got().ends_with("\nbody\n.\nmore\n"));
}

#[test]
fn f_names_the_author_too() {
    let place = Place::new("sendmail-f");
    let run = |args: &[&str]| {
        place
            .run("sendmail")
            .env("NAME", "Old Name")
            .env("MAILHOST", "old.test")
            .args(args)
            .stdin("To: a@b.test\n\n")
            .output();
        let got = place.got();
        got.lines()
            .find(|l| l.starts_with("From: "))
            .unwrap()
            .to_owned()
    };
    assert_eq!(run(&["-t"]), "From: \"Old Name\" <joe@old.test>");
    assert_eq!(run(&["-t", "-fs@f.test"]), "From: s@f.test");
    assert_eq!(run(&["-t", "-fs"]), "From: s@host.test");
    assert_eq!(
        run(&["-t", "-F", "New Name"]),
        "From: \"New Name\" <joe@old.test>"
    );
    // No field can be smuggled in by a name.
    assert_eq!(
        run(&["-t", "-F", "New\nBcc: x@y.test"]),
        "From: \"New Bcc: x@y.test\" <joe@old.test>"
    );
}

#[test]
fn what_means_nothing_here_is_refused() {
    let place = Place::new("sendmail-refuses");
    let usage =
        "sendmail: usage: sendmail [ -t ] [ -fsender ] [ -Fname ] [ -bp ] [ -bs ] [ arg ... ]\n";
    let cases = [
        ("-y a@b.test", "sendmail: illegal option -- y\n"),
        ("-f", "sendmail: option requires an argument -- f\n"),
        ("-bd", ""),
        ("-bv a@b.test", ""),
        ("-q", "sendmail: illegal option -- q\n"),
    ];
    for (call, first) in cases {
        let output = place
            .run("sendmail")
            .args(call.split_ascii_whitespace())
            .output();
        assert_eq!(output.code(), 100, "{call}");
        assert_eq!(output.err_text(), format!("{first}{usage}"), "{call}");
    }
}

#[test]
fn other_names_and_modes_become_other_programs() {
    let place = Place::new("sendmail-modes");
    place.home.fake("qmail-qread", "echo qread $#");
    place.home.fake(
        "qmail-smtpd",
        "echo smtpd $# R=${RELAYCLIENT-unset} D=$DATABYTES P=$PROTO \
         $TCPLOCALIP $TCPLOCALHOST $TCPREMOTEIP $TCPREMOTEHOST $TCPREMOTEINFO",
    );
    let out = |program: &str, args: &[&str]| place.run(program).args(args).output().out_text();
    assert_eq!(out("sendmail", &["-bp"]), "qread 0\n");
    assert_eq!(out("mailq", &[]), "qread 0\n");
    assert_eq!(out("mailq", &["-v"]), "qread 0\n");
    assert_eq!(
        out("sendmail", &["-bs"]),
        "smtpd 0 R= D=0 P=TCP 127.0.0.1 localhost 127.0.0.1 localhost sendmail-bs\n"
    );
    let server = place
        .run("sendmail")
        .env("PROTO", "TCP")
        .arg("-bs")
        .output();
    assert_eq!(server.out_text(), "smtpd 0 R=unset D= P=TCP\n");

    let named = |name: &str| {
        let link = place.home.join(name);
        symlink(program("sendmail"), &link).unwrap();
        kit::Run::new(link)
            .env("QMAILHOME", place.home.path().to_str().unwrap())
            .output()
    };
    assert_eq!(named("mailq").out_text(), "qread 0\n");
    let newaliases = named("newaliases");
    assert_eq!(newaliases.code(), 100);
    assert_eq!(
        newaliases.err_text(),
        "sendmail: fatal: please use fastforward/newaliases instead\n"
    );
}

#[test]
fn a_program_that_cannot_be_run_is_temporary() {
    let place = Place::new("sendmail-missing");
    std::fs::remove_file(place.home.join("bin/qmail-inject")).unwrap();
    let output = place.run("sendmail").output();
    assert_eq!(output.code(), 111);
    assert_eq!(
        output.err_text(),
        "sendmail: fatal: unable to run qmail-inject\n"
    );
    let output = place
        .run("sendmail")
        .env("QMAILHOME", "/nonexistent")
        .output();
    assert_eq!(output.code(), 111);
    assert_eq!(
        output.err_text(),
        "sendmail: fatal: unable to switch to qmail home directory\n"
    );
}
