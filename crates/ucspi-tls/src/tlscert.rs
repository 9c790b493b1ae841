//! tlscert: make a key and a certificate that vouches for itself, as sslserver reads them.

use std::fs::DirBuilder;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::time::{Duration, SystemTime};

use base::bytes::number;
use base::opt::{Opt, Options};
use base::{Bytes, Call, Die};
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair};
use sys::Dir;
use sys::dir::path;

const USAGE: &str = "tlscert [ -ef ] [ -d days ] directory name ...";
/// How long a certificate is good, if nobody says.
const DAYS: u64 = 365;
/// And at most: a hundred years.
const DAYS_LIMIT: u64 = 36_525;
/// Seconds of a day.
const DAY: u64 = 86_400;
/// The most names.
const NAMES_LIMIT: usize = 100;
/// Longer names do not fit in the name of the certificate, bytes.
const SHOWN_LIMIT: usize = 64;

/// Mode of the key, of the certificate, of the directory.
const SECRET: u32 = 0o600;
const PUBLIC: u32 = 0o644;
const DIRECTORY: u32 = 0o755;

struct Settings {
    /// `-e`: Ed25519 instead of ECDSA
    edwards: bool,
    /// `-f`: in place of what is there
    force: bool,
    days: u64,
    directory: Bytes,
    names: Vec<String>,
}

/// Makes DIRECTORY/privkey.pem and DIRECTORY/fullchain.pem. See tlscert(1).
///
/// # Errors
/// Misuse, or a name that is none (100); what cannot be written (111).
pub fn tlscert(call: &Call) -> Result<(), Die> {
    let settings = read(&call.args)?;
    sys::process::umask(0o022);

    let (key, certificate) = make(&settings)?;

    put(&settings, &key, &certificate)
}

fn read(words: &[Bytes]) -> Result<Settings, Die> {
    let misuse = || Die::usage(USAGE);
    let mut settings = Settings {
        edwards: false,
        force: false,
        days: DAYS,
        directory: Bytes::new(),
        names: Vec::new(),
    };
    let mut options = Options::new(words, "efd:");
    for option in options.by_ref() {
        match option {
            Opt::Flag(b'e') => settings.edwards = true,
            Opt::Flag(b'f') => settings.force = true,
            Opt::Value(b'd', value) => {
                settings.days = number(&value)
                    .filter(|days| (1..=DAYS_LIMIT).contains(days))
                    .ok_or_else(misuse)?;
            }
            _ => return Err(misuse()),
        }
    }
    let [directory, names @ ..] = options.rest() else {
        return Err(misuse());
    };
    if names.is_empty() || names.len() > NAMES_LIMIT || directory.is_empty() {
        return Err(misuse());
    }
    settings.directory.clone_from(directory);
    for name in names {
        settings.names.push(host(name)?);
    }
    Ok(settings)
}

/// A name or an address of a host.
fn host(name: &[u8]) -> Result<String, Die> {
    let plain =
        |&b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'*' | b':');
    let text = std::str::from_utf8(name).ok();
    text.filter(|text| !text.is_empty() && text.len() < 254 && name.iter().all(plain))
        .map(str::to_ascii_lowercase)
        .ok_or_else(|| Die::fatal(100, [b"not a name of a host: ", name].concat()))
}

/// Key and certificate, PEM.
fn make(settings: &Settings) -> Result<(String, String), Die> {
    let failed = |e: rcgen::Error| Die::fatal(100, format!("unable to make certificate: {e}"));
    let kind = if settings.edwards {
        &rcgen::PKCS_ED25519
    } else {
        &rcgen::PKCS_ECDSA_P256_SHA256
    };
    let key = KeyPair::generate_for(kind).map_err(failed)?;
    let mut params = CertificateParams::new(settings.names.clone()).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    if let Some(name) = settings.names.first().filter(|n| n.len() <= SHOWN_LIMIT) {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    // A client whose clock is slow sees it as good, too.
    let now = SystemTime::now();
    let begin = now.checked_sub(Duration::from_secs(DAY)).unwrap_or(now);
    let life = Duration::from_secs(settings.days * DAY);
    params.not_before = begin.into();
    params.not_after = now.checked_add(life).unwrap_or(now).into();
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok((key.serialize_pem(), certificate.pem()))
}

/// Both files, whole; the key first, so that a server that looks in between finds a pair that does not fit, and goes on
/// with what it has.
fn put(settings: &Settings, key: &str, certificate: &str) -> Result<(), Die> {
    let directory = &settings.directory;
    let unable =
        |what: &str, e: &io::Error| Die::unable([what.as_bytes(), b" ", directory].concat(), e);
    let made = DirBuilder::new().mode(DIRECTORY).create(path(directory));
    match made {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(unable("make", &e)),
        _ => {}
    }
    let dir = Dir::open(path(directory)).map_err(|e| unable("open", &e))?;
    let files = [
        ("privkey.pem", key, SECRET),
        ("fullchain.pem", certificate, PUBLIC),
    ];
    if !settings.force {
        for (name, _, _) in files {
            if dir.stat_link(name.as_bytes()).is_ok() {
                let text = [
                    directory.as_slice(),
                    b"/",
                    name.as_bytes(),
                    b" is there already",
                ];
                return Err(Die::fatal(100, text.concat()));
            }
        }
    }
    for (name, text, mode) in files {
        replace(&dir, name, text, mode).map_err(|e| unable(&format!("write {name} in"), &e))?;
    }
    sys::dir::sync(&dir).map_err(|e| unable("sync", &e))
}

/// Readers see the old file or the new one.
fn replace(dir: &Dir, name: &str, text: &str, mode: u32) -> io::Result<()> {
    let aside = format!("{name}.tmp");
    match dir.unlink(aside.as_bytes()) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut new = dir.create_new(aside.as_bytes(), mode)?;
    new.write_all(text.as_bytes())?;
    new.sync_all()?;
    dir.rename(aside.as_bytes(), dir, name.as_bytes())
}
