//! Which hosts are tried, in which order. All servers listen at one port of 127.0.0.2 and its neighbours.

use kit::Home;
use kit::dns::{Dns, Record};

use crate::server::{Script, Server};
use crate::{MESSAGE, home, report, send};

const OWN: &str = "DSorry. Although I'm listed as a best-preference MX or A for that host,\n\
    it isn't in my control/locals file, so I don't treat it as local. (#5.4.6)\n^";
const NO_CONNECTION: &str = "ZSorry, I wasn't able to establish an SMTP connection. (#4.4.1)\n^";

fn mx(preference: u16, host: &str) -> Record {
    Record::Mx(preference, host.into())
}

/// Sends to `host` as the zone says, at `port` in place of 25.
fn deliver(dns: &Dns, home: &Home, port: u16, host: &str) -> String {
    home.control("smtproutes", &format!("::{port}\n"));
    let run = home.run("qmail-remote").env("DNSCACHEIP", &dns.variable());
    report(
        &run.args([host, "s@a.test", "r@h.test"])
            .stdin(MESSAGE)
            .output(),
    )
}

#[test]
fn exchangers_are_tried_in_order_until_one_talks() {
    let good = Server::start(("127.0.0.5", kit::free_port()), Script::default());
    let port = good.port();
    let refuses = Server::start(
        ("127.0.0.3", port),
        Script::default().on("greeting", "554 no"),
    );
    let hangs_up = Server::start(("127.0.0.4", port), Script::default().close_on("EHLO"));
    let spare = Server::start(("127.0.0.6", port), Script::default());
    let dns = Dns::start([
        ("x.test", mx(40, "d.test")),
        ("x.test", mx(10, "a.test")),
        ("x.test", mx(20, "b.test")),
        ("x.test", mx(30, "c.test")),
        ("x.test", mx(50, "e.test")),
        // Nobody listens here.
        ("a.test", Record::address("127.0.0.2")),
        ("b.test", Record::address("127.0.0.3")),
        ("c.test", Record::address("127.0.0.4")),
        ("d.test", Record::address("127.0.0.5")),
        ("e.test", Record::address("127.0.0.6")),
    ]);
    let home = home("");
    assert_eq!(
        deliver(&dns, &home, port, "x.test"),
        "r^K127.0.0.5 accepted message.\nRemote host said: 250 taken\n^"
    );
    assert_eq!(refuses.finish().len(), 1);
    assert_eq!(hangs_up.finish().len(), 1);
    assert_eq!(good.finish().len(), 1);
    assert!(spare.finish().is_empty());
}

#[test]
fn when_nobody_talks_the_last_trouble_is_told() {
    let first = Server::start(
        ("127.0.0.2", kit::free_port()),
        Script::default().close_on("greeting"),
    );
    let port = first.port();
    let _second = Server::start(
        ("127.0.0.3", port),
        Script::default().on("greeting", "421 busy"),
    );
    let dns = Dns::start([
        ("x.test", mx(10, "a.test")),
        ("x.test", mx(20, "b.test")),
        ("a.test", Record::address("127.0.0.2")),
        ("b.test", Record::address("127.0.0.3")),
    ]);
    assert_eq!(
        deliver(&dns, &home(""), port, "x.test"),
        "ZConnected to 127.0.0.3 but greeting failed.\nRemote host said: 421 busy\n^"
    );
}

#[test]
fn a_refusal_after_the_greeting_is_final() {
    let first = Server::start(
        ("127.0.0.2", kit::free_port()),
        Script::default().on("RCPT", "450 wait"),
    );
    let port = first.port();
    let second = Server::start(("127.0.0.3", port), Script::default());
    let dns = Dns::start([
        ("x.test", mx(10, "a.test")),
        ("x.test", mx(20, "b.test")),
        ("a.test", Record::address("127.0.0.2")),
        ("b.test", Record::address("127.0.0.3")),
    ]);
    assert!(deliver(&dns, &home(""), port, "x.test").starts_with("s127.0.0.2"));
    assert!(second.finish().is_empty());
}

#[test]
fn a_host_without_exchangers_is_its_own_through_cname_too() {
    let server = Server::start(("127.0.0.2", kit::free_port()), Script::default());
    let dns = Dns::start([
        ("plain.test", Record::address("127.0.0.2")),
        ("alias.test", Record::Cname("plain.test".into())),
        ("mxalias.test", Record::Cname("mx.test".into())),
        ("mx.test", mx(10, "plain.test")),
    ]);
    let home = home("");
    for host in ["plain.test", "alias.test", "mxalias.test", "PLAIN.test."] {
        let got = deliver(&dns, &home, server.port(), host);
        assert!(got.starts_with("r^K127.0.0.2"), "{host}: {got}");
    }
    // The recipient is not rewritten.
    for session in server.finish() {
        assert!(
            String::from_utf8(session)
                .unwrap()
                .contains("RCPT TO:<r@h.test>")
        );
    }
}

#[test]
fn hosts_that_cannot_be_found() {
    let dns = Dns::start([
        ("null.test", mx(0, "")),
        ("nullandmore.test", mx(0, "")),
        ("nullandmore.test", mx(10, "nothere.test")),
        ("fails.test", Record::Fail),
        ("empty.test", Record::Txt(b"x".to_vec())),
        ("lost.test", mx(10, "nothere.test")),
        ("lost.test", mx(20, "empty.test")),
        ("halflost.test", mx(10, "nothere.test")),
        ("halflost.test", mx(20, "fails.test")),
    ]);
    let home = home("");
    let none = "DSorry, I couldn't find a mail exchanger or IP address. (#5.4.4)\n^";
    let later = "ZSorry, I couldn't find any host by that name. (#4.1.2)\n^";
    for (host, wanted) in [
        (
            "null.test",
            "DSorry, that host says that it accepts no mail. (#5.1.10)\n^",
        ),
        ("nullandmore.test", none),
        ("fails.test", later),
        (
            "nothere.test",
            "DSorry, I couldn't find any host named nothere.test. (#5.1.2)\n^",
        ),
        (
            "empty.test",
            "DSorry, I couldn't find any host named empty.test. (#5.1.2)\n^",
        ),
        ("", "DSorry, I couldn't find any host named . (#5.1.2)\n^"),
        (
            "a..b",
            "DSorry, I couldn't find any host named a..b. (#5.1.2)\n^",
        ),
        (
            "[1.2.3]",
            "DSorry, I couldn't find any host named [1.2.3]. (#5.1.2)\n^",
        ),
        ("lost.test", none),
        ("halflost.test", later),
    ] {
        assert_eq!(deliver(&dns, &home, 2525, host), wanted, "{host}");
    }
}

#[test]
fn mail_for_ourselves_does_not_go_round() {
    let better = Server::start(
        ("127.0.0.2", kit::free_port()),
        Script::default().on("greeting", "421 no"),
    );
    let port = better.port();
    let worse = Server::start(("127.0.0.3", port), Script::default());
    let dns = Dns::start([
        ("me.test", Record::address("127.0.0.1")),
        ("me6.test", Record::address("::1")),
        ("zero.test", Record::address("0.0.0.0")),
        ("mapped.test", Record::address("::ffff:127.0.0.1")),
        ("best.test", mx(10, "me.test")),
        ("best.test", mx(10, "worse.test")),
        ("best.test", mx(20, "worse.test")),
        ("second.test", mx(5, "better.test")),
        ("second.test", mx(10, "me.test")),
        ("second.test", mx(10, "worse.test")),
        ("second.test", mx(20, "worse.test")),
        ("better.test", Record::address("127.0.0.2")),
        ("worse.test", Record::address("127.0.0.3")),
    ]);
    let home = home("");
    for host in [
        "me.test",
        "me6.test",
        "zero.test",
        "mapped.test",
        "best.test",
        "[127.0.0.1]",
        "127.0.0.1",
        "[IPv6:::1]",
    ] {
        assert_eq!(deliver(&dns, &home, port, host), OWN, "{host}");
    }
    assert_eq!(
        deliver(&dns, &home, port, "second.test"),
        "ZConnected to 127.0.0.2 but greeting failed.\nRemote host said: 421 no\n^"
    );
    // Nobody but we ourselves is there, whatever the interface says.
    assert_eq!(deliver(&dns, &home, 25, "[127.8.7.6]"), OWN);
    assert!(worse.finish().is_empty());
}

#[test]
fn the_number_of_tries_is_limited() {
    let server = Server::start(("127.0.0.200", kit::free_port()), Script::default());
    let hosts: Vec<String> = (0..40).map(|n| format!("m{n}.test")).collect();
    let zone = |dead: usize| {
        let mut zone = Vec::new();
        for (n, host) in hosts.iter().enumerate() {
            let address = if n < dead {
                format!("127.0.1.{n}")
            } else {
                "127.0.0.200".to_owned()
            };
            zone.push(("x.test", mx(u16::try_from(n).unwrap(), host)));
            zone.push((host.as_str(), Record::address(&address)));
        }
        Dns::start(zone)
    };
    let home = home("");
    assert!(deliver(&zone(9), &home, server.port(), "x.test").starts_with("r^K127.0.0.200"));
    let dns = zone(10);
    assert_eq!(deliver(&dns, &home, server.port(), "x.test"), NO_CONNECTION);
    // Nor is every name looked up: MX, then A and AAAA of the 32 best.
    assert_eq!(dns.asked().len(), 1 + 2 * 32);
}

#[test]
fn both_families_are_used() {
    let server = Server::start(("127.0.0.2", kit::free_port()), Script::default());
    let dns = Dns::start([
        // The benchmarking network is nowhere; where it is routed, it costs one timeout.
        ("x.test", Record::address("2001:2::1")),
        ("x.test", Record::address("127.0.0.2")),
    ]);
    let home = home("");
    home.control("timeoutconnect", "1\n");
    let got = deliver(&dns, &home, server.port(), "x.test");
    assert!(got.starts_with("r^K127.0.0.2"), "{got}");

    if std::net::TcpListener::bind(("::1", 0)).is_err() {
        eprintln!("SKIPPED (no IPv6 here): both_families_are_used, second half");
        return;
    }
    let server = Server::start(("::1", 0), Script::default());
    home.control("smtproutes", &server.route());
    let got = send(&home, "h.test", &["r@h.test"], MESSAGE);
    assert!(got.starts_with("r^K::1 accepted message."), "{got}");
}

#[test]
fn a_route_to_a_name_uses_its_addresses_not_its_exchangers() {
    let server = Server::start(("127.0.0.1", kit::free_port()), Script::default());
    let dns = Dns::start([
        ("relay.test", mx(10, "nothere.test")),
        ("relay.test", Record::address("127.0.0.1")),
    ]);
    let home = home(&format!(
        "a.test:relay.test:{0}\n.b.test:relay.test:{0}\nc.test:nothere.test:{0}\n",
        server.port()
    ));
    for (host, wanted) in [
        ("a.test", "r^K127.0.0.1"),
        ("x.B.test", "r^K127.0.0.1"),
        (
            "c.test",
            "DSorry, I couldn't find any host named nothere.test. (#5.1.2)\n^",
        ),
        (
            "b.test",
            "DSorry, I couldn't find any host named b.test. (#5.1.2)\n^",
        ),
    ] {
        let run = home.run("qmail-remote").env("DNSCACHEIP", &dns.variable());
        let got = report(&run.args([host, "s", "r"]).stdin(MESSAGE).output());
        assert!(got.starts_with(wanted), "{host}: {got}");
    }
}
