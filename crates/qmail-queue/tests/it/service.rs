//! qmail-queued from outside: its socket, its answers, its files, and those who wish it ill.

mod attack;
mod client;
mod ends;
mod ways;

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use kit::{Daemon, Home, Run, program};

use client::{Client, envelope};

/// Who runs the service when the tester is root.
const KEEPER: u32 = 65_534;
/// Somebody else.
const STRANGER: u32 = 65_533;

/// A home with a service.
pub(crate) struct Post {
    /// ends before its home goes
    service: Option<Daemon>,
    pub(crate) home: Home,
}

fn give(path: &Path, uid: u32) {
    chown(path, Some(uid), Some(uid)).unwrap();
    if fs::symlink_metadata(path).unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), uid);
        }
    }
}

impl Post {
    /// The home; no service yet.
    pub(crate) fn closed(name: &str) -> Post {
        let home = Home::new(name);
        fs::create_dir_all(home.join("run/queue")).unwrap();
        // Copies: the place of the build may be closed to others.
        fs::remove_file(home.join("bin")).unwrap();
        fs::create_dir(home.join("bin")).unwrap();
        for name in ["qmail-queue", "qmail-queued"] {
            kit::copy_executable(program(name), home.join("bin").join(name));
        }
        kit::copy_executable(std::env::current_exe().unwrap(), home.join("bin/roles"));
        let post = Post {
            home,
            service: None,
        };
        if sys::ids::euid() == 0 {
            give(post.home.path(), KEEPER);
        }
        post
    }

    /// With a service.
    pub(crate) fn open(name: &str, args: &[&str]) -> Post {
        let mut post = Post::closed(name);
        post.start(args);
        post
    }

    /// A program of the home, as its keeper.
    pub(crate) fn run(&self, name: &str) -> Run {
        let run = Run::new(self.home.join("bin").join(name))
            .env("QMAILHOME", self.home.path().to_str().unwrap())
            .dir(self.home.path());
        if sys::ids::euid() == 0 {
            run.ids(KEEPER, KEEPER)
        } else {
            run
        }
    }

    pub(crate) fn start(&mut self, args: &[&str]) {
        let log = self.home.join("log");
        let mut service = self.run("qmail-queued").args(args).start(&log);
        let socket = self.home.join("run/queue/socket");
        kit::eventually("a socket that answers", || {
            assert!(
                service.is_running(),
                "{}",
                fs::read_to_string(&log).unwrap()
            );
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
        self.service = Some(service);
    }

    pub(crate) fn service(&mut self) -> &mut Daemon {
        self.service.as_mut().unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.home.join("run/queue/socket"))
    }

    /// Files in pid, mess, intd and todo.
    pub(crate) fn files(&self) -> [usize; 4] {
        ["pid", "mess", "intd", "todo"].map(|d| self.home.queue(d).len())
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.home.join("log")).unwrap()
    }

    /// Runs one of the tests below that play a role, in a process of its own.
    pub(crate) fn role(&self, name: &str) -> Run {
        let exact = format!("service::{name}");
        self.run("roles")
            .args(["--ignored", "--exact", &exact, "--nocapture"])
    }
}

/// What is said of a message on disk, without numbers and times: its text, its envelope, modes, links and owners.
fn entry(home: &Home, id: &str) -> (String, String, Vec<u32>) {
    let mess = home
        .queue("mess")
        .into_iter()
        .find(|m| m.ends_with(&format!("/{id}")))
        .unwrap();
    let paths = [
        home.join("queue/mess").join(&mess),
        home.join("queue/todo").join(id),
        home.join("queue/intd").join(id),
    ];
    let number: u64 = id.parse().unwrap();
    assert_eq!(mess, format!("{}/{id}", number % kit::SPLIT));
    assert_eq!(fs::metadata(&paths[0]).unwrap().ino(), number);
    assert_eq!(
        fs::metadata(&paths[1]).unwrap().ino(),
        fs::metadata(&paths[2]).unwrap().ino()
    );
    let stats = paths.iter().flat_map(|p| {
        let stat = fs::metadata(p).unwrap();
        [
            stat.mode(),
            u32::try_from(stat.nlink()).unwrap(),
            stat.uid(),
            stat.gid(),
        ]
    });
    let stats = stats.collect();
    let text = String::from_utf8(fs::read(&paths[0]).unwrap()).unwrap();
    let (received, rest) = text.split_once('\n').unwrap();
    let words: Vec<&str> = received.split(' ').collect();
    let (who, date) = words.split_at(words.len() - 5);
    assert_eq!(
        (words[0], words[1], date[4]),
        ("Received:", "(qmail", "-0000")
    );
    let pid = who[2];
    let received = [&who[..2], &["N"], &who[3..]].concat().join(" ");
    let todo = String::from_utf8(fs::read(&paths[1]).unwrap()).unwrap();
    let envelope = todo.replacen(&format!("\0p{pid}\0"), "\0pN\0", 1);
    assert_ne!(todo, envelope, "the same number in both");
    (format!("{received}\n{rest}"), envelope, stats)
}

#[test]
fn both_ways_make_the_same_entries() {
    let post = Post::open("qd-same", &[]);
    let many = (0..500)
        .map(|n| format!("r{n}@host.test"))
        .collect::<Vec<_>>();
    let cases: [(&str, String, Vec<String>); 4] = [
        (
            "Subject: x\n\nbody\n",
            "s@host.test".into(),
            vec!["r@host.test".into()],
        ),
        ("", String::new(), vec![]),
        (
            "no line end",
            "#@[]".into(),
            vec!["a".into(), "a".into(), String::new()],
        ),
        ("big\n", "s@host.test".into(), many),
    ];
    for (text, sender, recipients) in cases {
        let text = text.repeat(if text == "big\n" { 100_000 } else { 1 });
        let envelope = envelope(&sender, &recipients);
        let before = post.home.queue("todo");
        let output = post
            .run("qmail-queue")
            .stdin(&text)
            .input(1, &envelope)
            .output();
        assert_eq!(output.code(), 0);
        let classic = new_one(&post, &before);
        let before = post.home.queue("todo");
        let answer = post.client().one(text.as_bytes(), &envelope).unwrap();
        assert_eq!(answer.code, 0);
        assert!(answer.qp >= 1 << 22);
        let service = new_one(&post, &before);
        // Root runs the program as the keeper, but is itself the one who talks to the service.
        let (me, keeper) = (
            sys::ids::uid(),
            fs::metadata(post.home.path()).unwrap().uid(),
        );
        let (text, envelope, stats) = entry(&post.home, &classic);
        let text = text.replacen(
            &format!(" by uid {keeper});"),
            &format!(" by uid {me});"),
            1,
        );
        let envelope = envelope.replacen(&format!("u{keeper}\0"), &format!("u{me}\0"), 1);
        assert_eq!((text, envelope, stats), entry(&post.home, &service));
    }
    assert!(post.home.queue("pid").is_empty());
}

fn new_one(post: &Post, before: &[String]) -> String {
    let mut now = post.home.queue("todo");
    now.retain(|n| !before.contains(n));
    assert_eq!(now.len(), 1);
    now.remove(0)
}

#[test]
fn every_fault_has_the_code_of_the_program_and_leaves_nothing() {
    let post = Post::open("qd-codes", &[]);
    let long = vec![b'x'; 1003];
    let cases: [(&[u8], u8); 8] = [
        (b"", 54),
        (b"Fs", 54),
        (b"Fs\0Tr\0", 54),
        (b"Tr\0\0", 91),
        (b"Fs\0Xr\0\0", 91),
        (b"Fs\0Fr\0\0", 91),
        (&[b"F", long.as_slice(), b"\0\0"].concat(), 11),
        (&[b"Fs\0T", long.as_slice(), b"\0\0"].concat(), 11),
    ];
    for text in [b"m".to_vec(), vec![b'm'; 200_000]] {
        for (envelope, code) in &cases {
            let program = post
                .run("qmail-queue")
                .stdin(&text)
                .input(1, envelope)
                .output();
            let answer = post.client().one(&text, envelope).unwrap();
            assert_eq!((program.code(), answer.code), (*code, *code));
            assert_eq!(post.files(), [0; 4]);
        }
    }
    assert_eq!(
        post.log(),
        "",
        "the client's own faults are not the operator's"
    );
    fs::remove_dir(post.home.join("queue/todo")).unwrap();
    let answer = post.client().one(b"m", b"Fs\0Tr\0\0").unwrap();
    fs::create_dir(post.home.join("queue/todo")).unwrap();
    assert_eq!(answer.code, 66);
    assert_eq!(post.files(), [0; 4]);
    assert!(post.log().contains("code 66"), "{}", post.log());
}

#[test]
fn one_connection_may_bring_many() {
    let post = Post::open("qd-many", &[]);
    let mut client = post.client();
    client.say(b"Q");
    let mut numbers = Vec::new();
    for n in 0..20 {
        let text = format!("message {n}\n");
        client.message(text.as_bytes(), b"Fs\0Tr\0\0and the rest is ignored");
        let answer = client.answer().unwrap();
        assert_eq!(answer.code, 0);
        numbers.push(answer.qp);
    }
    numbers.dedup();
    assert_eq!(numbers.len(), 20);
    assert_eq!(post.files(), [0, 20, 20, 20]);
    // Two at once is too hasty: the second could not be told from garbage after a fault of the first.
    client.say(b"1:x,0:,5:Fs\0Tr,2:\0\0,0:,1:y,");
    assert_eq!(client.answer().unwrap().code, 91);
    assert!(client.answer().is_none());
    assert_eq!(post.files(), [0, 20, 20, 20]);
}

#[test]
fn the_user_is_the_one_that_the_kernel_tells() {
    let post = Post::open("qd-uid", &[]);
    let uids: &[u32] = if kit::is_root("the_user_is_the_one_that_the_kernel_tells: other users") {
        &[0, 1, KEEPER, STRANGER, 4_000_000]
    } else {
        &[sys::ids::uid()]
    };
    for &uid in uids {
        let before = post.home.queue("todo");
        let mut run = post.role("submits");
        if sys::ids::euid() == 0 {
            run = run.ids(uid, uid);
        }
        let output = run.output();
        assert!(
            output.out_text().contains("Queued service"),
            "{}",
            output.out_text()
        );
        let id = new_one(&post, &before);
        let (text, envelope, _) = entry(&post.home, &id);
        assert!(
            envelope.starts_with(&format!("u{uid}\0pN\0Fs@host.test\0")),
            "{envelope}"
        );
        let known = ["by uid ", "by alias", "from network", "for bounce"];
        assert!(known.iter().any(|k| text.contains(k)), "{text}");
        if uid == STRANGER {
            assert!(text.contains(&format!(" by uid {STRANGER});")), "{text}");
        }
    }
}

#[test]
fn the_trigger_is_pulled() {
    use std::io::Read;
    let post = Post::open("qd-trigger", &[]);
    let lock = sys::Dir::open(post.home.join("queue/lock")).unwrap();
    let mut reader = lock.open_read(b"trigger").unwrap();
    assert_eq!(post.client().one(b"m", b"Fs\0Tr\0\0").unwrap().code, 0);
    let mut byte = [1];
    assert_eq!(reader.read(&mut byte).unwrap(), 1);
}

/// Not a test: hands one message over as every program does, and says how that went.
#[test]
#[ignore = "a role that other tests play"]
#[allow(clippy::print_stdout)]
fn submits() {
    use queue::submit::Submission;
    let size = std::env::var("SIZE").map_or(10, |s| s.parse().unwrap());
    let mut submission = match Submission::open() {
        Ok(submission) => submission,
        Err(e) => return println!("open: {e}"),
    };
    assert!(size > 20_000 || submission.pid() < 1 << 22);
    submission.write(&vec![b'x'; size]);
    submission.sender(b"s@host.test");
    submission.recipient(b"r@host.test");
    let outcome = submission.close();
    let way = if submission.pid() >= 1 << 22 {
        "service"
    } else {
        "program"
    };
    println!("{outcome:?} {way}");
}
