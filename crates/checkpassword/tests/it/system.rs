use super::*;

/// Runs checkpassword with accounts of ours in place of the system's: in a mount namespace, so only root can.
fn with_accounts(test: &str, text: &[u8]) -> Option<Output> {
    if !kit::is_root(test) {
        return None;
    }
    let home = Home::new(test);
    let tim = home.join("tim");
    std::fs::create_dir(&tim).unwrap();
    let hash = String::from_utf8(auth::scheme::new_crypt(b"tanstaaf").unwrap()).unwrap();
    let dir = tim.to_str().unwrap();
    let passwd = format!(
        "root:x:0:0::/:/bin/sh\ntim:x:{UID}:{UID}::{dir}:/bin/tim\nold:x:{UID}:{UID}::{dir}:/bin/sh\nlocked:x:{UID}:{UID}::{dir}:/bin/sh\nnone:x:{UID}:{UID}::{dir}:/bin/sh\naway:x:{UID}:{UID}::{dir}/gone:/bin/sh\n"
    );
    let shadow = format!(
        "root:{hash}:1:::::: \ntim:{hash}:1::::::\nold:{hash}:1:::::2:\nlocked:!{hash}:1::::::\nnone::1::::::\naway:{hash}:1::::::\n"
    );
    home.write("passwd", passwd);
    home.write("shadow", shadow);
    home.write("nsswitch", "passwd: files\nshadow: files\ngroup: files\n");
    let script = format!(
        "cd {} && mount --bind passwd /etc/passwd && mount --bind shadow /etc/shadow && mount --bind nsswitch /etc/nsswitch.conf && exec {} \"$@\"",
        home.path().display(),
        kit::program("checkpassword").display()
    );
    let run = Run::new("/usr/bin/unshare")
        .args(["-m", "sh", "-c", &script, "sh"])
        .args(TELLS);
    Some(
        run.env("QMAILHOME", home.path().to_str().unwrap())
            .input(3, text)
            .output(),
    )
}

#[test]
fn the_right_password_becomes_the_user() {
    let Some(out) = with_accounts("system-right", b"tim\0tanstaaf\0Y1\0") else {
        return;
    };
    let text = out.out_text();
    assert_eq!(out.code(), 0, "{}", out.err_text());
    let fields: Vec<&str> = text.trim_end().split(':').collect();
    assert_eq!(
        (fields[0], fields[2], fields[3]),
        ("tim", "/bin/tim", "65534")
    );
    assert_eq!(fields[1], fields[4]);
    assert!(fields[1].ends_with("/tim"));
}

#[test]
fn wrong_unknown_locked_expired_and_root_are_refused_alike() {
    for (name, password) in [
        ("tim", "tanstaag"),
        ("tim", ""),
        ("nobody-here", "tanstaaf"),
        ("locked", "tanstaaf"),
        ("none", ""),
        ("none", "x"),
        ("old", "tanstaaf"),
        ("root", "tanstaaf"),
        ("TIM", "tanstaaf"),
    ] {
        let Some(out) = with_accounts("system-wrong", format!("{name}\0{password}\0\0").as_bytes())
        else {
            return;
        };
        assert_eq!(
            (out.code(), out.out_text(), out.err_text()),
            (1, String::new(), String::new()),
            "{name} {password}"
        );
    }
    let Some(out) = with_accounts("system-away", b"away\0tanstaaf\0\0") else {
        return;
    };
    assert_eq!(out.code(), 111, "no home");
}
