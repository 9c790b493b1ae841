//! The program that a tool of this room becomes.

use std::io;

use base::{Bytes, Die};
use sys::spawn::Spawn;

/// A program with its arguments, ready to be run in place of this one.
#[derive(Debug)]
pub(crate) struct Child<'a> {
    name: &'a [u8],
    spawn: Spawn<'static>,
}

impl<'a> Child<'a> {
    /// `words` is the program and its arguments; `None` without a program.
    ///
    /// Descriptors 0, 1 and 2 that our caller left closed stay closed for the program: the runtime of this one has
    /// put /dev/null there.
    pub(crate) fn new(words: &'a [Bytes]) -> Option<Child<'a>> {
        let (name, args) = words.split_first()?;
        let closed = (0..=2).filter(|&number| !sys::fd::was_open(number));
        let spawn = closed.fold(Spawn::new(name).args(args), Spawn::without_fd);
        Some(Child { name, spawn })
    }

    /// The program gets exactly this environment; it is still looked up along our own PATH.
    pub(crate) fn with_env(self, env: Vec<(Bytes, Bytes)>) -> Child<'a> {
        Child {
            spawn: self.spawn.search_here().env(env),
            ..self
        }
    }

    /// Becomes the program. Returns only if that failed.
    pub(crate) fn exec(&self) -> Die {
        self.failed(&self.spawn.exec())
    }

    /// Becomes the program after one last step.
    pub(crate) fn exec_after(&self, last: impl FnOnce() -> Result<(), Die>) -> Die {
        match self.spawn.exec_after(last) {
            Ok(error) => self.failed(&error),
            Err(die) => die,
        }
    }

    /// Starts the program beside this one; its process id.
    pub(crate) fn start(&self) -> Result<u32, Die> {
        self.spawn.spawn().map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> Die {
        Die::unable([b"run ", self.name].concat(), error)
    }
}
