//! Every limit, and what is said when it is reached.

use super::*;
use crate::channel::Gone;

#[test]
fn a_long_line_is_refused_and_the_session_goes_on() {
    let line = |n: usize| format!("NOOP {}\r\n", "x".repeat(n - 7));
    assert_eq!(run(line(2048)).codes(), [250]);
    assert_eq!(run(line(2049)).codes(), [500]);
    let left = run(format!("{}NOOP\r\n", line(1 << 20)));
    assert_eq!(left.codes(), [500, 250]);
    let left = run(format!("{}NOOP\r\n", line((1 << 20) + 40_000)));
    assert_eq!(left.codes(), [421]);
    assert!(left.told.contains("421 4.7.0 line far too long"));
    // The tail of a long line is not a command.
    let left = run(format!("NOOP {}RSET\r\n", " ".repeat(5000)));
    assert_eq!(left.codes(), [500]);
}

#[test]
fn recipients_have_a_limit() {
    let rcpt = "RCPT TO:<v@host.test>\r\n";
    let left = run(format!(
        "MAIL FROM:<>\r\n{rcpt}{rcpt}{rcpt}{rcpt}DATA\r\n\r\n.\r\n"
    ));
    assert_eq!(left.codes(), [250, 250, 250, 250, 452, 354, 250]);
    assert_eq!(left.stored[0].recipients.len(), 3);
    assert!(left.log.contains("rcpt=3 refused=1"));
    // Not only their number: all of them must be remembered.
    let mut play = Play::new(settings());
    play.settings.max_recipients = 0;
    let long = format!("RCPT TO:<{}@host.test>\r\n", "a".repeat(880));
    let left = play.run([send(&format!("MAIL FROM:<>\r\n{}", long.repeat(400)))]);
    assert!(left.codes().ends_with(&[452, 452]));
}

#[test]
fn errors_have_a_limit() {
    let left = run("FOO\r\n".repeat(50));
    assert_eq!(left.codes().len(), 21);
    assert_eq!(left.codes()[20], 421);
    assert!(
        left.told
            .ends_with("421 4.7.0 too many errors (#4.7.0)\r\n")
    );
    assert!(left.log.contains("code=421 status=4.7.0 reason=maxerrors"));
    let guesses = "RCPT TO:<unknown@host.test>\r\n".repeat(50);
    let left = run(format!("MAIL FROM:<>\r\n{guesses}"));
    assert_eq!(left.codes().len(), 22);
    assert!(left.log.contains("refused=20"));
    let mut play = Play::new(settings());
    play.settings.max_errors = 0;
    assert_eq!(play.run([send(&"FOO\r\n".repeat(50))]).codes().len(), 50);
}

#[test]
fn hops_have_a_limit() {
    let hop = "Received: x\r\n";
    let text = |n: usize| format!("{}\r\n{hop}", hop.repeat(n));
    assert_eq!(run(message(&text(4))).stored.len(), 1);
    let left = run(message(&text(5)));
    let told = "554 5.4.6 too many hops, this message is looping (#5.4.6)\r\n221";
    assert!(left.told.contains(told));
    assert!(left.stored.is_empty());
    let logged = "result=refused code=554 status=5.4.6 reason=hops qp=-";
    assert!(left.log.contains(logged));
}

#[test]
fn the_header_has_limits() {
    let left = run(message(&"A: b\r\n".repeat(21)));
    let told = "554 5.6.0 sorry, that message header has too many lines";
    assert!(left.told.contains(told));
    let left = run(message(&format!("A: {}", "b".repeat(1000))));
    let told = "552 5.3.4 sorry, that message header is too long";
    assert!(left.told.contains(told));
    let left = run(message(&format!("\r\n{}", "b\r\n".repeat(1000))));
    assert_eq!(left.stored.len(), 1);
}

#[test]
fn databytes_is_the_size_as_stored() {
    let mut play = Play::new(settings());
    play.settings.data.databytes = 10;
    // Two line ends, a dot that is not stored, eight bytes.
    let left = play.run([send(&message("\r\n.1234567."))]);
    assert_eq!(left.stored.len(), 1);
    assert_eq!(left.stored[0].text.len(), 10);
    let left = play.run([send(&message("\r\n..1234567."))]);
    let told = "552 5.3.4 sorry, that message size exceeds my databytes limit (#5.3.4)\r\n221";
    assert!(left.told.contains(told));
    assert!(left.stored.is_empty());
    let left = play.run([send(
        "MAIL FROM:<> SIZE=11\r\nRCPT TO:<v@host.test>\r\nMAIL FROM:<> SIZE=10\r\n",
    )]);
    assert_eq!(left.codes(), [552, 503, 250]);
}

#[test]
fn silence_has_a_limit() {
    let left = run_acts([
        send("NOOP\r\n"),
        Act::Wait(1199),
        send("NOOP\r\n"),
        Act::Wait(1201),
    ]);
    assert_eq!(left.codes(), [250, 250, 451]);
    assert!(left.told.ends_with("451 4.4.2 timeout (#4.4.2)\r\n"));
    assert_eq!(left.end, End::Gone(Gone::Idle));
    let logged = "result=deferred code=451 status=4.4.2 reason=timeout";
    assert!(left.log.contains(logged));
    // A line that never ends does not keep the session alive.
    let drip = (0..30).flat_map(|_| [send("x"), Act::Wait(100)]);
    assert_eq!(run_acts(drip).codes(), [451]);
    // In the middle of a message nothing is stored.
    let left = run_acts([
        send(ENVELOPE),
        send("\r\nx\r\n"),
        Act::Wait(1201),
        send(".\r\n"),
    ]);
    assert_eq!(left.codes(), [250, 250, 354, 451]);
    assert!(left.stored.is_empty());
    assert!(left.log.contains("bytes=3 result=deferred code=451"));
}

#[test]
fn the_session_has_a_limit() {
    let noops = || (0..40).flat_map(|_| [send("NOOP\r\n"), Act::Wait(100)]);
    let left = run_acts(noops());
    assert_eq!(left.codes().last(), Some(&421));
    assert_eq!(left.codes().len(), 38);
    let told = "421 4.4.2 session took too long (#4.4.2)\r\n";
    assert!(left.told.ends_with(told));
    let mut play = Play::new(settings());
    play.settings.total = None;
    assert_eq!(play.run(noops()).codes().len(), 40);
}

#[test]
fn a_message_must_make_progress() {
    let drip = |bytes: &str| {
        let mut acts = vec![send(ENVELOPE), send("\r\n")];
        for _ in 0..200 {
            acts.extend([Act::Wait(10), send(bytes)]);
        }
        acts.push(send("\r\n.\r\n"));
        acts
    };
    let left = run_acts(drip("x"));
    let told = "354 go ahead\r\n421 4.4.2 too slow (#4.4.2)\r\n";
    assert!(left.told.ends_with(told));
    assert!(left.stored.is_empty());
    assert_eq!(run_acts(drip(&"x".repeat(40))).stored.len(), 1);
    let mut play = Play::new(settings());
    play.settings.data.progress = None;
    assert_eq!(play.run(drip("x")).stored.len(), 1);
}

#[test]
fn a_client_that_does_not_listen_is_gone() {
    let mut play = Play::new(settings());
    play.deaf = true;
    let left = play.run([send(&message("x"))]);
    assert_eq!(left.end, End::Gone(Gone::Disconnect));
    assert!(left.stored.is_empty());
}

#[test]
fn a_broken_connection_stores_nothing() {
    let whole = message("Subject: x\r\n\r\nbody");
    let end = whole.find("\r\n.\r\n").unwrap() + 5;
    for cut in 0..end {
        let left = run(&whole.as_bytes()[..cut]);
        assert!(left.stored.is_empty(), "{cut}");
        assert_eq!(left.end, End::Gone(Gone::Disconnect));
        assert_eq!(left.log.lines().count(), 1, "{cut}");
        if cut > 60 {
            let logged = "result=lost code=- status=- reason=disconnect";
            assert!(left.log.contains(logged), "{}", left.log);
        }
    }
    assert_eq!(run(&whole.as_bytes()[..end]).stored.len(), 1);
}

#[test]
fn what_a_stranger_says_stays_one_line_of_the_log() {
    for evil in ["\x1b[2J", "x\u{85}y", "a b=c", "\t", "\x07", "\u{202e}"] {
        let left = run(format!(
            "HELO {evil}\r\nMAIL FROM:<\"{evil}\"@b.test>\r\nMAIL FROM:<>\r\n\
             RCPT TO:<\"{evil}\"@out.example>\r\nQUIT\r\n"
        ));
        assert!(!left.log.is_empty());
        for line in left.log.split_inclusive('\n') {
            let line = line.strip_suffix('\n').unwrap();
            assert!(line.bytes().all(|b| (32..127).contains(&b)), "{line:?}");
            for word in line.split(' ').skip(1) {
                let (key, value) = word.split_once('=').unwrap();
                assert!(!key.is_empty() && !value.is_empty());
            }
        }
    }
}

#[test]
fn one_line_for_each_outcome() {
    assert_eq!(
        run("QUIT\r\n").log,
        "qmail-smtpd: pid=4 ip=192.0.2.1 host=client.test info=- helo=- tls=- auth=- result=nothing code=- \
         status=- reason=quit time=0.000\n"
    );
    let logged = "result=nothing code=- status=- reason=disconnect";
    assert!(run("").log.contains(logged));
    let logged = "result=refused code=501 status=5.1.7 reason=syntax";
    assert!(run("MAIL x\r\nQUIT\r\n").log.contains(logged));
    let left = run("MAIL FROM:<a@b>\r\nRCPT TO:<x@out.example>\r\nRSET\r\n\
         MAIL FROM:<>\r\nRCPT TO:<unknown@host.test>\r\nQUIT\r\n");
    assert_eq!(left.log.lines().count(), 2);
    for logged in [
        "from=<a@b> to=<x@out.example> rcpt=0 refused=1 bytes=0 \
         result=refused code=553 status=5.7.1 reason=rcpthosts",
        "from=<> to=<unknown@host.test> rcpt=0 refused=1 bytes=0 \
         result=refused code=550 status=5.1.1 reason=unknown",
    ] {
        assert!(left.log.contains(logged), "{}", left.log);
    }
    let two = format!("{}{}", message("x").replace("QUIT\r\n", ""), message("y"));
    assert_eq!(run(two).log.lines().count(), 2);
}
