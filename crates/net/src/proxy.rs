//! The PROXY protocol: a front end that passes a connection on says whose it is, before the first byte of the client.
//!
//! Only a front end that is trusted may be asked: anybody can write such a header.
//!
//! Source  The PROXY protocol, versions 1 and 2 (HAProxy, doc/proxy-protocol.txt)

use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use base::bytes::number;

/// How a header of version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header of version 1, bytes with its CR LF.
const LINE_LIMIT: usize = 107;
/// The longest rest of a header of version 2, bytes: 216 for addresses, and room for what else a front end tells.
const REST_LIMIT: usize = 4096;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// the connection is the front end's own, or it does not know whose
    Own,
    /// it is passed on
    Passed {
        /// the client
        source: SocketAddr,
        /// where the client went
        destination: SocketAddr,
    },
}

/// Reads a header of either version, and not a byte more.
///
/// # Errors
/// `InvalidData`: it is none; `UnexpectedEof`: it is not whole; else those of `input`.
pub fn read(input: &mut impl Read) -> io::Result<Header> {
    let mut begin = [0; SIGNATURE.len()];
    input.read_exact(&mut begin)?;
    if begin == *SIGNATURE {
        return binary(input);
    }
    if !begin.starts_with(b"PROXY ") {
        return Err(wrong());
    }
    let mut line = begin.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() >= LINE_LIMIT {
            return Err(wrong());
        }
        let mut byte = [0];
        input.read_exact(&mut byte)?;
        line.extend_from_slice(&byte);
    }
    text(&line).ok_or_else(wrong)
}

fn wrong() -> io::Error {
    ErrorKind::InvalidData.into()
}

/// A whole line of version 1.
fn text(line: &[u8]) -> Option<Header> {
    let line = line.strip_suffix(b"\r\n")?;
    let words: Vec<&[u8]> = line.split(|&b| b == b' ').collect();
    let [b"PROXY", protocol, rest @ ..] = words.as_slice() else {
        return None;
    };
    if *protocol == b"UNKNOWN" {
        return Some(Header::Own);
    }
    let &[source, destination, source_port, destination_port] = rest else {
        return None;
    };
    let address = |ip: &[u8], port: &[u8]| -> Option<SocketAddr> {
        let ip = std::str::from_utf8(ip).ok()?;
        let ip: IpAddr = match *protocol {
            b"TCP4" => ip.parse::<Ipv4Addr>().ok()?.into(),
            b"TCP6" => ip.parse::<Ipv6Addr>().ok()?.into(),
            _ => return None,
        };
        let port = number(port).and_then(|n| u16::try_from(n).ok())?;
        Some((ip, port).into())
    };
    Some(Header::Passed {
        source: address(source, source_port)?,
        destination: address(destination, destination_port)?,
    })
}

/// A header of version 2, behind its signature.
fn binary(input: &mut impl Read) -> io::Result<Header> {
    let mut head = [0; 4];
    input.read_exact(&mut head)?;
    let [command, family, high, low] = head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > REST_LIMIT {
        return Err(wrong());
    }
    let mut rest = vec![0; length];
    input.read_exact(&mut rest)?;
    let header = match (command, family) {
        (0x20, _) | (0x21, 0x00) => Some(Header::Own),
        (0x21, 0x11) => addresses::<4>(&rest),
        (0x21, 0x21) => addresses::<16>(&rest),
        _ => None,
    };
    header.ok_or_else(wrong)
}

/// Two addresses of `N` bytes and two ports; what follows is not for us.
fn addresses<const N: usize>(rest: &[u8]) -> Option<Header>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = rest.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (source_port, rest) = rest.split_first_chunk::<2>()?;
    let destination_port = rest.first_chunk::<2>()?;
    let address = |ip: [u8; N], port: [u8; 2]| (IpAddr::from(ip), u16::from_be_bytes(port)).into();
    Some(Header::Passed {
        source: address(*source, *source_port),
        destination: address(*destination, *destination_port),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(source: &str, destination: &str) -> Header {
        Header::Passed {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        }
    }

    fn two(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    #[test]
    fn version_1() {
        for (line, want) in [
            (
                "PROXY TCP4 192.0.2.1 198.51.100.2 4000 25\r\n",
                passed("192.0.2.1:4000", "198.51.100.2:25"),
            ),
            (
                "PROXY TCP6 2001:db8::1 ::2 65535 0\r\n",
                passed("[2001:db8::1]:65535", "[::2]:0"),
            ),
            ("PROXY UNKNOWN\r\n", Header::Own),
            ("PROXY UNKNOWN a b c d\r\n", Header::Own),
        ] {
            let mut input = [line.as_bytes(), b"EHLO"].concat();
            let mut rest = input.as_mut_slice() as &[u8];
            assert_eq!(read(&mut rest).unwrap(), want);
            assert_eq!(rest, b"EHLO");
        }
    }

    #[test]
    fn version_2() {
        let four = [192, 0, 2, 1, 198, 51, 100, 2, 15, 160, 0, 25];
        let want = passed("192.0.2.1:4000", "198.51.100.2:25");
        let with_more = [&four[..], b"\x04\0\x01x"].concat();
        for rest in [&four[..], &with_more] {
            let all = [&two(0x21, 0x11, rest)[..], b"EHLO"].concat();
            let mut input = all.as_slice();
            assert_eq!(read(&mut input).unwrap(), want);
            assert_eq!(input, b"EHLO");
        }
        let mut six = [0; 36];
        six[15] = 1;
        six[31] = 2;
        six[35] = 25;
        let got = read(&mut two(0x21, 0x21, &six).as_slice()).unwrap();
        assert_eq!(got, passed("[::1]:0", "[::2]:25"));
        for own in [
            two(0x20, 0, b""),
            two(0x20, 0x11, &four),
            two(0x21, 0, b"xx"),
        ] {
            assert_eq!(read(&mut own.as_slice()).unwrap(), Header::Own);
        }
    }

    #[test]
    fn what_is_no_header() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        let mut large = SIGNATURE.to_vec();
        large.extend_from_slice(&[0x21, 0x11, 0xff, 0xff]);
        for wrong in [
            b"EHLO host.test\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 198.51.100.2 4000\r\n".to_vec(),
            b"PROXY TCP4 ::1 ::2 4000 25\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 198.51.100.2 4000 65536\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1  198.51.100.2 4000 25\r\n".to_vec(),
            b"PROXY UDP4 192.0.2.1 198.51.100.2 4000 25\r\n".to_vec(),
            b"PROXY UNKNOWN".to_vec(),
            b"PROXY UNKNOWN\n".to_vec(),
            long.into_bytes(),
            large,
            two(0x21, 0x11, b"short"),
            two(0x21, 0x12, &[0; 12]),
            two(0x22, 0x11, &[0; 12]),
            two(0x11, 0x11, &[0; 12]),
            b"".to_vec(),
        ] {
            assert!(read(&mut wrong.as_slice()).is_err(), "{wrong:?}");
        }
    }
}
