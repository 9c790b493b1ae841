//! The Received line that a server puts on top of a message.
//!
//! Source  RFC 5321 4.4; qmail-smtpd(8)

use base::Bytes;

use crate::date::rfc5322;

/// Where a message came from and how. Every part may have been chosen by a stranger.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// name of the client
    pub host: &'a [u8],
    /// what the client called itself, if it is worth a word
    pub helo: Option<&'a [u8]>,
    /// what the client's ident server said
    pub info: Option<&'a [u8]>,
    /// address of the client
    pub ip: &'a [u8],
    /// our own name
    pub local: &'a [u8],
    /// `SMTP`, `QMTP`, `QMQP`
    pub protocol: &'a str,
}

/// Whether a byte can neither end a line, nor begin a comment, nor be quoted.
fn is_safe(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".@%+/=:-[]".contains(&byte)
}

/// `bytes` with everything made a question mark that could change the structure of a header.
pub fn safe(bytes: &[u8]) -> Bytes {
    bytes
        .iter()
        .map(|&b| if is_safe(b) { b } else { b'?' })
        .collect()
}

impl Received<'_> {
    /// Two lines, with their ends: `Received: from HOST (HELO x) (INFO@IP)` and `  by LOCAL with PROTOCOL; DATE`.
    pub fn line(&self, unix: i64) -> Bytes {
        let helo = match self.helo {
            Some(helo) => [b" (HELO ", safe(helo).as_slice(), b")"].concat(),
            None => Bytes::new(),
        };
        let info = match self.info {
            Some(info) => [safe(info).as_slice(), b"@"].concat(),
            None => Bytes::new(),
        };
        [
            b"Received: from ".as_slice(),
            &safe(self.host),
            &helo,
            b" (",
            &info,
            &safe(self.ip),
            b")\n  by ",
            &safe(self.local),
            b" with ",
            self.protocol.as_bytes(),
            b"; ",
            rfc5322(unix).as_bytes(),
            b"\n",
        ]
        .concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classic_form() {
        let mut received = Received {
            host: b"relay.test",
            helo: None,
            info: None,
            ip: b"192.0.2.1",
            local: b"host.test",
            protocol: "SMTP",
        };
        assert_eq!(
            received.line(0),
            b"Received: from relay.test (192.0.2.1)\n  by host.test with SMTP; 1 Jan 1970 00:00:00 -0000\n"
        );
        received.helo = Some(b"x) (y\r\n\0\xff[1]");
        received.info = Some(b"joe<");
        assert!(
            received
                .line(0)
                .starts_with(b"Received: from relay.test (HELO x???y????[1]) (joe?@192.0.2.1)\n")
        );
    }
}
