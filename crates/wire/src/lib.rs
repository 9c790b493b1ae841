//! wire: the text of protocols.
//!
//! Programs   none; a library
//! Runs as    whoever calls
//! Reads      bytes
//! Writes     bytes
//! May use    base
//! Source     RFC 5321, RFC 1939

pub mod command;
pub mod reply;
pub mod stuff;
pub mod unstuff;
