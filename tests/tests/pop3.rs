//! POP3 as it is used: a TCP or TLS server, qmail-popup, a checker and qmail-pop3d, and clients of others.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use kit::{Daemon, Home, LIMIT};

/// An account that every system has, so that root can become it.
const NAME: &str = "daemon";
const DAEMON: u32 = 1;

/// A home with a maildir of three messages, and a server in front of it.
struct Pop {
    home: Home,
    server: Option<Daemon>,
    port: u16,
}

impl Pop {
    fn new(name: &str) -> Pop {
        let home = Home::new(name);
        for part in ["Maildir/tmp", "Maildir/new", "Maildir/cur"] {
            fs::create_dir_all(home.join(part)).unwrap();
        }
        for n in 1..=3 {
            let text = format!("Subject: {n}\nFrom: a@b.test\n\nmessage {n}\n.dot\n");
            let size = text.len();
            home.write(&format!("Maildir/new/100000000{n}.x.h,S={size}"), text);
        }
        let file = home.write("poppasswd", format!("{NAME}:secret\n"));
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
        // The checker enters the home of the account, where there is no mail here.
        let serve = format!("cd '{}' && exec qmail-pop3d Maildir", home.path().display());
        home.script("own/serve", &serve);
        make_certificate(&home.join("control"));
        if sys::ids::euid() == 0 {
            give(&home.join("Maildir"));
        }
        Pop {
            home,
            server: None,
            port: 0,
        }
    }

    /// `server` on a free port of 127.0.0.1.
    fn start(&mut self, server: &str, options: &[&str], env: &[(&str, &str)]) {
        self.start_chain(server, options, env, &["cmd5checkpw", "serve"]);
    }

    fn start_chain(
        &mut self,
        server: &str,
        options: &[&str],
        env: &[(&str, &str)],
        chain: &[&str],
    ) {
        self.server = None;
        let log = self.home.join("log");
        let _ = fs::remove_file(&log);
        let poppasswd = self.home.join("poppasswd");
        let run = kit::Run::new(kit::program(server))
            .env("QMAILHOME", self.home.path().to_str().unwrap())
            .env("PATH", &self.path())
            .env("POPPASSWD", poppasswd.to_str().unwrap())
            .env("CHECKERKNOWS", "SCRAM-SHA-256")
            .env("POP3AUTH", "+cram")
            .env("POP3LOG", "1")
            .env("CERTFILE", "control/cert.pem")
            .env("KEYFILE", "control/key.pem")
            .dir(self.home.path());
        let run = env.iter().fold(run, |run, (n, v)| run.env(n, v));
        let server = run
            .args(["-1RHl", "host.test"])
            .args(options)
            .args(["127.0.0.1", "0", "qmail-popup", "host.test"])
            .args(chain)
            .own_group()
            .start(&log);
        self.server = Some(server);
        let port = kit::until(LIMIT, || {
            let text = fs::read_to_string(&log).ok()?;
            text.lines().find_map(|l| l.trim().parse::<u16>().ok())
        });
        self.port = port.unwrap_or_else(|| panic!("no port: {}", self.log()));
    }

    fn path(&self) -> String {
        let own = self.home.join("own").display().to_string();
        let built = kit::bin_dir().display().to_string();
        format!("{own}:{built}:/usr/bin:/bin")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.join("log")).unwrap_or_default()
    }

    fn port(&self) -> String {
        self.port.to_string()
    }

    fn certificate(&self) -> String {
        self.home.join("control/cert.pem").display().to_string()
    }

    fn connect(&self) -> (TcpStream, BufReader<TcpStream>) {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        (stream, reader)
    }

    /// Messages that are left.
    fn left(&self) -> usize {
        ["new", "cur"]
            .iter()
            .map(|d| {
                fs::read_dir(self.home.join("Maildir").join(d))
                    .unwrap()
                    .count()
            })
            .sum()
    }
}

impl Drop for Pop {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            server.kill_group();
        }
    }
}

fn give(path: &Path) {
    chown(path, Some(DAEMON), Some(DAEMON)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path());
        }
    }
}

/// A certificate for localhost that its own clients trust.
fn make_certificate(place: &Path) {
    let made = Command::new("/usr/bin/openssl")
        .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
        .args(["-pkeyopt", "ec_paramgen_curve:P-256"])
        .args(["-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost"])
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

fn run(program: &str, arguments: &[&str], home: &Path) -> Output {
    Command::new(Path::new("/usr/bin").join(program))
        .args(arguments)
        .env("HOME", home)
        .current_dir(home)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn told(output: &Output) -> String {
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

const POPLIB: &str = r"
import poplib, ssl, sys
port, how, cafile = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.create_default_context(cafile=cafile)
if how == 'implicit':
    client = poplib.POP3_SSL('localhost', port, context=context, timeout=30)
else:
    client = poplib.POP3('localhost', port, timeout=30)
before = client.capa()
if how == 'stls':
    client.stls(context)
    assert 'STLS' in before and 'STLS' not in client.capa(), before
if how == 'apop':
    client.apop('daemon', 'secret')
else:
    client.user('daemon')
    client.pass_('secret')
assert client.stat()[0] == 3
assert [l.split()[0] for l in client.list()[1]] == [b'1', b'2', b'3']
assert client.uidl(2).startswith(b'+OK 2 1000000002.x.h,S='), client.uidl(2)
assert client.top(1, 0)[1][0] == b'Subject: 1'
# poplib takes one dot away from each line that has two.
assert client.retr(3)[1][3:5] == [b'message 3', b'.dot'], client.retr(3)
assert client.utf8() if hasattr(client, 'utf8') and 'UTF8' in client.capa() else True
client.dele(3)
client.rset()
client.quit()
";

#[test]
fn python_in_clear_with_stls_and_under_tls() {
    if !has("python3") {
        return;
    }
    let mut pop = Pop::new("pop3-poplib");
    for (server, options, ways) in [
        ("tcpserver", &[][..], &["clear", "apop"][..]),
        ("sslserver", &["-e", "-n"], &["clear", "apop", "stls"]),
        ("sslserver", &["-e"], &["implicit"]),
    ] {
        pop.start(server, options, &[]);
        for way in ways {
            let arguments = ["-c", POPLIB, &pop.port(), way, &pop.certificate()];
            let output = run("python3", &arguments, pop.home.path());
            assert!(
                output.status.success(),
                "{way}: {} {}",
                told(&output),
                pop.log()
            );
        }
    }
    kit::eventually("the log tells of it", || {
        pop.log().contains("tls=1 result=accepted")
    });
}

/// SCRAM from the RFC, and what it does when the proof is wrong or it gives up.
const SCRAM: &str = r"
import base64, hashlib, hmac, socket, sys
port, password, how = int(sys.argv[1]), sys.argv[2].encode(), sys.argv[3]
sock = socket.create_connection(('localhost', port), 30)
file = sock.makefile('rwb')
def say(line):
    file.write(line + b'\r\n'); file.flush()
    return file.readline()
def h(key, text):
    return hmac.new(key, text, 'sha256').digest()
def challenge(line):
    assert line.startswith(b'+ '), line
    return base64.b64decode(line[2:])
file.readline()
bare = b'n=daemon,r=clientnonce'
if how == 'cancel':
    challenge(say(b'AUTH SCRAM-SHA-256 ' + base64.b64encode(b'n,,' + bare)))
    assert say(b'*') == b'-ERR cancelled\r\n'
first = challenge(say(b'AUTH SCRAM-SHA-256 ' + base64.b64encode(b'n,,' + bare)))
fields = dict(f.split(b'=', 1) for f in first.split(b','))
salted = hashlib.pbkdf2_hmac('sha256', password, base64.b64decode(fields[b's']), int(fields[b'i']))
client = h(salted, b'Client Key')
final = b'c=biws,r=' + fields[b'r']
message = bare + b',' + first + b',' + final
signature = h(hashlib.sha256(client).digest(), message)
proof = bytes(a ^ b for a, b in zip(client, signature))
answer = say(base64.b64encode(final + b',p=' + base64.b64encode(proof)))
if not answer.startswith(b'+ '):
    print(answer.decode(), end='')
    sys.exit(0)
assert challenge(answer) == b'v=' + base64.b64encode(h(h(salted, b'Server Key'), message)), answer
print(say(b'').decode(), end='')
print(say(b'STAT').decode(), end='')
print(say(b'QUIT').decode(), end='')
";

#[test]
fn scram_without_the_password_on_the_wire() {
    if !has("python3") {
        return;
    }
    let mut pop = Pop::new("pop3-scram");
    pop.start("tcpserver", &[], &[("POP3PLAIN", "0")]);
    for (password, how, want) in [
        ("secret", "go", "+OK \r\n+OK 3 "),
        ("secret", "cancel", "+OK \r\n+OK 3 "),
        ("wrong", "go", "-ERR [AUTH] authorization failed\r\n"),
    ] {
        let arguments = ["-c", SCRAM, &pop.port(), password, how];
        let output = run("python3", &arguments, pop.home.path());
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && said.starts_with(want),
            "{} {}",
            told(&output),
            pop.log()
        );
    }
    assert!(
        pop.log()
            .contains("method=SCRAM-SHA-256 tls=0 result=refused")
    );
}

#[test]
fn curl_with_every_mechanism() {
    if !has("curl") {
        return;
    }
    let mut pop = Pop::new("pop3-curl");
    let curl = |pop: &Pop, scheme: &str, more: &[&str], password: &str| {
        let url = format!("{scheme}://localhost:{}/2", pop.port);
        let user = format!("{NAME}:{password}");
        let certificate = pop.certificate();
        let fixed = [
            "-sS",
            "-m",
            "40",
            "--cacert",
            &certificate,
            "-u",
            &user,
            &url,
        ];
        run("curl", &[more, &fixed].concat(), pop.home.path())
    };
    pop.start("tcpserver", &[], &[]);
    for mechanism in ["PLAIN", "LOGIN", "CRAM-MD5", "+APOP"] {
        let option = format!("AUTH={mechanism}");
        let output = curl(&pop, "pop3", &["--login-options", &option], "secret");
        assert!(
            told(&output).contains("message 2\r\n.dot"),
            "{mechanism}: {}",
            told(&output)
        );
    }
    let output = curl(&pop, "pop3", &[], "wrong");
    assert!(!output.status.success() && !told(&output).contains("message"));
    kit::eventually("the log tells of it", || {
        pop.log().contains("result=refused")
    });

    pop.start("sslserver", &["-e", "-n"], &[("UCSPITLS", "!")]);
    let output = curl(&pop, "pop3", &["--ssl-reqd"], "secret");
    assert!(told(&output).contains("message 2"), "{}", told(&output));
    // Without TLS there is no way in.
    let output = curl(&pop, "pop3", &[], "secret");
    assert!(!output.status.success(), "{}", told(&output));

    pop.start("sslserver", &["-e"], &[("POP3PLAIN", "0")]);
    let output = curl(&pop, "pop3s", &[], "secret");
    assert!(told(&output).contains("message 2"), "{}", told(&output));
    assert_eq!(pop.left(), 3);
}

#[test]
fn fetchmail_and_getmail_take_everything_away() {
    let mut pop = Pop::new("pop3-fetch");
    pop.start("sslserver", &["-e", "-n"], &[("POP3PLAIN", "0")]);
    if has("fetchmail") {
        let rc = format!(
            "poll localhost protocol pop3 port {} timeout 30 username {NAME} password secret \
             sslproto \"TLS1.2+\" sslcertck sslcertfile {} keep mda \"cat >>got\"\n",
            pop.port,
            pop.certificate()
        );
        let file = pop.home.write("fetchmailrc", rc);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let file = file.to_str().unwrap().to_owned();
        let output = run(
            "fetchmail",
            &["-f", &file, "--nodetach", "-v"],
            pop.home.path(),
        );
        assert!(output.status.success(), "{}", told(&output));
        let got = fs::read_to_string(pop.home.join("got")).unwrap();
        assert_eq!(got.matches("message ").count(), 3, "{got}");
        kit::eventually("the log tells of it", || {
            pop.log().contains("tls=1 result=accepted")
        });
        assert_eq!(pop.left(), 3);
    }
    if has("getmail") {
        pop.start("sslserver", &["-e"], &[("POP3PLAIN", "0")]);
        let fetched = pop.home.join("fetched");
        for part in ["tmp", "new", "cur"] {
            fs::create_dir_all(fetched.join(part)).unwrap();
        }
        let rc = format!(
            "[retriever]\ntype = SimplePOP3SSLRetriever\nserver = localhost\nport = {}\nusername = {NAME}\n\
             password = secret\nca_certs = {}\n[destination]\ntype = Maildir\npath = {}/\nuser = {NAME}\n\
             [options]\ndelete = true\n",
            pop.port,
            pop.certificate(),
            fetched.display()
        );
        let rc = if sys::ids::euid() == 0 {
            give(&fetched);
            rc
        } else {
            rc.replace(&format!("user = {NAME}\n["), "[")
        };
        pop.home.write("getmail/getmailrc", rc);
        let place = pop.home.join("getmail");
        let place = place.to_str().unwrap();
        let fetch = || {
            let words = ["-g", place, "-r", "getmailrc"];
            run("getmail", &words, pop.home.path())
        };
        let mut output = fetch();
        let mut most = 3;
        // It gives its own child a few seconds; on a busy machine it must come again for the rest.
        while told(&output).contains("timed out") && most < 9 {
            most += 1;
            output = fetch();
        }
        assert!(output.status.success(), "{}", told(&output));
        let count = fs::read_dir(fetched.join("new")).unwrap().count();
        assert!((3..=most).contains(&count), "{count}");
        kit::eventually("the mailbox is empty", || pop.left() == 0);
    }
}

#[test]
fn openssl_begins_tls_and_words_in_clear_do_not_survive_it() {
    let mut pop = Pop::new("pop3-stls");
    pop.start("sslserver", &["-e", "-n"], &[]);
    let address = format!("localhost:{}", pop.port);
    let certificate = pop.certificate();
    let mut child = Command::new("/usr/bin/openssl")
        .args(["s_client", "-starttls", "pop3", "-connect", &address])
        .args([
            "-CAfile",
            &certificate,
            "-verify_return_error",
            "-crlf",
            "-quiet",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut to = child.stdin.take().unwrap();
    let mut from = BufReader::new(child.stdout.take().unwrap());
    let mut say = |line: &str| {
        to.write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        from.read_line(&mut answer).unwrap();
        answer
    };
    assert_eq!(say("PASS secret"), "-ERR USER first\r\n");
    assert_eq!(say(&format!("USER {NAME}")), "+OK \r\n");
    assert_eq!(say("PASS secret"), "+OK \r\n");
    assert!(say("STAT").starts_with("+OK 3 "));
    assert_eq!(say("QUIT"), "+OK \r\n");
    assert!(child.wait().unwrap().success());

    for more in ["NOOP\r\n", "USER nobody\r\nPASS secret\r\nSTAT\r\n", "x"] {
        let (mut stream, mut reader) = pop.connect();
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        stream
            .write_all(format!("USER nobody\r\nSTLS\r\n{more}").as_bytes())
            .unwrap();
        let mut rest = Vec::new();
        let _ = reader.read_to_end(&mut rest);
        let said = String::from_utf8_lossy(&rest);
        let clear = "+OK \r\n+OK begin TLS\r\n";
        // What may follow is an alert of TLS, and no reply.
        let behind = said.strip_prefix(clear).unwrap_or_else(|| panic!("{said}"));
        assert!(!behind.contains("OK") && !behind.contains("ERR"), "{said}");
    }
}

#[test]
fn a_pipelining_client_loses_nothing() {
    let mut pop = Pop::new("pop3-pipelining");
    pop.start("tcpserver", &[], &[]);
    let (mut stream, mut reader) = pop.connect();
    let lines =
        format!("USER {NAME}\r\nPASS secret\r\nSTAT\r\nDELE 1\r\nDELE 2\r\nRETR 3\r\nQUIT\r\n");
    stream.write_all(lines.as_bytes()).unwrap();
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    let replies: Vec<&str> = said.lines().skip(1).collect();
    assert_eq!(replies[..2], ["+OK ", "+OK "], "{said}");
    assert!(replies[2].starts_with("+OK 3 ") && said.ends_with("\r\n.\r\n+OK \r\n"));
    assert_eq!(pop.left(), 1, "{said}");
}

#[test]
fn an_unknown_name_and_a_wrong_password_are_told_alike() {
    let mut pop = Pop::new("pop3-oracle");
    pop.start("tcpserver", &[], &[]);
    let mut told = Vec::new();
    for name in [NAME, "nobodyatall", "root"] {
        let (mut stream, mut reader) = pop.connect();
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let begun = Instant::now();
        let lines = format!("USER {name}\r\nPASS wrong\r\n");
        stream.write_all(lines.as_bytes()).unwrap();
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        let time = begun.elapsed();
        assert!(time > Duration::from_millis(1990), "{time:?}");
        told.push(said);
    }
    assert_eq!(told[0], "+OK \r\n-ERR [AUTH] authorization failed\r\n");
    assert!(told.iter().all(|t| *t == told[0]), "{told:?}");
    kit::eventually("the log tells of them", || {
        pop.log().matches("result=refused").count() == 3
    });
    assert!(!pop.log().contains("wrong"));
}

#[test]
fn each_address_of_a_user_has_its_password_and_its_maildir() {
    let test = "each_address_of_a_user_has_its_password_and_its_maildir";
    if !kit::is_root(test) {
        return;
    }
    let mut pop = Pop::new("pop3-apop");
    let home = &pop.home;
    home.control("me", "host.test\n");
    home.control("locals", "host.test\n");
    let user = home.join("user").display().to_string();
    let assign = format!(
        "=alice:{NAME}:{DAEMON}:{DAEMON}:{user}:::\n+alice-:{NAME}:{DAEMON}:{DAEMON}:{user}:-::\n.\n"
    );
    home.write("users/assign", assign);
    let made = home.run("qmail-newu").output();
    assert_eq!(made.code(), 0, "{}", made.err_text());
    for part in [
        "lists/tmp",
        "lists/new",
        "lists/cur",
        "Maildir/tmp",
        "Maildir/new",
        "Maildir/cur",
    ] {
        fs::create_dir_all(home.join("user").join(part)).unwrap();
    }
    home.write("user/lists/new/1000000001.x.h,S=12", "Subject: ll\n");
    home.write("user/.qmail-lists", "./lists/\n");
    for (file, text) in [(".apop", "{PLAIN}one\n"), (".apop-lists", "{PLAIN}two\n")] {
        let file = home.write(&format!("user/{file}"), text);
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    give(&home.join("user"));
    pop.start_chain("tcpserver", &[], &[], &["cmd5apoppw", "qmail-pop3d"]);
    let stat = |name: &str, password: &str| {
        let (mut stream, mut reader) = pop.connect();
        let lines = format!("USER {name}\r\nPASS {password}\r\nSTAT\r\n");
        stream.write_all(lines.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut said = String::new();
        let read = reader.read_to_string(&mut said);
        assert!(read.is_ok(), "{said} {}", pop.log());
        said.lines().last().unwrap_or_default().to_owned()
    };
    assert_eq!(stat("alice", "one"), "+OK 0 0", "{}", pop.log());
    assert_eq!(stat("alice-lists", "two"), "+OK 1 12", "{}", pop.log());
    assert_eq!(stat("alice-lists@host.test", "two"), "+OK 1 12");
    let refused = "-ERR [AUTH] authorization failed";
    assert_eq!(stat("alice-lists", "one"), refused);
    assert_eq!(stat("alice-other", "one"), refused);
}
