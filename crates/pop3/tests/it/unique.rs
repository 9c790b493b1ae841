//! Unique names as Courier and Dovecot give them.

use std::fs;
use std::time::{Duration, Instant};

use crate::mailbox::{Mailbox, give};

impl Mailbox {
    /// The answer to UIDL under this POP3UIDL.
    fn uidl(&self, style: &str) -> Vec<String> {
        let run = self.run().arg("Maildir").env("POP3UIDL", style);
        let output = run.stdin("uidl\r\nlist\r\n").output();
        assert_eq!((output.code(), output.err_text()), (0, String::new()));
        let said = output.out_text();
        let mut lines = said.lines().map(|l| l.trim_end().to_owned());
        let first = lines.next().unwrap();
        if first != "+OK" {
            return vec![first];
        }
        lines
            .skip(1)
            .take_while(|l| l != ".")
            .map(|l| l.split_once(' ').unwrap().1.to_owned())
            .collect()
    }

    fn list_file(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        give(&self.path(name));
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
}

fn filled(name: &str) -> Mailbox {
    let mailbox = Mailbox::new(name);
    mailbox.put("cur/1000000001.a.h,S=2:2,S", "a\n");
    mailbox.put("new/1000000002.b.h", "b\n\nb");
    mailbox.put("new/1000000003.c.h", "c\n");
    mailbox
}

#[test]
fn the_list_of_dovecot_is_read_and_goes_on() {
    let mailbox = filled("pop3-dovecot");
    let old = "3 V255 N30 G00ff\n7 W3 :1000000001.a.h,S=2\n9 :gone\n";
    mailbox.list_file("dovecot-uidlist", old);
    let want = ["00000007000000ff", "0000001e000000ff", "0000001f000000ff"];
    assert_eq!(mailbox.uidl("dovecot"), want);
    assert_eq!(
        mailbox.read("dovecot-uidlist"),
        "3 V255 N32 G00ff\n7 W3 :1000000001.a.h,S=2\n9 :gone\n30 :1000000002.b.h\n31 :1000000003.c.h\n"
    );
    mailbox.say("dele 2|quit");
    assert_eq!(mailbox.uidl("dovecot"), [want[0], want[2]]);
    assert_eq!(mailbox.uidl("dovecot:UID%u-%v"), ["UID7-255", "UID31-255"]);
    assert_eq!(
        mailbox.uidl("name"),
        ["1000000001.a.h,S=2", "1000000003.c.h"]
    );
    assert_eq!(
        mailbox.uidl("frob"),
        ["-ERR [SYS/TEMP] unable to understand POP3UIDL"]
    );
}

#[test]
fn a_name_that_was_given_once_and_for_all_stays() {
    let mailbox = filled("pop3-given");
    let old = "3 V255 N30\n7 PUID5-1234 :1000000001.a.h,S=2\n8 W1 Px :1000000003.c.h\n";
    mailbox.list_file("dovecot-uidlist", old);
    let want = ["UID5-1234", "0000001e000000ff", "x"];
    assert_eq!(mailbox.uidl("dovecot"), want);
    assert_eq!(mailbox.uidl("dovecot"), want);
}

#[test]
fn the_list_of_courier_is_read_and_goes_on() {
    let mailbox = filled("pop3-courier");
    let old = "/2 30 255\n1000000001.a.h,S=2:2, 3 7:255\n1000000003.c.h:2, 9 4:200\n";
    mailbox.list_file("courierpop3dsizelist", old);
    let want = ["UID7-255", "UID30-255", "UID4-200"];
    assert_eq!(mailbox.uidl("courier"), want);
    assert_eq!(
        mailbox.read("courierpop3dsizelist"),
        "/3 31 255\n1000000001.a.h,S=2:2, 3 7:255:0\n1000000003.c.h:2, 9 4:200:0\n\
         1000000002.b.h:2, 6 30:255:0\n"
    );
    assert_eq!(mailbox.uidl("courier"), want);
}

#[test]
fn a_new_list_begins_with_one_and_is_kept() {
    for (style, file) in [
        ("courier", "courierpop3dsizelist"),
        ("dovecot", "dovecot-uidlist"),
    ] {
        let mailbox = filled("pop3-fresh");
        let first = mailbox.uidl(style);
        assert_eq!(first.len(), 3);
        assert!(first.iter().all(|n| n.len() > 5), "{first:?}");
        assert_eq!(mailbox.uidl(style), first);
        let list = mailbox.read(file);
        assert_eq!(list.lines().count(), 4, "{list}");
        assert_eq!(mailbox.uidl(style), first);
        assert_eq!(mailbox.read(file), list, "written only when there is news");
        assert_eq!(
            fs::read_dir(mailbox.path("")).unwrap().count(),
            4,
            "neither lock nor half a list is left"
        );
    }
}

#[test]
fn a_list_that_is_not_understood_is_left_alone() {
    for text in ["4 V1 N2\n", "\0\0\0\0\n", "3 V1\n", "<html>\n"] {
        let mailbox = filled("pop3-broken");
        mailbox.list_file("dovecot-uidlist", text);
        assert_eq!(
            mailbox.uidl("dovecot"),
            ["-ERR [SYS/TEMP] unable to understand the list of unique names"]
        );
        assert_eq!(mailbox.read("dovecot-uidlist"), text);
    }
    // A line that was cut short, one that is too long, and one with another's name: the others count.
    let mailbox = filled("pop3-halfbroken");
    let long = "x".repeat(10_000);
    let text = format!(
        "3 V255 N5\n7 :1000000001.a.h,S=2\nfrob\n8 :{long}\n9 :../x\n40 :1000000002.b.h\n41 :10000"
    );
    mailbox.list_file("dovecot-uidlist", &text);
    assert_eq!(
        mailbox.uidl("dovecot"),
        ["00000007000000ff", "00000028000000ff", "00000029000000ff"]
    );
}

#[test]
fn while_another_has_the_lock_new_messages_wait() {
    let mailbox = filled("pop3-locked");
    mailbox.list_file("dovecot-uidlist", "3 V255 N8\n7 :1000000001.a.h,S=2\n");
    mailbox.list_file("dovecot-uidlist.lock", "1:elsewhere");
    let begun = Instant::now();
    assert_eq!(mailbox.uidl("dovecot"), ["00000007000000ff"]);
    assert!(begun.elapsed() < Duration::from_mins(1));
    fs::remove_file(mailbox.path("dovecot-uidlist")).unwrap();
    assert_eq!(
        mailbox.uidl("dovecot"),
        ["-ERR [IN-USE] another program numbers the messages"]
    );
    // One that was left behind.
    let lock = fs::File::options()
        .write(true)
        .open(mailbox.path("dovecot-uidlist.lock"))
        .unwrap();
    let old = std::time::SystemTime::now() - Duration::from_mins(3);
    lock.set_modified(old).unwrap();
    assert_eq!(mailbox.uidl("dovecot").len(), 3);
    assert!(!mailbox.path("dovecot-uidlist.lock").exists());
}

#[test]
fn lines_of_messages_long_gone_do_not_pile_up() {
    use std::fmt::Write;
    let mailbox = filled("pop3-pile");
    let mut text = "3 V255 N5000\n".to_owned();
    for n in 1..2000 {
        writeln!(text, "{n} :99{n}.gone.h").unwrap();
    }
    let now = base::tai::unix_now();
    writeln!(text, "4000 :{now}.young.h\n4001 :1000000003.c.h").unwrap();
    mailbox.list_file("dovecot-uidlist", &text);
    assert_eq!(mailbox.uidl("dovecot").len(), 3);
    let list = mailbox.read("dovecot-uidlist");
    assert_eq!(list.lines().count(), 5, "{list}");
    assert!(list.contains("young"));
}
