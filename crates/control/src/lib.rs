//! control: where home is, and what the administrator wrote there.
//!
//! Programs   none; a library
//! Runs as    whoever calls
//! Reads      control/*, *.cdb, /etc/passwd and /etc/group for the suite's own users
//! Writes     cdb tables, for the programs that compile them
//! May use    base sys
//! Source     qmail-control(5)
//!
//! Every function works relative to the working directory, which `home::enter` makes the home of qmail.

pub mod file;
pub mod home;
mod kept;
pub mod map;
pub mod owners;
pub mod table;

pub use file::{int, line, line_or_me, list};
pub use kept::ahead;
pub use map::Map;
pub use owners::Owners;
pub use table::Table;
