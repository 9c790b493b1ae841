//! One session: bytes of the client in, bytes for the client out, plain text on the other side. It never waits, and it
//! knows no descriptors.

use std::io::{self, BufRead, ErrorKind, Read, Write};

use rustls::server::ServerConnection;
use rustls::{HandshakeKind, ProtocolVersion};

use super::Config;
use crate::agreed::Agreed;
use crate::certificate::{Certificate, hexadecimal};

/// Why a session cannot go on: a sentence for the log. Parts of it may come from the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble(pub String);

/// Variables for the program, in the words of ucspi-ssl and mod_ssl.
pub type Told = Vec<(Vec<u8>, Vec<u8>)>;

/// What a program gets for channel binding (RFC 9266).
const BINDING_LABEL: &[u8] = b"EXPORTER-Channel-Binding";
/// Its length, bytes.
const BINDING_LEN: usize = 32;
/// The most names of a client's certificate that a program is told.
const TOLD_NAMES: usize = 32;

/// The server's side of one session.
pub struct Session(ServerConnection);

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

impl Session {
    /// A session before its first byte.
    ///
    /// # Errors
    /// The configuration has no use.
    pub fn new(config: &Config) -> Result<Session, Trouble> {
        let mut inner = ServerConnection::new(config.0.clone()).map_err(|e| said(&e))?;
        // The caller takes only as much from the program as it can pass on.
        inner.set_buffer_limit(None);
        Ok(Session(inner))
    }

    /// Whether the handshake goes on.
    pub fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    /// Whether bytes of the client are of use now; not while plain text waits to be taken.
    pub fn wants_input(&self) -> bool {
        self.0.wants_read()
    }

    /// Whether there are bytes for the client.
    pub fn has_output(&self) -> bool {
        self.0.wants_write()
    }

    /// Takes bytes of the client from `input`, once. 0: it has none any more.
    ///
    /// # Errors
    /// Those of `input`.
    pub fn take(&mut self, input: &mut impl Read) -> io::Result<usize> {
        self.0.read_tls(input)
    }

    /// Understands what was taken.
    ///
    /// # Errors
    /// The session is over; what it has to say about that is output.
    pub fn process(&mut self) -> Result<(), Trouble> {
        self.0
            .process_new_packets()
            .map(|_| ())
            .map_err(|e| said(&e))
    }

    /// Gives bytes for the client to `output`, once.
    ///
    /// # Errors
    /// Those of `output`.
    pub fn give(&mut self, output: &mut impl Write) -> io::Result<usize> {
        self.0.write_tls(output)
    }

    /// Plain text of the client that waits. `Ok(None)`: none now. `Ok(Some(b""))`: the client has said that there will be
    /// none.
    ///
    /// # Errors
    /// `UnexpectedEof`: the connection ended without that word, so something may be missing.
    pub fn plain(&mut self) -> io::Result<Option<&[u8]>> {
        match self.0.reader().into_first_chunk() {
            Ok(chunk) => Ok(Some(chunk)),
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Forgets `count` bytes of it.
    pub fn consume(&mut self, count: usize) {
        self.0.reader().consume(count);
    }

    /// Plain text for the client, all of it.
    ///
    /// # Errors
    /// There is no session.
    pub fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.writer().write_all(bytes)
    }

    /// Tells the client that nothing more will come.
    pub fn close(&mut self) {
        self.0.send_close_notify();
    }

    /// What was agreed on; `None` before the end of the handshake.
    pub fn agreed(&self) -> Option<Agreed> {
        Agreed::of(&self.0)
    }

    /// The host that the client asked for.
    pub fn host(&self) -> Option<&str> {
        self.0.server_name()
    }

    /// Whether the client came back with a ticket.
    pub fn is_resumed(&self) -> bool {
        self.0.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// What a program is told of the session, once the handshake is over.
    pub fn told(&self) -> Told {
        let mut told = Told::new();
        let mut tell = |name: &str, value: &[u8]| told.push((name.into(), value.to_vec()));
        let Some(agreed) = self.agreed() else {
            return told;
        };
        let bits = agreed.bits.to_string();
        tell("SSL_PROTOCOL", agreed.protocol.as_bytes());
        let kind: &[u8] = if self.is_resumed() {
            b"Resumed"
        } else {
            b"Initial"
        };
        tell("SSL_SESSION_RESUMED", kind);
        tell("SSL_CIPHER", agreed.cipher.as_bytes());
        tell("SSL_CIPHER_USEKEYSIZE", bits.as_bytes());
        tell("SSL_CIPHER_ALGKEYSIZE", bits.as_bytes());
        if let Some(host) = self.host() {
            tell("SSL_TLS_SNI", host.as_bytes());
        }
        if let Some(protocol) = self.0.alpn_protocol() {
            tell("SSL_TLS_ALPN", protocol);
        }
        if let Some(binding) = self.binding() {
            tell("SSL_TLS_EXPORTER", binding.as_bytes());
        }
        let client = self.0.peer_certificates().and_then(|list| list.first());
        match client {
            Some(der) => {
                tell("SSL_CLIENT_VERIFY", b"SUCCESS");
                about_client(der, &mut tell);
            }
            None => tell("SSL_CLIENT_VERIFY", b"NONE"),
        }
        told
    }

    /// Of TLS 1.3 only: before, it is unique only with an extension that cannot be asked about here.
    fn binding(&self) -> Option<String> {
        if self.0.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            return None;
        }
        let bytes = self
            .0
            .export_keying_material([0; BINDING_LEN], BINDING_LABEL, None)
            .ok()?;
        Some(hexadecimal(&bytes))
    }
}

fn about_client(der: &[u8], tell: &mut impl FnMut(&str, &[u8])) {
    let hash = ring::digest::digest(&ring::digest::SHA256, der);
    let hash = format!("SHA256:{}", hexadecimal(hash.as_ref()));
    tell("SSL_PEER_CERT_HASH", hash.as_bytes());
    let Some(about) = Certificate::read(der) else {
        return;
    };
    tell("SSL_CLIENT_S_DN", &about.subject);
    tell("SSL_CLIENT_I_DN", &about.issuer);
    tell("SSL_CLIENT_M_SERIAL", about.serial.as_bytes());
    for (n, host) in about.hosts.iter().take(TOLD_NAMES).enumerate() {
        tell(&format!("SSL_CLIENT_SAN_DNS_{n}"), host.as_bytes());
    }
    for (n, mail) in about.mails.iter().take(TOLD_NAMES).enumerate() {
        if !mail.contains(&0) {
            tell(&format!("SSL_CLIENT_SAN_Email_{n}"), mail);
        }
    }
}

fn said(error: &rustls::Error) -> Trouble {
    Trouble(error.to_string())
}

#[cfg(test)]
mod tests;
