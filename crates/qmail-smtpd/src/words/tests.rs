use super::*;
use kit::Scratch;

fn place(name: &str) -> Scratch {
    let place = Scratch::new(name);
    for program in ["cmd5apoppw", "checkpassword", "mail"] {
        place.script(program, "exit 1");
    }
    place.write("notes", "no program");
    std::os::unix::fs::symlink("/bin/true", place.join("yes")).unwrap();
    fs::copy("/bin/true", place.join("true")).unwrap();
    fs::hard_link(place.join("true"), place.join("linked")).unwrap();
    place
}

fn read(place: &Scratch, line: &str) -> Result<Option<Words>, Unclear> {
    let line = line.replace("DIR", place.path().to_str().unwrap());
    let args: Vec<Bytes> = line.split_whitespace().map(|w| w.into()).collect();
    let path = format!("{}:/nonexistent:/bin", place.path().display());
    parse(&args, Some(path.as_bytes()))
}

#[test]
fn both_customs_are_understood() {
    let place = place("words-both");
    for (line, host, checker) in [
        (
            "mail.test cmd5apoppw /bin/true",
            Some("mail.test"),
            "cmd5apoppw",
        ),
        (
            "localhost cmd5apoppw sh -c true",
            Some("localhost"),
            "cmd5apoppw",
        ),
        (
            "[192.0.2.1] cmd5apoppw true",
            Some("[192.0.2.1]"),
            "cmd5apoppw",
        ),
        (
            "gate DIR/checkpassword true",
            Some("gate"),
            "DIR/checkpassword",
        ),
        ("notes checkpassword true", Some("notes"), "checkpassword"),
        ("cmd5apoppw /bin/true", None, "cmd5apoppw"),
        ("cmd5apoppw -x /bin/true", None, "cmd5apoppw"),
        ("DIR/checkpassword /bin/true", None, "DIR/checkpassword"),
        ("DIR/checkpassword sh -c true", None, "DIR/checkpassword"),
    ] {
        let words = read(&place, line).unwrap_or_else(|e| panic!("{line}: {e:?}"));
        let words = words.unwrap();
        let checker = checker.replace("DIR", place.path().to_str().unwrap());
        assert_eq!(words.host.as_deref(), host.map(str::as_bytes), "{line}");
        assert_eq!(words.command[0], checker.as_bytes(), "{line}");
    }
    assert_eq!(read(&place, ""), Ok(None));
}

/// The trap of 0.31: with the host forgotten the checker was taken for the host, and `true` for the checker.
#[test]
fn nobody_is_ever_checked_by_true() {
    let place = place("words-true");
    for line in [
        "mail.test /bin/true",
        "mail.test true",
        "mail.test true true",
        "mail.test /bin/true /bin/true",
        "mail.test /usr/bin/true x y",
        "mail.test DIR/yes /bin/true",
        "mail.test DIR/true /bin/true",
        "mail.test DIR/linked /bin/true",
        "mail.test linked /bin/true",
        "true true",
        "/bin/true /bin/true",
        "DIR/yes x",
        "nosuchchecker /bin/true",
        "cmd5apopppw /bin/true",
    ] {
        assert_eq!(read(&place, line), Err(Unclear::SaysYes), "{line}");
    }
    // The host forgotten: what stands there is the checker, and it is one.
    let words = read(&place, "cmd5apoppw /bin/true").unwrap().unwrap();
    assert_eq!(
        words.command,
        [b"cmd5apoppw".to_vec(), b"/bin/true".to_vec()]
    );
    assert!(!words.by_place);
}

#[test]
fn what_could_mean_two_things_is_refused() {
    let place = place("words-unclear");
    for (line, why) in [
        ("mail checkpassword /bin/true", Unclear::Both),
        ("mail DIR/checkpassword /bin/true", Unclear::Both),
        ("checkpassword checkpassword true", Unclear::Both),
        ("checkpassword sh -c true", Unclear::Both),
        ("mail.test", Unclear::TooFew),
        ("mail.test checkpassword", Unclear::TooFew),
        ("checkpassword", Unclear::TooFew),
        ("-x checkpassword true", Unclear::NoHost),
        ("a@b checkpassword true", Unclear::NoHost),
        ("mail.test nosuchchecker true", Unclear::NoChecker),
        ("mail.test DIR/notes true", Unclear::NoChecker),
        ("mail.test DIR true", Unclear::NoChecker),
        ("DIR/nosuchchecker true", Unclear::NoChecker),
    ] {
        assert_eq!(read(&place, line), Err(why), "{line}");
    }
    assert_eq!(
        parse(&[Bytes::new(), b"sh".to_vec()], None),
        Err(Unclear::NoHost)
    );
}
