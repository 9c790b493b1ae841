//! Sockets that outlive the program: the file `listen` names them, supervise holds them, `run` gets them as the
//! descriptors 3, 4 and so on. While the program is started again, clients wait in the backlog and are not refused.
//! See docs/decisions/0004-listen-descriptors.md.

use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use base::{Bytes, Die};
use sys::Dir;
use sys::socket::Families;
use sys::spawn::Spawn;

use crate::supervise::unable;

/// The first descriptor.
const FIRST: i32 = 3;
/// The most sockets of one service.
const SOCKETS: usize = 16;
/// The largest file, bytes.
const FILE: u64 = 4096;
/// Connections that the kernel may hold for each socket.
const BACKLOG: u32 = 1024;
/// What systemd calls a socket without a name.
const NAMELESS: &str = "unknown";

/// One line of the file.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    address: SocketAddr,
    families: Families,
    name: String,
}

/// The sockets of a service, open or not.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    held: Vec<(OwnedFd, String)>,
}

impl Sockets {
    /// Opens what the file names, all or nothing. What is open already stays.
    pub(super) fn open(&mut self, service: &[u8], here: &Dir) -> Result<(), Die> {
        if !self.held.is_empty() {
            return Ok(());
        }
        let Some(text) = read(here).map_err(|e| unable("read ", service, "/listen", &e))? else {
            return Ok(());
        };
        let mut held = Vec::new();
        for line in lines(&text) {
            let place = place(line).ok_or_else(|| bad(service, line))?;
            if held.len() >= SOCKETS {
                return Err(bad(service, line));
            }
            let fd = listen(&place)
                .map_err(|e| Die::unable([b"listen on ", line, b" for ", service].concat(), &e))?;
            held.push((fd, place.name));
        }
        self.held = held;
        Ok(())
    }

    /// Refuses clients from now on.
    pub(super) fn close(&mut self) {
        self.held.clear();
    }

    /// Gives the sockets to a program, as `sd_listen_fds(3)` finds them.
    pub(super) fn give<'a>(&'a self, mut spawn: Spawn<'a>) -> Spawn<'a> {
        if self.held.is_empty() {
            return spawn;
        }
        let names: Vec<&str> = self.held.iter().map(|(_, name)| name.as_str()).collect();
        for (number, (fd, _)) in (FIRST..).zip(&self.held) {
            spawn = spawn.fd(number, fd.as_fd());
        }
        spawn
            .set("LISTEN_FDS", self.held.len().to_string())
            .set("LISTEN_FDNAMES", names.join(":"))
            .own_pid("LISTEN_PID")
    }
}

fn read(here: &Dir) -> io::Result<Option<Bytes>> {
    match here.open_read(b"listen") {
        Ok(file) => {
            let mut text = Bytes::new();
            file.take(FILE).read_to_end(&mut text)?;
            Ok(Some(text))
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// The lines that are neither empty nor a comment.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&b| b == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty() && line.first() != Some(&b'#'))
}

fn bad(service: &[u8], line: &[u8]) -> Die {
    let text = [b"unable to understand ", service, b"/listen: ", line].concat();
    Die::fatal(base::die::TEMPORARY, text)
}

/// `ADDRESS PORT [ NAME ]`; the address 0 means all of both families.
fn place(line: &[u8]) -> Option<Place> {
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let (address, families) = match words.next()? {
        "0" => (IpAddr::V6(Ipv6Addr::UNSPECIFIED), Families::Both),
        word => (word.parse().ok()?, Families::One),
    };
    let port = words.next()?.parse().ok()?;
    let name = words.next().unwrap_or(NAMELESS);
    let nothing_else = words.next().is_none() && !name.contains(':');
    nothing_else.then(|| Place {
        address: SocketAddr::new(address, port),
        families,
        name: name.to_owned(),
    })
}

fn listen(place: &Place) -> io::Result<OwnedFd> {
    match sys::socket::listen(&place.address, BACKLOG, place.families) {
        Err(e) if place.families == Families::Both && sys::socket::is_no_way(&e) => {
            let every = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), place.address.port());
            sys::socket::listen(&every, BACKLOG, Families::One)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_address_a_port_and_perhaps_a_name() {
        let found = |line: &str| {
            place(line.as_bytes()).map(|p| (p.address.to_string(), p.families, p.name))
        };
        let both = Some(("[::]:25".to_owned(), Families::Both, NAMELESS.to_owned()));
        assert_eq!(found("0 25"), both);
        let one = Some(("127.0.0.1:25".to_owned(), Families::One, "smtp".to_owned()));
        assert_eq!(found("127.0.0.1\t25  smtp"), one);
        assert_eq!(found("::1 25").map(|f| f.0), Some("[::1]:25".to_owned()));
        for bad in [
            "25", "0", "host 25", "0 smtp", "0 65536", "0 25 a b", "0 25 a:b", "0 -1",
        ] {
            assert_eq!(found(bad), None, "{bad}");
        }
    }

    #[test]
    fn comments_and_empty_lines_say_nothing() {
        let found: Vec<&[u8]> = lines(b"# all\n\n 0 25 \n#0 26\n0 27").collect();
        assert_eq!(found, [b"0 25", b"0 27"]);
    }
}
