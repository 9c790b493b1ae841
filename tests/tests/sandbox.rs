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
use std::os::unix::net::UnixListener;
use std::path::Path;

use kit::{Home, Run};
use sys::process::End;
use sys::sandbox::{Access, Network};
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

/// What is open by the promises themselves when every wall stands: qmail-remote asks resolvers.
fn with_all(confined: &Confined) -> Vec<&'static str> {
    match confined.promises.sockets() {
        Network::Clients(_) => vec!["make a packet socket"],
        _ => vec![],
    }
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
    if matches!(confined.promises.sockets(), Network::Clients(_)) {
        holes.extend(["connect out", "make a packet socket"]);
    }
    holes
}

/// Landlock does not know packets and named sockets, and a limit on processes does not hold root.
fn without_seccomp() -> Vec<&'static str> {
    let mut holes = vec!["make a packet socket", "connect to a local service"];
    if sys::ids::euid() == 0 {
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
    for confined in tests::confined() {
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
        assert_eq!(place.holes(name, "landlock"), without_seccomp(), "{name}");
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
