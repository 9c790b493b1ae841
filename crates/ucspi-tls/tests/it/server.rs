//! An sslserver that runs beside a test, and clients for it.

use std::io::Read;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kit::{Daemon, Output, Run, Scratch, program};

/// How long a client waits for anything.
pub(crate) const PATIENCE: Duration = kit::LIMIT;

/// Numbers the logs: a scratch directory may see several servers.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A running server.
pub(crate) struct Server {
    pub(crate) daemon: Daemon,
    pub(crate) port: u16,
    log: PathBuf,
}

/// Makes a certificate below `live`, as certbot would.
pub(crate) fn certificate(scratch: &Scratch, name: &str, hosts: &[&str]) {
    std::fs::create_dir_all(scratch.join("live")).unwrap();
    let directory = format!("live/{name}");
    let done = Run::new(program("tlscert"))
        .args(["-f", &directory])
        .args(hosts)
        .dir(scratch.path())
        .output();
    assert_eq!(done.code(), 0, "{}", done.err_text());
}

/// A scratch directory with one certificate.
pub(crate) fn scratch(name: &str) -> Scratch {
    let scratch = Scratch::new(name);
    certificate(&scratch, "a", &["mail.test", "127.0.0.1"]);
    scratch
}

/// A server that knows the certificates below `live`.
pub(crate) fn run() -> Run {
    Run::new(program("sslserver")).env("CERTDIR", "live")
}

impl Server {
    /// Starts sslserver; `words` are options and program: host and port 0 of this machine are added between.
    pub(crate) fn start(scratch: &Scratch, options: &[&str], words: &[&str]) -> Server {
        Server::start_as(scratch, run(), options, words)
    }

    /// Starts what `run` is, in the scratch directory.
    pub(crate) fn start_as(
        scratch: &Scratch,
        run: Run,
        options: &[&str],
        words: &[&str],
    ) -> Server {
        let log = scratch.join(format!("log{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let daemon = run
            .args(["-1", "-v", "-e", "-RH", "-lme"])
            .args(options)
            .args(["127.0.0.1", "0"])
            .args(words)
            .dir(scratch.path())
            .start(&log);
        let port = kit::until(PATIENCE, || printed_port(&log));
        let port = port.unwrap_or_else(|| panic!("no port: {}", text(&log)));
        Server { daemon, port, log }
    }

    pub(crate) fn log(&self) -> String {
        text(&self.log)
    }

    /// Waits for a line of the log that holds `part`.
    pub(crate) fn logged(&self, part: &str) {
        let found = kit::until(PATIENCE, || self.log().contains(part).then_some(()));
        assert!(found.is_some(), "no {part} in {}", self.log());
    }

    /// What `openssl s_client` gets that sends `input` and then waits for the end.
    pub(crate) fn client(&self, more: &[&str], input: &str) -> Output {
        Run::new("/usr/bin/openssl")
            .args(["s_client", "-ign_eof", "-connect"])
            .arg(format!("127.0.0.1:{}", self.port))
            .args(more)
            .stdin(input)
            .limit(PATIENCE)
            .output()
    }

    /// The plain text that it gets.
    pub(crate) fn talk(&self, more: &[&str], input: &str) -> String {
        let quiet = [&["-quiet", "-servername", "mail.test"], more].concat();
        self.client(&quiet, input).out_text()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Runs a Python script with the port as argument; its module `ssl` speaks TLS. Returns what it prints.
    pub(crate) fn python(&self, script: &str) -> String {
        let done = Run::new("/usr/bin/python3")
            .args(["-c", &format!("{PRELUDE}{script}")])
            .arg(self.port.to_string())
            .limit(PATIENCE)
            .output();
        assert_eq!(done.code(), 0, "{}{}", done.out_text(), done.err_text());
        done.out_text()
    }
}

/// A client that believes every certificate.
const PRELUDE: &str = "
import socket, ssl, sys, time
port = int(sys.argv[1])
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
def plain():
    s = socket.create_connection(('127.0.0.1', port), 60)
    return s
def tls(session=None):
    return context.wrap_socket(plain(), server_hostname='mail.test', session=session)
def rest(s):
    got = b''
    while True:
        try: more = s.recv(65536)
        except ConnectionError: return got
        if not more: return got
        got += more
";

/// All that comes until the end.
pub(crate) fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    // A connection that is dropped may be reset.
    let _ = stream.read_to_end(&mut got);
    got
}

fn text(log: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned()
}

fn printed_port(log: &Path) -> Option<u16> {
    let text = text(log);
    let whole = text.rsplit_once('\n')?.0;
    whole.lines().find_map(|line| line.parse().ok())
}

/// The processes that `pid` has made, with the user ids that they run as.
pub(crate) fn children(pid: u32) -> Vec<(u32, u32)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(child) = entry.file_name().into_string().unwrap().parse::<u32>() else {
            continue;
        };
        let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find(|l| l.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse::<u32>().ok()
        };
        let zombie = status.contains("State:\tZ");
        if field("PPid:") == Some(pid) && !zombie {
            found.push((child, field("Uid:").unwrap()));
        }
    }
    found.sort_unstable();
    found
}
