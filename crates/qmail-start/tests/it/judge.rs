//! The check at the door and the delivery say the same of every address.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use kit::{Home, Run};
use recipient::{Judge, Route, Verdict};
use sys::ids::Ids;

/// Two users that no machine has.
const OWNER: u32 = 54_321;
const STRANGER: u32 = 54_322;
/// Deliveries that one spawner takes in one go.
const BATCH: usize = 100;

/// Numbers that look random and are the same in every run (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % limit as u64).unwrap()
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }
}

fn address(dice: &mut Dice) -> Vec<u8> {
    const STARTS: &[&[u8]] = &[
        b"joe", b"Joe", b"shut", b"list", b"zero", b"gone", b"plain", b"edit", b"root", b"daemon",
        b"cuser", b"nobody", b"other", b"", b"-",
    ];
    const PARTS: &[&[u8]] = &[
        b"-",
        b"-",
        b"-",
        b"a",
        b"A",
        b"b.c",
        b"B:C",
        b"fifo",
        b"dir",
        b"dir/x",
        b"link",
        b"dangling",
        b"closed",
        b"default",
        b"-default",
        b"owner",
        b".",
        b"..",
        b"/",
        b"/../",
        b"%",
        b"\\",
        b"\xe9",
        b" ",
        b"\n",
        b"() { :;}",
        b"@",
        b"*",
    ];
    const HOSTS: &[&[u8]] = &[
        b"@host.test",
        b"@host.test",
        b"@HOST.test",
        b"@virt.test",
        b"@far.test",
        b"%host.test@hack.test",
        b"@",
        b"",
    ];
    let mut text = dice.pick(STARTS).to_vec();
    let mut more = dice.below(5);
    if dice.below(2) == 0 {
        // Something that may well be there.
        text = dice.pick(&STARTS[..6]).to_vec();
        text.push(b'-');
        text.extend_from_slice(dice.pick(&PARTS[3..15]));
        more = dice.below(8) / 7;
    }
    for _ in 0..more {
        text.extend_from_slice(dice.pick(PARTS));
    }
    if dice.below(200) == 0 {
        text.extend_from_slice(&[b'-'; 300]);
    }
    text.extend_from_slice(dice.pick(HOSTS));
    text
}

/// A user's home with one of everything.
fn furnish(home: &Path) {
    for name in [
        ".qmail-a",
        ".qmail-a-b:c",
        ".qmail-dir-default",
        ".qmail-b:c-default",
        ".qmail-owner",
        ".qmail-x/y",
        ".qmail-closed",
        ".qmail-v-a",
    ] {
        let path = home.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "#\n").unwrap();
    }
    fs::set_permissions(home.join(".qmail-closed"), Permissions::from_mode(0o000)).unwrap();
    fs::create_dir_all(home.join(".qmail-dir")).unwrap();
    fs::write(home.join(".qmail-dir/x"), "#\n").unwrap();
    let dir = sys::Dir::open(home).unwrap();
    dir.make_fifo(b".qmail-fifo", 0o600).unwrap();
    symlink("nowhere", home.join(".qmail-dangling")).unwrap();
    symlink(".qmail-a", home.join(".qmail-link")).unwrap();
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

/// A post office with assigned users; `uid` owns their homes.
fn post_office(name: &str, uid: u32, with_rest: bool) -> Home {
    let home = Home::new(name);
    home.control("virtualdomains", "virt.test:joe-v\n");
    home.control("percenthack", "hack.test\n");
    for user in ["joe", "shut", "edit"] {
        fs::create_dir_all(home.join("home").join(user)).unwrap();
        furnish(&home.join("home").join(user));
    }
    furnish(&home.join("alias"));
    home.write("home/plain", "a file");
    let at = |user: &str| home.join("home").join(user).display().to_string();
    let gid = if sys::ids::euid() == 0 {
        uid
    } else {
        sys::ids::gid()
    };
    let mut records: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut assign = |key: &str, uid: u32, place: String, dash: &str, ext: &str, end: &str| {
        let text = format!("{key}\0{uid}\0{gid}\0{place}\0{dash}\0{ext}{end}");
        records.insert(format!("!{key}{end}").into_bytes(), text.into_bytes());
    };
    for user in ["joe", "shut", "edit", "gone", "plain"] {
        assign(user, uid, at(user), "", "", "\0");
        assign(&format!("{user}-"), uid, at(user), "-", "", "");
    }
    assign("list", uid, at("joe"), "-", "a", "\0");
    assign("zero", 0, at("joe"), "", "", "\0");
    if with_rest {
        let alias = home.join("alias").display().to_string();
        assign("", uid, alias, "-", "", "");
    }
    records.insert(Vec::new(), b"-".to_vec());
    let cdb = home.join("users/cdb");
    control::table::make(&cdb, &home.join("users/cdb.tmp"), 0o644, records).unwrap();
    for user in ["joe", "shut", "edit"] {
        give(&home.join("home").join(user), uid);
    }
    give(&home.join("alias"), uid);
    for (user, mode) in [("joe", 0o755), ("shut", 0o700), ("edit", 0o1755)] {
        fs::set_permissions(home.join("home").join(user), Permissions::from_mode(mode)).unwrap();
    }
    home.write("queue/mess/1/24", "Subject: x\n\nbody\n");
    home
}

/// What the judge says, as user `ids`, and where the address goes if it is local. It needs ids and a working directory
/// of its own: this test program runs itself again, for the test `a_judge_of_its_own`.
fn judged(home: &Home, ids: Option<&Ids>, addresses: &[Vec<u8>]) -> Vec<(String, Vec<u8>)> {
    let mut run = Run::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "judge::a_judge_of_its_own",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(JUDGE, "1")
        .dir(home.path())
        .stdin(addresses.join(&0));
    if let Some(ids) = ids {
        run = run.ids(ids.uid, ids.gid);
    }
    let output = run.output();
    assert_eq!(output.code(), 0, "{}", output.err_text());
    output
        .out_text()
        .lines()
        .filter_map(|line| line.strip_prefix(JUDGE))
        .map(|line| {
            let mut words = line.split(' ').skip(1);
            let (verdict, hex) = (words.next().unwrap(), words.next().unwrap());
            let routed = (0..hex.len() / 2)
                .map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap())
                .collect();
            (verdict.to_owned(), routed)
        })
        .collect()
}

/// Set for the run as a judge; in front of its answers, too.
const JUDGE: &str = "A_JUDGE";

#[test]
fn a_judge_of_its_own() {
    if std::env::var_os(JUDGE).is_none() {
        return;
    }
    let mut addresses = Vec::new();
    std::io::stdin().read_to_end(&mut addresses).unwrap();
    let judge = Judge::load().unwrap();
    let mut answers = String::from("\n");
    for address in addresses.split(|&b| b == 0) {
        let routed = match judge.rewrite().route(address) {
            Route::Local(address) => address,
            Route::Remote(_) => Vec::new(),
        };
        let hex: String = routed.iter().map(|b| format!("{b:02x}")).collect();
        writeln!(answers, "{JUDGE} {:?} {hex}", judge.verdict(address)).unwrap();
    }
    std::io::stdout().write_all(answers.as_bytes()).unwrap();
}

/// What the spawner reports of each address.
fn delivered(home: &Home, ids: Option<&Ids>, addresses: &[&[u8]]) -> Vec<String> {
    let mut reports = Vec::new();
    for batch in addresses.chunks(BATCH) {
        let mut orders = Vec::new();
        for (slot, address) in (0u8..).zip(batch) {
            orders.push(slot);
            orders.extend_from_slice(b"1/24\0sender@far.test\0");
            orders.extend_from_slice(address);
            orders.push(0);
        }
        let mut run: Run = home.run("qmail-lspawn").arg("#").stdin(orders);
        if let Some(ids) = ids {
            run = run.ids(ids.uid, ids.gid);
        }
        let output = run.output();
        assert_eq!(output.code(), 0, "{}", output.err_text());
        let mut batch_reports = vec![String::new(); batch.len()];
        let text = &output.out[1..];
        let mut at = 0;
        while at < text.len() {
            let slot = usize::from(text[at]);
            let end = text[at + 1..].iter().position(|&b| b == 0).unwrap() + at + 1;
            batch_reports[slot] = String::from_utf8_lossy(&text[at + 1..end]).into_owned();
            at = end + 1;
        }
        reports.extend(batch_reports);
    }
    reports
}

/// Judges and delivers `count` addresses, and holds the two against each other.
fn compare(
    home: &Home,
    count: usize,
    seed: u64,
    judge: Option<&Ids>,
    spawner: Option<&Ids>,
) -> BTreeMap<String, u32> {
    let mut dice = Dice(seed);
    let addresses: Vec<Vec<u8>> = (0..count).map(|_| address(&mut dice)).collect();
    let verdicts = judged(home, judge, &addresses);
    assert_eq!(verdicts.len(), addresses.len());
    let local: Vec<&[u8]> = verdicts
        .iter()
        .filter(|(verdict, _)| verdict != "Remote")
        .map(|(_, routed)| routed.as_slice())
        .collect();
    let mut reports = delivered(home, spawner, &local).into_iter();
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for ((verdict, routed), address) in verdicts.iter().zip(&addresses) {
        if verdict == "Remote" {
            *seen.entry(verdict.clone()).or_default() += 1;
            continue;
        }
        let report = reports.next().unwrap();
        *seen
            .entry(format!("{verdict} {}", &report.get(..1).unwrap()))
            .or_default() += 1;
        let nobody = report == "DSorry, no mailbox here by that name. (#5.1.1)\n";
        let agree = match verdict.as_str() {
            "Deliverable" => {
                report.starts_with('K') || report.contains(".qmail-closed: access denied")
            }
            "Unknown" => nobody,
            "Trouble" => report.starts_with('Z'),
            "CannotTell" => report.starts_with('K') || report.starts_with('Z') || nobody,
            _ => false,
        };
        assert!(
            agree,
            "{} ({}): the judge says {verdict}, the delivery {report}",
            address.escape_ascii(),
            routed.escape_ascii()
        );
    }
    seen
}

fn has_qmail_local(test: &str) -> bool {
    if kit::program("qmail-local").exists() && kit::program("qmail-getpw").exists() {
        return true;
    }
    eprintln!("SKIPPED (qmail-local and qmail-getpw are not built): {test}");
    false
}

#[test]
fn judge_and_delivery_agree_when_one_user_runs_everything() {
    if !has_qmail_local("judge_and_delivery_agree_when_one_user_runs_everything") {
        return;
    }
    let ids = (sys::ids::euid() == 0).then(|| Ids::new(OWNER, OWNER));
    let uid = ids.as_ref().map_or(sys::ids::euid(), |ids| ids.uid);
    for (name, with_rest) in [("judge-rest", true), ("judge-getpw", false)] {
        let home = post_office(name, uid, with_rest);
        give(home.path(), uid);
        let seen = compare(&home, 800, 1, ids.as_ref(), ids.as_ref());
        for kind in [
            "Deliverable K",
            "Deliverable Z",
            "Unknown D",
            "Trouble Z",
            "CannotTell Z",
            "Remote",
        ] {
            assert!(seen.contains_key(kind), "{kind} never came up: {seen:?}");
        }
    }
}

#[test]
fn judge_and_delivery_agree_when_each_user_is_himself() {
    let test = "judge_and_delivery_agree_when_each_user_is_himself";
    if !kit::is_root(test) || !has_qmail_local(test) {
        return;
    }
    let Ok(owners) = control::Owners::find() else {
        eprintln!("SKIPPED (needs the users of qmail): {test}");
        return;
    };
    let home = post_office("judge-root", OWNER, true);
    chown(home.join("queue/mess/1/24"), Some(owners.qmailq), None).unwrap();
    let judge = Ids::new(STRANGER, STRANGER);
    let seen = compare(&home, 800, 2, Some(&judge), None);
    for kind in [
        "Deliverable K",
        "Unknown D",
        "Trouble Z",
        "CannotTell K",
        "CannotTell D",
        "Remote",
    ] {
        assert!(seen.contains_key(kind), "{kind} never came up: {seen:?}");
    }
}

#[test]
fn what_the_judge_cannot_see_it_does_not_guess() {
    let test = "what_the_judge_cannot_see_it_does_not_guess";
    if !kit::is_root(test) {
        return;
    }
    let home = post_office("judge-shut", OWNER, true);
    let judge = Ids::new(STRANGER, STRANGER);
    let addresses = [
        b"shut-a@host.test".to_vec(),
        b"shut-nosuch@host.test".to_vec(),
    ];
    let verdicts = judged(&home, Some(&judge), &addresses);
    let unsure = format!("{:?}", Verdict::CannotTell);
    assert!(
        verdicts.iter().all(|(verdict, _)| *verdict == unsure),
        "{verdicts:?}"
    );
}
