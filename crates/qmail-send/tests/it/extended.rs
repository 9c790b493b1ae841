//! qmail-send and spawners that speak the extended protocol.

use kit::Home;
use queue::frames::Past;
use sys::process::End;
use sys::signal::Signal;

use crate::office::*;

fn extended(limit: u32) -> Setup {
    Setup {
        extended: Some(limit),
        ..Setup::default()
    }
}

#[test]
fn more_than_255_deliveries_run_when_both_sides_can() {
    let home = Home::new("extended-many");
    home.control("concurrencylocal", "400\n");
    home.control("concurrencyremote", "1000\n");
    let mut office = Office::open_with(home.path(), extended(300), |_| Answer::Held(b"Kok".into()));
    office.await_log("status: local 0/300 remote 0/300\n");
    let here: Vec<String> = (0..310).map(|n| format!("u{n}@host.test")).collect();
    let here: Vec<&str> = here.iter().map(String::as_str).collect();
    put(&home, "s@x", &here, "m");
    office.await_log("status: local 300/300 ");
    kit::eventually("the last place is used", || {
        office.orders().iter().any(|o| o.place == 299)
    });
    office.release();
    office.await_log("end msg");
    assert_eq!(office.orders().len(), 310);
    await_empty(&home, &office);
    assert_eq!(office.stop(), End::Exit(0));
}

#[test]
fn an_original_spawner_is_asked_once_and_served_as_ever() {
    let home = Home::new("extended-classic");
    home.control("concurrencylocal", "400\n");
    let setup = Setup {
        greeting: vec![7],
        ..Setup::default()
    };
    let office = Office::open_with(home.path(), setup, |_| report("Kok\n"));
    office.await_log("status: local 0/7 remote 0/7\n");
    let here: Vec<String> = (0..20).map(|n| format!("u{n}@host.test")).collect();
    let here: Vec<&str> = here.iter().map(String::as_str).collect();
    office.serve(&home, "s@x", &here, "m");
    assert_eq!(office.deliveries(), [1; 20]);
    assert!(office.orders().iter().all(|o| o.place < 7));
    await_empty(&home, &office);
}

#[test]
fn recipients_of_one_domain_share_a_delivery_and_have_their_own_results() {
    let home = Home::new("extended-group");
    let mut office = Office::open_with(home.path(), extended(100), |o| {
        report(match o.recipient.as_bytes()[0] {
            b'z' => "Zlater\n",
            _ => "Kok\n",
        })
    });
    let mut all: Vec<String> = (0..250).map(|n| format!("u{n}@Big.test")).collect();
    all.extend((0..3).map(|n| format!("z{n}@big.TEST")));
    all.push("one@other.test".into());
    all.extend((0..3).map(|n| format!("l{n}@host.test")));
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let id = put(&home, "s@x", &all, "m");
    office.await_count("deferral: later/", 3);
    // The others may be under way still.
    let asked = || office.deliveries().iter().sum::<usize>();
    kit::eventually("a delivery of each", || asked() >= all.len());
    let mut sizes = office.deliveries();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 1, 1, 1, 53, 100, 100]);
    let log = office.log();
    for n in 1..=257 {
        assert_eq!(log.matches(&format!("starting delivery {n}: ")).count(), 1);
        let lines = log.lines();
        let ends = lines.filter(|l| l.starts_with(&format!("delivery {n}: ")));
        kit::eventually("a result for each", || ends.clone().count() == 1);
    }
    assert_eq!(office.stop(), End::Exit(0));
    let left = home.join(format!("queue/remote/{}/{id}", id % 23));
    let left = std::fs::read(left).unwrap();
    let left: Vec<_> = left
        .split(|b| *b == 0)
        .filter(|r| r.starts_with(b"T"))
        .collect();
    assert_eq!(left.len(), 3);
}

#[test]
fn lists_with_senders_of_their_own_and_the_administrator_keep_recipients_apart() {
    for (control, sender) in [("100\n", "list-@x.test-@[]"), ("1\n", "s@x.test")] {
        let home = Home::new("extended-verp");
        home.control("recipientsdest", control);
        let office = Office::open_with(home.path(), extended(100), |_| report("Kok\n"));
        office.serve(&home, sender, &["a@far.test", "b@far.test"], "m");
        assert_eq!(office.deliveries(), [1, 1]);
    }
}

#[test]
fn an_extended_spawner_that_talks_nonsense_is_survived() {
    let home = Home::new("extended-nonsense");
    let mut office = Office::open_with(home.path(), extended(100), |o| {
        let frame = |text: &[u8]| {
            let mut bytes = u32::try_from(text.len() + 4)
                .unwrap()
                .to_le_bytes()
                .to_vec();
            bytes.extend(o.place.to_le_bytes());
            bytes.extend(text);
            bytes
        };
        match o.recipient.as_str() {
            // One text for two recipients; no letter; a place that does not exist; no report at all.
            "few1@far.test" | "few2@far.test" => Answer::Raw(frame(b"Kok\0")),
            "odd@far.test" => Answer::Raw(frame(b"?\0")),
            "range@far.test" => {
                let mut bytes = b"\x07\0\0\0\xff\xff\xff\0Kx\0\x02\0\0\0ab".to_vec();
                bytes.extend(frame(b"Kok\0"));
                Answer::Raw(bytes)
            }
            "long@far.test" => Answer::Raw(b"\xff\xff\xff\xff".to_vec()),
            _ => report("Kok\n"),
        }
    });
    put(&home, "s@x", &["few1@far.test", "few2@far.test"], "m");
    office.await_log(": report mangled, will defer\n");
    put(&home, "s@x", &["odd@far.test"], "m");
    office.await_count(": report mangled, will defer\n", 2);
    office.serve(&home, "s@x", &["range@far.test"], "m");
    office.await_count("warning: internal error: delivery report out of range\n", 2);
    put(&home, "s@x", &["long@far.test"], "m");
    office.await_log("alert: oh no! lost spawn connection! dying...\n");
    assert_eq!(office.wait(), End::Exit(0));
    let left: usize = home.queue("remote").len() + home.queue("todo").len();
    assert_eq!(left, 3);
}

/// The orders for one recipient: place in the list, and whether an earlier attempt may have delivered.
fn attempts(office: &Office, recipient: &str) -> Vec<(u64, Past)> {
    let mut orders = office.orders();
    orders.retain(|o| o.recipient == recipient);
    let attempts = orders.iter().filter_map(|o| o.attempt);
    attempts.map(|a| (a.at, a.past)).collect()
}

#[test]
fn the_local_spawner_hears_which_delivery_it_is_and_whether_it_may_have_been_made() {
    let home = Home::new("extended-attempts");
    let rule = |o: &Order| {
        report(match o.recipient.as_bytes()[0] {
            b'z' => "Zlater\n",
            _ => "Kok\n",
        })
    };
    let mut office = Office::open_with(home.path(), extended(100), rule);
    // What comes from now on is new: the look at the start is over.
    office.serve(&home, "s@x", &["first@host.test"], "m");
    let to = [
        "a@host.test",
        "a@host.test",
        "z@host.test",
        "r@far.test",
        "z@far.test",
    ];
    put(&home, "s@x", &to, "m");
    office.await_count("deferral: later/", 2);
    let twice = attempts(&office, "a@host.test");
    assert_eq!(twice, [(0, Past::Clean), (13, Past::Clean)]);
    assert_eq!(attempts(&office, "z@host.test"), [(26, Past::Clean)]);
    office.signal(Signal::SIGALRM);
    office.await_count("deferral: later/", 4);
    let again = [(26, Past::Clean), (26, Past::Unknown)];
    assert_eq!(attempts(&office, "z@host.test"), again);
    // Of another host nothing is known, and nothing said.
    let remote = |o: &&Order| o.recipient.ends_with("far.test");
    assert!(
        office
            .orders()
            .iter()
            .filter(remote)
            .all(|o| o.attempt.is_none())
    );
    assert_eq!(office.stop(), End::Exit(0));
    drop(office);

    // One that has been tried before, and one that has come meanwhile.
    put(&home, "s@x", &["b@host.test"], "m");
    let office = Office::open_with(home.path(), extended(100), rule);
    office.await_log("success: ok/");
    office.signal(Signal::SIGALRM);
    office.await_count("deferral: later/", 2);
    assert_eq!(attempts(&office, "z@host.test")[0], (26, Past::Unknown));
    assert_eq!(attempts(&office, "b@host.test"), [(0, Past::Unknown)]);
    office.serve(&home, "s@x", &["c@host.test"], "m");
    assert_eq!(attempts(&office, "c@host.test"), [(0, Past::Clean)]);
}
