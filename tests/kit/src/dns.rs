//! A DNS server with a small zone, on loopback: give its `variable` to a program as DNSCACHEIP.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the zone knows of a name.
#[derive(Clone, Debug)]
pub enum Record {
    /// an A or AAAA record
    Address(IpAddr),
    /// an MX record; an empty name is the root
    Mx(u16, String),
    /// a PTR record
    Ptr(String),
    /// a TXT record
    Txt(Vec<u8>),
    /// a CNAME record; the server follows it inside the zone
    Cname(String),
    /// every question about the name fails (SERVFAIL)
    Fail,
    /// questions about the name get no answer at all
    Silent,
}

impl Record {
    /// An A or AAAA record from text.
    pub fn address(text: &str) -> Record {
        Record::Address(text.parse().unwrap())
    }

    fn kind(&self) -> u16 {
        match self {
            Record::Address(IpAddr::V4(_)) => 1,
            Record::Cname(_) => 5,
            Record::Ptr(_) => 12,
            Record::Mx(..) => 15,
            Record::Txt(_) => 16,
            Record::Address(IpAddr::V6(_)) => 28,
            Record::Fail | Record::Silent => 0,
        }
    }

    fn data(&self) -> Vec<u8> {
        match self {
            Record::Address(IpAddr::V4(v4)) => v4.octets().to_vec(),
            Record::Address(IpAddr::V6(v6)) => v6.octets().to_vec(),
            Record::Cname(host) | Record::Ptr(host) => wire(host),
            Record::Mx(preference, host) => [&preference.to_be_bytes()[..], &wire(host)].concat(),
            Record::Txt(text) => text
                .chunks(255)
                .flat_map(|c| [&[u8::try_from(c.len()).unwrap()], c].concat())
                .collect(),
            Record::Fail | Record::Silent => Vec::new(),
        }
    }
}

/// A name as in a message, without compression.
pub fn wire(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|l| !l.is_empty()) {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

/// The name and the type that a query asks for (lower case), and where the question ends.
pub fn question(query: &[u8]) -> Option<(String, u16, usize)> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    Some((labels.join("."), kind, at + 4))
}

/// A reply to `query`: `flags` is the second half of the flag word (AD is 0x20, the low bits are the code), `records`
/// are owner, type and data.
pub fn reply(query: &[u8], flags: u8, records: &[(String, u16, Vec<u8>)]) -> Vec<u8> {
    let end = question(query).map_or(12, |q| q.2);
    let mut out = query[..end.min(query.len())].to_vec();
    out[2] = 0x81;
    out[3] = 0x80 | flags;
    out[6..12].fill(0);
    out[6..8].copy_from_slice(&u16::try_from(records.len()).unwrap().to_be_bytes());
    for (owner, kind, data) in records {
        out.extend_from_slice(&wire(owner));
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        out.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        out.extend_from_slice(data);
    }
    out
}

/// The running server. It ends with this value.
#[derive(Debug)]
pub struct Dns {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<(String, u16)>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Dns {
    /// Serves `zone`: name and record, as many lines as there are records. Names that are not in it do not exist.
    pub fn start<'a>(zone: impl IntoIterator<Item = (&'a str, Record)>) -> Dns {
        let zone: Vec<(String, Record)> = zone
            .into_iter()
            .map(|(n, r)| (n.to_lowercase(), r))
            .collect();
        let zone = Arc::new(zone);
        let (udp, tcp) = sockets();
        let address = udp.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let threads = vec![
            {
                let (zone, stop, asked) = (zone.clone(), stop.clone(), asked.clone());
                std::thread::spawn(move || serve_udp(&udp, &zone, &stop, &asked))
            },
            {
                let (zone, stop, asked) = (zone, stop.clone(), asked.clone());
                std::thread::spawn(move || serve_tcp(&tcp, &zone, &stop, &asked))
            },
        ];
        Dns {
            address,
            stop,
            asked,
            threads,
        }
    }

    /// Where it listens, over UDP and TCP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The value of DNSCACHEIP.
    pub fn variable(&self) -> String {
        self.address.to_string()
    }

    /// The questions so far: name and type number.
    pub fn asked(&self) -> Vec<(String, u16)> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // One packet and one connection wake the threads.
        if let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)) {
            let _ = socket.send_to(b"", self.address);
        }
        let _ = std::net::TcpStream::connect(self.address);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// The same free port for both.
fn sockets() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
    panic!("no port is free for UDP and TCP");
}

fn serve_udp(
    socket: &UdpSocket,
    zone: &[(String, Record)],
    stop: &AtomicBool,
    asked: &Mutex<Vec<(String, u16)>>,
) {
    let mut buffer = [0; 2048];
    while let Ok((count, from)) = socket.recv_from(&mut buffer) {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let query = &buffer[..count];
        let Some(mut answer) = look_up(query, zone, asked) else {
            continue;
        };
        let room = if query.get(11) == Some(&1) { 1232 } else { 512 };
        if answer.len() > room {
            answer = reply(query, 0, &[]);
            answer[2] |= 2;
        }
        let _ = socket.send_to(&answer, from);
    }
}

fn serve_tcp(
    listener: &TcpListener,
    zone: &[(String, Record)],
    stop: &AtomicBool,
    asked: &Mutex<Vec<(String, u16)>>,
) {
    for stream in listener.incoming() {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let Ok(mut stream) = stream else { continue };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let mut length = [0; 2];
        if stream.read_exact(&mut length).is_err() {
            continue;
        }
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut query).is_err() {
            continue;
        }
        if let Some(answer) = look_up(&query, zone, asked) {
            let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
            let _ = stream.write_all(&[&length[..], &answer].concat());
        }
    }
}

fn look_up(
    query: &[u8],
    zone: &[(String, Record)],
    asked: &Mutex<Vec<(String, u16)>>,
) -> Option<Vec<u8>> {
    let (mut name, kind, _) = question(query)?;
    asked.lock().unwrap().push((name.clone(), kind));
    let mut found = Vec::new();
    for _ in 0..20 {
        let here: Vec<&Record> = zone
            .iter()
            .filter(|(n, _)| *n == name)
            .map(|(_, r)| r)
            .collect();
        if here.is_empty() {
            return Some(reply(query, 3, &found));
        }
        let mut next = None;
        for record in here {
            match record {
                Record::Silent => return None,
                Record::Fail => return Some(reply(query, 2, &[])),
                Record::Cname(target) => {
                    next = Some(target.to_lowercase());
                    found.push((name.clone(), 5, record.data()));
                }
                _ if record.kind() == kind => found.push((name.clone(), kind, record.data())),
                _ => {}
            }
        }
        match next {
            Some(target) => name = target,
            None => break,
        }
    }
    Some(reply(query, 0, &found))
}
