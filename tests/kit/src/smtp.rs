//! A small SMTP client and a small SMTP sink, independent of the programs under test.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::LIMIT;

/// One conversation with a server.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<TcpStream>,
}

/// A reply: its code and its lines without the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// three digits; 0 when the server closed the connection
    pub code: u16,
    /// the text of each line
    pub lines: Vec<String>,
}

impl Client {
    /// Connects and takes the greeting, which must be 220.
    pub fn connect(address: SocketAddr) -> Client {
        let mut client = Client::connect_raw(address);
        let greeting = client.reply();
        assert_eq!(greeting.code, 220, "{greeting:?}");
        client
    }

    /// Connects without a word.
    pub fn connect_raw(address: SocketAddr) -> Client {
        Client::of(TcpStream::connect_timeout(&address, LIMIT).unwrap())
    }

    /// The client of a connection that has been made.
    pub fn of(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client {
            reader: BufReader::new(stream),
        }
    }

    /// Sends bytes as they are. `false`: the server has closed.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.reader.get_mut().write_all(bytes).is_ok()
    }

    /// Takes one reply.
    pub fn reply(&mut self) -> Reply {
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            let count = self.reader.read_until(b'\n', &mut line).unwrap_or(0);
            if count < 4 {
                return Reply { code: 0, lines };
            }
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let code = line.get(..3).and_then(|c| c.parse().ok()).unwrap_or(0);
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Reply { code, lines };
            }
        }
    }

    /// Sends a command line and takes the reply.
    pub fn say(&mut self, line: &str) -> Reply {
        self.send(format!("{line}\r\n").as_bytes());
        self.reply()
    }

    /// Sends a whole message. `message` has LF line ends and is dot-stuffed here. The code of the first command that was
    /// refused, or of the reply to the final dot (0: the connection broke).
    pub fn mail(&mut self, sender: &str, recipients: &[&str], message: &[u8]) -> u16 {
        let mut codes = vec![(self.say(&format!("MAIL FROM:<{sender}>")).code, 250)];
        for recipient in recipients {
            codes.push((self.say(&format!("RCPT TO:<{recipient}>")).code, 250));
        }
        codes.push((self.say("DATA").code, 354));
        if let Some((code, _)) = codes.iter().find(|(code, wanted)| code != wanted) {
            return *code;
        }
        if !self.send(&stuffed(message)) {
            return 0;
        }
        self.reply().code
    }
}

/// A message with LF line ends as it goes over the wire, with the final dot. An unfinished last line is finished.
pub fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(message.len() + 100);
    let whole = message.strip_suffix(b"\n").unwrap_or(message);
    for line in whole.split(|&b| b == b'\n') {
        if line.first() == Some(&b'.') {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b".\r\n");
    wire
}

/// What a sink got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// argument of MAIL FROM
    pub sender: String,
    /// arguments of RCPT TO
    pub recipients: Vec<String>,
    /// the message with LF line ends, dot-stuffing undone
    pub message: Vec<u8>,
}

/// A strict SMTP sink on 127.0.0.1: takes everything, speaks EHLO with PIPELINING and 8BITMIME.
///
/// A bare CR or LF, or anything but commands after the final dot, ends the test with a panic in the sink's thread: the
/// message is then missing from `received`.
#[derive(Debug)]
pub struct Sink {
    /// where it listens
    pub address: SocketAddr,
    /// what it got, in order of completion
    pub received: Receiver<Received>,
}

impl Sink {
    /// Starts listening.
    pub fn start() -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sender = sender.clone();
                thread::spawn(move || serve(stream, &|message| sender.send(message).is_ok()));
            }
        });
        Sink { address, received }
    }
}

fn angle(line: &str) -> String {
    let from = line.find('<').map_or(0, |at| at + 1);
    let to = line.rfind('>').unwrap_or(line.len());
    line.get(from..to).unwrap_or_default().to_owned()
}

fn serve(stream: TcpStream, keep: &dyn Fn(Received) -> bool) {
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    let mut say = |text: &str| writer.write_all(format!("{text}\r\n").as_bytes()).is_ok();
    let mut line_of = move || {
        let mut line = Vec::new();
        reader
            .read_until(b'\n', &mut line)
            .ok()
            .filter(|&n| n > 0)?;
        let content = line
            .strip_suffix(b"\r\n")
            .unwrap_or_else(|| panic!("the peer sent a bare LF: {line:?}"));
        assert!(
            !content.contains(&b'\r'),
            "the peer sent a bare CR: {line:?}"
        );
        Some(content.to_vec())
    };
    say("220 sink.test ESMTP");
    let mut sender = String::new();
    let mut recipients = Vec::new();
    while let Some(line) = line_of() {
        let text = String::from_utf8_lossy(&line).into_owned();
        let verb = text.get(..4).unwrap_or(&text).to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => say("250-sink.test\r\n250-PIPELINING\r\n250 8BITMIME"),
            "HELO" | "RSET" | "NOOP" => say("250 ok"),
            "MAIL" => {
                sender = angle(&text);
                recipients.clear();
                say("250 ok")
            }
            "RCPT" => {
                recipients.push(angle(&text));
                say("250 ok")
            }
            "DATA" => {
                say("354 go ahead");
                let mut message = Vec::new();
                loop {
                    let Some(line) = line_of() else { return };
                    if line == b"." {
                        break;
                    }
                    message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
                    message.push(b'\n');
                }
                keep(Received {
                    sender: sender.clone(),
                    recipients: recipients.clone(),
                    message,
                });
                say("250 ok")
            }
            "QUIT" => {
                say("221 bye");
                return;
            }
            _ => panic!("the peer said {text:?}"),
        };
    }
}
