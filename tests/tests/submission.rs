//! Submission: clients of others log in, on a service with a queue service and all promises.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use kit::office::Office;

/// A checker that is not ours: alice has the password `secret`, in clear, so that it can do every mechanism.
const CHECKER: &str = r"#!/usr/bin/env python3
import base64, hashlib, hmac, os, socket, sys
SECRET = b'secret'
def h(key, text):
    return hmac.new(key, text, 'sha256').digest()
def scram(sock):
    salt, rounds = b'0123456789abcdef', 4096
    salted = hashlib.pbkdf2_hmac('sha256', SECRET, salt, rounds)
    client = h(salted, b'Client Key')
    stored = hashlib.sha256(client).digest()
    sock.sendall(base64.b64encode(salt) + b'\0' + str(rounds).encode() + b'\0')
    got = b''
    while got.count(b'\0') < 2:
        piece = sock.recv(4096)
        if not piece: sys.exit(1)
        got += piece
    message, proof = got.split(b'\0')[:2]
    signature = h(stored, message)
    proof = base64.b64decode(proof)
    if bytes(a ^ b for a, b in zip(proof, signature)) != client: sys.exit(1)
    sock.sendall(base64.b64encode(h(h(salted, b'Server Key'), message)) + b'\0')
    if sock.recv(1) != b'+': sys.exit(1)
got = b''
while True:
    piece = os.read(3, 512)
    got += piece
    if not piece or got.endswith(b'SCRAM-SHA-256\0'): break
parts = got.split(b'\0')
if len(parts) < 3 or parts[0] != b'alice': sys.exit(1)
if parts[2] == b'SCRAM-SHA-256':
    scram(socket.socket(fileno=3))
elif parts[1] != SECRET:
    challenge = [p for p in parts if p.startswith(b'<')]
    if not challenge: sys.exit(1)
    if hmac.new(SECRET, challenge[0], 'md5').hexdigest().encode() not in parts: sys.exit(1)
os.execvp(sys.argv[1], sys.argv[1:])
";

/// An office whose qmail-smtpd has accounts, with the queue service.
struct Submission {
    office: Office,
    _service: kit::Daemon,
}

impl Submission {
    fn new(name: &str, options: &[&str]) -> Submission {
        let mut office = Office::new(name);
        fs::create_dir_all(office.home.join("run/queue")).unwrap();
        fs::copy(
            kit::program("qmail-queued"),
            office.home.join("bin/qmail-queued"),
        )
        .unwrap();
        let checker = office.home.write("bin/checker", CHECKER);
        fs::set_permissions(&checker, fs::Permissions::from_mode(0o755)).unwrap();
        office.home.control("checkerknows", "SCRAM-SHA-256\n");
        // Nobody may write here without an account, as in the second tree of the paper.
        office.home.control("rcpthosts", "nobody.invalid\n");
        if !options.is_empty() {
            // All walls stand then.
            office.home.control("checkrecipients", "0\n");
        }
        office.give();
        let log = office.home.join("log-queued");
        let service = office.run("qmail-queued").start(log);
        let socket = office.home.join("run/queue/socket");
        kit::eventually("the queue service answers", || {
            UnixStream::connect(&socket).is_ok()
        });
        let args = ["mail.host.test", "checker", "/bin/true"];
        office.start_server("tcpserver", options, &[("INTRANET", "")], &args);
        Submission {
            office,
            _service: service,
        }
    }

    fn port(&self) -> String {
        self.office.smtp().port().to_string()
    }

    fn queued(&self) -> usize {
        self.office.home.queue("todo").len()
    }
}

/// Whether a client is there; a test that finds none says so.
fn has(client: &str) -> bool {
    let found = Path::new("/usr/bin").join(client).exists();
    if !found {
        eprintln!("SKIPPED (no {client})");
    }
    found
}

/// Runs a client of somebody else, with a message as its input.
fn run(program: &str, args: &[&str]) -> Output {
    let mut child = Command::new(Path::new("/usr/bin").join(program))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let text = b"From: alice@host.test\r\nSubject: x\r\n\r\nbody\r\n";
    // A client that fails early does not read it.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), text);
    child.wait_with_output().unwrap()
}

fn told(output: &Output) -> String {
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

const SMTPLIB: &str = r"
import smtplib, sys
port, mechanism, password = int(sys.argv[1]), sys.argv[2], sys.argv[3]
client = smtplib.SMTP('127.0.0.1', port, timeout=20)
client.ehlo('me.test')
client.user, client.password = 'alice', password
client.auth(mechanism, getattr(client, 'auth_' + mechanism.lower().replace('-', '_')))
client.sendmail('alice@host.test', ['x@out.example'], b'Subject: x\r\n\r\nbody\r\n')
client.quit()
";

#[test]
fn clients_of_others_log_in_and_send() {
    for options in [&[][..], &["--fork-server"]] {
        let place = Submission::new("submission-clients", options);
        let port = place.port();
        let mut sent = 0;
        if has("python3") {
            for mechanism in ["PLAIN", "LOGIN", "CRAM-MD5"] {
                let output = run("python3", &["-c", SMTPLIB, &port, mechanism, "secret"]);
                assert!(output.status.success(), "{mechanism} {}", told(&output));
                sent += 1;
                let output = run("python3", &["-c", SMTPLIB, &port, mechanism, "wrong"]);
                assert!(!output.status.success() && told(&output).contains("535"));
            }
        }
        if options.is_empty() && has("swaks") {
            for mechanism in ["PLAIN", "LOGIN", "CRAM-MD5"] {
                let server = format!("127.0.0.1:{port}");
                let base = [
                    "--server",
                    &server,
                    "--from",
                    "alice@host.test",
                    "--to",
                    "x@out.example",
                    "--auth",
                    mechanism,
                    "--auth-user",
                    "alice",
                    "--timeout",
                    "20",
                    "--auth-password",
                ];
                let output = run("swaks", &[&base[..], &["secret"]].concat());
                assert!(output.status.success(), "{mechanism} {}", told(&output));
                sent += 1;
                let output = run("swaks", &[&base[..], &["wrong"]].concat());
                assert!(!output.status.success(), "{mechanism} {}", told(&output));
            }
        }
        if options.is_empty() && has("curl") {
            for mechanism in ["PLAIN", "LOGIN", "CRAM-MD5"] {
                let server = format!("smtp://127.0.0.1:{port}/me.test");
                let option = format!("AUTH={mechanism}");
                let output = run(
                    "curl",
                    &[
                        "-sS",
                        "--max-time",
                        "20",
                        "--url",
                        &server,
                        "--mail-from",
                        "alice@host.test",
                        "--mail-rcpt",
                        "x@out.example",
                        "--login-options",
                        &option,
                        "--user",
                        "alice:secret",
                        "--upload-file",
                        "-",
                    ],
                );
                assert!(output.status.success(), "{mechanism} {}", told(&output));
                sent += 1;
            }
        }
        if has("msmtp") {
            for mechanism in ["plain", "login", "cram-md5", "scram-sha-256"] {
                let base = [
                    "--host=127.0.0.1",
                    &format!("--port={port}"),
                    "--tls=off",
                    "--timeout=20",
                    &format!("--auth={mechanism}"),
                    "--user=alice",
                    "--from=alice@host.test",
                ];
                let good = [&base[..], &["--passwordeval=echo secret", "x@out.example"]].concat();
                let output = run("msmtp", &good);
                assert!(output.status.success(), "{mechanism} {}", told(&output));
                sent += 1;
                let bad = [&base[..], &["--passwordeval=echo wrong", "x@out.example"]].concat();
                assert!(!run("msmtp", &bad).status.success(), "{mechanism}");
            }
        }
        assert_eq!(place.queued(), sent);
        let log = place.office.log("log-smtpd");
        assert_eq!(log.matches(" code=235 ").count(), sent, "{log}");
        assert!(!log.contains("warning") && !log.contains("secret"), "{log}");
        for id in place.office.home.queue("mess") {
            let text = fs::read(place.office.home.join("queue/mess").join(id)).unwrap();
            let text = String::from_utf8(text).unwrap();
            assert!(
                text.contains(" (alice@127.0.0.1)\n  by host.test with ESMTPA; "),
                "{text}"
            );
        }
    }
}
