//! Questions to the resolvers and answers from them, over UDP, and over TCP when UDP has no room.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use base::Bytes;
use base::io::Timed;
use domain::base::{Name, Rtype};

use crate::Trouble;
use crate::answer::{self, Answer, Edns, Reply};

/// One question waits at most so long, whatever the resolvers do.
pub const QUESTION_TIME: Duration = Duration::from_secs(45);
/// How long each resolver gets in each round over all of them.
pub(crate) const ROUNDS: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(10),
];
/// How long one talk over TCP may take.
const TCP_TIME: Duration = Duration::from_secs(10);
/// Packets that do not belong to the query, before the query is given up: a forger gets no more guesses at one number.
pub(crate) const STRAY_LIMIT: usize = 50;
/// The largest packet over UDP that is read, bytes; more than we ask for.
pub(crate) const UDP_LIMIT: usize = 4096;
/// How often a random port is tried before the kernel chooses one.
const PORT_TRIES: usize = 10;

/// Asks the resolvers in turn, round after round, until one answers.
pub(crate) fn ask(
    servers: &[SocketAddr],
    trusted: bool,
    name: &Name<Vec<u8>>,
    kind: Rtype,
) -> Result<Answer, Trouble> {
    let end = Instant::now() + QUESTION_TIME;
    let mut reason = "no resolver".to_owned();
    for time in ROUNDS {
        for server in servers {
            if Instant::now() >= end {
                return Err(Trouble::Temporary(reason));
            }
            let limit = end.min(Instant::now() + time);
            match ask_one(server, name, kind, limit) {
                Ok(Reply::Answer(message)) => match Answer::new(message, name, kind, trusted) {
                    Some(answer) => return Ok(answer),
                    None => "CNAME loop".clone_into(&mut reason),
                },
                Ok(Reply::NoName) => return Err(Trouble::NoName),
                Ok(Reply::Failed(text)) => reason = text,
                Ok(Reply::Truncated | Reply::Plain) => "bad answer".clone_into(&mut reason),
                Err(error) => reason = base::die::system_text(&error),
            }
        }
    }
    Err(Trouble::Temporary(reason))
}

/// One resolver: over UDP with EDNS, without it if it is not understood, over TCP if the answer was cut.
fn ask_one(
    server: &SocketAddr,
    name: &Name<Vec<u8>>,
    kind: Rtype,
    limit: Instant,
) -> io::Result<Reply> {
    let mut reply = over_udp(server, name, kind, Edns::Offered, limit)?;
    let mut edns = Edns::Offered;
    if matches!(reply, Reply::Plain) {
        edns = Edns::Absent;
        reply = over_udp(server, name, kind, edns, limit)?;
    }
    if matches!(reply, Reply::Truncated) {
        reply = over_tcp(server, name, kind, edns)?;
    }
    Ok(reply)
}

pub(crate) fn fresh_query(
    name: &Name<Vec<u8>>,
    kind: Rtype,
    edns: Edns,
) -> io::Result<(u16, Bytes)> {
    let [id, ..] = random_pair()?;
    let query = answer::query(id, name, kind, edns).map_err(|_| ErrorKind::InvalidInput)?;
    Ok((id, query))
}

/// Two random numbers.
fn random_pair() -> io::Result<[u16; 2]> {
    let mut bytes = [0; 4];
    sys::random::fill(&mut bytes)?;
    let [a, b, c, d] = bytes;
    Ok([u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d])])
}

/// A socket that takes packets from `server` only, at a random port of ours.
pub(crate) fn open(server: &SocketAddr) -> io::Result<UdpSocket> {
    let any = |port: u16| -> SocketAddr {
        match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, port).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, port).into(),
        }
    };
    for _ in 0..PORT_TRIES {
        let [port, _] = random_pair()?;
        if port < 1024 {
            continue;
        }
        if let Ok(socket) = UdpSocket::bind(any(port)) {
            socket.connect(server)?;
            return Ok(socket);
        }
    }
    let socket = UdpSocket::bind(any(0))?;
    socket.connect(server)?;
    Ok(socket)
}

fn over_udp(
    server: &SocketAddr,
    name: &Name<Vec<u8>>,
    kind: Rtype,
    edns: Edns,
    limit: Instant,
) -> io::Result<Reply> {
    let socket = open(server)?;
    let (id, query) = fresh_query(name, kind, edns)?;
    socket.send(&query)?;
    let mut buffer = [0; UDP_LIMIT];
    for _ in 0..STRAY_LIMIT {
        let left = limit.saturating_duration_since(Instant::now());
        if !sys::poll::readable(&socket, left)? {
            return Err(ErrorKind::TimedOut.into());
        }
        let count = socket.recv(&mut buffer)?;
        let packet = buffer.get(..count).unwrap_or_default().to_vec();
        if let Some(reply) = answer::reply(packet, id, name, kind) {
            return Ok(reply);
        }
    }
    Err(io::Error::other("stray answers"))
}

pub(crate) fn over_tcp(
    server: &SocketAddr,
    name: &Name<Vec<u8>>,
    kind: Rtype,
    edns: Edns,
) -> io::Result<Reply> {
    let end = Instant::now() + TCP_TIME;
    let mut stream = Timed::new(sys::socket::connect(server, None, TCP_TIME)?, TCP_TIME);
    stream.set_deadline(Some(end));
    let (id, query) = fresh_query(name, kind, edns)?;
    let length = u16::try_from(query.len()).map_err(|_| ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes()[..], &query].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut packet)?;
    answer::reply(packet, id, name, kind).ok_or_else(|| ErrorKind::InvalidData.into())
}
