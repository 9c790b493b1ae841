use std::fs;
use std::time::{Duration, SystemTime};

use kit::Home;

use crate::{make_unreadable, run};

/// A message in the queue: its body, when it came, and the files of its envelope.
fn message(home: &Home, id: u64, body: &str, sender: &str, local: &[u8], remote: &[u8]) {
    let path = |part: &str| home.join(format!("queue/{part}/{}/{id}", id % kit::SPLIT));
    fs::write(path("mess"), body).unwrap();
    fs::write(path("info"), format!("F{sender}\0")).unwrap();
    let came = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + id);
    let info = fs::File::options().write(true).open(path("info")).unwrap();
    info.set_modified(came).unwrap();
    for (part, bytes) in [("local", local), ("remote", remote)] {
        if !bytes.is_empty() {
            fs::write(path(part), bytes).unwrap();
        }
    }
}

#[test]
fn qread_shows_messages_and_recipients() {
    let home = Home::new("qread");
    message(
        &home,
        24,
        "12345",
        "s@x.t",
        b"Ta@l.t\0Db@l.t\0",
        b"Tc@r.t\0",
    );
    message(&home, 1_000_024, "", "", b"", b"D\0Qx\0Td\xff\n@r.t\0Tcut");
    home.write("queue/bounce/1000024", "x");
    fs::write(home.join("queue/info/0/notanumber"), "").unwrap();
    let output = run(&home, "qmail-qread");
    assert_eq!(output.code(), 0);
    assert_eq!(
        output.out_text(),
        "9 Sep 2001 01:47:04 GMT  #24  5  <s@x.t> \n\
         \tlocal\ta@l.t\n  done\tlocal\tb@l.t\n\tremote\tc@r.t\n\
         20 Sep 2001 15:33:44 GMT  #1000024  0  <>  bouncing\n\
         \x20 done\tremote\t\n\tremote\td__@r.t\n"
    );
}

#[test]
fn qread_goes_on_after_a_message_that_cannot_be_read() {
    let home = Home::new("qread-trouble");
    message(&home, 23, "x", "a", b"T1\0", b"");
    message(&home, 46, "x", "b", b"T2\0", b"T3\0");
    fs::remove_file(home.join("queue/mess/0/23")).unwrap();
    make_unreadable(&home, "queue/local/0/46");
    let text = run(&home, "qmail-qread").out_text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "warning: trouble with #23: file does not exist");
    assert!(lines[1].ends_with("#46  1  <b> "));
    assert!(lines[2].starts_with("warning: trouble with #46: "));
    assert_eq!(lines[3], "\tremote\t3");
}

#[test]
fn qread_knows_other_splits() {
    let home = Home::new("qread-split");
    for part in ["mess", "info", "local", "remote"] {
        for n in 0..kit::SPLIT {
            fs::remove_dir(home.join(format!("queue/{part}/{n}"))).unwrap();
        }
        for n in 0..3 {
            fs::create_dir(home.join(format!("queue/{part}/{n}"))).unwrap();
        }
    }
    fs::write(home.join("queue/mess/1/100"), "x").unwrap();
    fs::write(home.join("queue/info/1/100"), "Fs\0").unwrap();
    assert!(
        run(&home, "qmail-qread")
            .out_text()
            .ends_with("#100  1  <s> \n")
    );
}

#[test]
fn qread_of_no_queue_fails() {
    let home = Home::new("qread-none");
    fs::remove_dir_all(home.join("queue")).unwrap();
    let output = run(&home, "qmail-qread");
    assert_eq!(output.code(), 111);
    assert_eq!(
        output.out_text(),
        "fatal: unable to chdir: file does not exist\n"
    );
    fs::create_dir_all(home.join("queue/mess/0")).unwrap();
    let output = run(&home, "qmail-qread");
    assert_eq!(output.code(), 111);
    assert_eq!(
        output.out_text(),
        "fatal: unable to opendir info/0: file does not exist\n"
    );
}

#[test]
fn qstat_counts_in_two_lines() {
    let home = Home::new("qstat");
    let lines = |messages: u32, new: u32| {
        format!(
            "messages in queue: {messages}\n\
             messages in queue but not yet preprocessed: {new}\n"
        )
    };
    assert_eq!(run(&home, "qmail-qstat").out_text(), lines(0, 0));
    for id in 0..50 {
        home.write(&format!("queue/mess/{}/{id}", id % 23), "x");
    }
    home.write("queue/todo/7", "x");
    home.write("queue/todo/0/8", "big-todo");
    std::os::unix::fs::symlink("x", home.join("queue/todo/link")).unwrap();
    assert_eq!(run(&home, "qmail-qstat").out_text(), lines(50, 2));
    fs::remove_dir_all(home.join("queue")).unwrap();
    let output = run(&home, "qmail-qstat");
    assert_eq!(output.code(), 0);
    assert_eq!(output.out_text(), lines(0, 0));
    assert_eq!(
        output.err_text(),
        "qmail-qstat: warning: unable to read queue/mess: file does not exist\n\
         qmail-qstat: warning: unable to read queue/todo: file does not exist\n"
    );
}

/// A record of the table of hosts that did not answer, `age` seconds old.
fn record(address: &[u8], count: u8, age: u64) -> Vec<u8> {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let when = u32::try_from(now - age).unwrap();
    let (time_at, size) = if address.len() == 4 {
        (8, 16)
    } else {
        (24, 32)
    };
    let mut bytes = [address, &[count]].concat();
    bytes.resize(time_at, 0);
    bytes.extend(when.to_le_bytes());
    bytes.resize(size, 0);
    bytes
}

#[test]
fn tcpto_shows_and_tcpok_clears() {
    let home = Home::new("tcpto");
    assert_eq!(run(&home, "qmail-tcpto").out_text(), "");
    let table = [
        record(&[192, 0, 2, 1], 2, 1000),
        record(&[192, 0, 2, 2], 0, 10),
        record(&[192, 0, 2, 3], 10, 0),
    ]
    .concat();
    home.write("queue/lock/tcpto", table);
    let mut six = [0; 16];
    six[0] = 0x20;
    six[1] = 0x01;
    six[15] = 1;
    home.write("queue/lock/tcpto6", record(&six, 1, 500));
    let text = run(&home, "qmail-tcpto").out_text();
    let shown: Vec<(&str, &str)> = text
        .lines()
        .map(|line| {
            let (address, rest) = line.split_once(" timed out ").unwrap();
            let (age, rest) = rest
                .split_once(" seconds ago; # recent timeouts: ")
                .unwrap();
            assert!(age.parse::<u64>().unwrap() < 1030);
            (address, rest)
        })
        .collect();
    assert_eq!(
        shown,
        [("192.0.2.1", "2"), ("192.0.2.3", "10"), ("2001::1", "1")]
    );

    assert_eq!(run(&home, "qmail-tcpok").code(), 0);
    assert_eq!(run(&home, "qmail-tcpto").out_text(), "");
    assert_eq!(fs::read(home.join("queue/lock/tcpto")).unwrap(), [0; 1024]);
    assert_eq!(fs::read(home.join("queue/lock/tcpto6")).unwrap(), [0; 2048]);
}

#[test]
fn without_a_table_there_is_nothing_to_show() {
    let home = Home::new("tcpto-none");
    fs::remove_file(home.join("queue/lock/tcpto")).unwrap();
    let output = run(&home, "qmail-tcpto");
    assert_eq!(output.code(), 111);
    assert_eq!(
        output.out_text(),
        "fatal: unable to open tcpto: file does not exist\n"
    );
    let output = run(&home, "qmail-tcpok");
    assert_eq!(output.code(), 111);
    assert_eq!(
        output.err_text(),
        format!(
            "qmail-tcpok: fatal: unable to write {}/queue/lock/tcpto: file does not exist\n",
            home.path().display()
        )
    );
}
