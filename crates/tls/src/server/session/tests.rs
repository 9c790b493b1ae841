use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;
use crate::server::Authorities;
use crate::server::identity::tests::made;
use crate::server::tickets::Tickets;
use crate::server::{Clients, Identity, Settings, Store};

/// A server with one certificate, for `mail.test`, and its chain.
fn server(settings: &Settings, tickets: &Arc<Tickets>) -> (Config, Vec<u8>) {
    let (chain, key) = made(&["mail.test", "other.test"]);
    let mut store = Store::default();
    store.add_default(&Identity::read(&chain, &key, None).unwrap());
    let config = Config::new(settings, Arc::new(store), tickets.clone()).unwrap();
    (config, chain)
}

fn tickets(name: &str) -> Arc<Tickets> {
    Arc::new(Tickets::shared(&[1; 32], name.as_bytes()).unwrap())
}

fn client_of(chain: &[u8]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(chain).unwrap())
        .unwrap();
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn client(config: &Arc<ClientConfig>, host: &str) -> ClientConnection {
    let host = ServerName::try_from(host.to_owned()).unwrap();
    ClientConnection::new(config.clone(), host).unwrap()
}

/// Carries bytes both ways until nobody has any.
fn talk(client: &mut ClientConnection, server: &mut Session) -> Result<(), String> {
    loop {
        let mut moved = false;
        while client.wants_write() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            let mut rest = wire.as_slice();
            while !rest.is_empty() {
                server.take(&mut rest).unwrap();
                server.process().map_err(|t| format!("server: {}", t.0))?;
            }
            moved = true;
        }
        while server.has_output() {
            let mut wire = Vec::new();
            server.give(&mut wire).unwrap();
            let mut rest = wire.as_slice();
            while !rest.is_empty() {
                client.read_tls(&mut rest).unwrap();
                client
                    .process_new_packets()
                    .map_err(|e| format!("client: {e}"))?;
            }
            moved = true;
        }
        if !moved {
            return Ok(());
        }
    }
}

fn told<'a>(told: &'a Told, name: &str) -> Option<&'a [u8]> {
    let found = told.iter().find(|(n, _)| n == name.as_bytes());
    found.map(|(_, value)| value.as_slice())
}

#[test]
fn a_session_of_each_version() {
    let (config, chain) = server(&Settings::default(), &tickets("1"));
    for (version, name) in [
        (&rustls::version::TLS13, "TLSv1.3"),
        (&rustls::version::TLS12, "TLSv1.2"),
    ] {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(&chain).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let of_version = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut client = client(&Arc::new(of_version), "mail.test");
        let mut server = Session::new(&config).unwrap();
        assert!(server.is_handshaking() && server.agreed().is_none());
        assert_eq!(server.told(), []);
        talk(&mut client, &mut server).unwrap();
        assert!(!server.is_handshaking());
        let all = server.told();
        assert_eq!(told(&all, "SSL_PROTOCOL"), Some(name.as_bytes()));
        assert_eq!(told(&all, "SSL_TLS_SNI"), Some(&b"mail.test"[..]));
        assert_eq!(told(&all, "SSL_CLIENT_VERIFY"), Some(&b"NONE"[..]));
        let binding = told(&all, "SSL_TLS_EXPORTER").map(<[u8]>::len);
        assert_eq!(binding, (name == "TLSv1.3").then_some(64));

        client.writer().write_all(b"EHLO").unwrap();
        talk(&mut client, &mut server).unwrap();
        assert_eq!(server.plain().unwrap(), Some(&b"EHLO"[..]));
        server.consume(4);
        assert_eq!(server.plain().unwrap(), None);
        server.say(&[b'x'; 10_000]).unwrap();
        talk(&mut client, &mut server).unwrap();
        let mut got = vec![0; 10_000];
        client.reader().read_exact(&mut got).unwrap();

        client.send_close_notify();
        talk(&mut client, &mut server).unwrap();
        assert_eq!(server.plain().unwrap(), Some(&b""[..]));
        server.close();
        talk(&mut client, &mut server).unwrap();
    }
}

#[test]
fn an_end_without_a_word_is_an_error() {
    let (config, chain) = server(&Settings::default(), &tickets("1"));
    let mut client = client(&Arc::new(client_of(&chain)), "mail.test");
    let mut server = Session::new(&config).unwrap();
    talk(&mut client, &mut server).unwrap();
    assert_eq!(server.take(&mut io::empty()).unwrap(), 0);
    server.process().unwrap();
    let end = server.plain().unwrap_err();
    assert_eq!(end.kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn tickets_are_good_in_another_process_of_the_service_only() {
    let (chain, key) = made(&["mail.test"]);
    let with = |name: &str| {
        let mut store = Store::default();
        store.add_default(&Identity::read(&chain, &key, None).unwrap());
        Config::new(&Settings::default(), Arc::new(store), tickets(name)).unwrap()
    };
    let browser = Arc::new(client_of(&chain));
    let visit = |config: &Config| {
        let mut client = client(&browser, "mail.test");
        let mut server = Session::new(config).unwrap();
        talk(&mut client, &mut server).unwrap();
        server.is_resumed()
    };
    assert!(!visit(&with("465")));
    assert!(visit(&with("465")), "another process");
    assert!(!visit(&with("25")), "another service");
    assert!(visit(&with("25")));
}

#[test]
fn a_foreign_protocol_is_refused() {
    let settings = Settings {
        protocols: vec![b"smtp".to_vec()],
        ..Settings::default()
    };
    let (config, chain) = server(&settings, &tickets("1"));
    for (offer, good) in [
        (&[][..], true),
        (&["smtp"], true),
        (&["http/1.1"], false),
        (&["h2", "smtp"], true),
    ] {
        let mut wants = client_of(&chain);
        wants.alpn_protocols = offer.iter().map(|p: &&str| p.as_bytes().to_vec()).collect();
        let mut client = client(&Arc::new(wants), "mail.test");
        let mut server = Session::new(&config).unwrap();
        let done = talk(&mut client, &mut server);
        assert_eq!(done.is_ok(), good, "{offer:?} {done:?}");
    }
}

#[test]
fn certificates_of_clients() {
    let (chain, key) = made(&["client.test"]);
    let roots = Authorities {
        roots: chain.clone(),
        revoked: Vec::new(),
    };
    for (clients, with, good) in [
        (Clients::Ignore, true, true),
        (Clients::Ask(roots.clone()), false, true),
        (Clients::Ask(roots.clone()), true, true),
        (Clients::Require(roots.clone()), true, true),
        (Clients::Require(roots), false, false),
    ] {
        let asked = clients != Clients::Ignore;
        let settings = Settings {
            clients,
            ..Settings::default()
        };
        let (config, server_chain) = server(&settings, &tickets("1"));
        let mut wants = client_of(&server_chain);
        if with {
            let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(&key).unwrap();
            let chain = vec![CertificateDer::from_pem_slice(&chain).unwrap()];
            let mut roots = RootCertStore::empty();
            roots
                .add(CertificateDer::from_pem_slice(&server_chain).unwrap())
                .unwrap();
            wants = ClientConfig::builder_with_provider(Arc::new(
                rustls::crypto::ring::default_provider(),
            ))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
        }
        let mut client = client(&Arc::new(wants), "mail.test");
        let mut server = Session::new(&config).unwrap();
        let done = talk(&mut client, &mut server);
        assert_eq!(done.is_ok(), good, "{done:?}");
        if !good {
            continue;
        }
        let all = server.told();
        let want: &[u8] = if with && asked { b"SUCCESS" } else { b"NONE" };
        assert_eq!(told(&all, "SSL_CLIENT_VERIFY"), Some(want));
        if with && asked {
            assert_eq!(
                told(&all, "SSL_CLIENT_SAN_DNS_0"),
                Some(&b"client.test"[..])
            );
            assert!(
                told(&all, "SSL_PEER_CERT_HASH")
                    .unwrap()
                    .starts_with(b"SHA256:")
            );
        }
    }
    let none = Authorities::default();
    let settings = Settings {
        clients: Clients::Require(none),
        ..Settings::default()
    };
    assert!(Config::new(&settings, Arc::default(), tickets("1")).is_err());
}

#[test]
fn plain_text_is_no_handshake() {
    let (config, _) = server(&Settings::default(), &tickets("1"));
    for words in [
        &b"EHLO x\r\n"[..],
        b"GET / HTTP/1.0\r\n\r\n",
        b"\0\0\0\0\0",
        &[0x16; 4000],
    ] {
        let mut server = Session::new(&config).unwrap();
        let mut rest = words;
        let mut end = Ok(());
        while !rest.is_empty() && end.is_ok() {
            server.take(&mut rest).unwrap();
            end = server.process();
        }
        assert!(end.is_err(), "{words:?}");
    }
}
