//! STARTTLS: what is offered, what is forgotten, what may not come ahead of it.

use super::*;
use crate::channel::Gone;

fn offered() -> Settings {
    let mut settings = settings();
    settings.tls.offer = Offer::May;
    settings
}

/// The client sends these, each after the reply to the one before.
fn talk(settings: Settings, lines: &[&str]) -> Left {
    Play::new(settings).run(lines.iter().map(|l| send(&format!("{l}\r\n"))))
}

#[test]
fn starttls_is_offered_only_if_somebody_does_it() {
    for (offer, covered, told) in [
        (Offer::No, false, false),
        (Offer::May, false, true),
        (Offer::Must, false, true),
        (Offer::No, true, false),
    ] {
        let mut settings = settings();
        settings.tls.offer = offer;
        settings.tls.cover = covered.then(cover);
        let left = talk(settings, &["EHLO x", "STARTTLS", "EHLO x", "QUIT"]);
        assert_eq!(
            left.told.contains("250-STARTTLS\r\n"),
            told,
            "{}",
            left.told
        );
        assert_eq!(left.told.matches("STARTTLS").count(), usize::from(told));
        let code = match (told, covered) {
            (true, _) => 220,
            (false, true) => 503,
            (false, false) => 502,
        };
        assert_eq!(left.codes(), [250, code, 250, 221]);
    }
}

#[test]
fn tls_changes_the_received_line_and_the_log() {
    let lines = [
        "EHLO x",
        "STARTTLS",
        "EHLO y",
        ENVELOPE.trim_end(),
        "x\r\n.",
        "QUIT",
    ];
    let left = talk(offered(), &lines);
    assert_eq!(left.codes(), [250, 220, 250, 250, 250, 354, 250, 221]);
    assert!(
        left.stored_received().starts_with(
            "Received: from client.test (HELO y) (192.0.2.1)\n  by mx.host.test with ESMTPS \
             (TLSv1.3 TLS_AES_256_GCM_SHA384 encrypted); "
        ),
        "{}",
        left.stored_received()
    );
    assert!(left.log.contains(" helo=y tls=TLSv1.3 "), "{}", left.log);
    let mut smtps = settings();
    smtps.tls.cover = Some(Cover::default());
    let left = talk(smtps, &["EHLO y", ENVELOPE.trim_end(), "x\r\n.", "QUIT"]);
    assert!(left.stored_received().contains(" with ESMTPS; "));
    assert!(left.log.contains(" tls=yes "));
}

#[test]
fn everything_said_in_clear_is_forgotten() {
    let left = talk(
        offered(),
        &[
            "EHLO clear",
            "STARTTLS",
            "RCPT TO:<v@host.test>",
            "DATA",
            "MAIL FROM:<a@b.test>",
            "HELO tls",
            "MAIL FROM:<a@b.test>",
            "QUIT",
        ],
    );
    assert_eq!(left.codes(), [250, 220, 503, 503, 503, 250, 250, 221]);
    assert!(left.told.contains("503 5.5.1 EHLO first (#5.5.1)\r\n"));
    assert!(!left.log.contains("clear"), "{}", left.log);
}

#[test]
fn starttls_has_its_time() {
    let left = talk(
        offered(),
        &[
            "STARTTLS now",
            "MAIL FROM:<a@b.test>",
            "STARTTLS",
            "RCPT TO:<v@host.test>",
            "STARTTLS",
            "RSET",
            "starttls",
            "STARTTLS",
            "QUIT",
        ],
    );
    assert_eq!(left.codes(), [501, 250, 503, 250, 503, 250, 220, 503, 221]);
}

/// CVE-2011-0411: bytes behind STARTTLS, in the same segment, must not be taken for words under TLS.
#[test]
fn nothing_may_follow_starttls() {
    let evil = "EHLO evil\r\nMAIL FROM:<e@b.test>\r\nRCPT TO:<v@host.test>\r\nDATA\r\n\r\n.\r\n";
    for size in (1..=64).chain([evil.len()]) {
        let evil: String = evil.chars().take(size).collect();
        let left = Play::new(offered()).run([
            send("EHLO x\r\n"),
            send(&format!("STARTTLS\r\n{evil}")),
            send("EHLO y\r\n"),
        ]);
        assert!(
            left.told
                .ends_with("421 5.5.1 nothing may follow STARTTLS (#5.5.1)\r\n")
        );
        assert!(!left.told.contains("=TLS="), "{}", left.told);
        assert!(left.stored.is_empty());
        assert!(left.log.contains(" reason=ahead "), "{}", left.log);
        // What came before in the segment is answered in clear.
        let left = Play::new(offered()).run([
            send(&format!("EHLO x\r\nNOOP\r\nSTARTTLS\r\n{evil}")),
            send("EHLO y\r\n"),
        ]);
        assert_eq!(left.codes(), [250, 250, 421]);
    }
    // The line itself may come in pieces.
    for at in 1..10 {
        let (head, tail) = "STARTTLS\r\n".split_at(at);
        let left = Play::new(offered()).run([send(head), send(tail), send("EHLO y\r\nQUIT\r\n")]);
        assert_eq!(left.codes(), [220, 250, 221]);
    }
}

#[test]
fn a_failed_handshake_ends_the_session() {
    let mut play = Play::new(offered());
    play.no_handshake = true;
    let left = play.run([send("STARTTLS\r\n"), send("EHLO y\r\n")]);
    assert_eq!(left.codes(), [220]);
    assert_eq!(left.end, End::Gone(Gone::Tls));
    assert!(
        left.log
            .contains(" result=nothing code=- status=- reason=tls ")
    );
}

#[test]
fn tls_can_be_asked_for() {
    let mut settings = settings();
    settings.tls.offer = Offer::Must;
    let lines = [
        "EHLO x",
        "MAIL FROM:<a@b.test>",
        "STARTTLS",
        "EHLO x",
        "MAIL FROM:<a@b.test>",
    ];
    let left = talk(settings, &lines);
    assert_eq!(left.codes(), [250, 530, 220, 250, 250]);
    assert!(
        left.told
            .contains("530 5.7.0 must issue a STARTTLS command first (#5.7.0)\r\n")
    );
}
