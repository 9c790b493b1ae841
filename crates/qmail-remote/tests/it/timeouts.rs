//! The table of hosts that did not answer.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kit::Home;

use crate::server::{Script, Server};
use crate::{MESSAGE, home, send};

const NO_CONNECTION: &str = "ZSorry, I wasn't able to establish an SMTP connection. (#4.4.1)\n^";

fn now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u32::try_from(since.as_secs()).unwrap()
}

/// The record of 127.0.0.1 as C packs it.
fn record(count: u8, when: u32) -> Vec<u8> {
    let mut table = vec![0; 1024];
    table[32..37].copy_from_slice(&[127, 0, 0, 1, count]);
    table[40..44].copy_from_slice(&when.to_le_bytes());
    table
}

fn count(home: &Home) -> Option<u8> {
    let table = std::fs::read(home.join("queue/lock/tcpto")).unwrap();
    assert_eq!(table.len(), 1024);
    let found = table.chunks(16).find(|r| r.starts_with(&[127, 0, 0, 1]));
    found.map(|r| r[4])
}

#[test]
fn a_host_that_does_not_answer_is_noted() {
    // A listener whose queue is full drops what comes after.
    let listener = sys::socket::listen(
        &SocketAddr::from(([127, 0, 0, 1], 0)),
        0,
        sys::socket::Families::One,
    )
    .unwrap();
    let address = sys::socket::local(&listener).unwrap();
    let mut held = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        held.push(stream);
        assert!(held.len() < 100, "the queue never fills");
    }
    let home = home(&format!(":{address}\n"));
    home.control("timeoutconnect", "1\n");
    assert_eq!(send(&home, "h", &["r@h"], MESSAGE), NO_CONNECTION);
    assert_eq!(count(&home), Some(1));
    // The second one comes too soon to count.
    assert_eq!(send(&home, "h", &["r@h"], MESSAGE), NO_CONNECTION);
    assert_eq!(count(&home), Some(1));
}

#[test]
fn a_host_in_the_table_is_left_alone_for_a_while() {
    let server = Server::local(Script::default());
    let home = home(&server.route());
    home.write("queue/lock/tcpto", record(2, now() - 600));
    assert_eq!(send(&home, "h", &["r@h"], MESSAGE), NO_CONNECTION);
    assert_eq!(count(&home), Some(2));
    // Long ago, or once only, or by a clock that was wrong: it may be tried, and is cleared when it answers.
    for table in [
        record(9, now() - 6300),
        record(1, now() - 600),
        record(5, now() + 100_000),
    ] {
        home.write("queue/lock/tcpto", table);
        assert!(send(&home, "h", &["r@h"], MESSAGE).starts_with("r^K"));
        assert_eq!(count(&home), Some(0));
    }
    assert_eq!(server.finish().len(), 3);
}

#[test]
fn a_bad_table_is_no_table() {
    let server = Server::local(Script::default());
    let home = home(&server.route());
    let path = home.join("queue/lock/tcpto");
    for bytes in [&b""[..], b"short", &[0xff; 5000]] {
        std::fs::write(&path, bytes).unwrap();
        assert!(send(&home, "h", &["r@h"], MESSAGE).starts_with("r^K"));
    }
    std::fs::remove_file(&path).unwrap();
    assert!(send(&home, "h", &["r@h"], MESSAGE).starts_with("r^K"));
    std::fs::create_dir(&path).unwrap();
    assert!(send(&home, "h", &["r@h"], MESSAGE).starts_with("r^K"));
}

#[test]
fn ipv6_has_a_table_of_its_own() {
    if std::net::TcpListener::bind(("::1", 0)).is_err() {
        eprintln!("SKIPPED (no IPv6 here): ipv6_has_a_table_of_its_own");
        return;
    }
    let server = Server::start(("::1", 0), Script::default());
    let home = home(&server.route());
    let mut table = vec![0; 2048];
    table[15] = 1;
    table[16] = 3;
    table[24..28].copy_from_slice(&now().to_le_bytes());
    home.write("queue/lock/tcpto6", &table);
    assert_eq!(send(&home, "h", &["r@h"], MESSAGE), NO_CONNECTION);
    table[16] = 1;
    home.write("queue/lock/tcpto6", &table);
    assert!(send(&home, "h", &["r@h"], MESSAGE).starts_with("r^K::1"));
    assert_eq!(
        std::fs::read(home.join("queue/lock/tcpto6")).unwrap()[16],
        0
    );
}
