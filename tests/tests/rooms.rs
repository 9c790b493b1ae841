//! The walls of the house: what a room may use, which programs have pages and places, where unsafe code may be.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::fs;
use std::path::{Path, PathBuf};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path.as_ref()).unwrap_or_else(|e| panic!("{}: {e}", path.as_ref().display()))
}

fn rooms() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(top().join("crates"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The names in one table of a manifest.
fn dependencies(manifest: &str, table: &str) -> Vec<String> {
    manifest
        .lines()
        .skip_while(|l| *l != table)
        .skip(1)
        .take_while(|l| !l.starts_with('['))
        .filter_map(|l| {
            l.split(['.', ' ', '='])
                .next()
                .filter(|n| !n.is_empty() && !n.starts_with('#'))
        })
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_room_uses_what_its_card_says_and_no_more() {
    let ours = rooms();
    for room in &ours {
        let manifest = read(top().join("crates").join(room).join("Cargo.toml"));
        let mut used: Vec<String> = dependencies(&manifest, "[dependencies]")
            .into_iter()
            .filter(|d| ours.contains(d))
            .collect();
        used.sort();
        let card = read(top().join("crates").join(room).join("src/lib.rs"));
        let line = card
            .lines()
            .find_map(|l| l.strip_prefix("//! May use"))
            .unwrap_or_else(|| panic!("{room}: no May use line in the room card"));
        let mut allowed: Vec<String> = line
            .split_whitespace()
            .filter(|w| ours.iter().any(|o| o == w))
            .map(str::to_owned)
            .collect();
        allowed.sort();
        assert_eq!(
            used, allowed,
            "{room}: the manifest (left) and the room card (right) differ"
        );
        for word in ["Programs", "Runs as", "Reads", "Writes", "Source"] {
            assert!(
                card.contains(&format!("//! {word}")),
                "{room}: no {word} line in the room card"
            );
        }
    }
}

#[test]
fn door_keepers_keep_their_doors() {
    for (krate, keepers) in [
        ("libc", &["sys"][..]),
        ("nix", &["sys"]),
        ("cdb", &["control"]),
        ("domain", &["dns"]),
        ("hmac", &["auth"]),
        ("md-5", &["auth"]),
        ("sha1", &["auth"]),
        ("sha2", &["auth"]),
        ("pbkdf2", &["auth"]),
        ("argon2", &["auth"]),
        ("bcrypt", &["auth"]),
        ("sha-crypt", &["auth"]),
        ("yescrypt", &["auth"]),
        ("rustls", &["tls"]),
    ] {
        for room in rooms() {
            let manifest = read(top().join("crates").join(&room).join("Cargo.toml"));
            let all: Vec<String> = [
                "[dependencies]",
                "[dev-dependencies]",
                "[build-dependencies]",
            ]
            .iter()
            .flat_map(|t| dependencies(&manifest, t))
            .collect();
            let has = all.iter().any(|d| d == krate);
            assert!(
                !has || keepers.contains(&room.as_str()),
                "{room} names {krate}"
            );
        }
    }
}

#[test]
fn the_lock_file_names_only_crates_with_a_reason() {
    let known = read(top().join("docs/dependencies.md"));
    let known: Vec<&str> = known
        .lines()
        .filter(|l| l.starts_with("| "))
        .flat_map(|l| l.split('|').nth(1).unwrap().split(',').map(str::trim))
        .collect();
    let lock = read(top().join("Cargo.lock"));
    for package in lock
        .split("[[package]]")
        .skip(1)
        .filter(|p| p.contains("\nsource = "))
    {
        let name = package
            .lines()
            .find_map(|l| l.strip_prefix("name = "))
            .unwrap()
            .trim_matches('"');
        assert!(
            known.contains(&name),
            "{name} is in Cargo.lock but not in docs/dependencies.md"
        );
    }
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn unsafe_code_lives_in_sys_only() {
    for room in rooms().into_iter().filter(|r| r != "sys") {
        let manifest = read(top().join("crates").join(&room).join("Cargo.toml"));
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{room} does not take the lints of the workspace"
        );
        let mut files = Vec::new();
        sources(&top().join("crates").join(&room), &mut files);
        for file in files {
            let text = read(&file);
            let word = ["unsafe", " {"].concat();
            assert!(!text.contains(&word), "{} has unsafe code", file.display());
        }
    }
}

/// Every program: the crate and the name.
fn programs() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for room in rooms() {
        let Ok(dir) = fs::read_dir(top().join("crates").join(&room).join("src/bin")) else {
            continue;
        };
        for entry in dir {
            let path = entry.unwrap().path();
            found.push((
                room.clone(),
                path.file_stem().unwrap().to_str().unwrap().to_owned(),
            ));
        }
    }
    found.sort();
    found
}

#[test]
fn every_program_has_a_manual_page_and_a_place() {
    let hier = read(top().join("package/hier"));
    let mut missing = Vec::new();
    for (room, program) in programs() {
        if !(1..9).any(|n| top().join(format!("man/{program}.{n}")).exists()) {
            missing.push(format!("{room}: no manual page of {program}"));
        }
        if !hier
            .lines()
            .any(|l| l.split_whitespace().nth(4) == Some(&format!("bin/{program}")))
        {
            missing.push(format!("{room}: {program} is not in package/hier"));
        }
    }
    for line in hier.lines().filter(|l| l.starts_with("c ")) {
        let name = line
            .split_whitespace()
            .nth(4)
            .unwrap()
            .trim_start_matches("bin/");
        if !programs().iter().any(|(_, p)| p == name) {
            missing.push(format!("package/hier: no program {name}"));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// Functions of the C library that ask the name service, or load code while a program runs. `dlsym` finds what is
/// there already.
const LOADERS: [&str; 14] = [
    "getpwnam",
    "getpwuid",
    "getpwent",
    "getgrnam",
    "getgrgid",
    "getgrouplist",
    "initgroups",
    "getaddrinfo",
    "getnameinfo",
    "gethostby",
    "getserv",
    "getproto",
    "dlopen",
    "pam_start",
];

/// The names that a program wants from libraries, and some more: the strings of its dynamic symbols (ELF, 64 bits, low
/// end first).
fn dynamic_names(program: &[u8]) -> Vec<String> {
    const DYNAMIC_SYMBOLS: u64 = 11;
    let number = |at: u64, size: usize| {
        let at = usize::try_from(at).unwrap();
        let bytes = &program[at..at + size];
        bytes.iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b))
    };
    assert_eq!(&program[..5], b"\x7fELF\x02");
    let (table, size, count) = (number(0x28, 8), number(0x3a, 2), number(0x3c, 2));
    let section = |n: u64| table + n * size;
    let symbols = (0..count)
        .map(section)
        .find(|at| number(at + 4, 4) == DYNAMIC_SYMBOLS)
        .expect("a dynamic program");
    let strings = section(number(symbols + 0x28, 4));
    let (from, length) = (number(strings + 0x18, 8), number(strings + 0x20, 8));
    let range = usize::try_from(from).unwrap()..usize::try_from(from + length).unwrap();
    program[range]
        .split(|&b| b == 0)
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect()
}

/// Programs that do must be linked dynamically: see package/compile.
#[test]
fn programs_that_ask_the_name_service_are_in_conf_dynamic() {
    let list = read(top().join("conf-dynamic"));
    let listed: Vec<&str> = list.lines().take_while(|line| !line.is_empty()).collect();
    let mut wrong = Vec::new();
    let mut asking = 0;
    for (_, program) in programs() {
        let names = dynamic_names(&fs::read(kit::program(&program)).unwrap());
        // A suffix like `_r` may follow.
        let wants = |name: &str| names.iter().any(|n| n.starts_with(name));
        let asks = LOADERS.iter().find(|name| wants(name));
        asking += u32::from(asks.is_some());
        if let Some(name) = asks.filter(|_| !listed.contains(&program.as_str())) {
            wrong.push(format!("{program} uses {name} and is not in conf-dynamic"));
        }
    }
    for name in &listed {
        if !programs().iter().any(|(_, p)| p == name) {
            wrong.push(format!("conf-dynamic: no program {name}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(asking > 0, "the search finds nothing at all");
}

#[test]
fn mains_are_three_lines() {
    for (room, program) in programs() {
        let text = read(
            top()
                .join("crates")
                .join(&room)
                .join(format!("src/bin/{program}.rs")),
        );
        let code: Vec<&str> = text
            .lines()
            .filter(|l| !l.trim().is_empty() && !l.starts_with("//") && !l.starts_with("#!"))
            .collect();
        assert!(code.len() <= 3, "{program}: {code:?}");
    }
}

/// The rooms of backends/, each with its programs.
fn backends() -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(top().join("backends")).unwrap() {
        let path = entry.unwrap().path();
        if !path.join("src/lib.rs").exists() {
            continue;
        }
        let programs = fs::read_dir(path.join("src/bin")).into_iter().flatten();
        let programs = programs.map(|p| p.unwrap().path());
        let programs = programs.map(|p| p.file_stem().unwrap().to_str().unwrap().to_owned());
        let room = path.file_name().unwrap().to_str().unwrap().to_owned();
        found.push((room, programs.collect()));
    }
    found
}

#[test]
fn the_heavy_crates_stay_in_backends() {
    let named = |lock: &str, name: &str| lock.contains(&format!("\nname = \"{name}\"\n"));
    let ours = read(top().join("Cargo.lock"));
    let theirs = read(top().join("backends/Cargo.lock"));
    for heavy in ["ldap3", "mysql", "postgres", "rusqlite", "tokio"] {
        assert!(!named(&ours, heavy), "{heavy} is in Cargo.lock");
        assert!(
            named(&theirs, heavy),
            "{heavy} is not in backends/Cargo.lock"
        );
    }
    for never in [
        "openssl-sys",
        "native-tls",
        "aws-lc-sys",
        "aws-lc-rs",
        "webpki-roots",
    ] {
        assert!(!named(&theirs, never), "{never} is in backends/Cargo.lock");
    }
}

/// Our crates in a lock file, each with the names of what it uses.
fn locked(lock: &str) -> Vec<(String, Vec<String>)> {
    let ours = lock.split("[[package]]").skip(1);
    let ours = ours.filter(|p| !p.contains("\nsource = "));
    ours.map(|package| {
        let quoted = |line: &str| line.split('"').nth(1).unwrap().to_owned();
        let mut lines = package.lines();
        let name = quoted(lines.find(|l| l.starts_with("name = ")).unwrap());
        let uses = lines.filter(|l| l.starts_with(" \""));
        // Where there are two of a name, its version stands behind it.
        let uses = uses.map(|l| quoted(l).split(' ').next().unwrap().to_owned());
        (name, uses.collect())
    })
    .collect()
}

#[test]
fn the_lock_file_of_backends_keeps_step_with_ours() {
    let theirs = locked(&read(top().join("backends/Cargo.lock")));
    let mut compared = 0;
    for (name, uses) in locked(&read(top().join("Cargo.lock"))) {
        let Some((_, other)) = theirs.iter().find(|(n, _)| *n == name) else {
            continue;
        };
        // What a crate uses in its tests only is in our file alone.
        let manifest = read(top().join("crates").join(&name).join("Cargo.toml"));
        let tests = dependencies(&manifest, "[dev-dependencies]");
        let uses: Vec<String> = uses.into_iter().filter(|u| !tests.contains(u)).collect();
        assert_eq!(
            &uses, other,
            "{name}: run `cargo metadata` in backends/ and commit its Cargo.lock"
        );
        compared += 1;
    }
    assert!(compared >= 6, "only {compared} crates are in both");
}

#[test]
fn backends_keep_the_rules_of_rooms() {
    let hier = read(top().join("package/hier"));
    let rooms = backends();
    assert!(rooms.len() >= 6, "{rooms:?}");
    for (room, programs) in &rooms {
        let place = top().join("backends").join(room);
        let card = read(place.join("src/lib.rs"));
        for word in [
            "Programs", "Runs as", "Reads", "Writes", "May use", "Source",
        ] {
            assert!(card.contains(&format!("//! {word}")), "{room}: no {word}");
        }
        let manifest = read(place.join("Cargo.toml"));
        let line = card.lines().find(|l| l.starts_with("//! May use"));
        let mut allowed: Vec<&str> = line.unwrap().split_whitespace().skip(3).collect();
        if allowed == ["nothing", "of", "ours"] {
            allowed.clear();
        }
        let is_ours =
            |d: &String| top().join("crates").join(d).exists() || rooms.iter().any(|(r, _)| r == d);
        let mut used = dependencies(&manifest, "[dependencies]");
        used.retain(is_ours);
        used.sort();
        assert_eq!(used, allowed, "{room}: manifest and room card differ");
        for program in programs {
            assert!(
                top().join(format!("man/{program}.8")).exists(),
                "{program}: no manual page"
            );
            let place = format!(" bin/{program}");
            assert!(
                hier.lines()
                    .any(|l| l.starts_with("o ") && l.ends_with(&place)),
                "{program}: not in package/hier"
            );
        }
        let mut files = Vec::new();
        sources(&place.join("src"), &mut files);
        for file in files {
            let has = read(&file).contains("unsafe {");
            assert!(!has || room == "libpam", "unsafe in {}", file.display());
        }
    }
}

/// Every file below `place` whose name ends so, as one text.
fn gather(place: &Path, end: &str, text: &mut String) {
    for entry in fs::read_dir(place).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, end, text);
        } else if path.to_str().unwrap().ends_with(end) {
            *text += &read(&path);
        }
    }
}

#[test]
fn past_holes_have_the_tests_they_name() {
    let mut text = String::new();
    for place in ["crates", "tests"] {
        gather(&top().join(place), ".rs", &mut text);
    }
    let mut scripts = String::new();
    gather(&top().join("tests/interop"), ".py", &mut scripts);
    let page = read(top().join("docs/past-holes.md"));
    let rows: Vec<&str> = page
        .lines()
        .filter(|l| l.starts_with("| "))
        .skip(1)
        .collect();
    for (n, row) in rows.iter().enumerate() {
        assert!(row.starts_with(&format!("| {} |", n + 1)), "{row}");
        let held = row.rsplit(" | ").next().unwrap();
        let named: Vec<&str> = held.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty() || held.starts_with("none: "), "{row}");
        for name in named {
            let is_test = text.contains(&format!("#[test]\nfn {name}("))
                || text.contains(&format!("#[test]\n    fn {name}("))
                || scripts.contains(&format!("\ndef {name}("));
            assert!(is_test, "row {}: there is no test {name}", n + 1);
        }
    }
}
