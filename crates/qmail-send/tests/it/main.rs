//! qmail-send, qmail-clean and qmail-rspawn from outside.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::format_push_string,
    clippy::large_stack_arrays,
    clippy::string_slice,
    clippy::cast_possible_truncation
)]

mod backlog;
mod clean;
mod damage;
mod extended;
mod fresh;
mod interchange;
mod office;
mod rspawn;
mod send;
