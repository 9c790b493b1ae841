use std::os::unix::fs::{PermissionsExt, symlink};

use auth::sasl::{apop_digest, cram_digest};

use super::*;

const STAMP: &str = "<1896.697170952@dbc.mtview.ca.us>";

#[test]
fn a_password_for_each_address() {
    let home = home("apop");
    for (dir, args, password) in [
        ("tim", &["-a"][..], "first"),
        ("tim", &["-ae", "list"], "second"),
        ("dir", &["-ae", "Ann.Lee"], "third"),
    ] {
        let out = manage(&home, "apoppasswd", dir, args, password);
        assert_eq!(out.code(), 0, "{}", out.err_text());
    }
    assert!(home.join("dir/.apop-ann:lee").exists());
    let mode = std::fs::metadata(home.join("tim/.apop-list"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    for (login, password, ext) in [
        ("tim", "first", ":"),
        ("tim@host.test", "first", ":"),
        ("tim-list", "second", "list:-"),
        ("tim-LIST@host.test", "second", "LIST:-"),
        ("ann.lee@virtual.test", "third", "ann.lee:-"),
    ] {
        let cram = String::from_utf8(cram_digest(password.as_bytes(), STAMP.as_bytes())).unwrap();
        let apop = String::from_utf8(apop_digest(password.as_bytes(), STAMP.as_bytes())).unwrap();
        for strings in [
            [login, password, ""],
            [login, &cram, STAMP],
            [login, STAMP, &cram],
            [login, &apop, STAMP],
        ] {
            let out = ask(&home, "cmd5apoppw", &strings);
            assert_eq!(out.code(), 0, "{strings:?} {}", out.err_text());
            let text = out.out_text();
            assert!(text.trim_end().ends_with(ext), "{text}");
            assert!(text.contains(&format!(":{}:", owner())), "{text}");
        }
        let out = ask(&home, "cmd5apoppw", &[login, "wrong", ""]);
        assert_eq!((out.code(), out.err_text().as_str()), (1, ""));
    }
    // The password of one address is not that of another, and -default stands for nothing.
    std::fs::copy(home.join("tim/.apop"), home.join("tim/.apop-default")).unwrap();
    give(&home.join("tim/.apop-default"));
    for (login, password) in [
        ("tim-list", "first"),
        ("tim", "second"),
        ("tim-other", "first"),
        ("ann.lee@host.test", "third"),
        ("tim@other.test", "first"),
        ("root", "x"),
    ] {
        assert_eq!(
            ask(&home, "cmd5apoppw", &[login, password, ""]).code(),
            1,
            "{login}"
        );
    }
}

#[test]
fn a_file_that_others_could_read_or_have_put_there_is_no_password() {
    let home = home("apop-unsafe");
    let file = home.join("tim/.apop");
    let right = || ask(&home, "cmd5apoppw", &["tim", "first", ""]).code();
    assert_eq!(manage(&home, "apoppasswd", "tim", &[], "first").code(), 0);
    assert_eq!(right(), 0);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(right(), 1);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(&file, home.join("tim/real")).unwrap();
    symlink("real", &file).unwrap();
    assert_eq!(right(), 1, "a link");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert_eq!(right(), 1, "a directory");
    std::fs::remove_dir(&file).unwrap();
    sys::Dir::open(home.join("tim"))
        .unwrap()
        .make_fifo(b".apop", 0o600)
        .unwrap();
    give(&file);
    assert_eq!(right(), 1, "a FIFO");
    if sys::ids::euid() == 0 {
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, "{PLAIN}first\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(right(), 1, "a file of root");
    }
}

#[test]
fn old_files_are_decoded_by_their_own_program() {
    let home = home("deapop");
    std::fs::write(home.join("tim/.apop"), "gfrperg").unwrap();
    std::fs::set_permissions(
        home.join("tim/.apop"),
        std::fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    give(&home.join("tim/.apop"));
    let decoder = home.script("deapop", "tr a-z n-za-m | sed 's/^t//'\n");
    home.control("deapop", &format!("{}\n", decoder.display()));
    let cram = String::from_utf8(cram_digest(b"secret", STAMP.as_bytes())).unwrap();
    assert_eq!(ask(&home, "cmd5apoppw", &["tim", &cram, STAMP]).code(), 0);
    assert_eq!(ask(&home, "cmd5apoppw", &["tim", "gfrperg", ""]).code(), 1);
    home.script("deapop", "exit 1\n");
    assert_eq!(ask(&home, "cmd5apoppw", &["tim", &cram, STAMP]).code(), 111);
    home.script("deapop", "exit 0\n");
    assert_eq!(
        ask(&home, "cmd5apoppw", &["tim", "", ""]).code(),
        1,
        "an empty secret is none"
    );
    home.control("deapop", "/nonexistent/deapop\n");
    assert_eq!(ask(&home, "cmd5apoppw", &["tim", &cram, STAMP]).code(), 1);
}
