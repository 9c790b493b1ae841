//! aside: a question to a server of others, in a process of its own.
//!
//! Programs   none; a library
//! Runs as    whoever calls; the process aside as `runas`, qmaild by default
//! Reads      control/NAME of its caller
//! Writes     nothing
//! May use    auth base control sys
//! Source     docs/decisions/0033-backends.md
//!
//! A checker is often root, and the code that talks to a database or a directory is large and by others. So the
//! checker reads its settings, makes a copy of itself that gives up its rights and asks, and takes an answer of known
//! form from it, within a time. What the copy does with a hostile answer, it does as nobody in particular.

mod ask;
mod entry;
mod frame;
mod name;
mod settings;

pub use ask::{Answer, Trouble, ask};
pub use entry::{entry, identity};
pub use frame::Row;
pub use name::Name;
pub use settings::{COMMON, Settings};
