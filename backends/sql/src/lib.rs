//! sqlcheck: accounts in a database.
//!
//! Programs   sqlcheck(8) vchkpw-mysql(8) vdelivermail-mysql(8)
//! Runs as    root, then the user; what talks to the database as qmaild, or as the owner of the domain
//! Reads      fd 3 login, secret, stamp; control/{sqlcheck,scramsecret}; vpopmail's etc/vpopmail.mysql; a database
//! Writes     /dev/log (vchkpw-mysql); maildirs (vdelivermail-mysql)
//! May use    aside auth base cafile checkpassword control recipient sys
//! Source     checkpassword's interface page; docs/compat/backends.md
//!
//! Checkers end with 1: not him; 2: no program in the arguments; 111: nobody can tell now. vchkpw-mysql has vchkpw's
//! codes.

mod database;
mod mysql;
mod postgres;
mod query;
mod sqlcheck;
mod sqlite;
mod vpopmail;

pub use sqlcheck::sqlcheck;
pub use vpopmail::{vchkpw_mysql, vdelivermail_mysql};
