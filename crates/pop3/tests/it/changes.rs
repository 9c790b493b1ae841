//! A maildir that others change during the session.

use std::fs;

use crate::mailbox::{Mailbox, give};

#[test]
fn a_message_is_found_after_its_flags_have_changed() {
    let mailbox = Mailbox::new("pop3-renamed");
    for n in 1..=3 {
        mailbox.put(&format!("new/100000000{n}.x.h"), &format!("{n}\n"));
    }
    let mut live = mailbox.start();
    let moved = |from: &str, to: &str| fs::rename(mailbox.path(from), mailbox.path(to)).unwrap();
    moved("new/1000000001.x.h", "cur/1000000001.x.h:2,S");
    moved("new/1000000002.x.h", "cur/1000000002.x.h:2,");
    assert_eq!(live.say("retr 1"), "+OK ");
    assert_eq!(live.rest(), ["1", ""]);
    moved("cur/1000000002.x.h:2,", "cur/1000000002.x.h:2,FS");
    assert_eq!(live.say("dele 2"), "+OK ");
    assert_eq!(live.say("dele 1"), "+OK ");
    moved("cur/1000000001.x.h:2,S", "cur/1000000001.x.h:2,RS");
    assert_eq!(live.say("quit"), "+OK ");
    live.end();
    assert_eq!(mailbox.list("cur"), ["1000000003.x.h:2,"]);
    assert_eq!(mailbox.list("new"), Vec::<String>::new());
}

#[test]
fn a_flag_that_changes_all_the_time_does_not_make_the_server_spin() {
    let mailbox = Mailbox::new("pop3-spin");
    mailbox.put("cur/1000000001.x.h:2,", "x\n");
    let mut live = mailbox.start();
    let mut from = "cur/1000000001.x.h:2,".to_owned();
    let mut found = 0;
    for n in 0..200 {
        let to = format!("cur/1000000001.x.h:2,{n}");
        fs::rename(mailbox.path(&from), mailbox.path(&to)).unwrap();
        from = to;
        if live.say("retr 1").starts_with("+OK") {
            assert_eq!(live.rest(), ["x", ""]);
            found += 1;
        }
    }
    assert_eq!(found, 64, "so often it looks again, and no more");
    live.end();
}

#[test]
fn two_sessions_on_one_maildir_delete_the_same_message() {
    let mailbox = Mailbox::new("pop3-two");
    mailbox.put("new/1000000001.x.h", "1\n");
    mailbox.put("new/1000000002.x.h", "2\n");
    let mut first = mailbox.start();
    let mut second = mailbox.start();
    for live in [&mut first, &mut second] {
        assert_eq!(live.say("stat"), "+OK 2 4");
        assert_eq!(live.say("dele 1"), "+OK ");
    }
    assert_eq!(first.say("quit"), "+OK ");
    assert_eq!(second.say("retr 2"), "+OK ");
    assert_eq!(second.rest(), ["2", ""]);
    assert_eq!(second.say("quit"), "+OK ");
    first.end();
    second.end();
    assert_eq!(mailbox.list("cur"), ["1000000002.x.h:2,"]);
}

#[test]
fn what_arrives_during_a_session_is_not_part_of_it() {
    let mailbox = Mailbox::new("pop3-arrivals");
    mailbox.put("new/1000000002.x.h", "2\n");
    let mut live = mailbox.start();
    mailbox.put("new/1000000001.x.h", "earlier\n");
    assert_eq!(live.say("stat"), "+OK 1 2");
    assert_eq!(live.say("dele 1"), "+OK ");
    assert_eq!(live.say("list 2"), "-ERR not that many messages");
    assert_eq!(live.say("quit"), "+OK ");
    live.end();
    assert_eq!(mailbox.list("new"), ["1000000001.x.h"]);
}

#[test]
fn a_message_that_may_not_be_removed_is_told_of_and_the_others_go() {
    let mailbox = Mailbox::new("pop3-stuck");
    mailbox.put("new/1000000001.x.h", "1\n");
    mailbox.put("cur/1000000002.x.h:2,", "2\n");
    let mut live = mailbox.start();
    assert_eq!(live.say("dele 1"), "+OK ");
    assert_eq!(live.say("dele 2"), "+OK ");
    let cur = mailbox.path("cur");
    fs::set_permissions(&cur, std::os::unix::fs::PermissionsExt::from_mode(0o500)).unwrap();
    give(&cur);
    assert_eq!(
        live.say("quit"),
        "-ERR unable to unlink all deleted messages"
    );
    live.end();
    assert_eq!(mailbox.list("new"), Vec::<String>::new());
    assert_eq!(mailbox.list("cur"), ["1000000002.x.h:2,"]);
}
