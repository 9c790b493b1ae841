//! The copy that is made ahead: it is there before its connection, serves what counts when that comes, and is nobody's
//! end when it never gets one.

use std::collections::HashSet;
use std::net::TcpStream;
use std::thread;

use super::*;

/// Copies that have no connection. Unlike a session they are not in the log.
fn spares(office: &Office) -> Vec<u32> {
    let sessions: HashSet<u32> = office.sessions().into_iter().collect();
    let mut list = children(office.daemon.pid());
    list.retain(|pid| is_copy(*pid) && !sessions.contains(pid));
    list
}

/// The spare, when there is one and nothing else.
fn spare(office: &Office) -> u32 {
    ended(office);
    let one = || match spares(office)[..] {
        [pid] => Some(pid),
        _ => None,
    };
    kit::until(LIMIT, one).expect("one spare")
}

fn office(name: &str, options: &[&str]) -> Office {
    let office = Office::start(Office::home(name), options, &["qmail-smtpd"]);
    office.warm();
    office
}

#[test]
fn a_connection_goes_to_a_process_that_was_there_and_what_counts_is_read_then() {
    let office = office("spares-ahead", &["--fork-server"]);
    let mut number = 0;
    // Once a minute another fork server takes over, with a spare of its own.
    kit::eventually("the spare serves", || {
        number += 1;
        let before = spare(&office);
        office
            .home
            .control("smtpgreeting", &format!("host{number}.test\n"));
        let mut client = office.client("127.0.0.2");
        let greeting = client.reply();
        assert_eq!(greeting.lines, [format!("host{number}.test ESMTP")]);
        // The rules of this client count, and nobody else's.
        assert!(client.say("EHLO x").lines.contains(&"SIZE 10".to_owned()));
        let session = *office.sessions().last().unwrap();
        // The next one is there while this one is served.
        kit::eventually("another spare", || !spares(&office).is_empty());
        client.say("QUIT");
        session == before
    });
}

#[test]
fn a_spare_that_dies_takes_no_connection_along_and_is_no_end() {
    let office = office("spares-killed", &["--fork-server"]);
    for _ in 0..3 {
        office.warm();
        let pid = spare(&office);
        sys::signal::send(pid, Signal::SIGKILL).unwrap();
        // While it dies it may still take a message.
        kit::eventually("it is dead and buried", || stat(pid).is_none());
        for _ in 0..2 {
            let mut client = office.client("127.0.0.3");
            assert_eq!(client.reply().code, 220, "{}", office.log());
            client.say("QUIT");
        }
        ended(&office);
        assert!(!office.log().contains(&format!("end {pid} ")));
    }
    let said = "tcpserver: warning: lost a copy of the program, renewing the fork server\n";
    assert_eq!(office.log().matches(said).count(), 3, "{}", office.log());
}

#[test]
fn a_spare_counts_for_no_limit() {
    let options = ["--fork-server", "-c2", "--per-address=1"];
    let office = office("spares-limits", &options);
    let mut first = office.client("127.0.0.2");
    assert_eq!(first.reply().code, 220);
    // One more of the same address would be too many, however many spares there are.
    assert_eq!(office.client("127.0.0.2").reply().code, 0);
    let mut second = office.client("127.0.0.3");
    assert_eq!(second.reply().code, 220);
    let status = "tcpserver: status: 2/2\n";
    kit::eventually("both count", || office.log().contains(status));
    let mut third = office.client("127.0.0.4");
    first.say("QUIT");
    assert_eq!(third.reply().code, 220);
    for mut client in [second, third] {
        client.say("QUIT");
    }
    kit::eventually("none is left", || {
        office.log().ends_with("tcpserver: status: 0/2\n")
    });
}

#[test]
fn a_flood_leaves_one_spare() {
    let office = office("spares-flood", &["--fork-server"]);
    let address = SocketAddr::new([127, 0, 0, 1].into(), office.port);
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                for number in 0..30 {
                    let mut client =
                        Client::of(TcpStream::connect_timeout(&address, LIMIT).unwrap());
                    // Some leave at once.
                    if number % 3 != 0 {
                        assert_eq!(client.reply().code, 220);
                        assert_eq!(client.say("QUIT").code, 221);
                    }
                }
            });
        }
    });
    spare(&office);
    let sessions = office.sessions();
    let each: HashSet<&u32> = sessions.iter().collect();
    let (all, log) = (sessions.len(), office.log());
    assert!(all > 300);
    // Numbers of processes come again after thousands only.
    assert_eq!(each.len(), all);
    assert!(!log.contains("warning"), "{log}");
}

#[test]
fn nobody_is_left_when_the_server_ends() {
    let mut office = office("spares-end", &["--fork-server"]);
    spare(&office);
    let pids = children(office.daemon.pid());
    assert!(pids.len() >= 2);
    assert_eq!(office.daemon.stop(), End::Exit(0));
    let is_gone = |&pid: &u32| stat(pid).is_none_or(|fields| fields[0] == "Z");
    kit::eventually("they leave", || pids.iter().all(is_gone));
}

#[test]
fn without_room_for_processes_the_next_is_refused_and_later_ones_are_served() {
    if !kit::is_root("without_room_for_processes_the_next_is_refused_and_later_ones_are_served") {
        return;
    }
    // An account that nothing else runs under; the limit counts tcpserver, the fork server, and two copies.
    let uid = format!("-u{}", 2_000_000_000 + std::process::id());
    let home = Office::home("spares-room");
    let server = home.run("softlimit").args(["-p4", "tcpserver"]);
    let options = [uid.as_str(), "-g65534", "--fork-server"];
    let office = Office::start_as(server, home, &options, &["qmail-smtpd"]);
    let served = || {
        let mut client = office.client("127.0.0.3");
        let code = client.reply().code;
        client.say("QUIT");
        ended(&office);
        code == 220
    };
    // It tries again when somebody comes.
    let with_spare = || served() && !spares(&office).is_empty();
    office.warm();
    kit::eventually("a spare", with_spare);
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..2 {
        let mut client = office.client("127.0.0.3");
        assert_eq!(client.reply().code, 220, "{}", office.log());
        clients.push(client);
    }
    assert_eq!(office.client("127.0.0.3").reply().code, 0);
    let said = "tcpserver: warning: dropping connection, unable to fork: ";
    kit::eventually("it is said", || office.log().contains(said));
    for mut client in clients {
        client.say("QUIT");
    }
    ended(&office);
    for _ in 0..3 {
        assert!(served(), "{}", office.log());
    }
    kit::eventually("a spare again", with_spare);
}
