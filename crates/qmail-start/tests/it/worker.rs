//! Deliveries without a program: the same reports and the same files, as the same user, and never said too early.

mod once;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::time::{Duration, Instant};

use kit::{Home, Run};
use queue::frames::{self, Command, Frames};
use sys::process::End;
use sys::signal::{self, Signal};
use sys::spawn::Spawn;

use crate::judge::Dice;

/// Two users that no machine has.
const JOE: u32 = 54_321;
const JIM: u32 = 54_322;
/// Orders of one run.
const RUN: usize = 100;

/// Whether the qmail-local beside the tests was built from the same sources as they were.
fn has_our_local(test: &str) -> bool {
    let mark = &qmail_local::identity::MARK;
    let ours = fs::read(kit::program("qmail-local"))
        .is_ok_and(|bytes| bytes.windows(mark.len()).any(|piece| piece == mark));
    if !ours {
        eprintln!("SKIPPED (qmail-local is not built from these sources): {test}");
    }
    let users = sys::ids::euid() != 0 || control::Owners::find().is_ok();
    if !users {
        eprintln!("SKIPPED (needs the users of qmail): {test}");
    }
    ours && users
}

/// A post office with two users, joe and jim. As root each is himself, else both are the tester.
struct Office {
    home: Home,
    /// those that belong to joe and jim
    uids: [u32; 2],
    queue_owner: u32,
}

impl Office {
    fn new(name: &str) -> Office {
        let home = Home::new(name);
        let me = sys::ids::euid();
        let owners = control::Owners::find().ok().filter(|_| me == 0);
        let uids = if me == 0 { [JOE, JIM] } else { [me, me] };
        let office = Office {
            queue_owner: owners.map_or(me, |owners| owners.qmailq),
            home,
            uids,
        };
        office.message("1/24", "Subject: x\n\nbody\n");
        let mut records: BTreeMap<String, String> = BTreeMap::new();
        for (user, uid) in ["joe", "jim"].into_iter().zip(uids) {
            let place = office.place(user);
            let gid = if me == 0 { uid } else { sys::ids::gid() };
            let fields = format!("{user}\0{uid}\0{gid}\0{place}\0");
            records.insert(format!("!{user}\0"), format!("{fields}\0\0"));
            records.insert(format!("!{user}-"), format!("{fields}-\0"));
        }
        records.insert(String::new(), "-".to_owned());
        let (cdb, tmp) = (
            office.home.join("users/cdb"),
            office.home.join("users/cdb.tmp"),
        );
        control::table::make(&cdb, &tmp, 0o644, records).unwrap();
        office
    }

    fn place(&self, user: &str) -> String {
        self.home.join("home").join(user).display().to_string()
    }

    fn message(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.home.write(&format!("queue/mess/{name}"), text);
        chown(path, Some(self.queue_owner), None).unwrap();
    }

    /// Homes as new: each with a Maildir and what `furnish` adds.
    fn homes(&self, furnish: impl Fn(&Path)) {
        let _ = fs::remove_dir_all(self.home.join("home"));
        for (user, uid) in ["joe", "jim"].into_iter().zip(self.uids) {
            let home = self.home.join("home").join(user);
            for part in ["tmp", "new", "cur"] {
                fs::create_dir_all(home.join("Maildir").join(part)).unwrap();
            }
            furnish(&home);
            give(&home, uid);
        }
    }

    fn maildir(&self, user: &str) -> Vec<(String, u32, Vec<u8>)> {
        let mut found = Vec::new();
        for entry in fs::read_dir(format!("{}/Maildir/new", self.place(user))).unwrap() {
            let path = entry.unwrap().path();
            let stat = fs::metadata(&path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            found.push((name, stat.uid(), fs::read(&path).unwrap()));
        }
        found
    }

    /// The reports of some orders (message, sender, recipient), in one run.
    fn reports(&self, orders: &[(&str, Vec<u8>, Vec<u8>)]) -> Vec<String> {
        assert!(orders.len() <= RUN);
        let mut input = Vec::new();
        for (slot, (message, sender, recipient)) in (0u8..).zip(orders) {
            input.push(slot);
            for field in [message.as_bytes(), sender, recipient] {
                input.extend_from_slice(field);
                input.push(0);
            }
        }
        let run = self.home.run("qmail-lspawn").arg("./Maildir/").stdin(input);
        let output = run.output();
        assert_eq!(output.code(), 0, "{}", output.err_text());
        let mut reports = vec![String::new(); orders.len()];
        let mut rest = &output.out[1..];
        while let Some((&slot, text)) = rest.split_first() {
            let end = text.iter().position(|&b| b == 0).unwrap();
            reports[usize::from(slot)] = String::from_utf8_lossy(&text[..end]).into_owned();
            rest = &text[end + 1..];
        }
        reports
    }

    fn start(&self) -> Session {
        self.start_with("UNUSED", "")
    }

    /// With a variable of the environment.
    fn start_with(&self, name: &str, value: &str) -> Session {
        let (input, to) = sys::fd::pipe().unwrap();
        let (from, output) = sys::fd::pipe().unwrap();
        let program = kit::program("qmail-lspawn");
        let pid = Spawn::new(program.as_os_str().as_encoded_bytes())
            .arg("./Maildir/")
            .set("QMAILHOME", self.home.path().as_os_str().as_encoded_bytes())
            .set(name, value)
            .fd(0, input.as_fd())
            .fd(1, output.as_fd())
            .spawn()
            .unwrap();
        drop((input, output));
        let session = Session {
            pid,
            to: Some(to),
            from,
            frames: Frames::default(),
        };
        let mut first = [0; 100];
        assert_eq!(sys::fd::read(&session.from, &mut first[..1]).unwrap(), 1);
        session.say(&frames::probe());
        let count = sys::fd::read(&session.from, &mut first).unwrap();
        assert!(frames::read_answer(&first[1..count - 1]).is_some_and(|limit| limit >= 20));
        session
    }
}

/// A spawner that speaks frames.
struct Session {
    pid: u32,
    to: Option<OwnedFd>,
    from: OwnedFd,
    frames: Frames,
}

impl Session {
    fn say(&self, bytes: &[u8]) {
        sys::fd::write_all(self.to.as_ref().unwrap(), bytes).unwrap();
    }

    fn order(&self, number: u32, message: &str, recipient: &str) {
        let command = Command {
            number,
            message: message.into(),
            sender: b"s@far.test".to_vec(),
            attempt: None,
            recipients: vec![recipient.into()],
        };
        self.say(&frames::encode_command(&command).unwrap());
    }

    /// The next report.
    fn report(&mut self) -> (u32, String) {
        loop {
            if let Some(frame) = self.frames.next_frame().unwrap() {
                let report = frames::decode_report(frame).unwrap();
                let text = String::from_utf8(report.texts[0].clone()).unwrap();
                return (report.number, text);
            }
            assert!(sys::poll::readable(&self.from, kit::LIMIT).unwrap());
            let mut piece = [0; 4096];
            let count = sys::fd::read(&self.from, &mut piece).unwrap();
            assert!(count > 0, "the spawner has left");
            self.frames.feed(&piece[..count]);
        }
    }

    /// Its children: workers, as long as no program runs.
    fn children(&self) -> Vec<u32> {
        let path = format!("/proc/{0}/task/{0}/children", self.pid);
        let text = fs::read_to_string(path).unwrap();
        text.split_whitespace()
            .map(|n| n.parse().unwrap())
            .collect()
    }

    fn leave(mut self) {
        self.to = None;
        assert_eq!(sys::process::wait_for(self.pid).unwrap(), End::Exit(0));
        self.pid = 0;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.pid != 0 {
            let _ = signal::send(self.pid, Signal::SIGKILL);
            let _ = sys::process::wait_for(self.pid);
        }
    }
}

fn give(path: &Path, uid: u32) {
    if sys::ids::euid() == 0 {
        std::os::unix::fs::lchown(path, Some(uid), Some(uid)).unwrap();
    }
    if fs::symlink_metadata(path).unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), uid);
        }
    }
}

/// A .qmail file with a bit of everything. `n` makes names that no other file uses.
fn instructions(dice: &mut Dice, n: usize) -> Vec<u8> {
    let (box_a, box_b) = (format!("./box-{n}"), format!("./box-{n}b "));
    let kinds: &[&[u8]] = &[
        b"./Maildir/",
        b"./Maildir/ \t",
        b"./Maildir/",
        b"./Maildir/\0x",
        b"./Other/",
        box_a.as_bytes(),
        box_b.as_bytes(),
        b"./none/",
        b"./file/",
        b"./halfdir/",
        b"./Maildir",
        b"./fifo",
        b"/nonexistent/box",
        b"# comment",
        b"",
        b" ",
        b"+list",
        b"+unknown",
        b"|echo said",
        b"|exit 99",
        b"|exit 100",
        b"|exit 111",
        b"&a@far.test",
        b"a@far.test",
    ];
    // Many files are of the simple kind.
    let (from, kinds) = match dice.below(3) {
        0 => (1, &kinds[..1]),
        1 => (1, &kinds[..18]),
        _ => (0, kinds),
    };
    let mut text = Vec::new();
    for _ in from..from + dice.below(4) {
        text.extend_from_slice(dice.pick(kinds));
        text.push(b'\n');
    }
    if dice.below(4) == 0 {
        text.pop();
    }
    text
}

fn furnish(home: &Path) {
    // The same dice for each home, each time.
    let mut dice = Dice(7);
    for part in ["Other/tmp", "Other/new", "Other/cur", "halfdir/tmp"] {
        fs::create_dir_all(home.join(part)).unwrap();
    }
    fs::write(home.join("file"), "").unwrap();
    sys::Dir::open(home)
        .unwrap()
        .make_fifo(b"fifo", 0o600)
        .unwrap();
    for n in 0..RUN {
        let name = home.join(format!(".qmail-{n}"));
        if dice.below(12) == 0 {
            continue;
        }
        fs::write(&name, instructions(&mut dice, n)).unwrap();
        let mode = [0o644, 0o600, 0o644, 0o600, 0o644, 0o646, 0o744, 0o000][dice.below(8)];
        fs::set_permissions(&name, Permissions::from_mode(mode)).unwrap();
        for owner in ["owner", "owner-default"] {
            if dice.below(3) == 0 {
                fs::write(home.join(format!(".qmail-{n}-{owner}")), "#\n").unwrap();
            }
        }
    }
    fs::write(home.join(".qmail-default"), "./Maildir/\n").unwrap();
}

/// All files of a home with their contents, as far as they do not depend on the moment.
fn content(home: &Path) -> Vec<(String, u32, u32, Vec<u8>)> {
    let mut found = Vec::new();
    let mut places = vec![home.to_path_buf()];
    while let Some(dir) = places.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let stat = fs::symlink_metadata(&path).unwrap();
            if stat.is_dir() {
                places.push(path.clone());
            }
            let text = if stat.is_file() {
                fs::read(&path).unwrap_or_default()
            } else {
                Vec::new()
            };
            let in_maildir = dir.ends_with("new") || dir.ends_with("tmp");
            let name = if in_maildir && stat.is_file() {
                dir.clone()
            } else {
                path
            };
            let dated = |line: &[u8]| line.starts_with(b"From ");
            let text = text
                .split(|&b| b == b'\n')
                .filter(|line| !dated(line))
                .collect::<Vec<_>>()
                .join(&b'\n');
            let name = name.strip_prefix(home).unwrap().display().to_string();
            found.push((name, stat.mode(), stat.uid(), text));
        }
    }
    found.sort();
    found
}

/// Numbers of processes differ from run to run.
fn without_numbers(report: &str) -> String {
    match report.split_once("qp ") {
        Some((before, _)) => format!("{before}qp"),
        None => report.to_owned(),
    }
}

#[test]
fn a_worker_and_a_program_say_and_do_the_same() {
    let test = "a_worker_and_a_program_say_and_do_the_same";
    if !has_our_local(test) {
        return;
    }
    let office = Office::new("worker-same");
    office
        .home
        .fake("qmail-queue", "cat >/dev/null; cat <&1 >/dev/null");
    let been: String = (0..50)
        .map(|n| format!("Delivered-To: joe-{n}@host.test\n"))
        .collect();
    office.message("2/25", format!("{been}X: y\n\nFrom me\n"));
    office.message("3/26", "");
    office.message("4/27", vec![b'x'; 200_000]);
    let mut dice = Dice(1);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (round, mode) in [(0, 0o755), (1, 0o755), (2, 0o700), (3, 0o1755), (4, 0o757)] {
        let count = if mode == 0o755 { RUN } else { 10 };
        let orders: Vec<(&str, Vec<u8>, Vec<u8>)> = (0..count)
            .map(|n| {
                let message = dice.pick(&["1/24", "1/24", "2/25", "3/26", "4/27"]);
                let sender = dice.pick(&["s@far.test", "", "#@[]", "a b\n@far.test"]);
                let user = dice.pick(&["joe", "joe", "jim"]);
                let host = dice.pick(&["host.test", "host.test", "Ho\nst"]);
                let recipient = match dice.below(20) {
                    0 => format!("{user}@{host}"),
                    _ => format!("{user}-{n}@{host}"),
                };
                (message, sender.into(), recipient.into_bytes())
            })
            .collect();
        let mut results = Vec::new();
        for exec in ["1", "0"] {
            office.home.control("localexec", exec);
            office.homes(furnish);
            for user in ["joe", "jim"] {
                fs::set_permissions(office.place(user), Permissions::from_mode(mode)).unwrap();
            }
            let reports = office.reports(&orders);
            let reports: Vec<String> = reports.iter().map(|r| without_numbers(r)).collect();
            let files = content(&office.home.join("home"));
            results.push((reports, files));
        }
        let (program, worker) = (&results[0], &results[1]);
        for ((order, a), b) in orders.iter().zip(&program.0).zip(&worker.0) {
            let recipient = order.2.escape_ascii();
            assert_eq!(a, b, "round {round}, {recipient}");
            *seen.entry(a.clone()).or_default() += 1;
        }
        assert_eq!(program.1, worker.1, "round {round}");
    }
    for report in [
        "Kdid 1+0+0\n",
        "Kdid 2+0+0\n",
        "Kdid 0+0+0\n",
        "DThis message is looping: it already has my Delivered-To line. (#5.4.6)\n",
        "ZUnable to chdir to maildir. (#4.2.1)\n",
        "ZTemporary error on maildir delivery. (#4.3.0)\n",
        "ZUh-oh: first line of .qmail file is blank. (#4.2.1)\n",
        "ZUh-oh: .qmail file is writable. (#4.7.0)\n",
        "ZUh-oh: .qmail has file delivery but has x bit set. (#4.7.0)\n",
        "ZUh-oh: home directory is writable. (#4.7.0)\n",
        "ZHome directory is sticky: user is editing his .qmail file. (#4.2.1)\n",
        "Kdid 0+0+1\n",
    ] {
        assert!(
            seen.contains_key(report),
            "{report:?} never came up: {seen:#?}"
        );
    }
    assert!(
        seen.keys()
            .any(|r| r.starts_with("Kdid") && r.ends_with("qp"))
    );
}

/// What can be seen of a worker.
struct Look {
    status: String,
    /// where its descriptors lead
    open: Vec<String>,
    /// who may look into its memory
    owner: u32,
    at: std::path::PathBuf,
}

impl Look {
    /// `None`: it has left.
    fn at(pid: u32) -> Option<Look> {
        let place = |name: &str| format!("/proc/{pid}/{name}");
        let fds = fs::read_dir(place("fd")).ok()?;
        let links = fds.map(|fd| fs::read_link(fd.ok()?.path()).ok());
        let mut open = links
            .map(|link| Some(link?.display().to_string()))
            .collect::<Option<Vec<String>>>()?;
        open.sort();
        Some(Look {
            status: fs::read_to_string(place("status")).ok()?,
            open,
            owner: fs::metadata(place("mem")).ok()?.uid(),
            at: fs::read_link(place("cwd")).ok()?,
        })
    }

    fn field(&self, name: &str) -> String {
        let line = self.status.lines().find(|l| l.starts_with(name)).unwrap();
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        words.join(" ")
    }

    fn uid(&self) -> u32 {
        let field = self.field("Uid:");
        field.split(' ').next().unwrap().parse().unwrap()
    }

    /// Reports come before files are closed.
    fn is_at_rest(&self) -> bool {
        self.open.len() == 4 && self.at == Path::new("/")
    }
}

#[test]
fn each_user_has_his_own_worker_and_his_own_files() {
    let test = "each_user_has_his_own_worker_and_his_own_files";
    if !kit::is_root(test) || !has_our_local(test) {
        return;
    }
    let office = Office::new("worker-ids");
    office.homes(|_| {});
    let mut session = office.start();
    // A worker may leave while it is looked at: it had nothing to do for a second, on a machine that is busy.
    let mut rounds = 0;
    let mut looks = Vec::new();
    kit::eventually("workers of both users rest, at nobody's home", || {
        let of_both = |looks: &[Look]| [JOE, JIM].map(|uid| looks.iter().any(|l| l.uid() == uid));
        if of_both(&looks) != [true, true] {
            rounds += 1;
            for n in 0..10 {
                let user = ["joe", "jim"][n as usize % 2];
                session.order(n, "1/24", &format!("{user}@host.test"));
            }
            for _ in 0..10 {
                assert_eq!(session.report().1, "Kdid 1+0+0\n");
            }
        }
        let found: Vec<u32> = session.children();
        looks = found.into_iter().filter_map(Look::at).collect();
        of_both(&looks) == [true, true] && looks.iter().all(Look::is_at_rest)
    });
    for look in &looks {
        let uid = look.uid();
        assert_eq!(look.field("Uid:"), format!("{uid} {uid} {uid} {uid}"));
        assert_eq!(look.field("Gid:"), format!("{uid} {uid} {uid} {uid}"));
        assert_eq!(look.field("Groups:"), uid.to_string());
        assert_eq!(look.field("CapEff:"), "0000000000000000");
        // The socket, and nothing that the spawner has.
        let open = &look.open;
        assert_eq!(open[..3], ["/dev/null", "/dev/null", "/dev/null"]);
        assert!(open[3].starts_with("socket:"), "{open:?}");
        // It cannot be looked into by its user: it was root, and knows others' mail.
        assert_eq!(look.owner, 0);
        assert!([JOE, JIM].contains(&uid));
    }
    for (user, uid) in [("joe", JOE), ("jim", JIM)] {
        let mails = office.maildir(user);
        assert_eq!(mails.len(), 5 * rounds);
        assert!(mails.iter().all(|(_, owner, _)| *owner == uid));
    }
    session.leave();
}

#[test]
fn plain_deliveries_start_no_program_and_others_do() {
    let test = "plain_deliveries_start_no_program_and_others_do";
    if !has_our_local(test) {
        return;
    }
    let office = Office::new("worker-noexec");
    office.homes(|home| {
        fs::write(home.join(".qmail-prog"), "|echo said\n").unwrap();
    });
    let trace = office.home.join("trace");
    let mut input = Vec::new();
    for slot in 0..20u8 {
        input.push(slot);
        input.extend_from_slice(b"1/24\0s@far.test\0joe@host.test\0");
    }
    let run = |input: &[u8], home: &Home| -> Option<(usize, usize, String)> {
        let output = Run::new("strace")
            .args([
                "-f",
                "-qq",
                "-e",
                "trace=execve,clone,clone3,fork,vfork",
                "-o",
            ])
            .arg(trace.as_os_str().as_encoded_bytes())
            .arg(kit::program("qmail-lspawn").as_os_str().as_encoded_bytes())
            .arg("./Maildir/")
            .env("QMAILHOME", home.path().to_str().unwrap())
            .stdin(input)
            .output();
        if output.code() != 0 {
            eprintln!("SKIPPED (needs strace): {test}");
            return None;
        }
        let text = fs::read_to_string(&trace).unwrap();
        let count = |name: &str| {
            text.lines()
                .filter(|l| l.contains(name) && !l.contains("resumed"))
                .count()
        };
        Some((count(" execve("), count(" clone"), output.out_text()))
    };
    let Some((execs, forks, reports)) = run(&input, &office.home) else {
        return;
    };
    assert_eq!(reports.matches("Kdid 1+0+0\n").count(), 20, "{reports}");
    assert_eq!(execs, 1, "the spawner itself");
    // Four, and more when one of them says nothing for two seconds.
    assert!(forks < 10, "{forks} workers for 20 deliveries");
    // qmail-local, and the shell.
    let (execs, _, reports) = run(b"\x001/24\0s\0joe-prog@host.test\0", &office.home).unwrap();
    assert!(reports.contains("Ksaid\ndid 0+0+1\n"), "{reports}");
    assert!(execs >= 3);
    // Whoever wants the program gets it.
    office.home.control("localexec", "1");
    let (execs, ..) = run(b"\x001/24\0s\0joe@host.test\0", &office.home).unwrap();
    assert_eq!(execs, 2);
}

#[test]
fn another_qmail_local_is_run_as_soon_as_it_is_there() {
    let test = "another_qmail_local_is_run_as_soon_as_it_is_there";
    if !has_our_local(test) {
        return;
    }
    let office = Office::new("worker-other");
    office.homes(|_| {});
    let bin = office.home.own_bin();
    let mut session = office.start();
    let mut ask = |number| {
        session.order(number, "1/24", "joe@host.test");
        session.report().1
    };
    assert_eq!(ask(1), "Kdid 1+0+0\n");
    office.home.fake("qmail-local", "echo another");
    assert_eq!(ask(2), "Kanother\n");
    fs::remove_file(bin.join("qmail-local")).unwrap();
    assert_eq!(ask(3), "DUnable to run qmail-local.\n");
    // A copy has another inode, and the same mark.
    kit::copy_executable(kit::program("qmail-local"), bin.join("qmail-local"));
    assert_eq!(ask(4), "Kdid 1+0+0\n");
    // One that may not be run by all is left to the kernel to judge.
    fs::set_permissions(bin.join("qmail-local"), Permissions::from_mode(0o600)).unwrap();
    assert_eq!(ask(5), "DUnable to run qmail-local.\n");
    session.leave();
    let local = office.home.script("other-local", "echo \"by name $3\"");
    let run = office
        .home
        .run("qmail-lspawn")
        .arg("#")
        .env("QMAILLOCAL", local.to_str().unwrap());
    let output = run.stdin("\x071/24\0s\0joe@host.test\0").output();
    let place = office.place("joe");
    let report = output.out_text();
    assert!(report.contains(&format!("Kby name {place}\n")), "{report}");
}

#[test]
fn a_worker_that_is_killed_defers_what_it_has_in_hand() {
    let test = "a_worker_that_is_killed_defers_what_it_has_in_hand";
    if !has_our_local(test) {
        return;
    }
    let office = Office::new("worker-crash");
    office.homes(|home| {
        fs::write(home.join(".qmail-box"), "./box\n").unwrap();
        fs::write(home.join("box"), "").unwrap();
    });
    let lock = fs::File::open(office.home.join("home/joe/box")).unwrap();
    sys::lock::exclusive(&lock).unwrap();
    let mut session = office.start();
    session.order(1, "1/24", "joe-box@host.test");
    let mut stuck = 0;
    let place = office.place("joe");
    kit::eventually("a worker is at joe's", || {
        stuck = session.children().first().copied().unwrap_or(0);
        let there = fs::read_link(format!("/proc/{stuck}/cwd"));
        there.is_ok_and(|there| there == Path::new(&place))
    });
    // It holds up nobody else.
    session.order(2, "1/24", "joe@host.test");
    session.order(3, "1/24", "jim@host.test");
    let mut done = vec![session.report(), session.report()];
    done.sort();
    let good = "Kdid 1+0+0\n".to_owned();
    assert_eq!(done, [(2, good.clone()), (3, good.clone())]);
    signal::send(stuck, Signal::SIGKILL).unwrap();
    assert_eq!(session.report(), (1, "Zqmail-local crashed.\n".to_owned()));
    drop(lock);
    session.order(1, "1/24", "joe-box@host.test");
    assert_eq!(session.report(), (1, good));
    session.leave();
}

#[test]
fn a_worker_that_rests_goes_away() {
    let test = "a_worker_that_rests_goes_away";
    if !has_our_local(test) {
        return;
    }
    let office = Office::new("worker-idle");
    office.homes(|_| {});
    let mut session = office.start();
    let mut since = Instant::now();
    // On a busy machine more than its rest may lie between two orders.
    kit::eventually("the same one does it again", || {
        let mut who = [vec![], vec![]];
        for who in &mut who {
            since = Instant::now();
            session.order(0, "1/24", "joe@host.test");
            assert_eq!(session.report().1, "Kdid 1+0+0\n");
            *who = session.children();
        }
        who[0].len() == 1 && who[0] == who[1]
    });
    kit::eventually("the worker has left", || session.children().is_empty());
    assert!(since.elapsed() > Duration::from_millis(500));
    session.order(0, "1/24", "joe@host.test");
    assert_eq!(session.report().1, "Kdid 1+0+0\n");
    session.leave();
}

#[test]
fn no_delivery_of_a_batch_is_reported_before_it_is_durable() {
    let test = "no_delivery_of_a_batch_is_reported_before_it_is_durable";
    if !has_our_local(test) {
        return;
    }
    let office = Office::new("worker-durable");
    office.homes(|_| {});
    let trace = office.home.join("trace");
    let mut input = Vec::new();
    for slot in 0..60u8 {
        input.push(slot);
        input.extend_from_slice(b"1/24\0s@far.test\0joe@host.test\0");
    }
    let output = Run::new("strace")
        .args([
            "-f",
            "-qq",
            "-e",
            "trace=openat,fsync,renameat2,linkat,sendmsg",
            "-o",
        ])
        .arg(trace.as_os_str().as_encoded_bytes())
        .arg(kit::program("qmail-lspawn").as_os_str().as_encoded_bytes())
        .arg("./Maildir/")
        .env("QMAILHOME", office.home.path().to_str().unwrap())
        .stdin(input)
        .output();
    if output.code() != 0 {
        eprintln!("SKIPPED (needs strace): {test}");
        return;
    }
    let text = fs::read_to_string(trace).unwrap();
    let mut workers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    // A name that could not be made in one step is made in two.
    let lines = text
        .lines()
        .filter(|l| !l.contains("<unfinished") && !l.contains("= -1 "));
    for line in lines {
        let (pid, call) = line.split_once(' ').unwrap();
        let call = call.trim_start();
        let call = call.strip_prefix("<... ").unwrap_or(call);
        let name = match call.split(['(', ' ']).next().unwrap() {
            "renameat2" | "linkat" => "name",
            other => other,
        };
        workers.entry(pid).or_default().push(name);
    }
    let mut reported = 0;
    let mut flushes = 0;
    for calls in workers.values().filter(|c| c.contains(&"name")) {
        // Of each batch: all contents, all names, the directory, all reports.
        let calls: Vec<&&str> = calls.iter().filter(|c| **c != "openat").collect();
        let mut at = 0;
        while at < calls.len() {
            let run =
                |name: &str, at: usize| calls[at..].iter().take_while(|c| **c == &name).count();
            let contents = run("fsync", at);
            let names = run("name", at + contents);
            let dirs = run("fsync", at + contents + names);
            let reports = run("sendmsg", at + contents + names + dirs);
            assert!(
                contents > 0 && contents == names && names == reports,
                "{calls:?}"
            );
            assert_eq!(dirs, 1);
            at += contents + names + dirs + reports;
            reported += reports;
            flushes += contents + dirs;
        }
    }
    assert_eq!(reported, 60);
    assert!(flushes < 120, "{flushes} flushes for 60 deliveries");
    assert_eq!(office.maildir("joe").len(), 60);
}

#[test]
fn a_full_disk_defers_what_does_not_fit_and_no_more() {
    let test = "a_full_disk_defers_what_does_not_fit_and_no_more";
    if !kit::is_root(test) || !has_our_local(test) {
        return;
    }
    let office = Office::new("worker-full");
    let home = office.home.join("home");
    fs::create_dir_all(&home).unwrap();
    let mount = |args: &[&str]| {
        let run = Run::new(args[0]).env("PATH", "/usr/bin:/bin:/sbin:/usr/sbin");
        run.args(&args[1..]).output().code() == 0
    };
    let place = home.to_str().unwrap();
    if !mount(&[
        "mount",
        "-t",
        "tmpfs",
        "-o",
        "size=1m,mode=755",
        "none",
        place,
    ]) {
        eprintln!("SKIPPED (no tmpfs can be mounted here): {test}");
        return;
    }
    for part in ["joe", "joe/Maildir", "joe/Maildir/tmp", "joe/Maildir/new"] {
        fs::create_dir(home.join(part)).unwrap();
    }
    give(&home.join("joe"), JOE);
    office.message("5/28", vec![b'x'; 100_000]);
    let orders = vec![("5/28", b"s".to_vec(), b"joe@host.test".to_vec()); 30];
    let reports = office.reports(&orders);
    let count = |text: &str| reports.iter().filter(|r| *r == text).count();
    let done = count("Kdid 1+0+0\n");
    let full = count("ZTemporary error on maildir delivery. (#4.3.0)\n");
    let there = office.maildir("joe");
    let litter = fs::read_dir(home.join("joe/Maildir/tmp")).unwrap().count();
    assert!(mount(&["umount", place]));
    assert_eq!(done + full, 30, "{reports:?}");
    assert!(full > 0);
    assert_eq!((there.len(), litter), (done, 0));
    assert!(there.iter().all(|(_, _, text)| text.len() > 100_000));
}

#[test]
fn memory_stays_as_it_is() {
    let test = "memory_stays_as_it_is";
    if !has_our_local(test) {
        return;
    }
    let office = Office::new("worker-memory");
    // Nothing that waits for the disk.
    office.homes(|home| fs::write(home.join(".qmail-none"), "#\n").unwrap());
    let mut session = office.start();
    let mut deliver = |rounds: u32| {
        for _ in 0..rounds {
            for n in 0..20 {
                session.order(n, "1/24", "joe-none@host.test");
            }
            for _ in 0..20 {
                assert_eq!(session.report().1, "Kdid 0+0+0\n");
            }
        }
        let status = fs::read_to_string(format!("/proc/{}/status", session.pid)).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let open = fs::read_dir(format!("/proc/{}/fd", session.pid)).unwrap();
        (words[1].parse::<u64>().unwrap(), open.count())
    };
    // More than one worker does in its life.
    let (before, _) = deliver(20);
    let (after, open) = deliver(200);
    assert!(after < before + 300, "{before} KB, then {after} KB");
    // Fifteen, and one for each worker that the machine kept from its work so long that it did not count. A descriptor left
    // by each delivery would make thousands.
    assert!(open < 50, "{open} descriptors");
    session.leave();
}

#[test]
fn frames_carry_several_recipients_and_large_numbers() {
    let test = "frames_carry_several_recipients_and_large_numbers";
    if !has_our_local(test) {
        return;
    }
    let office = Office::new("worker-frames");
    office.homes(|_| {});
    let mut session = office.start();
    let mut ask = |number: u32, message: &str, recipients: &[&str]| {
        let command = Command {
            number,
            message: message.into(),
            sender: b"s@far.test".to_vec(),
            attempt: None,
            recipients: recipients.iter().map(|r| r.as_bytes().to_vec()).collect(),
        };
        session.say(&frames::encode_command(&command).unwrap());
        let frame = loop {
            if let Some(frame) = session.frames.next_frame().unwrap() {
                break frame.to_vec();
            }
            let mut piece = [0; 4096];
            let count = sys::fd::read(&session.from, &mut piece).unwrap();
            session.frames.feed(&piece[..count]);
        };
        let report = frames::decode_report(&frame).unwrap();
        assert_eq!(report.number, number);
        let texts = report.texts.into_iter();
        texts
            .map(|text| String::from_utf8(text).unwrap())
            .collect::<Vec<_>>()
    };
    let done = "Kdid 1+0+0\n";
    let nobody = "DSorry, no mailbox here by that name. (#5.1.1)\n";
    let no_host = "DSorry, address must include host name. (#5.1.3)\n";
    assert_eq!(
        ask(200, "1/24", &["joe@h", "joe-x@h", "joe", "jim@h", "@h"]),
        [done, nobody, no_host, done, "K"]
    );
    let big = "ZInternal error: delnum too big. (#4.3.5)\n";
    assert_eq!(ask(100_000, "1/24", &["joe@h", "jim@h"]), [big, big]);
    let name = "DInternal error: messid has nonnumerics. (#5.3.5)\n";
    assert_eq!(ask(0, "../x", &["joe@h"]), [name]);
    assert_eq!(ask(0, "1/24", &["joe@h"]), [done]);
    // Nonsense ends it, and nothing hangs.
    session.say(b"\xff\xff\xff\xff");
    session.leave();
}

#[test]
fn a_table_that_is_exchanged_or_spoilt_counts_at_once() {
    let test = "a_table_that_is_exchanged_or_spoilt_counts_at_once";
    if !has_our_local(test) {
        return;
    }
    let office = Office::new("worker-table");
    office.homes(|_| {});
    let mut session = office.start();
    let mut ask = || {
        session.order(0, "1/24", "joe@host.test");
        session.report().1
    };
    let cdb = office.home.join("users/cdb");
    let tmp = office.home.join("users/cdb.tmp");
    let whole = fs::read(&cdb).unwrap();
    assert_eq!(ask(), "Kdid 1+0+0\n");
    let root = format!("joe\x000\x000\0{}\0\0\0", office.place("joe"));
    let records = [("!joe\0", root.as_str()), ("", "")];
    control::table::make(&cdb, &tmp, 0o644, records).unwrap();
    assert_eq!(ask(), "ZNot allowed to perform deliveries as root.\n");
    // In place: nobody should, and nobody dies of it.
    let trouble = "ZTrouble reading users/cdb in qmail-lspawn.\n";
    for cut in [0, 100, 2048] {
        fs::write(&cdb, &whole[..cut]).unwrap();
        assert_eq!(ask(), trouble);
    }
    fs::write(&cdb, whole).unwrap();
    assert_eq!(ask(), "Kdid 1+0+0\n");
    session.leave();
}

#[test]
fn a_worker_that_hangs_keeps_its_own_deliveries_only() {
    let test = "a_worker_that_hangs_keeps_its_own_deliveries_only";
    if !has_our_local(test) {
        return;
    }
    let office = Office::new("worker-hangs");
    office.homes(|_| {});
    let mut session = office.start();
    let good = "Kdid 1+0+0\n".to_owned();
    let mut stopped = 0;
    kit::eventually("a worker is stopped that has an order", || {
        session.order(0, "1/24", "joe@host.test");
        assert_eq!(session.report(), (0, good.clone()));
        let [worker] = session.children()[..] else {
            return false;
        };
        stopped = worker;
        signal::send(stopped, Signal::SIGSTOP).unwrap();
        session.order(1, "1/24", "joe@host.test");
        let mut is_held = true;
        for number in 2..20 {
            session.order(number, "1/24", "joe@host.test");
            let mut report = session.report();
            // The one that was stopped had rested for a second, and was on its way out.
            if report.0 == 1 {
                is_held = false;
                signal::send(stopped, Signal::SIGCONT).unwrap();
                report = session.report();
            }
            assert_eq!(report, (number, good.clone()));
        }
        is_held
    });
    signal::send(stopped, Signal::SIGCONT).unwrap();
    assert_eq!(session.report(), (1, good));
    session.leave();
}

#[test]
fn qmail_getpw_is_asked_once_for_many() {
    let test = "qmail_getpw_is_asked_once_for_many";
    if !has_our_local(test) {
        return;
    }
    let office = Office::new("worker-getpw");
    office.homes(|_| {});
    fs::remove_file(office.home.join("users/cdb")).unwrap();
    let gid = fs::metadata(office.place("joe")).unwrap().gid();
    let log = office.home.write("asked", "");
    fs::set_permissions(&log, Permissions::from_mode(0o666)).unwrap();
    let (place, log) = (office.place("joe"), log.display());
    office.home.fake(
        "qmail-getpw",
        &format!(
            "echo $1 >>{log}; printf '%s\\0' joe {} {gid} {place} '' ''",
            office.uids[0]
        ),
    );
    let mut session = office.start();
    for number in 0..20 {
        session.order(number, "1/24", "joe@host.test");
    }
    for _ in 0..20 {
        assert_eq!(session.report().1, "Kdid 1+0+0\n");
    }
    session.order(0, "1/24", "joe@host.test");
    assert_eq!(session.report().1, "Kdid 1+0+0\n");
    let asked = fs::read_to_string(office.home.join("asked")).unwrap();
    assert_eq!(asked, "joe\n");
    session.leave();
}
