use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kit::{Home, Output};

use crate::{make_unreadable, run};

fn get(path: &Path, key: &[u8]) -> Option<String> {
    let table = control_table(path);
    table(key).map(|v| String::from_utf8_lossy(&v).replace('\0', "|"))
}

/// A reader of a cdb that shares no code with the programs.
fn control_table(path: &Path) -> impl Fn(&[u8]) -> Option<Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    move |key| {
        let word = |at: usize| {
            usize::try_from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())).unwrap()
        };
        let hash = key
            .iter()
            .fold(5381u32, |h, b| h.wrapping_mul(33) ^ u32::from(*b)) as usize;
        let (table, slots) = (word(hash % 256 * 8), word(hash % 256 * 8 + 4));
        for n in 0..slots {
            let slot = table + (hash / 256 + n) % slots * 8;
            let at = word(slot + 4);
            if at == 0 {
                return None;
            }
            let (key_len, data_len) = (word(at), word(at + 4));
            if word(slot) == hash && &bytes[at + 8..at + 8 + key_len] == key {
                let data = at + 8 + key_len;
                return Some(bytes[data..data + data_len].to_vec());
            }
        }
        None
    }
}

fn newu(home: &Home, assign: &str) -> Output {
    home.write("users/assign", assign);
    run(home, "qmail-newu")
}

#[test]
fn newu_makes_a_table_that_can_be_read_back() {
    let home = Home::new("newu");
    let output = newu(
        &home,
        "=Joe:joe:1:2:/h:::\n=joe:second:9:9:/x:::\n+Joe-:joe:1:2:/h:-::\n+:alias:3:4:/a:-::\n.\n",
    );
    assert_eq!((output.code(), output.err_text()), (0, String::new()));
    let cdb = home.join("users/cdb");
    assert_eq!(get(&cdb, b"!joe\0").unwrap(), "joe|1|2|/h||");
    assert_eq!(get(&cdb, b"!joe-").unwrap(), "joe|1|2|/h|-|");
    assert_eq!(get(&cdb, b"!").unwrap(), "alias|3|4|/a|-|");
    assert_eq!(get(&cdb, b"").unwrap(), "-");
    assert_eq!(get(&cdb, b"!jim\0"), None);
    let mode = fs::metadata(&cdb).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o644);
    assert!(!home.join("users/cdb.tmp").exists());
}

#[test]
fn a_bad_assign_changes_nothing() {
    let home = Home::new("newu-bad");
    assert_eq!(newu(&home, "=a:a:1:1:/a:::\n.\n").code(), 0);
    let before = fs::read(home.join("users/cdb")).unwrap();
    for bad in ["", "=a:a:1:1:/a:::\n", "=a:1:1\n.\n", "#\n.\n"] {
        let output = newu(&home, bad);
        assert_eq!(output.code(), 111);
        assert_eq!(
            output.err_text(),
            "qmail-newu: fatal: bad format in users/assign\n"
        );
    }
    assert_eq!(fs::read(home.join("users/cdb")).unwrap(), before);
    assert!(!home.join("users/cdb.tmp").exists());
}

#[test]
fn newu_tells_which_step_failed() {
    let home = Home::new("newu-steps");
    let complaint = |what: &str| format!("qmail-newu: fatal: unable to {what}\n");
    assert_eq!(
        run(&home, "qmail-newu").err_text(),
        complaint("open users/assign")
    );
    fs::create_dir(home.join("users/assign")).unwrap();
    assert_eq!(
        run(&home, "qmail-newu").err_text(),
        complaint("read users/assign")
    );
    fs::remove_dir(home.join("users/assign")).unwrap();
    fs::create_dir(home.join("users/cdb")).unwrap();
    assert_eq!(
        newu(&home, ".\n").err_text(),
        complaint("move users/cdb.tmp to users/cdb")
    );
    assert!(!home.join("users/cdb.tmp").exists());
    fs::create_dir(home.join("users/cdb.tmp")).unwrap();
    assert_eq!(
        newu(&home, ".\n").err_text(),
        complaint("open users/cdb.tmp")
    );
}

#[test]
fn newmrh_makes_a_table_of_hosts() {
    let home = Home::new("newmrh");
    home.control("morercpthosts", "A.test\n# no\n\n.b.TEST  \t\nlast.test");
    let output = run(&home, "qmail-newmrh");
    assert_eq!((output.code(), output.err_text()), (0, String::new()));
    let cdb = home.join("control/morercpthosts.cdb");
    for key in ["a.test", ".b.test", "last.test"] {
        assert_eq!(get(&cdb, key.as_bytes()).as_deref(), Some(""), "{key}");
    }
    assert_eq!(get(&cdb, b"# no"), None);
    assert_eq!(get(&cdb, b""), None);
    let before = fs::read(&cdb).unwrap();
    make_unreadable(&home, "control/morercpthosts");
    let output = run(&home, "qmail-newmrh");
    assert_eq!(output.code(), 111);
    assert!(
        output
            .err_text()
            .starts_with("qmail-newmrh: fatal: unable to read control/morercpthosts: ")
    );
    assert_eq!(fs::read(&cdb).unwrap(), before);
}
