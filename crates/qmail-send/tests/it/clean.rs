//! qmail-clean.

use std::fs;
use std::path::Path;

use kit::Home;

fn fill(home: &Home, id: u64) {
    for path in [
        format!("intd/{id}"),
        format!("todo/{id}"),
        format!("mess/{}/{id}", id % 23),
        format!("info/{}/{id}", id % 23),
    ] {
        fs::write(home.join("queue").join(path), "x").unwrap();
    }
}

fn asked(home: &Home, request: &[u8]) -> String {
    let output = home.run("qmail-clean").stdin(request).output();
    assert_eq!(output.code(), 0);
    output.out_text()
}

#[test]
fn removes_what_it_is_asked_to_and_nothing_else() {
    let home = Home::new("clean");
    fill(&home, 24);
    assert_eq!(asked(&home, b"foop/24\0"), "+");
    assert_eq!(home.queue("todo"), ["24"]);
    assert_eq!(home.queue("info"), ["1/24"]);
    assert!(home.queue("mess").is_empty() && home.queue("intd").is_empty());
    fill(&home, 24);
    assert_eq!(asked(&home, b"todo/24\0"), "+");
    assert_eq!(home.queue("mess"), ["1/24"]);
    assert!(home.queue("todo").is_empty() && home.queue("intd").is_empty());
    assert_eq!(asked(&home, b"foop/99\0todo/98\0"), "++");
}

#[test]
fn bad_requests_are_refused() {
    let home = Home::new("clean-bad");
    fill(&home, 24);
    for (request, answer) in [
        (&b"\0"[..], "x"),
        (b"foop/\0", "x"),
        (b"mess/24\0", "x"),
        (b"foop/-24\0", "xx"),
        (b"foop/../24\0", "xxxx"),
        (b"foop/99999999999999999999999999\0", "+"),
        (b"foop/0\0", "+"),
        (&[b"foop/", [b'0'; 95].as_slice(), b"\0"].concat(), "x"),
        (
            &[b"foop/", [b'x'; 900].as_slice(), b"\0foop/7\0"].concat(),
            "x+",
        ),
        (b"foop/24", ""),
    ] {
        assert_eq!(asked(&home, request), answer, "{request:?}");
        assert_eq!(home.queue("mess"), ["1/24"]);
    }
}

#[test]
fn failures_and_lost_hearers_have_their_codes() {
    let home = Home::new("clean-codes");
    fs::create_dir(home.join("queue/intd/7")).unwrap();
    assert_eq!(asked(&home, b"foop/7\0"), "!");
    let deaf = home.run("qmail-clean").stdin("foop/1\0").closed(1).output();
    assert_eq!(deaf.code(), 100);
    fs::rename(home.join("queue"), home.join("gone")).unwrap();
    assert_eq!(home.run("qmail-clean").output().code(), 111);
}

#[test]
fn old_files_of_dead_writers_are_swept() {
    let home = Home::new("clean-sweep");
    let pid = sys::Dir::open(home.join("queue/pid")).unwrap();
    let now = base::tai::unix_now();
    for (name, age) in [("old", 129_700), ("new", 129_000)] {
        pid.create_new(name.as_bytes(), 0o644).unwrap();
        pid.set_times(name.as_bytes(), now - age, now).unwrap();
    }
    assert_eq!(asked(&home, b""), "");
    assert_eq!(home.queue("pid"), ["new"]);
    assert!(!Path::new(&home.join("queue/pid/old")).exists());
}
