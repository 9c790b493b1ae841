//! The resolver against servers of all kinds, on loopback.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use domain::base::Rtype;
use kit::dns::{Dns, Record, reply};

use crate::answer::{self, Answer, Edns, Reply};
use crate::{Mx, Resolver, Trouble, name};

fn mx(preference: u16, host: &str) -> Mx {
    Mx {
        preference,
        host: host.into(),
    }
}

fn resolver(dns: &Dns) -> Resolver {
    Resolver::new(vec![dns.address()], true)
}

/// A server that answers each packet with what `answer` makes of it, on a thread of its own until the test ends.
fn hostile(answer: impl Fn(&[u8], usize) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        let mut count = 0;
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            for packet in answer(&buffer[..length], count) {
                let _ = socket.send_to(&packet, from);
            }
            count += 1;
        }
    });
    address
}

#[test]
fn finds_every_type() {
    let dns = Dns::start([
        ("x.test", Record::Mx(20, "B.x.test".into())),
        ("x.test", Record::Mx(10, "a.x.test".into())),
        ("x.test", Record::Mx(20, "b.x.test".into())),
        ("x.test", Record::Txt(vec![b'v'; 300])),
        ("null.test", Record::Mx(0, String::new())),
        ("a.x.test", Record::address("192.0.2.1")),
        ("a.x.test", Record::address("2001:db8::1")),
        ("1.2.0.192.in-addr.arpa", Record::Ptr("A.x.test".into())),
    ]);
    let resolver = resolver(&dns);
    assert_eq!(
        resolver.mx(b"X.test."),
        Ok(vec![mx(10, "a.x.test"), mx(20, "b.x.test")])
    );
    assert_eq!(resolver.mx(b"null.test"), Ok(vec![mx(0, "")]));
    assert_eq!(resolver.mx(b"a.x.test"), Err(Trouble::NoData));
    assert_eq!(resolver.mx(b"no.test"), Err(Trouble::NoName));
    assert_eq!(
        resolver.addresses(b"a.x.test").unwrap(),
        [
            "2001:db8::1".parse::<std::net::IpAddr>().unwrap(),
            [192, 0, 2, 1].into()
        ]
    );
    assert_eq!(resolver.addresses(b"x.test"), Err(Trouble::NoData));
    assert_eq!(
        resolver.ptr([192, 0, 2, 1].into()),
        Ok(vec![b"a.x.test".to_vec()])
    );
    assert_eq!(resolver.txt(b"x.test"), Ok(vec![vec![b'v'; 300]]));
}

#[test]
fn a_literal_or_a_name_that_cannot_be_is_not_asked_for() {
    let dns = Dns::start([]);
    let resolver = resolver(&dns);
    assert_eq!(resolver.addresses(b"192.0.2.9").unwrap().len(), 1);
    assert_eq!(resolver.addresses(b"::1").unwrap().len(), 1);
    for bad in [&b""[..], b"a..b", &[b'a'; 64]] {
        assert_eq!(resolver.mx(bad), Err(Trouble::NoName));
    }
    assert!(dns.asked().is_empty());
}

#[test]
fn follows_cnames_inside_the_answer_but_not_in_circles() {
    let dns = Dns::start([
        ("alias.test", Record::Cname("b.test".into())),
        ("b.test", Record::Cname("c.test".into())),
        ("c.test", Record::address("192.0.2.3")),
        ("loop.test", Record::Cname("pool.test".into())),
        ("pool.test", Record::Cname("loop.test".into())),
        ("dangling.test", Record::Cname("nowhere.test".into())),
    ]);
    let resolver = resolver(&dns);
    let answer = resolver.ask(b"alias.test", Rtype::A).unwrap();
    assert_eq!(answer.canonical(), b"c.test");
    assert_eq!(resolver.addresses(b"alias.test").unwrap().len(), 1);
    assert!(resolver.addresses(b"loop.test").unwrap_err().is_temporary());
    assert_eq!(resolver.addresses(b"dangling.test"), Err(Trouble::NoName));
}

#[test]
fn a_large_answer_comes_over_tcp() {
    let hosts: Vec<String> = (0..1000).map(|n| format!("host-{n}.large.test")).collect();
    let dns = Dns::start(
        hosts
            .iter()
            .map(|h| ("large.test", Record::Mx(5, h.clone()))),
    );
    assert_eq!(resolver(&dns).mx(b"large.test").unwrap().len(), 1000);
}

#[test]
fn a_dead_a_failing_and_a_silent_server_are_passed_over() {
    let good = Dns::start([("a.test", Record::address("192.0.2.1"))]);
    let failing = Dns::start([("a.test", Record::Fail)]);
    let silent = Dns::start([("a.test", Record::Silent)]);
    let dead = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let servers = vec![dead, failing.address(), silent.address(), good.address()];
    assert_eq!(
        Resolver::new(servers, false)
            .ask(b"a.test", Rtype::A)
            .unwrap()
            .addresses(),
        Ok(vec![[192, 0, 2, 1].into()])
    );
    let all_bad = Resolver::new(vec![dead, failing.address()], false);
    assert!(all_bad.mx(b"a.test").unwrap_err().is_temporary());
    assert!(
        Resolver::new(vec![], false)
            .mx(b"a.test")
            .unwrap_err()
            .is_temporary()
    );
}

#[test]
fn one_family_in_trouble_does_not_hide_the_other() {
    let server = hostile(|query, _| {
        let (owner, kind, _) = kit::dns::question(query).unwrap();
        vec![match kind {
            1 => reply(query, 0, &[(owner, 1, vec![192, 0, 2, 1])]),
            _ => reply(query, 2, &[]),
        }]
    });
    let resolver = Resolver::new(vec![server], false);
    assert_eq!(resolver.addresses(b"a.test").unwrap().len(), 1);
}

#[test]
fn a_server_that_dislikes_edns_is_asked_without() {
    let server = hostile(|query, _| {
        let (owner, kind, end) = kit::dns::question(query).unwrap();
        if query.len() > end {
            let mut empty = query[..12].to_vec();
            empty[2..4].copy_from_slice(&[0x81, 0x81]);
            empty[4..12].fill(0);
            return vec![empty];
        }
        vec![reply(query, 0, &[(owner, kind, vec![192, 0, 2, 1])])]
    });
    let resolver = Resolver::new(vec![server], false);
    assert!(resolver.ask(b"a.test", Rtype::A).is_ok());
}

#[test]
fn answers_to_other_questions_are_dropped() {
    let server = hostile(|query, _| {
        let (owner, kind, _) = kit::dns::question(query).unwrap();
        let good = reply(query, 0, &[(owner.clone(), kind, vec![192, 0, 2, 1])]);
        let bad = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut packet = reply(query, 0, &[(owner.clone(), kind, vec![192, 0, 2, 66])]);
            change(&mut packet);
            packet
        };
        vec![
            bad(&|p| p[0] ^= 1),
            bad(&|p| p[2] = 1),
            bad(&|p| p[13] = b'z'),
            bad(&|p| p[5] = 0),
            bad(&|p| p.truncate(11)),
            Vec::new(),
            good,
        ]
    });
    let resolver = Resolver::new(vec![server], false);
    let answer = resolver.ask(b"a.test", Rtype::A).unwrap();
    assert_eq!(answer.addresses(), Ok(vec![[192, 0, 2, 1].into()]));
}

#[test]
fn a_flood_of_guesses_ends_the_query_and_the_next_one_has_new_numbers() {
    let (tell, told) = std::sync::mpsc::channel();
    let server = hostile(move |query, _| {
        let (owner, kind, _) = kit::dns::question(query).unwrap();
        let mut wrong = reply(query, 0, &[(owner, kind, vec![192, 0, 2, 1])]);
        wrong[0] ^= 0x80;
        tell.send([query[0], query[1]]).unwrap();
        vec![wrong; 60]
    });
    let start = Instant::now();
    let resolver = Resolver::new(vec![server], false);
    assert!(resolver.mx(b"a.test").unwrap_err().is_temporary());
    // Waiting for the right answer would take the sum of all rounds.
    assert!(start.elapsed() < Duration::from_secs(10));
    let ids: std::collections::BTreeSet<_> = told.try_iter().collect();
    assert!(ids.len() > 1, "{ids:?}");
}

#[test]
fn ids_and_ports_are_spread() {
    let (tell, told) = std::sync::mpsc::channel();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let server = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let query = &buffer[..length];
            tell.send((u16::from_be_bytes([query[0], query[1]]), from.port()))
                .unwrap();
            socket.send_to(&reply(query, 3, &[]), from).unwrap();
        }
    });
    let resolver = Resolver::new(vec![server], false);
    let mut high = [0u32; 2];
    for _ in 0..200 {
        assert_eq!(resolver.mx(b"a.test"), Err(Trouble::NoName));
        let (id, port) = told.recv().unwrap();
        high[0] += u32::from(id >= 0x8000);
        high[1] += u32::from(port >= 0x8000);
    }
    for count in high {
        assert!((60..140).contains(&count), "{count} of 200");
    }
}

#[test]
fn the_ad_bit_counts_only_from_a_trusted_resolver() {
    let server = hostile(|query, _| {
        // The query must ask for the bit.
        let (owner, kind, _) = kit::dns::question(query).unwrap();
        let flags = query[3] & 0x20;
        vec![reply(query, flags, &[(owner, kind, vec![192, 0, 2, 1])])]
    });
    for trusted in [true, false] {
        let answer = Resolver::new(vec![server], trusted)
            .ask(b"a.test", Rtype::A)
            .unwrap();
        assert_eq!(answer.is_authentic(), trusted);
    }
}

/// Everything that can be asked of a packet; only a panic can fail.
fn read_all(packet: Vec<u8>, kind: Rtype) {
    let asked = name::parse(b"a.test").unwrap();
    if let Some(Reply::Answer(message)) = answer::reply(packet, 7, &asked, kind)
        && let Some(answer) = Answer::new(message, &asked, kind, true)
    {
        let _ = (
            answer.mx(),
            answer.addresses(),
            answer.ptr(),
            answer.txt(),
            answer.canonical(),
        );
    }
}

#[test]
fn no_packet_breaks_the_reader() {
    let asked = name::parse(b"a.test").unwrap();
    for kind in [Rtype::MX, Rtype::A, Rtype::AAAA, Rtype::PTR, Rtype::TXT] {
        let query = answer::query(7, &asked, kind, Edns::Offered).unwrap();
        let end = kit::dns::question(&query).unwrap().2;
        let mut good = query[..end].to_vec();
        good[2..4].copy_from_slice(&[0x81, 0x80]);
        good[6..12].copy_from_slice(&[0, 3, 0, 0, 0, 0]);
        let data: &[u8] = match kind {
            Rtype::MX => b"\0\x05\x01b\xc0\x0e",
            Rtype::A => &[192, 0, 2, 1],
            Rtype::AAAA => &[1; 16],
            Rtype::PTR => b"\x01b\xc0\x0c",
            _ => b"\x02ab\x01c",
        };
        // A CNAME with a pointer, then the record, then one of another owner.
        good.extend_from_slice(b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x04\x01b\xc0\x0c");
        for owner in [&b"\x01b\xc0\x0c"[..], b"\x01x\0"] {
            good.extend_from_slice(owner);
            good.extend_from_slice(&kind.to_int().to_be_bytes());
            good.extend_from_slice(b"\0\x01\0\0\0\x3c\0");
            good.push(u8::try_from(data.len()).unwrap());
            good.extend_from_slice(data);
        }
        assert!(matches!(
            answer::reply(good.clone(), 7, &asked, kind),
            Some(Reply::Answer(_))
        ));
        for at in 0..good.len() {
            for value in 0..=255 {
                let mut packet = good.clone();
                packet[at] = value;
                read_all(packet, kind);
            }
            read_all(good[..at].to_vec(), kind);
            // Two changes at once, in a fixed but irregular pattern.
            for step in 1..40 {
                let mut packet = good.clone();
                packet[at] ^= u8::try_from(step * 7 % 256).unwrap();
                let other = (at * 31 + step * 17) % packet.len();
                packet[other] = packet[other].wrapping_add(0xc0);
                read_all(packet, kind);
            }
        }
    }
}

#[test]
fn questions_asked_together_wait_together() {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let zone: Vec<(String, Record)> = (0..200)
        .map(|n| (format!("n{n}.test"), Record::Txt(vec![b'x'; n])))
        .collect();
    let dns = Dns::start(zone.iter().map(|(n, r)| (n.as_str(), r.clone())));
    let resolver = Resolver::new(vec![silent.local_addr().unwrap(), dns.address()], false);
    let start = Instant::now();
    let questions = (0..200).map(|n| (format!("n{n}.test").into_bytes(), Rtype::TXT));
    let mut batch = resolver.ask_all(questions, start + Duration::from_mins(2));
    for n in (0..200).rev() {
        let texts = batch.take(n).and_then(|a| a.txt()).unwrap();
        assert_eq!(texts, [vec![b'x'; n]]);
    }
    assert!(start.elapsed() < Duration::from_mins(1));
    assert!(matches!(batch.take(0), Err(Trouble::Temporary(_))));
    assert!(matches!(batch.take(200), Err(Trouble::Temporary(_))));
}

#[test]
fn a_batch_ends_when_its_time_is_over() {
    let dns = Dns::start([
        ("good.test", Record::address("192.0.2.1")),
        ("silent.test", Record::Silent),
        ("fail.test", Record::Fail),
        ("long.test", Record::Txt(vec![b'x'; 3000])),
    ]);
    let resolver = resolver(&dns);
    let start = Instant::now();
    let questions = [
        (&b"silent.test"[..], Rtype::A),
        (b"good.test", Rtype::A),
        (b"nosuch.test", Rtype::A),
        (b"fail.test", Rtype::A),
        (b"a..b", Rtype::A),
        (b"", Rtype::A),
        (b"good.test", Rtype::TXT),
        (b"long.test", Rtype::TXT),
    ];
    let questions = questions.map(|(name, kind)| (name.to_vec(), kind));
    let mut batch = resolver.ask_all(questions, start + Duration::from_secs(3));
    let good = batch.take(1).and_then(|a| a.addresses());
    assert_eq!(good, Ok(vec!["192.0.2.1".parse().unwrap()]));
    assert_eq!(batch.take(2).err(), Some(Trouble::NoName));
    assert!(matches!(batch.take(3), Err(Trouble::Temporary(_))));
    assert_eq!(batch.take(4).err(), Some(Trouble::NoName));
    assert_eq!(batch.take(5).err(), Some(Trouble::NoName));
    let none = batch.take(6).and_then(|a| a.txt());
    assert_eq!(none, Err(Trouble::NoData));
    let long = batch.take(7).and_then(|a| a.txt());
    assert_eq!(long, Ok(vec![vec![b'x'; 3000]]));
    let silent = Trouble::Temporary("timed out".to_owned());
    assert_eq!(batch.take(0).err(), Some(silent));
    assert!(start.elapsed() < Duration::from_mins(1));
    let nobody = Resolver::new(Vec::new(), false);
    let mut batch = nobody.ask_all([(b"a.test".to_vec(), Rtype::A)], start);
    assert!(matches!(batch.take(0), Err(Trouble::Temporary(_))));
}

#[test]
fn a_batch_asks_again_without_edns_and_passes_over_strays() {
    let old = hostile(|query, _| {
        if query.get(11) == Some(&1) {
            return vec![reply(query, 1, &[])];
        }
        let mut stray = reply(query, 3, &[]);
        stray[0] ^= 1;
        let data = ("a.test".to_owned(), 1, vec![192, 0, 2, 7]);
        vec![b"x".to_vec(), stray, reply(query, 0, &[data])]
    });
    let resolver = Resolver::new(vec![old], false);
    let end = Instant::now() + Duration::from_mins(1);
    let mut batch = resolver.ask_all([(b"a.test".to_vec(), Rtype::A)], end);
    let found = batch.take(0).and_then(|a| a.addresses());
    assert_eq!(found, Ok(vec!["192.0.2.7".parse().unwrap()]));
}

#[test]
fn a_memory_asks_once_while_the_answer_lives() {
    let dns = Dns::start([
        ("x.test", Record::Mx(10, "a.x.test".into())),
        ("a.x.test", Record::address("192.0.2.1")),
    ]);
    let resolver = resolver(&dns).with_memory();
    for name in [&b"x.test"[..], b"X.test."] {
        for copy in [&resolver, &resolver.clone()] {
            assert_eq!(copy.mx(name), Ok(vec![mx(10, "a.x.test")]));
            assert_eq!(copy.mx(b"no.test"), Err(Trouble::NoName));
            assert_eq!(copy.mx(b"a.x.test"), Err(Trouble::NoData));
            assert_eq!(copy.addresses(b"a.x.test").unwrap().len(), 1);
        }
    }
    let asked = dns.asked();
    // MX of three names, two kinds of addresses of one.
    assert_eq!(asked.len(), 5, "{asked:?}");
}

#[test]
fn a_memory_forgets_trouble_and_records_that_do_not_live() {
    let failing = hostile(|query, _| vec![reply(query, 2, &[])]);
    let counted = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = counted.clone();
    let fleeting = hostile(move |query, _| {
        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let mut packet = reply(query, 0, &[("x.test".into(), 1, vec![192, 0, 2, 1])]);
        // The time to live stands before the length and the four bytes of the address.
        let end = packet.len() - 6;
        packet[end - 4..end].fill(0);
        vec![packet]
    });
    let resolver = Resolver::new(vec![failing, fleeting], true).with_memory();
    for n in 1..=2 {
        let found = resolver.ask(b"x.test", Rtype::A).unwrap();
        assert_eq!(found.addresses().unwrap().len(), 1);
        assert_eq!(counted.load(std::sync::atomic::Ordering::SeqCst), n);
    }
}
