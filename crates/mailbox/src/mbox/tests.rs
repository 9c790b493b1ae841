use super::*;

use base::Bytes;

const LINES: Lines<'static> = Lines {
    from: b"From me Thu Jan 01 00:00:00 1970\n",
    header: b"A: b\n",
};

fn path(scratch: &kit::Scratch) -> Bytes {
    scratch.join("box").into_os_string().into_encoded_bytes()
}

#[test]
fn messages_are_appended() {
    let scratch = kit::Scratch::new("mbox");
    deliver(&path(&scratch), LINES, &mut &b"x\n"[..]).unwrap();
    deliver(&path(&scratch), LINES, &mut &b"y"[..]).unwrap();
    let both = "From me Thu Jan 01 00:00:00 1970\nA: b\nx\n\n\
                From me Thu Jan 01 00:00:00 1970\nA: b\ny\n\n";
    assert_eq!(scratch.read("box"), both.as_bytes());
}

struct Broken(bool);

impl Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.0 {
            return Err(ErrorKind::Other.into());
        }
        self.0 = true;
        buffer.fill(b'x');
        Ok(buffer.len())
    }
}

#[test]
fn a_failure_cuts_the_file_back() {
    let scratch = kit::Scratch::new("mbox");
    scratch.write("box", "before\n");
    let trouble = deliver(&path(&scratch), LINES, &mut Broken(false)).unwrap_err();
    assert!(matches!(trouble, Trouble::Read(_)));
    assert_eq!(scratch.read("box"), b"before\n");
}

#[test]
fn a_held_lock_ends_the_wait() {
    let scratch = kit::Scratch::new("mbox");
    scratch.write("box", "before\n");
    let holder = File::open(scratch.join("box")).unwrap();
    assert!(sys::lock::try_exclusive(&holder).unwrap());
    let path = path(&scratch);
    // The alarm belongs to a process: a child has its own.
    let pid = sys::process::fork(|| match deliver_within(&path, LINES, &mut &b"x"[..], 1) {
        Err(Trouble::Slow) => 7,
        _ => 0,
    })
    .unwrap();
    let end = kit::until(kit::LIMIT, || sys::process::ended_pid(pid).unwrap());
    assert_eq!(end, Some(sys::process::End::Exit(7)));
    assert_eq!(scratch.read("box"), b"before\n");
}

#[test]
fn two_at_once_do_not_mix() {
    let scratch = kit::Scratch::new("mbox");
    let path = path(&scratch);
    let body = "z".repeat(300_000);
    let pids: Vec<u32> = (0..4)
        .map(|_| {
            let one = || u8::from(deliver(&path, LINES, &mut body.as_bytes()).is_err());
            sys::process::fork(one).unwrap()
        })
        .collect();
    for pid in pids {
        let end = kit::until(kit::LIMIT, || sys::process::ended_pid(pid).unwrap());
        assert_eq!(end, Some(sys::process::End::Exit(0)));
    }
    let one = [LINES.from, LINES.header, body.as_bytes(), b"\n\n"].concat();
    assert_eq!(scratch.read("box"), one.repeat(4));
}

#[test]
fn only_regular_files_are_written() {
    let scratch = kit::Scratch::new("mbox");
    let dir = Dir::open(scratch.path()).unwrap();
    dir.make_fifo(b"box", 0o600).unwrap();
    assert!(deliver(&path(&scratch), LINES, &mut &b"x"[..]).is_err());
    let _reader = dir.open_read(b"box").unwrap();
    assert!(matches!(
        deliver(&path(&scratch), LINES, &mut &b"x"[..]),
        Err(Trouble::Write(_))
    ));
    assert!(matches!(
        deliver(b"/dev/null", LINES, &mut &b"x"[..]),
        Err(Trouble::Write(_))
    ));
}
