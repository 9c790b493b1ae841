//! Black-box tests of the programs of this room.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::string_slice,
    reason = "a test ends by a panic, and says so when it skips"
)]

mod environment;
mod faults;
mod helpers;
mod instructions;
mod lmtp;
mod recipient;
