//! A tcpserver that runs beside a test, and clients for it.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kit::{Daemon, Run, Scratch, program};

/// How long a client waits for anything.
const PATIENCE: Duration = kit::LIMIT;

/// Numbers the logs: a scratch directory may see several servers.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A running server.
pub(crate) struct Server {
    pub(crate) daemon: Daemon,
    pub(crate) port: u16,
    log: PathBuf,
}

impl Server {
    /// Starts our tcpserver; `words` are options, host, port 0 and program. Option `-1` is added.
    pub(crate) fn start(scratch: &Scratch, words: &[&str]) -> Server {
        Server::start_as(scratch, Run::new(program("tcpserver")), words)
    }

    /// Starts what `run` is, in the scratch directory.
    pub(crate) fn start_as(scratch: &Scratch, run: Run, words: &[&str]) -> Server {
        Server::start_plain(scratch, run.arg("-1").args(words))
    }

    /// Starts what `run` is, which has option `-1` already.
    pub(crate) fn start_plain(scratch: &Scratch, run: Run) -> Server {
        let log = scratch.join(format!("log{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let daemon = run.dir(scratch.path()).start(&log);
        let port = kit::until(kit::LIMIT, || printed_port(&log));
        let port = port.unwrap_or_else(|| panic!("no port: {}", text(&log)));
        Server { daemon, port, log }
    }

    /// What it said, without the port, and with numbers that vary made letters.
    pub(crate) fn log(&self) -> Vec<String> {
        let port = self.port.to_string();
        text(&self.log)
            .lines()
            .filter(|line| *line != port)
            .map(|line| masked(line, &port))
            .collect()
    }

    /// Waits for a line of the log that holds `part`.
    pub(crate) fn logged(&self, part: &str) {
        kit::eventually(part, || self.log().iter().any(|line| line.contains(part)));
    }

    /// All that the server sends to a client of `ip` that says nothing.
    pub(crate) fn get(&self, ip: &str) -> String {
        let mut stream = self.connect(ip);
        let mut got = Vec::new();
        // A server that drops a connection may reset it.
        let _ = stream.read_to_end(&mut got);
        String::from_utf8(got).unwrap()
    }

    /// All that the server sends to a client of `ip` that says `line`.
    pub(crate) fn talk(&self, ip: &str, line: &str) -> String {
        let mut stream = self.connect(ip);
        stream.write_all(line.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut got = String::new();
        stream.read_to_string(&mut got).unwrap();
        got
    }

    pub(crate) fn connect(&self, ip: &str) -> TcpStream {
        let ip: IpAddr = ip.parse().unwrap();
        let stream = TcpStream::connect(SocketAddr::new(ip, self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// All that the server sends to a client with the address `from`.
    pub(crate) fn get_from(&self, from: &str) -> String {
        let mut stream = self.connect_from(from);
        let mut got = String::new();
        let _ = stream.read_to_string(&mut got);
        got
    }

    /// A connection from the address `from`.
    pub(crate) fn connect_from(&self, from: &str) -> TcpStream {
        let (from, port): (IpAddr, u16) = (from.parse().unwrap(), 0);
        let socket = sys::socket::bound(&(from, port).into()).unwrap();
        let to = SocketAddr::new([127, 0, 0, 1].into(), self.port);
        sys::socket::connect_on(&socket, &to, PATIENCE).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

fn text(log: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned()
}

fn printed_port(log: &Path) -> Option<u16> {
    let text = text(log);
    let whole = text.rsplit_once('\n')?.0;
    whole.lines().find_map(|line| line.parse().ok())
}

fn masked(line: &str, port: &str) -> String {
    let last = line.split(' ').count() - 1;
    line.split(' ')
        .enumerate()
        .map(|(at, word)| match word.parse::<u32>() {
            Ok(n) if n > 1 && !line.contains("status: ") && at != last => "PID".into(),
            _ => mask_ports(word, port),
        })
        .collect::<Vec<_>>()
        .join(" ")
}

fn mask_ports(word: &str, port: &str) -> String {
    match word.rsplit_once(':') {
        Some((before, last)) if last == port => format!("{before}:PORT"),
        Some((before, last)) if last.len() > 3 && last.parse::<u16>().is_ok() => {
            format!("{before}:CLIENT")
        }
        _ => word.into(),
    }
}

/// Writes a table of rules with our tcprules.
pub(crate) fn rules(scratch: &Scratch, name: &str, text: &str) {
    let done = Run::new(program("tcprules"))
        .args([name, &format!("{name}.tmp")])
        .dir(scratch.path())
        .stdin(text)
        .output();
    assert_eq!(done.code(), 0, "{}", done.err_text());
}

/// A fake DNS server knows these names; see `fake_dns`.
pub(crate) fn with_dns(dns: &crate::fake_dns::FakeDns) -> Run {
    Run::new(program("tcpserver")).env("DNSCACHEIP", &dns.address())
}
