use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::*;
use crate::server::identity::tests::made;
use crate::server::tickets::Tickets;
use crate::server::{self, Identity, Settings, Store};

struct Server {
    config: server::Config,
    chain: Vec<u8>,
}

impl Server {
    fn new(names: &[&str]) -> Server {
        let (chain, key) = made(names);
        let mut store = Store::default();
        store.add_default(&Identity::read(&chain, &key, None).unwrap());
        let tickets = Arc::new(Tickets::new(b"test").unwrap());
        let config = server::Config::new(&Settings::default(), Arc::new(store), tickets).unwrap();
        Server { config, chain }
    }

    fn pin(&self) -> Pin {
        pin(&CertificateDer::from_pem_slice(&self.chain).unwrap())
    }

    /// A handshake and a word each way; what the client thinks of it.
    fn meet(&self, trust: Trust) -> Result<String, String> {
        let config = Config::new(trust, None)?;
        let address = "192.0.2.1".parse().unwrap();
        let mut client = Session::new(&config, b"asked.test.", address)?;
        let mut server = server::Session::new(&self.config).unwrap();
        for _ in 0..10 {
            while client.has_output() {
                let mut wire = Vec::new();
                client.give(&mut wire).unwrap();
                let mut rest = wire.as_slice();
                while !rest.is_empty() {
                    server.take(&mut rest).unwrap();
                    let _ = server.process();
                }
            }
            while server.has_output() {
                let mut wire = Vec::new();
                server.give(&mut wire).unwrap();
                let mut rest = wire.as_slice();
                while !rest.is_empty() {
                    client.take(&mut rest).map_err(|e| e.to_string())?;
                }
            }
        }
        assert!(!client.is_handshaking() && !server.is_handshaking());
        assert_eq!(server.host(), Some("asked.test"));
        server.say(b"hello").unwrap();
        let mut wire = Vec::new();
        server.give(&mut wire).unwrap();
        client.take(&mut wire.as_slice()).unwrap();
        assert!(client.has_plain());
        let mut text = [0; 16];
        assert_eq!(client.plain(&mut text).unwrap(), Some(5));
        assert_eq!(client.plain(&mut text).unwrap(), None);
        assert_eq!(client.take(&mut &b""[..]).unwrap(), 0);
        let cut = client.plain(&mut text).unwrap_err();
        assert_eq!(cut.kind(), std::io::ErrorKind::UnexpectedEof);
        let told = server.told();
        let exporter = told.iter().find(|(n, _)| n == b"SSL_TLS_EXPORTER").unwrap();
        let ours = crate::certificate::hexadecimal(&client.binding().unwrap());
        assert_eq!(exporter.1, ours.as_bytes());
        Ok(client.agreed().unwrap().protocol.to_owned())
    }

    fn signed_for(&self, names: &[&str]) -> Trust {
        Trust::Authorities {
            roots: Arc::new(self.chain.clone()),
            names: names.iter().map(|n| n.as_bytes().to_vec()).collect(),
        }
    }
}

#[test]
fn anybody_will_do_when_nobody_is_named() {
    let server = Server::new(&["mx.a.test"]);
    assert_eq!(server.meet(Trust::Anybody).unwrap(), "TLSv1.3");
}

#[test]
fn a_certificate_must_be_for_one_of_the_names() {
    let server = Server::new(&["mx.a.test", "*.wild.test"]);
    let meets = |names: &[&str]| server.meet(server.signed_for(names)).is_ok();
    assert!(meets(&["mx.a.test"]));
    assert!(meets(&["b.test", "MX.A.test"]));
    assert!(meets(&[".a.test"]));
    assert!(meets(&[".wild.test"]));
    assert!(meets(&["x.wild.test"]));
    for wrong in [
        "a.test",
        ".x.a.test",
        "b.test",
        "wild.test",
        "",
        ".",
        "\u{e4}",
    ] {
        let why = server.meet(server.signed_for(&[wrong])).unwrap_err();
        // A lone dot is below nothing, and every name ends with it only as text.
        assert_eq!(why, "its certificate is for other names", "{wrong}");
    }
    assert!(!meets(&[]));
}

#[test]
fn a_stranger_signed_by_nobody_is_refused() {
    let (server, other) = (Server::new(&["a.test"]), Server::new(&["a.test"]));
    let why = server.meet(other.signed_for(&["a.test"])).unwrap_err();
    assert!(why.contains("certificate"), "{why}");
}

#[test]
fn a_pin_is_a_certificate() {
    let (server, other) = (Server::new(&["a.test"]), Server::new(&["a.test"]));
    assert!(
        server
            .meet(Trust::Pins(vec![other.pin(), server.pin()]))
            .is_ok()
    );
    let why = server.meet(Trust::Pins(vec![other.pin()])).unwrap_err();
    assert_eq!(why, "its certificate is none of those that are pinned");
    assert!(server.meet(Trust::Pins(vec![])).is_err());
}

#[test]
fn authorities_must_be_readable() {
    let trust = Trust::Authorities {
        roots: Arc::new(b"nothing".to_vec()),
        names: vec![],
    };
    assert!(Config::new(trust, None).is_err());
    assert!(Config::new(Trust::Anybody, Some(b"nothing")).is_err());
}
