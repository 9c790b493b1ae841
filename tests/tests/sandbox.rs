//! The promises of the programs, tried by an intruder: with every wall, without Landlock, without seccomp.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs
)]

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use kit::office::Office;
use kit::smtp::Client;
use kit::{Home, Run};
use sys::process::End;
use sys::sandbox::{Access, Network, Walls};
use tests::Confined;

/// Everything that the program for these tests can try.
const ATTACKS: [&str; 12] = [
    "read /etc/passwd",
    "read a secret of the home",
    "write in the service tree",
    "remove from the service tree",
    "connect out",
    "listen",
    "make a packet socket",
    "connect to a local service",
    "become a shell",
    "make a process",
    "trace the parent",
    "signal the parent",
];

/// Those about files.
const FILES: [&str; 4] = [
    "read /etc/passwd",
    "read a secret of the home",
    "write in the service tree",
    "remove from the service tree",
];

/// Those about sockets.
const NETWORK: [&str; 4] = [
    "connect out",
    "listen",
    "make a packet socket",
    "connect to a local service",
];

/// A home with something to steal, and two servers that would answer.
struct Place {
    home: Home,
    port: u16,
    _tcp: TcpListener,
    _local: UnixListener,
}

impl Place {
    fn new(name: &str) -> Place {
        let home = Home::new(name);
        home.write("secret", "x");
        home.write("CDB", "");
        fs::create_dir_all(home.join("RULES")).unwrap();
        fs::create_dir_all(home.join("LOG")).unwrap();
        for part in ["new", "cur", "tmp"] {
            fs::create_dir_all(home.join("MAILDIR").join(part)).unwrap();
        }
        home.control("morercpthosts", "x\n");
        home.write("users/assign", ".\n");
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = UnixListener::bind(home.join("socket")).unwrap();
        Place {
            port: tcp.local_addr().unwrap().port(),
            home,
            _tcp: tcp,
            _local: local,
        }
    }

    fn run(&self, program: &str, walls: &str, attack: &str) -> kit::Output {
        self.home.write("service/x/down", "");
        Run::new(env!("CARGO_BIN_EXE_hostile"))
            .args([program, walls, attack])
            .dir(self.home.path())
            .env("PORT", &self.port.to_string())
            .output()
    }

    /// Whether the attack worked.
    fn works(&self, program: &str, walls: &str, attack: &str) -> bool {
        let output = self.run(program, walls, attack);
        match output.end {
            End::Exit(0) => true,
            End::Exit(1) => false,
            // The kernel ends who makes such a call.
            End::Signal(31) => false,
            end => panic!(
                "{program}, {walls}, {attack}: {end:?} {}",
                output.err_text()
            ),
        }
    }

    /// The attacks that work, in their order.
    fn holes(&self, program: &str, walls: &str) -> Vec<&'static str> {
        ATTACKS
            .into_iter()
            .filter(|attack| self.works(program, walls, attack))
            .collect()
    }
}

/// The level that the kernel of this machine reaches; `false` with a line that says so if a wall is not there.
fn has(test: &str, landlock: bool, seccomp: bool) -> bool {
    let level = sys::sandbox::level();
    let enough = (!landlock || level.landlock >= 6) && (!seccomp || level.seccomp);
    if !enough {
        eprintln!("SKIPPED (this kernel has {level}): {test}");
    }
    enough
}

/// What a promise for every path leaves open.
fn everywhere(confined: &Confined) -> Vec<&'static str> {
    let all = confined.promises.files().iter().find(|(p, _)| p == b"/");
    match all.map(|(_, access)| access) {
        Some(Access::Make) => FILES.to_vec(),
        Some(_) => FILES[..2].to_vec(),
        None => vec![],
    }
}

/// What is open by the promises themselves when every wall stands: qmail-remote asks resolvers, a user keeps his mail
/// where he likes.
fn with_all(confined: &Confined) -> Vec<&'static str> {
    let mut holes = everywhere(confined);
    match confined.promises.sockets() {
        Network::Clients(_) => holes.push("make a packet socket"),
        Network::Local => holes.push("connect to a local service"),
        _ => {}
    }
    holes
}

/// Without Landlock the kernel does not tell one path or one port from another.
fn without_landlock(confined: &Confined) -> Vec<&'static str> {
    let files = confined.promises.files();
    let reach = |access: Access| files.iter().any(|(_, a)| *a == access);
    let mut holes = Vec::new();
    if !files.is_empty() {
        holes.extend(["read /etc/passwd", "read a secret of the home"]);
    }
    if reach(Access::Make) {
        holes.push("write in the service tree");
    }
    if reach(Access::Make) || reach(Access::Remove) {
        holes.push("remove from the service tree");
    }
    match confined.promises.sockets() {
        Network::None => {}
        Network::Clients(_) => holes.extend(["connect out", "make a packet socket"]),
        Network::Local => holes.push("connect to a local service"),
        Network::Any => holes.extend(NETWORK),
    }
    holes
}

/// Landlock does not know packets and named sockets, and a limit on processes does not hold root.
fn without_seccomp(confined: &Confined) -> Vec<&'static str> {
    let mut holes = match confined.promises.sockets() {
        Network::Any => NETWORK.to_vec(),
        _ => vec!["make a packet socket", "connect to a local service"],
    };
    holes.splice(0..0, everywhere(confined));
    // Who makes threads later on is not held by the limit either.
    if sys::ids::euid() == 0
        || [
            "qmail-queued",
            "qmail-send",
            "sslserver, keeping the keys",
            "multilog",
        ]
        .contains(&confined.program)
    {
        holes.push("make a process");
    }
    holes
}

#[test]
fn without_walls_every_attack_works() {
    let place = Place::new("sandbox-none");
    let holes = place.holes("qmail-remote", "none");
    // A system may forbid it to ordinary users by itself.
    let free = |list: &[&'static str]| -> Vec<&'static str> {
        let list = list.iter().copied();
        list.filter(|a| *a != "trace the parent").collect()
    };
    assert_eq!(free(&holes), free(&ATTACKS));
    if sys::ids::euid() == 0 {
        assert!(holes.contains(&"trace the parent"));
    }
}

#[test]
fn with_every_wall_every_attack_is_refused() {
    if !has("with_every_wall_every_attack_is_refused", true, true) {
        return;
    }
    let place = Place::new("sandbox-all");
    let confined = tests::confined().into_iter();
    for confined in confined.filter(|c| c.walls == Walls::All) {
        let name = confined.program;
        assert_eq!(place.holes(name, "all"), with_all(&confined), "{name}");
    }
}

#[test]
fn without_landlock_what_stays_open_is_known() {
    if !has("without_landlock_what_stays_open_is_known", false, true) {
        return;
    }
    let place = Place::new("sandbox-seccomp");
    for confined in tests::confined() {
        let name = confined.program;
        let holes = place.holes(name, "seccomp");
        assert_eq!(holes, without_landlock(&confined), "{name}");
    }
}

#[test]
fn without_seccomp_what_stays_open_is_known() {
    if !has("without_seccomp_what_stays_open_is_known", true, false) {
        return;
    }
    let place = Place::new("sandbox-landlock");
    for confined in tests::confined() {
        let name = confined.program;
        let holes = place.holes(name, "landlock");
        assert_eq!(holes, without_seccomp(&confined), "{name}");
    }
}

#[test]
fn the_level_that_is_told_is_the_one_that_is_reached() {
    let place = Place::new("sandbox-level");
    let told = place.run("tai64n", "all", "level").err_text();
    assert_eq!(told, sys::sandbox::level().to_string());
    let told = place.run("tai64n", "seccomp", "level").err_text();
    if sys::sandbox::level().seccomp {
        assert_eq!(told, "seccomp, no Landlock");
    }
}

/// The queue service of an office.
fn start_service(office: &Office) -> kit::Daemon {
    let log = office.home.join("log-queued");
    let service = office.run("qmail-queued").start(log);
    let socket = office.home.join("run/queue/socket");
    kit::eventually("the queue service answers", || {
        UnixStream::connect(&socket).is_ok()
    });
    service
}

#[test]
fn qmail_smtpd_gives_up_running_programs_when_the_queue_service_answers() {
    let test = "qmail_smtpd_gives_up_running_programs_when_the_queue_service_answers";
    if !has(test, true, true) {
        return;
    }
    for check in ["0\n", "1\n"] {
        let mut office = Office::new("sandbox-smtpd");
        fs::create_dir_all(office.home.join("run/queue")).unwrap();
        let queued = office.home.join("bin/qmail-queued");
        if !queued.exists() {
            // By another process: a descriptor of ours could be open for writing in somebody's child when it is run.
            let made = std::process::Command::new("cp")
                .arg(kit::program("qmail-queued"))
                .arg(queued)
                .status();
            assert!(made.unwrap().success());
        }
        office.home.control("checkrecipients", check);
        office.give();
        let mut service = start_service(&office);
        office.start_smtpd(false, 10);
        let mail = |client: &mut Client| {
            client.mail("a@example.org", &["alice@host.test"], b"Subject: x\n\ny\n")
        };
        let session = || {
            let mut client = Client::connect(office.smtp());
            assert_eq!(client.say("EHLO x").code, 250);
            client
        };

        let (mut first, mut second) = (session(), session());
        assert_eq!(mail(&mut first), 250, "{check}");
        assert_eq!(mail(&mut first), 250, "{check}");
        service.stop();
        // The program stands beside, but a program that made promises cannot run it.
        assert_eq!(mail(&mut second), 451, "{check}");
        assert_eq!(mail(&mut session()), 250, "{check}: the classic way");
        assert_eq!(office.home.queue("todo").len(), 3, "{check}");
        office.kill_all();
    }
}

#[test]
fn the_table_in_the_docs_is_the_one_in_the_programs() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = fs::read_to_string(top.join("docs/threats.md")).unwrap();
    let lines: Vec<&str> = text
        .lines()
        .skip_while(|l| !l.starts_with("| program | walls |"))
        .skip(2)
        .take_while(|l| l.starts_with('|'))
        .collect();
    let rows: Vec<String> = tests::confined().iter().map(tests::row).collect();
    assert_eq!(lines, rows, "docs/threats.md (left), the programs (right)");
}
