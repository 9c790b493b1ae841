#![allow(clippy::unwrap_used, clippy::panic, clippy::string_slice)]

use std::process::{Command, Stdio};

use super::*;

fn right(stored: &str, password: &str) {
    assert_eq!(
        verify(stored.as_bytes(), password.as_bytes(), Bare::Crypt),
        Ok(true),
        "{stored}"
    );
    let wrong = [password, "x"].concat();
    // Traditional crypt ends after eight bytes.
    let wrong = if stored.len() == 13 {
        "x".to_owned()
    } else {
        wrong
    };
    for wrong in [wrong.as_str(), ""] {
        assert_eq!(
            verify(stored.as_bytes(), wrong.as_bytes(), Bare::Crypt),
            Ok(false),
            "{stored} {wrong}"
        );
    }
}

#[test]
fn published_vectors() {
    right(
        "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        "Hello world!",
    );
    right(
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
        "Hello world!",
    );
    right(
        "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
        "Hello world!",
    );
    right(
        "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "U*U",
    );
    right(
        "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK",
        "U*U*",
    );
    right("$1$dXc3I7Rw$ctlgjDdWJLMT.qwHsWhXR1", "U*U*U*U*");
    right("CCNf8Sbh3HDfQ", "U*U*U*U*");
}

#[test]
fn what_no_password_makes() {
    for stored in ["", "!", "*", "!!", "!$1$x$y", "*LK*", "x"] {
        for password in ["", "x", "!", "*", stored] {
            assert_eq!(
                verify(stored.as_bytes(), password.as_bytes(), Bare::Crypt),
                Ok(false),
                "{stored}"
            );
        }
    }
    assert_eq!(verify(b"{PLAIN}a\0b", b"a\0b", Bare::Crypt), Ok(false));
    for (stored, why) in [
        ("{NONESUCH}x", Unusable::Scheme),
        ("$7$x", Unusable::Scheme),
        ("$", Unusable::Scheme),
        ("clear", Unusable::Form),
        ("{SHA256}x", Unusable::Form),
        ("{SSHA}YWJj", Unusable::Form),
        ("{PLAIN.HEX}0", Unusable::Form),
        ("{CRAM-MD5}00", Unusable::Form),
        ("{SCRAM-SHA-256}4096,x", Unusable::Form),
        ("{SCRAM-SHA-256}0,YQ==,,", Unusable::Form),
        ("$1$", Unusable::Form),
        ("$6$", Unusable::Form),
        ("$6$rounds=99999999999$salt$x", Unusable::Form),
        (
            "$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            Unusable::Form,
        ),
        ("$2b$05$CCCC", Unusable::Form),
        ("$y$jT5$x$y", Unusable::Form),
        ("$y$j9T$$", Unusable::Form),
        (
            "$argon2id$v=19$m=99999999,t=3,p=4$c2FsdHNhbHQ$eHh4eHh4eHg",
            Unusable::Form,
        ),
        (
            "$argon2id$v=19$m=65536,t=4000000000,p=4$c2FsdHNhbHQ$eHh4eHh4eHg",
            Unusable::Form,
        ),
        (
            "$argon2id$v=19$m=1,t=1,p=1$c2FsdHNhbHQ$eHh4eHh4eHg",
            Unusable::Form,
        ),
        ("$argon2id$x", Unusable::Form),
    ] {
        assert_eq!(
            verify(stored.as_bytes(), b"x", Bare::Crypt),
            Err(why),
            "{stored}"
        );
    }
}

#[test]
fn clear_texts() {
    assert_eq!(verify(b"secret", b"secret", Bare::Plain), Ok(true));
    assert_eq!(verify(b"secret", b"secre", Bare::Plain), Ok(false));
    assert_eq!(verify(b"{plain}se}cret", b"se}cret", Bare::Crypt), Ok(true));
    assert_eq!(
        verify(b"{CLEARTEXT.b64}c2VjcmV0", b"secret", Bare::Crypt),
        Ok(true)
    );
    assert_eq!(
        verify(b"{PLAIN}", b"", Bare::Crypt),
        Ok(true),
        "an empty password, if somebody wants it"
    );
    assert_eq!(verify(b"", b"", Bare::Plain), Ok(false));
}

#[test]
fn challenges_need_the_secret_or_its_prepared_form() {
    let challenge = b"<1896.697170952@postoffice.reston.mci.net>";
    let cram = b"b913a602c7eda7a495b4e6e7334d3890";
    let asked = |stored: &[u8], response: &[u8]| answers(stored, challenge, response, Bare::Plain);
    assert_eq!(asked(b"tanstaaftanstaaf", cram), Ok(Some(true)));
    assert_eq!(asked(b"{PLAIN}tanstaaftanstaaf", cram), Ok(Some(true)));
    assert_eq!(asked(b"{PLAIN}tanstaaf", cram), Ok(Some(false)));
    assert_eq!(asked(&cram_text(b"tanstaaftanstaaf"), cram), Ok(Some(true)));
    assert_eq!(asked(&cram_text(b"tanstaaf"), cram), Ok(Some(false)));
    assert_eq!(asked(b"{CRYPT}$1$x", cram), Ok(None));
    assert_eq!(asked(b"", cram), Ok(None));
    let apop = sasl::apop_digest(b"tanstaaftanstaaf", challenge);
    assert_eq!(asked(b"tanstaaftanstaaf", &apop), Ok(Some(true)));
    assert_eq!(
        asked(&cram_text(b"tanstaaftanstaaf"), &apop),
        Ok(Some(false))
    );
    // Nobody may know an empty secret.
    let empty = sasl::cram_digest(b"", challenge);
    assert_eq!(asked(b"{PLAIN}", &empty), Ok(Some(false)));
    let long = vec![b'k'; 80];
    let response = sasl::cram_digest(&long, challenge);
    assert_eq!(asked(&cram_text(&long), &response), Ok(Some(true)));
}

#[test]
fn new_ones_are_right() {
    for made in [
        new_scram(b"tanstaaf").unwrap(),
        new_crypt(b"tanstaaf").unwrap(),
    ] {
        right(std::str::from_utf8(&made).unwrap(), "tanstaaf");
    }
    assert_ne!(new_crypt(b"x").unwrap(), new_crypt(b"x").unwrap());
    let stored = new_scram(b"x").unwrap();
    let keys = scram_keys(&stored, Hash::Sha256, b"", Bare::Crypt)
        .unwrap()
        .unwrap();
    assert_eq!(scram_text(&keys), stored);
    assert_eq!(scram_keys(&stored, Hash::Sha1, b"", Bare::Crypt), Ok(None));
    let clear = |seed: &[u8]| {
        scram_keys(b"x", Hash::Sha1, seed, Bare::Plain)
            .unwrap()
            .unwrap()
    };
    assert!(clear(b"0123456789abcdef").verify(b"x"));
    assert_eq!(clear(b"0123456789abcdef").salt, b"0123456789abcdef");
}

#[test]
fn nobody_is_refused_after_the_same_work() {
    assert!(!nobody(None, b"x"));
    assert!(!nobody(Some(b"{PLAIN}x"), b"x"));
    assert!(!nobody(Some(b"$9$"), b"x"));
    assert!(verify(b"$6$nobodynobody$qRXzo/IQghh5KnRi5e5Snr0.w.pJftlt67SIcg/NWYIEHEapgJmDARfY9WVjwu2zEZIBoec5IXhX5RzT.MvXN.", b"x", Bare::Crypt).is_ok(), "the model must cost its work");
}

/// The first line that a program prints; `None` if it is not installed.
fn printed(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?.to_owned();
    output.status.success().then_some(line)
}

/// Says what could not be looked at, so that a run without these programs is not taken for one with them.
fn without(count: usize, what: &str) {
    if count > 0 {
        println!("skipped: {count} hashes that {what} did not make");
    }
}

const PASSWORDS: [&str; 3] = [
    "tanstaaf",
    "pass word!",
    "\u{e9}\u{65e5}\u{672c}-a-rather-long-one-with-more-than-sixty-four-bytes-in-it-0123",
];

#[test]
fn mkpasswd_and_openssl_agree() {
    let mut missing = 0;
    for password in PASSWORDS {
        for method in [
            "md5crypt",
            "sha256crypt",
            "sha512crypt",
            "bcrypt",
            "bcrypt-a",
            "yescrypt",
            "descrypt",
        ] {
            match printed("mkpasswd", &["-m", method, password]) {
                // Eight bytes count; the wrong ones of `right` share them with the long password.
                Some(made) if method == "descrypt" => {
                    assert_eq!(
                        verify(made.as_bytes(), password.as_bytes(), Bare::Crypt),
                        Ok(true),
                        "{made} {password}"
                    );
                    assert_eq!(verify(made.as_bytes(), b"wrong", Bare::Crypt), Ok(false));
                }
                Some(made) => right(&made, password),
                None => missing += 1,
            }
        }
        for option in ["-1", "-5", "-6"] {
            match printed("openssl", &["passwd", option, password]) {
                Some(made) => right(&made, password),
                None => missing += 1,
            }
        }
    }
    without(missing, "mkpasswd or openssl");
}

#[test]
fn doveadm_agrees() {
    let mut missing = 0;
    for scheme in [
        "PLAIN",
        "CLEARTEXT",
        "CLEAR",
        "CRYPT",
        "MD5",
        "MD5-CRYPT",
        "PLAIN-MD5",
        "LDAP-MD5",
        "SMD5",
        "SHA",
        "SHA1",
        "SSHA",
        "SHA256",
        "SSHA256",
        "SHA512",
        "SSHA512",
        "SHA256-CRYPT",
        "SHA512-CRYPT",
        "BLF-CRYPT",
        "ARGON2I",
        "ARGON2ID",
        "SCRAM-SHA-1",
        "SCRAM-SHA-256",
        "CRAM-MD5",
        "HMAC-MD5",
        "SSHA256.HEX",
        "SHA512.HEX",
        "SHA.b64",
        "PLAIN.b64",
    ] {
        let password = "tanstaaf";
        match printed("doveadm", &["pw", "-s", scheme, "-p", password]) {
            Some(made) => right(&made, password),
            None => missing += 1,
        }
    }
    without(missing, "doveadm");
    // And the other way round: Dovecot takes ours.
    for made in [
        new_scram(b"tanstaaf").unwrap(),
        [b"{CRYPT}", new_crypt(b"tanstaaf").unwrap().as_slice()].concat(),
        cram_text(b"tanstaaf"),
    ] {
        let made = String::from_utf8(made).unwrap();
        if printed("doveadm", &["pw", "-s", "PLAIN", "-p", "x"]).is_some() {
            assert!(
                printed("doveadm", &["pw", "-t", &made, "-p", "tanstaaf"]).is_some(),
                "{made}"
            );
            assert!(
                printed("doveadm", &["pw", "-t", &made, "-p", "tanstaag"]).is_none(),
                "{made}"
            );
        }
    }
}

#[test]
fn a_damaged_text_is_never_more_than_damaged() {
    let seeds = [
        "$1$saltsalt$roN2lUfEbZqZad1NpG.Zy1",
        "ab/TdqTfG5VbQ",
        "$5$rounds=1000$salt$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        "$6$rounds=1000$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
        "$2b$04$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$y$j.T$svfn67JcFratloG8Fx5JW1$vQtbWAcEzKU1kbaUsDb/MAeytGy4r7AHt77TR3wI1GB",
        "$argon2id$v=19$m=16,t=1,p=1$c2FsdHNhbHQ$eHh4eHh4eHg",
        "{SSHA256}W2eVyVvS1s5Tk2f4i8rRZP3vTSNzYWx0W2eVyVvS1s5Tk2f4i8rRZP3vTSNz",
        "{SCRAM-SHA-256}10,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        "{CRAM-MD5}f09b2f4b2a2f9d4a1b1e5e9c9d0a1b2c3d4e5f60718293a4b5c6d7e8f9012345",
    ];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % limit as u64).unwrap()
    };
    for round in 0..2000 {
        let mut text = seeds.get(round % seeds.len()).unwrap().as_bytes().to_vec();
        for _ in 0..=below(3) {
            let at = below(text.len());
            let byte = *b"$,=.{}0aZ\0\xff:".get(below(12)).unwrap();
            match below(4) {
                // Digits stay few: what they ask for is work, and limits of work are tested elsewhere.
                0 => text.splice(at..=at, [byte]).for_each(drop),
                1 => text.splice(at..=at, []).for_each(drop),
                2 if !byte.is_ascii_digit() => text.insert(at, byte),
                _ => text.truncate(at.max(1)),
            }
            if text.is_empty() {
                break;
            }
        }
        let _ = verify(&text, b"tanstaag", Bare::Crypt);
        let _ = answers(&text, b"<1@h>", b"00", Bare::Crypt);
        let _ = scram_keys(&text, Hash::Sha256, b"seed", Bare::Crypt);
    }
}
