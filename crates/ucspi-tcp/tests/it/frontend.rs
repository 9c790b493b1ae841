//! tcpserver behind others: a front end that tells whose connection it is, a supervisor that holds the socket.

use std::io::{Read, Write};

use kit::{Run, Scratch, program};

use crate::server::{Server, rules};

const SHOW: [&str; 5] = [
    "0",
    "0",
    "sh",
    "-c",
    "echo $PROTO $TCPREMOTEIP $TCPREMOTEPORT $TCPLOCALIP $TCPLOCALPORT; cat",
];

fn say(server: &Server, ip: &str, header: &[u8]) -> String {
    let mut stream = server.connect(ip);
    let _ = stream.write_all(header);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut got = Vec::new();
    let _ = stream.read_to_end(&mut got);
    String::from_utf8(got).unwrap()
}

#[test]
fn a_front_end_tells_whose_connection_it_is() {
    let scratch = Scratch::new("frontend");
    rules(&scratch, "r.cdb", "192.0.2.66:deny\n:allow\n");
    let options = ["-RHl0", "-xr.cdb", "--proxy=192.0.2.0/24,127.0.0.1"];
    let server = Server::start(&scratch, &[&options[..], &SHOW].concat());
    let one = b"PROXY TCP4 192.0.2.1 198.51.100.2 4000 25\r\nrest\n";
    assert_eq!(
        say(&server, "127.0.0.1", one),
        "TCP 192.0.2.1 4000 198.51.100.2 25\nrest\n"
    );
    let six = b"PROXY TCP6 2001:db8::1 2001:db8::2 4000 25\r\n";
    assert_eq!(
        say(&server, "127.0.0.1", six),
        "TCP6 2001:db8::1 4000 2001:db8::2 25\n"
    );
    let two = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x02\x0f\xa0\0\x19more";
    assert_eq!(
        say(&server, "127.0.0.1", two),
        "TCP 192.0.2.1 4000 198.51.100.2 25\nmore"
    );
    let own = say(&server, "127.0.0.1", b"PROXY UNKNOWN\r\n");
    assert!(own.starts_with("TCP 127.0.0.1 "), "{own}");
    let denied = b"PROXY TCP4 192.0.2.66 198.51.100.2 4000 25\r\n";
    assert_eq!(say(&server, "127.0.0.1", denied), "");

    for wrong in [
        &b"EHLO a long enough line\r\n"[..],
        b"PROXY TCP4 x\r\n",
        b"",
    ] {
        assert_eq!(say(&server, "127.0.0.1", wrong), "");
    }
    server.logged("dropping connection, unable to read PROXY header: protocol error");

    // Anybody can write a header.
    let stranger = say(&server, "::1", six);
    assert!(stranger.starts_with("TCP6 ::1 "), "{stranger}");
    assert!(stranger.ends_with("PROXY TCP6 2001:db8::1 2001:db8::2 4000 25\r\n"));
}

/// Listens at two ports and becomes tcpserver with both as descriptors 3 and 4.
const HAND_OVER: &str = "
import os, socket, sys
one, two = socket.socket(), socket.socket()
for s in (one, two):
    s.bind(('127.0.0.1', 0)); s.listen(8)
a, b = os.dup(one.fileno()), os.dup(two.fileno())
os.dup2(a, 20); os.dup2(b, 21)
os.dup2(20, 3); os.dup2(21, 4)
os.closerange(5, 30)
os.environ['LISTEN_FDS'] = '2'
os.environ['LISTEN_FDNAMES'] = 'a:b'
os.environ['LISTEN_PID'] = str(os.getpid() if sys.argv[1] == 'us' else 1)
port = {'first': 0, 'second': two.getsockname()[1]}[sys.argv[2]]
os.execv(sys.argv[3], [sys.argv[3], '-1', '-RHl0', '127.0.0.1', str(port), 'sh', '-c',
    'for n in 3 4; do [ -S /proc/$$/fd/$n ] && leak=leak; done; echo $leak ${LISTEN_FDS-none} ${LISTEN_PID-none}; echo %d %d'
    % (one.getsockname()[1], two.getsockname()[1])])
";

#[test]
fn the_supervisor_holds_the_socket() {
    let scratch = Scratch::new("handed");
    scratch.write("hand.py", HAND_OVER);
    let ours = program("tcpserver");
    for (whose, which) in [("us", "first"), ("us", "second"), ("others", "first")] {
        let run = Run::new("python3").args(["hand.py", whose, which, ours.to_str().unwrap()]);
        let server = Server::start_plain(&scratch, run);
        let got = server.get("127.0.0.1");
        let (seen, ports) = got.trim().split_once('\n').unwrap();
        let ports: Vec<u16> = ports.split(' ').map(|p| p.parse().unwrap()).collect();
        if whose == "us" {
            assert_eq!(seen, "none none");
            assert_eq!(server.port, ports[usize::from(which == "second")]);
        } else {
            assert_eq!(seen, "leak 2 1");
            assert!(!ports.contains(&server.port));
        }
    }
}
