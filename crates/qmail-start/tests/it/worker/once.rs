//! A delivery whose outcome qmail-send does not know is not made a second time.

use super::*;

use queue::frames::{Attempt, Past};

const DID: &str = "Kdid 1+0+0\n";
const THERE: &str = "Kdid 1+0+0\n1 there already\n";

impl Session {
    /// One attempt at joe, and what is reported.
    fn attempt(&mut self, message: &str, at: u64, past: Past) -> String {
        let command = Command {
            number: 3,
            message: message.into(),
            sender: b"s@far.test".to_vec(),
            attempt: Some(Attempt { at, past }),
            recipients: vec![b"joe@h".to_vec()],
        };
        self.say(&frames::encode_command(&command).unwrap());
        let (number, text) = self.report();
        assert_eq!(number, 3);
        text
    }
}

impl Office {
    /// joe has read all his mail.
    fn read_all(&self) {
        let maildir = self.home.join("home/joe/Maildir");
        for entry in fs::read_dir(maildir.join("new")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let there = maildir.join("cur").join(format!("{name}:2,FS"));
            fs::rename(maildir.join("new").join(name), there).unwrap();
        }
    }

    fn count(&self, dir: &str) -> usize {
        let dir = self.home.join("home/joe").join(dir);
        fs::read_dir(dir).unwrap().count()
    }
}

#[test]
fn what_may_be_there_is_looked_for_and_not_delivered_again() {
    let test = "what_may_be_there_is_looked_for_and_not_delivered_again";
    if !has_our_local(test) {
        return;
    }
    let office = Office::new("once-worker");
    office.homes(|_| {});
    let mut session = office.start();
    assert_eq!(session.attempt("1/24", 0, Past::Clean), DID);
    assert_eq!(session.attempt("1/24", 0, Past::Unknown), THERE);
    // The same address a second time in the same envelope is another delivery.
    assert_eq!(session.attempt("1/24", 7, Past::Unknown), DID);
    assert_eq!(session.attempt("1/24", 7, Past::Unknown), THERE);
    office.read_all();
    assert_eq!(session.attempt("1/24", 7, Past::Unknown), THERE);
    session.leave();
    // Others know it too, be it a worker or qmail-local itself.
    let mut session = office.start();
    assert_eq!(session.attempt("1/24", 0, Past::Unknown), THERE);
    session.leave();
    office.home.control("localexec", "1\n");
    let mut session = office.start();
    assert_eq!(session.attempt("1/24", 0, Past::Unknown), THERE);
    assert_eq!(session.attempt("1/24", 8, Past::Unknown), DID);
    assert_eq!(session.attempt("1/24", 8, Past::Clean), DID);
    session.leave();
    fs::remove_file(office.home.join("control/localexec")).unwrap();
    assert_eq!(
        (office.count("Maildir/new"), office.count("Maildir/cur")),
        (2, 2)
    );
    // Another message with this number, as long as the first.
    office.message("1/24", "Subject: y\n\nbody\n");
    let mut session = office.start();
    assert_eq!(session.attempt("1/24", 0, Past::Unknown), DID);
    // It counts for the maildir that the delivery goes to.
    fs::write(office.home.join("home/joe/.qmail"), "./Maildir/\n").unwrap();
    assert_eq!(session.attempt("1/24", 0, Past::Unknown), THERE);
    office.read_all();
    fs::remove_dir_all(office.home.join("home/joe/Maildir/cur")).unwrap();
    assert_eq!(session.attempt("1/24", 0, Past::Unknown), DID);
    session.leave();
    assert_eq!(
        (office.count("Maildir/new"), office.count("Maildir/tmp")),
        (1, 0)
    );
}

#[test]
fn of_what_is_half_done_only_the_rest_is_done() {
    let test = "of_what_is_half_done_only_the_rest_is_done";
    if !has_our_local(test) {
        return;
    }
    let office = Office::new("once-half");
    let both = "./Maildir/\n./Second/\n./Second/\n";
    let program = "|env > seen; test -f go || exit 111\n";
    office.homes(|home| {
        for part in ["tmp", "new", "cur"] {
            fs::create_dir_all(home.join("Second").join(part)).unwrap();
        }
        fs::write(home.join(".qmail"), [both, program].concat()).unwrap();
    });
    // What somebody else was told of his delivery is not for this one.
    let mut session = office.start_with("QMAILDELIVERY", "0123456789abcdef?");
    assert_eq!(session.attempt("1/24", 0, Past::Clean), "Z");
    assert_eq!(
        (office.count("Maildir/new"), office.count("Second/new")),
        (1, 2)
    );
    let seen = office.home.read("home/joe/seen");
    let seen = String::from_utf8_lossy(&seen);
    assert!(seen.contains("RECIPIENT=joe@h\n") && !seen.contains("QMAILDELIVERY"));
    assert_eq!(session.attempt("1/24", 0, Past::Unknown), "Z");
    // One of the two in Second is missing: that one comes again.
    let second = office.home.join("home/joe/Second/new");
    let one = fs::read_dir(&second).unwrap().next().unwrap().unwrap();
    fs::remove_file(one.path()).unwrap();
    fs::write(office.home.join("home/joe/go"), "").unwrap();
    let text = session.attempt("1/24", 0, Past::Unknown);
    assert_eq!(text, "Kdid 3+0+1\n2 there already\n");
    // A qmail-send that does not say which attempt it is gets what it always got.
    session.order(0, "1/24", "joe@h");
    assert_eq!(session.report(), (0, "Kdid 3+0+1\n".to_owned()));
    assert_eq!(
        (office.count("Maildir/new"), office.count("Second/new")),
        (2, 4)
    );
    // Files only: a worker. The lines have kept their places.
    fs::write(office.home.join("home/joe/.qmail"), both).unwrap();
    let text = session.attempt("1/24", 0, Past::Unknown);
    assert_eq!(text, "Kdid 3+0+0\n3 there already\n");
    session.leave();
}

#[test]
fn a_classic_order_leaves_names_as_they_were() {
    let test = "a_classic_order_leaves_names_as_they_were";
    if !has_our_local(test) {
        return;
    }
    let office = Office::new("once-classic");
    office.homes(|_| {});
    let order = ("1/24", b"s@far.test".to_vec(), b"joe@h".to_vec());
    assert_eq!(office.reports(&[order.clone(), order]), [DID, DID]);
    for (name, ..) in office.maildir("joe") {
        let middle = name.split('.').nth(1).unwrap();
        assert!(!middle.contains('D'), "{name}");
    }
    assert_eq!(office.count("Maildir/new"), 2);
}
