//! The same maildir through Debian's Dovecot and through ours, in turn: every message keeps its unique name.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::mailbox::{Mailbox, user};

const DOVECOT: &str = "/usr/sbin/dovecot";

/// What every account may do, and who nobody is, in the words of version 2.3.
const CONFIGURATION: &str = "
base_dir=TOP/run
state_dir=TOP/run
protocols=pop3
ssl=no
disable_plaintext_auth=no
log_path=TOP/log
default_internal_user=nobody
default_login_user=nobody
default_internal_group=nogroup
service anvil {
  chroot=
}
service stats {
  chroot=
}
service pop3-login {
  chroot=
  inet_listener pop3 {
    address=127.0.0.1
    port=PORT
  }
  inet_listener pop3s {
    port=0
  }
}
passdb {
  driver=static
  args=nopassword=y
}
userdb {
  driver=static
  args=uid=USER gid=USER home=TOP
}
mail_location=maildir:~/Maildir
first_valid_uid=1
pop3_uidl_format=FORMAT
";

struct Dovecot {
    child: Child,
    port: u16,
}

impl Dovecot {
    fn start(mailbox: &Mailbox, format: &str) -> Dovecot {
        // Free now, and nobody else looks for one at this moment on this address.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let text = CONFIGURATION
            .replace("TOP", mailbox.scratch.path().to_str().unwrap())
            .replace("PORT", &port.to_string())
            .replace("USER", &user().to_string())
            .replace("FORMAT", format);
        let file = mailbox.scratch.write("dovecot.conf", text);
        let child = Command::new(DOVECOT)
            .args(["-F", "-c"])
            .arg(file)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let dovecot = Dovecot { child, port };
        kit::eventually("dovecot answers", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        dovecot
    }

    /// The unique name of each subject.
    fn names(&self) -> BTreeMap<String, String> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_mins(1)))
            .unwrap();
        let from = BufReader::new(stream.try_clone().unwrap());
        let mut client = Talk { to: stream, from };
        client.line();
        for line in ["user u", "pass x"] {
            assert!(client.say(line).starts_with("+OK"));
        }
        client.names()
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        let _ = sys::signal::send(self.child.id(), sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

struct Talk<W, R> {
    to: W,
    from: R,
}

impl<W: Write, R: BufRead> Talk<W, R> {
    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.from.read_line(&mut line).unwrap() > 0, "hung up");
        line.trim_end().to_owned()
    }

    fn say(&mut self, line: &str) -> String {
        self.to.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        self.line()
    }

    fn many(&mut self, line: &str) -> Vec<String> {
        let first = self.say(line);
        assert!(first.starts_with("+OK"), "{line}: {first}");
        std::iter::from_fn(|| Some(self.line()).filter(|l| l != ".")).collect()
    }

    fn names(&mut self) -> BTreeMap<String, String> {
        let all = self.many("uidl");
        let mut found = BTreeMap::new();
        for line in all {
            let (number, name) = line.split_once(' ').unwrap();
            let top = self.many(&format!("top {number} 0"));
            let subject = top.iter().find(|l| l.starts_with("Subject: ")).unwrap();
            found.insert(subject.clone(), name.to_owned());
        }
        assert!(self.say("quit").starts_with("+OK"));
        found
    }
}

fn ours(mailbox: &Mailbox, style: &str) -> BTreeMap<String, String> {
    let mut command = Command::new(kit::program("qmail-pop3d"));
    command
        .arg("Maildir")
        .env_clear()
        .env("POP3UIDL", style)
        .current_dir(mailbox.scratch.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    std::os::unix::process::CommandExt::uid(&mut command, user());
    std::os::unix::process::CommandExt::gid(&mut command, user());
    let mut child = command.spawn().unwrap();
    let mut talk = Talk {
        to: child.stdin.take().unwrap(),
        from: BufReader::new(child.stdout.take().unwrap()),
    };
    assert_eq!(talk.line(), "+OK");
    let names = talk.names();
    assert!(child.wait().unwrap().success());
    names
}

fn put(mailbox: &Mailbox, name: &str) {
    mailbox.put(name, &format!("Subject: {name}\n\nbody\n"));
}

#[test]
fn dovecot_and_ours_tell_the_same_names() {
    let test = "dovecot_and_ours_tell_the_same_names";
    if !kit::is_root(test) {
        return;
    }
    let version = Command::new(DOVECOT).arg("--version").output();
    if !version.is_ok_and(|v| v.stdout.starts_with(b"2.3.")) {
        eprintln!("SKIPPED (needs dovecot 2.3): {test}");
        return;
    }
    for (format, style) in [
        ("%08Xu%08Xv", "dovecot"),
        ("UID%u-%v", "dovecot:UID%u-%v"),
        ("%v.%u.%f", "dovecot:%v.%u.%f"),
    ] {
        let mailbox = Mailbox::new("pop3-dovecot-real");
        for n in 1..=5 {
            put(&mailbox, &format!("new/100000000{n}.a.h"));
        }
        put(&mailbox, "cur/1000000010.c.h:2,S");
        let dovecot = Dovecot::start(&mailbox, format);
        let old = dovecot.names();
        assert_eq!(old.len(), 6);
        // A migration.
        assert_eq!(ours(&mailbox, style), old, "{format}");
        // New mail, first seen by ours: the way back.
        put(&mailbox, "new/1000000020.d.h");
        put(&mailbox, "new/1000000021.e.h");
        let new = ours(&mailbox, style);
        assert_eq!(new.len(), 8);
        assert!(old.iter().all(|(subject, name)| new[subject] == *name));
        assert_eq!(dovecot.names(), new);
        // And first seen by Dovecot; then one goes.
        put(&mailbox, "new/1000000030.f.h");
        let with = dovecot.names();
        assert_eq!(ours(&mailbox, style), with);
        let gone = mailbox.list("cur").remove(1);
        fs::remove_file(mailbox.path("cur").join(gone)).unwrap();
        put(&mailbox, "new/1000000031.g.h");
        let last = ours(&mailbox, style);
        assert_eq!((last.len(), with.len()), (9, 9));
        assert_eq!(dovecot.names(), last);
    }
}
