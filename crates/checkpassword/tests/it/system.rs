use std::os::unix::fs::PermissionsExt;

use super::*;

/// `tanstaaf`, by mkpasswd.
const SLOW: &str = "$6$rounds=300000$nobodynobody$nftqqvglA/YmK8vnn3dKH33iJhFv/m.Nbb1LJh7ne7l7Rd5auTFumK9H53/Oox2Pck73NmvlioJv5Cl37GP/F0";

/// Runs checkpassword with accounts of ours in place of the system's: in a mount namespace, so only root can.
fn with_accounts(test: &str, text: &[u8]) -> Option<Output> {
    called_by(test, "", &TELLS, text)
}

/// As that, through a `caller` in front of the checker: a program that gives up root's rights.
fn called_by(test: &str, caller: &str, words: &[&str], text: &[u8]) -> Option<Output> {
    if !kit::is_root(test) {
        return None;
    }
    let home = Home::new(test);
    let tim = home.join("tim");
    std::fs::create_dir(&tim).unwrap();
    // Slow enough to be seen beside the making of a namespace.
    let hash = if test == "system-time" {
        SLOW.to_owned()
    } else {
        String::from_utf8(auth::scheme::new_crypt(b"tanstaaf").unwrap()).unwrap()
    };
    let dir = tim.to_str().unwrap();
    let passwd = format!(
        "root:x:0:0::/:/bin/sh\ntim:x:{UID}:{UID}::{dir}:/bin/tim\nold:x:{UID}:{UID}::{dir}:/bin/sh\nlocked:x:{UID}:{UID}::{dir}:/bin/sh\nnone:x:{UID}:{UID}::{dir}:/bin/sh\naway:x:{UID}:{UID}::{dir}/gone:/bin/sh\n"
    );
    let shadow = format!(
        "daemon:*:1::::::\nroot:{hash}:1::::::\ntim:{hash}:1::::::\nold:{hash}:1:::::2:\nlocked:!{hash}:1::::::\nnone::1::::::\naway:{hash}:1::::::\n"
    );
    home.write("passwd", passwd);
    home.write("shadow", shadow);
    home.write("nsswitch", "passwd: files\nshadow: files\ngroup: files\n");
    let last = if test == "system-time" {
        "times >&2"
    } else {
        ":"
    };
    // A set-uid program, as it is installed for qmail-smtpd.
    let checker = home.join("checkpassword");
    kit::copy_executable(kit::program("checkpassword"), &checker);
    std::fs::set_permissions(&checker, std::fs::Permissions::from_mode(0o4755)).unwrap();
    let script = format!(
        "cd {} && mount --bind passwd /etc/passwd && mount --bind shadow /etc/shadow && mount --bind nsswitch /etc/nsswitch.conf && {caller} {} \"$@\"; code=$?; {last}; exit $code",
        home.path().display(),
        checker.display()
    );
    let run = Run::new("/usr/bin/unshare")
        .args(["-m", "sh", "-c", &script, "sh"])
        .args(words);
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

/// The least processor time of some runs, seconds: time on the clock belongs to the other tests too.
fn least(text: &[u8]) -> Option<f64> {
    let times = (0..10).map(|_| {
        let out = called_by("system-time", "", &TELLS, text)?;
        assert_eq!(out.code(), 1);
        // The second line of `times` is that of children: 0m1.23s 0m0.01s
        let told = out.err_text();
        let user = told.lines().nth(1).unwrap().split(' ').next().unwrap();
        let (minutes, seconds) = user.trim_end_matches('s').split_once('m').unwrap();
        Some(minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap())
    });
    times
        .collect::<Option<Vec<_>>>()?
        .into_iter()
        .reduce(f64::min)
}

#[test]
fn locked_and_unknown_accounts_take_the_time_of_a_wrong_password() {
    let Some(wrong) = least(b"tim\0wrong\0\0") else {
        return;
    };
    for name in ["nobody-here", "locked", "none"] {
        let other = least(format!("{name}\0wrong\0\0").as_bytes()).unwrap();
        let ratio = wrong / other;
        eprintln!("wrong {wrong:.2} s, {name} {other:.2} s, ratio {ratio:.3}");
        // Told in hundredths, of which a hash takes nine and nothing else one.
        assert!((0.5..2.0).contains(&ratio), "{name}: {wrong:?} {other:?}");
    }
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

#[test]
fn set_uid_it_serves_a_caller_without_rights_and_becomes_nobody_else() {
    let caller = "setpriv --reuid 65533 --regid 65533 --clear-groups";
    let run = |words: &[&str], text: &[u8]| called_by("system-setuid", caller, words, text);
    let right = b"tim\0tanstaaf\0\0";
    let Some(out) = run(&TELLS, right) else {
        return;
    };
    assert_eq!(out.code(), 0, "{}", out.err_text());
    assert!(out.out_text().contains(":65534:"), "{}", out.out_text());
    for text in [&b"tim\0tanstaag\0\0"[..], b"root\0tanstaaf\0\0"] {
        let out = run(&TELLS, text).unwrap();
        assert_eq!((out.code(), out.out_text()), (1, String::new()));
    }
    // Nothing of root's rights is left, nor of the caller's.
    let status = "grep -E '^(Uid|Gid|Groups|CapEff|CapPrm):' /proc/self/status | tr -s '\\t ' ' '";
    let out = run(&["/bin/sh", "-c", status], right).unwrap().out_text();
    let four = "65534 65534 65534 65534";
    let none = "0000000000000000";
    let expected =
        format!("Uid: {four}\nGid: {four}\nGroups: 65534 \nCapPrm: {none}\nCapEff: {none}\n");
    assert_eq!(out, expected);
}
