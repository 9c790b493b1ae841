//! A DNS server on loopback that knows a few records. A name that it does not know does not exist.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const A: u16 = 1;
const PTR: u16 = 12;

/// A record: owner, what it says.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    A(&'static str, [u8; 4]),
    Ptr(&'static str, &'static str),
    /// questions about this name get no answer
    Silence(&'static str),
}

/// Answers until it is dropped.
pub(crate) struct FakeDns {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FakeDns {
    pub(crate) fn start(records: Vec<Record>) -> FakeDns {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let port = socket.local_addr().unwrap().port();
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut packet = [0; 1500];
            while !seen.load(Ordering::Relaxed) {
                let Ok((length, client)) = socket.recv_from(&mut packet) else {
                    continue;
                };
                if let Some(reply) = reply(&packet[..length], &records) {
                    let _ = socket.send_to(&reply, client);
                }
            }
        });
        FakeDns {
            port,
            stop,
            thread: Some(thread),
        }
    }

    /// For DNSCACHEIP.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for FakeDns {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn reply(query: &[u8], records: &[Record]) -> Option<Vec<u8>> {
    let (name, end) = name(query, 12)?;
    let kind = u16::from_be_bytes([*query.get(end)?, *query.get(end + 1)?]);
    let silent = |r: &Record| matches!(r, Record::Silence(owner) if *owner == name);
    if records.iter().any(silent) {
        return None;
    }
    let known = records.iter().any(|r| owner(r) == name);
    let answers: Vec<Vec<u8>> = records
        .iter()
        .filter(|r| owner(r) == name)
        .filter_map(|r| data(r, kind))
        .collect();
    let mut out = query.get(..2)?.to_vec();
    out.extend([0x81, if known { 0x80 } else { 0x83 }, 0, 1]);
    out.extend(u16::try_from(answers.len()).unwrap().to_be_bytes());
    out.extend([0; 4]);
    out.extend(query.get(12..end + 4)?);
    for answer in answers {
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 60]);
        out.extend(u16::try_from(answer.len()).unwrap().to_be_bytes());
        out.extend(answer);
    }
    Some(out)
}

fn name(query: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join(".").to_lowercase(), at));
        }
        let label = query.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).into_owned());
        at += length;
    }
}

fn owner(record: &Record) -> &str {
    match record {
        Record::A(owner, _) | Record::Ptr(owner, _) | Record::Silence(owner) => owner,
    }
}

fn data(record: &Record, kind: u16) -> Option<Vec<u8>> {
    match record {
        Record::A(_, ip) if kind == A => Some(ip.to_vec()),
        Record::Ptr(_, name) if kind == PTR => Some(wire(name)),
        _ => None,
    }
}

fn wire(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend(label.as_bytes());
    }
    out.push(0);
    out
}
