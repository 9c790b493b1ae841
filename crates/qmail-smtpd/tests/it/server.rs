//! A home, a queue program that keeps what it gets, and clients on TCP sockets.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use kit::{Home, LIMIT, program};
use sys::process::End;
use sys::spawn::Spawn;

/// Keeps message and envelope below out/, as qmail-queue would: whole envelopes only.
const KEEP: &str = r#"
at="$QMAILHOME/out/$$"
cat >"$at.m"
cat <&1 >"$at.e"
[ "$(tail -c 2 "$at.e" | od -An -tx1 | tr -d ' ')" = 0000 ] || { rm "$at.m" "$at.e"; exit 54; }
mv "$at.e" "$at.env"
"#;

/// A post office with one user, `v`, and nobody else.
pub(crate) struct Server {
    pub(crate) home: Home,
    env: Vec<(Vec<u8>, Vec<u8>)>,
    args: Vec<Vec<u8>>,
}

/// A message in the queue.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// with our Received line
    pub(crate) text: Vec<u8>,
    pub(crate) envelope: Vec<u8>,
}

impl Server {
    pub(crate) fn new(name: &str) -> Server {
        let home = Home::new(name);
        home.fake("qmail-queue", KEEP);
        fs::create_dir(home.join("out")).unwrap();
        let path = home.path().as_os_str().as_encoded_bytes().to_vec();
        let server = Server {
            home,
            env: vec![],
            args: vec![],
        };
        server.users();
        server
            .env("QMAILHOME", path)
            .env("PATH", "/usr/bin:/bin")
            .env("TCPREMOTEIP", "203.0.113.9")
            .env("TCPLOCALIP", "198.51.100.5")
            .env("TCPLOCALHOST", "mx.host.test")
    }

    /// Assigned users: whoever is not `v` has no .qmail file in the home of all others.
    fn users(&self) {
        let uid = match sys::ids::euid() {
            0 => 65_534,
            uid => uid,
        };
        let alias = self.home.join("alias");
        let fields =
            |dash: &str| format!("alias\0{uid}\0{uid}\0{}\0{dash}\0", alias.display()).into_bytes();
        let all_names = [fields("-"), b"\0".to_vec()].concat();
        let records = [
            (&b""[..], Vec::new()),
            (b"!v\0", [fields(""), b"\0".to_vec()].concat()),
            (b"!", fields("-")),
            (b"!postmaster\0", all_names),
        ];
        let cdb = self.home.join("users/cdb");
        control::table::make(&cdb, &self.home.join("users/tmp"), 0o644, records).unwrap();
        self.home.write("alias/.qmail-postmaster", "#\n");
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<[u8]>) -> Server {
        self.env.retain(|(n, _)| n != name.as_bytes());
        self.env
            .push((name.as_bytes().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// The arguments of the program.
    pub(crate) fn args(mut self, args: &[&str]) -> Server {
        self.args = args.iter().map(|a| a.as_bytes().to_vec()).collect();
        self
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.home.join("log")
    }

    /// All that was logged.
    pub(crate) fn log(&self) -> String {
        String::from_utf8(fs::read(self.log_path()).unwrap()).unwrap()
    }

    /// Starts the program for one client. `wrap` stands before the path of the program.
    pub(crate) fn connect_through(&self, wrap: &[&str]) -> Client {
        self.start(wrap, &[], &[])
    }

    /// Starts the program as a TLS server does: it stands ready on three more descriptors.
    pub(crate) fn connect_ready_for_tls(&self) -> (Client, TlsServer) {
        let (control, theirs) = sys::local::pair().unwrap();
        let (plain, inside) = UnixStream::pair().unwrap();
        plain.set_read_timeout(Some(LIMIT)).unwrap();
        let env = [
            ("UCSPITLS", ""),
            ("SSLCTLFD", "5"),
            ("SSLREADFD", "6"),
            ("SSLWRITEFD", "7"),
        ];
        let fds = [
            (5, theirs.as_fd()),
            (6, inside.as_fd()),
            (7, inside.as_fd()),
        ];
        let client = self.start(&[], &env, &fds);
        (client, TlsServer { control, plain })
    }

    fn start(&self, wrap: &[&str], env: &[(&str, &str)], fds: &[(i32, BorrowedFd<'_>)]) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        let path = program("qmail-smtpd").into_os_string().into_encoded_bytes();
        let mut words: Vec<Vec<u8>> = wrap.iter().map(|w| w.as_bytes().to_vec()).collect();
        words.push(path);
        words.extend(self.args.clone());
        let spawn = Spawn::new(&words[0])
            .args(&words[1..])
            .env(self.env.clone())
            .dir("/")
            .fd(0, socket.as_fd())
            .fd(1, socket.as_fd())
            .fd(2, log.as_fd());
        let spawn = env
            .iter()
            .fold(spawn, |s, (name, value)| s.set(name, value));
        let spawn = fds.iter().fold(spawn, |s, (n, fd)| s.fd(*n, *fd));
        let pid = spawn.spawn().unwrap();
        Client {
            reader: BufReader::new(Stream::Tcp(stream)),
            pid,
            ended: false,
        }
    }

    pub(crate) fn connect(&self) -> Client {
        self.connect_through(&[])
    }

    /// One client sends all at once: what it was told, and how the program ended.
    pub(crate) fn run(&self, wire: impl AsRef<[u8]>) -> (String, End) {
        let mut client = self.connect();
        client.send(wire);
        client.finish()
    }

    /// What the queue has taken.
    pub(crate) fn stored(&self) -> Vec<Stored> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.home.join("out")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "env") {
                found.push(Stored {
                    text: fs::read(path.with_extension("m")).unwrap(),
                    envelope: fs::read(&path).unwrap(),
                });
            }
        }
        found
    }
}

/// The TLS server's end of what UCSPI-TLS is about. There is no TLS: the client hands its words to the server.
pub(crate) struct TlsServer {
    control: OwnedFd,
    plain: UnixStream,
}

impl TlsServer {
    /// Waits until the program asks for TLS, and says what was agreed on; `client` then speaks through it.
    pub(crate) fn agree(self, client: &mut Client) {
        let mut asked = [0];
        assert!(sys::poll::readable(&self.control, LIMIT).unwrap());
        assert_eq!(sys::fd::read(&self.control, &mut asked).unwrap(), 1);
        assert_eq!(&asked, b"Y");
        let told = b"SSL_PROTOCOL=TLSv1.3\0SSL_CIPHER=TLS_AES_128_GCM_SHA256\0\0";
        sys::fd::write_all(&self.control, told).unwrap();
        client.reader = BufReader::new(Stream::Unix(self.plain));
    }

    /// Whether the program, which has ended, asked for TLS.
    pub(crate) fn was_asked(&self) -> bool {
        assert!(sys::poll::readable(&self.control, LIMIT).unwrap());
        sys::fd::read(&self.control, &mut [0]).unwrap() > 0
    }
}

/// What a client talks over.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn shutdown(&self, how: Shutdown) {
        let _ = match self {
            Stream::Tcp(s) => s.shutdown(how),
            Stream::Unix(s) => s.shutdown(how),
        };
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Stream::Tcp(s) => s.read(buffer),
            Stream::Unix(s) => s.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Stream::Tcp(s) => s.write(bytes),
            Stream::Unix(s) => s.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The client's end of a connection, and the process at the other.
pub(crate) struct Client {
    reader: BufReader<Stream>,
    pid: u32,
    ended: bool,
}

impl Client {
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The server may have hung up already.
        let _ = self.reader.get_mut().write_all(bytes.as_ref());
    }

    /// The next whole reply, with all its lines.
    pub(crate) fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).unwrap();
            reply.push_str(&line);
            if line.as_bytes().get(3) != Some(&b'-') {
                return reply;
            }
        }
    }

    /// Sends a command, and returns the code of the reply; 0 if there is none.
    pub(crate) fn say(&mut self, command: impl AsRef<[u8]>) -> u16 {
        self.send([command.as_ref(), b"\r\n"].concat());
        let reply = self.reply();
        reply.get(..3).map_or(0, |code| code.parse().unwrap())
    }

    /// Sends no more; reads to the end.
    pub(crate) fn finish(mut self) -> (String, End) {
        self.reader.get_mut().shutdown(Shutdown::Write);
        let mut told = Vec::new();
        // A reset after the last reply is an end, too.
        let _ = self.reader.read_to_end(&mut told);
        (String::from_utf8(told).unwrap(), self.wait())
    }

    /// Hangs up without listening.
    pub(crate) fn vanish(mut self) -> End {
        self.reader.get_mut().shutdown(Shutdown::Both);
        self.wait()
    }

    fn wait(&mut self) -> End {
        let end = kit::until(LIMIT, || sys::process::ended_pid(self.pid).unwrap());
        self.ended = end.is_some();
        end.unwrap_or_else(|| panic!("process {} did not end", self.pid))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if !self.ended {
            let _ = sys::signal::send(self.pid, sys::signal::Signal::SIGKILL);
            let _ = sys::process::wait_for(self.pid);
        }
    }
}

/// A short time in which nothing more happens.
pub(crate) const MOMENT: Duration = Duration::from_millis(50);
