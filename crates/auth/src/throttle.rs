//! Slowing down those who guess passwords: failures of the last hours, in one small file for all processes.
//!
//! A failure is counted for its network (an IPv4 address, or an IPv6 /64) and for its account. Both fade by half every
//! half hour. The more there are, the longer the answer to the next failure waits; beyond a limit attempts are refused
//! unasked. But who got in lately from the same network with the same account is known as a pair, and no count of
//! others stops him: an office behind one address goes on reading mail while one of its machines guesses.
//!
//! The file holds tables of fixed size: a guesser can push others out of them, not fill a disk. It holds no names and
//! no addresses, only their digests under a key that is made with the file. A file that is missing or cannot be used
//! means no limits, and no delay but the shortest: the tables protect, nothing depends on them.
//!
//! Source  reference: the tcpto table of qmail-remote(8)

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use base::Bytes;

use crate::digest::Hash;

/// Records of each of the three tables: networks, accounts, pairs.
const RECORDS: usize = 1024;
/// Places where a record may be, from the one that its digest names.
const PLACES: usize = 8;
/// Bytes of a record: digest, count in hundredths, time.
const RECORD: usize = 16;
/// Bytes in front: a word that names the form, and the key.
const HEAD: usize = 32;
const FORM: &[u8; 16] = b"qmail throttle 1";
/// Bytes of the file.
pub const SIZE: usize = HEAD + 3 * RECORDS * RECORD;

/// Seconds after which half of a count is forgotten.
const HALF_LIFE: u32 = 1800;
/// Seconds for which a pair is known after it got in.
const PAIR_LIFE: u32 = 14 * 86400;
/// A failure, in the unit of counts.
const FAILURE: u32 = 100;
/// Failures of one network beyond which strangers are refused unasked.
const NETWORK_LIMIT: u32 = 30;
/// Failures of one account, from wherever, beyond which strangers are refused unasked.
const ACCOUNT_LIMIT: u32 = 60;
/// The shortest and the longest wait after a failure.
const DELAYS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(16)];
/// How long we wait for the lock; after that we go on without the tables.
const LOCK_WAIT: Duration = Duration::from_secs(2);
const LOCK_STEP: Duration = Duration::from_millis(2);

/// Where the file is, relative to home, if nobody says anything else.
pub const PATH: &str = "run/throttle";

/// The tables.
#[derive(Debug)]
pub struct Throttle {
    file: Option<File>,
    key: Bytes,
}

/// What becomes of an attempt before anybody is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// ask the checker
    Ask,
    /// refuse, as if the password were wrong: too many failures, and this pair is not known
    Refuse(Why),
}

/// Which limit was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// too many failures from this network
    Network,
    /// too many failures for this account
    Account,
}

/// What the caller does after a failure: waits so long, and logs these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct After {
    /// before the answer
    pub delay: Duration,
    /// failures of this network that are not forgotten, this one too
    pub network: u32,
    /// failures of this account that are not forgotten, this one too
    pub account: u32,
}

#[derive(Clone, Copy)]
enum Table {
    Networks,
    Accounts,
    Pairs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Record {
    digest: u64,
    count: u32,
    when: u32,
}

impl Record {
    fn unpack(bytes: &[u8]) -> Record {
        let number = |from: usize, to: usize| {
            let part = bytes.get(from..to).unwrap_or_default();
            part.iter()
                .rev()
                .fold(0u64, |sum, &b| sum << 8 | u64::from(b))
        };
        Record {
            digest: number(0, 8),
            count: u32::try_from(number(8, 12)).unwrap_or(u32::MAX),
            when: u32::try_from(number(12, 16)).unwrap_or(0),
        }
    }

    fn pack(self) -> Bytes {
        [
            &self.digest.to_le_bytes()[..],
            &self.count.to_le_bytes(),
            &self.when.to_le_bytes(),
        ]
        .concat()
    }

    /// The count that is left `now`. A time in the future says that the clock was set back: it counts as now.
    fn left(self, now: u32) -> u32 {
        let age = now.saturating_sub(self.when);
        let halved = self.count.checked_shr(age / HALF_LIFE).unwrap_or(0);
        // Between two halvings in a straight line.
        let part = u64::from(halved) * u64::from(age % HALF_LIFE) / u64::from(2 * HALF_LIFE);
        halved.saturating_sub(u32::try_from(part).unwrap_or(u32::MAX))
    }
}

/// An address, or the network of an IPv6 address: whoever has one of its addresses has them all.
fn network(address: IpAddr) -> Bytes {
    match sys::socket::unmapped(address) {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().into_iter().take(8).collect(),
    }
}

/// One name for one account: case and blanks at the ends do not make another.
fn account(name: &[u8]) -> Bytes {
    name.trim_ascii().to_ascii_lowercase()
}

fn now() -> u32 {
    u32::try_from(base::tai::unix_now()).unwrap_or(0)
}

impl Throttle {
    /// Opens the tables at `path`; does not make them.
    pub fn open(path: impl AsRef<Path>) -> Throttle {
        let file = OpenOptions::new().read(true).write(true).open(path).ok();
        Throttle {
            key: file.as_ref().and_then(|f| head(f).ok()).unwrap_or_default(),
            file,
        }
    }

    /// Makes empty tables with a new key, if there are none at `path`. `mode`: who may read and write them.
    ///
    /// # Errors
    /// They cannot be made. `AlreadyExists` is not an error.
    pub fn create(path: impl AsRef<Path>, mode: u32) -> io::Result<()> {
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path);
        match made {
            Ok(mut file) => {
                file.write_all(&new_head()?)?;
                file.set_len(SIZE as u64)
            }
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Whether there are tables: without them nothing is counted.
    pub fn is_working(&self) -> bool {
        !self.key.is_empty()
    }

    /// What becomes of an attempt to log in as `name` from `address`.
    pub fn before(&self, address: IpAddr, name: &[u8]) -> Before {
        self.before_at(address, name, now())
    }

    fn before_at(&self, address: IpAddr, name: &[u8], now: u32) -> Before {
        let (network, account) = (network(address), account(name));
        let Ok(_lock) = self.lock() else {
            return Before::Ask;
        };
        let count = |table, what: &[u8]| {
            let found = self.find(table, what).ok().flatten();
            found.map_or(0, |(_, r)| r.left(now)) / FAILURE
        };
        let why = if count(Table::Networks, &network) >= NETWORK_LIMIT {
            Why::Network
        } else if count(Table::Accounts, &account) >= ACCOUNT_LIMIT {
            Why::Account
        } else {
            return Before::Ask;
        };
        let pair = self.find(Table::Pairs, &pair(&network, &account));
        match pair.ok().flatten() {
            Some((_, r)) if now.saturating_sub(r.when) < PAIR_LIFE => Before::Ask,
            _ => Before::Refuse(why),
        }
    }

    /// Notes a failure, whether it was refused by the checker or unasked.
    pub fn failed(&self, address: IpAddr, name: &[u8]) -> After {
        self.failed_at(address, name, now())
    }

    fn failed_at(&self, address: IpAddr, name: &[u8], now: u32) -> After {
        let add = |table, what: &[u8], limit: u32| {
            let left = self.find(table, what).ok().flatten();
            let left = left.map_or(0, |(_, r)| r.left(now));
            // Beyond twice the limit nothing changes: the way back has an end.
            let count = left.saturating_add(FAILURE).min(2 * limit * FAILURE);
            let _ = self.put(table, what, count, now);
            count / FAILURE
        };
        let lock = self.lock();
        let (network, account) = if lock.is_ok() {
            (
                add(Table::Networks, &network(address), NETWORK_LIMIT),
                add(Table::Accounts, &account(name), ACCOUNT_LIMIT),
            )
        } else {
            (1, 1)
        };
        // One mistyped password waits a second; each two failures double it.
        let [least, most] = DELAYS;
        let doubled =
            least.saturating_mul(1 << (network.max(account).saturating_sub(1) / 2).min(10));
        After {
            delay: doubled.min(most),
            network,
            account,
        }
    }

    /// Notes that `name` got in from `address`: the pair is known from now on, and no count stops it.
    pub fn succeeded(&self, address: IpAddr, name: &[u8]) {
        self.succeeded_at(address, name, now());
    }

    fn succeeded_at(&self, address: IpAddr, name: &[u8], now: u32) {
        if let Ok(_lock) = self.lock() {
            let pair = pair(&network(address), &account(name));
            let _ = self.put(Table::Pairs, &pair, FAILURE, now);
        }
    }

    fn lock(&self) -> io::Result<Lock<'_>> {
        let file = self.file.as_ref().filter(|_| self.is_working());
        locked(file.ok_or(ErrorKind::NotFound)?)
    }

    /// The digest of what a record is about, and where in the file its places begin.
    fn place(&self, table: Table, what: &[u8]) -> (u64, u64) {
        let sum = Hash::Sha256.hmac(&self.key, what);
        let number = |from: usize| {
            let part = sum.get(from..from + 8).unwrap_or_default();
            part.iter().fold(0u64, |sum, &b| sum << 8 | u64::from(b))
        };
        // A free record has digest 0.
        let digest = number(0).max(1);
        let bucket = number(8) % (RECORDS / PLACES) as u64;
        let first = match table {
            Table::Networks => 0,
            Table::Accounts => RECORDS,
            Table::Pairs => 2 * RECORDS,
        };
        let at = HEAD + first * RECORD;
        (digest, at as u64 + bucket * (PLACES * RECORD) as u64)
    }

    /// The records of one bucket.
    fn bucket(&self, at: u64) -> io::Result<Vec<Record>> {
        let mut file = self.file.as_ref().ok_or(ErrorKind::NotFound)?;
        let mut bytes = [0; PLACES * RECORD];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut bytes)?;
        Ok(bytes.chunks_exact(RECORD).map(Record::unpack).collect())
    }

    fn find(&self, table: Table, what: &[u8]) -> io::Result<Option<(usize, Record)>> {
        let (digest, at) = self.place(table, what);
        let records = self.bucket(at)?;
        let mut found = records.into_iter().enumerate();
        Ok(found.find(|(_, r)| r.digest == digest))
    }

    /// Writes a record: in its place, or a free one, or that of the one that matters least by now.
    fn put(&self, table: Table, what: &[u8], count: u32, now: u32) -> io::Result<()> {
        let (digest, at) = self.place(table, what);
        let records = self.bucket(at)?;
        let own = records.iter().position(|r| r.digest == digest);
        let free = || records.iter().position(|r| r.digest == 0);
        let least = || {
            let weight = |r: &Record| match table {
                Table::Pairs => r.when,
                Table::Networks | Table::Accounts => r.left(now),
            };
            let found = records.iter().enumerate().min_by_key(|(_, r)| weight(r));
            found.map_or(0, |(place, _)| place)
        };
        let place = own.or_else(free).unwrap_or_else(least);
        let record = Record {
            digest,
            count,
            when: now,
        };
        let mut file = self.file.as_ref().ok_or(ErrorKind::NotFound)?;
        file.seek(SeekFrom::Start(at + (place * RECORD) as u64))?;
        file.write_all(&record.pack())
    }
}

/// The lock, given back at the end of its scope: the descriptor stays open.
struct Lock<'a>(&'a File);

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        let _ = sys::lock::unlock(self.0);
    }
}

fn pair(network: &[u8], account: &[u8]) -> Bytes {
    [network, b"\0", account].concat()
}

/// The key of tables in our form. Tables of zero bytes, as they are installed, get theirs now.
fn head(file: &File) -> io::Result<Bytes> {
    if file.metadata()?.len() != SIZE as u64 {
        return Err(ErrorKind::InvalidData.into());
    }
    if let Some(key) = key(file)? {
        return Ok(key);
    }
    let _lock = locked(file)?;
    if let Some(key) = key(file)? {
        return Ok(key);
    }
    let made = new_head()?;
    let mut file = file;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&made)?;
    Ok(made.get(FORM.len()..).unwrap_or_default().to_vec())
}

/// `None`: all is zero so far.
fn key(mut file: &File) -> io::Result<Option<Bytes>> {
    let mut head = [0; HEAD];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut head)?;
    match head.strip_prefix(FORM.as_slice()) {
        Some(key) => Ok(Some(key.to_vec())),
        None if head.iter().all(|&b| b == 0) => Ok(None),
        None => Err(ErrorKind::InvalidData.into()),
    }
}

fn new_head() -> io::Result<Bytes> {
    let mut key = [0; HEAD - FORM.len()];
    sys::random::fill(&mut key)?;
    Ok([&FORM[..], &key].concat())
}

/// Waits for the lock, not for ever.
fn locked(file: &File) -> io::Result<Lock<'_>> {
    let end = Instant::now() + LOCK_WAIT;
    while !sys::lock::try_exclusive(file)? {
        if Instant::now() > end {
            return Err(ErrorKind::TimedOut.into());
        }
        std::thread::sleep(LOCK_STEP);
    }
    Ok(Lock(file))
}

#[cfg(test)]
mod tests;
