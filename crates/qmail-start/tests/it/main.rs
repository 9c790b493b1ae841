//! Black-box tests of the programs of this room.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::string_slice,
    clippy::format_collect,
    reason = "a test ends by a panic, and says so when it skips"
)]

mod judge;
mod lspawn;
mod start;
mod worker;
