//! qmail-lspawn: orders in, reports out.

use std::fs;

use kit::Home;

/// A home whose only user is the tester, or somebody else if the tester is root.
struct Office {
    home: Home,
    uid: u32,
    gid: u32,
}

impl Office {
    fn new(name: &str) -> Office {
        let home = Home::new(name);
        home.write("queue/mess/1/24", "Subject: x\n\nbody\n");
        let (mut uid, mut gid) = (sys::ids::euid(), sys::ids::gid());
        if uid == 0 {
            (uid, gid) = (54_321, 54_321);
            for place in ["", "alias", "queue", "queue/mess/1/24"] {
                std::os::unix::fs::chown(home.join(place), Some(uid), Some(gid)).unwrap();
            }
        }
        Office { home, uid, gid }
    }

    fn assign(&self, name: &str, uid: u32) {
        let place = self.home.join("alias");
        let data = format!("{name}\0{uid}\0{}\0{}\0\0\0", self.gid, place.display());
        let records = [(format!("!{name}\0"), data), (String::new(), String::new())];
        let cdb = self.home.join("users/cdb");
        control::table::make(&cdb, &self.home.join("users/tmp"), 0o644, records).unwrap();
    }

    /// The report of one order, with its slot.
    fn report(&self, recipient: &str) -> String {
        let order = format!("\x071/24\0sender@far.test\0{recipient}\0");
        let output = self
            .home
            .run("qmail-lspawn")
            .arg("./Mailbox")
            .stdin(order)
            .input(9, "not for programs")
            .ids_if_root(self.uid, self.gid)
            .output();
        assert_eq!(output.code(), 0, "{}", output.err_text());
        assert_eq!(output.out[0], 120);
        output.out_text()[1..].to_owned()
    }
}

trait IdsIfRoot {
    fn ids_if_root(self, uid: u32, gid: u32) -> Self;
}

impl IdsIfRoot for kit::Run {
    fn ids_if_root(self, uid: u32, gid: u32) -> kit::Run {
        if sys::ids::euid() == 0 {
            self.ids(uid, gid)
        } else {
            self
        }
    }
}

#[test]
fn qmail_local_gets_the_words_of_a_delivery() {
    let office = Office::new("lspawn-words");
    office.assign("me", office.uid);
    office.home.fake(
        "qmail-local",
        "printf '<%s>' \"$@\"; head -1; test -e /proc/$$/fd/9 || echo no 9",
    );
    let report = office.report("me@a@host.test");
    let home = office.home.join("alias").display().to_string();
    // 9 is what the caller of the spawner gave it.
    assert!(report.ends_with("no 9\n\0"), "{report}");
    let report = office.report("me@host.test");
    assert!(
        report.starts_with(&format!(
            "\x07K<--><me><{home}><me><><><host.test><sender@far.test><./Mailbox>Subject: x\n"
        )),
        "{report}"
    );
}

#[test]
fn only_one_user_can_be_served_without_root() {
    let office = Office::new("lspawn-other");
    office.assign("other", office.uid + 1);
    office.home.fake("qmail-local", "echo never");
    assert_eq!(
        office.report("other@host.test"),
        "\x07ZUnable to become user other: not started by root. (#4.3.5)\n\0"
    );
    office.assign("zero", 0);
    assert_eq!(
        office.report("zero@host.test"),
        "\x07ZNot allowed to perform deliveries as root.\n\0"
    );
}

#[test]
fn qmail_getpw_is_asked_without_a_table() {
    let office = Office::new("lspawn-getpw");
    office.home.fake("qmail-local", "printf '<%s>' \"$@\"");
    let fields = format!("me {} {} /home/me - ext", office.uid, office.gid);
    office
        .home
        .fake("qmail-getpw", &format!("printf '%s\\0' {fields}"));
    let report = office.report("me-ext@h");
    assert!(
        report.contains("K<--><me></home/me><me-ext><-><ext><h>"),
        "{report}"
    );
    // Without an account for aliases, and with one of another uid, they are the caller's own.
    let alias = office.home.join("alias").display().to_string();
    let want = format!("K<--><alias><{alias}><nobody><-><nobody><h>");
    office.home.fake("qmail-getpw", "exit 116");
    assert!(office.report("nobody@h").contains(&want));
    office
        .home
        .fake("qmail-getpw", "printf '%s\\0' alias 7 7 /alias - \"$1\"");
    assert!(
        office.report("nobody@h").contains(&want),
        "{}",
        office.report("nobody@h")
    );
    office.home.fake("qmail-getpw", "exit 115");
    assert_eq!(office.report("x@h"), "\x07ZNFS failure in qmail-local.\n\0");
    office.home.fake("qmail-getpw", "printf 'half\\0'");
    assert_eq!(office.report("x@h"), "\x07ZInternal qmail-lspawn bug.\n\0");
    office.home.fake("qmail-getpw", "kill -9 $$");
    assert_eq!(
        office.report("x@h"),
        "\x07ZTemporary failure in qmail-lspawn.\n\0"
    );
    fs::remove_file(office.home.join("bin/qmail-getpw")).unwrap();
    assert_eq!(office.report("x@h"), "\x07ZUnable to run qmail-getpw.\n\0");
}

#[test]
fn trouble_defers() {
    let office = Office::new("lspawn-trouble");
    office.assign("me", office.uid);
    office.home.fake("qmail-local", "kill -9 $$");
    assert_eq!(office.report("me@h"), "\x07Zqmail-local crashed.\n\0");
    fs::remove_file(office.home.join("bin/qmail-local")).unwrap();
    assert_eq!(office.report("me@h"), "\x07DUnable to run qmail-local.\n\0");
    office.home.write("users/cdb", "not a table");
    assert_eq!(
        office.report("me@h"),
        "\x07ZTrouble reading users/cdb in qmail-lspawn.\n\0"
    );
}

#[test]
fn a_long_report_is_cut() {
    let office = Office::new("lspawn-long");
    office.assign("me", office.uid);
    office.home.fake(
        "qmail-local",
        "head -c 9000 /dev/zero | tr '\\0' x; exit 100",
    );
    let report = office.report("me@h");
    assert!(report.starts_with("\x07Dxxx"));
    assert!(report.ends_with("xxx\nError report too long, sorry.\n\0"));
    assert_eq!(report.len(), 3 + 2997);
}

#[test]
fn needs_a_default_delivery() {
    let office = Office::new("lspawn-usage");
    let output = office.home.run("qmail-lspawn").output();
    assert_eq!(
        (output.code(), output.out, output.err),
        (100, vec![], vec![])
    );
}

#[test]
fn with_root_a_delivery_has_the_ids_of_the_user_and_no_others() {
    let test = "with_root_a_delivery_has_the_ids_of_the_user_and_no_others";
    if !kit::is_root(test) {
        return;
    }
    let Ok(owners) = control::Owners::find() else {
        eprintln!("SKIPPED (needs the users of qmail): {test}");
        return;
    };
    let office = Office::new("lspawn-root");
    office.assign("me", office.uid);
    office.home.fake(
        "qmail-local",
        "id -u; id -g; id -G; grep -E '^(CapEff|NoNewPrivs)' /proc/$$/status",
    );
    office.home.fake(
        "qmail-getpw",
        "printf '%s\\0' alias 54322 54323 \"$(id -u) $(id -g) $(id -G)\" - \"$1\"",
    );
    let message = office.home.join("queue/mess/1/24");
    std::os::unix::fs::chown(message, Some(owners.qmailq), None).unwrap();
    let report = |recipient: &str| {
        let order = format!("\x071/24\0s\0{recipient}\0");
        let run = office
            .home
            .run("qmail-lspawn")
            .arg("./Mailbox")
            .stdin(order);
        run.output().out_text()[1..].to_owned()
    };
    let me = report("me@h");
    assert!(me.starts_with("\x07K54321\n54321\n54321\n"), "{me}");
    assert!(me.contains("CapEff:\t0000000000000000"), "{me}");
    assert!(report("other@h").starts_with("\x07K54322\n54323\n54323\n"));
    // Who asked: qmailp, without files.
    office.home.fake("qmail-local", "echo \"$3\"");
    let (p, n) = (owners.qmailp, owners.nofiles);
    assert_eq!(report("other@h"), format!("\x07K{p} {n} {n}\n\0"));
    office.assign("me", 0);
    assert_eq!(
        report("me@h"),
        "\x07ZNot allowed to perform deliveries as root.\n\0"
    );
}
