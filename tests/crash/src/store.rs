//! A disk in memory, what was done to it, and what a power cut may leave of that.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

/// Bytes of one block.
pub const BLOCK: usize = 4096;

type Block = [u8; BLOCK];

/// A disk: its blocks that are not all zero. A copy costs one table.
#[derive(Clone, Debug, Default)]
pub struct Store {
    blocks: HashMap<u64, (Arc<Block>, u64)>,
    size: u64,
    hash: u64,
}

fn hash_of(index: u64, block: &Block) -> u64 {
    let mut hasher = DefaultHasher::new();
    index.hash(&mut hasher);
    block.hash(&mut hasher);
    hasher.finish()
}

impl Store {
    /// The contents of an image file, which may be sparse.
    pub fn read(path: &Path) -> io::Result<Store> {
        let mut file = std::fs::File::open(path)?;
        let size = file.metadata()?.len();
        let mut store = Store {
            size,
            ..Store::default()
        };
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        while at < size {
            file.seek(SeekFrom::Start(at))?;
            let want = buffer
                .len()
                .min(usize::try_from(size - at).unwrap_or(usize::MAX));
            file.read_exact(&mut buffer[..want])?;
            if buffer[..want].iter().any(|b| *b != 0) {
                store.write(at, &buffer[..want]);
            }
            at += want as u64;
        }
        Ok(store)
    }

    /// Length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Equal numbers: equal contents (but for luck of one in 2^64).
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Puts bytes at an offset.
    pub fn write(&mut self, offset: u64, mut bytes: &[u8]) {
        let mut index = offset / BLOCK as u64;
        let mut from = usize::try_from(offset % BLOCK as u64).unwrap();
        while !bytes.is_empty() {
            let count = bytes.len().min(BLOCK - from);
            let mut block = self.blocks.get(&index).map_or([0; BLOCK], |(b, _)| **b);
            block[from..from + count].copy_from_slice(&bytes[..count]);
            if let Some((_, old)) = self.blocks.remove(&index) {
                self.hash ^= old;
            }
            if block.iter().any(|b| *b != 0) {
                let hash = hash_of(index, &block);
                self.hash ^= hash;
                self.blocks.insert(index, (Arc::new(block), hash));
            }
            bytes = &bytes[count..];
            from = 0;
            index += 1;
        }
    }

    /// Bytes at an offset, appended to `out`; fewer at the end of the disk.
    pub fn copy_to(&self, offset: u64, count: usize, out: &mut Vec<u8>) {
        let end = (offset + count as u64).min(self.size);
        let mut at = offset;
        while at < end {
            let from = usize::try_from(at % BLOCK as u64).unwrap();
            let part = (BLOCK - from).min(usize::try_from(end - at).unwrap());
            match self.blocks.get(&(at / BLOCK as u64)) {
                Some((block, _)) => out.extend_from_slice(&block[from..from + part]),
                None => out.resize(out.len() + part, 0),
            }
            at += part as u64;
        }
    }
}

/// What happened, in the one order of all disks.
#[derive(Clone, Debug)]
pub enum Event {
    /// bytes went to a disk's cache
    Write {
        /// which disk
        disk: usize,
        /// where
        offset: u64,
        /// what
        data: Vec<u8>,
    },
    /// everything written to a disk so far is on it for good
    Flush {
        /// which disk
        disk: usize,
    },
    /// this message was acknowledged
    Acknowledged(usize),
    /// another host has it, and is about to say so
    Taken(usize),
}

/// What a cut leaves of the writes after the last flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// nothing: the disk's cache is lost
    Flushed,
    /// everything: only the kernel died
    Issued,
    /// each block or not, by chance
    Some(u64),
}

/// A point in the log and what is left there.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// the number of events that happened
    pub at: usize,
    /// what is left of the unflushed
    pub left: Left,
}

/// Numbers by chance, the same ones for the same seed.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Starts at a seed.
    pub fn new(seed: u64) -> Chance {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..4 {
            chance.number();
        }
        chance
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Plays a log forward and says what the disks look like after a cut.
#[derive(Debug)]
pub struct Player<'a> {
    events: &'a [Event],
    at: usize,
    flushed: Vec<Store>,
    /// per disk: numbers of the writes since its last flush
    pending: Vec<Vec<usize>>,
    acknowledged: usize,
}

impl<'a> Player<'a> {
    /// Starts with what was on the disks before the first event.
    pub fn new(base: &[Store], events: &'a [Event]) -> Player<'a> {
        Player {
            events,
            at: 0,
            flushed: base.to_vec(),
            pending: vec![Vec::new(); base.len()],
            acknowledged: 0,
        }
    }

    /// Goes on to just after `at` events. `at` never goes back.
    pub fn forward(&mut self, at: usize) {
        while self.at < at {
            match &self.events[self.at] {
                Event::Write { disk, .. } => self.pending[*disk].push(self.at),
                Event::Flush { disk } => {
                    for number in std::mem::take(&mut self.pending[*disk]) {
                        if let Event::Write { offset, data, .. } = &self.events[number] {
                            self.flushed[*disk].write(*offset, data);
                        }
                    }
                }
                Event::Acknowledged(_) => self.acknowledged += 1,
                Event::Taken(_) => {}
            }
            self.at += 1;
        }
    }

    /// How many messages were acknowledged before the cut.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged
    }

    /// How many writes would be lost if nothing unflushed stays.
    pub fn unflushed(&self) -> usize {
        self.pending.iter().map(Vec::len).sum()
    }

    /// The disks after a cut here.
    pub fn disks(&self, left: Left) -> Vec<Store> {
        let mut disks = self.flushed.clone();
        let mut chance = match left {
            Left::Flushed => return disks,
            Left::Issued => None,
            Left::Some(seed) => Some(Chance::new(seed ^ ((self.at as u64) << 20))),
        };
        for (disk, pending) in self.pending.iter().enumerate() {
            for number in pending {
                let Event::Write { offset, data, .. } = &self.events[*number] else {
                    continue;
                };
                let Some(chance) = &mut chance else {
                    disks[disk].write(*offset, data);
                    continue;
                };
                // A long write may be cut between its blocks.
                for (n, part) in data.chunks(BLOCK).enumerate() {
                    if chance.number() % 2 == 0 {
                        disks[disk].write(offset + (n * BLOCK) as u64, part);
                    }
                }
            }
        }
        disks
    }
}
