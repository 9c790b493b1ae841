//! Clients that mean no good, or are cut off.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::server::{Server, children, rest, scratch};

#[test]
fn plain_text_gets_no_program() {
    let scratch = scratch("text");
    let server = Server::start(&scratch, &[], &["sh", "-c", "echo >>ran; echo hi"]);
    for words in [
        &b"EHLO x\r\n"[..],
        b"GET / HTTP/1.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nMAIL FROM",
        b"SSH-2.0-x\r\n",
        b"\x16\x03\x01\xff\xff",
        &[0; 4096],
    ] {
        let mut stream = server.connect();
        stream.write_all(words).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let got = rest(stream);
        assert!(!got.windows(2).any(|w| w == b"hi"), "{got:?}");
    }
    kit::eventually("one line each", || {
        server.log().matches("unable to accept SSL").count() == 6
    });
    assert!(!scratch.join("ran").exists());
}

#[test]
fn a_slow_handshake_ends() {
    let scratch = scratch("slow");
    let server = Server::start(&scratch, &["-T1"], &["echo", "hi"]);
    let begin = Instant::now();
    let mut drip = server.connect();
    drip.write_all(b"\x16\x03\x01\x02\x00\x01").unwrap();
    assert_eq!(rest(server.connect()), b"");
    assert!(begin.elapsed() >= Duration::from_secs(1));
    rest(drip);
    server.logged("unable to accept SSL from 127.0.0.1: timed out");
    server.logged("status: 0/40\n");
}

#[test]
fn a_long_handshake_ends() {
    let scratch = scratch("long");
    let server = Server::start(&scratch, &[], &["echo", "hi"]);
    let got = server.python(
        "
s = plain()
record = b'\\x16\\x03\\x01\\x40\\x00' + b'\\x01\\x00\\xff\\xff' + b'x' * (0x4000 - 4)
try:
    for n in range(1000): s.sendall(record)
    print('all')
except OSError: print('stopped')
",
    );
    assert_eq!(got, "stopped\n");
    server.logged("unable to accept SSL");
}

#[test]
fn silence_ends_after_its_time() {
    let scratch = scratch("silence");
    let server = Server::start(&scratch, &["-w1"], &["sh", "-c", "cat; echo over >over"]);
    let got = server.python("s = tls(); print(rest(s))");
    assert_eq!(got, "b''\n");
    server.logged("end: timed out");
    kit::eventually("the program reads the end", || {
        scratch.join("over").exists()
    });
}

#[test]
fn a_connection_that_is_cut_is_an_end_and_is_told() {
    let scratch = scratch("cut");
    let server = Server::start(
        &scratch,
        &[],
        &["sh", "-c", "echo hi; cat >got; echo over >over"],
    );
    // Whoever is greeted knows that the handshake is over on the other side, too.
    server.python(
        "
s = tls()
s.recv(10)
s.sendall(b'half of a mess')
raw = socket.socket(fileno=s.detach())
raw.shutdown(socket.SHUT_WR)
raw.setblocking(True)
rest(raw)
",
    );
    server.logged("end: the client hung up without a word");
    kit::eventually("the program reads the end", || {
        scratch.join("over").exists()
    });
    assert_eq!(scratch.read("got"), b"half of a mess");
}

#[test]
fn bytes_that_are_no_record_end_the_session() {
    let scratch = scratch("garbage");
    let server = Server::start(
        &scratch,
        &[],
        &["sh", "-c", "echo hi; cat >got; echo over >over"],
    );
    // Whoever is greeted knows that the handshake is over on the other side, too.
    server.python(
        "
s = tls()
s.recv(10)
s.sendall(b'half of a mess')
raw = socket.socket(fileno=s.detach())
raw.setblocking(True)
raw.sendall(b'MAIL FROM:<in@the.clear>\\r\\n.\\r\\n' * 1000)
print(len(rest(raw)) >= 0)
",
    );
    server.logged(" end: ");
    kit::eventually("the program reads the end", || {
        scratch.join("over").exists()
    });
    let got = scratch.read("got");
    assert!(b"half of a mess".starts_with(&got), "{got:?}");
}

#[test]
fn damaged_handshakes_end_and_nothing_else_does() {
    let scratch = scratch("damaged");
    let options = ["-c400", "-T5", "--processes=1"];
    let server = Server::start(
        &scratch,
        &options,
        &["sh", "-c", "echo hi; read x; echo $x"],
    );
    let keeper = children(server.daemon.pid())[0].0;
    let workers = children(keeper);
    // A session goes on all the while. Each client damages one byte of what it sends, or cuts it off.
    let got = server.python(
        "
import random
random.seed(7)
witness = tls()
witness.recv(10)
whole = 0
for n in range(150):
    old = n % 3 == 0
    mine = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    mine.check_hostname = False
    mine.verify_mode = ssl.CERT_NONE
    if old: mine.maximum_version = ssl.TLSVersion.TLSv1_2
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = mine.wrap_bio(back, there, server_hostname='mail.test')
    raw = plain()
    raw.settimeout(20)
    turn, victim = 0, random.choice([0, 0, 1, 1, 2])
    try:
        while True:
            try:
                if turn < 4: client.do_handshake()
                client.write(b'x')
                turn = 4
            except ssl.SSLWantReadError: pass
            out = bytearray(there.read())
            if out:
                if turn == victim:
                    if random.random() < 0.2:
                        del out[random.randrange(len(out)):]
                        raw.sendall(out)
                        raw.shutdown(socket.SHUT_WR)
                        out = b''
                    else: out[random.randrange(len(out))] ^= 1 << random.randrange(8)
                raw.sendall(out)
                turn += 1
            if turn > 4: break
            more = raw.recv(65536)
            if not more: break
            back.write(more)
    except (OSError, ssl.SSLError): pass
    raw.close()
witness.send(b'alive\\n')
print(rest(witness))
",
    );
    assert_eq!(got, "b'alive\\n'\n", "{}", server.log());
    assert_eq!(children(keeper), workers, "no worker has died");
    let log = server.log();
    assert!(!log.contains("has died"), "{log}");
    assert!(log.matches("unable to accept SSL").count() > 50, "{log}");
}
