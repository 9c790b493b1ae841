//! What is kept is used as long as nothing has changed, and not a moment longer.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use super::*;

/// Later than every change of these tests.
const LATER: i64 = i64::MAX;

/// A directory of control files; `next` makes it another process in the eyes of what is kept.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("kept-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("me"), "one").unwrap();
        Place(path)
    }

    fn bytes(&self) -> &'static [u8] {
        self.0.as_os_str().as_bytes().to_vec().leak()
    }

    fn read(&self, name: &str) -> io::Result<Option<Bytes>> {
        match fs::read(self.0.join(name)) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    fn keep(&self, until: i64) {
        ahead_in(self.bytes(), until, || {
            for name in ["me", "none", "link", "large"] {
                let _ = or_read(name, || self.read(name));
            }
        });
    }

    /// What a copy finds, and whether it had to read it.
    fn find(&self, name: &str) -> (Option<Bytes>, bool) {
        let mut has_read = false;
        let found = or_read(name, || {
            has_read = true;
            self.read(name)
        });
        (found.unwrap(), has_read)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn kept(text: &str) -> (Option<Bytes>, bool) {
    (Some(text.as_bytes().to_vec()), false)
}

fn read(text: &str) -> (Option<Bytes>, bool) {
    (Some(text.as_bytes().to_vec()), true)
}

/// Whether anything is kept of files where these tests run.
fn works(place: &Place) -> bool {
    is_local(place.bytes())
}

#[test]
fn what_has_not_changed_is_not_read_again() {
    let place = Place::new("same");
    place.keep(LATER);
    if works(&place) {
        assert_eq!(place.find("me"), kept("one"));
        assert_eq!(place.find("none"), (None, false));
    }
    // Nobody has asked for it before.
    assert_eq!(place.find("another"), (None, true));
}

#[test]
fn every_change_is_seen() {
    type Step = fn(&Place);
    let steps: [(&str, Step); 7] = [
        ("content", |p| fs::write(p.0.join("me"), "two").unwrap()),
        ("replaced", |p| {
            fs::write(p.0.join("new"), "two").unwrap();
            fs::rename(p.0.join("new"), p.0.join("me")).unwrap();
        }),
        ("removed", |p| fs::remove_file(p.0.join("me")).unwrap()),
        ("made", |p| fs::write(p.0.join("none"), "x").unwrap()),
        ("linked", |p| symlink("me", p.0.join("none")).unwrap()),
        ("mode", |p| {
            let mode = fs::Permissions::from_mode(0o600);
            fs::set_permissions(p.0.join("me"), mode).unwrap();
        }),
        ("directory", |p| {
            let aside = p.0.with_extension("old");
            fs::rename(&p.0, &aside).unwrap();
            fs::create_dir(&p.0).unwrap();
            fs::write(p.0.join("me"), "two").unwrap();
            fs::remove_dir_all(aside).unwrap();
        }),
    ];
    for (name, step) in steps {
        let place = Place::new(name);
        // Kernels that give a stamp for each tick only: the change must be in another one.
        std::thread::sleep(std::time::Duration::from_millis(30));
        place.keep(LATER);
        step(&place);
        for file in ["me", "none"] {
            let now = place.read(file).unwrap();
            assert_eq!(place.find(file), (now, true), "{name} {file}");
        }
    }
}

#[test]
fn what_cannot_be_told_apart_is_not_kept() {
    let place = Place::new("unclear");
    fs::write(place.0.join("large"), vec![b'x'; LIMIT + 1]).unwrap();
    symlink("me", place.0.join("link")).unwrap();
    place.keep(LATER);
    assert!(place.find("large").1);
    assert_eq!(place.find("link"), read("one"));
    // A link that leads nowhere yet may lead somewhere later, and the directory does not change.
    let place = Place::new("dangling");
    symlink("../kept-nowhere/me", place.0.join("link")).unwrap();
    place.keep(LATER);
    assert_eq!(place.find("link"), (None, true));
    // Changed just now.
    place.keep(0);
    assert_eq!(place.find("me"), read("one"));
    let place = Place::new("young");
    ahead_in(place.bytes(), LATER, || {
        change(|state| match state {
            State::Taking(files) => State::Taking(Files { until: 0, ..files }),
            other => other,
        });
        let _ = or_read("me", || place.read("me"));
    });
    assert_eq!(place.find("me"), read("one"));
}

#[test]
fn trouble_is_no_missing_file() {
    let place = Place::new("trouble");
    ahead_in(place.bytes(), LATER, || {
        assert!(or_read("none", || Err(ErrorKind::PermissionDenied.into())).is_err());
    });
    assert_eq!(place.find("none"), (None, true));
}
