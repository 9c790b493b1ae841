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
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use kit::office::Office;
use kit::smtp::Client;

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
if os.environ['TCPREMOTEIP'] != '127.0.0.1': sys.exit(111)
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
        Submission::under("tcpserver", name, options, &[("INTRANET", "")])
    }

    /// With a TLS server: from the first byte, or with `-n` when the client asks for it.
    fn with_tls(name: &str, options: &[&str]) -> Submission {
        let env = [
            ("CERTFILE", "control/cert.pem"),
            ("KEYFILE", "control/key.pem"),
            ("SMTPAUTH", "!+cram"),
            ("AUTHTLS", "1"),
        ];
        let options = [&["-e"], options].concat();
        Submission::under("sslserver", name, &options, &env)
    }

    fn under(server: &str, name: &str, options: &[&str], env: &[(&str, &str)]) -> Submission {
        let mut office = Office::new(name);
        fs::create_dir_all(office.home.join("run/queue")).unwrap();
        kit::copy_executable(
            kit::program("qmail-queued"),
            office.home.join("bin/qmail-queued"),
        );
        if server == "sslserver" {
            let program = kit::program("sslserver");
            kit::copy_executable(program, office.home.join("bin/sslserver"));
            make_certificate(&office.home.join("control"));
        }
        kit::executable(office.home.join("bin/checker"), CHECKER);
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
        office.start_server(server, options, env, &args);
        Submission {
            office,
            _service: service,
        }
    }

    fn certificate(&self) -> String {
        self.office
            .home
            .join("control/cert.pem")
            .display()
            .to_string()
    }

    fn port(&self) -> String {
        self.office.smtp().port().to_string()
    }

    fn queued(&self) -> usize {
        self.office.home.queue("todo").len()
    }
}

/// A certificate for host.test and localhost that its own clients trust.
fn make_certificate(place: &Path) {
    let made = Command::new("/usr/bin/openssl")
        .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
        .args([
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-subj",
            "/CN=host.test",
        ])
        .args(["-addext", "subjectAltName=DNS:host.test,DNS:localhost"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(place)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", told(&made));
}

/// Whether a client is there; a test that finds none says so.
fn has(client: &str) -> bool {
    let found = Path::new("/usr/bin").join(client).exists();
    if !found {
        eprintln!("SKIPPED (no {client})");
    }
    found
}

/// swaks needs a library of Perl for TLS.
fn swaks_has_tls() -> bool {
    let found = run("perl", &["-MNet::SSLeay", "-e", "1"]).status.success();
    if !found {
        eprintln!("SKIPPED (no Net::SSLeay for swaks)");
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

const SMTPLIB_TLS: &str = r"
import smtplib, ssl, sys
port, how, trust = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.create_default_context(cafile=trust)
if how == 'starttls':
    client = smtplib.SMTP('localhost', port, timeout=20)
    client.ehlo('me.test')
    assert not client.has_extn('auth'), 'AUTH in clear'
    code = client.docmd('AUTH', 'PLAIN AGFsaWNlAHNlY3JldA==')[0]
    assert code == 538, code
    client.starttls(context=context)
else:
    client = smtplib.SMTP_SSL('localhost', port, timeout=20, context=context)
client.ehlo('me.test')
assert client.has_extn('auth') and not client.has_extn('starttls')
assert client.mail('alice@host.test')[0] == 530
client.rset()
client.login('alice', 'secret')
client.sendmail('alice@host.test', ['x@out.example'], b'Subject: x\r\n\r\nbody\r\n')
client.quit()
";

#[test]
fn clients_of_others_log_in_under_tls() {
    if !has("openssl") {
        return;
    }
    for how in ["starttls", "smtps"] {
        let starttls = how == "starttls";
        let options: &[&str] = if starttls { &["-n"] } else { &[] };
        let place = Submission::with_tls("submission-tls", options);
        let (port, trust) = (place.port(), place.certificate());
        let mut sent = 0;
        if has("python3") {
            let output = run("python3", &["-c", SMTPLIB_TLS, &port, how, &trust]);
            assert!(output.status.success(), "{how} {}", told(&output));
            sent += 1;
        }
        if has("swaks") && swaks_has_tls() {
            let tls = if starttls {
                "--tls"
            } else {
                "--tls-on-connect"
            };
            let server = format!("127.0.0.1:{port}");
            let output = run(
                "swaks",
                &[
                    "--server",
                    &server,
                    tls,
                    "--from",
                    "alice@host.test",
                    "--to",
                    "x@out.example",
                    "--auth",
                    "PLAIN",
                    "--auth-user",
                    "alice",
                    "--auth-password",
                    "secret",
                    "--timeout",
                    "20",
                ],
            );
            assert!(output.status.success(), "{how} {}", told(&output));
            sent += 1;
        }
        if has("curl") {
            let scheme = if starttls { "smtp" } else { "smtps" };
            let url = format!("{scheme}://host.test:{port}/me.test");
            let at = format!("host.test:{port}:127.0.0.1");
            let output = run(
                "curl",
                &[
                    "-sS",
                    "--max-time",
                    "20",
                    "--ssl-reqd",
                    "--cacert",
                    &trust,
                    "--resolve",
                    &at,
                    "--url",
                    &url,
                    "--mail-from",
                    "alice@host.test",
                    "--mail-rcpt",
                    "x@out.example",
                    "--user",
                    "alice:secret",
                    "--upload-file",
                    "-",
                ],
            );
            assert!(output.status.success(), "{how} {}", told(&output));
            sent += 1;
        }
        if has("msmtp") {
            for mechanism in ["plain", "scram-sha-256"] {
                let output = run(
                    "msmtp",
                    &[
                        "--host=localhost",
                        &format!("--port={port}"),
                        "--tls=on",
                        if starttls {
                            "--tls-starttls=on"
                        } else {
                            "--tls-starttls=off"
                        },
                        &format!("--tls-trust-file={trust}"),
                        "--timeout=20",
                        &format!("--auth={mechanism}"),
                        "--user=alice",
                        "--passwordeval=echo secret",
                        "--from=alice@host.test",
                        "x@out.example",
                    ],
                );
                assert!(
                    output.status.success(),
                    "{how} {mechanism} {}",
                    told(&output)
                );
                sent += 1;
            }
        }
        let log = place.office.log("log-smtpd");
        assert_eq!(place.queued(), sent, "{log}");
        assert_eq!(
            log.matches(" tls=TLSv1.3 auth=alice login=alice ").count(),
            sent,
            "{log}"
        );
        for id in place.office.home.queue("mess") {
            let text = fs::read(place.office.home.join("queue/mess").join(id)).unwrap();
            let text = String::from_utf8(text).unwrap();
            let with = " (alice@127.0.0.1)\n  by host.test with ESMTPSA (TLSv1.3 TLS_";
            assert!(text.contains(with), "{text}");
        }
    }
}

/// CVE-2011-0411, with a real TLS server: what comes behind STARTTLS in one segment is neither obeyed in clear nor under
/// TLS.
#[test]
fn nothing_is_injected_before_tls() {
    if !has("openssl") {
        return;
    }
    let place = Submission::with_tls("submission-inject", &["-n"]);
    let mut client = Client::connect(place.office.smtp());
    assert_eq!(client.say("EHLO x").code, 250);
    assert!(client.send(b"STARTTLS\r\nEHLO evil\r\nMAIL FROM:<e@b.test>\r\n"));
    assert_eq!(client.reply().code, 421);
    // Over s_client: the answer to the command that is sent first under TLS comes first.
    let port = place.port();
    let mut child = Command::new("/usr/bin/openssl")
        .args(["s_client", "-quiet", "-starttls", "smtp", "-connect"])
        .arg(format!("127.0.0.1:{port}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let words = b"MAIL FROM:<a@b.test>\r\nEHLO me\r\nSTARTTLS\r\nQUIT\r\n";
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), words).unwrap();
    let output = child.wait_with_output().unwrap();
    let codes: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|l| l.as_bytes().get(3) == Some(&b' '))
        .filter_map(|l| l.get(..3).map(str::to_owned))
        .collect();
    // s_client shows the end of the plain EHLO first.
    assert!(
        codes.ends_with(&["503", "250", "503", "221"].map(str::to_owned)),
        "{codes:?}"
    );
}

/// Ends a TLS session after each byte of a message, in each way that there is.
const CUTTER: &str = r"
import os, socket, ssl, struct, sys
port, trust = int(sys.argv[1]), sys.argv[2]
context = ssl.create_default_context(cafile=trust)
def reply(file):
    while True:
        line = file.readline()
        if line[3:4] != b'-': return line[:3]
text = b'Subject: x\r\n\r\nbody\r\n.\r'
for way in ('notify', 'cut', 'reset', 'plain'):
    for at in range(len(text) + 1):
        plain = socket.create_connection(('localhost', port), 20)
        tls = context.wrap_socket(plain, server_hostname='localhost')
        file = tls.makefile('rb')
        reply(file)
        for word in (b'EHLO x', b'AUTH PLAIN AGFsaWNlAHNlY3JldA==', b'MAIL FROM:<a@b.test>',
                     b'RCPT TO:<x@out.example>', b'DATA'):
            tls.sendall(word + b'\r\n')
            code = reply(file)
        assert code == b'354', code
        tls.sendall(text[:at])
        if way == 'notify':
            tls.settimeout(20)
            try: tls.unwrap()
            except (ssl.SSLError, OSError): pass
        if way == 'plain':
            os.write(tls.fileno(), b'\r\n.\r\nQUIT\r\n')
        if way == 'reset':
            tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        file.close()
        tls.close()
print(4 * (len(text) + 1))
";

/// CVE-2026-45185 and its kind.
#[test]
fn tls_that_ends_in_the_middle_of_a_message_leaves_nothing() {
    if !has("openssl") || !has("python3") {
        return;
    }
    let place = Submission::with_tls("submission-cut", &[]);
    let output = run(
        "python3",
        &["-c", CUTTER, &place.port(), &place.certificate()],
    );
    assert!(output.status.success(), "{}", told(&output));
    let count: usize = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .unwrap();
    let lost = || {
        let log = place.office.log("log-smtpd");
        log.matches(" result=lost code=- status=- reason=disconnect ")
            .count()
            == count
    };
    kit::eventually("every session has ended", lost);
    assert_eq!(place.queued(), 0);
    assert!(place.office.home.queue("mess").is_empty());
}

/// Forty machines behind one address guess; who works there goes on working, and the log has a line for each guess.
#[test]
fn honest_users_beside_a_guesser_still_get_in() {
    // While they wait they hold their places: more of them than this has --per-address to be asked for.
    let place = Submission::new("submission-guess", &["-c", "100"]);
    let tables = place.office.home.join(auth::throttle::PATH);
    auth::throttle::Throttle::create(&tables, 0o600).unwrap();
    place.office.give();
    let address = place.office.smtp();
    let log_in = |name: &str, password: &str| {
        let mut client = Client::connect(address);
        let word = auth::encoding::encode(format!("\0{name}\0{password}").as_bytes());
        let line = format!("AUTH PLAIN {}\r\n", String::from_utf8(word).unwrap());
        assert!(client.send(line.as_bytes()));
        client
    };
    assert_eq!(log_in("alice", "secret").reply().code, 235);
    // They do not wait for their refusals.
    let guessers: Vec<Client> = (0..40)
        .map(|n| log_in(&format!("user{n}"), "guess"))
        .collect();
    let counted = || {
        let tables = auth::throttle::Throttle::open(&tables);
        let before = tables.before(address.ip(), b"bob");
        matches!(before, auth::throttle::Before::Refuse(_))
    };
    kit::eventually("the guesses are counted", counted);
    let begun = Instant::now();
    assert_eq!(log_in("alice", "secret").reply().code, 235);
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "{:?}",
        begun.elapsed()
    );
    drop(guessers);
    // A refusal is as late as all others, and its line comes with it.
    assert_eq!(log_in("bob", "guess").reply().code, 535);
    let log = place.office.log("log-smtpd");
    let line = log.lines().find(|l| l.contains(" login=bob ")).unwrap();
    assert!(line.contains(" ip=127.0.0.1 ") && line.contains(" reason=guessing netfails="));
    kit::eventually("each guess has its line", || {
        let log = place.office.log("log-smtpd");
        (0..40).all(|n| log.contains(&format!(" login=user{n} method=plain result=refused ")))
    });
    assert!(!place.office.log("log-smtpd").contains("=guess "));
}

/// The submission service of the paper: a second tree of links, whose rcpthosts lets nobody write, and mail passwords
/// that users keep themselves.
#[test]
fn the_second_tree_of_the_paper_works_as_written() {
    use std::os::unix::fs::symlink;

    let mut office = Office::new("submission-paper");
    for program in ["cmd5apoppw", "apoppasswd"] {
        kit::copy_executable(kit::program(program), office.home.join("bin").join(program));
    }
    let tree = office.home.join("auth");
    fs::create_dir_all(tree.join("control")).unwrap();
    for link in ["alias", "queue", "users"] {
        symlink(office.home.join(link), tree.join(link)).unwrap();
    }
    fs::create_dir_all(tree.join("bin")).unwrap();
    for entry in fs::read_dir(office.home.join("bin")).unwrap() {
        let entry = entry.unwrap();
        symlink(entry.path(), tree.join("bin").join(entry.file_name())).unwrap();
    }
    for entry in fs::read_dir(office.home.join("control")).unwrap() {
        let entry = entry.unwrap();
        symlink(entry.path(), tree.join("control").join(entry.file_name())).unwrap();
    }
    let _ = fs::remove_file(tree.join("control/rcpthosts"));
    fs::write(tree.join("control/rcpthosts"), "no.such.host.invalid\n").unwrap();
    office.give();
    let set = office
        .run("apoppasswd")
        .args(["-a"])
        .env("HOME", office.home.join("alice").to_str().unwrap())
        .dir(office.home.join("alice"))
        .stdin("secret\nsecret\n")
        .output();
    assert_eq!(set.code(), 0, "{}", set.err_text());
    let home = tree.to_str().unwrap();
    let env = [("QMAILHOME", home), ("INTRANET", "")];
    let args = ["mail.host.test", "cmd5apoppw", "/bin/true"];
    office.start_server("tcpserver", &[], &env, &args);
    let mut client = Client::connect(office.smtp());
    assert_eq!(client.say("MAIL FROM:<a@b.test>").code, 250);
    assert_eq!(client.say("RCPT TO:<alice@host.test>").code, 553);
    assert_eq!(client.say("RSET").code, 250);
    // As the paper's users do it: the challenge, and what only who knows the password can say to it.
    let challenge = client.say("AUTH CRAM-MD5");
    assert_eq!(challenge.code, 334);
    let stamp = auth::encoding::decode(challenge.lines[0].trim().as_bytes()).unwrap();
    assert!(stamp.ends_with(b"@mail.host.test>"));
    let digest = auth::sasl::cram_digest(b"secret", &stamp);
    let answer = auth::encoding::encode(&[b"alice ", digest.as_slice()].concat());
    let code = client.say(std::str::from_utf8(&answer).unwrap()).code;
    assert_eq!(code, 235, "{}", office.log("log-smtpd"));
    let sent = client.mail("alice@host.test", &["x@out.example"], b"Subject: x\n\ny\n");
    assert_eq!(sent, 250);
    assert_eq!(office.home.queue("todo").len(), 1);
    let mut client = Client::connect(office.smtp());
    let wrong = auth::encoding::encode(b"\0alice\0wrong");
    let line = format!("AUTH PLAIN {}", std::str::from_utf8(&wrong).unwrap());
    assert_eq!(client.say(&line).code, 535);
}
