//! One session: bytes of the server in, bytes for the server out, plain text on the other side. It never waits, and it
//! knows no descriptors.

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::IpAddr;

use rustls::client::ClientConnection;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, Error, ProtocolVersion};

use super::Config;
use crate::agreed::Agreed;

/// What channel binding is derived with (RFC 9266).
const BINDING_LABEL: &[u8] = b"EXPORTER-Channel-Binding";
/// Its length, bytes.
const BINDING_LEN: usize = 32;

/// What ties an exchange to this session (RFC 9266), `tls-exporter`.
pub type Binding = [u8; BINDING_LEN];

/// The client's side of one session.
pub struct Session(ClientConnection);

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

impl Session {
    /// A session before its first byte, with a server that is asked for as `name` if that is a host name, else as
    /// `address`.
    ///
    /// # Errors
    /// A sentence: the configuration has no use.
    pub fn new(config: &Config, name: &[u8], address: IpAddr) -> Result<Session, String> {
        let host = std::str::from_utf8(name).ok();
        let host = host.map(|h| h.trim_end_matches('.').to_owned());
        let asked = host.and_then(|h| ServerName::try_from(h).ok());
        let asked = asked.unwrap_or_else(|| ServerName::from(address));
        let mut inner =
            ClientConnection::new(config.0.clone(), asked).map_err(|e| e.to_string())?;
        // The caller gives only as much as it can pass on.
        inner.set_buffer_limit(None);
        Ok(Session(inner))
    }

    /// Whether the handshake goes on.
    pub fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    /// Whether there are bytes for the server.
    pub fn has_output(&self) -> bool {
        self.0.wants_write()
    }

    /// Takes bytes of the server from `input`, once, and understands them. 0: it has none any more.
    ///
    /// # Errors
    /// Those of `input`; `InvalidData` with a sentence: the session is over, and what it has to say about that is
    /// output.
    pub fn take(&mut self, input: &mut impl Read) -> io::Result<usize> {
        let count = self.0.read_tls(input)?;
        match self.0.process_new_packets() {
            Ok(_) => Ok(count),
            Err(error) => Err(io::Error::new(ErrorKind::InvalidData, said(&error))),
        }
    }

    /// Gives bytes for the server to `output`, once.
    ///
    /// # Errors
    /// Those of `output`.
    pub fn give(&mut self, output: &mut impl Write) -> io::Result<usize> {
        self.0.write_tls(output)
    }

    /// Moves plain text of the server that waits into `buffer`. `Ok(None)`: none now. `Ok(Some(0))`: the server has said
    /// that there will be none.
    ///
    /// # Errors
    /// `UnexpectedEof`: the connection ended without that word, so something may be missing.
    pub fn plain(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let mut reader = self.0.reader();
        let chunk = match reader.fill_buf() {
            Ok(chunk) => chunk,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(e) => return Err(e),
        };
        let count = chunk.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(chunk) {
            *to = *from;
        }
        reader.consume(count);
        Ok(Some(count))
    }

    /// Whether plain text of the server waits.
    pub fn has_plain(&mut self) -> bool {
        self.0
            .reader()
            .fill_buf()
            .is_ok_and(|chunk| !chunk.is_empty())
    }

    /// Plain text for the server, all of it.
    ///
    /// # Errors
    /// There is no session.
    pub fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.writer().write_all(bytes)
    }

    /// Tells the server that nothing more will come.
    pub fn close(&mut self) {
        self.0.send_close_notify();
    }

    /// What was agreed on; `None` before the end of the handshake.
    pub fn agreed(&self) -> Option<Agreed> {
        Agreed::of(&self.0)
    }

    /// What an exchange can be bound to: in TLS 1.3 only; before, it is unique only with an extension that cannot be
    /// asked about here.
    pub fn binding(&self) -> Option<Binding> {
        if self.0.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            return None;
        }
        self.0
            .export_keying_material([0; BINDING_LEN], BINDING_LABEL, None)
            .ok()
    }
}

/// The commonest troubles in words that tell an operator what to do.
fn said(error: &Error) -> String {
    let text = match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate is not signed by an authority that we know"
        }
        Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => {
            "its certificate is none of those that are pinned"
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is for other names",
        Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "its certificate has expired",
        other => return other.to_string(),
    };
    text.to_owned()
}
