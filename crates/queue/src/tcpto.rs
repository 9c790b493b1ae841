//! Hosts that did not answer lately: a small table on disk, shared by every qmail-remote (djb's `tcpto`).
//!
//! queue/lock/tcpto holds 64 records of 16 bytes for IPv4, in the classic format, so that C programs share it.
//! queue/lock/tcpto6 holds 64 records of 32 bytes for IPv6, in the same manner. A file that is missing or cannot be
//! used is as good as an empty one: the table saves time, nothing depends on it. All numbers are little-endian.
//!
//! Source  qmail-tcpto(8), qmail-tcpok(8)

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Records of a file.
pub const RECORDS: usize = 64;
/// The highest count of timeouts.
const COUNT_LIMIT: u8 = 10;
/// So many timeouts make a host wait.
const COUNT_BLOCKED: u8 = 2;
/// Timeouts closer together than this are one, seconds.
const SAME: u32 = 120;
/// How long we wait for the lock; after that we go on without the table.
const LOCK_WAIT: Duration = Duration::from_secs(2);
/// How long between two looks at the lock.
const LOCK_STEP: Duration = Duration::from_millis(5);

/// How the records of one file look.
#[derive(Clone, Copy, Debug)]
struct Shape {
    path: &'static str,
    size: usize,
    count_at: usize,
    time_at: usize,
}

const V4: Shape = Shape {
    path: "queue/lock/tcpto",
    size: 16,
    count_at: 4,
    time_at: 8,
};

const V6: Shape = Shape {
    path: "queue/lock/tcpto6",
    size: 32,
    count_at: 16,
    time_at: 24,
};

/// One host of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// its address
    pub address: IpAddr,
    /// how many timeouts in a row; 0: it answered since, the record is free
    pub count: u8,
    /// when the last timeout was, Unix seconds
    pub when: u32,
}

/// What the table says of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// nothing
    Unknown,
    /// it is in the table, but may be tried
    Known,
    /// it did not answer twice or more, the last time not long ago: leave it alone
    Blocked,
}

impl Shape {
    fn of(address: IpAddr) -> Shape {
        if address.is_ipv4() { V4 } else { V6 }
    }

    fn unpack(self, bytes: &[u8]) -> Option<Record> {
        let address = if self.size == V4.size {
            Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(..4)?).ok()?).into()
        } else {
            Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(..16)?).ok()?).into()
        };
        let time = bytes.get(self.time_at..self.time_at + 4)?;
        Some(Record {
            address,
            count: *bytes.get(self.count_at)?,
            when: u32::from_le_bytes(time.try_into().ok()?),
        })
    }

    fn pack(self, record: Record) -> Vec<u8> {
        let mut bytes = match record.address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        bytes.push(record.count);
        bytes.resize(self.time_at, 0);
        bytes.extend_from_slice(&record.when.to_le_bytes());
        bytes.resize(self.size, 0);
        bytes
    }

    /// Opens and locks the file, and reads its records.
    fn open(self) -> io::Result<(File, Vec<Record>)> {
        let mut file = OpenOptions::new().read(true).write(true).open(self.path)?;
        lock(&file)?;
        let mut bytes = Vec::new();
        (&mut file)
            .take((RECORDS * self.size) as u64)
            .read_to_end(&mut bytes)?;
        let records = bytes
            .chunks_exact(self.size)
            .filter_map(|b| self.unpack(b))
            .collect();
        Ok((file, records))
    }

    fn write(self, file: &mut File, place: usize, record: Record) -> io::Result<()> {
        file.seek(SeekFrom::Start((place * self.size) as u64))?;
        file.write_all(&self.pack(record))
    }
}

/// Waits for the lock, not for ever.
fn lock(file: &File) -> io::Result<()> {
    let end = Instant::now() + LOCK_WAIT;
    while !sys::lock::try_exclusive(file)? {
        if Instant::now() > end {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(LOCK_STEP);
    }
    Ok(())
}

/// Unix seconds, as the file keeps them.
fn now() -> u32 {
    u32::try_from(base::tai::unix_now()).unwrap_or(0)
}

/// Seconds since `when`; `None` when it lies in the future: the clock was set back, and the record says nothing.
fn age(when: u32) -> Option<u32> {
    now().checked_sub(when)
}

/// How long a host is left alone: 64 to 97 minutes, not the same for every process.
fn patience() -> u32 {
    (60 + (std::process::id() & 31)) * 64
}

/// What the table says of `address`. Works relative to home.
pub fn standing(address: IpAddr) -> Standing {
    let address = sys::socket::unmapped(address);
    let Ok((_, records)) = Shape::of(address).open() else {
        return Standing::Unknown;
    };
    match records.iter().find(|r| r.address == address) {
        None => Standing::Unknown,
        Some(r) if r.count >= COUNT_BLOCKED && age(r.when).is_some_and(|a| a < patience()) => {
            Standing::Blocked
        }
        Some(_) => Standing::Known,
    }
}

/// Notes that `address` answered. Only worth calling when it was `Known`.
pub fn answered(address: IpAddr) {
    let address = sys::socket::unmapped(address);
    let shape = Shape::of(address);
    let Ok((mut file, records)) = shape.open() else {
        return;
    };
    let found = records.iter().position(|r| r.address == address);
    if let Some((place, record)) = found.and_then(|at| Some((at, *records.get(at)?))) {
        // Trouble leaves the table as it was, which costs time only.
        let _ = shape.write(&mut file, place, Record { count: 0, ..record });
    }
}

/// Notes that `address` did not answer in time.
pub fn timed_out(address: IpAddr) {
    let address = sys::socket::unmapped(address);
    let shape = Shape::of(address);
    let Ok((mut file, records)) = shape.open() else {
        return;
    };
    let Some((place, record)) = after_timeout(&records, address) else {
        return;
    };
    let _ = shape.write(&mut file, place, record);
}

/// Where the record of a host goes, and what it says, after one more timeout. `None`: nothing changes.
fn after_timeout(records: &[Record], address: IpAddr) -> Option<(usize, Record)> {
    let known = records.iter().position(|r| r.address == address);
    let when = now();
    if let Some((place, record)) = known.and_then(|at| Some((at, records.get(at)?))) {
        if record.count > 0 && age(record.when).is_some_and(|a| a < SAME) {
            return None;
        }
        let count = record.count.saturating_add(1).min(COUNT_LIMIT);
        let record = Record {
            address,
            count,
            when,
        };
        return Some((place, record));
    }
    // A free record, or else the one that matters least: the oldest, where each timeout counts as 1024 seconds.
    let weight = |r: &Record| u64::from(r.when) + (u64::from(r.count) << 10);
    let place = records.iter().position(|r| r.count == 0).or_else(|| {
        let oldest = records.iter().enumerate().min_by_key(|(_, r)| weight(r));
        oldest.map(|(place, _)| place)
    })?;
    let record = Record {
        address,
        count: 1,
        when,
    };
    Some((place, record))
}

/// The hosts of both tables with a timeout behind them, IPv4 first.
///
/// # Errors
/// The IPv4 file cannot be opened, locked or read. A missing IPv6 file is an empty one: older queues have none.
pub fn list() -> io::Result<Vec<Record>> {
    let mut list = V4.open()?.1;
    match V6.open() {
        Ok((_, more)) => list.extend(more),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    list.retain(|r| r.count > 0);
    Ok(list)
}

/// Empties both tables: every host may be tried again.
///
/// # Errors
/// As `list`, and writing.
pub fn clear() -> io::Result<()> {
    for shape in [V4, V6] {
        match OpenOptions::new().write(true).open(shape.path) {
            Ok(mut file) => {
                lock(&file)?;
                file.write_all(&vec![0; RECORDS * shape.size])?;
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound && shape.size == V6.size => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(n: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, n).into()
    }

    #[test]
    fn records_are_packed_as_c_does() {
        let record = Record {
            address: host(1),
            count: 3,
            when: 0x0102_0304,
        };
        let bytes = V4.pack(record);
        assert_eq!(bytes, [192, 0, 2, 1, 3, 0, 0, 0, 4, 3, 2, 1, 0, 0, 0, 0]);
        assert_eq!(V4.unpack(&bytes), Some(record));
        let record = Record {
            address: Ipv6Addr::LOCALHOST.into(),
            ..record
        };
        let bytes = V6.pack(record);
        assert_eq!(bytes.len(), 32);
        assert_eq!(V6.unpack(&bytes), Some(record));
    }

    #[test]
    fn a_second_timeout_counts_only_after_a_while() {
        let record = |count, when| Record {
            address: host(1),
            count,
            when,
        };
        let after = |r| after_timeout(&[record(0, 0), r], host(1));
        // The first record has the address too, so it is the one that counts.
        assert_eq!(after(record(1, 0)).map(|(p, r)| (p, r.count)), Some((0, 1)));
        let lone = |r: Record| after_timeout(&[r], host(1)).map(|(p, r)| (p, r.count));
        assert_eq!(lone(record(1, now() - 10)), None);
        assert_eq!(lone(record(1, now() - 130)), Some((0, 2)));
        assert_eq!(lone(record(10, now() - 130)), Some((0, 10)));
        assert_eq!(lone(record(255, now() - 130)), Some((0, 10)));
        assert_eq!(
            lone(record(1, now() + 1000)),
            Some((0, 2)),
            "clock set back"
        );
    }

    #[test]
    fn a_full_table_gives_up_what_matters_least() {
        let record = |n, count, when| Record {
            address: host(n),
            count,
            when,
        };
        let full = [record(1, 5, 1000), record(2, 1, 1500), record(3, 2, 9000)];
        assert_eq!(after_timeout(&full, host(9)).map(|(p, _)| p), Some(1));
        let free = [record(1, 5, 1000), record(2, 0, 9999)];
        assert_eq!(after_timeout(&free, host(9)).map(|(p, _)| p), Some(1));
        assert_eq!(after_timeout(&[], host(9)), None);
    }
}
