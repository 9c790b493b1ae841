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

fn log(home: &Home) -> String {
    String::from_utf8_lossy(&std::fs::read(home.join("log")).unwrap_or_default()).into_owned()
}
