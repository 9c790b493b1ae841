//! tlscert.

use std::os::unix::fs::PermissionsExt;

use kit::{Output, Run, Scratch, program};

fn tlscert(scratch: &Scratch, words: &[&str]) -> Output {
    Run::new(program("tlscert"))
        .args(words)
        .dir(scratch.path())
        .output()
}

#[test]
fn a_key_that_nobody_else_can_read_and_a_certificate() {
    let scratch = Scratch::new("tlscert");
    for (words, kind) in [(&["a"][..], "id-ecPublicKey"), (&["-e", "b"], "ED25519")] {
        let words = [words, &["Mail.Test", "*.mail.test", "127.0.0.1", "::1"]].concat();
        assert_eq!(tlscert(&scratch, &words).code(), 0);
        let directory = words[words.len() - 5];
        let mode = |name: &str| {
            let about = std::fs::metadata(scratch.join(directory).join(name)).unwrap();
            about.permissions().mode() & 0o777
        };
        assert_eq!((mode("privkey.pem"), mode("fullchain.pem")), (0o600, 0o644));
        let shown = Run::new("/usr/bin/openssl")
            .args([
                "x509",
                "-noout",
                "-text",
                "-in",
                &format!("{directory}/fullchain.pem"),
            ])
            .dir(scratch.path())
            .output()
            .out_text();
        let names =
            "DNS:mail.test, DNS:*.mail.test, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1";
        for part in [kind, names, "CN = mail.test"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
    }
}

#[test]
fn what_is_there_stays() {
    let scratch = Scratch::new("stays");
    assert_eq!(tlscert(&scratch, &["a", "one.test"]).code(), 0);
    let before = scratch.read("a/privkey.pem");
    let again = tlscert(&scratch, &["a", "one.test"]);
    assert_eq!(again.code(), 100);
    assert!(again.err_text().contains("a/privkey.pem is there already"));
    assert_eq!(scratch.read("a/privkey.pem"), before);
    assert_eq!(tlscert(&scratch, &["-f", "a", "one.test"]).code(), 0);
    assert_ne!(scratch.read("a/privkey.pem"), before);
    assert!(!scratch.join("a/privkey.pem.tmp").exists());
}

#[test]
fn misuse() {
    let scratch = Scratch::new("misuse");
    for words in [
        &[][..],
        &["a"],
        &["-d", "0", "a", "b"],
        &["-d", "x", "a", "b"],
        &["-x", "a", "b"],
        &["a", "no name"],
        &["a", "b/c"],
        &["a", ""],
    ] {
        assert_eq!(tlscert(&scratch, words).code(), 100, "{words:?}");
        assert!(!scratch.join("a").exists());
    }
    assert_eq!(tlscert(&scratch, &["none/a", "b"]).code(), 111);
}
