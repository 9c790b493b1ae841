use super::*;
use kit::Home;

/// An intake into a scratch home, without changing the working directory.
fn intake(home: &Home) -> Intake {
    Intake::of(Dir::open(home.join("queue")).unwrap()).unwrap()
}

fn origin() -> Origin {
    Origin {
        uid: 7,
        pid: 9,
        now: 5,
        header: b"Received: x\n".to_vec(),
    }
}

fn everything(home: &Home) -> usize {
    ["pid", "mess", "intd", "todo"]
        .iter()
        .map(|d| home.queue(d).len())
        .sum()
}

#[test]
fn a_message_gets_its_three_names() {
    let home = Home::new("intake");
    let id = intake(&home)
        .take(&origin(), &mut &b"body"[..], &mut &b"Fs\0Tr@h\0\0rest"[..])
        .unwrap();
    let name = id.to_string();
    assert_eq!(home.queue("todo").concat(), name);
    assert_eq!(home.queue("intd").concat(), name);
    assert_eq!(home.queue("mess"), [format!("{}/{name}", id.number() % 23)]);
    assert!(home.queue("pid").is_empty());
    let read = |p: String| std::fs::read(home.join(p)).unwrap();
    assert_eq!(read(format!("queue/todo/{name}")), b"u7\0p9\0Fs\0Tr@h\0");
    assert_eq!(
        read(format!("queue/mess/{}/{name}", id.number() % 23)),
        b"Received: x\nbody"
    );
}

#[test]
fn big_messages_and_envelopes_come_through_in_any_pieces() {
    /// Gives a few bytes at a time.
    struct Slow<'a>(&'a [u8]);
    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let limit = buffer.len().min(7);
            self.0.read(&mut buffer[..limit])
        }
    }
    let home = Home::new("intake-big");
    let body: Bytes = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    let mut envelope = b"F\0".to_vec();
    for n in 0..20_000 {
        envelope.extend(format!("Tuser{n}@host.test\0").bytes());
    }
    envelope.push(0);
    let queue = intake(&home);
    let first = queue.take(&origin(), &mut body.as_slice(), &mut envelope.as_slice());
    let second = queue.take(&origin(), &mut Slow(&body), &mut Slow(&envelope));
    for id in [first.unwrap(), second.unwrap()] {
        let layout = Layout::read(&queue.queue).unwrap();
        let file = |part| {
            let path = layout.path(part, id);
            std::fs::read(home.join("queue").join(sys::dir::path(&path))).unwrap()
        };
        assert_eq!(
            file(Part::Mess),
            [b"Received: x\n".as_slice(), &body].concat()
        );
        let todo = [b"u7\0p9\0", &envelope[..envelope.len() - 1]].concat();
        assert_eq!(file(Part::Todo), todo);
    }
}

use crate::names::Part;

#[test]
fn a_bad_envelope_leaves_nothing_behind() {
    let home = Home::new("intake-bad");
    let long = |n: usize| vec![b'x'; n];
    let cases: Vec<(Bytes, Fault)> = vec![
        (b"".to_vec(), Fault::Read),
        (b"Fs".to_vec(), Fault::Read),
        (b"Fs\0".to_vec(), Fault::Read),
        (b"Fs\0Tr\0".to_vec(), Fault::Read),
        (b"Tr\0\0".to_vec(), Fault::Envelope),
        (b"\0".to_vec(), Fault::Envelope),
        (b"Fs\0Fs\0\0".to_vec(), Fault::Envelope),
        (b"Fs\0tr\0\0".to_vec(), Fault::Envelope),
        (
            [b"F".as_slice(), &long(1003), b"\0\0"].concat(),
            Fault::AddressTooLong,
        ),
        (
            [b"Fs\0T".as_slice(), &long(1003), b"\0\0"].concat(),
            Fault::AddressTooLong,
        ),
    ];
    for (envelope, fault) in cases {
        let done = intake(&home).take(&origin(), &mut &b"m"[..], &mut envelope.as_slice());
        assert_eq!(done, Err(fault));
        assert_eq!(everything(&home), 0, "{fault:?}");
    }
    let longest = [b"F".as_slice(), &long(1002), b"\0T", &long(1002), b"\0\0"].concat();
    assert!(
        intake(&home)
            .take(&origin(), &mut &b"m"[..], &mut longest.as_slice())
            .is_ok()
    );
}

#[test]
fn a_slow_or_broken_reader_leaves_nothing_behind() {
    struct Broken(ErrorKind);
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
    }
    let home = Home::new("intake-slow");
    for (kind, fault) in [
        (ErrorKind::TimedOut, Fault::TimedOut),
        (ErrorKind::ConnectionReset, Fault::Read),
    ] {
        let queue = intake(&home);
        let message = queue.take(&origin(), &mut Broken(kind), &mut &b"F\0\0"[..]);
        assert_eq!(message, Err(fault));
        let envelope = queue.take(&origin(), &mut &b"m"[..], &mut Broken(kind));
        assert_eq!(envelope, Err(fault));
        assert_eq!(everything(&home), 0);
    }
}

#[test]
fn names_that_are_taken_are_passed_over() {
    let home = Home::new("intake-taken");
    std::fs::write(home.join("queue/pid/9.5.1"), "").unwrap();
    let id = intake(&home).take(&origin(), &mut &b"m"[..], &mut &b"F\0T\0\0"[..]);
    assert!(id.is_ok());
    assert_eq!(home.queue("pid"), ["9.5.1"]);
    for n in 2..=9 {
        std::fs::write(home.join(format!("queue/pid/9.5.{n}")), "").unwrap();
    }
    let none = intake(&home).take(&origin(), &mut &b"m"[..], &mut &b"F\0T\0\0"[..]);
    assert_eq!(none, Err(Fault::Pid));
}

#[test]
fn missing_directories_are_told_apart_and_nothing_is_left() {
    for (dir, fault) in [
        ("mess", Fault::Mess),
        ("intd", Fault::Intd),
        ("todo", Fault::Todo),
    ] {
        let home = Home::new("intake-missing");
        let queue = intake(&home);
        std::fs::remove_dir_all(home.join("queue").join(dir)).unwrap();
        let done = queue.take(&origin(), &mut &b"m"[..], &mut &b"F\0T\0\0"[..]);
        std::fs::create_dir(home.join("queue").join(dir)).unwrap();
        assert_eq!(done, Err(fault));
        assert_eq!(everything(&home), 0, "{dir}");
    }
}

#[test]
fn a_split_todo_is_used_as_it_is() {
    let home = Home::new("intake-bigtodo");
    for n in 0..23 {
        for dir in ["todo", "intd"] {
            std::fs::create_dir(home.join(format!("queue/{dir}/{n}"))).unwrap();
        }
    }
    let id = intake(&home)
        .take(&origin(), &mut &b"m"[..], &mut &b"F\0T\0\0"[..])
        .unwrap();
    assert_eq!(home.queue("todo"), [format!("{}/{id}", id.number() % 23)]);
    assert_eq!(home.queue("intd"), home.queue("todo"));
}

#[test]
fn an_envelope_that_a_crash_has_left_is_in_nobodys_way() {
    use std::os::unix::fs::MetadataExt;
    let home = Home::new("intake-litter");
    let at = |dir: &str, id: u64| home.join(format!("queue/{dir}/{id}"));
    let probe = home.join("queue/pid/probe");
    std::fs::write(&probe, "").unwrap();
    let near = std::fs::metadata(&probe).unwrap().ino();
    std::fs::remove_file(&probe).unwrap();
    // The next numbers, whatever else is made meanwhile; all in one file, which takes only one of them.
    let numbers = near.saturating_sub(500).max(1)..near + 2_000;
    let old = home.join("queue/pid/old");
    std::fs::write(&old, "u0\0p0\0Fold\0Told@old\0").unwrap();
    for id in numbers.clone() {
        std::fs::hard_link(&old, at("intd", id)).unwrap();
    }
    let take = || intake(&home).take(&origin(), &mut &b"body"[..], &mut &b"Fs\0Tr@h\0\0"[..]);
    let id = take().unwrap();
    assert_eq!(
        std::fs::read(at("todo", id.number())).unwrap(),
        b"u7\0p9\0Fs\0Tr@h\0"
    );

    // One that qmail-send sees is not ours to remove, and not to be given another message.
    for id in numbers.clone().filter(|n| *n != id.number()) {
        let _ = std::fs::hard_link(at("intd", id), at("todo", id));
    }
    if let Ok(second) = take() {
        assert!(!numbers.contains(&second.number()), "{second}");
    }
    let left = home.queue("todo").len();
    assert!(left >= usize::try_from(numbers.end - numbers.start).unwrap());
}

#[test]
fn a_number_that_stands_in_todo_without_a_message_is_passed_over() {
    use std::os::unix::fs::MetadataExt;
    let home = Home::new("intake-damage");
    // One file under all those names: files of their own would take the very numbers that the message is to get.
    let old = home.join("queue/old");
    std::fs::write(&old, "Fold\0Told@old\0").unwrap();
    let probe = home.join("queue/pid/probe");
    std::fs::write(&probe, "").unwrap();
    let near = std::fs::metadata(&probe).unwrap().ino();
    std::fs::remove_file(&probe).unwrap();
    // Fewer than are tried.
    let numbers = near..near + 6;
    for id in numbers.clone() {
        std::fs::hard_link(&old, home.join(format!("queue/todo/{id}"))).unwrap();
    }
    let id = intake(&home)
        .take(&origin(), &mut &b"body"[..], &mut &b"Fs\0Tr@h\0\0"[..])
        .unwrap();
    assert!(!numbers.contains(&id.number()), "{id}");
    assert_eq!(home.queue("pid"), [""; 0]);
    assert_eq!(home.queue("mess").len(), 1);
}
