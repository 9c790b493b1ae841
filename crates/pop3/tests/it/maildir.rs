//! What a session tells of a maildir.

use std::fs;

use crate::mailbox::Mailbox;

#[test]
fn a_name_tells_the_size_and_no_file_is_asked() {
    let mailbox = Mailbox::new("pop3-size");
    mailbox.put("new/1000000001.a.h,S=77777", "x\n");
    mailbox.put("cur/1000000002.b.h,W=5,S=4:2,S", "abc\n");
    mailbox.put("cur/1000000003.c.h,S=x:2,", "abcde\n");
    mailbox.put("cur/1000000004.d.h:2,S=9", "ab\n");
    assert_eq!(
        mailbox.replies("list|uidl 1|stat"),
        [
            "+OK ",
            "1 77777",
            "2 4",
            "3 6",
            "4 3",
            ".",
            "+OK 1 1000000001.a.h,S=77777",
            "+OK 4 77790"
        ]
    );
}

#[test]
fn messages_come_in_the_order_of_their_arrival_and_keep_their_numbers() {
    let mailbox = Mailbox::new("pop3-order");
    for n in [3, 1, 2] {
        mailbox.put(&format!("cur/100000000{n}.x.h,S=1:2,"), "x");
    }
    // Of the same second: by name, the same in every session.
    mailbox.put("new/1000000002.y.h,S=1", "x");
    mailbox.put("cur/1000000002.w.h,S=1:2,S", "x");
    let first = mailbox.replies("uidl");
    assert_eq!(
        first,
        [
            "+OK ",
            "1 1000000001.x.h,S=1",
            "2 1000000002.w.h,S=1",
            "3 1000000002.x.h,S=1",
            "4 1000000002.y.h,S=1",
            "5 1000000003.x.h,S=1",
            "."
        ]
    );
    mailbox.say("quit");
    assert_eq!(mailbox.list("new"), Vec::<String>::new());
    assert_eq!(mailbox.replies("uidl"), first);
}

#[test]
fn a_message_of_this_second_waits_and_one_from_the_future_does_not_hide() {
    let mailbox = Mailbox::new("pop3-now");
    mailbox.put("new/9999999999.future.h,S=1", "x");
    assert_eq!(mailbox.replies("stat"), ["+OK 1 1"]);
    let next = sys::time::local(0).map_or(0, |_| base::tai::unix_now()) + 1000;
    mailbox.put(&format!("new/{next}.soon.h,S=1"), "x");
    let file = fs::File::options()
        .write(true)
        .open(mailbox.path(&format!("new/{next}.soon.h,S=1")))
        .unwrap();
    let ahead = std::time::SystemTime::now() + std::time::Duration::from_hours(1);
    file.set_modified(ahead).unwrap();
    assert_eq!(mailbox.replies("stat"), ["+OK 1 1"]);
}

#[test]
fn what_is_no_message_is_not_given_out() {
    let mailbox = Mailbox::new("pop3-kinds");
    fs::create_dir(mailbox.path("cur/1000000001.dir.h")).unwrap();
    fs::create_dir(mailbox.path("cur/1000000001.dir.h,S=3:2,")).unwrap();
    let fifo = std::process::Command::new("mkfifo")
        .arg(mailbox.path("new/1000000002.fifo.h,S=4"))
        .status();
    assert!(fifo.unwrap().success());
    mailbox.give();
    assert_eq!(
        mailbox.replies("list|retr 1|retr 2|noop"),
        [
            "+OK ",
            "1 3",
            "2 4",
            ".",
            "-ERR unable to open that message",
            "-ERR unable to open that message",
            "+OK "
        ]
    );
}

#[test]
fn a_name_with_blanks_or_line_ends_cannot_break_a_reply() {
    let mailbox = Mailbox::new("pop3-names");
    mailbox.put("new/1000000001.a\r\n+OK b,S=1", "x");
    mailbox.put("new/1000000002.\u{e4}\t,S=1", "x");
    assert_eq!(
        mailbox.replies("uidl"),
        [
            "+OK ",
            "1 1000000001.a+0D+0A+OK+20b,S=1",
            "2 1000000002.\u{e4}+09,S=1",
            "."
        ]
    );
}

#[test]
fn every_byte_is_survived_as_a_command() {
    let mailbox = Mailbox::new("pop3-bytes");
    mailbox.put("new/1000000001.a.h", "x\n");
    let mut wire = Vec::new();
    for byte in 0..=255u8 {
        wire.extend_from_slice(&[byte, b'\r', b'\n']);
        wire.extend_from_slice(&[b'r', b'e', b't', b'r', b' ', byte, b'\r', b'\n']);
        wire.extend_from_slice(&[b'n', b'o', b'o', b'p', b' ', byte, b'\r', b'\n']);
    }
    wire.extend_from_slice(b"stat\r\n");
    let output = mailbox.run().arg("Maildir").stdin(wire).output();
    assert_eq!(output.code(), 0);
    let said = output.out_text();
    assert_eq!(
        said.matches("-ERR unimplemented").count(),
        256 + 3,
        "{said}"
    );
    assert!(said.ends_with("+OK 1 2\r\n"), "{said}");
}

#[test]
fn a_line_without_end_ends_the_session() {
    let mailbox = Mailbox::new("pop3-flood");
    let long = "x".repeat(5000);
    let said = mailbox.replies(&format!("{long}|noop"));
    assert_eq!(said, ["-ERR line too long", "+OK "]);
    let output = mailbox
        .run()
        .arg("Maildir")
        .stdin(vec![b'x'; 3 << 20])
        .output();
    assert_eq!(output.out_text(), "+OK \r\n-ERR line too long\r\n");
}

#[test]
fn numbers_beyond_every_limit_are_only_too_large() {
    let mailbox = Mailbox::new("pop3-numbers");
    mailbox.put("new/1000000001.a.h", "h: 1\n\nb\n");
    let huge = "9".repeat(200);
    let said = mailbox.replies(&format!(
        "dele {huge}|retr 18446744073709551617|top 1 {huge}"
    ));
    assert_eq!(
        said,
        [
            "-ERR not that many messages",
            "-ERR not that many messages",
            "+OK ",
            "h: 1",
            "",
            "b",
            "",
            "."
        ]
    );
}

#[test]
fn capa_and_utf8() {
    let mailbox = Mailbox::new("pop3-capa");
    assert_eq!(
        mailbox.replies("CAPA|utf8"),
        [
            "+OK ",
            "TOP",
            "UIDL",
            "RESP-CODES",
            "AUTH-RESP-CODE",
            "PIPELINING",
            "UTF8",
            ".",
            "+OK "
        ]
    );
}

#[test]
fn parts_of_a_maildir_may_be_links_and_nothing_outside_is_read() {
    let mailbox = Mailbox::new("pop3-links");
    mailbox.scratch.write("secret", "secret\n");
    mailbox.put("new/1000000001.a.h,S=2", "a\n");
    std::os::unix::fs::symlink("../../secret", mailbox.path("new/1000000002.b.h,S=9")).unwrap();
    fs::rename(mailbox.path("new"), mailbox.scratch.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", mailbox.path("new")).unwrap();
    mailbox.give();
    let said = mailbox.replies("retr 1|retr 2|dele 1|quit");
    let second = if sys::sandbox::level().landlock > 0 {
        &["-ERR unable to open that message"][..]
    } else {
        &["+OK ", "secret", "", "."]
    };
    assert_eq!(
        said,
        [&["+OK ", "a", "", "."], second, &["+OK ", "+OK "]].concat()
    );
    assert!(
        !mailbox
            .scratch
            .join("elsewhere/1000000001.a.h,S=2")
            .exists()
    );
}
