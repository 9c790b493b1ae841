//! The files of a server: certificates, keys, authorities; and whether they have changed.
//!
//! `CERTFILE` and `KEYFILE` name one certificate for everybody. `CERTDIR` is a directory as certbot lays it out: one
//! directory for each certificate, with `fullchain.pem` and `privkey.pem`, and `ocsp.der` if there is an answer of the
//! authority to pass on.

use std::collections::HashMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base::die::system_text;
use base::{Bytes, env};
use sys::dir::path;
use tls::server::tickets::Tickets;
use tls::server::{Authorities, Clients, Config, Identity, Store, ciphers};

use super::settings::{Asked, Options};

/// The largest file, bytes.
const FILE_LIMIT: u64 = 1 << 20;
/// The most certificates of one directory.
const CERTIFICATES_LIMIT: usize = 10_000;
/// The right to read, in the mode of a file, that belongs to everybody.
const OTHERS: u32 = 0o004;
/// Days before its end from which a certificate is worth a warning.
const WARN_DAYS: i64 = 7;
/// Seconds of a day.
const DAY: i64 = 86_400;

/// Where everything is.
#[derive(Clone, Debug)]
pub(super) struct Files {
    /// certificate and key, of one kind or two
    pairs: Vec<(Bytes, Bytes)>,
    ocsp: Option<Bytes>,
    directory: Option<Bytes>,
    authorities: Vec<Bytes>,
    authority_directories: Vec<Bytes>,
    revoked: Option<Bytes>,
    ciphers: Option<Bytes>,
    ticket_key: Option<Bytes>,
    /// the last of each directory that could be used: files are renewed one after the other
    good: HashMap<Bytes, Identity>,
}

/// What makes a file the same file: device, inode, size, time of change.
pub(super) type Mark = Option<(u64, u64, u64, i64, i64)>;

fn variable(name: &str) -> Option<Bytes> {
    env(name).filter(|value| !value.is_empty())
}

impl Files {
    /// As the environment names them.
    pub(super) fn new(options: &Options) -> Files {
        let pair = |chain: Option<Bytes>, key: Option<Bytes>| {
            let chain = chain?;
            let key = key.unwrap_or_else(|| chain.clone());
            Some((chain, key))
        };
        let chain = variable("CERTCHAINFILE").or_else(|| variable("CERTFILE"));
        let first = pair(chain, variable("KEYFILE"));
        let second = pair(variable("CERTFILEEC"), variable("KEYFILEEC"));
        Files {
            pairs: first.into_iter().chain(second).collect(),
            ocsp: variable("OCSPFILE"),
            directory: options.directory.clone().filter(|d| !d.is_empty()),
            authorities: variable("CCAFILE")
                .into_iter()
                .chain(variable("CAFILE"))
                .collect(),
            authority_directories: variable("CADIR").into_iter().collect(),
            revoked: variable("CRLDIR"),
            ciphers: variable("CIPHERS"),
            ticket_key: options.ticket_key.clone().filter(|k| !k.is_empty()),
            good: HashMap::new(),
        }
    }

    /// Reads everything. Returns the configuration, and what the log should know.
    ///
    /// # Errors
    /// What cannot be used, for the log.
    pub(super) fn read(
        &mut self,
        options: &Options,
        port: u16,
        tickets: Arc<Tickets>,
    ) -> Result<(Config, Vec<String>), String> {
        let mut notes = Vec::new();
        let store = self.store(&mut notes)?;
        let (known, unknown) = match &self.ciphers {
            Some(list) => {
                let list = std::str::from_utf8(list).map_err(|_| "CIPHERS is not text")?;
                let (known, unknown) = ciphers(list);
                (known, unknown.join(" "))
            }
            None => (Vec::new(), String::new()),
        };
        if !unknown.is_empty() {
            notes.push(format!("CIPHERS: no such cipher here: {unknown}"));
        }
        let settings = tls::server::Settings {
            oldest: options.oldest,
            ciphers: known,
            protocols: options.protocols_at(port),
            clients: self.clients(options.asked)?,
        };
        let config = Config::new(&settings, Arc::new(store), tickets)?;
        Ok((config, notes))
    }

    fn store(&mut self, notes: &mut Vec<String>) -> Result<Store, String> {
        let mut store = Store::default();
        for (chain, key) in &self.pairs {
            let ocsp = self.ocsp.as_ref().map(|file| read(file)).transpose()?;
            let identity = identity(chain, key, ocsp)?;
            notes.extend(age(chain, &identity).into_iter().chain(open(key)));
            store.add_default(&identity);
        }
        for name in self.names()? {
            let file = |last: &str| [name.as_slice(), b"/", last.as_bytes()].concat();
            let ocsp = read(&file("ocsp.der")).ok();
            let key = file("privkey.pem");
            let found = match identity(&file("fullchain.pem"), &key, ocsp) {
                Ok(found) => {
                    notes.extend(age(&name, &found).into_iter().chain(open(&key)));
                    self.good.insert(name, found.clone());
                    found
                }
                // One that is being made must not stop the others.
                Err(why) => match self.good.get(&name) {
                    Some(old) => {
                        notes.push(format!("{why}: the old one stays in use"));
                        old.clone()
                    }
                    None => {
                        notes.push(why);
                        continue;
                    }
                },
            };
            if store.has_default() {
                store.add(&found);
            } else {
                store.add_default(&found);
            }
        }
        if store.has_default() {
            return Ok(store);
        }
        let last = notes.pop();
        Err(last.unwrap_or_else(|| "no certificate: set CERTFILE or CERTDIR".into()))
    }

    /// The directories of certificates, in order of their names.
    fn names(&self) -> Result<Vec<Bytes>, String> {
        let Some(directory) = &self.directory else {
            return Ok(Vec::new());
        };
        let mut names = listed(directory)?;
        names.retain(|name| path(name).is_dir());
        Ok(names)
    }

    fn clients(&self, asked: Asked) -> Result<Clients, String> {
        if asked == Asked::Nothing {
            return Ok(Clients::Ignore);
        }
        let mut authorities = Authorities::default();
        for file in &self.authorities {
            authorities.roots.extend(read(file)?);
        }
        for directory in &self.authority_directories {
            for file in listed(directory)? {
                authorities.roots.extend(read(&file)?);
            }
        }
        if let Some(directory) = &self.revoked {
            for file in listed(directory)? {
                authorities.revoked.extend(read(&file)?);
            }
        }
        Ok(match asked {
            Asked::Certificate => Clients::Ask(authorities),
            _ => Clients::Require(authorities),
        })
    }

    /// The keys of tickets for this service. They outlive a restart only if a file says what they are made from.
    pub(super) fn tickets(&self, port: u16) -> Result<Arc<Tickets>, String> {
        let name = format!("port {port}");
        let made = match &self.ticket_key {
            None => Tickets::new(name.as_bytes()),
            Some(file) => {
                let secret = read(file)?;
                let (master, _) = secret.split_first_chunk().ok_or_else(|| {
                    let file = String::from_utf8_lossy(file);
                    format!("{file}: fewer than 32 bytes")
                })?;
                Tickets::shared(master, name.as_bytes())
            }
        };
        made.map(Arc::new)
            .ok_or_else(|| "unable to make keys for tickets".into())
    }

    /// One mark for each file and directory that counts.
    pub(super) fn marks(&self) -> Vec<Mark> {
        let mut files: Vec<Bytes> = Vec::new();
        for (chain, key) in &self.pairs {
            files.extend([chain.clone(), key.clone()]);
        }
        files.extend(self.ocsp.clone());
        files.extend(self.authorities.clone());
        let directories = [&self.directory, &self.revoked].into_iter().flatten();
        for directory in directories.chain(&self.authority_directories) {
            files.push(directory.clone());
            for name in listed(directory).unwrap_or_default() {
                for last in ["", "/fullchain.pem", "/privkey.pem", "/ocsp.der"] {
                    files.push([name.as_slice(), last.as_bytes()].concat());
                }
            }
        }
        files.iter().map(|file| mark(file)).collect()
    }
}

fn mark(file: &[u8]) -> Mark {
    let about = fs::metadata(path(file)).ok()?;
    Some((
        about.dev(),
        about.ino(),
        about.size(),
        about.mtime(),
        about.mtime_nsec(),
    ))
}

/// The names in a directory, as paths, without hidden ones.
fn listed(directory: &[u8]) -> Result<Vec<Bytes>, String> {
    let failed = |e: io::Error| unable(directory, &e);
    let mut names = Vec::new();
    for entry in fs::read_dir(path(directory)).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().into_encoded_bytes();
        if !name.starts_with(b".") && names.len() < CERTIFICATES_LIMIT {
            names.push([directory, b"/", &name].concat());
        }
    }
    names.sort();
    Ok(names)
}

fn unable(file: &[u8], error: &io::Error) -> String {
    let file = String::from_utf8_lossy(file);
    format!("unable to read {file}: {}", system_text(error))
}

fn read(file: &[u8]) -> Result<Bytes, String> {
    let name: PathBuf = path(file).to_path_buf();
    let text = fs::metadata(&name).and_then(|about| {
        if about.len() > FILE_LIMIT {
            return Err(ErrorKind::FileTooLarge.into());
        }
        fs::read(&name)
    });
    text.map_err(|e| unable(file, &e))
}

fn identity(chain: &[u8], key: &[u8], ocsp: Option<Bytes>) -> Result<Identity, String> {
    let (certificates, secret) = (read(chain)?, read(key)?);
    Identity::read(&certificates, &secret, ocsp).map_err(|why| {
        let chain = String::from_utf8_lossy(chain);
        format!("{chain}: {why}")
    })
}

/// A warning about a key that is none any more.
fn open(key: &[u8]) -> Option<String> {
    let about = fs::metadata(path(key)).ok()?;
    let name = String::from_utf8_lossy(key);
    (about.mode() & OTHERS != 0).then(|| format!("{name}: every user can read this key"))
}

/// A warning about a certificate that ends soon, has ended, or has not begun.
fn age(name: &[u8], identity: &Identity) -> Option<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let now = i64::try_from(now.as_secs()).ok()?;
    let name = String::from_utf8_lossy(name);
    let about = identity.about();
    let left = about.ends.saturating_sub(now) / DAY;
    if about.ends < now {
        Some(format!("{name}: certificate has expired"))
    } else if about.begins > now {
        Some(format!("{name}: certificate is not valid yet"))
    } else if left < WARN_DAYS {
        Some(format!("{name}: certificate expires in {left} days"))
    } else {
        None
    }
}
