//! A file system of one directory whose files are disks in memory, spoken by hand over /dev/fuse.
//!
//! A loop device on such a file turns every write of a file system into a write request here and every barrier into an
//! fsync request, in order. So the log of a recorded file is what a disk with a volatile cache would have seen.
//!
//! Source  linux/fuse.h, protocol 7.31

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use sys::spawn::Spawn;

use crate::disk::quiet;
use crate::store::{Event, Store};

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const SETATTR: u32 = 4;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const FSYNC: u32 = 20;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;

const ENOENT: i32 = 2;
const EIO: i32 = 5;
const ENOSYS: i32 = 38;

/// Bytes of a request's header.
const HEADER: usize = 40;
/// The most bytes of one write or read.
const MOST: usize = 128 * 1024;
const ROOT: u64 = 1;

#[derive(Debug)]
struct Image {
    name: String,
    store: Store,
    /// its number in the log, if it is recorded
    disk: Option<usize>,
}

#[derive(Debug, Default)]
struct State {
    images: HashMap<u64, Image>,
    last: u64,
    events: Vec<Event>,
    recording: bool,
}

/// What a flush of a recorded disk takes, about as much as on a real one: so those who share flushes find each other.
const FLUSH_TIME: Duration = Duration::from_millis(3);

/// The mounted file system. It is detached at the end.
#[derive(Debug)]
pub struct Fuse {
    at: PathBuf,
    state: Arc<Mutex<State>>,
    keeper: Child,
}

impl Fuse {
    /// Mounts it on a directory. Root only.
    ///
    /// # Errors
    /// No /dev/fuse, or mount(8) failed.
    pub fn mount(at: &Path) -> io::Result<Fuse> {
        let device = File::options().read(true).write(true).open("/dev/fuse")?;
        let pid = Spawn::new("/bin/mount")
            .args(["-i", "-t", "fuse", "-o"])
            .arg("fd=3,rootmode=40000,user_id=0,group_id=0,allow_other")
            .arg("crash")
            .arg(at.as_os_str().as_encoded_bytes())
            .fd(3, device.as_fd())
            .spawn()?;
        if !sys::process::wait_for(pid)?.is_success() {
            return Err(io::Error::other("unable to mount a FUSE file system"));
        }
        let state = Arc::new(Mutex::new(State {
            last: ROOT,
            ..State::default()
        }));
        let served = state.clone();
        std::thread::spawn(move || serve(device, &served));
        // When this process is killed with file systems mounted, the keeper keeps the mount namespace until the
        // device is closed: who unmounts a file system must not be the one who serves its disk.
        let keeper = Command::new("sh")
            .args(["-c", "read -r end"])
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()?;
        Ok(Fuse {
            at: at.to_owned(),
            state,
            keeper,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Shows a disk as a new file. With a number, what happens to it is recorded under that number.
    pub fn add(&self, store: Store, disk: Option<usize>) -> PathBuf {
        let mut state = self.state();
        state.last += 1;
        let node = state.last;
        let name = format!("disk{node}");
        let path = self.at.join(&name);
        state.images.insert(node, Image { name, store, disk });
        path
    }

    /// Takes a file away; what is on it now.
    pub fn take(&self, path: &Path) -> Option<Store> {
        let mut state = self.state();
        let node = *state
            .images
            .iter()
            .find(|(_, i)| self.at.join(&i.name) == path)?
            .0;
        state.images.remove(&node).map(|i| i.store)
    }

    /// Starts the record. What is on the recorded disks at this moment, by their numbers.
    pub fn record(&self) -> Vec<Store> {
        let mut state = self.state();
        state.events.clear();
        state.recording = true;
        let mut disks: Vec<(usize, Store)> = state
            .images
            .values()
            .filter_map(|i| Some((i.disk?, i.store.clone())))
            .collect();
        disks.sort_by_key(|(disk, _)| *disk);
        disks.into_iter().map(|(_, store)| store).collect()
    }

    /// Ends the record and gives it.
    pub fn recorded(&self) -> Vec<Event> {
        let mut state = self.state();
        state.recording = false;
        std::mem::take(&mut state.events)
    }

    /// Puts a sentence of the workload into the record.
    pub fn mark(&self, event: Event) {
        self.state().events.push(event);
    }

    /// The same from elsewhere.
    pub fn marker(&self) -> Marker {
        Marker(self.state.clone())
    }
}

/// Puts sentences of the workload into the record.
#[derive(Clone, Debug)]
pub struct Marker(Arc<Mutex<State>>);

impl Marker {
    /// One of them; if the record is on.
    pub fn mark(&self, event: Event) {
        let mut state = self.0.lock().unwrap();
        if state.recording {
            state.events.push(event);
        }
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        quiet(Command::new("umount").arg("-l").arg(&self.at));
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn words(out: &mut Vec<u8>, words: &[u32]) {
    for word in words {
        out.extend_from_slice(&word.to_ne_bytes());
    }
}

fn longs(out: &mut Vec<u8>, longs: &[u64]) {
    for long in longs {
        out.extend_from_slice(&long.to_ne_bytes());
    }
}

fn serve(mut device: File, state: &Mutex<State>) {
    let mut buffer = vec![0; MOST + 64 * 1024];
    loop {
        let count = match device.read(&mut buffer) {
            Ok(count) => count,
            // A request that was interrupted before it was read.
            Err(e) if matches!(e.raw_os_error(), Some(2 | 4 | 11)) => continue,
            // Not mounted any more.
            Err(_) => return,
        };
        let request = &buffer[..count];
        let operation = u32_at(request, 4);
        if matches!(operation, FORGET | BATCH_FORGET | INTERRUPT) {
            continue;
        }
        let mut out = vec![0; 16];
        let error = match answer(operation, request, &mut out, state) {
            Ok(()) => 0,
            Err(errno) => {
                out.truncate(16);
                -errno
            }
        };
        if operation == FSYNC && state.lock().is_ok_and(|s| s.recording) {
            std::thread::sleep(FLUSH_TIME);
        }
        let length = u32::try_from(out.len()).unwrap();
        out[..4].copy_from_slice(&length.to_ne_bytes());
        out[4..8].copy_from_slice(&error.to_ne_bytes());
        out[8..16].copy_from_slice(&request[8..16]);
        let _ = device.write(&out);
    }
}

/// The attributes of the directory or of a disk.
fn attributes(out: &mut Vec<u8>, node: u64, size: u64) {
    longs(out, &[node, size, size / 512, 0, 0, 0]);
    let mode = if node == ROOT { 0o40_755 } else { 0o100_600 };
    words(out, &[0, 0, 0, mode, 1, 0, 0, 0, 4096, 0]);
}

fn answer(
    operation: u32,
    request: &[u8],
    out: &mut Vec<u8>,
    state: &Mutex<State>,
) -> Result<(), i32> {
    let node = u64_at(request, 16);
    let body = &request[HEADER..];
    let mut state = state.lock().map_err(|_| EIO)?;
    match operation {
        INIT => {
            // BIG_WRITES and MAX_PAGES.
            let flags = u32_at(body, 12) & (1 << 5 | 1 << 22);
            words(out, &[7, 31, u32_at(body, 8), flags]);
            out.extend_from_slice(&16u16.to_ne_bytes());
            out.extend_from_slice(&12u16.to_ne_bytes());
            words(out, &[u32::try_from(MOST).unwrap(), 1]);
            out.extend_from_slice(&u16::try_from(MOST / 4096).unwrap().to_ne_bytes());
            out.extend_from_slice(&[0; 2]);
            words(out, &[0; 8]);
        }
        LOOKUP => {
            let name = body.split(|b| *b == 0).next().unwrap_or_default();
            let (node, image) = state
                .images
                .iter()
                .find(|(_, i)| i.name.as_bytes() == name)
                .ok_or(ENOENT)?;
            longs(out, &[*node, 0, 1, 1]);
            words(out, &[0, 0]);
            attributes(out, *node, image.store.size());
        }
        GETATTR | SETATTR => {
            let size = state.images.get(&node).map_or(0, |i| i.store.size());
            longs(out, &[1]);
            words(out, &[0, 0]);
            attributes(out, node, size);
        }
        OPEN => {
            longs(out, &[0]);
            words(out, &[0, 0]);
        }
        READ => {
            let image = state.images.get(&node).ok_or(EIO)?;
            let count = usize::try_from(u32_at(body, 16)).unwrap();
            image.store.copy_to(u64_at(body, 8), count.min(MOST), out);
        }
        WRITE => {
            let offset = u64_at(body, 8);
            let count = u32_at(body, 16);
            let data = &body[40..40 + usize::try_from(count).unwrap()];
            let state = &mut *state;
            let image = state.images.get_mut(&node).ok_or(EIO)?;
            image.store.write(offset, data);
            if let (Some(disk), true) = (image.disk, state.recording) {
                state.events.push(Event::Write {
                    disk,
                    offset,
                    data: data.to_vec(),
                });
            }
            words(out, &[count, 0]);
        }
        FSYNC => {
            let disk = state.images.get(&node).and_then(|i| i.disk);
            if let (Some(disk), true) = (disk, state.recording) {
                state.events.push(Event::Flush { disk });
            }
        }
        STATFS => {
            longs(out, &[1 << 30, 1 << 30, 1 << 30, 1 << 20, 1 << 20]);
            words(out, &[4096, 255, 4096, 0, 0, 0, 0, 0, 0, 0]);
        }
        FLUSH | RELEASE => {}
        // Among them fallocate: the loop driver then writes zeros.
        _ => return Err(ENOSYS),
    }
    Ok(())
}
