//! addcr, delcr, fixcrio, recordio, argv0, mconnect-io.

use std::path::PathBuf;
use std::time::Instant;

use kit::{Output, Run, Scratch, program};

/// Programs to compare: ours, and Debian's if it is there.
fn both(name: &str) -> Vec<PathBuf> {
    let theirs = PathBuf::from("/usr/bin").join(name);
    let mut list = vec![program(name)];
    if theirs.exists() {
        list.push(theirs);
    } else {
        eprintln!("SKIPPED (no original {name}): comparison");
    }
    list
}

/// A text in which every pair of interesting bytes stands at every place of a block.
fn hard_text() -> Vec<u8> {
    let mut text = Vec::new();
    let mut state = 1u32;
    for _ in 0..300_000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.push(b"\r\n\r\nax\0\xff"[(state >> 29) as usize]);
    }
    text
}

/// The log of recordio without process ids, sorted: the two directions are not in step.
fn shown(output: &Output) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = output
        .err
        .split_inclusive(|&b| b == b'\n')
        .map(|line| line.splitn(2, |&b| b == b' ').last().unwrap().to_vec())
        .collect();
    lines.sort();
    lines
}

#[test]
fn line_ends_are_those_of_the_original() {
    let text = hard_text();
    for name in ["addcr", "delcr"] {
        let done: Vec<Output> = both(name)
            .into_iter()
            .map(|p| Run::new(p).stdin(&text).output())
            .collect();
        assert_eq!(done[0].code(), 0);
        assert!(!done[0].out.is_empty());
        assert!(done.iter().all(|d| d.out == done[0].out), "{name}");
    }
    let there = Run::new(program("addcr")).stdin(&text).output().out;
    let back = Run::new(program("delcr")).stdin(there).output().out;
    assert_eq!(back, text);
}

#[test]
fn what_has_come_goes_on_before_more_comes() {
    let scratch = Scratch::new("crs-live");
    for name in ["addcr", "delcr"] {
        let out = scratch.join(name);
        let script = format!(
            "(echo a; until test -s {out}; do sleep 0.01; done) | {program} >{out}",
            out = out.display(),
            program = program(name).display(),
        );
        let done = Run::new("/bin/sh").args(["-c", &script]).output();
        assert_eq!(done.code(), 0);
    }
}

#[test]
fn fixcrio_both_ways_and_large() {
    let text = hard_text();
    let done: Vec<Output> = both("fixcrio")
        .into_iter()
        .map(|p| Run::new(p).arg("cat").stdin(&text).output())
        .collect();
    assert_eq!(done[0].code(), 0);
    assert!(done[0].out.len() > text.len());
    assert!(done.iter().all(|d| d.out == done[0].out));
}

#[test]
fn recordio_changes_nothing_and_shows_everything() {
    let text = hard_text();
    let done = Run::new(program("recordio"))
        .arg("cat")
        .stdin(&text)
        .output();
    assert_eq!((done.code(), done.out == text), (0, true));
    let (mut there, mut back) = (Vec::new(), Vec::new());
    for line in done.err.split_inclusive(|&b| b == b'\n') {
        let rest = line.splitn(2, |&b| b == b' ').last().unwrap();
        let (direction, rest) = rest.split_at(2);
        let shown = if direction == b"< " {
            &mut there
        } else {
            &mut back
        };
        if let Some(part) = rest.strip_suffix(b"+\n") {
            assert!(part.len() <= 256);
            shown.extend_from_slice(part);
        } else if let Some(whole) = rest.strip_suffix(b" \n") {
            shown.extend_from_slice(whole);
            shown.push(b'\n');
        } else {
            assert_eq!(rest, b"[EOF]\n");
        }
    }
    assert!(there == text);
    assert!(back == text);
}

#[test]
fn recordio_shows_packets_as_the_original() {
    let long = format!("{}\n{}\n\n\r\nx", "a".repeat(700), "b".repeat(255));
    for text in ["", "a\n", "a", "\n\n", long.as_str()] {
        let logs: Vec<_> = both("recordio")
            .into_iter()
            .map(|p| shown(&Run::new(p).arg("cat").stdin(text).output()))
            .collect();
        assert!(logs[0].len() >= 2);
        // What the program writes may be cut otherwise: only its input comes in one packet.
        let input = |log: &Vec<Vec<u8>>| -> Vec<Vec<u8>> {
            log.iter().filter(|l| l[0] == b'<').cloned().collect()
        };
        assert!(logs.iter().all(|l| input(l) == input(&logs[0])), "{text}");
    }
}

#[test]
fn a_program_that_does_not_read_still_says_all_it_has_to_say() {
    let text = vec![b'\n'; 1_000_000];
    for name in ["recordio", "fixcrio"] {
        let script = "exec <&-; sleep 0.1; seq 1 10000; echo end";
        let done = Run::new(program(name))
            .args(["sh", "-c", script])
            .stdin(&text)
            .output();
        assert_eq!(done.code(), 0);
        assert!(done.out_text().trim_end().ends_with("end"), "{name}");
    }
}

#[test]
fn a_client_that_leaves_ends_the_copying() {
    for name in ["recordio", "fixcrio"] {
        let start = Instant::now();
        let script = format!("{} yes 2>/dev/null | head -n 1", program(name).display());
        let done = Run::new("/bin/sh").args(["-c", &script]).output();
        assert_eq!(done.out_text().trim_end(), "y");
        assert!(start.elapsed() < kit::LIMIT / 2);
    }
}

#[test]
fn the_program_has_the_process_id_and_the_exit_code() {
    for name in ["recordio", "fixcrio"] {
        let script = format!(
            "echo $$; exec {} sh -c 'echo $$; exit 7'",
            program(name).display()
        );
        let done = Run::new("/bin/sh").args(["-c", &script]).output();
        let text = done.out_text();
        let pids: Vec<&str> = text.split_whitespace().collect();
        assert_eq!((pids.len(), pids[0]), (2, pids[1]), "{name}");
        assert_eq!(done.code(), 7);
    }
}

#[test]
fn closed_descriptors_do_no_harm() {
    for number in [0, 1, 2] {
        for name in ["recordio", "fixcrio", "mconnect-io"] {
            let done = Run::new(program(name))
                .args(["echo", "x"])
                .closed(number)
                .output();
            assert!(matches!(done.code(), 0 | 1), "{name} {number}");
        }
    }
    assert_eq!(Run::new(program("addcr")).closed(0).output().code(), 111);
    let lost = Run::new(program("delcr")).closed(1).stdin("x").output();
    assert_eq!((lost.code(), lost.err_text()), (111, String::new()));
}

#[test]
fn usage_and_missing_programs() {
    for (name, usage) in [
        ("argv0", "argv0 realname program [ arg ... ]"),
        ("fixcrio", "fixcrio program [ arg ... ]"),
        ("recordio", "recordio program [ arg ... ]"),
    ] {
        let done = Run::new(program(name)).output();
        let want = format!("{name}: usage: {usage}\n");
        assert_eq!((done.code(), done.err_text()), (100, want));
        let done = Run::new(program(name)).args(["./nosuch", "x"]).output();
        let want = format!("{name}: fatal: unable to run ./nosuch: file does not exist\n");
        assert_eq!(done.code(), 111);
        assert!(done.err_text().contains(&want));
    }
    let done = Run::new(program("argv0"))
        .args(["sh", "-name", "-c", "echo $0"])
        .output();
    assert_eq!(done.out_text(), "-name\n");
}

#[test]
fn mconnect_io_ends_with_the_server_and_not_before() {
    let script = format!(
        "(sleep 0.2; echo late) | ({} 6<&0 7>out <in; echo end)",
        program("mconnect-io").display()
    );
    let scratch = Scratch::new("mconnect-io");
    scratch.write("in", "a\nb\r\n");
    let done = Run::new("/bin/sh")
        .args(["-c", &script])
        .dir(scratch.path())
        .output();
    assert_eq!(done.out_text(), "late\nend\n");
    assert_eq!(scratch.read("out"), b"a\r\nb\r\r\n");
}
