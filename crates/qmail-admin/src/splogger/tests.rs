use super::*;

fn passed(input: &[u8]) -> Vec<(Priority, String)> {
    let mut found = Vec::new();
    pass_on(input, |priority, text| {
        found.push((priority, String::from_utf8(text.to_vec()).unwrap()));
    });
    found
}

/// The text behind the stamp, which is checked for its form.
fn unstamped(text: &str) -> &str {
    let end = text.find([' ', '+']).unwrap();
    let (stamp, rest) = text.split_at(end);
    let (seconds, micro) = stamp.split_once('.').unwrap();
    assert!(seconds.parse::<u64>().is_ok() && micro.len() == 6 && micro.parse::<u64>().is_ok());
    rest
}

#[test]
fn prefixes_set_the_priority() {
    let found = passed(b"status: x\nwarning: y\n\nalert: z\n alert: no\nlast");
    let shown: Vec<_> = found.iter().map(|(p, t)| (*p, unstamped(t))).collect();
    assert_eq!(
        shown,
        [
            (Priority::Info, " status: x"),
            (Priority::Warning, " warning: y"),
            (Priority::Alert, " alert: z"),
            (Priority::Info, "  alert: no"),
            (Priority::Info, " last"),
        ]
    );
}

#[test]
fn long_lines_are_cut_into_pieces_with_one_stamp() {
    let line = [
        b"warning: ".to_vec(),
        vec![b'x'; 1600],
        b"\nnext\n".to_vec(),
    ]
    .concat();
    let found = passed(&line);
    let lengths: Vec<_> = found.iter().map(|(_, t)| unstamped(t).len()).collect();
    assert_eq!(lengths, [800, 800, 12, 5]);
    assert!(found[..3].iter().all(|(p, _)| *p == Priority::Warning));
    assert!(unstamped(&found[1].1).starts_with("+xxx"));
    let stamp = |n: usize| found[n].1.split([' ', '+']).next().unwrap().to_owned();
    assert_eq!(stamp(0), stamp(1));
    assert_eq!(stamp(0), stamp(2));
    assert_eq!(found[3].0, Priority::Info);

    let exact = [vec![b'x'; PIECE], b"\n".to_vec()].concat();
    assert_eq!(passed(&exact).len(), 1);
}

#[test]
fn no_byte_can_trick_a_terminal() {
    let found = passed(b"a\x1b[1m\0\xffb\tc\r\n");
    assert_eq!(unstamped(&found[0].1), " a?[1m??b?c?");
}

#[test]
fn facilities_are_numbers() {
    assert_eq!(facility(b"2"), 2);
    assert_eq!(facility(b"16x"), 16);
    for word in [&b"abc"[..], b"", b"0", b"24", b"99999999999999999999"] {
        assert_eq!(facility(word), FACILITY_USER);
    }
}

#[test]
fn dates_have_the_form_of_rfc_3164() {
    assert_eq!(date(0), "Jan  1 00:00:00");
    assert_eq!(date(86_400 * 14), "Jan 15 00:00:00");
}

#[test]
fn messages_arrive_at_the_socket_and_after_a_new_start_of_syslogd() {
    let scratch = kit::Scratch::new("splogger");
    let path = scratch.join("log");
    let mut syslog = Syslog::new(&path, b"qmail", 2);
    syslog.send(Priority::Info, b"nobody listens");
    for priority in [Priority::Alert, Priority::Info] {
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        syslog.send(priority, b"1.000002 hello");
        let mut buffer = [0; 2000];
        let count = socket.recv(&mut buffer).unwrap();
        let text = String::from_utf8(buffer[..count].to_vec()).unwrap();
        let front = format!("<{}>", 16 + priority as u64);
        assert!(text.starts_with(&front), "{text}");
        assert_eq!(
            text.split_at(front.len() + 15).1,
            " qmail: 1.000002 hello",
            "{text}"
        );
    }
}

#[test]
fn a_stream_socket_serves_too() {
    let scratch = kit::Scratch::new("splogger-stream");
    let path = scratch.join("log");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let mut syslog = Syslog::new(&path, b"t", 1);
    syslog.send(Priority::Warning, b"x");
    drop(syslog);
    let (mut stream, _) = listener.accept().unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
    assert!(
        text.starts_with("<12>") && text.ends_with(" t: x\0"),
        "{text}"
    );
}
