//! Debian's Dovecot with a checker of ours as its password database: IMAP for the same accounts.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::*;

const DOVECOT: &str = "/usr/sbin/dovecot";

const CONFIGURATION: &str = "
base_dir=TOP/run
state_dir=TOP/run
protocols=imap
ssl=no
disable_plaintext_auth=no
log_path=TOP/log
default_internal_user=nobody
default_login_user=nobody
default_internal_group=nogroup
import_environment=INSECURE_SETUID=1 QMAILHOME=TOP VPOPMAILHOME=TOP/vpopmail VCHKPWLOG=n
service anvil {
  chroot=
}
service stats {
  chroot=
}
service imap-login {
  chroot=
  inet_listener imap {
    address=127.0.0.1
    port=PORT
  }
  inet_listener imaps {
    port=0
  }
}
service auth {
  user=root
}
passdb {
  driver=checkpassword
  args=CHECKER
}
userdb {
  driver=prefetch
}
mail_location=maildir:~/Maildir
first_valid_uid=1
";

struct Dovecot(Child);

impl Drop for Dovecot {
    fn drop(&mut self) {
        let _ = sys::signal::send(self.0.id(), sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// Starts Dovecot with `checker`; its port. Only root can, and only where it is installed.
fn start(home: &Home, checker: &str) -> Option<(Dovecot, u16)> {
    if !kit::is_root("dovecot") {
        return None;
    }
    if !Path::new(DOVECOT).exists() {
        eprintln!("SKIPPED (no {DOVECOT})");
        return None;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let text = CONFIGURATION
        .replace("TOP", home.path().to_str().unwrap())
        .replace("PORT", &port.to_string())
        .replace("CHECKER", kit::program(checker).to_str().unwrap());
    let file = home.write("dovecot.conf", text);
    let child = Command::new(DOVECOT)
        .args(["-F", "-c"])
        .arg(file)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let dovecot = Dovecot(child);
    kit::eventually("dovecot answers", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    Some((dovecot, port))
}

/// Logs in, and looks into the mailbox: the answers to both.
fn session(port: u16, name: &str, password: &str) -> String {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_mins(1)))
        .unwrap();
    let mut from = BufReader::new(stream.try_clone().unwrap());
    let mut to = stream;
    let mut told = String::new();
    from.read_line(&mut told).unwrap();
    told.clear();
    for (tag, line) in [
        ("a", format!("LOGIN {name} {password}")),
        ("b", "STATUS INBOX (MESSAGES)".to_owned()),
        ("c", "LOGOUT".to_owned()),
    ] {
        to.write_all(format!("{tag} {line}\r\n").as_bytes())
            .unwrap();
        loop {
            let mut line = String::new();
            if from.read_line(&mut line).unwrap() == 0 {
                return told;
            }
            told += &line;
            if line.starts_with(&format!("{tag} ")) {
                break;
            }
        }
        if told.contains("a NO") {
            break;
        }
    }
    told
}

#[test]
fn virtual_users_read_their_mail_by_imap() {
    let home = home("dovecot-vuser");
    let out = manage(&home, "vuser", "dir", &["add", "ann"], "tanstaaf");
    assert_eq!(out.code(), 0, "{}", out.err_text());
    let mail = home.join("dir/ann/Maildir/new/1700000000.x.h");
    std::fs::write(&mail, "Subject: x\n\nbody\n").unwrap();
    give(&mail);
    let Some((_dovecot, port)) = start(&home, "vusercheck") else {
        return;
    };
    let told = session(port, "ann@virtual.test", "tanstaaf");
    assert!(
        told.contains("a OK") && told.contains("STATUS INBOX (MESSAGES 1)"),
        "{told}\n{}",
        log(&home)
    );
    for (name, password) in [
        ("ann@virtual.test", "wrong"),
        ("eve@virtual.test", "tanstaaf"),
    ] {
        let told = session(port, name, password);
        assert!(told.contains("a NO") && !told.contains("INBOX"), "{told}");
    }
}

/// A program of the name that Dovecot's has, which tells what it was told.
fn reply(home: &Home) -> String {
    let text = "echo $USER:$HOME:$AUTHORIZED:$EXTRA:$userdb_quota_rule";
    let path = home.script("checkpassword-reply", text);
    path.to_str().unwrap().to_owned()
}

#[test]
fn dovecot_may_ask_where_a_mailbox_is() {
    if !kit::is_root("dovecot's look-ups") {
        return;
    }
    let home = home("dovecot-lookup");
    for args in [&["add", "ann"][..], &["add", "-q", "10MB", "bob"]] {
        let out = manage(&home, "vuser", "dir", args, "tanstaaf");
        assert_eq!(out.code(), 0, "{}", out.err_text());
    }
    let reply = reply(&home);
    let ask = |name: &str, word: &str, program: &[&str], id: u32| {
        let run = home
            .run("vusercheck")
            .args(program)
            .env("AUTHORIZED", word)
            .input(3, format!("{name}\0\0\0").as_bytes());
        let run = if id == 0 { run } else { run.ids(id, id) };
        let out = run.output();
        (out.code(), out.out_text())
    };
    let place = home.join("dir/ann").display().to_string();
    let found = (0, format!("ann@virtual.test:{place}:2::\n"));
    assert_eq!(ask("ann@virtual.test", "1", &[&reply], 0), found);
    let (code, text) = ask("bob@virtual.test", "1", &[&reply], 0);
    let quota = ":2:userdb_quota_rule:*:bytes=10485760\n";
    assert!(code == 0 && text.ends_with(quota), "{text}");
    let refused = (1, String::new());
    assert_eq!(ask("eve@virtual.test", "1", &[&reply], 0), refused);
    // Left over in the environment of another service, with another word, or from somebody else, it opens nothing.
    assert_eq!(ask("ann@virtual.test", "1", &TELLS, 0), refused);
    assert_eq!(ask("ann@virtual.test", "2", &[&reply], 0), refused);
    assert_eq!(ask("ann@virtual.test", "1", &[&reply], owner()), refused);
}

fn log(home: &Home) -> String {
    String::from_utf8_lossy(&std::fs::read(home.join("log")).unwrap_or_default()).into_owned()
}
