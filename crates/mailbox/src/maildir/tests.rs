use super::*;

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;

use sys::Dir;

fn maildir(scratch: &kit::Scratch) -> Bytes {
    for part in ["M/tmp", "M/new", "M/cur"] {
        fs::create_dir_all(scratch.join(part)).unwrap();
    }
    scratch.join("M").into_os_string().into_encoded_bytes()
}

fn names(scratch: &kit::Scratch, dir: &str) -> Vec<String> {
    fs::read_dir(scratch.join(dir))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_message_arrives_whole_behind_its_header_lines() {
    let scratch = kit::Scratch::new("maildir");
    let dir = maildir(&scratch);
    let body = [b"Subject: x\n\n".as_slice(), &vec![b'z'; 200_000]].concat();
    let name = deliver(&dir, b"A: b\n", &mut body.as_slice()).unwrap();
    let name = String::from_utf8(name).unwrap();
    assert_eq!(names(&scratch, "M/new"), std::slice::from_ref(&name));
    assert!(names(&scratch, "M/tmp").is_empty());
    let text = scratch.read(&format!("M/new/{name}"));
    assert_eq!(text, [b"A: b\n".as_slice(), &body].concat());
    let mode = Dir::open(scratch.join("M/new"))
        .unwrap()
        .stat(name.as_bytes())
        .unwrap()
        .mode;
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn thousands_of_names_made_at_once_differ() {
    let scratch = kit::Scratch::new("maildir");
    let dir = maildir(&scratch);
    let made: Vec<Bytes> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|n| {
                let dir = &dir;
                scope.spawn(move || {
                    (0..100)
                        .map(|m| {
                            let text = format!("{n} {m}\n");
                            deliver(dir, b"", &mut text.as_bytes()).unwrap()
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|w| w.join().unwrap())
            .collect()
    });
    assert_eq!(made.iter().collect::<HashSet<_>>().len(), 800);
    let texts: HashSet<Vec<u8>> = names(&scratch, "M/new")
        .iter()
        .map(|n| scratch.read(&format!("M/new/{n}")))
        .collect();
    assert_eq!(texts.len(), 800);
    let many: HashSet<Bytes> = (0..20_000).map(|_| unique(None).unwrap()).collect();
    assert_eq!(many.len(), 20_000);
}

#[test]
fn host_names_cannot_change_the_path_or_the_flags() {
    assert_eq!(host(b"a/../b:2,S"), br"a\057..\057b\0722,S");
    assert_eq!(host(b"a b\n\xff"), b"a_b__");
    assert_eq!(host(b""), b"localhost");
    assert_eq!(host(&[b'x'; 300]).len(), HOST_LIMIT);
}

struct Broken(u32);

impl Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.0 == 0 {
            return Err(ErrorKind::Other.into());
        }
        self.0 -= 1;
        buffer.fill(b'x');
        Ok(buffer.len())
    }
}

#[test]
fn what_fails_leaves_nothing() {
    let scratch = kit::Scratch::new("maildir");
    let dir = maildir(&scratch);
    assert!(matches!(
        deliver(&dir, b"", &mut Broken(3)),
        Err(Trouble::Read(_))
    ));
    assert!(names(&scratch, "M/tmp").is_empty());
    assert!(names(&scratch, "M/new").is_empty());

    let none = [dir.as_slice(), b"x"].concat();
    assert!(matches!(
        deliver(&none, b"", &mut &b""[..]),
        Err(Trouble::Open(_))
    ));
    fs::remove_dir(scratch.join("M/new")).unwrap();
    assert!(matches!(
        deliver(&dir, b"", &mut &b""[..]),
        Err(Trouble::Write(_))
    ));
    assert!(names(&scratch, "M/tmp").is_empty());
}

#[test]
fn of_a_batch_each_arrives_or_fails_by_itself() {
    let scratch = kit::Scratch::new("maildir");
    let dir = maildir(&scratch);
    for part in ["N/tmp", "N/new", "P/tmp"] {
        fs::create_dir_all(scratch.join(part)).unwrap();
    }
    let other = |name: &str| scratch.join(name).into_os_string().into_encoded_bytes();
    let mut batch = Batch::start().unwrap();
    batch
        .add(&dir, b"A: 1\n", &mut &b"\none"[..], None)
        .unwrap();
    batch
        .add(&other("N"), b"A: 2\n", &mut &b"\ntwo"[..], None)
        .unwrap();
    assert!(matches!(
        batch.add(&other("none"), b"", &mut &b"x"[..], None),
        Err(Trouble::Open(_))
    ));
    assert!(matches!(
        batch.add(&other("P"), b"", &mut &b"x"[..], None),
        Err(Trouble::Write(_))
    ));
    batch
        .add(&dir, b"A: 3\n", &mut &b"\nthree"[..], None)
        .unwrap();
    assert_eq!((batch.len(), batch.rooms.len()), (3, 2));
    // Nothing has a name for readers yet.
    assert!(names(&scratch, "M/new").is_empty());
    // One of them gets into trouble: its file in tmp is taken away.
    let tmp = scratch.join("M/tmp");
    let (last, _) = batch.drafts[2].written.as_ref().unwrap();
    let last = String::from_utf8(last.clone()).unwrap();
    fs::remove_file(tmp.join(&last)).unwrap();
    let (done, _) = batch.finish();
    assert_eq!(done.len(), 3);
    let name = |n: usize| match &done[n] {
        Ok(Arrival::Now(name)) => String::from_utf8(name.clone()).unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(scratch.read(&format!("M/new/{}", name(0))), b"A: 1\n\none");
    assert_eq!(scratch.read(&format!("N/new/{}", name(1))), b"A: 2\n\ntwo");
    assert!(matches!(done[2], Err(Trouble::Write(_))));
    assert_eq!(names(&scratch, "M/new").len(), 1);
    assert!(names(&scratch, "M/tmp").is_empty() && names(&scratch, "N/tmp").is_empty());
}

fn once(identity: u64, past: Past) -> Once {
    Once { identity, past }
}

/// Delivers a text that is not looked at; whether it was there before.
fn is_there(dir: &[u8], once: impl Into<Option<Once>>) -> bool {
    let once = once.into();
    deliver_once(dir, b"", &mut &b"text"[..], once).unwrap() == Arrival::Before
}

#[test]
fn a_delivery_that_may_be_there_is_looked_for() {
    let scratch = kit::Scratch::new("maildir-once");
    let dir = maildir(&scratch);
    let count = || names(&scratch, "M/new").len() + names(&scratch, "M/cur").len();
    assert!(!is_there(&dir, once(1, Past::Clean)));
    let name = names(&scratch, "M/new").remove(0);
    assert!(name.contains("D0000000000000001."), "{name}");
    // Without a doubt nobody looks.
    assert!(!is_there(&dir, once(1, Past::Clean)));
    assert!(is_there(&dir, once(1, Past::Unknown)));
    assert!(!is_there(&dir, once(2, Past::Unknown)));
    assert_eq!(count(), 3);

    // Readers have seen all of them.
    for name in names(&scratch, "M/new") {
        let old = scratch.join("M/new").join(&name);
        fs::rename(old, scratch.join("M/cur").join(name + ",S=4:2,RS")).unwrap();
    }
    for identity in [1, 2] {
        assert!(is_there(&dir, once(identity, Past::Unknown)));
    }
    assert!(!is_there(&dir, once(3, Past::Unknown)));
    // What was removed is not there.
    fs::remove_dir_all(scratch.join("M/cur")).unwrap();
    assert!(!is_there(&dir, once(1, Past::Unknown)));
    assert!(!is_there(&dir, None));
    assert_eq!(count_in(&scratch, "M/new"), 3);
    assert_eq!(count_in(&scratch, "M/tmp"), 0);
}

fn count_in(scratch: &kit::Scratch, dir: &str) -> usize {
    names(scratch, dir).len()
}

#[test]
fn a_batch_is_looked_for_together_and_each_counts_for_itself() {
    let scratch = kit::Scratch::new("maildir-once-batch");
    let dir = maildir(&scratch);
    fs::create_dir_all(scratch.join("N/tmp")).unwrap();
    fs::create_dir_all(scratch.join("N/new")).unwrap();
    let other = scratch.join("N").into_os_string().into_encoded_bytes();
    for identity in [1, 2] {
        assert!(!is_there(&dir, once(identity, Past::Clean)));
    }
    let mut batch = Batch::start().unwrap();
    for (dir, identity) in [(&dir, 1), (&other, 1), (&dir, 3), (&dir, 2)] {
        let once = Some(once(identity, Past::Unknown));
        batch.add(dir, b"", &mut &b"x"[..], once).unwrap();
    }
    batch.add(&dir, b"", &mut &b"x"[..], None).unwrap();
    let (done, _) = batch.finish();
    let before: Vec<bool> = done
        .iter()
        .map(|d| *d.as_ref().unwrap() == Arrival::Before)
        .collect();
    assert_eq!(before, [true, false, false, true, false]);
    assert_eq!(count_in(&scratch, "M/new"), 4);
    assert_eq!(count_in(&scratch, "N/new"), 1);
    assert_eq!(count_in(&scratch, "M/tmp") + count_in(&scratch, "N/tmp"), 0);
}

#[test]
fn what_cannot_be_written_again_may_be_there() {
    let scratch = kit::Scratch::new("maildir-once-full");
    let dir = maildir(&scratch);
    assert!(!is_there(&dir, once(1, Past::Clean)));
    let ask = |identity, past| {
        let once = Some(once(identity, past));
        deliver_once(&dir, b"", &mut Broken(3), once)
    };
    assert!(matches!(ask(1, Past::Clean), Err(Trouble::Read(_))));
    assert!(matches!(ask(2, Past::Unknown), Err(Trouble::Read(_))));
    assert!(matches!(ask(1, Past::Unknown), Ok(Arrival::Before)));
    assert_eq!(count_in(&scratch, "M/new"), 1);
    assert_eq!(count_in(&scratch, "M/tmp"), 0);
}
