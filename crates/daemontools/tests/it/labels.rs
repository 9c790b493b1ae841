//! tai64n and tai64nlocal.

use kit::Scratch;
use sys::process::End;

use crate::{Fed, original, ours};

fn local(text: &str, zone: &str) -> String {
    let here = Scratch::new("local");
    let done = ours("tai64nlocal", here.path())
        .env("TZ", zone)
        .stdin(text)
        .output();
    assert_eq!((done.code(), done.err_text().as_str()), (0, ""));
    done.out_text()
}

#[test]
fn labels_become_local_time() {
    for (line, expected) in [
        (
            "@4000000037c219bf2ef02e94 mark\n",
            "1999-08-24 04:04:05.787492500 mark\n",
        ),
        (
            "@4000000037c219bf2ef02e94\n",
            "1999-08-24 04:04:05.787492500\n",
        ),
        (
            "@400000000000000a00000000 x\n",
            "1970-01-01 00:00:00.000000000 x\n",
        ),
        (
            "@3ffffffffffffff000000000 x\n",
            "1969-12-31 23:59:34.000000000 x\n",
        ),
        (
            "@4000000037c219bfffffffff x\n",
            "1999-08-24 04:04:05.4294967295 x\n",
        ),
        (
            "@4000000037c219bf2ef02e94x\n",
            "1999-08-24 04:04:05.787492500x\n",
        ),
        ("plain\n", "plain\n"),
        ("\n", "\n"),
        (
            "x @4000000037c219bf2ef02e94 x\n",
            "x @4000000037c219bf2ef02e94 x\n",
        ),
        ("no newline", "no newline"),
        // The original forgets this one.
        ("@4000000037c219bf2ef02e94", ""),
    ] {
        assert_eq!(local(line, "UTC"), expected, "{line:?}");
    }
    assert_eq!(
        local("@4000000037c219bf2ef02e94 x\n", "JST-9"),
        "1999-08-24 13:04:05.787492500 x\n"
    );
}

#[test]
fn what_is_no_label_passes_through() {
    for line in [
        "@\n",
        "@home x\n",
        "@4000 x\n",
        "@4000000037c219bf x\n",
        "@4000000037C219BF2EF02E94 x\n",
        "@4000000037c219bf2ef02e94aa x\n",
        "@4000000037c219bf2ef02e94a\n",
        "@4000000037c219bf2ef02e9\n",
        "@8000000037c219bf2ef02e94 x\n",
        "@0000000037c219bf2ef02e94 x\n",
        "@ffffffffffffffffffffffff x\n",
        "@@4000000037c219bf2ef02e94 x\n",
        "@dead",
    ] {
        assert_eq!(local(line, "UTC"), line);
    }
}

#[test]
fn labels_cut_by_the_block_are_found() {
    // Blocks are 65536 bytes: let the border fall on every byte of a label.
    for before in 65_500..65_540 {
        let padding = "x".repeat(before - 1);
        let text = format!("{padding}\n@4000000037c219bf2ef02e94 a\n@home b\n");
        let expected = format!("{padding}\n1999-08-24 04:04:05.787492500 a\n@home b\n");
        assert!(local(&text, "UTC") == expected, "{before}");
    }
}

#[test]
fn agrees_with_the_original_on_any_time() {
    let Some(theirs) = original("tai64nlocal", "agrees_with_the_original_on_any_time") else {
        return;
    };
    let here = Scratch::new("agree");
    let mut random = 12345u64;
    let mut text = String::new();
    for n in 0..4000 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let spread = if n % 2 == 0 { 5_000_000_000 } else { 100_000 };
        let second = 0x4000_0000_0000_0000 + (random >> 20) % spread;
        text.push_str(&format!(
            "@{second:016x}{:08x} line\n",
            random % 1_000_000_000
        ));
    }
    for zone in ["UTC", "America/New_York", "Asia/Kathmandu", "XYZ-1:23:45"] {
        let run = kit::Run::new(&theirs)
            .env("TZ", zone)
            .dir(here.path())
            .stdin(&text)
            .output();
        assert!(run.out_text() == local(&text, zone), "{zone}");
    }
}

#[test]
fn every_line_gets_a_label() {
    let here = Scratch::new("tai64n");
    let input = "one\n\ntwo\0\n".to_owned() + &"x".repeat(200_000) + "\nlast";
    let done = ours("tai64n", here.path())
        .args(["ignored"])
        .stdin(&input)
        .output();
    assert_eq!(done.code(), 0);
    let mut last = String::new();
    let stripped: Vec<String> = done
        .out_text()
        .split('\n')
        .map(|line| {
            let (label, rest) = line.split_at(26);
            assert!(
                label.starts_with("@4000000") && label.ends_with(' '),
                "{label}"
            );
            assert!(label >= last.as_str());
            last = label.to_owned();
            rest.to_owned()
        })
        .collect();
    assert_eq!(stripped.join("\n"), input);
}

#[test]
fn lines_are_not_held_back() {
    let here = Scratch::new("held");
    for program in ["tai64n", "tai64nlocal"] {
        let log = here.join(program);
        let mut filter = Fed::start(&kit::program(program), &[], here.path(), &log);
        filter.write("one\n");
        kit::eventually("the first line comes through", || {
            std::fs::read(&log).unwrap().ends_with(b"one\n")
        });
        filter.write("tw");
        kit::eventually("a part comes through", || {
            std::fs::read(&log).unwrap().ends_with(b"tw")
        });
        assert_eq!(filter.close(), End::Exit(0));
    }
}

#[test]
fn trouble_is_111_without_a_word() {
    let here = Scratch::new("trouble");
    for program in ["tai64n", "tai64nlocal"] {
        for closed in [0, 1] {
            let done = ours(program, here.path())
                .stdin("x\n")
                .closed(closed)
                .output();
            assert_eq!(
                (done.code(), done.err_text().as_str()),
                (111, ""),
                "{program} {closed}"
            );
        }
        let full = format!("echo x | {} >/dev/full", kit::program(program).display());
        let done = kit::Run::new("/bin/sh").args(["-c", &full]).output();
        assert_eq!((done.code(), done.err_text().as_str()), (111, ""));
        let done = ours(program, here.path()).closed(1).output();
        assert_eq!(done.code(), 0, "nothing to write, so nothing is wrong");
    }
}
