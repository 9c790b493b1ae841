//! File systems on recorded disks: made, mounted with their default options, unmounted.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::store::Store;

/// A file system under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ext4, ordered journal
    Ext4,
    /// xfs
    Xfs,
    /// btrfs
    Btrfs,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Ext4, Kind::Xfs, Kind::Btrfs];

    /// Its name for mount(8).
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ext4 => "ext4",
            Kind::Xfs => "xfs",
            Kind::Btrfs => "btrfs",
        }
    }

    /// From its name.
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|k| k.name() == name)
    }

    /// Whether this machine has the kernel's and the maker's part.
    pub fn is_here(self) -> bool {
        let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        let kernel = known.lines().any(|l| l.trim() == self.name())
            || quiet(Command::new("modprobe").arg(self.name()));
        let maker = format!("mkfs.{}", self.name());
        kernel
            && ["/sbin", "/usr/sbin", "/usr/bin", "/bin"]
                .iter()
                .any(|d| Path::new(d).join(&maker).exists())
    }

    /// A fresh one, made on a sparse file at `path`, which is removed again.
    ///
    /// # Errors
    /// mkfs failed.
    pub fn make(self, path: &Path) -> io::Result<Store> {
        // The least that each maker allows.
        let size = match self {
            Kind::Ext4 => 64,
            Kind::Xfs => 300,
            Kind::Btrfs => 128,
        };
        let file = std::fs::File::create(path)?;
        file.set_len(size << 20)?;
        drop(file);
        let mut mkfs = Command::new(format!("mkfs.{}", self.name()));
        match self {
            // Nothing left to do in the background of the first mount.
            Kind::Ext4 => mkfs.args(["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"]),
            Kind::Xfs | Kind::Btrfs => mkfs.args(["-q", "-f"]),
        };
        if !quiet(mkfs.arg(path)) {
            return Err(io::Error::other(format!("mkfs.{} failed", self.name())));
        }
        let store = Store::read(path);
        std::fs::remove_file(path)?;
        store
    }

    /// Mounts a disk by a loop device: the default options, the journal is recovered. `false`: it cannot be mounted.
    pub fn mount(self, disk: &Path, at: &Path) -> bool {
        quiet(
            Command::new("mount")
                .args(["-t", self.name(), "-o", "loop"])
                .arg(disk)
                .arg(at),
        )
    }
}

/// Unmounts; the loop device goes with it.
pub fn unmount(at: &Path) -> bool {
    kit::until(kit::LIMIT, || {
        quiet(Command::new("umount").arg(at)).then_some(())
    })
    .is_some()
}

/// Runs a command without a word; whether it succeeded.
pub fn quiet(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}
