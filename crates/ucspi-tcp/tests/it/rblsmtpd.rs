//! rblsmtpd against lists on loopback.

use std::time::{Duration, Instant};

use kit::dns::{Dns, Record};
use kit::{Output, Run, Scratch, program};

const CLIENT: &str = "192.0.2.2";
const SIX: &str = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2";

fn txt(text: &str) -> Record {
    Record::Txt(text.into())
}

/// Lists that know the client, in many ways.
fn lists() -> Dns {
    let six: &'static str = Box::leak(format!("{SIX}.bl.test").into_boxed_str());
    Dns::start([
        ("2.2.0.192.bl.test", txt("listed by bl")),
        ("2.2.0.192.bl.test", Record::address("127.0.0.2")),
        ("2.2.0.192.ip.test", Record::address("127.0.0.4")),
        ("2.2.0.192.dead.test", Record::address("192.0.2.99")),
        ("2.2.0.192.full.test", Record::address("127.255.255.254")),
        ("2.2.0.192.wl.test", Record::address("127.0.0.2")),
        ("2.2.0.192.fail.test", Record::Fail),
        ("2.2.0.192.silent.test", Record::Silent),
        ("2.2.0.192.long.test", txt(&"x".repeat(3000))),
        (six, txt("six")),
        ("bl.test", txt("the list itself")),
    ])
}

fn run(dns: &Dns, client: &str, words: &[&str]) -> Run {
    Run::new(program("rblsmtpd"))
        .env("DNSCACHEIP", &dns.variable())
        .env("TCPREMOTEIP", client)
        .args(words)
        .args(["echo", "ran"])
        .stdin("quit\r\n")
}

/// `ran`, or the refusal as it is logged.
fn verdict(output: &Output) -> String {
    assert_eq!(output.code(), 0);
    if output.out_text() == "ran\n" {
        assert_eq!(output.err_text(), "");
        return "ran".into();
    }
    let text = "220 rblsmtpd.local\r\n221 rblsmtpd.local\r\n";
    assert_eq!(output.out_text(), text);
    let log = output.err_text();
    log.trim_end().split_once(": 4").map_or_else(
        || format!("5{}", log.trim_end().split_once(": 5").unwrap().1),
        |(_, rest)| format!("4{rest}"),
    )
}

#[test]
fn what_the_lists_say_together() {
    let dns = lists();
    let long = format!("451 {}", "x".repeat(200));
    for (words, want) in [
        ("-r bl.test", "451 listed by bl"),
        ("-b -r bl.test", "553 listed by bl"),
        ("-r nosuch.test -r bl.test", "451 listed by bl"),
        ("-a wl.test -r bl.test", "ran"),
        ("-r bl.test -a wl.test", "451 listed by bl"),
        ("-r fail.test -b -r bl.test", "451 listed by bl"),
        ("-c -r fail.test", "451 temporary RBL lookup error"),
        ("-a fail.test -r bl.test", "ran"),
        ("-c -a fail.test -r bl.test", "451 listed by bl"),
        ("-r long.test", &long),
        // addresses
        ("-r ip.test", "ran"),
        ("-A ip.test", "451 192.0.2.2 is listed by ip.test"),
        ("-A bl.test", "451 listed by bl"),
        ("-A dead.test -A full.test -r dead.test:x", "ran"),
        ("-b -r ip.test:see=%IP%", "553 see=192.0.2.2"),
        ("-r nosuch.test:see=%IP%", "ran"),
        (
            "-A wl.test -c -A fail.test",
            "451 192.0.2.2 is listed by wl.test",
        ),
        // points
        ("-m 2 -r bl.test", "ran"),
        ("-m 2 -r bl.test -A ip.test", "451 listed by bl"),
        ("-m 3 -p 2 -r bl.test -p 1 -A ip.test", "451 listed by bl"),
        ("-m 2 -r bl.test -b -A ip.test", "553 listed by bl"),
        ("-r bl.test -p -1 -A wl.test", "ran"),
        ("-p 2 -r bl.test -p -1 -A wl.test", "451 listed by bl"),
        ("-p -1 -A wl.test -m -5", "ran"),
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        assert_eq!(
            verdict(&run(&dns, CLIENT, &words).output()),
            want,
            "{words:?}"
        );
    }
}

#[test]
fn both_kinds_of_addresses() {
    let dns = lists();
    for (client, want) in [
        ("2001:db8::2", "451 six"),
        ("2001:DB8:0:0::2", "451 six"),
        ("::ffff:192.0.2.2", "451 listed by bl"),
        ("2001:db8::3", "ran"),
        ("", "ran"),
        ("unknown", "ran"),
    ] {
        let done = run(&dns, client, &["-r", "bl.test"]).output();
        assert_eq!(verdict(&done), want, "{client}");
    }
    let asked = dns.asked();
    assert!(
        asked
            .iter()
            .any(|(name, _)| *name == format!("{SIX}.bl.test"))
    );
    assert!(!asked.iter().any(|(name, _)| name == "bl.test"));
}

#[test]
fn all_lists_are_asked_at_once_and_only_as_long_as_needed() {
    let dns = lists();
    let mut words: Vec<&str> = Vec::new();
    for _ in 0..20 {
        words.extend(["-r", "silent.test"]);
    }
    words.extend(["-r", "bl.test"]);
    let start = Instant::now();
    let done = run(&dns, CLIENT, &[&["-T", "5"], &words[..]].concat()).output();
    assert_eq!(verdict(&done), "451 listed by bl");
    assert!(start.elapsed() < Duration::from_mins(1));

    let start = Instant::now();
    let done = run(
        &dns,
        CLIENT,
        &["-T", "90", "-r", "bl.test", "-r", "silent.test"],
    )
    .output();
    assert_eq!(verdict(&done), "451 listed by bl");
    let done = run(&dns, CLIENT, &["-T90", "-awl.test", "-rsilent.test"]).output();
    assert_eq!(verdict(&done), "ran");
    assert!(start.elapsed() < Duration::from_mins(1));
}

#[test]
fn the_variable_decides_alone() {
    let dns = lists();
    for (value, want) in [
        ("", "ran"),
        ("go away", "451 go away"),
        ("-never", "553 never"),
        ("-", "553"),
        ("a\x1b\u{e9}b", "451 a???b"),
    ] {
        let done = run(&dns, CLIENT, &["-c", "-r", "bl.test"])
            .env("RBLSMTPD", value)
            .output();
        assert_eq!(verdict(&done), want, "{value}");
    }
    assert!(dns.asked().is_empty());
}

#[test]
fn the_log_line_and_a_talk_without_time() {
    let dns = lists();
    let done = run(&dns, CLIENT, &["-t0", "-rbl.test"]).output();
    assert_eq!(done.out_text(), "451 listed by bl\r\n");
    let log = done.err_text();
    let rest = log.strip_prefix("rblsmtpd: 192.0.2.2 pid ").unwrap();
    let (pid, rest) = rest.split_once(": ").unwrap();
    assert!(pid.parse::<u32>().is_ok());
    assert_eq!(rest, "451 listed by bl\n");
}

/// Runs a line of shell with `$rbl` as the program.
fn shell(line: &str) -> Output {
    let scratch = Scratch::new("rbl-shell");
    Run::new("/bin/sh")
        .args(["-c", line])
        .env("rbl", program("rblsmtpd").to_str().unwrap())
        .env("TCPREMOTEIP", CLIENT)
        .dir(scratch.path())
        .output()
}

#[test]
fn a_client_that_says_nothing_or_too_much_has_its_time() {
    let done = shell("sleep 5 | RBLSMTPD=no $rbl -t1 echo ran; echo over");
    assert!(done.out_text().starts_with("220 rblsmtpd.local\r\n"));
    let line = "(yes noop | RBLSMTPD=no timeout 60 $rbl -t1 echo ran; echo code $?) | tail -n 1";
    assert!(shell(line).out_text().ends_with("code 0\n"));
    let done = shell("cat /dev/zero | RBLSMTPD=no timeout 60 $rbl -t1 echo ran; echo $?");
    assert_eq!(done.out_text(), "220 rblsmtpd.local\r\n0\n");
}

#[test]
fn clients_wait_for_the_greeting() {
    let hasty = "451 wait for the greeting before you speak";
    for (line, want) in [
        (
            "printf 'helo x\\r\\nquit\\r\\n' | $rbl -w 99 echo ran",
            hasty,
        ),
        (
            "printf 'quit\\r\\n' | GREETDELAY=99 $rbl -W echo ran",
            hasty,
        ),
        (
            "(until test -e ran; do sleep 0.1; done; echo quit) | $rbl -w 1 sh -c 'echo >ran; echo ran'",
            "ran",
        ),
        ("printf 'quit\\r\\n' | $rbl -W echo ran", "ran"),
        ("printf 'quit\\r\\n' | RBLSMTPD= $rbl -w 99 echo ran", "ran"),
    ] {
        let start = Instant::now();
        let done = shell(line);
        assert!(start.elapsed() < Duration::from_mins(1), "{line}");
        match want {
            "ran" => assert_eq!(done.out_text(), "ran\n", "{line}"),
            _ => assert!(done.err_text().contains(want), "{line}"),
        }
    }
    let done = shell("$rbl -w 99 echo ran </dev/null");
    assert_eq!((done.out_text(), done.err_text()), Default::default());
    let done = shell("echo quit | $rbl -b -w 99 echo ran");
    assert!(done.err_text().contains(": 553 wait"));
}

#[test]
fn without_resolvers_it_is_as_c_says() {
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    for (words, want) in [
        (["-r", "bl.test"].as_slice(), "ran"),
        (&["-c", "-r", "bl.test"], "451 temporary RBL lookup error"),
    ] {
        let done = Run::new(program("rblsmtpd"))
            .env("DNSCACHEIP", &address)
            .env("TCPREMOTEIP", CLIENT)
            .args(words)
            .args(["echo", "ran"])
            .stdin("quit\r\n")
            .output();
        assert_eq!(verdict(&done), want);
    }
}

#[test]
fn misuse() {
    let usage = "rblsmtpd: usage: rblsmtpd [ -b ] [ -R ] [ -t timeout ] [ -r base ] [ -a base ] smtpd [ arg ... ]\n";
    for words in [
        &[][..],
        &["-b"],
        &["-z", "x"],
        &["-r"],
        &["-p", "x", "x"],
        &["-m", "", "x"],
        &["-p99999999999", "x"],
    ] {
        let done = Run::new(program("rblsmtpd")).args(words).output();
        assert_eq!(done.code(), 100, "{words:?}");
        assert!(done.err_text().ends_with(usage), "{words:?}");
    }
    let done = Run::new(program("rblsmtpd")).arg("./nosuch").output();
    let want = "rblsmtpd: fatal: unable to run ./nosuch: file does not exist\n";
    assert_eq!((done.code(), done.err_text()), (111, want.into()));
}
