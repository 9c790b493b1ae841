use super::*;

const CHECKERS: [&str; 4] = ["checkpassword", "cmd5checkpw", "cmd5apoppw", "vusercheck"];

#[test]
fn what_is_not_three_strings_is_refused() {
    let home = home("fd3");
    home.write("pop", "a:b\n");
    for checker in CHECKERS {
        let run = |text: &[u8]| {
            let run = home
                .run(checker)
                .env("POPPASSWD", home.join("pop").to_str().unwrap());
            run.args(TELLS).input(3, text).output()
        };
        let long = |count: usize| [&vec![b'u'; count - 4][..], b"\0p\0\0"].concat();
        for text in [
            b"".to_vec(),
            b"u".to_vec(),
            b"u\0".to_vec(),
            b"u\0p".to_vec(),
            b"\0p\0\0".to_vec(),
            long(513),
            long(5000),
        ] {
            let out = run(&text);
            assert_eq!(
                (out.code(), out.out.len()),
                (1, 0),
                "{checker} {}",
                text.escape_ascii()
            );
        }
        // Names that no account has, whatever a file system or a name service would make of them.
        let odd = [
            "..",
            ".",
            "/",
            "/etc/passwd",
            "a/../b",
            "a\nb",
            "a b",
            "a:b",
            ":",
            "-x",
            "a%b",
            "\u{e9}",
            "@",
            "a@",
            "@virtual.test",
            "../tim@virtual.test",
            "x@..",
            "\u{7f}",
        ];
        for name in
            odd.iter()
                .map(|s| s.as_bytes().to_vec())
                .chain([long(511), long(512), vec![b'x'; 400]])
        {
            let text = if name.ends_with(b"\0\0") {
                name.clone()
            } else {
                [&name[..], b"\0p\0\0"].concat()
            };
            let out = run(&text);
            assert_eq!(
                out.code(),
                1,
                "{checker} {} {}",
                name.escape_ascii(),
                out.err_text()
            );
            assert!(out.out.is_empty());
        }
    }
}

#[test]
fn misuse_has_codes_of_its_own() {
    let home = home("misuse");
    for checker in CHECKERS {
        let out = home.run(checker).input(3, b"u\0p\0\0").output();
        assert_eq!(out.code(), 2, "{checker}: no program");
        let out = home.run(checker).args(TELLS).closed(3).output();
        assert_eq!(out.code(), 111, "{checker}: no descriptor 3");
        assert!(out.out.is_empty());
    }
}
