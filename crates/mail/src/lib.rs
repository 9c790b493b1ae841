//! mail: the syntax of messages.
//!
//! Programs   none; a library
//! Runs as    whoever calls
//! Reads      bytes
//! Writes     bytes
//! May use    base
//! Source     RFC 5322, RFC 822; qmail-header(5)

pub mod date;
pub mod field;
pub mod header;
pub mod list;
pub mod newfield;
pub mod quote;
pub mod received;
pub mod token;
